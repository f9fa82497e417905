"""KVM_SET_NESTED_STATE and KVM_GET_NESTED_STATE on AMD: each check at its bound, by release, and what comes back."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.machine.x86.kvm.module import PVM, SVM
from inspector.machine.x86.kvm.nested.svm import Vmcb
from inspector.machine.x86.kvm.pat import PAT, PAT_RESET
from inspector.machine.x86.kvm.segments import SEGMENTS
from inspector.machine.x86.kvm.whole import WholeVcpu
from tests.machine.kvms import vcpu_with

GUEST, PENDING, EVMCS, MTF, GIF = 1, 2, 4, 8, 0x100
SVME = 1 << 12
#: The first bit beyond the guests' 40 bits of physical addresses.
BEYOND = 1 << 40
SAVE = 0x400
EFER, CR4, CR3, CR0, DR7, DR6, RFLAGS = (SAVE + at for at in (0xD0, 0x148, 0x150, 0x158, 0x160, 0x168, 0x170))
INTERCEPTS, IOPM, MSRPM, ASID, TLB, INT_CTL, NP, EVENT_INJ, NCR3 = 0, 0x40, 0x48, 0x58, 0x5C, 0x60, 0x90, 0xA8, 0xB0
VMRUN, NMI, CS_ATTRIBUTES = INTERCEPTS + 0x10, INTERCEPTS + 0xC, SAVE + 0x12
LME_LMA, PAE, PG_PE = 0x500, 1 << 5, 1 << 31 | 1

Field = tuple[int, int]


def vmcb(*changed: Field) -> bytes:
    """A VMCB that every kernel takes, with some fields changed: (offset, value)."""
    made = bytearray(4096)
    for offset, value in ((VMRUN, 1), (ASID, 1), (EFER, SVME), (CR0, PG_PE), *changed):
        size = 1 if offset == TLB else 2 if offset == CS_ATTRIBUTES else 4 if offset < IOPM or offset == ASID else 8
        made[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(made)


def amd(release: str, *features: str, efer: int = SVME) -> WholeVcpu:
    # NPT, SHSTK, SEV_ES: each counts where it is one of the features (from 6.14 on).
    npt, shstk, sev_es = (1, 8, 0, 1), (0, 0, 1 << 7, 0), (1 << 3, 0, 0, 0)
    vcpu = vcpu_with(release, SVM, "SVM", *features, leaf_8000000a=npt, leaf_7=shstk, leaf_8000001f=sev_es)
    vcpu.efer = efer
    return vcpu


def amds(flags: int, image: bytes = b"", *, pa: int = 0x1000, size: int | None = None, gpat: int = 0) -> bytes:
    """struct kvm_nested_state of format 1."""
    header = struct.pack("<HHIQQ", flags, 1, 128 + len(image) if size is None else size, pa, gpat)
    return header.ljust(128, b"\0") + image


def entered(vcpu: WholeVcpu, *changed: Field) -> str:
    """Why a nested guest with these fields is refused, or nothing."""
    vcpu.is_guest_mode = False
    outcome = vcpu.nested.set(amds(GUEST | GIF, vmcb(*changed)))
    assert outcome.code == (0 if outcome.accepted else errno.EINVAL)
    assert vcpu.is_guest_mode is outcome.accepted
    return "" if outcome.accepted else outcome.because


@pytest.mark.parametrize(
    ("release", "efer", "smm", "flags", "accepted"),
    [
        # svm_set_nested_state. Without SVME GIF alone, from 7.0 on nothing as well.
        ("6.19", SVME, False, 0, True),
        ("6.19", 0, False, 0, False),
        ("7.0", 0, False, 0, True),
        ("6.19", 0, False, GIF, True),
        ("7.0", 0, False, GIF, True),
        ("7.0", 0, False, GIF | GUEST, False),
        ("7.0", SVME, False, GIF | GUEST, True),
        ("7.0", SVME, False, GIF | GUEST | PENDING, True),
        ("7.0", SVME, False, GIF | PENDING, False),
        ("7.0", SVME, False, GIF | EVMCS, False),
        ("7.0", SVME, False, GIF | MTF, False),
        ("7.0", SVME, False, GIF | 0x10, False),
        # SMM has no guest mode.
        ("7.0", SVME, True, GIF, True),
        ("7.0", SVME, True, GIF | GUEST, False),
    ],
)
def test_amds_flags(release: str, efer: int, smm: bool, flags: int, accepted: bool) -> None:
    vcpu = amd(release, efer=efer)
    vcpu.is_smm = smm
    assert vcpu.nested.set(amds(flags, vmcb())).code == (0 if accepted else errno.EINVAL)
    assert vcpu.is_guest_mode is (accepted and bool(flags & GUEST))


@pytest.mark.parametrize(
    ("image", "because"),
    [
        (amds(GIF, size=127), "128 bytes at least"),
        (amds(GIF, size=128), ""),
        (struct.pack("<HHI", GIF, 0, 128).ljust(128, b"\0"), "the format is 1"),
        (amds(GUEST, vmcb(), pa=0x1001), "the VMCB's address is a page of the guest's"),
        (amds(GUEST, vmcb(), pa=0x1800), "the VMCB's address is a page of the guest's"),
        (amds(GUEST, vmcb(), pa=BEYOND), "the VMCB's address is a page of the guest's"),
        (amds(GUEST, vmcb(), pa=BEYOND - 0x1000), ""),
        (amds(GUEST, vmcb(), size=128 + 4095), "a VMCB follows the header"),
        (amds(GUEST, vmcb(), size=128 + 4097), ""),
    ],
)
def test_amds_header(image: bytes, because: str) -> None:
    outcome = amd("7.2").nested.set(image)
    assert (outcome.accepted, "" if outcome.accepted else outcome.because) == (not because, because)


@pytest.mark.parametrize(
    ("release", "changed", "because"),
    [
        # nested_vmcb_check_controls.
        ("5.10", ((VMRUN, 0),), "VMRUN is intercepted"),
        ("5.10", ((VMRUN, 2),), "VMRUN is intercepted"),
        ("5.10", ((ASID, 0),), "the ASID is not 0"),
        ("5.10", ((MSRPM, BEYOND),), ""),
        # Bits 11:0 of the maps' addresses do not count; 8 KiB and 12 KiB have to fit.
        ("5.11", ((MSRPM, BEYOND - 0x1001),), ""),
        ("5.11", ((MSRPM, BEYOND - 0x1000),), "the MSR bitmap is within the guest's width"),
        ("5.11", ((MSRPM, BEYOND),), "the MSR bitmap is within the guest's width"),
        ("5.11", ((IOPM, BEYOND - 0x2001),), ""),
        ("5.11", ((IOPM, BEYOND - 0x2000),), "the I/O bitmap is within the guest's width"),
        # TLB_CONTROL from 5.16 to 6.7, until an update of the series.
        ("5.15", ((TLB, 3),), ""),
        ("5.16", ((TLB, 3),), "TLB_CONTROL is 0 or 1"),
        ("6.6.13", ((TLB, 2),), "TLB_CONTROL is 0 or 1"),
        ("6.6.13", ((TLB, 1),), ""),
        ("6.6.14", ((TLB, 3),), ""),
        ("6.1.74", ((TLB, 3),), "TLB_CONTROL is 0 or 1"),
        ("6.1.75", ((TLB, 3),), ""),
        ("6.7", ((TLB, 3),), "TLB_CONTROL is 0 or 1"),
        ("6.8", ((TLB, 3),), ""),
        # V_NMI_ENABLE.
        ("6.3", ((INT_CTL, 1 << 26),), ""),
        ("6.4", ((INT_CTL, 1 << 26),), "virtual NMIs need NMI intercepted"),
        ("6.4", ((INT_CTL, 1 << 26), (NMI, 2)), ""),
        ("6.4", ((INT_CTL, 1 << 25),), ""),
        # nested_vmcb_check_save: L1's state. 5.10 looks at PG and SVME.
        ("5.10", ((CR0, 1),), "L1's CR0 has PG"),
        ("5.10", ((CR0, 1 << 31),), ""),
        ("5.10", ((EFER, 0),), "L1's EFER has SVME"),
        ("5.11", ((CR0, 1),), "L1's CR0 has PG"),
        ("5.11", ((CR0, 1 << 31),), "L1's CR0 has PE"),
        ("5.11", ((RFLAGS, 1 << 17),), "L1's RFLAGS has no VM"),
        ("5.11", ((EFER, 0),), "L1's EFER has SVME"),
        ("5.11", ((CR0, PG_PE | 1 << 29),), "L1's CR0 has no NW without CD"),
        ("5.11", ((CR0, PG_PE | 3 << 29),), ""),
        ("5.11", ((CR0, PG_PE | 1 << 30),), ""),
        ("5.11", ((CR0, PG_PE | 1 << 32),), "L1's CR0 has 32 bits"),
        ("5.11", ((DR6, 1 << 32),), "L1's DR6 and DR7 have 32 bits"),
        ("5.11", ((DR7, 1 << 32),), "L1's DR6 and DR7 have 32 bits"),
        ("5.11", ((DR6, (1 << 32) - 1), (DR7, (1 << 32) - 1)), ""),
        ("5.11", ((EFER, SVME | LME_LMA),), "L1's long mode has PAE"),
        ("5.11", ((EFER, SVME | LME_LMA), (CR4, PAE)), ""),
        ("5.11", ((EFER, SVME | LME_LMA), (CR4, PAE), (CR3, BEYOND)), "L1's CR3 is within the guest's width"),
        ("5.11", ((CR3, BEYOND),), ""),
        ("7.2", ((EFER, SVME | 0x400),), ""),
        ("7.3", ((EFER, SVME | 0x400),), "L1's EFER has no LMA without LME"),
        ("7.3", ((EFER, SVME | LME_LMA), (CR4, PAE)), ""),
        ("7.3", ((EFER, SVME | 0x100), (CR4, PAE)), ""),
        ("5.11", ((CR4, 1 << 40),), "CR4 has no bit that KVM lacks"),
        ("5.11", ((EFER, SVME | 1 << 40),), "EFER has no bit that KVM lacks"),
    ],
)
def test_a_vmcb_is_looked_at(release: str, changed: tuple[Field, ...], because: str) -> None:
    assert entered(amd(release), *changed) == because


def test_each_field_of_a_vmcb_has_its_size() -> None:
    sizes = {INTERCEPTS: 24, ASID: 4, TLB: 1, INT_CTL: 4, EVENT_INJ: 4, CS_ATTRIBUTES: 2}
    places = (INTERCEPTS, IOPM, MSRPM, ASID, TLB, INT_CTL, NP, EVENT_INJ, NCR3, CS_ATTRIBUTES, EFER, CR4, CR3, CR0)
    image = bytearray(b"\xff" * 4096)
    for number, at in enumerate((*places, DR7, DR6, RFLAGS)):
        size = sizes.get(at, 8)
        image[at : at + size] = number.to_bytes(size, "little")
    assert tuple(Vmcb.read(bytes(image))) == tuple(range(17))


@pytest.mark.parametrize(
    ("release", "late"),
    # What came with 7.1 is in updates of two older series.
    [
        *(("6.1.191", False), ("6.1.192", True), ("6.6.200", False), ("6.12.116", False), ("6.12.117", True)),
        *(("7.0", False), ("7.1", True), ("8.0", True)),
    ],
)
def test_checks_of_7_1(release: str, late: bool) -> None:
    vcpu = amd(release, "NPT")
    for changed, because in (
        (((NP, 1), (NCR3, BEYOND)), "nested CR3 is within the guest's width"),
        (((EFER, SVME | LME_LMA), (CR4, PAE), (CS_ATTRIBUTES, 0x600)), "L1's CS is not 64-bit and 32-bit at once"),
    ):
        assert entered(vcpu, *changed) == (because if late else "")
    for taken in (
        ((NP, 1), (NCR3, BEYOND - 1)),
        ((NP, 2), (NCR3, BEYOND)),
        ((EFER, SVME | LME_LMA), (CR4, PAE), (CS_ATTRIBUTES, 0x200)),
        ((EFER, SVME | LME_LMA), (CR4, PAE), (CS_ATTRIBUTES, 0x400)),
        ((CS_ATTRIBUTES, 0x600),),
    ):
        assert entered(vcpu, *taken) == ""


def test_nested_paging_needs_npt() -> None:
    """nested_vmcb_check_controls; from 7.1 on the bit is cleared where the guest has no NPT."""
    for release, because in (("7.0", "nested paging needs NPT on the host"), ("7.1", "")):
        vcpu = amd(release)
        vcpu.kvm.parameters = {**vcpu.kvm.parameters, "npt": "0"}
        vcpu.kvm.caps.clear("NPT")
        assert entered(vcpu, (NP, 1), (NCR3, BEYOND)) == because
        assert entered(vcpu, (NP, 2)) == ""


def test_what_is_injected_into_a_nested_guest() -> None:
    """nested_svm_check_event_inj, nested_svm_event_inj_valid_exept (7.1)."""
    valid, exception = 1 << 31, 3
    plain = {*range(20), 28, 30} - {2, 9, 15}
    before, without, both = amd("7.0"), amd("7.1"), amd("7.1", "SHSTK", "SEV_ES")
    for kind in range(8):
        if kind != exception:
            known = kind in (0, 2, 4)
            assert entered(without, (EVENT_INJ, valid | kind << 8 | 9)) == (
                "" if known else "the injected event's type is known"
            )
            assert entered(before, (EVENT_INJ, valid | kind << 8 | 9)) == ""
    for number in (*range(34), 0xFF):
        for vcpu, found in ((without, plain), (both, plain | {21, 29})):
            assert entered(vcpu, (EVENT_INJ, valid | exception << 8 | number)) == (
                "" if number in found else "an injected exception's vector is one that the guest has"
            )
    assert entered(without, (EVENT_INJ, 0x7FFFFFFF)) == ""


def test_a_vcpu_with_nw_alone_enters_no_guest() -> None:
    for cr0, accepted in ((1 << 29, False), (3 << 29, True), (1 << 30, True)):
        vcpu = amd("5.10")
        vcpu.cr0 = PG_PE | cr0
        assert (entered(vcpu) == "") is accepted


@pytest.mark.parametrize(
    ("release", "disabled", "pages", "gpat", "kept"),
    [
        # Without the quirk (KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT) L2 of nested paging has a PAT of its own.
        ("7.2", 1 << 11, 1, 6, 6),
        ("7.2", 1 << 11, 1, 2, None),
        ("7.2", 1 << 11, 0, 2, 0),
        ("7.2", 1 << 10, 1, 2, 0),
        ("7.1", 1 << 11, 1, 2, 0),
    ],
)
def test_the_pat_of_a_nested_guest(release: str, disabled: int, pages: int, gpat: int, kept: int | None) -> None:
    vcpu = amd(release, "NPT")
    vcpu.vm.disabled_quirks = disabled
    image = bytearray(amds(GUEST | GIF, vmcb((NP, pages)), gpat=gpat))
    image[24] = 0xFF
    outcome = vcpu.nested.set(bytes(image))
    assert outcome.accepted is (kept is not None)
    if kept is not None:
        assert struct.unpack_from("<HHIQQ", vcpu.nested.get(8192)[1]) == (GUEST | GIF, 1, 128 + 4096, 0x1000, kept)


def test_what_amds_state_reads_as() -> None:
    """svm_get_nested_state; the call needs room for all of it."""
    vcpu = amd("7.2")
    assert vcpu.nested.get(127) == (errno.E2BIG, b"")
    assert vcpu.nested.get(128) == (0, amds(GIF, pa=0))
    image = amds(GUEST | PENDING, vmcb((SAVE + 0x160, 0x400)))
    assert vcpu.nested.set(image).accepted
    assert vcpu.nested.blocks_init
    assert vcpu.nested.get(128 + 4095) == (errno.E2BIG, b"")
    code, found = vcpu.nested.get(128 + 4096)
    assert (code, found[:128], len(found)) == (0, image[:128], 128 + 4096)
    # Leaving L2, for a state without guest mode too: nothing is pending, and GIF is as it was given.
    for flags in (0, GIF):
        assert vcpu.nested.set(amds(flags)).accepted
        assert (vcpu.nested.get(128), vcpu.is_guest_mode) == ((0, amds(flags, pa=0)), False)
    # What is not there of the VMM's memory reads as 0.
    assert vcpu.nested.set(amds(GUEST, vmcb()[: SAVE + 0x200], size=128 + 4096)).accepted
    assert vcpu.nested.get(8192)[1][-0x900:] == bytes(0x900)
    # 5.10 takes neither GIF nor what is pending into guest mode.
    old = amd("5.10")
    assert old.nested.set(image).accepted
    assert old.nested.get(8192)[1][:2] == struct.pack("<H", GUEST | GIF)
    newer = amd("5.11")
    assert newer.nested.set(image).accepted
    assert newer.nested.get(8192)[1][:2] == struct.pack("<H", GUEST | PENDING)


@pytest.mark.parametrize(("release", "guest", "gif"), [("6.19", True, 0), ("7.0", True, GIF), ("7.0", False, 0)])
def test_leaving_sets_gif(release: str, guest: bool, gif: int) -> None:
    """svm_leave_nested, from 7.0 on, out of L2 alone."""
    vcpu = amd(release)
    assert vcpu.nested.set(amds(GUEST if guest else 0, vmcb())).accepted
    vcpu.nested.leave()
    assert vcpu.nested.get(128) == (0, amds(gif, pa=0))


def test_l1s_vmcb_is_kvms_own_from_5_13_on() -> None:
    """svm_copy_vmrun_state: what VMLOAD loads, DR6, DR7 and the PAT are not the given ones but the vCPU's."""
    given = vmcb(*((at, 0x1111111111111111) for at in (0x400 + 8 * n for n in range(8, 20))))
    given = given[:0x560] + bytes(16) + given[0x570:]
    old, new = amd("5.12"), amd("5.13")
    star = {0xC0000081: 0x600, 0xC0000082: 0x608, 0xC0000083: 0x610, 0xC0000084: 0x618, 0xC0000102: 0x620}
    msrs = {**star, 0x174: 0x628, 0x175: 0x630, 0x176: 0x638, PAT: 0x668}
    expected = bytearray(given)
    for vcpu in (old, new):
        for index, at in msrs.items():
            vcpu.msrs[index] = 7 << 32 | at
    for index, at in msrs.items():
        expected[at : at + 8] = (at if index in (0x175, 0x176) else 7 << 32 | at).to_bytes(8, "little")
    segments = list(new.segments)
    for name, at in (("fs", 0x440), ("gs", 0x450), ("ldt", 0x470), ("tr", 0x490)):
        # struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl.
        number = SEGMENTS.index(name)
        segments[number] = struct.pack("<QIH10B", 0x5000 + at, 0xFFFF, at, 3, 1, 0, 0, 1, 0, 0, 0, 0, 0)
        expected[at : at + 16] = struct.pack("<HHIQ", at, 0x93, 0xFFFF, 0x5000 + at)
    new.segments = tuple(segments)
    expected[0x560:0x570] = struct.pack("<QQ", 0x400, 0)
    for vcpu, found in ((old, given), (new, bytes(expected))):
        assert vcpu.nested.set(amds(GUEST, given)).accepted
        assert vcpu.nested.get(8192)[1][128:] == found
    new.msrs.clear()
    assert new.nested.get(8192)[1][128 + 0x668 : 128 + 0x670] == PAT_RESET.to_bytes(8, "little")
    assert new.nested.get(8192)[1][128 + 0x600 : 128 + 0x608] == bytes(8)


@pytest.mark.parametrize(
    ("release", "vendor", "nested", "exists"),
    # From 7.2 on the ioctls need the parameter (kvm_nested_ops.enabled).
    [("7.1", SVM, "0", True), ("7.2", SVM, "0", False), ("7.2", SVM, "1", True), ("7.1", PVM, "1", False)],
)
def test_where_there_is_nested_state(release: str, vendor: str, nested: str, exists: bool) -> None:
    vcpu = vcpu_with(release, vendor)
    vcpu.kvm.parameters = {**vcpu.kvm.parameters, "nested": nested}
    assert vcpu.nested.get(8192) == ((0, amds(GIF, pa=0)) if exists else (errno.EINVAL, b""))
    assert vcpu.nested.set(amds(GIF)).code == (0 if exists else errno.EINVAL)
