"""MSRs of extended state: XSS, XFD, shadow stacks and branch tracking; each value at its bound.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), __kvm_set_msr, kvm_set_msr_common, kvm_is_valid_u_s_cet.
"""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.module import VMX, Kvm
from inspector.machine.x86.kvm.msrs.access import read, set_msr
from inspector.machine.x86.kvm.msrs.rule import Refusal
from tests.machine.kvms import commands, give, kept, vcpu_with

XSS, XFD, XFD_ERR, U_CET, S_CET, SSP0, SSP3, SSP_TABLE = 0xDA0, 0x1C4, 0x1C5, 0x6A0, 0x6A2, 0x6A4, 0x6A7, 0x6A8


@pytest.mark.parametrize(
    ("features", "value", "accepted"),
    [
        # kvm_is_valid_u_s_cet: bits of the guest's features, bits 9:6, the bitmap's address, both trackers.
        ((), 0, False),
        (("SHSTK",), 3, True),
        (("SHSTK",), 0, True),
        *((("SHSTK",), 1 << bit, False) for bit in (2, 5, 10, 11, 12, 63)),
        (("IBT",), 0x3C, True),
        (("IBT",), 1 << 10, True),
        (("IBT",), 1 << 11, True),
        (("IBT",), 1 << 10 | 1 << 11, False),
        *((("IBT",), 1 << bit, False) for bit in (0, 1, 6, 9, 12, 13)),
        (("IBT",), 1 << 14, True),
        (("SHSTK", "IBT"), 1 << 63 | 0x43F & ~0x3C0, True),
        (("SHSTK", "IBT"), 1 << 6, False),
    ],
)
def test_bits_of_control_flow(features: tuple[str, ...], value: int, accepted: bool) -> None:
    vcpu = give(vcpu_with("6.18", VMX), *features)
    for index in (U_CET, S_CET):
        if not features:
            assert isinstance(read(vcpu, index), Refusal)
        else:
            assert read(vcpu, index) == 0
        assert kept(vcpu, index, value) == (value if accepted else None)
    assert "KVM of this release" in set_msr(vcpu_with("6.17", VMX), U_CET, 0).because


@pytest.mark.parametrize(
    ("features", "index", "value", "accepted"),
    [
        *((("SHSTK", "LM"), index, 0x1004, True) for index in (SSP0, 0x6A5, 0x6A6, SSP3, SSP_TABLE)),
        (("SHSTK",), SSP0, 0x1004, True),
        (("SHSTK",), SSP_TABLE, 0x1004, False),
        (("LM",), SSP0, 0, False),
        (("SHSTK", "LM"), SSP0, 2, False),
        (("SHSTK", "LM"), SSP3, 1, False),
        (("SHSTK", "LM"), SSP_TABLE, 3, True),
        (("SHSTK", "LM"), SSP0, 1 << 47, False),
        (("SHSTK", "LM"), SSP_TABLE, 1 << 47, False),
    ],
)
def test_shadow_stack_pointers(features: tuple[str, ...], index: int, value: int, accepted: bool) -> None:
    vcpu = vcpu_with("6.18", VMX, leaf_80000001=(0, 0, 0, 0))
    give(vcpu, *features)
    assert isinstance(read(vcpu, index), int) is ("SHSTK" in features)
    assert kept(vcpu, index, value) == (value if accepted else None)


@pytest.mark.parametrize(
    ("release", "features", "leaf", "xss", "accepted"),
    [
        # XSS: what KVM has, from 6.18 on what the guest's leaf 0xD has of it, with XSAVES.
        ("6.17", (), (0, 0, 0, 0), 0x800, True),
        ("6.17", (), (0, 0, 0, 0), 0x100, False),
        ("6.18", (), (0, 0, 0x800, 0), 0x800, False),
        ("6.18", ("XSAVES",), (0, 0, 0x800, 0), 0x800, True),
        ("6.18", ("XSAVES",), (0, 0, 0x900, 0), 0x100, False),
        ("6.18", ("XSAVES",), (0, 0, 0, 0), 0x800, False),
        ("6.18", ("XSAVES",), (0, 0, 0, 1), 1 << 32, True),
        ("6.18", ("XSAVES",), (0, 0, 0, 2), 1 << 33, False),
    ],
)
def test_xss(
    monkeypatch: pytest.MonkeyPatch,
    release: str,
    features: tuple[str, ...],
    leaf: tuple[int, int, int, int],
    xss: int,
    accepted: bool,
) -> None:
    vcpu = vcpu_with(release, VMX)
    monkeypatch.setattr(Kvm, "xss", 0x1800 | 1 << 32)
    for subleaf, ecx, edx in ((0, 0, 0), (1, leaf[2], leaf[3])):
        entry = vcpu.guest.entries[0]._replace(leaf=0xD, subleaf=subleaf, flags=1, eax=0, ebx=0, ecx=ecx, edx=edx)
        vcpu.guest.replace((*vcpu.guest.entries, entry))
    give(vcpu, *features)
    vcpu.cpuid_dirty = False
    assert kept(vcpu, XSS, xss) == (xss if accepted else None)
    assert vcpu.cpuid_dirty is accepted
    vcpu.cpuid_dirty = False
    if accepted:
        assert kept(vcpu, XSS, xss) == xss
        assert not vcpu.cpuid_dirty


def test_xss_without_a_leaf_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    vcpu = give(vcpu_with("6.18", VMX), "XSAVES")
    monkeypatch.setattr(Kvm, "xss", 0x1801)
    vcpu.guest.in_table = lambda feature: True  # type: ignore[method-assign]
    vcpu.guest.replace(())
    assert [kept(vcpu, XSS, value) for value in (0, 1)] == [0, None]


@pytest.mark.parametrize("index", [XFD, XFD_ERR])
def test_xfd(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    """kvm_guest_supported_xfd: AMX's tile data where KVM and the guest's leaf 0xD have it."""
    vcpu = vcpu_with("6.12", VMX)
    monkeypatch.setattr(Kvm, "xcr0", 0x602FF)
    assert commands(vcpu, index, 0, 1, 1 << 18) == [True, False, False]
    for subleaf, eax in ((1, 0), (0, 0x602FF)):
        entry = vcpu.guest.entries[0]._replace(leaf=0xD, subleaf=subleaf, flags=1, eax=eax, ebx=0, ecx=0, edx=0)
        vcpu.guest.replace((*vcpu.guest.entries, entry))
    assert commands(vcpu, index, 1 << 18, 1 << 17, 1) == [True, False, False]
    assert (read(vcpu, XFD), read(vcpu, XFD_ERR)) == ((1 << 18, 0) if index == XFD else (0, 1 << 18))
    monkeypatch.setattr(Kvm, "xcr0", 0x2FF)
    assert commands(vcpu, index, 1 << 18) == [False]
    assert "KVM of this release" in set_msr(vcpu_with("5.10", VMX), index, 0).because
