"""A whole vCPU as KVM makes it, as INIT leaves it, and as a VMM saves and restores it."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.machine.x86.kvm import restore, segments, sregs
from inspector.machine.x86.kvm.guest_cpuid import GuestCpuid
from inspector.machine.x86.kvm.lapic import ID, TPR
from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.mp_state import RUNNABLE
from inspector.machine.x86.kvm.nested.svm import SvmNested
from inspector.machine.x86.kvm.nested.vmx import VmxNested
from inspector.machine.x86.kvm.pending import VALID_SMM, VcpuEvents
from inspector.machine.x86.kvm.restore import Saved
from inspector.machine.x86.kvm.state import IRQCHIP_KERNEL, IRQCHIP_NONE, IRQCHIP_SPLIT
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from tests.machine.kvms import kvm_of
from tests.machine.sregs import kvm_of as kvm_with_xsave

UNINITIALIZED = 1


def vcpu_of(release: str = "6.12", vendor: str = SVM, irqchip: int = IRQCHIP_KERNEL, vcpu_id: int = 0) -> WholeVcpu:
    return WholeVcpu(kvm_of(release, vendor), VmConfig(irqchip, memory=bytearray(0x2000)), vcpu_id=vcpu_id)


def test_a_vm_of_which_nobody_said_anything() -> None:
    vm = VmConfig()
    assert (vm.irqchip, vm.disabled_quirks, vm.caps, vm.vcpu_ids, vm.memory) == (IRQCHIP_KERNEL, 0, {}, (0,), b"")


@pytest.mark.parametrize(
    ("vendor", "irqchip", "flexpriority", "there"),
    [
        (VMX, IRQCHIP_KERNEL, "Y", True),
        (VMX, IRQCHIP_SPLIT, "Y", True),
        (VMX, IRQCHIP_NONE, "Y", False),
        (VMX, IRQCHIP_KERNEL, "N", False),
        (SVM, IRQCHIP_KERNEL, "Y", False),
    ],
)
def test_pages_of_a_vm(vendor: str, irqchip: int, flexpriority: str, there: bool) -> None:
    """Its memory, and on VMX a page for APIC accesses (kvm_alloc_apic_access_page)."""
    vm, kvm = VmConfig(irqchip, memory=bytes(0x2FFF)), kvm_of("6.12", vendor, flexpriority=flexpriority)
    assert [vm.has_page(page, kvm) for page in (0, 1, 2, 0xFEDFF, 0xFEE01)] == [True, True, False, False, False]
    assert vm.has_page(0xFEE00, kvm) is there


def test_quirks_that_the_vmm_turned_off() -> None:
    vcpu = WholeVcpu(kvm_of("6.12"), VmConfig(disabled_quirks=5, caps={1: 2}))
    assert [vcpu.has_quirk(1 << bit) for bit in range(3)] == [False, True, False]
    assert vcpu.vm.caps == {1: 2}


# KVM_CREATE_VCPU and INIT


@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_a_new_vcpu(vendor: str) -> None:
    vcpu = vcpu_of(vendor=vendor)
    controls = (vcpu.cr0, vcpu.cr2, vcpu.cr3, vcpu.cr4, vcpu.cr8, vcpu.efer, vcpu.pdptrs)
    assert controls == (0x60000010, 0, 0, 0, 0, 0, [0, 0, 0, 0])
    assert (vcpu.number, vcpu.vcpu_id, vcpu.guest_ssp, vcpu.mcg_cap, vcpu.tsc_khz) == (0, 0, 0, 32, 2_000_000)
    assert (vcpu.cpuid_dirty, vcpu.is_smm, vcpu.is_guest_mode, vcpu.msrs, vcpu.caps) == (False, False, False, {}, {})
    assert vcpu.segments == segments.at_reset(svm=vendor == SVM)
    assert vcpu.gdt == vcpu.idt == segments.TABLE_AT_RESET
    assert isinstance(vcpu.nested, SvmNested if vendor == SVM else VmxNested)
    assert isinstance(vcpu.guest, GuestCpuid)
    assert (vcpu.pv_features, vcpu.guest.entries, vcpu.guest._is_set) == (0, (), False)


def test_a_vcpu_of_which_nobody_said_a_number_is_the_first() -> None:
    vcpu = WholeVcpu(kvm_of("6.12"))
    assert (vcpu.vcpu_id, vcpu.number, vcpu.is_bsp) == (0, 0, True)


@pytest.mark.parametrize(
    ("vcpu_id", "irqchip", "apic_base", "mp_state"),
    [
        (0, IRQCHIP_KERNEL, 0xFEE00900, RUNNABLE),
        (1, IRQCHIP_KERNEL, 0xFEE00800, UNINITIALIZED),
        (1, IRQCHIP_SPLIT, 0xFEE00800, UNINITIALIZED),
        (1, IRQCHIP_NONE, 0xFEE00800, RUNNABLE),
        (0, IRQCHIP_NONE, 0xFEE00900, RUNNABLE),
    ],
)
def test_the_first_vcpu_and_the_others(vcpu_id: int, irqchip: int, apic_base: int, mp_state: int) -> None:
    vcpu = vcpu_of(irqchip=irqchip, vcpu_id=vcpu_id)
    assert (vcpu.number, vcpu.is_bsp, vcpu.apic_base, vcpu.mp_state) == (vcpu_id, not vcpu_id, apic_base, mp_state)
    assert (vcpu.lapic is None) is (irqchip == IRQCHIP_NONE)


@pytest.mark.parametrize("vendor", [SVM, VMX])
@pytest.mark.parametrize("caching", [0, 0x20000000, 0x40000000, 0x60000000])
def test_init_leaves_caching_and_the_apics_id(vendor: str, caching: int) -> None:
    vcpu = vcpu_of(vendor=vendor)
    fresh, lapic = vcpu_of(vendor=vendor), vcpu.lapic
    assert lapic is not None
    lapic.write(ID, 7 << 24)
    lapic.write(TPR, 0x20)
    vcpu.cr0, vcpu.cr2, vcpu.cr3, vcpu.cr4, vcpu.efer = 0x8005002F | caching, 1, 2, 3, 4
    vcpu.cr4_osxsave = vcpu.is_smm = True
    vcpu.segments, vcpu.gdt, vcpu.idt = (), b"", b""
    vcpu.regs.values = [9] * 18
    vcpu.debugregs.dr7, vcpu.pending.nmi_pending = 0x455, 1
    left: list[bool] = []
    vcpu.leave_nested = lambda: left.append(True)  # type: ignore[method-assign]
    vcpu.reset_by_init()
    assert (vcpu.cr0, vcpu.cr2, vcpu.cr3, vcpu.cr4, vcpu.efer, left) == (0x10 | caching, 0, 0, 0, 0, [True])
    assert (vcpu.cr4_osxsave, vcpu.is_smm, lapic.read(ID), lapic.read(TPR)) == (False, False, 7 << 24, 0)
    for name in ("segments", "gdt", "idt"):
        assert getattr(vcpu, name) == getattr(fresh, name), name
    assert (vcpu.regs.values, vcpu.debugregs.dr7, vcpu.pending.nmi_pending) == (fresh.regs.values, 0x400, 0)


def test_init_without_a_local_apic_of_kvms() -> None:
    vcpu = vcpu_of(irqchip=IRQCHIP_NONE)
    vcpu.cr4 = 0x20
    vcpu.reset_by_init()
    assert vcpu.cr4 == 0


# What a VMM saves


@pytest.mark.parametrize(("release", "has_sregs2"), [("5.13", False), ("5.14", True), ("5.15", True), ("6.12", True)])
def test_sregs2_is_saved_and_set_from_5_14_on(release: str, has_sregs2: bool) -> None:
    vcpu = vcpu_of(release)
    saved = restore.save(vcpu, ())
    assert (saved.sregs2 is not None) is has_sregs2
    told = saved._replace(sregs2=sregs.get_sregs2(vcpu), sregs=b"" if has_sregs2 else saved.sregs)
    assert [step.name for step in restore.restore(vcpu, told, ("sregs2",))] == ["sregs2" if has_sregs2 else "sregs"]
    without = restore.save(vcpu, ())._replace(sregs2=None)
    assert [step.name for step in restore.restore(vcpu, without, ("sregs2",))] == ["sregs"]


def test_what_is_there_is_saved() -> None:
    vcpu = vcpu_of()
    vcpu.msrs[0x174] = 5
    saved = restore.save(vcpu, (0x174, 0xFFFFFFFF))
    assert (saved.tsc_khz, saved.msrs) == (2_000_000, ((0x174, 5),))
    assert vcpu.lapic is not None
    assert saved.lapic == vcpu.lapic.get()
    assert saved.nested == vcpu.nested.get(20000)[1] != b""
    assert restore.save(vcpu_of(irqchip=IRQCHIP_NONE), ()).lapic is None
    # KVM_GET_NESTED_STATE is refused without nesting, from 7.2 on.
    assert restore.save(WholeVcpu(kvm_of("7.2", nested="0")), ()).nested is None


def nothing_saved(vcpu: WholeVcpu) -> Saved:
    return restore.save(vcpu, ())._replace(lapic=None, nested=None, tsc_khz=0, msrs=())


def test_what_was_not_saved_is_not_set() -> None:
    vcpu = vcpu_of()
    steps = restore.restore(vcpu, nothing_saved(vcpu), restore.QEMU)
    assert [step.name for step in steps] == [name for name in restore.QEMU if name != "lapic"]
    said = {step.name: step.outcome.checks[-1].text for step in steps if step.outcome.source == "the VMM"}
    assert said == {
        "tsc_khz": "no frequency was saved: nothing is set",
        "nested": "no nested state was saved: nothing is set",
        "msrs": "no MSR was saved: nothing is set",
    }
    assert all(check.held for step in steps if step.name in said for check in step.outcome.checks)


def test_calls_that_follow_one_that_is_left_out() -> None:
    vcpu = vcpu_of()
    steps = restore.restore(vcpu, nothing_saved(vcpu), ("msrs", "lapic", "mp", "lapic", "regs"))
    assert [step.name for step in steps] == ["msrs", "mp", "regs"]


def test_each_structure_comes_back() -> None:
    vcpu, target = vcpu_of(), vcpu_of()
    sregs.set_cr8(vcpu, 3)
    vcpu.tsc_khz = 2_000_400
    vcpu.debugregs.db[0] = 0x1234
    vcpu.regs.values[0] = 9
    vcpu.mp_state = 3
    assert vcpu.pending.set(VcpuEvents(smm=1, flags=VALID_SMM).image()).accepted
    saved = restore.save(vcpu, ())
    restore.restore(target, saved, restore.QEMU)
    assert restore.save(target, ()) == saved
    for name, wrong in (("nested", b"\xff" * 128), ("tsc_khz", 1_000)):
        refused = restore.restore(vcpu_of(), saved._replace(**{name: wrong}), restore.QEMU)
        assert name in [step.name for step in refused if not step.outcome.accepted]


def test_an_apic_that_the_target_lacks() -> None:
    target = vcpu_of(irqchip=IRQCHIP_NONE)
    (step,) = restore.restore(target, restore.save(vcpu_of(), ()), ("lapic",))
    assert step.outcome.accepted
    assert step.outcome.because == "no in-kernel APIC was saved: nothing is set"


@pytest.mark.parametrize(
    ("indexes", "counts", "refused"),
    [
        ((0x174,) * 250, (250,), ()),
        ((0x174,) * 251, (250, 1), ()),
        ((0x174, 0xFFFFFFFF), (1,), (0xFFFFFFFF,)),
        ((0xFFFFFFFF, 0x174), (0, 1), (0xFFFFFFFF,)),
        ((0xFFFFFFFF, 0xFFFFFFFE), (0, 0), (0xFFFFFFFF, 0xFFFFFFFE)),
        ((0x174,) * 249 + (0xFFFFFFFF,) + (0x174,) * 251, (249, 250, 1), (0xFFFFFFFF,)),
        ((), (), ()),
    ],
)
def test_msrs_are_set_in_calls_of_250(
    indexes: tuple[int, ...], counts: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    vcpu = vcpu_of()
    saved = nothing_saved(vcpu)._replace(msrs=tuple((index, 7) for index in indexes))
    (step,) = restore.restore(vcpu, saved, ("msrs",))
    assert (step.counts, step.refused, step.outcome.accepted) == (counts, refused, not refused)
    assert vcpu.msrs.get(0x174, 0) == (7 if 0x174 in indexes else 0)


# struct kvm_xcrs


@pytest.mark.parametrize(
    ("count", "flags", "entries", "code", "xcr0"),
    [
        (1, 0, (0, 3), 0, 3),
        (1, 0, (1, 3), 0, 1),
        (2, 0, (1, 9, 0, 7), 0, 7),
        (1, 0, (1, 9, 0, 7), 0, 1),
        (16, 0, (1, 9) * 15 + (0, 7), 0, 7),
        (17, 0, (0, 3), errno.EINVAL, 1),
        (1, 1, (0, 3), errno.EINVAL, 1),
        # The register's number has 32 bits, the rest is reserved.
        (1, 0, (7 << 32, 3), 0, 3),
        (1, 0, (0, 1 << 40 | 3), errno.EINVAL, 1),
    ],
)
def test_xcrs(count: int, flags: int, entries: tuple[int, ...], code: int, xcr0: int) -> None:
    vcpu = WholeVcpu(kvm_with_xsave("6.12"))
    vcpu.guest_xcr0 = 7
    image = struct.pack("<2I32Q", count, flags, *entries, *(0,) * (32 - len(entries))).ljust(392, b"\0")
    assert restore.set_xcrs(vcpu, image).code == code
    assert restore.get_xcrs(vcpu) == struct.pack("<2I32Q", 1, 0, 0, xcr0, *(0,) * 30).ljust(392, b"\0")


@pytest.mark.parametrize(
    ("give_up", "counts", "last"), [((), (1, 1), 5), ((0xFFFFFFFF,), (1,), 0), ((0x174,), (1, 1), 5)]
)
def test_an_msr_that_a_vmm_does_not_pass_over(give_up: tuple[int, ...], counts: tuple[int, ...], last: int) -> None:
    """Another call begins behind a refused one, but not behind one of those."""
    vcpu = vcpu_of()
    saved = nothing_saved(vcpu)._replace(msrs=((0x174, 7), (0xFFFFFFFF, 1), (0x175, 5)))
    (step,) = restore.restore(vcpu, saved, ("msrs",), give_up=give_up)
    assert (step.counts, step.refused, vcpu.msrs.get(0x175, 0)) == (counts, (0xFFFFFFFF,), last)
