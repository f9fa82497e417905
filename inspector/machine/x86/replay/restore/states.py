"""The vCPU states by the names that recordings give them, made as the recorder makes them (sregs_state, tables)."""

from __future__ import annotations

import struct

from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.segments import SIZE_BYTES, Segment
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.guest_memory import put_tables

STATES = ("reset", "prot", "pae", "long", "compat", "pse32")
_PAGING_CR0 = 0x80050033
#: CR0, CR3, CR4, EFER.
_REGISTERS = {
    "prot": (0x31, 0, 0, 0),
    "pae": (_PAGING_CR0, 0x8000, 0x620, 0),
    "pse32": (_PAGING_CR0, 0x3000, 0x610, 0),
    "long": (_PAGING_CR0, 0x1000, 0x620, 0x500),
    "compat": (_PAGING_CR0, 0x1000, 0x620, 0x500),
}
#: Offsets in struct kvm_sregs.
CR0, CR2, CR3, CR4, CR8, EFER, APIC_BASE = range(224, 280, 8)
_GDT, _IDT, _TR, _LDT = 192, 208, 144, 168


def sregs_image(vcpu: WholeVcpu, state: str) -> bytes:
    """Struct kvm_sregs of a state, over what the vCPU has; the page tables are in its memory."""
    image = bytearray(sregs.get_sregs(vcpu))
    if state == "reset":
        return bytes(image)
    put_tables(vcpu.vm)
    is_long = state == "long"
    code = Segment(0, 0xFFFFFFFF, 8, 11, 1, 0, int(not is_long), 1, int(is_long), 1, 0, 0)
    data = Segment(0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0)
    empty = Segment(*(0,) * 12)
    segments = [code, data, data, data, data, data]
    segments += [empty._replace(base=0x7000, limit=0x67, selector=0x18, type=11, present=1)]
    segments += [empty._replace(type=2, unusable=1)]
    for nth, segment in enumerate(segments):
        image[nth * SIZE_BYTES : (nth + 1) * SIZE_BYTES] = segment.image()
    struct.pack_into("<QH", image, _GDT, 0x6000, 39)
    struct.pack_into("<QH", image, _IDT, 0x4000, 511)
    cr0, cr3, cr4, efer = _REGISTERS[state]
    for offset, value in ((CR0, cr0), (CR2, 0), (CR3, cr3), (CR4, cr4), (CR8, 0), (EFER, efer)):
        put(image, offset, value)
    return bytes(image)


def set_state(vcpu: WholeVcpu, state: str) -> Outcome:
    """KVM_SET_SREGS of a state."""
    return sregs.set_sregs(vcpu, sregs_image(vcpu, state))


def put(image: bytearray, offset: int, value: int) -> None:
    """Write an 8-byte register."""
    struct.pack_into("<Q", image, offset, value)
