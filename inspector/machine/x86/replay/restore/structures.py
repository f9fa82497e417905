"""The structures that the recorder sweeps, beside SREGS, XSAVE and XCRS, and the state ``long``."""

from __future__ import annotations

import errno

from inspector.machine.answer import Answer
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm import mp_state
from inspector.machine.x86.kvm.enable_cap import enable_vm_cap
from inspector.machine.x86.kvm.sregs import set_sregs
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Record
from inspector.machine.x86.replay.restore.states import APIC_BASE, EFER, put, sregs_image
from inspector.machine.x86.replay.restore.structs import Struct

#: What the recorder zeroes in kvm_lapic_state: the current count of the timer.
_COUNT = slice(0x390, 0x394)


def _get_mp_state(vcpu: WholeVcpu) -> bytes:
    return mp_state.get_mp_state(vcpu).to_bytes(4, "little")


def _set_mp_state(vcpu: WholeVcpu, image: bytes) -> Outcome:
    return mp_state.set_mp_state(vcpu, int.from_bytes(image, "little"))


def _get_lapic(vcpu: WholeVcpu) -> bytes:
    image = bytearray(vcpu.lapic.get() if vcpu.lapic else 1024)
    image[_COUNT] = bytes(4)
    return bytes(image)


def _set_lapic(vcpu: WholeVcpu, image: bytes) -> Outcome:
    if vcpu.lapic is not None:
        return vcpu.lapic.set(image)
    rule = Rule("kvm_arch_vcpu_ioctl (x86.c)")
    rule.check("the VM has KVM's local APICs", held=False)
    return rule.refuse(errno.EINVAL)


def _get_nested(vcpu: WholeVcpu) -> bytes:
    return vcpu.nested.get(20000)[1][:128] or bytes(128)


#: By the name in ``base`` records.
STRUCTS = {
    "kvm_regs": Struct(144, lambda vcpu: vcpu.regs.get(), lambda vcpu, image: vcpu.regs.set(image)),
    "kvm_debugregs": Struct(128, lambda vcpu: vcpu.debugregs.get(), lambda vcpu, image: vcpu.debugregs.set(image)),
    "kvm_vcpu_events": Struct(64, lambda vcpu: vcpu.pending.get(), lambda vcpu, image: vcpu.pending.set(image)),
    "kvm_mp_state": Struct(4, _get_mp_state, _set_mp_state),
    "kvm_lapic_state": Struct(1024, _get_lapic, _set_lapic, unread=lambda vcpu: 0 if vcpu.lapic else errno.EINVAL),
    "kvm_nested_state": Struct(128, _get_nested, lambda vcpu, image: vcpu.nested.set(image)),
}


def answer(
    kind: str, text: str, expected: object, predicted: object, because: str = "", *, accepted: bool = True
) -> Answer:
    """One answer, ``kind`` being ``section.op``."""
    return Answer(kind, text, expected, predicted, accepted, because)


def encap(section: str, vcpu: WholeVcpu, record: Record) -> Answer:
    """``encap``: KVM_ENABLE_CAP on the VM, with args[0] = ``a0`` or 1."""
    outcome = enable_vm_cap(vcpu.kvm, vcpu.vm, record["cap"], record.get("a0", 1))
    text = f"cap {record['cap']}"
    return answer(f"{section}.encap", text, record["e"], outcome.code, outcome.because, accepted=not record["e"])


def long_mode(vcpu: WholeVcpu, efer: int = 0, apic_base: int | None = None) -> Outcome:
    """The recorder's state ``long``, by KVM_SET_SREGS, with bits of EFER and another APIC base."""
    image = bytearray(sregs_image(vcpu, "long"))
    put(image, EFER, int.from_bytes(image[EFER : EFER + 8], "little") | efer)
    if apic_base is not None:
        put(image, APIC_BASE, apic_base)
    return set_sregs(vcpu, bytes(image))
