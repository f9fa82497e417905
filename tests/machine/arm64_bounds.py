"""What tests of single arm64 rules need: a host of bare numbers, a vCPU on it, one question and its answer."""

from __future__ import annotations

from inspector.machine.arm64 import idregs
from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.arm64.idregs import IdWrite
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from layouts.arm64.ids import RegisterId, encoding_of_op, sysreg_id
from layouts.arm64.properties import FieldPlace
from layouts.arm64.sysregs import encodings
from layouts.vocabulary import Bits


def vcpu_on(on: Host, features: int = PSCI_0_2, *, abi: str = "merged") -> Vcpu:
    """The first vCPU of a VM, initialized."""
    vm = Vm(on, abi=abi)
    assert vm.create_vcpu(0).accepted
    assert vm.vcpus[0].init(features).accepted
    return vm.vcpus[0]


def answer(outcome: Outcome) -> str:
    """The verdict's name. All checks of a yes held; of a no the last alone did not."""
    held = [check.held for check in outcome.checks]
    assert held == [True] * len(held) if outcome.accepted else held == [True] * (len(held) - 1) + [False], outcome
    return outcome.name


def put(vcpu: Vcpu, register_id: int, value: int | None) -> str:
    """KVM_SET_ONE_REG; None: a pointer that cannot be read."""
    size = RegisterId(register_id).size_bytes
    found = answer(vcpu.set(register_id, None if value is None else value.to_bytes(size, "little")))
    assert all(len(data) == RegisterId(one).size_bytes for one, data in vcpu.values.items())
    return found


def get(vcpu: Vcpu, register_id: int) -> str | int:
    """KVM_GET_ONE_REG: the register, or the errno's name."""
    outcome = vcpu.get(register_id)
    name = answer(outcome)
    if not outcome.accepted:
        return name
    assert outcome.value in (0, int.from_bytes(outcome.image, "little"))
    assert len(outcome.image) == RegisterId(register_id).size_bytes
    return int.from_bytes(outcome.image, "little")


def encoding(name: str) -> int:
    """A system register by its name."""
    return encoding_of_op(encodings()[name])


def rid(name: str) -> int:
    """The KVM id of a system register by its name."""
    return sysreg_id(encoding(name))


def ask(
    on: Host, register: int, value: int, *, features: int = PSCI_0_2, ran: bool = False, imp: bool = False
) -> tuple[str, int]:
    """The answer to a write of an ID register that holds its limit, and the register then."""
    current = on.limit(register, features)
    written = idregs.write(IdWrite(on, register, value, features, current, ran, imp))
    return answer(written.outcome), written.value


def place(register: int, bits: Bits) -> FieldPlace:
    """A field of an ID register."""
    return FieldPlace(bits.name, bits.lsb, bits.width, register="", encoding=register)
