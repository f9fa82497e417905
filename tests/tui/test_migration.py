"""The Migration screen, driven by keys."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from inspector.capture.errors import UsageError
from inspector.cli.main import main
from inspector.cli.open import migrating
from inspector.readers.options import NO_OPTIONS
from inspector.targets.moves import Move
from inspector.tui.door import MigrationApp
from inspector.tui.migrations import session_of
from inspector.tui.picture import text_of
from inspector.tui.screens.migration import MigrationScreen
from tests.tui.support import golden, running, shows, type_line

CET = Move("sample:sapphire-rapids/linux-6.18", "sapphire-rapids@6.1", vmm="firecracker")
MOVES = {
    "migration-msrs": (CET, []),
    "migration-xsave": (Move("sample:amx", "milan@6.18"), []),
    "migration-bit": (CET._replace(vmm="qemu"), ["n", "n"]),
    "migration-together": (Move("EPYC-Milan", "EPYC-Rome@7.2", vmm="libvirt"), ["G", "k", "k", "k", "k"]),
    "migration-arm64": (Move("sample:graviton3/linux-6.18", "neoverse-n1@7.2"), []),
}


@asynccontextmanager
async def moving(move: Move, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[MigrationApp, Pilot[int]]]:
    app = MigrationApp(session_of(move, NO_OPTIONS))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", MOVES)
async def test_migration_screens(name: str, size: tuple[int, int]) -> None:
    move, keys = MOVES[name]
    async with moving(move, size) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause()
        await golden(app, f"{name}-{size[0]}x{size[1]}")


async def test_host_kernel_vmm_and_model_change_and_go_back() -> None:
    async with moving(CET, (120, 36)) as (app, pilot):
        await pilot.press("plus")
        await shows(app, "Linux 6.6 · Firecracker")
        await pilot.press("minus", "v")
        await shows(app, "Linux 6.1 · QEMU")
        await type_line(pilot, "d", "@6.18")
        await shows(app, "✓ the vCPU arrives")
        await pilot.press("u")
        await shows(app, "✗ refused")
        await type_line(pilot, "m", "SapphireRapids")
        await shows(app, "-cpu SapphireRapids")
        await type_line(pilot, "m", "EPYC-None")
        await shows(app, "EPYC-None")
        await pilot.press("escape")
        assert app.focused is app.migration.list


async def test_words_and_command_are_copied() -> None:
    async with moving(CET._replace(vmm="qemu")) as (app, pilot):
        await pilot.press("n", "y")
        assert app.clipboard == "-cpu ...,-dtes64"
        await pilot.press("g", "y")
        assert app.clipboard.startswith("-cpu ...,-dtes64,-ds,-cet-ss")
        await pilot.press("Y")
        command = "inspector migrate sample:sapphire-rapids/linux-6.18 sapphire-rapids@6.1 --vmm qemu"
        assert app.clipboard == command


async def test_groups_fold_and_all_bits_are_shown() -> None:
    async with moving(CET, (120, 40)) as (app, pilot):
        await pilot.press("a")
        await shows(app, "none in the way")
        await pilot.press("space")
        assert "IA32_PL0_SSP" not in text_of(app)
        await pilot.press("tab", "shift+tab", "N")
        assert app.focused is app.migration.list


async def test_a_captured_vcpu_moves_from_inspect_by_a_key() -> None:
    async with running("sample:amx", (100, 30)) as (app, pilot):
        await type_line(pilot, "M", "nothing")
        await shows(app, "nothing: no such CPU or file")
        await pilot.press("ctrl+u", *"mila", "tab", "@", *"6.18", "enter")
        await shows(app, "milan · Linux 6.18 · QEMU")
        assert isinstance(app.screen, MigrationScreen)
        await pilot.press("escape")
        assert app.screen is app.inspect


def test_open_and_screenshot_take_a_destination(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "move.txt"
    words = ["screenshot", "EPYC-Milan", "--to", "EPYC-Rome@7.2", "--vmm", "libvirt", "-o", str(path)]
    assert main(words) == 0
    assert "guest CPU doesn't match specification" in path.read_text()
    assert main([*words[:-1], str(tmp_path / "other.txt"), "--field", "regs.rax"]) == 2
    assert "--field and --vcpu are for one capture" in capsys.readouterr().err
    with pytest.raises(UsageError, match="one vCPU moves"):
        migrating(Namespace(to="milan"), ["sample:amx", "sample:zen5"], NO_OPTIONS)
