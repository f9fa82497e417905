"""The real program in a real (pseudo-)terminal."""

from __future__ import annotations

import gzip
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support import SAMPLES
from tests.tui.pseudo_terminal import program

CORE = SAMPLES / "amx/process.core"
#: Keys as a terminal sends them, of which the palette's bursts are made.
PALETTE_KEYS = [*"xnewtz", *(f"\x1b[{word}" for word in ("A", "B", "5~", "6~", "H", "F")), "\x1b", "\r", "\x7f", "\x10"]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_look_search_edit_copy_quit(size: tuple[int, int]) -> None:
    with program("open", "sample:amx/process.core", columns=size[0], lines=size[1]) as terminal:
        terminal.wait_for("xstate_bv")
        terminal.type("/tmm[2]\r")
        terminal.wait_for("xsave.xtiledata.tmm[2]")
        terminal.type(":xsave.pkru.pkru\r")
        terminal.wait_for("0x55555554")
        terminal.type("\r0x33\r")
        terminal.wait_for("1 edit, file untouched")
        terminal.wait_for("0x00000033")
        terminal.type("u")
        terminal.wait_for("0x55555554")
        terminal.type("y")
        terminal.wait_for("clipboard")
        assert b"\x1b]52;c;MHg1NTU1NTU1NA==" in terminal.received
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.is_restored


def test_target_without_a_command() -> None:
    with program("sample:zen5-kvm") as terminal:
        terminal.wait_for("vcpu0_pattern")
        terminal.type("q")
        assert terminal.end() == 0


def test_unreadable_target_ends_with_one_line() -> None:
    with program("open", "/does/not/exist") as terminal:
        terminal.wait_for("no such file")
        assert terminal.end() == 3
        assert terminal.is_restored


# The terminal is given back


@pytest.mark.parametrize("target", ["sample:amx/process.core", "sim:guest-xfd"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_restore_the_terminal(target: str, number: signal.Signals) -> None:
    with program("open", target) as terminal:
        terminal.wait_for("Help")
        os.kill(terminal.child, number)
        assert terminal.end() == 128 + number
        assert terminal.is_restored


def test_ctrl_c_from_outside_restores_the_terminal() -> None:
    with program("open", "sample:amx/process.core") as terminal:
        terminal.wait_for("Help")
        os.kill(terminal.child, signal.SIGINT)
        assert terminal.end() == 130
        assert terminal.is_restored
        assert b"Traceback" not in terminal.received


def test_a_signal_ends_a_program_that_hangs() -> None:
    """A screen that never comes back to its loop has two seconds."""
    hang = "import inspector.tui.screens.help as h\nh.HelpScreen.text = lambda self: [0 for _ in iter(int, 1)]"
    with program("open", "sample:amx/process.core", code=hang) as terminal:
        terminal.wait_for("xstate_bv")
        terminal.type("?")
        time.sleep(0.5)
        os.kill(terminal.child, signal.SIGTERM)
        assert terminal.end(8) == 128 + signal.SIGTERM
        assert terminal.is_restored


def test_what_the_parent_ignores_stays_ignored() -> None:
    nohup = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with program("open", "sample:amx/process.core", code=nohup) as terminal:
        terminal.wait_for("Help")
        os.kill(terminal.child, signal.SIGHUP)
        terminal.type("?")
        terminal.wait_for("Moving")
        terminal.type("qq")
        assert terminal.end() == 0


# Reading


def test_the_program_ends_while_the_reader_hangs() -> None:
    code = "import time, inspector.readers.open as o; o.open_capture = lambda *_: time.sleep(1000)"
    with program("open", "sample:amx/process.core", code=code) as terminal:
        terminal.wait_for("Help")
        terminal.type("q")
        assert terminal.end(8) == 0
        assert terminal.is_restored


def test_a_bug_while_reading_is_shown_and_ends_with_70() -> None:
    code = "import inspector.readers.open as o\ndef bug(*_): raise IndexError('beyond')\no.open_capture = bug"
    with program("open", "sample:amx/process.core", code=code, columns=120) as terminal:
        terminal.wait_for("a bug of ours: IndexError: beyond; please report it")
        terminal.type("q")
        assert terminal.end() == 70
        assert terminal.is_restored
        after = terminal.received[terminal.received.rfind(b"\x1b[?1049l") :]
        assert b"a bug of ours: IndexError: beyond" in after
        assert b"Traceback" not in after


def test_a_bug_of_a_screen_ends_with_70_and_one_line() -> None:
    code = "import inspector.tui.screens.help as h\nh.HelpScreen.text = lambda self: 1 / 0"
    with program("open", "sample:amx/process.core", code=code) as terminal:
        terminal.wait_for("xstate_bv")
        terminal.type("?")
        assert terminal.end() == 70
        assert terminal.is_restored
        assert b"a bug of ours: ZeroDivisionError" in terminal.received
        assert b"Traceback" not in terminal.received


# Standard input


@pytest.mark.parametrize("words", [("-",), ("open", "-")])
@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_read_and_keys_come_from_the_terminal(words: tuple[str, ...], packed: bool) -> None:
    data = gzip.compress(CORE.read_bytes()) if packed else CORE.read_bytes()
    end, begin = os.pipe()
    feeder = threading.Thread(target=lambda: (os.write(begin, data), os.close(begin)), daemon=True)
    if len(data) > 60_000:
        feeder.start()
    else:
        os.write(begin, data)
        os.close(begin)
    with program(*words, standard_input=end) as terminal:
        os.close(end)
        terminal.wait_for("xstate_bv")
        terminal.type(":tmm[1]\r")
        terminal.wait_for("xsave.xtiledata.tmm[1]")
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.is_restored


def test_standard_input_from_a_file(tmp_path: Path) -> None:
    with CORE.open("rb") as file, program("open", "-", standard_input=file.fileno()) as terminal:
        terminal.wait_for("xstate_bv")
        os.kill(terminal.child, signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.is_restored


def test_keys_come_from_the_terminal_whatever_standard_input_is() -> None:
    with open(os.devnull) as nothing, program("sample:zen5-kvm", standard_input=nothing.fileno()) as terminal:
        terminal.wait_for("vcpu0_pattern")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("words", [("-",), ("open", "-")])
def test_standard_input_that_is_the_terminal_is_refused(words: tuple[str, ...]) -> None:
    with program(*words) as terminal:
        assert terminal.end() == 2
        assert terminal.received.count(b"\n") == 1
        assert b"standard input is the terminal" in terminal.received


def test_without_a_terminal_for_keys_one_line() -> None:
    with CORE.open("rb") as file:
        with program("open", "-", standard_input=file.fileno(), controls=False) as terminal:
            assert terminal.end() == 2
        assert b"open takes keys from the terminal, and there is none" in terminal.received


def test_standard_input_that_cannot_be_read() -> None:
    with open(os.devnull) as nothing, program("open", "-", standard_input=nothing.fileno()) as terminal:
        assert terminal.end() == 3
        assert b"\x1b[?1049h" not in terminal.received


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_without_a_cursor_is_refused(name: str) -> None:
    with program("open", "sample:amx", TERM=name) as terminal:
        assert terminal.end() == 2
        assert b"inspector show prints the same as text" in terminal.received
        assert b"\x1b" not in terminal.received


# Fast keys


@pytest.mark.parametrize("seed", range(3))
def test_fast_keys_in_the_palette(seed: int) -> None:
    """Bursts as a terminal delivers them, many keys in one read; the program still takes keys behind them."""
    import random

    keys = random.Random(seed)
    with program("open", "sample:amx/process.core") as terminal:
        terminal.wait_for("xstate_bv")
        for _ in range(6):
            terminal.type("\x10" + "".join(keys.choices(PALETTE_KEYS, k=60)))
            terminal.read(0.1)
        os.kill(terminal.child, signal.SIGTERM)
        code = terminal.end()
        assert code in (0, 128 + signal.SIGTERM), terminal.received[-2000:]
        assert b"a bug of ours" not in terminal.received
