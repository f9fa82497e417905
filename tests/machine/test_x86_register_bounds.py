"""KVM_SET_ONE_REG by each part of an id, and KVM_SET_MSRS by their counts: what a changed rule would answer."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.x86.kvm.module import SVM, VMX
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.msrs.rule import UNKNOWN as UNKNOWN_MSR
from inspector.machine.x86.kvm.one_reg import get_one_reg, reg_list, register_id, set_one_reg
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import vcpu_with

#: KVM_X86_REG_MSR(IA32_TSC), and KVM_X86_REG_KVM(KVM_REG_GUEST_SSP); arch/x86/include/uapi/asm/kvm.h.
TSC, SSP = 0x2030_0002_0000_0010, 0x2030_0003_0000_0000
STAR, UNKNOWN = 0xC0000081, 0x12345


def vcpu_of(release: str = "7.2", *more: str, shstk: bool = True) -> WholeVcpu:
    return vcpu_with(release, VMX, *(("SHSTK",) if shstk else ()), *more, leaf_7=(0, 0, int(shstk) << 7, 0))


def test_an_id_by_its_parts() -> None:
    assert (register_id(2, 0x10), register_id(3, 0), register_id(2, STAR)) == (TSC, SSP, 0x2030_0002_C000_0081)


@pytest.mark.parametrize(
    "register",
    [
        # Another architecture, each reserved bit (rsvd1, rsvd2), types beside 2 and 3, sizes beside 64 bits.
        *(TSC ^ 1 << bit for bit in range(32, 64)),
        # Without bit 32 it is of type 2, and the MSR 0 is there.
        *(SSP ^ 1 << bit for bit in range(33, 64)),
        # Of KVM's own registers there is one.
        *(SSP | 1 << bit for bit in range(32)),
        0x2030_0002_0000_0000 | UNKNOWN,
    ],
)
def test_every_other_id_is_einval(register: int) -> None:
    vcpu = vcpu_of()
    assert get_one_reg(vcpu, register).code == errno.EINVAL
    assert set_one_reg(vcpu, register, 0).code == errno.EINVAL


@pytest.mark.parametrize(
    ("value", "wide", "code"),
    [
        (0, False, 0),
        (0x7FFF_FFFF_FFFC, False, 0),
        (0x8000_0000_0000, False, errno.EINVAL),
        (0x8000_0000_0000, True, 0),
        (0xFF_FFFF_FFFF_FFFC, True, 0),
        (0x100_0000_0000_0000, True, errno.EINVAL),
        (0xFFFF_8000_0000_0000, False, 0),
        (0xFFFF_7FFF_FFFF_FFFC, False, errno.EINVAL),
        (0xFFFF_7FFF_FFFF_FFFC, True, 0),
        (0xFF00_0000_0000_0000, True, 0),
        (0xFEFF_FFFF_FFFF_FFFC, True, errno.EINVAL),
        (1, False, errno.EINVAL),
        (2, False, errno.EINVAL),
    ],
)
def test_a_shadow_stack_pointer_is_canonical_and_a_multiple_of_4(value: int, wide: bool, code: int) -> None:
    vcpu = vcpu_of("7.2", *(("LA57",) if wide else ()))
    assert set_one_reg(vcpu, SSP, value).code == code
    assert vcpu.guest_ssp == get_one_reg(vcpu, SSP).value == (0 if code else value)


@pytest.mark.parametrize(("release", "shstk"), [("7.2", False), ("6.17", True)])
def test_without_shadow_stacks_or_the_ioctl(release: str, shstk: bool) -> None:
    vcpu = vcpu_of(release, shstk=shstk)
    for outcome in (get_one_reg(vcpu, SSP), set_one_reg(vcpu, SSP, 0)):
        assert outcome.code == errno.EINVAL


def test_the_list_of_registers() -> None:
    for vcpu, room, code, listed in (
        (vcpu_of("6.18"), 0, errno.E2BIG, ()),
        (vcpu_of("6.18"), 1, 0, (SSP,)),
        (vcpu_of("6.18", shstk=False), 0, 0, ()),
        (vcpu_of("6.17"), 1, errno.EINVAL, ()),
    ):
        outcome, found = reg_list(vcpu, room)
        assert (outcome.code, found) == (code, listed)


def test_an_msr_by_its_id_is_the_msr() -> None:
    vcpu = vcpu_with("7.2", SVM)
    one = register_id(2, STAR)
    assert set_one_reg(vcpu, one, 0x1234).accepted
    assert get_one_reg(vcpu, one).value == access.read(vcpu, STAR) == 0x1234
    unknown = register_id(2, UNKNOWN)
    for refused, by_itself in (
        (set_one_reg(vcpu, unknown, 9), access.set_msr(vcpu, UNKNOWN, 9)),
        (get_one_reg(vcpu, unknown), access.get_msr(vcpu, UNKNOWN)),
    ):
        assert (refused.code, refused.checks[-1]) == (errno.EINVAL, by_itself.checks[-1])


@pytest.mark.parametrize(("release", "is_zero"), [("5.10", False), ("6.6", False), ("6.12", True), ("7.2", True)])
def test_of_dev_kvm_a_listed_msr_that_is_no_feature_reads_0(release: str, is_zero: bool) -> None:
    """kvm_do_msr_access asks kvm_is_advertised_msr; before it do_get_msr_feature only asked for ignore_msrs."""
    vcpu = vcpu_with(release, SVM)
    assert access.read_feature(vcpu, STAR) == (0 if is_zero else UNKNOWN_MSR)
    assert access.read_feature(vcpu, UNKNOWN) == UNKNOWN_MSR


# KVM_SET_MSRS and KVM_GET_MSRS


def test_one_entry_is_taken_or_not() -> None:
    vcpu = vcpu_with("7.2", SVM)
    for outcome, told in (
        (access.set_msr(vcpu, STAR, 5), ("ok", 0, 1, True)),
        (access.get_msr(vcpu, STAR), ("ok", 0, 5, True)),
        (access.set_msr(vcpu, UNKNOWN, 5), ("short", 1, 0, False)),
        (access.get_msr(vcpu, UNKNOWN), ("short", 1, 0, False)),
    ):
        assert (outcome.verdict, outcome.code, outcome.value, outcome.checks[-1].held) == told
    assert access.source_of(vcpu, UNKNOWN) == "kvm_set_msr_common (x86.c)"
    assert access.set_msr(vcpu, 0x48, 0).source == access.source_of(vcpu, 0x48) != access.source_of(vcpu, UNKNOWN)


def test_entries_are_counted_up_to_the_first_that_is_refused() -> None:
    vcpu = vcpu_with("7.2", SVM)
    for last, told in ((STAR, ("ok", 0, 3, True)), (UNKNOWN, ("short", 3, 2, False))):
        indexes = (STAR, STAR + 1, last)
        written = access.set_msrs(vcpu, [(index, 7) for index in indexes])
        read, values = access.get_msrs(vcpu, indexes)
        for outcome in (written, read):
            assert (outcome.verdict, outcome.code, outcome.value, outcome.checks[-1].held) == told
        assert values == (7,) * told[2]


@pytest.mark.parametrize(("count", "code"), [(255, 0), (256, errno.E2BIG)])
def test_fewer_than_max_io_msrs(count: int, code: int) -> None:
    """msr_io: nmsrs >= MAX_IO_MSRS is E2BIG."""
    vcpu = vcpu_with("7.2", SVM)
    for outcome in (access.set_msrs(vcpu, [(STAR, 1)] * count), access.get_msrs(vcpu, [STAR] * count)[0]):
        assert (outcome.code, outcome.checks[-1].held) == (code, not code)
