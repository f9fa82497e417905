"""Recorded writes to ID registers: every digit of one with every value, and chosen values."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.arm64 import idregs
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.hosts import CONFIGURATIONS
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Check, Outcome
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import MPIDR, sysreg_id

Record = dict[str, Any]
#: What was recorded, what the machine says, whether the kernel accepted it, and why the machine says so.
Found = tuple[object, object, bool, str]
Counted = Answer | Agreed | NotAsked
#: 0 where a value reads back as written, what it reads back as, or an errno; None: what the host hides decides.
Predicted = int | str | None


#: MPIDR_EL1 is each vCPU's own and takes anything.
_KEPT = Outcome("ok", 0, (Check("any value is kept", held=True),), "reset_mpidr")
_NO_REGISTER = Outcome("errno", errno.ENOENT, (Check("the kernel has such a register", held=False),), "get_reg_by_id")


def written(asked: idregs.IdWrite) -> idregs.Written:
    """What comes of a write to whatever was recorded as an ID register."""
    if asked.encoding == MPIDR:
        return idregs.Written(_KEPT, asked.value)
    if asked.encoding not in asked.host.kernel.registers:
        return idregs.Written(_NO_REGISTER, asked.current)
    return idregs.write(asked)


def fresh(vm: Vm, features: int, number: int = 0) -> Vcpu:
    """A vCPU that is made and initialized."""
    vm.create_vcpu(number)
    vcpu = vm.vcpus[number]
    vcpu.init(features)
    return vcpu


class IdRegisters:
    """The ID registers of one host. ``recalled``: the host is what the file itself shows."""

    def __init__(self, host: Host, *, recalled: bool) -> None:
        self.host, self.recalled = host, recalled
        self._fresh: dict[str, Vcpu] = {}
        #: What writes came to, by all that they hang on.
        self._written: dict[tuple[object, ...], idregs.Written] = {}

    def _before(self, configuration: str, encoding: int) -> int:
        """A register as a fresh vCPU of a configuration has it."""
        vcpu = self._fresh.get(configuration)
        if vcpu is None:
            vcpu = self._fresh[configuration] = fresh(Vm(self.host), CONFIGURATIONS[configuration])
        return vcpu.get(sysreg_id(encoding)).value

    def idreg(self, record: Record) -> Iterator[Counted]:
        """The host's value, and 256 answers: each nibble of it with each value."""
        encoding, value = encoding_of_text(record["reg"]), int(record["host"], 16)
        if self.recalled:
            yield NotAsked("idreg", causes.RECALLED, 1)
            yield from self._digits(record, encoding, value)
            return
        before = self._before(record["cfg"], encoding)
        name = f"{record['cfg']} {record['reg']}"
        yield Answer("idreg", name, f"{value:016x}", f"{before:016x}", accepted=True)
        yield from self._digits(record, encoding, before)

    def _digits(self, record: Record, encoding: int, before: int) -> Iterator[Counted]:
        recorded = int(record["host"], 16)
        depends, agreed = 0, [0, 0]
        for nibble, answers in enumerate(record["nib"]):
            shift = 4 * nibble
            kept = recorded & ~(0xF << shift)
            for digit, expected in enumerate(answers):
                predicted, because = self._write(record["cfg"], encoding, kept | digit << shift, before)
                accepted = isinstance(expected, str) or expected == 0
                if predicted == expected:
                    agreed[not accepted] += 1
                elif predicted is None:
                    depends += 1
                else:
                    where = f"{record['cfg']} {record['reg']} bits {shift + 3}:{shift} = {digit:x}"
                    yield Answer("idreg", where, expected, predicted, accepted, because)
        yield Agreed("idreg", *agreed)
        if depends:
            yield NotAsked("idreg", causes.HIDDEN, depends)

    def _write(self, configuration: str, encoding: int, value: int, before: int) -> tuple[Predicted, str]:
        """What comes of a write, and why."""
        features, imp = CONFIGURATIONS[configuration], configuration == "imp"
        asked = idregs.IdWrite(self.host, encoding, value, features, before, writable_imp=imp)
        key = *idregs.hangs_on(asked), value
        found = self._written.get(key)
        if found is None:
            found = self._written[key] = written(asked)
        outcome = found.outcome
        if outcome.verdict == "depends-on":
            return None, outcome.because
        if not outcome.accepted:
            return outcome.code, outcome.because
        return 0 if found.value == value else f"{found.value:016x}", outcome.because

    def idw(self, record: Record) -> Iterator[Found | str]:
        """A chosen value: its errno, and what the register reads then."""
        encoding, value = encoding_of_text(record["reg"]), int(record["w"], 16)
        before = self._before(record["cfg"], encoding)
        predicted, because = self._write(record["cfg"], encoding, value, before)
        if predicted is None:
            yield causes.HIDDEN
            return
        code = predicted if isinstance(predicted, int) else 0
        reads = predicted if isinstance(predicted, str) else f"{before if code else value:016x}"
        yield [record["err"], record["rb"]], [code, reads], record["err"] == 0, because
