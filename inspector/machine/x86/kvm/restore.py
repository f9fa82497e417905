"""A whole vCPU, saved and restored: the calls that a VMM makes, in its order.

Source: the ioctls of Linux Documentation/virt/kvm/api.rst; the orders are those of QEMU (target/i386/kvm/kvm.c,
kvm_arch_put_registers), Firecracker (src/vmm/src/arch/x86_64/vcpu.rs, restore_state) and Cloud Hypervisor
(hypervisor/src/kvm/mod.rs, set_state).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm import cpuid_ioctls
from inspector.machine.x86.kvm.msrs import access
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.guest_cpuid import Entry
    from inspector.machine.x86.kvm.whole import WholeVcpu

# A call's rules are imported when it is made: few captures have state for all of them.

#: Steps by name. ``sregs2`` is KVM_SET_SREGS where the state or the kernel has no KVM_SET_SREGS2.
QEMU = ("tsc_khz", "sregs2", "nested", "regs", "xsave", "xcrs", "msrs", "events", "mp", "debugregs", "lapic")
FIRECRACKER = ("tsc_khz", "mp", "regs", "sregs", "xsave", "xcrs", "debugregs", "lapic", "msrs", "events", "nested")
CLOUD_HYPERVISOR = ("mp", "regs", "sregs", "xsave", "xcrs", "lapic", "nested", "tsc_khz", "msrs", "events")
MSRS_FIRST = ("msrs", "lapic", "xcrs", "xsave", "sregs", "regs", "debugregs", "events", "mp", "nested")
#: As many as the recorder gives to one KVM_SET_MSRS.
MSRS_A_CALL = 250
_NESTED_SIZE_BYTES = 20000
_XCRS = struct.Struct("<2I32Q")
_XCRS_SIZE_BYTES = 392


class Saved(NamedTuple):
    """What a VMM saved of a vCPU: the structures as bytes, None where there is none.

    ``msrs`` are (index, value) in the order in which they are set, ``tsc_khz`` 0 where nobody saved it.
    """

    cpuid: tuple[Entry, ...]
    regs: bytes
    sregs: bytes
    sregs2: bytes | None
    xsave: bytes
    xcrs: bytes
    msrs: tuple[tuple[int, int], ...]
    events: bytes
    mp_state: int
    debugregs: bytes
    lapic: bytes | None
    nested: bytes | None
    tsc_khz: int = 0


class SetCall(NamedTuple):
    """One call of a restore: what it came to. ``counts`` and ``refused``: of KVM_SET_MSRS, call by call."""

    name: str
    outcome: Outcome
    counts: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()


def restore(vcpu: WholeVcpu, saved: Saved, order: Sequence[str], *, give_up: Collection[int] = ()) -> list[SetCall]:
    """Make the calls; a refused one does not end it, and a refused MSR is passed over, but one of ``give_up``."""
    steps = []
    for name in order:
        if name == "msrs":
            steps.append(_set_msrs(vcpu, saved.msrs, give_up))
            continue
        if name == "lapic" and saved.lapic is None:
            continue
        if name == "sregs2" and (saved.sregs2 is None or not vcpu.kvm.since(5, 14)):
            name = "sregs"
        steps.append(SetCall(name, _CALLS[name](vcpu, saved)))
    return steps


def _nothing(what: str) -> Outcome:
    rule = Rule("the VMM")
    rule.check(f"no {what} was saved: nothing is set", held=True)
    return rule.ok()


def _set_nested(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    return vcpu.nested.set(saved.nested) if saved.nested is not None else _nothing("nested state")


def _set_tsc_khz(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    if not saved.tsc_khz:
        return _nothing("frequency")
    from inspector.machine.x86.kvm.clock import set_tsc_khz

    return set_tsc_khz(vcpu, saved.tsc_khz)


def _set_xsave(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    from inspector.machine.x86.kvm.xsave import set_xsave

    return set_xsave(vcpu, saved.xsave)


def _set_sregs(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    from inspector.machine.x86.kvm.sregs import set_sregs

    return set_sregs(vcpu, saved.sregs)


def _set_sregs2(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    from inspector.machine.x86.kvm.sregs import set_sregs2

    return set_sregs2(vcpu, saved.sregs2 or b"")


def _set_mp_state(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    from inspector.machine.x86.kvm.mp_state import set_mp_state

    return set_mp_state(vcpu, saved.mp_state)


def _set_lapic(vcpu: WholeVcpu, saved: Saved) -> Outcome:
    if vcpu.lapic is None or saved.lapic is None:
        return _nothing("in-kernel APIC")
    return vcpu.lapic.set(saved.lapic)


_CALLS: dict[str, Callable[[WholeVcpu, Saved], Outcome]] = {
    "tsc_khz": _set_tsc_khz,
    "sregs": _set_sregs,
    "sregs2": _set_sregs2,
    "nested": _set_nested,
    "regs": lambda vcpu, saved: vcpu.regs.set(saved.regs),
    "xsave": _set_xsave,
    "xcrs": lambda vcpu, saved: set_xcrs(vcpu, saved.xcrs),
    "events": lambda vcpu, saved: vcpu.pending.set(saved.events),
    "mp": _set_mp_state,
    "debugregs": lambda vcpu, saved: vcpu.debugregs.set(saved.debugregs),
    "lapic": _set_lapic,
}


def _set_msrs(vcpu: WholeVcpu, entries: tuple[tuple[int, int], ...], give_up: Collection[int]) -> SetCall:
    """KVM_SET_MSRS in calls of 250; after a refused entry, the next call begins behind it."""
    counts, refused, at = [], [], 0
    outcome = _nothing("MSR")
    while at < len(entries):
        call = entries[at : at + MSRS_A_CALL]
        found = access.set_msrs(vcpu, call)
        done = found.value
        counts.append(done)
        at += done
        if done < len(call):
            refused.append(entries[at][0])
            at = len(entries) if refused[-1] in give_up else at + 1
        if outcome.accepted:
            outcome = found
    return SetCall("msrs", outcome, tuple(counts), tuple(refused))


def set_xcrs(vcpu: WholeVcpu, image: bytes) -> Outcome:
    """KVM_SET_XCRS with struct kvm_xcrs."""
    from inspector.machine.x86.kvm import xcrs

    count, flags, *words = _XCRS.unpack_from(image)
    entries = [(words[at] & 0xFFFFFFFF, words[at + 1]) for at in range(0, len(words), 2)]
    return xcrs.set_xcrs(vcpu, entries, count=count, flags=flags)


def get_xcrs(vcpu: WholeVcpu) -> bytes:
    """KVM_GET_XCRS: struct kvm_xcrs."""
    from inspector.machine.x86.kvm import xcrs

    count, value = xcrs.get_xcrs(vcpu)
    return _XCRS.pack(count, 0, 0, value, *(0,) * 30).ljust(_XCRS_SIZE_BYTES, b"\0")


def save(vcpu: WholeVcpu, indexes: Sequence[int]) -> Saved:
    """What a VMM reads of a vCPU, with these MSRs as far as they can be read."""
    from inspector.machine.x86.kvm import mp_state, sregs, xsave

    values = ((index, access.read(vcpu, index)) for index in indexes)
    code, nested = vcpu.nested.get(_NESTED_SIZE_BYTES)
    return Saved(
        cpuid=cpuid_ioctls.entries_of(vcpu),
        mp_state=mp_state.get_mp_state(vcpu),
        regs=vcpu.regs.get(),
        sregs=sregs.get_sregs(vcpu),
        sregs2=sregs.get_sregs2(vcpu) if vcpu.kvm.since(5, 14) else None,
        xsave=xsave.get_xsave(vcpu),
        xcrs=get_xcrs(vcpu),
        msrs=tuple((index, value) for index, value in values if isinstance(value, int)),
        events=vcpu.pending.get(),
        lapic=vcpu.lapic.get() if vcpu.lapic is not None else None,
        debugregs=vcpu.debugregs.get(),
        nested=None if code else nested,
        tsc_khz=vcpu.tsc_khz,
    )
