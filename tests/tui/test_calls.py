"""A log's calls beside the machine's answers: on screen at once, the first divergence selected."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.tui.screens.calls import CallList, CallsScreen
from inspector.tui.screens.inspect import InspectScreen
from tests.tui.support import golden, running, shows

LOG = Path(__file__).parents[2] / "samples/logs/refused-cpuid.strace.txt"


def diverging(folder: Path) -> str:
    """The sample, but for two answers: registers and a CPUID that KVM refused are taken."""
    changed = LOG.read_text()
    for refused in ("= -1 EINVAL (Invalid argument)", "= -1 EPERM (Operation not permitted)"):
        assert refused in changed
        changed = changed.replace(refused, "= 0", 1)
    path = folder / "log"
    path.write_text(changed)
    return str(path)


@pytest.mark.parametrize("size", [(80, 24), (120, 35), (160, 45)])
async def test_a_log_opens_at_its_first_divergence(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    diverging(tmp_path)
    async with running("log", size) as (app, pilot):
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, CallsScreen)
        first = screen.found.first
        assert first is not None
        assert screen.query_one(CallList).cursor == first - 1
        await golden(app, f"calls-{size[0]}x{size[1]}")
        await pilot.press("escape")
        assert isinstance(app.screen, InspectScreen)
        await pilot.press("T")
        assert isinstance(app.screen, CallsScreen)


async def test_from_divergence_to_divergence(tmp_path: Path) -> None:
    async with running(diverging(tmp_path)) as (app, pilot):
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, CallsScreen)
        numbers = [number for number, one in enumerate(screen.found.calls) if one.agrees is False]
        assert len(numbers) > 1
        calls = screen.query_one(CallList)
        await pilot.press("n")
        assert calls.cursor == numbers[1]
        await pilot.press("N")
        assert calls.cursor == numbers[0]
        await pilot.press("N")
        assert calls.cursor == numbers[0]


async def test_the_same_calls_on_another_kernel() -> None:
    async with running("sample:logs/refused-cpuid.strace.txt") as (app, pilot):
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, CallsScreen)
        # KVM_SET_SREGS takes an EFER with bits that KVM does not know before the release that checks them.
        while screen.found.release != "6.18":
            before = screen.found.release
            await pilot.press("minus")
            assert screen.found.release != before
        assert screen.found.first is None
        await shows(app, "Linux 6.18")


async def test_a_log_without_a_host_shows_its_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log").write_text("ioctl(3, KVM_CREATE_VM, 0) = 4\nioctl(4, KVM_CREATE_VCPU, 0) = 5\n")
    async with running("log") as (app, _):
        await shows(app, "not asked: ")
        await shows(app, "0 of 0 agree, 2 not asked")
