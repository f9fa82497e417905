"""The local APIC's registers by their bytes: reset, KVM_SET_LAPIC in both modes, priorities, the timer's modes."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm import lapic as apic
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from inspector.machine.x86.kvm.lapic import Lapic
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.whole import IRQCHIP_KERNEL, IRQCHIP_SPLIT, VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for

X2APIC_ID = 0x1234567
#: Cluster, and the bit of the lowest four.
X2APIC_LDR = (X2APIC_ID >> 4 << 16 | 1 << 7) & 0xFFFFFFFF
DEADLINE_ENTRY = Entry(1, 0, 0, 0, 0, 1 << 24, 0)


def lapic_of(
    release: str = "6.12", vendor: str = SVM, vcpu_id: int = 0, entry: Entry | None = None, **vm: object
) -> Lapic:
    kvm = Kvm(Host(Cpuid({}), profile_for(release)), release=release, vendor=vendor)
    vcpu = WholeVcpu(kvm, VmConfig(**vm), vcpu_id=vcpu_id)  # type: ignore[arg-type]
    vcpu.guest = GuestCpuid(kvm, () if entry is None else (entry,))
    assert vcpu.lapic is not None
    vcpu.lapic.set_version()
    return vcpu.lapic


def x2apic_of(release: str, vendor: str = SVM, **vm: object) -> Lapic:
    """In x2APIC mode, by a write of IA32_APIC_BASE."""
    made = lapic_of(release, vendor, X2APIC_ID, **vm)
    before, made.vcpu.apic_base = made.vcpu.apic_base, 0xFEE00000 | apic.ENABLED | apic.X2APIC
    made.base_changed(before, made.vcpu.apic_base)
    return made


def image_with(made: Lapic, **registers: int) -> bytes:
    """struct kvm_lapic_state as it is got, but for these registers, 4 bytes each."""
    image = bytearray(made.get())
    for name, value in registers.items():
        at = getattr(apic, name)
        image[at : at + 4] = value.to_bytes(4, "little")
    return bytes(image)


def nonzero(image: bytes) -> dict[int, int]:
    words = {at: int.from_bytes(image[at : at + 4], "little") for at in range(0, len(image), 4)}
    return {at: value for at, value in words.items() if value}


def after_reset(vcpu_id: int, *, lint0: int, entries: int = 6) -> dict[int, int]:
    masked = dict.fromkeys(range(apic.LVT_TIMER, apic.LVT_TIMER + 0x60, 0x10), 0x10000)
    cmci = {apic.LVT_CMCI: 0x10000} if entries == 7 else {}
    found = {apic.ID: vcpu_id << 24, apic.VERSION: 0x14 | entries - 1 << 16, apic.DFR: 0xFFFFFFFF, apic.SPIV: 0xFF}
    return {at: value for at, value in (found | masked | cmci | {apic.LVT_LINT0: lint0}).items() if value}


@pytest.mark.parametrize(
    ("vcpu_id", "quirks", "lint0"), [(0, 0, 0x700), (0, 1, 0x10000), (5, 0, 0x10000), (5, 1, 0x10000)]
)
def test_registers_after_reset(vcpu_id: int, quirks: int, lint0: int) -> None:
    """LINT0 takes the PIC's interrupts on the first vCPU, where the quirk is not turned off."""
    made = lapic_of(vcpu_id=vcpu_id, disabled_quirks=quirks)
    assert len(made.get()) == apic.SIZE_BYTES
    assert nonzero(made.get()) == after_reset(vcpu_id, lint0=lint0)
    assert made.vcpu.lapic is made
    fresh = made.get()
    assert made.set(bytes(range(1, 256)) * 4 + bytes(4)).accepted
    made.reset()
    kept = {at: value for at, value in nonzero(made.get()).items() if at not in nonzero(fresh)}
    # What reset writes is as before; ICR2 and ESR, ISR, TMR and IRR, the timer's counts are 0 again.
    assert {at: nonzero(made.get()).get(at) for at in nonzero(fresh)} == nonzero(fresh)
    for at in (apic.TPR, apic.LDR, apic.ESR, apic.ICR, apic.ICR2, apic.TIMER_INITIAL, apic.TIMER_DIVIDE, apic.PPR):
        assert at not in kept, hex(at)
    for at in range(apic.ISR, apic.ESR, 0x10):
        assert at not in kept, hex(at)
    # Between the registers nobody looks.
    assert made.regs[apic.ISR : apic.ISR + 8] == bytes(4) + bytes((6, 7, 8, 9))


def test_init_leaves_the_id() -> None:
    made = lapic_of(vcpu_id=5)
    made.write(apic.ID, 9 << 24)
    made.reset(init_event=True)
    assert made.read(apic.ID) == 9 << 24
    made.reset()
    assert made.read(apic.ID) == 5 << 24


def test_a_register_is_written_by_its_size() -> None:
    made = lapic_of()
    made.write(apic.ICR, 0x1_23456789_ABCDEF01, 8)
    assert (made.read(apic.ICR, 8), made.read(apic.ICR), made.read(apic.ICR + 4)) == (
        0x23456789ABCDEF01,
        0xABCDEF01,
        0x23456789,
    )
    assert made.read(apic.ICR + 8) == 0


@pytest.mark.parametrize(("release", "entries"), [("5.19", 6), ("6.0", 7), ("7.2", 7)])
def test_machine_check_interrupts_are_an_entry_from_6_0_on(release: str, entries: int) -> None:
    for capabilities, expected in ((0x20 | 1 << 10, entries), (0x20 | 1 << 9, 6)):
        made = lapic_of(release)
        made.vcpu.mcg_cap = capabilities
        made.after_mcg_cap()
        assert made.read(apic.VERSION) == 0x14 | expected - 1 << 16
        assert made.read(apic.LVT_CMCI) == (0x10000 if expected == 7 else 0)
        made.write(apic.LVT_CMCI, 0)
        made.reset()
        assert nonzero(made.get()) == after_reset(0, lint0=0x700, entries=expected)


@pytest.mark.parametrize(("irqchip", "told"), [(IRQCHIP_KERNEL, 0), (IRQCHIP_SPLIT, 1 << 24)])
def test_directed_eoi_needs_x2apic_and_an_io_apic_outside(irqchip: int, told: int) -> None:
    for ecx in (0, 1 << 21):
        made = lapic_of(irqchip=irqchip, entry=Entry(1, 0, 0, 0, 0, ecx, 0))
        assert made.read(apic.VERSION) == 0x50014 | (told if ecx else 0)
        made.write(apic.VERSION, 0)
        made.after_cpuid()
        assert made.read(apic.VERSION) == 0x50014 | (told if ecx else 0)


@pytest.mark.parametrize(
    ("release", "before", "value", "kept"),
    [
        # Enabled: the ID is the vCPU's again.
        ("6.12", 0, 0x800, (5 << 24, 9)),
        ("6.12", 0x800, 0x800, (9, 9)),
        ("6.12", 0x800, 0, (9, 9)),
        ("6.12", 0x800, 0xC00, (5, 1 << 5)),
        ("6.12", 0, 0xC00, (5, 1 << 5)),
        ("6.12", 0xC00, 0xC00, (9, 9)),
        ("6.12", 0xC00, 0x800, (5 << 24, 9)),
        ("6.1", 0xC00, 0x800, (9, 9)),
        ("6.12", 0xC00, 0, (9, 9)),
    ],
)
def test_what_a_change_of_the_mode_writes(release: str, before: int, value: int, kept: tuple[int, int]) -> None:
    made = lapic_of(release, vcpu_id=5)
    made.write(apic.ID, 9)
    made.write(apic.LDR, 9)
    made.base_changed(before, value)
    assert (made.read(apic.ID), made.read(apic.LDR)) == kept


def test_an_x2apics_ldr_is_its_cluster_and_its_bit() -> None:
    expected = {0: 1, 15: 0x8000, 16: 0x10001, 0x21: 0x20002, 0xFFFFFFFF: 0xFFFF8000}
    assert {one: apic.x2apic_ldr(one) for one in expected} == expected


@pytest.mark.parametrize(("release", "own"), [("6.6", False), ("6.12", True), ("7.2", True)])
def test_the_id_in_x2apic_mode(release: str, own: bool) -> None:
    """Without 32-bit IDs it moves by 24 bits; from 6.12 on it is the vCPU's whatever is given."""
    made = x2apic_of(release)
    assert made.read(apic.ID) == X2APIC_ID
    assert nonzero(made.get())[apic.ID] == X2APIC_ID << 24 & 0xFFFFFFFF
    assert made.set(image_with(made, ID=0x77000000, LDR=3)).accepted
    expected = X2APIC_ID if own else 0x77
    assert (made.read(apic.ID), made.read(apic.LDR)) == (expected, apic.x2apic_ldr(expected))
    assert made.read(apic.LDR + 4) == made.read(apic.ID + 4) == 0
    assert nonzero(made.get())[apic.ID] == expected << 24 & 0xFFFFFFFF


@pytest.mark.parametrize("caps", [1, 3])
def test_32_bit_ids(caps: int) -> None:
    made = x2apic_of("6.12", caps={129: caps})
    assert nonzero(made.get())[apic.ID] == X2APIC_ID
    refused = made.set(image_with(made, ID=X2APIC_ID + 1, SPIV=0x1AA, TPR=0x40))
    assert refused.code == errno.EINVAL
    # The spurious vector is taken before.
    assert (made.read(apic.SPIV), made.read(apic.TPR)) == (0x1AA, 0)
    assert made.set(image_with(made, ID=X2APIC_ID, LDR=3, TPR=0x40)).accepted
    assert (made.read(apic.ID), made.read(apic.LDR), made.read(apic.PPR)) == (X2APIC_ID, X2APIC_LDR, 0x40)
    assert not x2apic_of("6.12", caps={129: 2}).long_ids
    image = bytearray(image_with(made, ID=X2APIC_ID))
    image[apic.ID + 4] = 1
    assert made.set(bytes(image)).accepted


@pytest.mark.parametrize(
    ("release", "vendor", "whole"),
    [
        ("5.10", VMX, False),
        ("6.1", SVM, False),
        ("6.1", VMX, True),
        ("6.6", SVM, True),
        ("6.12", SVM, False),
        ("6.12", VMX, True),
    ],
)
def test_icr_is_one_register_or_two(release: str, vendor: str, whole: bool) -> None:
    """In x2APIC mode, where the vendor does not split it, its upper half comes and goes as ICR2."""
    made = x2apic_of(release, vendor)
    image = bytearray(image_with(made, ICR=0x1111, ICR2=0x2222))
    image[apic.ICR + 4 : apic.ICR + 8] = (0x3333).to_bytes(4, "little")
    assert made.set(bytes(image)).accepted
    assert made.read(apic.ICR + 4) == (0x2222 if whole else 0x3333)
    assert (made.read(apic.ICR), made.read(apic.ICR + 8)) == (0x1111, 0)
    made.write(apic.ICR + 4, 0x4444)
    found = nonzero(made.get())
    assert found[apic.ICR2] == (0x4444 if whole else 0x2222)
    assert apic.ICR2 + 4 not in found
    assert found[apic.ICR] == 0x1111
    assert len(made.get()) == len(made.regs) == apic.SIZE_BYTES


def test_in_xapic_mode_all_is_as_given() -> None:
    made = lapic_of("6.12", VMX)
    image = image_with(made, ID=0x9000001, LDR=3, ICR2=0x2222)
    assert made.set(image).accepted
    assert made.get() == image


@pytest.mark.parametrize(("release", "left"), [("5.10", 7), ("6.1", 0), ("7.2", 0)])
def test_the_current_count_after_set(release: str, left: int) -> None:
    made = lapic_of(release)
    assert made.set(image_with(made, TIMER_CURRENT=7)).accepted
    assert made.read(apic.TIMER_CURRENT) == left


#: TPR, the vector in service, PPR.
PRIORITIES = """
    00 00 00; 3F 00 3F; F3 00 F3; 40 31 40; 3F 31 3F; 2F 31 30
    00 1F 10; 00 20 20; 00 FF F0; 00 E0 E0; EF F0 F0
"""


def in_service(made: Lapic, *vectors: int) -> bytes:
    image = bytearray(made.get())
    image[apic.ISR : apic.TMR] = bytes(0x80)
    for one in vectors:
        image[apic.ISR + 0x10 * (one >> 5) + (one >> 3 & 3)] |= 1 << (one & 7)
    return bytes(image)


@pytest.mark.parametrize("line", [line.strip() for line in PRIORITIES.replace("\n", ";").split(";") if line.strip()])
def test_the_processors_priority(line: str) -> None:
    """__apic_update_ppr: TPR where its class is as high as that of the highest vector in service."""
    tpr, vector, ppr = (int(word, 16) for word in line.split())
    made = lapic_of()
    image = in_service(made, *([vector, min(vector, 0x10)] if vector else []))
    assert made.set(image).accepted
    made.put_tpr(tpr)
    assert (made.read(apic.TPR), made.read(apic.PPR)) == (tpr, ppr)
    # A register of more than eight bits is none of the priority's.
    made.put_tpr(tpr | 0x100)
    assert made.read(apic.PPR) == ppr


def test_vectors_in_service_are_known_after_set() -> None:
    """The priority is made before the vectors are counted (kvm_apic_update_apicv): the next one knows of them."""
    made = lapic_of()
    made.write(apic.ISR + 0x10, 1 << 0x11)
    made.set_tpr(0)
    assert made.read(apic.PPR) == 0
    for ppr in (0, 0x30):
        assert made.set(in_service(made, 0x31)).accepted
        assert made.read(apic.PPR) == ppr
    # Only the eight words of ISR are looked at: neither TMR behind them nor SPIV before them.
    made.write(apic.TMR, 0xFF)
    made.set_tpr(0)
    assert made.read(apic.PPR) == 0x30
    made.write(apic.ISR + 0x10, 0)
    made.set_tpr(0)
    assert made.read(apic.PPR) == 0
    assert made.set(in_service(made)).accepted
    made.write(apic.TMR, 0xFF)
    assert made.set(made.get()).accepted
    made.write(apic.ISR + 0x10, 1 << 0x11)
    made.put_tpr(0x12)
    assert made.read(apic.PPR) == 0x12
    made.reset()
    made.write(apic.ISR + 0x10, 1 << 0x11)
    made.set_tpr(0)
    assert made.read(apic.PPR) == 0


def test_cr8_and_the_whole_priority() -> None:
    made = lapic_of()
    for cr8, tpr in ((0, 0), (5, 0x50), (0xF, 0xF0), (0x13, 0x30)):
        made.set_tpr(cr8)
        assert (made.read(apic.TPR), made.read(apic.PPR)) == (tpr, tpr)
    made.put_tpr(0xA7)
    assert (made.read(apic.TPR), made.read(apic.PPR)) == (0xA7, 0xA7)


@pytest.mark.parametrize("entry", [None, DEADLINE_ENTRY])
def test_a_timers_mode_that_was_set(entry: Entry | None) -> None:
    made = lapic_of(entry=entry)
    assert made.set(image_with(made, LVT_TIMER=2 << 17, TIMER_INITIAL=9)).accepted
    assert made.is_deadline is (entry is not None)
    assert made.read(apic.TIMER_INITIAL) == (9 if entry is None else 0)


@pytest.mark.parametrize(
    ("has_deadline", "before", "value", "kept", "count", "deadline"),
    [
        (True, 0, 2 << 17, 2 << 17, 0, True),
        (True, 0, 1 << 17, 1 << 17, 9, False),
        (True, 2 << 17, 0, 0, 0, False),
        (True, 2 << 17, 2 << 17 | 0x31, 2 << 17 | 0x31, 9, True),
        (True, 1 << 17, 0, 0, 9, False),
        (False, 0, 2 << 17 | 0x31, 0x31, 9, False),
        (False, 0, 3 << 17, 1 << 17, 9, False),
    ],
)
def test_the_timers_modes(has_deadline: bool, before: int, value: int, kept: int, count: int, deadline: bool) -> None:
    """apic_update_lvtt: to the TSC's deadline or away from it the initial count is lost."""
    made = lapic_of(entry=DEADLINE_ENTRY if has_deadline else None)
    assert not made.is_deadline
    made.put_lvt_timer(before)
    made.write(apic.TIMER_INITIAL, 9)
    made.put_lvt_timer(value)
    assert (made.read(apic.LVT_TIMER), made.read(apic.TIMER_INITIAL), made.is_deadline) == (kept, count, deadline)
