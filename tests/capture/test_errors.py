"""One line a fault, its exit code, and what nobody expected as a report that can be passed on."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from inspector.capture.bug import OurBugError, told
from inspector.capture.errors import (
    EditError,
    InputError,
    InspectorError,
    MemoryShortError,
    OutputError,
    UsageError,
    visible,
)


def test_an_input_error_names_file_offset_expected_and_found() -> None:
    error = InputError("core", "a note of 8 bytes", "5", 0x1F0)
    assert str(error) == "core: offset 0x1f0: expected a note of 8 bytes, found 5"
    assert (error.file, error.offset, error.expected, error.found) == ("core", 0x1F0, "a note of 8 bytes", "5")
    assert str(InputError("core", "a note", "none")) == "core: expected a note, found none"


@pytest.mark.parametrize(
    ("kind", "code"), [(InspectorError, 1), (UsageError, 2), (OutputError, 2), (EditError, 2), (MemoryShortError, 3)]
)
def test_the_exit_code_is_the_kind(kind: type[InspectorError], code: int) -> None:
    assert kind("x").exit_code == code
    assert InputError("f", "a", "b").exit_code == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ä 漢", "plain ä 漢"), ("a\x1b[2J", "a\\x1b[2J"), ("two\nlines", "two\\nlines"), ("\u202e", "\\u202e")],
)
def test_no_text_drives_the_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert str(UsageError(text)) == shown
    assert shown in str(InputError(text, text, text))


def test_a_users_error_is_told_as_it_is() -> None:
    error = UsageError("words")
    assert told(error) is error


def test_too_little_memory_and_a_full_disk_are_no_bugs_of_ours() -> None:
    assert isinstance(told(MemoryError()), MemoryShortError)
    full = told(OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(full, OutputError)
    assert str(full) == "standard output: No space left on device"


def test_a_bug_of_ours_names_a_report_with_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["inspector", "show", "a\x1bfile"])
    try:
        raise KeyError("xstate_bv")
    except KeyError as error:
        found = told(error)
    assert isinstance(found, OurBugError)
    assert found.exit_code == 70
    assert str(found).startswith("a bug of ours: KeyError: 'xstate_bv'; please report it with ")
    report = Path(found.report).read_text()
    assert "inspector show a\\x1bfile" in report
    assert "Traceback" in report
    assert "test_errors.py" in report


def test_another_fault_of_the_system_is_a_bug_until_somebody_foresees_it() -> None:
    assert isinstance(told(OSError(errno.ENOENT, "gone")), OurBugError)


def test_without_a_place_for_a_report_the_line_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    found = OurBugError(ValueError("x"))
    assert found.report == ""
    assert "no report could be written" in str(found)


def test_a_report_that_is_half_written_does_not_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def refused(descriptor: int, *_: object, **__: object) -> object:
        os.close(descriptor)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fdopen", refused)
    assert OurBugError(ValueError("x")).report == ""
    assert list(tmp_path.iterdir()) == []
