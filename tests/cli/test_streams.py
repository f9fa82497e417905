"""Streams as they may be: closed, full, of another encoding, cut off; and errors that nobody expected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.capture.bug import OurBugError
from inspector.capture.errors import UsageError
from inspector.cli import samples as samples_command
from inspector.cli.main import main

INSPECTOR = f"{sys.executable} -m inspector"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, with the program as ``inspector``."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("inspector ", f"{INSPECTOR} ", 1)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words", ["show sample:amx/process.core", "show sample:amx/process.core --json", "samples", "--help", "show --help"]
)
def test_a_full_output_is_one_line(words: str, unbuffered: str) -> None:
    done = shell(f"inspector {words} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (2, "inspector: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("inspector samples >&-", 2, "standard output: Bad file descriptor"),
        ("inspector show - <&-", 3, "expected standard input, found a closed one"),
        ("inspector show /does/not/exist 2>&-", 3, ""),
        ("inspector show /does/not/exist 2> /dev/full", 3, ""),
        ("inspector convert sample:zen5 --to cpuid -o - > /dev/full", 2, "No space left on device"),
        ("inspector convert sample:zen5 --to cpuid -o - >&-", 2, "Bad file descriptor"),
    ],
)
def test_closed_and_full_streams(line: str, code: int, said: str) -> None:
    done = shell(line)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == (1 if said else 0)


@pytest.mark.parametrize(
    "words",
    [
        "show sample:amx/process.core",
        "show sample:amx/process.core --json",
        "show sample:zen5-threads/xcore.core.gz --list",
        "convert sample:amx/process.core --to json -o -",
        "sim list",
        "models show neoverse-v1-v1",
        "layouts list",
        "samples",
    ],
)
def test_a_reader_that_has_seen_enough_is_no_error(words: str) -> None:
    done = shell(f"inspector {words} | head -1")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii", "utf-8:strict"])
@pytest.mark.parametrize("words", ["show sample:amx/process.core", "show sample:amx --json", "sim two-buffers"])
def test_any_encoding_of_the_output(words: str, encoding: str) -> None:
    done = shell(f"inspector {words}", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_a_command_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_words: object) -> int:
        raise KeyboardInterrupt

    def interrupted_in_a_class(_words: object) -> int:
        # What Python 3.11 makes of a Ctrl-C in __set_name__.
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    for run in (interrupted, interrupted_in_a_class):
        monkeypatch.setattr(samples_command, "run", run)
        assert main(["samples"]) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_the_program_starts() -> None:
    """The door stands before the first import of ours; what Python itself does before it is Python's."""
    code = (
        "import builtins, sys\n"
        "kept = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name.startswith('inspector.cli'):\n"
        "        raise KeyboardInterrupt\n"
        "    return kept(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "from inspector.__main__ import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("asked", [False, True])
def test_the_end_of_the_program(*, asked: bool) -> None:
    """All is written, and who asked to be called at the end is called."""
    before = "import atexit; atexit.register(print, 'at the end')\n" if asked else ""
    code = f"{before}from inspector.__main__ import enter\nenter()\nprint('behind it')"
    done = subprocess.run([sys.executable, "-c", code, "samples"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines) > 100, lines[-1] == "at the end", "behind it" in lines) == (
        0,
        True,
        asked,
        asked,
    )


def test_a_real_ctrl_c() -> None:
    """While a pipe is read: it has taken more than a pipe holds, so it waits for the rest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inspector", "show", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell ignores it for jobs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdin is not None
    process.stdin.write(b"[" + bytes([0x20]) * (1 << 20))
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b""
    assert process.returncode == 130


def test_a_bug_of_ours_is_told_as_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(_words: object) -> int:
        raise KeyError("na\x1bmed")

    monkeypatch.setattr(samples_command, "run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["samples"]) == 70
    (report,) = tmp_path.iterdir()
    line = capsys.readouterr().err
    assert line == rf"inspector: a bug of ours: KeyError: 'na\x1bmed'; please report it with {report}" + "\n"
    assert "raise KeyError" in report.read_text()


def test_a_bug_without_a_place_for_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/does/not/exist")
    assert "with the command and its input" in str(OurBugError(ValueError("x")))


def test_an_error_that_is_its_own_cause(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ring(_words: object) -> int:
        error = UsageError("round")
        raise error from error

    monkeypatch.setattr(samples_command, "run", ring)
    assert main(["samples"]) == 2
    assert capsys.readouterr().err == "inspector: round\n"


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(_words: object) -> int:
        raise MemoryError

    monkeypatch.setattr(samples_command, "run", greedy)
    assert main(["samples"]) == 3
    assert capsys.readouterr().err == "inspector: not enough memory for this\n"
