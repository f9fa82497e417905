"""A whole vCPU: CPUID, SREGS, XSAVE images and restores from end to end: the rules."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Rule
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm import cpuid_ioctls, restore, segments, sregs, xcrs, xsave
from inspector.machine.x86.kvm.guest_cpuid import INDEXED, Entry, GuestCpuid
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.supported_cpuid import emulated_cpuid, supported_cpuid
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.bench import cleared
from inspector.machine.x86.replay.restore.memo import Memo
from layouts.x86.features import FEATURES, WORDS
from layouts.x86.kernels import kernels, profile_for
from layouts.x86.kvm_caps import KVM_FEATURES

AMD = (0xD, 0x68747541, 0x444D4163, 0x69746E65)
INTEL = (0xD, 0x756E6547, 0x6C65746E, 0x49656E69)
LONG_CR0, LONG_EFER = 0x80050033, 0x500
#: X2APIC, XSAVE; FPU to SSE2 and APIC; LM, NX, SYSCALL.
LEAF_1, LEAF_80000001 = (0xA00F11, 0, 1 << 21 | 1 << 26 | 1, 0x178BFBFF), (0, 0, 4, 0x28100800)
LEAVES: dict[tuple[int, int], CpuidValues] = {
    (0, 0): AMD,
    (1, 0): LEAF_1,
    (7, 0): (1, 1 << 0 | 1 << 7 | 1 << 20, 1 << 2 | 1 << 3 | 1 << 4, 0),
    (0xD, 0): (7, 0x340, 0x340, 0),
    (0xD, 1): (5, 0, 0, 0),
    (0xD, 2): (0x100, 0x240, 0, 0),
    (0x80000000, 0): (0x80000008, *AMD[1:]),
    (0x80000001, 0): LEAF_80000001,
    (0x80000008, 0): (0x3028, 0, 0, 0),
}


def kvm_of(release: str, vendor: str = SVM, **parameters: str) -> Kvm:
    leaves = {**LEAVES, (0, 0): AMD if vendor == SVM else INTEL}
    return Kvm(Host(Cpuid(leaves), profile_for(release)), release=release, vendor=vendor, parameters=parameters)


def table_of(kvm: Kvm) -> tuple[Entry, ...]:
    return supported_cpuid(kvm)


def vcpu_of(release: str, vendor: str = SVM, *, cpuid: bool = True, **vm: int) -> WholeVcpu:
    vcpu = WholeVcpu(kvm_of(release, vendor), VmConfig(memory=bytearray(0x200000), **vm))  # type: ignore[arg-type]
    if cpuid:
        assert vcpu.set_cpuid2(table_of(vcpu.kvm)).accepted
    return vcpu


def with_register(vcpu: WholeVcpu, offset: int, value: int, state: str = "long") -> bytes:
    image = bytearray(states.sregs_image(vcpu, state))
    states.put(image, offset, value)
    return bytes(image)


def without(table: tuple[Entry, ...], feature: str) -> tuple[Entry, ...]:
    leaf, subleaf, register, bit = FEATURES[feature]
    name = ("eax", "ebx", "ecx", "edx")[register]
    return tuple(
        entry._replace(**{name: entry[3 + register] & ~(1 << bit)})
        if (entry.leaf, entry.subleaf) == (leaf, subleaf)
        else entry
        for entry in table
    )


# KVM_GET_SUPPORTED_CPUID


def test_every_word_and_name_of_the_lists_is_a_feature() -> None:
    for word, by_release in KVM_FEATURES.items():
        leaf, subleaf, register = word.split(".")
        assert (int(leaf, 16), int(subleaf, 16), ("eax", "ebx", "ecx", "edx").index(register)) in WORDS
        assert list(by_release) == sorted(by_release)
        for names in by_release.values():
            for name in names.split():
                assert name.lstrip("+!~?") in FEATURES, name


@pytest.mark.parametrize("release", kernels())
@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_what_kvm_supports_it_takes(release: str, vendor: str) -> None:
    vcpu = vcpu_of(release, vendor)
    assert states.set_state(vcpu, "long").accepted
    assert xcrs.set_xcrs(vcpu, [(0, 7)]).accepted
    assert [entry.leaf for entry in emulated_cpuid(vcpu.kvm)] == [0, 1, 7]


def test_a_synthesized_bit_of_a_word_of_kvms_own_is_shown_from_6_14_to_6_19() -> None:
    shown = {release: kvm_of(release).has("TSA_SQ_NO") for release in ("6.12", "6.18", "6.19", "7.0", "7.2")}
    assert shown == {"6.12": False, "6.18": True, "6.19": True, "7.0": False, "7.2": False}


def test_clearcpuid_takes_what_depends_on_a_feature() -> None:
    assert {"AMX_TILE", "AMX_INT8", "AMX_BF16"} <= cleared("quiet clearcpuid=amx_tile panic=1")
    assert "AVX512_BF16" in cleared("clearcpuid=avx")


def test_without_npt_kvm_shows_no_protection_keys() -> None:
    assert kvm_of("7.2").has("PKU")
    assert not kvm_of("7.2", npt="N").has("PKU")
    assert not kvm_of("7.2", nested="0").has("SVM")


# KVM_SET_CPUID2


def test_256_entries_and_no_more() -> None:
    vcpu = vcpu_of("7.2")
    entries = [Entry(0x20000000 + nth, 0, 0, 0, 0, 0, 0) for nth in range(257)]
    assert vcpu.set_cpuid2(tuple(entries[:256])).accepted
    assert vcpu.set_cpuid2(tuple(entries)).code == errno.E2BIG


@pytest.mark.parametrize(("bits", "code"), [(48, 0), (57, 0), (0, 0), (52, errno.EINVAL)])
def test_linear_addresses(bits: int, code: int) -> None:
    vcpu = vcpu_of("6.12")
    table = tuple(e._replace(eax=bits << 8 | 40) if e.leaf == 0x80000008 else e for e in table_of(vcpu.kvm))
    assert vcpu.set_cpuid2(table).code == code


@pytest.mark.parametrize(("release", "code"), [("5.10", 0), ("6.1", errno.EINVAL), ("7.2", errno.EINVAL)])
def test_after_the_first_run_only_the_same_table(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    vcpu.ran = True
    table = table_of(vcpu.kvm)
    assert vcpu.set_cpuid2(table).accepted
    assert vcpu.set_cpuid2(table[::-1]).code == code


@pytest.mark.parametrize(("release", "code"), [("6.12", 0), ("6.17", errno.EINVAL), ("6.18.15", 0), ("7.2", 0)])
def test_pending_bits_of_the_old_table_were_forgotten(release: str, code: int) -> None:
    """From 6.14 to 6.18.2 the same table is another one, where OSXSAVE has changed since it was read."""
    vcpu = vcpu_of(release)
    vcpu.ran = True
    assert sregs.set_sregs(vcpu, with_register(vcpu, states.CR4, 0x620 | 1 << 18)).accepted
    assert vcpu.set_cpuid2(table_of(vcpu.kvm)).code == code


def test_the_table_follows_the_registers() -> None:
    vcpu = vcpu_of("7.2")
    sregs.set_sregs(vcpu, with_register(vcpu, states.CR4, 0x620 | 1 << 18))
    xcrs.set_xcrs(vcpu, [(0, 7)])
    found = GuestCpuid(vcpu.kvm, cpuid_ioctls.entries_of(vcpu))
    assert found.in_table("OSXSAVE")
    leaf = found.leaf(0xD, 0)
    assert leaf is not None
    assert leaf[1] == 0x340


def test_the_first_entry_that_fits_is_found() -> None:
    kvm = kvm_of("7.2")
    one, two = Entry(7, 0, INDEXED, 1, 0, 0, 0), Entry(7, 1, INDEXED, 2, 0, 0, 0)
    table = GuestCpuid(kvm, (one, two))
    assert table.find(7, 1) == two
    assert table.find(7) == one
    plain = Entry(7, 9, 0, 3, 0, 0, 0)
    assert GuestCpuid(kvm, (plain, two)).find(7, 1) == plain


# KVM_SET_SREGS


@pytest.mark.parametrize(("release", "code"), [("6.1", 0), ("6.18", 0), ("7.2", errno.EINVAL), ("7.3", errno.EINVAL)])
def test_efer_in_sregs_is_checked_from_7_2_on(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    vcpu.set_cpuid2(without(table_of(vcpu.kvm), "NX"))
    outcome = sregs.set_sregs(vcpu, with_register(vcpu, states.EFER, 0xD00))
    assert outcome.code == code
    if code:
        assert outcome.because == "the guest's CPUID has what EFER turns on NX"


@pytest.mark.parametrize(("release", "code"), [("6.12", 0), ("6.16", errno.EINVAL)])
def test_cr4_before_cpuid(release: str, code: int) -> None:
    vcpu = vcpu_of(release, cpuid=False)
    assert sregs.set_sregs(vcpu, with_register(vcpu, states.CR4, 1 << 20, "prot")).code == code


@pytest.mark.parametrize(("release", "code"), [("6.12", errno.EINVAL), ("6.16", 0)])
def test_an_apic_base_that_is_set_already(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    table = tuple(e._replace(eax=0x301F) if e.leaf == 0x80000008 else e for e in table_of(vcpu.kvm))
    vcpu.set_cpuid2(table)
    assert sregs.set_sregs(vcpu, states.sregs_image(vcpu, "prot")).code == code


@pytest.mark.parametrize(
    ("cr0", "efer", "because"),
    [
        (LONG_CR0, 0x100, "EFER.LME and CR0.PG: CR4.PAE and EFER.LMA are set"),
        (0x33, LONG_EFER, "not in 64-bit mode: EFER.LMA is clear and CS is not 64-bit"),
        (LONG_CR0 | 1 << 40, LONG_EFER, "CR0 has no upper half"),
        (LONG_CR0 | 1 << 29, LONG_EFER, "CR0.NW comes with CD"),
    ],
)
def test_the_mode_holds_together(cr0: int, efer: int, because: str) -> None:
    vcpu = vcpu_of("6.12")
    image = bytearray(with_register(vcpu, states.CR0, cr0))
    states.put(image, states.EFER, efer)
    outcome = sregs.set_sregs(vcpu, bytes(image))
    assert (outcome.code, outcome.because) == (errno.EINVAL, because)


def test_a_refused_call_leaves_everything() -> None:
    vcpu = vcpu_of("7.2")
    before = sregs.get_sregs(vcpu)
    assert not sregs.set_sregs(vcpu, with_register(vcpu, states.CR4, 1 << 63)).accepted
    assert sregs.get_sregs(vcpu) == before


def test_cr3_beyond_the_guests_width() -> None:
    vcpu = vcpu_of("7.2")
    assert sregs.set_sregs(vcpu, with_register(vcpu, states.CR3, 1 << 39)).accepted
    assert sregs.set_sregs(vcpu, with_register(vcpu, states.CR3, 1 << 40)).code == errno.EINVAL


def test_pdptrs_are_read_from_memory_or_given() -> None:
    vcpu = vcpu_of("7.2")
    assert states.set_state(vcpu, "pae").accepted
    assert vcpu.pdptrs == [0x3001, 0, 0, 0]
    image = bytearray(sregs.get_sregs2(vcpu))
    states.put(image, 288, 0x5001)
    assert sregs.set_sregs2(vcpu, bytes(image)).accepted
    assert vcpu.pdptrs[0] == 0x5001
    states.set_state(vcpu, "long")
    long_image = bytearray(sregs.get_sregs2(vcpu))
    states.put(long_image, 280, 1)
    assert sregs.set_sregs2(vcpu, bytes(long_image)).code == errno.EINVAL


def test_segments_are_kept_as_the_vendor_keeps_them() -> None:
    given = segments.Segment(0, 0xFFFF, 8, 2, 1, 0, 0, 1, 0, 1, 0, 0).image()
    on_svm = segments.Segment.of(segments.kept("ds", given, svm=True))
    on_vmx = segments.Segment.of(segments.kept("ds", given, svm=False))
    assert (on_svm.g, on_svm.type) == (0, 3)
    assert (on_vmx.g, on_vmx.type) == (1, 3)
    absent = segments.Segment.of(given)._replace(present=0).image()
    assert segments.Segment.of(segments.kept("ds", absent, svm=False)).unusable == 1


def test_an_interrupt_of_the_bitmap_is_injected() -> None:
    vcpu = vcpu_of("7.2")
    image = bytearray(states.sregs_image(vcpu, "long"))
    image[280 + 6] = 2
    assert sregs.set_sregs(vcpu, bytes(image)).accepted
    assert vcpu.pending.interrupt_vector == 49
    assert sregs.get_sregs(vcpu)[286] == 2


def test_reserved_cr4_bits_name_the_check() -> None:
    vcpu = vcpu_of("7.2")
    rule = Rule("")
    assert not sregs.valid_cr4(vcpu, rule, 1 << 14)
    assert rule.checks[-1].text == "CR4 has no bit that KVM lacks"


# XSAVE, XCRS, FPU


def test_a_host_without_xsave() -> None:
    kvm = kvm_of("7.2")
    leaves = {**LEAVES, (1, 0): (*LEAF_1[:2], LEAF_1[2] & ~(1 << 26), LEAF_1[3])}
    del leaves[0xD, 0], leaves[0xD, 1], leaves[0xD, 2]
    vcpu = WholeVcpu(Kvm(Host(Cpuid(leaves), kvm.kernel), release="7.2"))
    assert xcrs.set_xcrs(vcpu, [(0, 1)]).code == errno.EINVAL
    image = bytearray(xsave.get_xsave(vcpu))
    image[520:528] = b"\xff" * 8
    assert xsave.set_xsave(vcpu, bytes(image)).accepted
    image[512] = 4
    assert xsave.set_xsave(vcpu, bytes(image)).code == errno.EINVAL


@pytest.mark.parametrize(("release", "code"), [("5.10", 0), ("6.1", errno.EINVAL)])
def test_the_reserved_header_was_not_looked_at(release: str, code: int) -> None:
    vcpu = vcpu_of(release)
    image = bytearray(xsave.get_xsave(vcpu))
    image[528] = 1
    assert xsave.set_xsave(vcpu, bytes(image)).code == code


@pytest.mark.parametrize("release", ["5.10", "7.2"])
def test_the_fpu_structure_reads_back(release: str) -> None:
    vcpu = vcpu_of(release)
    image = bytes(range(256)) + bytes(152) + bytes(8)
    assert xsave.set_fpu(vcpu, image).accepted
    assert xsave.get_fpu(vcpu)[:128] == image[:128]


# Whole restores


def test_a_saved_vcpu_restores_in_every_order() -> None:
    source = vcpu_of("7.2")
    states.set_state(source, "long")
    saved = restore.save(source, (0xC0000081, 0xC0000082))
    for order in (restore.QEMU, restore.FIRECRACKER, restore.MSRS_FIRST):
        target = vcpu_of("7.2")
        assert all(step.outcome.accepted for step in restore.restore(target, saved, order))
        assert restore.save(target, (0xC0000081, 0xC0000082)) == saved


def test_a_refused_msr_is_passed_over_and_named() -> None:
    source, target = vcpu_of("7.2"), vcpu_of("7.2")
    saved = restore.save(source, ())._replace(msrs=((0xC0000081, 1), (0xFFFFFFFF, 1), (0xC0000083, 3)))
    step = next(step for step in restore.restore(target, saved, restore.QEMU) if step.name == "msrs")
    assert (step.counts, step.refused) == ((1, 1), (0xFFFFFFFF,))
    assert not step.outcome.accepted


# Answers kept by what they hang on


def test_tables_that_answer_alike_are_asked_once() -> None:
    kvm, runs = kvm_of("7.2"), []

    def part(vcpu: WholeVcpu) -> bool:
        runs.append(1)
        return vcpu.guest.has("SMEP")

    memo, table = Memo(part), table_of(kvm)
    for features in ((), ("SMAP",), ("SMEP",), ("SMEP", "SMAP")):
        entries = table
        for feature in features:
            entries = without(entries, feature)

        def fresh(entries: tuple[Entry, ...] = entries) -> WholeVcpu:
            vcpu = WholeVcpu(kvm)
            vcpu.set_cpuid2(entries)
            return vcpu

        assert memo.of(fresh().guest, fresh) is ("SMEP" not in features)
    assert len(runs) == 2
