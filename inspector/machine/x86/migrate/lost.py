"""What is accepted and lost all the same: nobody refuses it, and the guest is another one afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.leaves import leaf_in
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.migrate import tsc
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Call, Restored
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, facts_of
from inspector.machine.x86.migrate.places import XSTATE_LEAF, names_of
from layouts.light import NamedTuple
from layouts.x86.evidence import NEEDED_MSRS
from layouts.x86.models.features import features
from layouts.x86.vmms import Vmm
from layouts.x86.xsave import BY_NUMBER, DYNAMIC

_KVM_XSAVE_BYTES = 4096
#: MSRs that count time, or tell the frequency of a TSC that nobody measured: they read back as another value.
_TIME = frozenset((0x10, 0x6E0, 0x838, 0x839, 0x40000010, 0x40000020, 0x40000022))
_MCG_CAP = 0x179
_GUEST_MODE_FLAG, _EFER_SVME, _CR4_VMXE = 1, 1 << 12, 1 << 13


class Lost(NamedTuple):
    """Something lost in silence: ``kind`` is ``cpuid``, ``msr``, ``xsave``, ``call``, ``nested`` or ``sregs``.

    ``code`` is the rule of lint that finds the same in the capture alone; empty where none does.
    """

    kind: str
    where: str
    text: str
    source: str
    code: str = ""


def lost(
    guest: Guest, destination: Destination, vmm: Vmm, bits: Iterable[Difference], found: Restored
) -> Iterator[Lost]:
    """Everything that is lost, CPUID first."""
    yield from _bits(bits, vmm)
    yield from _calls(found.calls)
    if any(call.step == "tsc_khz" and call.accepted for call in found.calls) and (text := tsc.lost(guest, destination)):
        yield Lost("call", "KVM_SET_TSC_KHZ", text, "kvm_set_tsc_khz, set_tsc_khz (x86.c)")
    yield from _msrs(guest, found)
    yield from _registers(guest, found)
    yield from _image(guest, found)
    yield from _not_saved(guest)
    yield from _nested(guest, vmm)
    for index in found.left_out:
        text = f"{access.name_of(index)} {guest.msrs[index]:#x} is left out: the destination's KVM does not list it"
        yield Lost("msr", f"MSR.{index:X}", text, "QEMU target/i386/kvm/kvm.c, kvm_get_supported_msrs")


def _bits(bits: Iterable[Difference], vmm: Vmm) -> Iterator[Lost]:
    for bit in bits:
        if not bit.blocks:
            continue
        name = names_of(bit.place)[0]
        if bit.rule != "and":
            text = f"{name}: the guest has {bit.source:#x}, the destination {bit.target:#x}"
        elif vmm.sends_cpuid:
            text = f"the guest goes on seeing {name}, which the destination does not back"
        else:
            text = f"the guest loses {name}, which it has seen since it started"
        yield Lost("cpuid", str(bit.place), text, "KVM_SET_CPUID2 compares nothing of it (kvm_check_cpuid, cpuid.c)")


def _calls(calls: Iterable[Call]) -> Iterator[Lost]:
    """Refused calls with which a VMM goes on."""
    for call in calls:
        if call.then is None or call.then.does == "abort":
            continue
        for index, why in call.refused:
            yield Lost("msr", f"MSR.{index:X}", f"{access.name_of(index)} is not set: {why}", call.then.source)
        if not call.refused:
            yield Lost("call", call.name, f"{call.then.text}: {call.outcome.because}", call.then.source)


def _msrs(guest: Guest, found: Restored) -> Iterator[Lost]:
    """MSRs that KVM took and that read back as something else."""
    refused = {index for call in found.calls for index, _ in call.refused}
    given = dict(found.msrs)
    for index, value in guest.saved.msrs if any(call.step == "msrs" for call in found.calls) else ():
        if index in refused or index in _TIME or index in found.left_out:
            continue
        # QEMU's stream has what it asked of KVM_X86_SETUP_MCE, which is more than an AMD guest reads (svm_setup_mce).
        is_asked = guest.of_qemu and index == _MCG_CAP
        got = found.vcpu.mcg_cap if is_asked else access.read(found.vcpu, index)
        if isinstance(got, int) and got != given.get(index, value):
            text = f"{access.name_of(index)} {value:#x} is accepted and reads {got:#x}"
            yield Lost("msr", f"MSR.{index:X}", text, access.source_of(found.vcpu, index))


def _registers(guest: Guest, found: Restored) -> Iterator[Lost]:
    """Control registers that KVM took and keeps otherwise."""
    done = {call.step for call in found.calls if call.accepted}
    if not done & {"sregs", "sregs2"}:
        return
    from inspector.machine.x86.kvm import sregs

    now = facts_of(NOTHING._replace(sregs=sregs.get_sregs(found.vcpu)))
    for name in ("cr0", "cr4", "efer"):
        if name in now and now[name] != guest.facts.get(name, now[name]):
            text = f"{name.upper()} {guest.facts[name]:#x} is accepted and reads {now[name]:#x}"
            yield Lost("sregs", f"sregs.{name}", text, "kvm_arch_vcpu_ioctl_set_sregs (x86.c)")


def _image(guest: Guest, found: Restored) -> Iterator[Lost]:
    """Components that the image says are in use: cut off, or taken and not given back."""
    image = guest.saved.xsave
    row, in_use = guest.table.get((XSTATE_LEAF, 0)), guest.facts.get("xstate_bv")
    if image and row and row[0] & DYNAMIC and len(image) <= _KVM_XSAVE_BYTES:
        text = f"the image is cut at {len(image)} bytes: a guest with tiles has 11008 (KVM_GET_XSAVE2)"
        yield Lost("xsave", "xsave", text, "Linux Documentation/virt/kvm/api.rst, KVM_GET_XSAVE2", "X0112")
    is_taken = any(call.step == "xsave" and call.accepted for call in found.calls)
    if in_use is None or not is_taken or "xcrs" not in guest.captured:
        return
    from inspector.machine.x86.cpu import images
    from inspector.machine.x86.kvm import xsave

    gone = in_use & guest.facts.get("xcr0", in_use) & ~images.xstate_bv(xsave.get_xsave(found.vcpu))
    for number in range(2, gone.bit_length()):
        if gone >> number & 1:
            name = BY_NUMBER[number].name if number in BY_NUMBER else f"component {number}"
            text = f"{name} in use is accepted and not given back: the guest's CPUID has it not"
            yield Lost(
                "xsave", f"xsave.header.xstate_bv[{number}]", text, "fpu_copy_uabi_to_guest_fpstate (fpu/core.c)"
            )


def _not_saved(guest: Guest) -> Iterator[Lost]:
    """MSRs that the guest's CPUID brings and nobody saved.

    QEMU saves each of them: what its stream lacks was 0, or no register of the guest's (target/i386/machine.c,
    spec_ctrl_needed and its like).
    """
    table, msrs = guest.table, guest.msrs
    if guest.of_qemu or "msrs" not in guest.captured or not table or len(guest.saved.msrs) < 2:
        return
    for needed in NEEDED_MSRS:
        if needed.msr not in msrs and has(table, needed.feature):
            text = f"{access.name_of(needed.msr)} was not saved: {needed.consequence}"
            yield Lost("msr", f"MSR.{needed.msr:X}", text, "the capture's list of MSRs", needed.code)


def has(table: Mapping[tuple[int, int], CpuidValues], feature: str) -> bool:
    """A guest's CPUID has a feature; of XSAVES, something that XSS saves with it."""
    bits = features().get(feature)
    if not bits:
        return False
    word = bits[0].word
    row = table.get((leaf_in(table, word.leaf[0]), word.leaf[1]))
    if row is None or not row[word.register_number] >> bits[0].number & 1:
        return False
    # XSS is in the registers behind XSAVES's own.
    return feature != "xsaves" or bool(row[2] | row[3])


def _nested(guest: Guest, vmm: Vmm) -> Iterator[Lost]:
    """VMMs that do not move nested state, and a guest that has some."""
    state = guest.saved.nested
    if vmm.moves_nested or not state:
        return
    # The flags are the first 16 bits.
    if state[0] & _GUEST_MODE_FLAG:
        yield Lost(
            "nested", "nested_state", f"{vmm.title} does not set nested state, and the vCPU is in L2", vmm.source
        )
