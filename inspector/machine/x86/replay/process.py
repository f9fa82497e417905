"""Recorded answers to processes: arch_prctl, sigaltstack, AMX instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.cpu.processor import Instruction
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.kernel import Linux
from layouts.x86.xsave import PKRU, TILECFG

Record = dict[str, Any]
#: Expected, predicted, accepted by the real kernel, why the machine says so.
Found = tuple[object, object, bool, str]
Kinds = dict[str, Callable[[Record], Iterator[Found]]]

#: Contexts that go on in the process before them; every other new name is a new process.
_SAME_PROCESS = frozenset(("thread", "after-vcpu", "small-altstack", "altstack3072", "altstack16384"))
_PKRU = 1 << PKRU
_INSTRUCTIONS: dict[str, Instruction] = {
    "ldtilecfg": tiles.ldtilecfg,
    "tilerelease": tiles.tilerelease,
    "tilezero": lambda cpu: tiles.tilezero(cpu, 0),
}
_BAD_OPERATION = 22


class ProcessReplay:
    """The process that records are about: ``ctx`` names tell when it is another one."""

    def __init__(self, host: Host) -> None:
        self.linux = Linux(host)
        self.process = self.linux.spawn()
        self.context = ""

    def kinds(self) -> Kinds:
        """The functions by kind of record."""
        return {"xgetbv": self._xgetbv, "prctl": self._prctl, "amx": self._amx, "sigaltstack": self._sigaltstack}

    def enter(self, context: str) -> None:
        """Go to the process of a context."""
        if context == self.context:
            return
        self.context = context
        cpu = self.linux.cpu(0)
        if context in ("forked", "exec"):
            self.process = self.linux.fork(cpu, self.process.leader)
            if context == "exec":
                self.linux.exec(cpu, self.process.leader)
        elif context not in _SAME_PROCESS:
            self.process = self.linux.spawn()

    def _xgetbv(self, record: Record) -> Iterator[Found]:
        yield int(record["xcr0"], 16), self.linux.host.user_max, True, "fpu__init_cpu_xstate"

    def _prctl(self, record: Record) -> Iterator[Found]:
        self.enter(record["ctx"])
        outcome = self._operation(record["op"], record.get("arg", 0))
        if outcome is None:
            yield record["ret"], -_BAD_OPERATION, record["ret"] == 0, "no such operation"
            return
        expected: list[object] = [record["ret"]]
        predicted: list[object] = [-outcome.code]
        if "val" in record:
            expected.append(record["val"])
            predicted.append(f"{outcome.value:x}")
        yield expected, predicted, record["ret"] == 0, outcome.because

    def _operation(self, name: str, component: int) -> Outcome | None:
        process = self.process
        if name == "GET_SUPP":
            return process.get_supported()
        if name in ("GET_PERM", "GET_GUEST_PERM"):
            return process.get_permission(guest=name == "GET_GUEST_PERM")
        if name in ("REQ_PERM", "REQ_GUEST_PERM"):
            return process.request_permission(component, guest=name == "REQ_GUEST_PERM")
        return None

    def _sigaltstack(self, record: Record) -> Iterator[Found]:
        if not record["ctx"].startswith("after-"):
            self.process = self.linux.spawn()
        outcome = self.process.sigaltstack(record["size"])
        yield record["err"], outcome.code, record["err"] == 0, outcome.because

    def _amx(self, record: Record) -> Iterator[Found]:
        """``tilezero`` stands for LDTILECFG and TILEZERO. XINUSE: the tile bits are predicted."""
        self.enter(record["ctx"])
        linux, thread = self.linux, self.process.leader
        cpu = linux.cpu(0)
        linux.to_user(cpu, thread)
        before = int(record["xinuse_before"], 16)
        yield before >> TILECFG, linux.registers(thread).in_use >> TILECFG, True, "tile state before"
        for name in ("ldtilecfg", "tilezero") if record["what"] == "tilezero" else (record["what"],):
            outcome = linux.run(cpu, thread, _INSTRUCTIONS[name])
            if not outcome.accepted:
                break
        killed = not outcome.accepted
        yield (
            [record["sig"], record["code"]],
            [outcome.code, outcome.value if killed else 0],
            record["sig"] == 0,
            outcome.because,
        )
        if killed:
            linux.clear_user_states(cpu, thread)
        after = (before & _PKRU if killed else before & (1 << TILECFG) - 1) | (
            linux.registers(thread).in_use >> TILECFG << TILECFG
        )
        yield int(record["xinuse_after"], 16), after, not killed, "state in use after"
