"""KVM_GET_SUPPORTED_CPUID and KVM_GET_EMULATED_CPUID: each leaf by release.

Source: Linux arch/x86/kvm/cpuid.c, __do_cpuid_func and cpuid_func_emulated.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from inspector.machine.x86.kvm.supported_cpuid import Supported, emulated_cpuid, supported_cpuid, supported_table
from layouts.x86.features import WORDS
from layouts.x86.kernels import profile_for
from tests.machine.kvms import kvm_of
from tests.machine.x86_vcpus import CET_XSS, cpu_with_cet

M32 = 0xFFFFFFFF
#: What a CPU tells where each register is another one, and KVM's mask of a word.
RAW: CpuidValues = (0x8A8A8A8A, 0x9B9B9B9B, 0xACACACAC, 0xBDBDBDBD)
NO: CpuidValues = (0, 0, 0, 0)


def cap(leaf: int, subleaf: int, register: int) -> int:
    """KVM's mask of a word here: another one for each."""
    return 0xC0000000 | WORDS.index((leaf, subleaf, register)) << 8


def kvm_with(
    release: str,
    raw: dict[tuple[int, int], CpuidValues],
    has: tuple[str, ...] = (),
    vendor: str = SVM,
    **parameters: str,
) -> Kvm:
    """KVM whose CPU tells this and that has these features, with a mask of its own for each word."""
    kvm = kvm_of(release, vendor, **{"enable_pmu": "Y", "npt": "Y", **parameters})
    kvm.raw = Cpuid(raw)
    kvm.__dict__["caps"] = SimpleNamespace(words={word: cap(*word) for word in WORDS})
    kvm.has = kvm.boot_has = lambda name: name in has  # type: ignore[method-assign]
    kvm.__dict__["_bugs"] = frozenset({"NULL_SEG"})
    return kvm


def leaf_of(kvm: Kvm, leaf: int) -> dict[int, CpuidValues]:
    return {entry.subleaf: entry.values for entry in Supported(kvm).leaf(leaf)}


def changed(values: CpuidValues = RAW, **registers: int) -> CpuidValues:
    """These values with other registers."""
    return tuple(registers.get(name, values[at]) for at, name in enumerate(("eax", "ebx", "ecx", "edx")))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("leaf", "release", "raw", "expected"),
    [
        (0, "6.11", changed(eax=0x1E), changed(eax=0x1E)),
        (0, "6.11", changed(eax=0x24), changed(eax=0x1F)),
        (0, "6.12", changed(eax=0x24), changed(eax=0x24)),
        (0, "7.2", changed(eax=0x25), changed(eax=0x24)),
        (1, "6.12", RAW, changed(ecx=cap(1, 0, 2), edx=cap(1, 0, 3))),
        (2, "6.12", RAW, RAW),
        (3, "6.12", RAW, NO),
        (6, "6.12", RAW, (4, 0, 0, 0)),
        (0xB, "6.12", RAW, changed(NO, edx=RAW[3])),
        (0x1F, "6.12", RAW, changed(NO, edx=RAW[3])),
        (0x40000000, "6.12", NO, (0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D)),
        (0x40000001, "6.12", NO, (0x01007EFB, 0, 0, 0)),
        (0x80000001, "6.12", RAW, (RAW[0], RAW[1] & ~0x0FFF0000, cap(0x80000001, 0, 2), cap(0x80000001, 0, 3))),
        (0x80000002, "6.12", RAW, NO),
        (0x80000005, "6.1", RAW, NO),
        (0x80000005, "6.2", RAW, RAW),
        (0x80000006, "6.12", changed(edx=M32), changed(edx=M32 & ~0x30000)),
        (0x80000007, "6.12", changed(edx=M32), (0, 0, 0, 0x100)),
        (0x80000019, "6.12", RAW, (RAW[0], RAW[1], 0, 0)),
        (0x8000001A, "6.12", changed(eax=M32), (7, 0, 0, 0)),
        (0xC0000000, "6.12", changed(eax=0xC0000003), changed(eax=0xC0000003)),
        (0xC0000000, "6.12", changed(eax=0xC0000009), changed(eax=0xC0000004)),
        (0xC0000001, "6.12", RAW, changed(edx=cap(0xC0000001, 0, 3))),
    ],
)
def test_a_leaf_of_one_row(leaf: int, release: str, raw: CpuidValues, expected: CpuidValues) -> None:
    assert leaf_of(kvm_with(release, {(leaf, 0): raw}), leaf) == {0: expected}


@pytest.mark.parametrize("leaf", [4, 0x8000001D])
def test_caches_end_where_their_type_is_none(leaf: int) -> None:
    rows: dict[tuple[int, int], CpuidValues] = {(leaf, 0): changed(eax=0x21), (leaf, 1): changed(eax=0x10)}
    rows |= {(leaf, 2): changed(eax=0x20), (leaf, 3): RAW}
    assert leaf_of(kvm_with("6.12", rows), leaf) == {0: rows[leaf, 0], 1: rows[leaf, 1], 2: rows[leaf, 2]}


@pytest.mark.parametrize(
    ("release", "highest", "subleaves"),
    [
        ("5.19", 2, 1),
        ("6.0", 2, 2),
        ("6.1", 2, 2),
        ("6.2", 2, 1),
        ("6.9", 2, 1),
        ("6.10", 2, 2),
        ("6.12", 1, 1),
        ("6.12", 0, 0),
        ("6.12", 9, 2),
    ],
)
def test_leaf_7(release: str, highest: int, subleaves: int) -> None:
    kvm = kvm_with(release, {(7, 0): changed(eax=highest)})
    found = leaf_of(kvm, 7)
    assert list(found) == list(range(subleaves + 1))
    assert found[0] == (subleaves, cap(7, 0, 1), cap(7, 0, 2), cap(7, 0, 3))
    if subleaves >= 1:
        assert found[1] == (cap(7, 1, 0), 0, 0, cap(7, 1, 3) if kvm.since(6, 2) else 0)
    if subleaves >= 2:
        assert found[2] == (0, 0, 0, cap(7, 2, 3))


@pytest.mark.parametrize(("release", "ecx"), [("6.16", False), ("6.17", True), ("7.2", True)])
def test_ecx_of_leaf_7_1_is_of_6_17(release: str, ecx: bool) -> None:
    found = leaf_of(kvm_with(release, {(7, 0): changed(eax=1)}), 7)
    assert found[1][2] == (cap(7, 1, 2) if ecx else 0)


@pytest.mark.parametrize(
    ("release", "enable_pmu", "eax", "expected"),
    [
        ("6.12", "Y", 0xABCDEF05, (0xABCDEF02, RAW[1], 0, RAW[3] & 0x1FFF | 0x8000)),
        ("6.12", "Y", 0xABCDEF01, (0xABCDEF01, RAW[1], 0, RAW[3] & 0x1FFF | 0x8000)),
        ("6.12", "Y", 0xABCDEF00, NO),
        ("5.18", "N", 0xABCDEF02, NO),
        ("5.17", "N", 0xABCDEF02, (0xABCDEF02, RAW[1], 0, RAW[3] & 0x1FFF | 0x8000)),
    ],
)
def test_the_pmus_leaf(release: str, enable_pmu: str, eax: int, expected: CpuidValues) -> None:
    kvm = kvm_with(release, {(0xA, 0): changed(eax=eax)}, enable_pmu=enable_pmu)
    assert leaf_of(kvm, 0xA) == {0: expected}


SGX_EAX = 0xFFFF


@pytest.mark.parametrize(
    ("release", "has", "rows"),
    [
        ("5.12", ("SGX",), {0: NO}),
        ("6.12", (), {0: NO}),
        ("5.13", ("SGX",), {0: (cap(0x12, 0, 0), 1, 2, 3), 1: (0xB6, 0, 6, 7)}),
        ("6.1", ("SGX",), {0: (cap(0x12, 0, 0), 1, 2, 3), 1: (0xB6, 0, 6, 7)}),
        ("6.2", ("SGX",), {0: (cap(0x12, 0, 0), 1, 2, 3), 1: (0x4B6, 0, 6, 7)}),
    ],
)
def test_sgx(release: str, has: tuple[str, ...], rows: dict[int, CpuidValues]) -> None:
    raw: dict[tuple[int, int], CpuidValues] = {(0x12, 0): (M32, M32, 2, 3), (0x12, 1): (SGX_EAX, 5, 6, 7)}
    assert leaf_of(kvm_with(release, raw, has), 0x12) == rows


@pytest.mark.parametrize(
    ("leaf", "feature", "release", "rows"),
    [(0x14, "INTEL_PT", "5.10", 3), (0x1D, "AMX_TILE", "5.16", 1), (0x1D, "AMX_TILE", "5.17", 3)],
)
def test_leaves_that_tell_their_own_number(leaf: int, feature: str, release: str, rows: int) -> None:
    raw = {(leaf, subleaf): changed(eax=2, ebx=subleaf) for subleaf in range(5)}
    found = leaf_of(kvm_with(release, raw, (feature,)), leaf)
    assert found == ({subleaf: raw[leaf, subleaf] for subleaf in range(3)} if rows > 1 else {0: NO})
    assert leaf_of(kvm_with(release, raw), leaf) == {0: NO}


def test_no_leaf_has_more_rows_than_a_table() -> None:
    found = leaf_of(kvm_with("6.12", {(0x14, 0): changed(eax=M32)}, ("INTEL_PT",)), 0x14)
    assert len(found) == 257


@pytest.mark.parametrize(
    ("release", "has", "eax", "rows"),
    [
        ("5.16", ("AMX_TILE",), 0, {0: NO}),
        ("6.12", (), 0, {0: NO}),
        ("5.17", ("AMX_TILE",), 5, {0: changed(eax=5)}),
        ("6.19", ("AMX_TILE",), 5, {0: changed(eax=5)}),
        ("7.0", ("AMX_TILE",), 0, {0: changed(eax=0)}),
        ("7.0", ("AMX_TILE",), 5, {0: changed(eax=1), 1: (cap(0x1E, 1, 0), 0, 0, 0)}),
    ],
)
def test_tiles(release: str, has: tuple[str, ...], eax: int, rows: dict[int, CpuidValues]) -> None:
    assert leaf_of(kvm_with(release, {(0x1E, 0): changed(eax=eax)}, has), 0x1E) == rows


VECTORS = cap(0x24, 0, 1)


@pytest.mark.parametrize(
    ("release", "has", "eax", "version", "rows"),
    [
        ("6.11", ("AVX10",), 0, 1, {0: NO}),
        ("6.12", (), 0, 1, {0: NO}),
        ("6.12", ("AVX10",), 1, 2, {0: (0, VECTORS | 1, 0, 0)}),
        ("6.12", ("AVX10",), 1, 0, {0: (0, VECTORS, 0, 0)}),
        ("7.0", ("AVX10",), 0, 3, {0: (0, VECTORS | 2, 0, 0)}),
        ("7.0", ("AVX10",), 5, 1, {0: (1, VECTORS | 1, 0, 0), 1: (0, 0, cap(0x24, 1, 2), 0)}),
    ],
)
def test_avx10(release: str, has: tuple[str, ...], eax: int, version: int, rows: dict[int, CpuidValues]) -> None:
    kvm = kvm_with(release, {(0x24, 0): (eax, 0xFFFFFF00 | version, M32, M32)}, has)
    assert leaf_of(kvm, 0x24) == rows


@pytest.mark.parametrize(
    ("release", "eax", "has", "bugs", "shown"),
    [
        ("6.1", 0x80000022, (), ("NULL_SEG",), 0x80000021),
        ("6.2", 0x80000022, (), ("NULL_SEG",), 0x80000022),
        ("6.2", 0x80000028, (), ("NULL_SEG",), 0x80000022),
        ("6.2", 0x80000008, (), ("NULL_SEG",), 0x80000008),
        # NULL_SEL_CLR_BASE and LFENCE_RDTSC are told in leaf 0x80000021, where the CPU has leaf 0x8000001D.
        ("6.2", 0x8000001D, ("LFENCE_RDTSC",), ("NULL_SEG",), 0x80000021),
        ("6.2", 0x8000001D, (), (), 0x80000021),
        ("6.2", 0x8000001D, (), ("NULL_SEG",), 0x8000001D),
        ("6.2", 0x8000001C, ("LFENCE_RDTSC",), (), 0x8000001C),
        ("5.19", 0x8000001D, ("LFENCE_RDTSC",), (), 0x8000001D),
        ("6.0", 0x8000001D, ("LFENCE_RDTSC",), (), 0x80000021),
        ("6.2", 0x80000022, ("LFENCE_RDTSC",), (), 0x80000022),
    ],
)
def test_the_last_extended_leaf(
    release: str, eax: int, has: tuple[str, ...], bugs: tuple[str, ...], shown: int
) -> None:
    kvm = kvm_with(release, {(0x80000000, 0): changed(eax=eax)}, has)
    kvm.__dict__["_bugs"] = frozenset(bugs)
    assert leaf_of(kvm, 0x80000000) == {0: changed(eax=shown)}


@pytest.mark.parametrize(
    ("release", "eax", "tdp", "la57", "shown"),
    [
        # Until 6.10 the guest's width stands in the physical one's place, but not in 6.0 and 6.1.
        ("5.19", 0x00343034, "Y", False, 0x3034),
        ("5.19", 0x00303034, "Y", False, 0x3030),
        ("5.19", 0x00303034, "N", False, 0x3034),
        ("6.0", 0x00303034, "Y", False, 0x3034),
        ("6.1", 0x00303034, "Y", False, 0x3034),
        ("6.2", 0x00303034, "Y", False, 0x3030),
        ("6.9", 0x00003034, "Y", False, 0x3034),
        # From 6.10 on in its own, 48 bits where the tables have four levels.
        ("6.10", 0x00003034, "Y", False, 0x303034),
        ("6.10", 0x00003034, "Y", True, 0x343034),
        ("6.10", 0x0000302E, "Y", False, 0x2E302E),
        ("6.10", 0x00003034, "N", False, 0x3034),
        ("6.10", 0x00003934, "N", False, 0x3934),
        ("6.10", 0x00002034, "N", False, 0x3034),
    ],
)
def test_widths(release: str, eax: int, tdp: str, la57: bool, shown: int) -> None:
    kvm = kvm_with(release, {(0x80000008, 0): (eax, RAW[1], M32, RAW[3])}, ("LA57",) if la57 else (), npt=tdp)
    assert leaf_of(kvm, 0x80000008) == {0: (shown, cap(0x80000008, 0, 1), 0xF0FF, 0)}


@pytest.mark.parametrize(
    ("leaf", "release", "has", "parameters", "expected"),
    [
        (0x8000000A, "6.12", ("SVM",), {}, (1, 8, 0, cap(0x8000000A, 0, 3))),
        (0x8000000A, "6.12", (), {}, NO),
        (0x8000001F, "5.19", ("SEV",), {}, RAW),
        (0x8000001F, "5.19", (), {}, NO),
        (0x8000001F, "6.0", ("SEV",), {}, changed(eax=cap(0x8000001F, 0, 0), ebx=RAW[1] & 0x3F)),
        (0x8000001F, "6.0", (), {}, NO),
        (0x80000021, "6.12", ("ERAPS",), {}, (cap(0x80000021, 0, 0), 0, cap(0x80000021, 0, 2), 0)),
        (0x80000021, "7.0", ("ERAPS",), {}, (cap(0x80000021, 0, 0), 0x9B0000, cap(0x80000021, 0, 2), 0)),
        (0x80000021, "7.0", (), {}, (cap(0x80000021, 0, 0), 0, cap(0x80000021, 0, 2), 0)),
        (0x80000022, "6.12", ("PERFMON_V2",), {}, (cap(0x80000022, 0, 0), RAW[1] & 0xF, 0, 0)),
        (0x80000022, "6.12", (), {}, NO),
        (0x80000022, "6.12", ("PERFMON_V2",), {"enable_pmu": "N"}, NO),
    ],
)
def test_leaves_of_a_feature(
    leaf: int, release: str, has: tuple[str, ...], parameters: dict[str, str], expected: CpuidValues
) -> None:
    assert leaf_of(kvm_with(release, {(leaf, 0): RAW}, has, **parameters), leaf) == {0: expected}


# Leaf 0xD


def with_state(release: str, has: tuple[str, ...] = ("XSAVE", "XSAVES", "SHSTK"), d1: int = 0x1F) -> Kvm:
    """KVM on Sapphire Rapids with CET."""
    host = Host(cpu_with_cet(), profile_for(release))
    kvm = Kvm(host, release=release, vendor=VMX, parameters={})
    kvm.__dict__["caps"] = SimpleNamespace(words={word: d1 if word == (0xD, 1, 0) else 0 for word in WORDS})
    kvm.has = lambda name: name in has  # type: ignore[method-assign]
    return kvm


def test_components_with_and_without_permission() -> None:
    raw = cpu_with_cet().leaves
    kvm = with_state("7.2", ("XSAVES", "SHSTK", "XFD"))
    for perm, mask, size, compacted in ((0, 0x2E7, 2696, 2472), (1 << 18, 0x602E7, 11008, 10816)):
        found = {entry.subleaf: entry.values for entry in Supported(kvm, perm).leaf(0xD)}
        assert found.pop(0) == (mask, size, size, 0)
        assert found.pop(1) == (0x1F, found_compacted(kvm, mask), CET_XSS, 0)
        assert compacted
        assert set(found) == {number for number in range(2, 64) if (mask | CET_XSS) >> number & 1}
        assert all(found[number] == changed(raw[0xD, number], edx=0) for number in found)


def found_compacted(kvm: Kvm, mask: int) -> int:
    return kvm.host.compacted_size_bytes(mask | CET_XSS)


def test_a_table_by_leaf_and_subleaf() -> None:
    kvm = with_state("7.2")
    for perm, mask in ((0, 0x2E7), (1 << 18, 0x602E7)):
        assert supported_table(kvm, perm).leaves[0xD, 0][0] == mask
        assert supported_table(kvm, perm).leaves == {
            (entry.leaf, entry.subleaf): entry.values for entry in supported_cpuid(kvm, perm)
        }


@pytest.mark.parametrize(("d1", "is_there"), [(0, False), (1, False), (2, True), (8, True), (0x15, False)])
def test_a_compacted_size_needs_xsavec_or_xsaves(d1: int, is_there: bool) -> None:
    kvm = with_state("7.2", d1=d1)
    assert leaf_of(kvm, 0xD)[1][:2] == (d1, found_compacted(kvm, 0x2E7) if is_there else 0)


def test_xss_needs_its_features() -> None:
    for has, there in (("XSAVES SHSTK", True), ("XSAVES IBT", True), ("XSAVES", False), ("SHSTK", False)):
        found = leaf_of(with_state("7.2", tuple(has.split())), 0xD)
        assert (found[1][2], {11, 12} <= set(found)) == (CET_XSS if there else 0, there)


@pytest.mark.parametrize(("release", "has", "ecx"), [("5.16", (), 6), ("5.17", (), 2), ("5.17", ("XFD",), 6)])
def test_a_component_tells_of_xfd_where_kvm_has_it(release: str, has: tuple[str, ...], ecx: int) -> None:
    kvm = with_state(release, has)
    kvm.host.permitted_xcr0 = lambda _: 7 | 1 << 18  # type: ignore[method-assign]
    assert leaf_of(kvm, 0xD)[18] == (0x2000, 0xB00, ecx, 0)


def test_components_that_the_cpu_does_not_tell_of() -> None:
    """No size, or the other kind: nothing of it is shown."""
    for row, there in (((0, 0, 0, 0), False), ((0x100, 0x240, 1, 0), False), ((0x100, 0x240, 0, 9), True)):
        kvm = with_state("7.2")
        kvm.raw = Cpuid({**kvm.raw.leaves, (0xD, 2): row, (0xD, 0): (M32, 1, 2, M32), (0xD, 1): (M32, 1, M32, M32)})
        found = leaf_of(kvm, 0xD)
        assert (found[1][2:], found[5], found[11]) == ((CET_XSS, 0), (0x40, 0x440, 0, 0), (0x10, 0, 1, 0))
        assert found.get(2) == (changed(row, edx=0) if there else None)
        assert found[0][3] == 0


def test_without_xsave_there_is_one_row() -> None:
    host = Host(Cpuid({(1, 0): (0, 0, 0, 0), (0xD, 0): (7, 0x340, 0x340, 0)}), profile_for("7.2"))
    kvm = Kvm(host, release="7.2", vendor=VMX)
    rows = leaf_of(kvm, 0xD)
    assert list(rows) == [0]
    assert (rows[0][0], rows[0][3]) == (0, 0)


# The table, and what KVM emulates


def test_the_order_of_a_table_and_its_flags() -> None:
    cpu = Cpuid({**shipped_cpu("sapphire-rapids").leaves, (0, 0): (3, 0x756E6547, 0x6C65746E, 0x49656E69)})
    kvm = Kvm(Host(cpu, profile_for("6.12")), release="6.12", vendor=VMX)
    found = supported_cpuid(kvm)
    assert [entry.leaf for entry in found][:4] == [0, 1, 2, 3]
    assert [entry.leaf for entry in found][-2:] == [0x40000000, 0x40000001]
    assert not any(entry.leaf >> 28 == 0xC for entry in found)
    assert {entry.leaf >> 28 for entry in found} == {0, 4, 8}
    assert 0x80000000 in [entry.leaf for entry in found]
    own: dict[tuple[int, int], CpuidValues] = {(0xC0000000, 0): (0xC0000002, 0, 0, 0)}
    centaur = Cpuid({**cpu.leaves, (0, 0): (1, 0x746E6543, 0x736C7561, 0x48727561), **own})
    found = supported_cpuid(Kvm(Host(centaur, profile_for("6.12")), release="6.12", vendor=VMX))
    assert [entry.leaf for entry in found if entry.leaf >> 28 == 0xC] == [0xC0000000, 0xC0000001, 0xC0000002]


@pytest.mark.parametrize(
    ("leaf", "releases"),
    [(4, ("5.10", "7.2")), (7, ("5.10", "7.2")), (0x1D, ("5.17", "7.2")), (0x24, ("6.12", "7.2")), (1, ())],
)
def test_leaves_with_an_index(leaf: int, releases: tuple[str, ...]) -> None:
    for release in ("5.10", "5.17", "6.12", "7.2"):
        newer = bool(releases) and tuple(map(int, release.split("."))) >= tuple(map(int, releases[0].split(".")))
        assert {entry.flags for entry in Supported(kvm_with(release, {(leaf, 0): NO})).leaf(leaf)} == {int(newer)}


def test_what_kvm_emulates() -> None:
    for has, rdpid in (((), 0), (("RDTSCP",), 1 << 22)):
        found = emulated_cpuid(kvm_with("6.12", {}, has))
        assert [tuple(entry) for entry in found] == [
            (0, 0, 0, 7, 0, 0, 0),
            (1, 0, 0, 0, 0, 1 << 22, 0),
            (7, 0, 1, 0, 0, rdpid, 0),
        ]
