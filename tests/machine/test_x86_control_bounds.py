"""The bits of CR4 and EFER: by feature, release and vendor."""

from __future__ import annotations

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.outcome import Rule
from inspector.machine.x86.kvm.control_bits import known_efer_bits, reserved_cr4_bits
from inspector.machine.x86.kvm.efer import valid_efer
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.module import SVM, VMX
from tests.machine.sregs import (
    AUTOIBRS,
    FXSR_OPT,
    LM,
    LMSLE_MBZ,
    M64,
    NX,
    kvm_of,
    vcpu_of,
)

#: Bits of CR4 by their feature, on any release.
ALWAYS = {"UMIP": 11, "LA57": 12, "VMX": 13, "FSGSBASE": 16, "PCID": 17, "XSAVE": 18, "SMEP": 20, "SMAP": 21, "PKU": 22}


@pytest.mark.parametrize(
    ("feature", "bit", "since"),
    [
        *[(name, bit, (0,)) for name, bit in ALWAYS.items()],
        ("LAM", 28, (6, 8)),
        ("SHSTK", 23, (6, 18)),
        ("IBT", 23, (6, 18)),
    ],
)
def test_a_bit_of_cr4_comes_with_its_feature(feature: str, bit: int, since: tuple[int, ...]) -> None:
    always = M64 & ~0x7FF
    for release in ((5, 10), (6, 7, 99), (6, 8), (6, 17, 99), (6, 18), (7, 3)):
        assert reserved_cr4_bits(release, lambda _: False) == always
        known = 1 << bit if release >= since else 0
        assert reserved_cr4_bits(release, lambda name: name == feature) == always & ~known, release


def test_all_features_give_all_their_bits() -> None:
    assert reserved_cr4_bits((7, 0), lambda _: True) == M64 & ~0x10F73FFF & ~0x7FF
    assert reserved_cr4_bits((6, 7), lambda _: True) == M64 & ~0x773FFF


@pytest.mark.parametrize(
    ("release", "vendor", "edx", "more", "nested", "known"),
    [
        ("6.12", VMX, 0, {}, "1", 0x501),
        ("6.12", VMX, NX, {}, "1", 0xD01),
        # FFXSR and AUTOIBRS are SVM's alone until KVM asks its own capabilities of both.
        ("6.19", VMX, NX | FXSR_OPT, {(0x80000021, 0): (AUTOIBRS, 0, 0, 0)}, "1", 0xD01),
        ("6.12", SVM, NX, {}, "0", 0xD01),
        ("6.12", SVM, NX, {}, "1", 0x3D01),
        ("6.12", SVM, FXSR_OPT, {}, "0", 0x4501),
        ("6.12", SVM, NX, {(0x80000021, 0): (AUTOIBRS, 0, 0, 0)}, "0", 0x200D01),
        ("6.2", SVM, NX, {(0x80000021, 0): (AUTOIBRS, 0, 0, 0)}, "0", 0x200D01),
        ("6.1", SVM, NX, {(0x80000021, 0): (AUTOIBRS, 0, 0, 0)}, "0", 0xD01),
        ("6.18", SVM, NX, {(0x80000008, 0): (0, LMSLE_MBZ, 0, 0)}, "1", 0x3D01),
        ("6.19", SVM, NX, {(0x80000008, 0): (0, LMSLE_MBZ, 0, 0)}, "1", 0x1D01),
        ("6.19", SVM, NX, {}, "1", 0x3D01),
    ],
)
def test_the_bits_of_efer_that_kvm_knows(
    release: str, vendor: str, edx: int, more: dict[tuple[int, int], CpuidValues], nested: str, known: int
) -> None:
    kvm = kvm_of(release, vendor, edx, more, nested=nested)
    assert known_efer_bits(kvm, kvm.boot_has) == known


def test_nesting_is_on_unless_the_parameter_says_no() -> None:
    kvm = kvm_of("6.12")
    assert known_efer_bits(kvm, kvm.boot_has) == 0x3D01


@pytest.mark.parametrize(("release", "asked"), [("6.19", "boot"), ("7.0", "kvm"), ("7.3", "kvm")])
def test_whose_features_decide_on_efer(release: str, asked: str) -> None:
    """From 7.0 on KVM's own, for both vendors."""
    for vendor in (SVM, VMX):
        kvm = kvm_of(release, vendor, NX, nested="0")
        known = known_efer_bits(kvm, lambda name: name in ("FXSR_OPT", "AUTOIBRS"))
        assert known == (0xD01 if asked == "boot" else 0x204501), vendor


def test_efer_is_first_what_kvm_knows_then_what_the_guest_has() -> None:
    vcpu = vcpu_of("6.12", SVM, Entry(0x80000001, 0, 0, 0, 0, 0, LM))
    for efer, held, because in (
        (1 << 63 | 1 << 11, False, "EFER has no bit that KVM lacks"),
        (1 << 11, False, "the guest's CPUID has what EFER turns on NX"),
        (0x500, True, "the guest's CPUID has what EFER turns on"),
    ):
        rule = Rule("")
        assert valid_efer(vcpu, rule, efer) is held
        assert rule.checks[-1].text == because
