"""The ID-register lab, driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from inspector.capture.errors import UsageError
from inspector.cli.open import app_of
from inspector.readers.options import NO_OPTIONS
from inspector.targets.models import lab_of_model
from inspector.tui.app import InspectorApp
from inspector.tui.door import LabApp
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import name_of
from inspector.tui.picture import opened, text_of
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.screens.migration import MigrationScreen
from inspector.tui.widgets.property_list import PropertyList
from tests.tui.support import golden, shows


@asynccontextmanager
async def lab(text: str, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[LabApp, Pilot[int]]]:
    """The lab on Linux 7.2, whatever the newest profile is, unless the text names another."""
    lab = lab_of_model(f"model:{text if '@' in text else f'{text}@7.2'}", NO_OPTIONS)
    app = LabApp(IdLabSession(*lab))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


AES = ["slash", *"feat_AES", "enter"]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "target", "keys"),
    [
        ("idlab", "neoverse-v1-v1:neoverse-v1", []),
        ("idlab-blocked", "neoverse-v1-v1:neoverse-n1", ["b"]),
        ("idlab-value", "neoverse-v1-v1:neoverse-v1", [*AES, "right"]),
        ("idlab-calls", "host:neoverse-v1@6.12", ["w"]),
        ("idlab-two", "host:neoverse-n2@7.2,neoverse-v1@7.2", ["b", "b", "b", "b"]),
        ("idlab-feature", "host:neoverse-n2@7.2,neoverse-v1@7.2", ["slash", *"SVE2", "enter"]),
        ("idlab-help", "neoverse-v1-v1:neoverse-v1", ["question_mark"]),
    ],
)
async def test_id_lab_screens(name: str, target: str, keys: list[str], size: tuple[int, int]) -> None:
    async with lab(target, size) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_without_colour_the_lab_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with lab("neoverse-v1-v1:neoverse-n1") as (app, pilot):
        await pilot.press("b")
        await pilot.pause()
        await golden(app, "idlab-blocked-80x24")


async def test_the_title_says_which_kernel_answers() -> None:
    async with lab("host:neoverse-v1@6.14") as (app, _):
        await shows(app, "Linux 6.12 for 6.14")


async def test_values_are_tried_and_taken_back() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        session = app.lab.session
        await pilot.press(*AES)
        assert name_of(app.lab.properties.selected()) == "feat_AES"
        await pilot.press("space")
        assert session.bench.setup.words == ("feat_AES=aes",)
        await pilot.press("space", "space")
        assert session.bench.setup.words == ("feat_AES=off",)
        await pilot.press("left")
        assert session.bench.setup.words == ("feat_AES=pmull",)
        assert session.bench.made.registers[0xC030] >> 4 & 15 == 2
        await pilot.press("u", "u", "u", "u", "u")
        assert session.bench.setup.words == ()


async def test_vector_lengths_and_switches_toggle() -> None:
    async with lab("neoverse-v1-v1:neoverse-n2") as (app, pilot):
        session = app.lab.session
        assert not session.bench.made.usable
        app.lab.properties.move_to(app.lab.session.find("sve256") or 0)
        await pilot.press("space")
        assert session.bench.setup.words == ("sve256=off",)
        assert session.bench.made.usable
        await pilot.press("space", "space")
        assert session.bench.setup.words == ("sve256=off",)
        app.lab.properties.move_to(app.lab.session.find("pmu") or 0)
        await pilot.press("space")
        assert session.bench.setup.words == ("sve256=off", "pmu=on")
        assert session.bench.made.request.registers[0xC028] >> 8 & 15 == 5


async def test_a_typed_property_and_a_typing_error() -> None:
    async with lab("host:neoverse-v1") as (app, pilot):
        await pilot.press("colon", *"feat_AES=nothing", "enter")
        assert app.focused is not app.lab.properties
        await shows(app, "feat_AES: expected off, aes, pmull; found 'nothing'")
        await pilot.press("ctrl+u", *"SYSREG_ID_AA64ISAR0_EL1_AES=1", "enter")
        assert app.lab.session.bench.setup.words == ("SYSREG_ID_AA64ISAR0_EL1_AES=1",)
        assert app.focused is app.lab.query_one(PropertyList)


async def test_vector_lengths_and_switches_that_block_are_found() -> None:
    async with lab("neoverse-v1-v1:neoverse-n2") as (app, pilot):
        assert name_of(app.lab.properties.selected()) == "sve"
        await pilot.press("b")
        assert name_of(app.lab.properties.selected()) == "sve256"
        assert "✗ sve256" in text_of(app)
        await pilot.press("b")
        assert name_of(app.lab.properties.selected()) == "sve"
        await pilot.press("b", "space", "b")
        assert [note.message for note in app._notifications] == ["nothing blocks"]


async def test_a_missing_vector_length_is_marked_and_found() -> None:
    app = InspectorApp("sample:arm64-kvm/max-linux-7.2.13.regs")
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        await pilot.press("L")
        await shows(app, "sve768")
        screen = app.screen
        assert isinstance(screen, IdLabScreen)
        screen.properties.move_to(screen.session.find("sve768") or 0)
        await pilot.press("space")
        await shows(app, "✗ sve768")
        assert "✗ sve " in text_of(app)
        assert "✗ sve512" not in text_of(app)
        await pilot.press("g", "b")
        assert name_of(screen.properties.selected()) == "sve"
        await pilot.press("b")
        assert name_of(screen.properties.selected()) == "sve768"


async def test_a_typed_value_replaces_the_value_only() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        await pilot.press(*AES, "colon", *"off", "enter")
        assert app.lab.session.bench.setup.words == ("feat_AES=off",)
        app.lab.properties.move_to(app.lab.session.find("pmu") or 0)
        await pilot.press("colon", *"on", "enter")
        assert app.lab.session.bench.setup.words == ("feat_AES=off", "pmu=on")


async def test_another_model() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        await pilot.press("m", *"cortex-a72-v1", "enter")
        assert app.lab.session.bench.setup.model == "cortex-a72-v1"
        assert not app.lab.session.bench.made.usable
        await pilot.press("m", *"nope", "enter")
        await shows(app, "nope: expected")
        assert app.focused is app.lab.properties
        await pilot.press("m", "minus", "enter")
        assert app.lab.session.bench.setup.model == ""
        assert app.lab.session.bench.made.usable


async def test_all_properties_and_a_search_that_finds_nothing() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        few = app.lab.properties.line_count()
        await pilot.press("a")
        assert app.lab.properties.line_count() > 2 * few
        await pilot.press("slash", *"zzz", "enter")
        await shows(app, "zzz: nothing has it")


async def test_the_guests_registers_open_in_inspect() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        await pilot.press(*AES, "o")
        await shows(app, "ID_AA64ISAR0_EL1")
        await pilot.press("escape")
        assert app.screen is app.lab


async def test_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with lab("neoverse-v1-v1:neoverse-v1") as (_, pilot):
        await pilot.press("S", "S")
        await pilot.pause()
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["neoverse-v1-v1-2.vcpu", "neoverse-v1-v1.vcpu"]


async def test_the_command_that_shows_the_same() -> None:
    async with lab("neoverse-v1-v1:max@6.12") as (app, pilot):
        await pilot.press(*AES, "space", "y")
        assert app.clipboard == "inspector models check neoverse-v1-v1 feat_AES=aes --host max@6.12"


async def test_a_captured_guest_goes_on_in_the_lab() -> None:
    app = InspectorApp("sample:graviton3/linux-6.18")
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, pilot)
        await pilot.press("L")
        await shows(app, "Linux 6.18")
        assert isinstance(app.screen, IdLabScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, IdLabScreen)


async def test_the_guest_moves_to_the_second_host_and_back_is_the_lab() -> None:
    async with lab("neoverse-v1-v1:neoverse-v1") as (app, pilot):
        await pilot.press("M", *"nowhere", "enter")
        await shows(app, "nowhere: no such CPU or file")
        await pilot.press("ctrl+u", *"neoverse-n2@7.2", "enter")
        await pilot.pause()
        assert isinstance(app.screen, MigrationScreen)
        await shows(app, "KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS 16 32 bytes: EINVAL")
        await pilot.press("escape")
        assert app.screen is app.lab
        await shows(app, "B neoverse-n2@7.2: 1 in the way")
        await pilot.press("A")
        await shows(app, "KVM_ARM_VCPU_SET_SVE_VLS 0x3")


async def test_open_with_abi_and_two_hosts() -> None:
    app = app_of("model:neoverse-v1-v1:neoverse-v1@7.2,neoverse-n2@7.2", abi="proposal")
    assert isinstance(app, LabApp)
    assert isinstance(app.lab, IdLabScreen)
    assert app.lab.session.title().endswith("B neoverse-n2@7.2: 1 in the way · SVE as proposed")
    assert app.lab.session.undo() == "nothing to undo"
    with pytest.raises(UsageError, match="opens no lab that has it"):
        app_of("sample:amx", abi="proposal")
    with pytest.raises(UsageError, match="expected two hosts"):
        app_of("model:host:grace,")
