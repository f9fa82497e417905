"""KVM_SET_XSAVE, KVM_GET_XSAVE and KVM_SET_FPU by their bytes, and what KVM finds in a guest's CPUID, by release."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.cpu import images
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm import xsave
from inspector.machine.x86.kvm.guest_cpuid import INDEXED, Entry, GuestCpuid
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.whole import WholeVcpu
from layouts.x86.kernels import profile_for

HAS_XSAVE = 1 << 26
#: What 5.10 gives guests of this processor: x87 to AVX, AVX-512 and PKRU.
ALL = 0x2E7
#: Component: where it is in a standard image (CPUID(0xD,n).EBX), in the kernel's compacted one, and its size.
PLACES = {2: (576, 576, 256), 5: (1088, 832, 64), 6: (1152, 896, 512), 7: (1664, 1408, 1024), 9: (2688, 2432, 8)}
#: Any byte of an image differs from those around it and from those at the compacted places.
PATTERN = bytes((7 * at + (at >> 8)) & 0xFF for at in range(4096))


def kvm_of(release: str, ecx_1: int = HAS_XSAVE) -> Kvm:
    leaves = shipped_cpu("sapphire-rapids").leaves | {(1, 0): (0, 0, ecx_1, 0)}
    return Kvm(Host(Cpuid(leaves), profile_for(release)), release=release)


def vcpu_of(release: str, ecx_1: int = HAS_XSAVE, guest_xcr0: int = ALL) -> WholeVcpu:
    vcpu = WholeVcpu(kvm_of(release, ecx_1))
    vcpu.guest_xcr0 = guest_xcr0
    return vcpu


def given(bv: int, mxcsr: int = 0x1F80) -> bytes:
    """An image full of a pattern, its reserved header too."""
    image = bytearray(PATTERN)
    image[24:28] = mxcsr.to_bytes(4, "little")
    image[512:520] = bv.to_bytes(8, "little")
    return bytes(image)


# 5.10: load_xsave and fill_xsave


@pytest.mark.parametrize("bv", [ALL, 0, 3, 4, 0x204, 0xE0])
def test_5_10_copies_the_legacy_part_whole_and_components_of_xstate_bv(bv: int) -> None:
    vcpu = vcpu_of("5.10")
    before, image = vcpu.fpstate.image, given(bv)
    assert xsave.set_xsave(vcpu, image).accepted
    assert (vcpu.fpstate.image[:512], len(vcpu.fpstate.image)) == (image[:512], len(before))
    assert vcpu.fpstate.xstate_bv == bv
    assert images.xcomp_bv(vcpu.fpstate.image) == images.xcomp_bv(before)
    for component, (standard, compacted, size) in PLACES.items():
        # PKRU is the vCPU's own, and is not in the image.
        taken = component != 9 and bv >> component & 1
        found = vcpu.fpstate.image[compacted : compacted + size]
        assert found == (image[standard : standard + size] if taken else before[compacted : compacted + size])
    assert vcpu.pkru == (int.from_bytes(image[2688:2692], "little") if bv >> 9 & 1 else 0)


@pytest.mark.parametrize("guest", [ALL, 7, 0, 0x203, 0xE7])
@pytest.mark.parametrize("bv", [ALL, 3, 0x204])
def test_5_10_gives_what_the_guests_cpuid_has(guest: int, bv: int) -> None:
    vcpu = vcpu_of("5.10", guest_xcr0=guest)
    image = given(bv)
    assert xsave.set_xsave(vcpu, image).accepted
    shown = bv & (guest | 3)
    expected = bytearray(4096)
    expected[:512] = image[:512]
    expected[512:520] = shown.to_bytes(8, "little")
    for component, (standard, _, size) in PLACES.items():
        if shown >> component & 1:
            # sizeof(vcpu->arch.pkru), not the component's size.
            end = standard + (4 if component == 9 else size)
            expected[standard:end] = image[standard:end]
    assert xsave.get_xsave(vcpu) == expected


@pytest.mark.parametrize(
    ("bv", "mxcsr", "code"),
    [
        (ALL, 0xFFFF, 0),
        (ALL, 0x10000, errno.EINVAL),
        # MXCSR is looked at whatever XSTATE_BV has.
        (0, 0x10000, errno.EINVAL),
        (0, 0xFFFF, 0),
        (ALL | 8, 0, errno.EINVAL),
        (ALL | 1 << 17, 0, errno.EINVAL),
        (1 << 63, 0, errno.EINVAL),
    ],
)
def test_5_10_refuses_components_and_bits_of_mxcsr(bv: int, mxcsr: int, code: int) -> None:
    vcpu = vcpu_of("5.10")
    before = vcpu.fpstate.image
    assert xsave.set_xsave(vcpu, given(bv, mxcsr)).code == code
    assert (vcpu.fpstate.image == before) is bool(code)


def test_the_generic_copies_came_with_5_16() -> None:
    """Before them the header's reserved bytes were not looked at, and XSTATE_BV of a new vCPU hid nothing."""
    for release, code in (("5.15.9", 0), ("5.16", errno.EINVAL)):
        vcpu = vcpu_of(release)
        assert xsave.set_xsave(vcpu, given(3)).code == code
        vcpu = vcpu_of(release)
        vcpu.fpstate.image = vcpu.fpstate.image[:32] + b"\x55" + vcpu.fpstate.image[33:]
        # 0 in XSTATE_BV: the legacy part as it lies there, or initial.
        assert xsave.get_xsave(vcpu)[32] == (0 if code else 0x55)


# Without XSAVE in Linux


@pytest.mark.parametrize("release", ["5.10", "7.2"])
def test_without_xsave_an_image_is_its_legacy_part(release: str) -> None:
    vcpu = vcpu_of(release, 0)
    behind, image = vcpu.fpstate.image[512:], given(0)
    assert xsave.set_xsave(vcpu, image).accepted
    assert vcpu.fpstate.image == image[:512] + behind
    assert xsave.get_xsave(vcpu) == image[:512] + b"\3" + bytes(4096 - 513)


@pytest.mark.parametrize("release", ["5.10", "7.2"])
@pytest.mark.parametrize(
    ("bv", "mxcsr", "code"),
    [(3, 0xFFFF, 0), (1, 0, 0), (4, 0, errno.EINVAL), (7, 0, errno.EINVAL), (0, 0x10000, errno.EINVAL)],
)
def test_without_xsave_xstate_bv_is_x87s_and_sses(release: str, bv: int, mxcsr: int, code: int) -> None:
    vcpu = vcpu_of(release, 0)
    before = vcpu.fpstate.image
    assert xsave.set_xsave(vcpu, given(bv, mxcsr)).code == code
    assert (vcpu.fpstate.image == before) is bool(code)


# struct kvm_fpu

#: What: where it is in struct kvm_fpu (arch/x86/include/uapi/asm/kvm.h), in struct fxregs_state, and its size.
FPU = {"st": (0, 32, 128), "fcw": (128, 0, 2), "fsw": (130, 2, 2), "ftwx": (132, 4, 1), "last_opcode": (134, 6, 2)}
FPU |= {"last_ip": (136, 8, 8), "last_dp": (144, 16, 8), "xmm": (152, 160, 256)}


def test_fpu_is_copied_by_its_parts() -> None:
    vcpu = vcpu_of("7.2")
    vcpu.fpstate.image = b"\xee" * len(vcpu.fpstate.image)
    fpu = PATTERN[100:516]
    expected = bytearray(vcpu.fpstate.image)
    for at, to, size in FPU.values():
        expected[to : to + size] = fpu[at : at + size]
    # A byte that is assigned to a word: fxsave->twd = fpu->ftwx.
    expected[5] = 0
    assert xsave.set_fpu(vcpu, fpu).accepted
    assert vcpu.fpstate.image == expected
    read = bytearray(416)
    for at, _, size in FPU.values():
        read[at : at + size] = fpu[at : at + size]
    assert xsave.get_fpu(vcpu) == read


# A guest's CPUID

ENTRIES = (
    Entry(7, 1, INDEXED, 1, 0, 0, 0),
    Entry(7, 0, INDEXED, 2, 0, 0, 0),
    Entry(7, 1, INDEXED, 3, 0, 0, 0),
    Entry(8, 5, 0, 4, 0, 0, 0),
    Entry(8, 6, INDEXED, 5, 0, 0, 0),
    Entry(9, 2, 4, 6, 0, 0, 0),
)


@pytest.mark.parametrize(
    ("function", "index", "before", "after"),
    [
        # Without an index: that of 0 before 6.0, any from there on (KVM_CPUID_INDEX_NOT_SIGNIFICANT).
        (7, None, 2, 1),
        (7, 0, 2, 2),
        (7, 1, 1, 1),
        (7, 2, None, None),
        (8, 6, 4, 4),
        (8, None, 4, 4),
        (9, 7, 6, 6),
        (10, 0, None, None),
    ],
)
def test_the_first_entry_that_fits(function: int, index: int | None, before: int | None, after: int | None) -> None:
    for release, eax in (("5.10", before), ("5.19.9", before), ("6.0", after), ("7.2", after)):
        found = GuestCpuid(kvm_of(release), ENTRIES).find(function, index)
        assert (found.eax if found else None) == eax, release


@pytest.mark.parametrize(
    ("highest", "eax", "bits"),
    [
        (0x80000008, 0x3028, 40),
        (0x80000007, 0x3028, 36),
        (None, 0x3028, 36),
        (0x80000009, None, 36),
        (0x80000008, 0x134, 52),
    ],
)
def test_the_width_of_addresses(highest: int | None, eax: int | None, bits: int) -> None:
    entries = [
        Entry(leaf, 0, 0, value, 0, 0, 0)
        for leaf, value in ((0x80000000, highest), (0x80000008, eax))
        if value is not None
    ]
    assert GuestCpuid(kvm_of("7.2"), entries).maxphyaddr == bits


def test_from_6_14_on_a_feature_is_one_that_kvm_has_or_emulates() -> None:
    """guest_cpu_cap_has: MOVBE is emulated, XSAVE KVM's own here, PCID neither."""
    entries = (Entry(1, 0, 0, 0, 0, 1 << 22 | HAS_XSAVE | 1 << 17, 0),)
    for release, has_pcid in (("6.13.9", True), ("6.14", False), ("7.2", False)):
        guest = GuestCpuid(kvm_of(release), entries)
        assert [guest.has(name) for name in ("MOVBE", "XSAVE", "PCID", "SMEP")] == [True, True, has_pcid, False]
        assert [guest.governed(name) for name in ("MOVBE", "XSAVE", "PCID")] == [False, True, False]


def test_a_feature_is_in_the_entry_of_its_subleaf() -> None:
    """WRMSRNS is EAX 19 of leaf 7, subleaf 1; the entry of subleaf 0 before it has the bit set, and says nothing."""
    for first, second, there in ((1 << 19, 0, False), (0, 1 << 19, True)):
        entries = (Entry(7, 0, INDEXED, first, 0, 0, 0), Entry(7, 1, INDEXED, second, 0, 0, 0))
        assert GuestCpuid(kvm_of("7.2"), entries).in_table("WRMSRNS") is there


def test_what_was_asked_has_the_same_answers_in_the_same_table() -> None:
    """A sweep compares tables by these answers alone."""
    kvm = kvm_of("7.2")
    entries = (Entry(0, 0, 0, 7, 0x756E6547, 0x6C65746E, 0x49656E69), Entry(1, 0, 0, 9, 0, HAS_XSAVE, 0))
    guest = GuestCpuid(
        kvm, (*entries, Entry(0x80000000, 0, 0, 0x80000008, 0, 0, 0), Entry(0x80000008, 0, 0, 40, 0, 0, 0))
    )
    asked: dict[tuple[object, ...], object] = {}
    guest.asked = asked
    answers = [guest.leaf(1), guest.leaf(0xD, 1), guest.has("XSAVE"), guest.maxphyaddr, guest.vendor, guest.is_set]
    assert answers == [(9, 0, HAS_XSAVE, 0), None, True, 40, "GenuineIntel", True]
    assert list(asked.values()) == answers
    assert [guest.answer(key) for key in asked] == answers
    other = GuestCpuid(kvm, is_set=False)
    assert [other.answer(key) for key in asked] == [None, None, False, 36, "", False]
    with pytest.raises(KeyError):
        guest.answer(("nothing",))


def test_an_answer_is_of_its_subleaf() -> None:
    guest = GuestCpuid(kvm_of("7.2"), ENTRIES)
    for index, eax in ((0, 2), (1, 1), (None, 1)):
        assert guest.leaf(7, index) == guest.answer(("leaf", 7, index)) == (eax, 0, 0, 0)


def test_what_kvm_works_out_once_is_worked_out_again_while_questions_are_collected() -> None:
    guest, made = GuestCpuid(kvm_of("7.2")), []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [guest.remembered("one", make) for _ in range(3)] == [1, 1, 1]
    guest.asked = {}
    assert [guest.remembered("one", make) for _ in range(2)] == [2, 3]
