"""KVM_SET_CPUID2 and its siblings: each check, each release, each bit that follows the vCPU's state."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Rule
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm import cpuid_ioctls
from inspector.machine.x86.kvm.guest_cpuid import INDEXED, Entry, GuestCpuid
from inspector.machine.x86.kvm.module import SVM, Kvm
from inspector.machine.x86.kvm.whole import IRQCHIP_NONE, VmConfig, WholeVcpu
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import TILEDATA

XSAVE, OSXSAVE, MWAIT = 1 << 26, 1 << 27, 1 << 3
PKU, OSPKE = 1 << 3, 1 << 4
KVM_SIGNATURE = (0x4B4D564B, 0x564B4D56, 0x4D)
#: x87 to AVX, opmask and upper halves; XSAVEOPT, XSAVEC, XGETBV1, XSAVES; CET's user state.
LEAVES: dict[tuple[int, int], CpuidValues] = {
    (1, 0): (0, 0, XSAVE, 0),
    (7, 0): (0, 0, PKU, 0),
    (0xD, 0): (7, 0x340, 0x340, 0),
    (0xD, 1): (15, 0, 0x1800, 0),
    (0xD, 2): (0x100, 0x240, 0, 0),
    (0xD, 11): (16, 0, 1, 0),
    (0xD, 12): (24, 0, 1, 0),
}


def vcpu_of(release: str = "6.12", *, without: int = 0, **vm: object) -> WholeVcpu:
    """A vCPU on a host; ``without`` is a leaf that the host lacks."""
    leaves = {key: values for key, values in LEAVES.items() if key[0] != without}
    kvm = Kvm(Host(Cpuid(leaves), profile_for(release)), release=release, vendor=SVM)
    return WholeVcpu(kvm, VmConfig(**vm))  # type: ignore[arg-type]


def row(leaf: int, eax: int = 0, ebx: int = 0, ecx: int = 0, edx: int = 0, *, sub: int | None = None) -> Entry:
    return Entry(leaf, sub or 0, 0 if sub is None else INDEXED, eax, ebx, ecx, edx)


def entry_of(vcpu: WholeVcpu, leaf: int, sub: int = 0) -> Entry:
    return next(one for one in cpuid_ioctls.entries_of(vcpu) if (one.leaf, one.subleaf) == (leaf, sub))


@pytest.mark.parametrize("old", [False, True])
def test_256_entries(old: bool) -> None:
    """KVM_SET_CPUID counts as KVM_SET_CPUID2 does, and has neither sub-leaves nor flags."""
    for count, code in ((256, 0), (257, errno.E2BIG)):
        vcpu = vcpu_of()
        rows = [(0x20000000 + nth, 1, 2, 3, 4) for nth in range(count)]
        if old:
            outcome = cpuid_ioctls.set_cpuid(vcpu, rows)
        else:
            outcome = cpuid_ioctls.set_cpuid2(vcpu, [row(*one) for one in rows])
        assert outcome.code == code
        assert cpuid_ioctls.entries_of(vcpu)[-1:] == (() if code else (Entry(0x200000FF, 0, 0, 1, 2, 3, 4),))


@pytest.mark.parametrize(("release", "told"), [("6.1", 9), ("6.2", 2), ("7.2", 2)])
def test_room_for_the_entries(release: str, told: int) -> None:
    """Nent is written back from 6.2 on."""
    vcpu = vcpu_of(release)
    assert vcpu.set_cpuid2((row(0), row(2))).accepted
    assert [cpuid_ioctls.get_cpuid2(vcpu, count).code for count in (0, 1, 2, 9)] == [errno.E2BIG, errno.E2BIG, 0, 0]
    assert cpuid_ioctls.get_cpuid2(vcpu, 9).value == told


@pytest.mark.parametrize("bits", [0, 1, 47, 48, 49, 56, 57, 58, 255])
def test_linear_addresses_in_their_byte(bits: int) -> None:
    for around in (0, 0xFF00FF):
        outcome = vcpu_of().set_cpuid2((row(0x80000008, bits << 8 | around), row(0x80000009, 52 << 8)))
        assert outcome.code == (0 if bits in (0, 48, 57) else errno.EINVAL)


@pytest.mark.parametrize(
    ("release", "ran", "guest_mode", "fixed"),
    [
        ("5.15", True, False, False),
        ("5.16", True, False, True),
        ("6.12", False, True, False),
        ("6.19", False, True, False),
        ("7.0", False, True, True),
        ("7.0", False, False, False),
        ("7.2", True, True, True),
    ],
)
def test_when_the_table_is_fixed(release: str, ran: bool, guest_mode: bool, fixed: bool) -> None:
    vcpu = vcpu_of(release)
    vcpu.ran, vcpu.is_guest_mode = ran, guest_mode
    assert cpuid_ioctls.is_fixed(vcpu) is fixed
    assert vcpu.set_cpuid2((row(2),)).code == (errno.EINVAL if fixed else 0)
    assert vcpu.set_cpuid2(vcpu.guest.entries).accepted
    assert vcpu.cpuid_dirty is False


@pytest.mark.parametrize(
    ("release", "taken"),
    [
        ("6.13", True),
        ("6.14", False),
        ("6.17.9", False),
        ("6.18.2", False),
        ("6.18.3", True),
        ("6.19", True),
        ("7.2", True),
    ],
)
def test_what_was_pending_for_the_old_table(release: str, taken: bool) -> None:
    vcpu = vcpu_of(release)
    assert vcpu.set_cpuid2((row(1),)).accepted
    vcpu.ran, vcpu.cpuid_dirty, vcpu.cr4 = True, True, 1 << 18
    assert vcpu.set_cpuid2((row(1),)).accepted is taken
    assert vcpu.cpuid_dirty is False


def test_the_same_table_is_taken_with_what_follows_the_state() -> None:
    vcpu = vcpu_of()
    assert vcpu.set_cpuid2((row(1),)).accepted
    vcpu.ran = True
    assert vcpu.set_cpuid2((row(1, ecx=OSXSAVE),)).accepted
    assert not vcpu.set_cpuid2((row(1, ebx=1),)).accepted


def amx_vcpu(*, permitted: bool) -> WholeVcpu:
    kvm = Kvm(Host(shipped_cpu("sapphire-rapids"), profile_for("6.12")), release="6.12")
    vcpu = WholeVcpu(kvm)
    if permitted:
        vcpu.process.guest_perm |= 1 << TILEDATA
    return vcpu


def test_a_dynamic_component_needs_permission_and_memory() -> None:
    table = GuestCpuid(amx_vcpu(permitted=True).kvm, (row(0xD, 1 << TILEDATA, sub=0),))
    for permitted, fails, code in ((False, False, errno.EPERM), (True, True, errno.EFAULT), (True, False, 0)):
        vcpu = amx_vcpu(permitted=permitted)
        vcpu.process.allocation_fails = fails
        assert cpuid_ioctls.check_cpuid(vcpu, Rule(""), table) == code
        assert bool(vcpu.fpstate.xfeatures >> TILEDATA & 1) is (code == 0)
    # The buffer is large already, so nothing is asked again.
    vcpu.process.guest_perm = 0
    assert cpuid_ioctls.check_cpuid(vcpu, Rule(""), table) == 0


def test_which_entry_asks_for_a_dynamic_component() -> None:
    """Leaf 0xD, sub-leaf 0, EAX; what EDX has in the same place is another component."""
    vcpu = amx_vcpu(permitted=False)
    for one in (row(0xD, 1 << TILEDATA, sub=1), row(0xE, 1 << TILEDATA, sub=0), row(0xD, edx=1 << TILEDATA, sub=0)):
        assert cpuid_ioctls.check_cpuid(vcpu, Rule(""), GuestCpuid(vcpu.kvm, (one,))) == 0
    assert cpuid_ioctls.check_cpuid(vcpu, Rule(""), GuestCpuid(vcpu.kvm)) == 0


# What follows the vCPU's state


@pytest.mark.parametrize(("release", "follows"), [("6.13", False), ("6.14", True), ("7.2", True)])
def test_without_the_hosts_feature_a_bit_was_left_alone(release: str, follows: bool) -> None:
    """OSXSAVE and OSPKE; from 6.14 on they follow CR4 whatever the host has."""
    for without, leaf, given, bit in ((1, 1, OSXSAVE, 18), (7, 7, OSPKE, 22)):
        for cr4 in (0, 1 << bit):
            for host_lacks in (True, False):
                vcpu = vcpu_of(release, without=without if host_lacks else 0)
                vcpu.cr4 = cr4
                assert vcpu.set_cpuid2((row(leaf, ecx=given), row(leaf + 7, ecx=given))).accepted
                expected = bool(cr4) if follows or not host_lacks else True
                assert bool(entry_of(vcpu, leaf).ecx & given) is expected
                assert entry_of(vcpu, leaf + 7).ecx == given


def test_a_bit_is_set_and_cleared_among_others() -> None:
    vcpu = vcpu_of()
    assert vcpu.set_cpuid2((row(1, ecx=0xFFFFFFFF, edx=0xFFFFFFFF), row(7, ecx=0xFFFFFFFF))).accepted
    assert entry_of(vcpu, 1).ecx == 0xFFFFFFFF & ~OSXSAVE
    assert entry_of(vcpu, 7).ecx == 0xFFFFFFFF & ~OSPKE
    vcpu.cr4, vcpu.cpuid_dirty, vcpu.apic_base = 1 << 18 | 1 << 22, True, 0xFEE00100
    assert (entry_of(vcpu, 1).ecx, entry_of(vcpu, 7).ecx) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert entry_of(vcpu, 1).edx == 0xFFFFFFFF & ~(1 << 9)
    assert not vcpu.cpuid_dirty
    vcpu.apic_base = 0xFEE00900
    # Only where it was told that something changed.
    assert entry_of(vcpu, 1).edx == 0xFFFFFFFF & ~(1 << 9)


def test_ospke_is_sub_leaf_0s() -> None:
    vcpu = vcpu_of()
    vcpu.cr4 = 1 << 22
    assert vcpu.set_cpuid2((row(7, sub=1), row(7, sub=0))).accepted
    assert (entry_of(vcpu, 7, 1).ecx, entry_of(vcpu, 7).ecx) == (0, OSPKE)


def test_apic_is_off_and_on() -> None:
    for base, on in ((0xFEE00900, True), (0xFEE00100, False), (0, False)):
        vcpu = vcpu_of()
        vcpu.apic_base = base
        assert vcpu.set_cpuid2((row(1),)).accepted
        assert entry_of(vcpu, 1).edx == on << 9


@pytest.mark.parametrize("enable", [None, 0, 1 << 18, ~(1 << 18) & 0xFFFFFFFF])
def test_mwait_follows_an_msr_where_the_quirk_is_off(enable: int | None) -> None:
    for quirks, follows in ((0, False), (1 << 4, True)):
        for given in (0, MWAIT):
            vcpu = vcpu_of(disabled_quirks=quirks)
            vcpu.msrs = {} if enable is None else {0x1A0: enable}
            assert vcpu.set_cpuid2((row(1, ecx=given),)).accepted
            expected = bool((enable or 0) >> 18 & 1) if follows else bool(given)
            assert bool(entry_of(vcpu, 1).ecx & MWAIT) is expected


@pytest.mark.parametrize(("release", "with_xss"), [("6.17", False), ("6.18", True), ("7.2", True)])
def test_the_sizes_of_leaf_0xd(release: str, with_xss: bool) -> None:
    """EBX of sub-leaf 1 counts XSS from 6.18 on, where XSAVEC or XSAVES is there."""
    vcpu = vcpu_of(release)
    vcpu.xcr0, vcpu.xss = 7, 1 << 11
    table = (row(0xD, 7, 9, 9, sub=0), row(0xD, 2, 9, 9, sub=1), row(0xD, 1, 9, 9, sub=2))
    assert vcpu.set_cpuid2(table).accepted
    assert [entry_of(vcpu, 0xD, sub).ebx for sub in (0, 1, 2)] == [0x340, 0x340 + (16 if with_xss else 0), 9]
    for eax in range(16):
        vcpu = vcpu_of(release)
        assert vcpu.set_cpuid2((row(0xD, eax, 9, sub=1),)).accepted
        assert entry_of(vcpu, 0xD, 1).ebx == (576 if eax & 0xA else 9)
    vcpu = vcpu_of(release)
    assert vcpu.set_cpuid2((row(0xE, 7, 9, sub=0), row(0xE, 2, 9, sub=1))).accepted
    assert [one.ebx for one in cpuid_ioctls.entries_of(vcpu)] == [9, 9]


@pytest.mark.parametrize(("release", "cut"), [("5.12", False), ("5.13", True), ("6.3", True), ("6.4", False)])
def test_sgxs_attributes_are_cut_to_xcr0(release: str, cut: bool) -> None:
    """From 5.13 to 6.3: ECX and EDX of leaf 0x12, sub-leaf 1; x87 and SSE are always there."""
    vcpu = vcpu_of(release)
    full = 0xFFFFFFFF
    table = (row(0xD, 6, edx=full, sub=0), row(0x12, 9, 9, full, full, sub=1), row(0x12, 9, 9, full, full, sub=2))
    assert vcpu.set_cpuid2(table).accepted
    assert entry_of(vcpu, 0x12, 1)[3:] == (9, 9, *((7, 0) if cut else (full, full)))
    assert entry_of(vcpu, 0x12, 2)[3:] == (9, 9, full, full)
    vcpu = vcpu_of(release)
    assert vcpu.set_cpuid2((row(0xD, 4, sub=0), row(0x12, 0, 0, 4, 0, sub=1))).accepted
    assert entry_of(vcpu, 0x12, 1).ecx == (7 if cut else 4)


def pv_table(base: int, features: int = 0xFF, signature: tuple[int, int, int] = KVM_SIGNATURE) -> tuple[Entry, ...]:
    return (row(base, base | 1, *signature), row(base | 1, features), row(base | 2, 0x55))


@pytest.mark.parametrize(
    ("release", "base", "signature", "found"),
    [
        ("5.16", 0x40000000, KVM_SIGNATURE, True),
        ("5.16", 0x40000000, (0, 0, 0), True),
        ("5.16", 0x40000100, KVM_SIGNATURE, False),
        ("5.17", 0x40000000, KVM_SIGNATURE, True),
        ("5.17", 0x40000000, (0, 0, 0), False),
        ("5.17", 0x40000100, KVM_SIGNATURE, True),
        ("5.17", 0x4000FF00, KVM_SIGNATURE, True),
        ("5.17", 0x40010000, KVM_SIGNATURE, False),
        ("5.17", 0x40000080, KVM_SIGNATURE, False),
        ("6.12", 0x40000100, (*KVM_SIGNATURE[:2], 0), False),
    ],
)
def test_where_kvms_features_are(release: str, base: int, signature: tuple[int, int, int], found: bool) -> None:
    vcpu = vcpu_of(release, caps={143: 2})
    assert vcpu.set_cpuid2(pv_table(base, 0xFF, signature)).accepted
    assert vcpu.pv_features == (0x7F if found else 0)
    assert entry_of(vcpu, base | 1).eax == (0x7F if found else 0xFF)
    assert entry_of(vcpu, base | 2).eax == 0x55


@pytest.mark.parametrize(("disabled", "kept"), [(None, 0x181), (1, 0x181), (2, 0x101), (3, 0x101), (4, 0x181)])
def test_pv_unhalt_goes_where_hlt_does_not_exit(disabled: int | None, kept: int) -> None:
    vcpu = vcpu_of(caps={} if disabled is None else {143: disabled})
    assert vcpu.set_cpuid2(pv_table(0x40000000, 0x181)).accepted
    assert (vcpu.pv_features, entry_of(vcpu, 0x40000001).eax) == (kept, kept)


@pytest.mark.parametrize(("release", "kept"), [("6.13", 0xFF), ("6.14", 0), ("7.2", 0)])
def test_features_of_a_table_before_were_kept(release: str, kept: int) -> None:
    vcpu = vcpu_of(release)
    assert vcpu.set_cpuid2(pv_table(0x40000000)).accepted
    assert vcpu.pv_features == 0xFF
    assert vcpu.set_cpuid2((row(1),)).accepted
    assert vcpu.pv_features == kept


def test_the_guests_xcr0_is_kvms_and_the_tables() -> None:
    for table, expected in (
        ((row(0xD, 0xFFFBFFFF, edx=0xFFFFFFFF, sub=0),), 7),
        ((row(0xD, 4, sub=0),), 4),
        ((row(0xD, 0, edx=7, sub=0),), 0),
        ((row(0xD, 7, sub=1),), 0),
        ((row(0xE, 7, sub=0),), 0),
    ):
        vcpu = vcpu_of()
        assert vcpu.set_cpuid2(table).accepted
        assert vcpu.guest_xcr0 == expected


def test_the_first_of_two_entries_is_the_one_that_counts() -> None:
    vcpu = vcpu_of(irqchip=IRQCHIP_NONE)
    assert vcpu.set_cpuid2((row(1, 5), row(1, 6))).accepted
    found = vcpu.cpuid.get(1)
    assert found is not None
    assert found[0] == 5
    assert [one.edx for one in cpuid_ioctls.entries_of(vcpu)] == [1 << 9, 0]
