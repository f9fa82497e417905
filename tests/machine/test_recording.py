"""Files of recorded answers: which lines are records, whose they are, and the host that they are replayed on."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine import recording
from inspector.machine.shapes import ANY_TEXT

RUNNER, START, HOST, END = (
    {"op": "runner"},
    {"op": "section", "name": "x"},
    {"op": "section", "name": "host"},
    {"op": "end"},
)


def kind(*kinds: str) -> list[dict[str, Any]]:
    return [{"t": one} for one in kinds]


def test_lines_that_are_records() -> None:
    lines = (b'{"t": "idreg"}\n', b"\n", b"  \n", b'{"op": "runner", "n": 1}')
    assert list(recording.records("mine", lines)) == [{"t": "idreg"}, {"op": "runner", "n": 1}]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "mine: line 2: expected one JSON object, found Expecting property name"),
        (b"[" * 100_000, "mine: line 2: expected one JSON object, found maximum recursion"),
        (b"[1]", r'mine: line 2: expected an object with a kind "t" or "op", found \[1\]$'),
        (b'{"t": 1}', 'with a kind "t" or "op", found {"t": 1}$'),
        (b'{"op": null, "x": 0}', 'kind "t" or "op"'),
        (b'"' + b"\xc3\xa9" * 30 + b'"', 'found "' + "é" * 19 + "\ufffd$"),
    ],
)
def test_lines_that_are_none(line: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why):
        list(recording.records("mine", (b'{"t": "a"}', line)))


def test_shapes_of_records() -> None:
    shapes = {"a": {"name": ANY_TEXT}}
    recording.check_shapes("mine", [{"t": "a", "name": "x"}, {"t": "of another kind"}], "t", shapes)
    with pytest.raises(InputError, match=r"mine: record 2, a: expected .*name"):
        recording.check_shapes("mine", [{"t": "b"}, {"t": "a"}], "t", shapes)
    with pytest.raises(InputError, match="mine: record 1, of no kind"):
        recording.check_shapes("mine", [{"op": "a"}], "t", shapes)


@pytest.mark.parametrize(
    ("found", "arm64", "restore", "names_host"),
    [
        ([], False, False, True),
        (kind("prog"), False, False, False),
        (kind("ptrace", "prog"), False, False, False),
        (kind("prog", "uname"), False, False, True),
        (kind("prog", "cpuid"), False, False, True),
        (kind("ptrace", "meta"), False, False, True),
        (kind("msr"), False, False, True),
        *((kind("uname", one), True, False, True) for one in ("idreg", "idw", "reglist", "feat")),
        ([{"t": "seq", "steps": [["create_vm"], ["create_vcpu", 0]]}], True, False, True),
        ([{"t": "seq", "steps": [1, ["init"]]}], True, False, True),
        ([{"t": "seq", "steps": [["create_vm"]]}], False, False, True),
        ([{"t": "seq", "steps": [["create_vm"]]}, *kind("idreg")], False, False, True),
        ([{"t": "seq", "steps": "init"}], False, False, True),
        ([{"op": "deep"}], True, False, True),
        ([RUNNER], True, True, False),
        ([RUNNER, START, END], True, True, False),
        ([RUNNER, {"op": "end", "name": "host"}], True, True, False),
        ([RUNNER, HOST, END], True, True, True),
        ([START, RUNNER], True, False, True),
    ],
)
def test_whose_records_they_are(found: list[dict[str, Any]], arm64: bool, restore: bool, names_host: bool) -> None:
    """A restore of x86 is asked for before arm64 is."""
    assert recording.is_arm64(found) is arm64
    assert recording.is_restore(found) is restore
    assert recording.names_host(iter(found)) is names_host


def test_records_of_another_file_name_the_host() -> None:
    assert recording.with_host(kind("prog"), kind("uname", "cpuid")) == kind("uname", "cpuid", "prog")
    first, last, case = {"op": "cpuid", "n": 1}, {"op": "end", "name": "host"}, {"op": "case"}
    borrowed = {"op": recording.BORROWED_HOST}
    for host, section in (
        ([RUNNER, START, END, HOST, first, END, case], [HOST, first]),
        ([RUNNER, HOST, first], [HOST, first]),
        ([RUNNER, START, END], []),
    ):
        assert recording.with_host([RUNNER, case], host) == [RUNNER, borrowed, *section, last, case]
