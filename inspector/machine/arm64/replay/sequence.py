"""Random lifecycles: a fresh VM of two vCPUs, each step's answer follows from those before."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError, text_of
from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from layouts.arm64.ids import PC, SVE_VLS, SYSREG, X0, RegisterId

#: A recorded step: its operation, its operands, its answer.
Recorded = list[Any]
_SHOWN_BYTES = 16
_INTERRUPTED = -4
#: The recorder's program: x0 gets the address of a device, the second instruction accesses it and stops there.
_DEVICE = (0x0200_0000).to_bytes(8, "little")
_START, _ACCESS = ((0x0100_0000 + offset).to_bytes(8, "little") for offset in (0, 4))


def replay_sequence(host: Host, record: dict[str, Any], *, recalled: bool) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of one sequence, a step each. ``recalled``: the host is what the file itself shows."""
    sequence = _Sequence(host)
    for number, step in enumerate(record["steps"]):
        if step[0] == "nop":
            continue
        kind, cause = f"seq {step[0]}", sequence.not_asked(step, recalled=recalled)
        predicted, accepted, because = sequence.steps[step[0]](step)
        if cause or predicted is None:
            yield NotAsked(kind, cause or causes.HIDDEN, 1)
        elif predicted == step[1:]:
            yield Agreed(kind, int(accepted), int(not accepted))
        else:
            yield Answer(kind, f"{record['n']} step {number}: {text_of(step)}", step[1:], predicted, accepted, because)


#: What the machine says, None where it hangs on what nobody knows of the host; whether the kernel accepted it; why.
Played = tuple[list[Any] | None, bool, str]


class _Sequence:
    """One VM: what its steps act on."""

    def __init__(self, host: Host) -> None:
        self.vm = Vm(host)
        self.steps: dict[str, Callable[[Recorded], Played]] = {
            "create_vcpu": self._create,
            "enable_imp_id_regs": self._imp,
            "init": self._init,
            "finalize": self._finalize,
            "set_vls": self._set_vls,
            "get_vls": self._get_vls,
            "list": self._list,
            "get": self._get,
            "set": self._set,
            "run": self._run,
        }

    def _vcpu(self, step: Recorded) -> Vcpu:
        found = self.vm.vcpus.get(step[1])
        if found is None:
            raise RecordError(f"{text_of(step)}: vCPU {step[1]} was not created")
        return found

    def not_asked(self, step: Recorded, *, recalled: bool) -> str:
        """Why a step's answer is not asked for; empty where it is."""
        operation = step[0]
        if operation == "get":
            register_id = RegisterId(step[2], 16)
            is_recalled = recalled and register_id.coprocessor == SYSREG
            return causes.of(self._vcpu(step), register_id) or (causes.RECALLED if is_recalled else "")
        if operation == "list" and recalled and step[2] == errno.E2BIG:
            # How many there are hangs on ID registers that the file may not show.
            return causes.RECALLED
        return causes.TIMER if operation == "run" and step[3] == _INTERRUPTED else ""

    def _create(self, step: Recorded) -> Played:
        outcome = self.vm.create_vcpu(step[1])
        return [step[1], outcome.code], step[2] == 0, outcome.because

    def _imp(self, step: Recorded) -> Played:
        outcome = self.vm.enable_imp_id_regs()
        return [outcome.code], step[1] == 0, outcome.because

    def _init(self, step: Recorded) -> Played:
        outcome = self._vcpu(step).init(int(step[2], 16))
        return [step[1], step[2], outcome.code], step[3] == 0, outcome.because

    def _finalize(self, step: Recorded) -> Played:
        outcome = self._vcpu(step).finalize(step[2])
        return [step[1], step[2], outcome.code], step[3] == 0, outcome.because

    def _set_vls(self, step: Recorded) -> Played:
        vqs = int(step[2], 16)
        outcome = self._vcpu(step).set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
        return [step[1], step[2], outcome.code], step[3] == 0, outcome.because

    def _get_vls(self, step: Recorded) -> Played:
        outcome = self._vcpu(step).get(SVE_VLS)
        return [step[1], outcome.code, f"{outcome.value:x}"], step[2] == 0, outcome.because

    def _list(self, step: Recorded) -> Played:
        """Asked for with no room: E2BIG and the count."""
        outcome = self._vcpu(step).reg_list()
        code, count = (errno.E2BIG, outcome.value) if outcome.accepted else (outcome.code, 0)
        return [step[1], code, count], step[2] == errno.E2BIG, outcome.because

    def _get(self, step: Recorded) -> Played:
        outcome = self._vcpu(step).get(int(step[2], 16))
        shown = outcome.image[:_SHOWN_BYTES].hex()
        return [step[1], step[2], outcome.code, shown], step[3] == 0, outcome.because

    def _set(self, step: Recorded) -> Played:
        register_id = int(step[2], 16)
        data = bytes.fromhex(step[3]).ljust(RegisterId(register_id).size_bytes, b"\0")
        outcome = self._vcpu(step).set(register_id, data)
        depends = outcome.verdict == "depends-on"
        return None if depends else [*step[1:4], outcome.code], step[4] == 0, outcome.because

    def _run(self, step: Recorded) -> Played:
        """PC is set first; the program then stops at a device, if a timer does not stop it before."""
        vcpu = self._vcpu(step)
        at_start: Outcome = vcpu.set(PC, _START)
        outcome = vcpu.run()
        found = outcome.value if outcome.accepted else -outcome.code
        if outcome.accepted and vcpu.values[PC] == _START:
            vcpu.values[X0], vcpu.values[PC] = _DEVICE, _ACCESS
        vcpu.mmio_pending = outcome.accepted and step[3] != _INTERRUPTED
        return [step[1], at_start.code, found], step[3] >= 0, outcome.because
