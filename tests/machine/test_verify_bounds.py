"""Whose host a file is replayed on, which replay its records go to, and whose fault an error in one is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import Agreed
from inspector.machine.outcome import MemoryFaultError
from inspector.machine.verify import verify
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.replay.records import DEFAULT_CPU

UNAME, OLDER = b'{"t":"uname","release":"7.2.1"}', b'{"t":"uname","release":"6.12.1"}'
SUPPORTED = b'{"t":"prctl","ctx":"fresh","op":"GET_SUPP","ret":0,"val":"7"}'
FEATURE = b'{"t":"feat","bit":0,"err":0}'
PROGRAM = b'{"t":"prog","group":"g","id":"1","steps":[],"end":{}}'
REPLAY, RULES = "inspector.machine.x86.replay.kvm", "inspector.machine.x86.cpu.memory"
X86, RESTORE = "inspector.machine.x86.replay.records.replay", "inspector.machine.x86.replay.restore.replay.replay"


def test_the_cpu_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the one that the records have, or the default."""
    hosts: list[Host] = []

    def replay(host: Host, _found: object) -> Iterator[Agreed]:
        hosts.append(host)
        return iter([Agreed("a kind", 1, 0)])

    monkeypatch.setattr(X86, replay)
    for cpu in ("skylake-x", ""):
        verify("f", [UNAME, SUPPORTED], cpu)
    verify("f", [UNAME, SUPPORTED])
    wanted = [shipped_cpu("skylake-x"), shipped_cpu(DEFAULT_CPU), shipped_cpu(DEFAULT_CPU)]
    assert [host.cpuid.leaves for host in hosts] == [cpu.leaves for cpu in wanted]


def test_a_host_is_borrowed_where_the_file_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(X86, lambda *_: iter([Agreed("a kind", 1, 0)]))
    assert verify("f", [OLDER, PROGRAM], host=[UNAME]).host.startswith("kernel 6.12, ")
    assert verify("f", [PROGRAM], host=[OLDER]).host.startswith("kernel 6.12, ")
    with pytest.raises(InputError, match="f: its host: line 1: expected one JSON object"):
        verify("f", [PROGRAM], host=[b"{"])


@pytest.mark.parametrize(
    ("file", "host"),
    [
        ("f", "f, kernel 7.2, from the file's own answers"),
        ("arm64-linux-7.2-max.jsonl", "max, kernel 7.2, from bare registers"),
    ],
)
def test_the_host_of_arm64_records(file: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.machine.arm64.replay.records.replay", lambda *_: iter([Agreed("a kind", 1, 0)]))
    assert verify(file, [UNAME, FEATURE]).host == host


def raising(error: Exception, *modules: str) -> Any:
    """A replay that an error ends: of the first module, which calls the next, the last of which raises."""
    found: Any = None
    for module in reversed(modules):
        names: dict[str, Any] = {"__name__": module, "error": error, "inner": found}
        exec(f"def replay(*_):\n    {'inner()' if found else 'raise error'}", names)
        found = names["replay"]
    return lambda *_: (found() for _ in "1")


@pytest.mark.parametrize(
    ("error", "modules", "of_file"),
    [
        (KeyError("x"), (REPLAY,), True),
        (KeyError("x"), (RULES,), False),
        (KeyError("x"), (REPLAY, RULES), False),
        (KeyError("x"), (RULES, REPLAY), True),
        (MemoryFaultError(13, 0), (RULES,), True),
        (struct.error("x"), (RULES,), True),
        (OSError("x"), (REPLAY,), False),
    ],
)
def test_whose_fault_it_is(
    error: Exception, modules: tuple[str, ...], of_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of programs have no shape: what cannot be done with one is told when it is done, of other records never."""
    monkeypatch.setattr(X86, raising(error, *modules))
    told = rf"^f: expected records as the recorder writes them, found {type(error).__name__}: "
    with pytest.raises(InputError if of_file else type(error), match=told if of_file else None):
        verify("f", [UNAME, PROGRAM])
    with pytest.raises(type(error)):
        verify("f", [UNAME, SUPPORTED])


def test_captures_go_to_the_replay_of_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def replay(_bench: object, captures: object) -> Any:
        asked.append(captures)
        return iter([Agreed("a kind", 1, 0)])

    monkeypatch.setattr(RESTORE, replay)
    monkeypatch.setattr("inspector.machine.verify.restore_shapes.check", lambda *_: None)
    monkeypatch.setattr("inspector.machine.verify.Bench", Bench)
    assert verify("f", [b'{"op":"runner"}'], captures=_none).host == "a CPU, kernel 6.12, from bare CPUID"
    assert verify("f", [b'{"op":"runner","cpu":"one"}']).host == "one, kernel 6.12, from bare CPUID"
    assert asked == [_none, None]


def _none(_name: str) -> None:
    return None


class Bench:
    """As much of a bench as is told."""

    def __init__(self, _file: str, found: list[dict[str, str]]) -> None:
        self.runner = found[0]
        self.kvm = self
        self.kernel = self
        self.label = "6.12"
