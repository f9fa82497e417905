"""What holds for all tests: the environment, the temporary folder, workers, and what is said of slow ones."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# How long an example takes depends on what else runs.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

# What these assert is told as a test itself would.
pytest.register_assert_rewrite("tests.support", "tests.tui.support")

#: A test that takes more of a processor, its programs included, is named at the end.
SLOW_SECONDS = 5

# Textual reads its environment when it is imported: what a developer has set must not change the screens.
for name in [name for name in os.environ if name.startswith("TEXTUAL_")] + ["NO_COLOR", "COLORTERM", "FORCE_COLOR"]:
    os.environ.pop(name, None)
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TERM"] = "xterm-256color"


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start write here, reports of bugs too; what else is left there was forgotten by us."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        patch.setenv("INSPECTOR_NO_STATE", "1")
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    assert not [path.name for path in folder.iterdir() if not path.name.startswith("inspector-bug-")]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at the tests and modules again and again: 40 % of a screen's test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a processor for ``-n auto``: those that drive the application wait half of the time."""
    return 2 * (os.cpu_count() or 1)


def _processor_seconds() -> float:
    """What this process and the programs that it started and saw end have taken."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Measure a test by the processor's time: the clock's depends on what else runs."""
    start = _processor_seconds()
    try:
        return (yield)
    finally:
        item.user_properties.append(("processor_seconds", _processor_seconds() - start))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the slow tests."""
    slow = [
        (seconds, report.nodeid)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, seconds in report.user_properties
        if name == "processor_seconds" and seconds > SLOW_SECONDS
    ]
    for seconds, name in sorted(slow, reverse=True):
        terminalreporter.write_line(f"slow: {seconds:.1f} s of a processor, {name}", yellow=True)
