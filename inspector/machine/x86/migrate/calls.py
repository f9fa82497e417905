"""The calls that a VMM makes to restore a vCPU, in its order, and what it does with a refusal.

Source: the rules are those of ``kvm/``; the orders and what is done with refusals are in ``kvm/restore.py`` and
``layouts/x86/vmms.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import restore
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.msrs import access, lists
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.migrate import tsc
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from layouts.light import NamedTuple
from layouts.vmms import OnRefusal
from layouts.x86.vmms import Vmm
from layouts.x86.xsave import DYNAMIC, TILEDATA

ORDERS = {
    "qemu": restore.QEMU,
    "libvirt": restore.QEMU,
    "firecracker": tuple(name for name in restore.FIRECRACKER if name != "nested"),
    "cloud-hypervisor": restore.CLOUD_HYPERVISOR,
}
_IOCTLS = {
    "tsc_khz": "KVM_SET_TSC_KHZ",
    "sregs": "KVM_SET_SREGS",
    "sregs2": "KVM_SET_SREGS2",
    "nested": "KVM_SET_NESTED_STATE",
    "regs": "KVM_SET_REGS",
    "xsave": "KVM_SET_XSAVE",
    "xcrs": "KVM_SET_XCRS",
    "msrs": "KVM_SET_MSRS",
    "events": "KVM_SET_VCPU_EVENTS",
    "mp": "KVM_SET_MP_STATE",
    "debugregs": "KVM_SET_DEBUGREGS",
    "lapic": "KVM_SET_LAPIC",
}
_MCG_CAP, _BANKS = 0x179, 0xFF
#: MSRs that QEMU sets without a look at the list (kvm_put_msrs): MTRRs, machine checks.
_ALWAYS = frozenset((0x2FF, *range(0x200, 0x210), *range(0x250, 0x270), 0x17A, 0x17B, *range(0x400, 0x428)))
#: What its stream has under an MSR's name, and is set otherwise: MCG_CAP; or is as it was by itself: SMBASE.
_NOT_SET = frozenset((0x179, 0x9E))

_MTRR_MASKS = range(0x201, 0x211, 2)
#: The leaf that has the width of physical addresses, and what KVM takes without it (cpuid_query_maxphyaddr).
_WIDTHS, _WIDTH_UNTOLD = 0x80000008, 36


class GuestMemory(bytearray):
    """Guest memory of which nothing was captured, as large as any: every page is there, and none can be read."""

    def __len__(self) -> int:
        """52 bits of addresses."""
        return 1 << 52


class Call(NamedTuple):
    """A call on the destination: its name, the step of a restore that it is, what it came to.

    ``entries`` is how many MSRs were given, ``refused`` those that KVM did not take, in order, with why. ``then`` is
    what the VMM does with the refusal; None where the call was accepted.
    """

    name: str
    step: str
    outcome: Outcome
    entries: int = 0
    refused: tuple[tuple[int, str], ...] = ()
    then: OnRefusal | None = None

    @property
    def accepted(self) -> bool:
        """KVM took all of it."""
        return self.outcome.accepted and not self.refused


class Restored(NamedTuple):
    """The calls, and the vCPU as they left it.

    ``not_captured`` are calls whose structure the capture lacks, ``left_out`` MSRs that QEMU does not set on a host
    that does not list them, ``msrs`` those that are set. Without the guest's CPUID no call is made, nor where an
    emulator runs the guest.
    """

    calls: tuple[Call, ...]
    vcpu: WholeVcpu
    not_captured: tuple[str, ...]
    left_out: tuple[int, ...] = ()
    msrs: tuple[tuple[int, int], ...] = ()

    @property
    def first_refused(self) -> Call | None:
        """The call that is refused first."""
        return next((call for call in self.calls if not call.accepted), None)


def order_of(guest: Guest, vmm: Vmm, destination: Destination) -> list[str]:
    """The steps that the VMM makes for what was captured."""
    steps = [name for name in ORDERS[vmm.name] if name in guest.captured]
    has_sregs2 = guest.saved.sregs2 is not None and destination.kvm.since(5, 14)
    return ["sregs" if name == "sregs2" and not has_sregs2 else name for name in steps]


def restored(
    guest: Guest,
    destination: Destination,
    vmm: Vmm,
    table: Sequence[Entry],
    *,
    order: Sequence[str] = (),
    memory: bytes | None = None,
    until: str = "",
    give_up: Collection[int] = (),
) -> Restored:
    """Restore the vCPU with this CPUID. Every call is made, also after one that failed; ``until`` is the last step.

    The refusal of an MSR of ``give_up`` ends it all: who asks for that alone needs no more.
    """
    vcpu = WholeVcpu(destination.kvm, VmConfig(guest.irqchip, memory=GuestMemory() if memory is None else memory))
    if destination.emulator:
        return Restored((), vcpu, ())
    missing = tuple(_IOCTLS[name] for name in ORDERS[vmm.name] if name not in guest.captured and name in _NEEDED)
    if not table:
        return Restored((), vcpu, ("KVM_SET_CPUID2", *missing))
    calls = list(_first_made(vcpu, guest, table))
    guest, left_out = as_set(guest, destination)
    if guest.of_qemu:
        guest = _with_masks_cut(guest, table)
    for name in list(order) or _up_to(until, order_of(guest, vmm, destination)):
        if name == "tsc_khz" and not order:
            if not tsc.hangs_on(guest, destination):
                calls.append(Call(_IOCTLS[name], name, tsc.set_tsc_khz(vcpu, guest, destination, vmm)))
            continue
        calls += _made(vcpu, guest, name, give_up)
        if any(index in give_up for index, _ in calls[-1].refused):
            break
    told = tuple(call if call.accepted else call._replace(then=vmm.on_refusal(call.step)) for call in calls)
    return Restored(told, vcpu, missing, left_out, guest.saved.msrs)


def _first_made(vcpu: WholeVcpu, guest: Guest, table: Sequence[Entry]) -> Iterator[Call]:
    """What comes before all state: tiles are asked for before the first vCPU is made, which locks the permission."""
    if _wants_tiles(table):
        vcpu.process.guest_perm_locked = False
        outcome = vcpu.process.request_permission(TILEDATA, guest=True)
        yield Call("arch_prctl ARCH_REQ_XCOMP_GUEST_PERM", "permission", outcome)
    if guest.of_qemu and (mcg_cap := guest.msrs.get(_MCG_CAP)):
        from inspector.machine.x86.kvm import capabilities, mce

        # QEMU leaves out what the host's KVM does not have of it (kvm_arch_init_vcpu).
        mcg_cap &= capabilities.mce_capabilities(vcpu.kvm) | _BANKS
        yield Call("KVM_X86_SETUP_MCE", "mce", mce.setup_mce(vcpu, mcg_cap))
    yield Call("KVM_SET_CPUID2", "cpuid", vcpu.set_cpuid2(tuple(table)))


def _up_to(last: str, steps: list[str]) -> list[str]:
    """The steps to the last that is asked for, under any of its names; all of them where it is not among them."""
    at = next((at for at, name in enumerate(steps) if name.removesuffix("2") == last.removesuffix("2")), len(steps))
    return steps[: at + 1]


def _made(vcpu: WholeVcpu, guest: Guest, name: str, give_up: Collection[int]) -> Iterator[Call]:
    """One step of the restore."""
    for step in restore.restore(vcpu, guest.saved, [name], give_up=give_up):
        refused = tuple((index, _why(vcpu, guest, index)) for index in step.refused)
        entries = len(guest.saved.msrs) if step.name == "msrs" else 0
        yield Call(_IOCTLS[step.name], step.name, step.outcome, entries, refused)


def as_set(guest: Guest, destination: Destination) -> tuple[Guest, tuple[int, ...]]:
    """The guest with the MSRs that are set, and those that QEMU leaves out although they have a value.

    QEMU's own MSRs are set where KVM_GET_MSR_INDEX_LIST has them. Those of VMX whose limits nobody told are not tried.
    """
    kvm = destination.kvm
    told = tuple(row for row in guest.saved.msrs if not destination.is_untold(row[0]))
    guest = guest._replace(saved=guest.saved._replace(msrs=told))
    if not guest.of_qemu:
        return guest, ()
    listed = {*lists.saved(kvm, kvm.msr_rules), *lists.emulated(kvm)} | _ALWAYS
    kept = tuple(row for row in guest.saved.msrs if row[0] in listed)
    left = tuple(index for index, value in guest.saved.msrs if index not in listed | _NOT_SET and value)
    return guest._replace(saved=guest.saved._replace(msrs=kept)), left


def _with_masks_cut(guest: Guest, table: Sequence[Entry]) -> Guest:
    """The masks of MTRRs within the guest's physical addresses (kvm_put_msrs).

    QEMU fills them up to 52 bits when it reads them (kvm_get_msrs), as it does not know the destination's width.
    """
    width = next((entry.eax & 0xFF for entry in table if entry.leaf == _WIDTHS), _WIDTH_UNTOLD)
    beyond = -1 << width
    msrs = tuple((index, value & ~beyond if index in _MTRR_MASKS else value) for index, value in guest.saved.msrs)
    return guest._replace(saved=guest.saved._replace(msrs=msrs))


#: Steps that every vCPU has; the others only where it has such state.
_NEEDED = frozenset({"sregs", "sregs2", "regs", "xsave", "xcrs", "msrs", "events", "debugregs"})


def _wants_tiles(table: Sequence[Entry]) -> bool:
    return any(entry.leaf == 0xD and entry.subleaf == 0 and entry.eax & DYNAMIC for entry in table)


def _why(vcpu: WholeVcpu, guest: Guest, index: int) -> str:
    """The check that an MSR of the capture fails; asked once more, for its words."""
    value = guest.msrs[index]
    refusal = access.write(vcpu, index, value)
    return refusal.told(index, value) if refusal is not None else "refused at this point of the order"
