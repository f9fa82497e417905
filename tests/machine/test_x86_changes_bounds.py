"""What another kernel changes for guests of a CPU, told and predicted: CPUs that have everything, bits that hang."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import shipped_cpu
from inspector.machine.x86.kvm import changes as told
from inspector.machine.x86.kvm import upgrade as predicted
from inspector.machine.x86.kvm.any_cpu import AMD, INTEL, any_cpu
from inspector.machine.x86.kvm.assumed import assumed_kvm
from inspector.machine.x86.kvm.changes import Change, changes, of_both_vendors
from inspector.machine.x86.kvm.module import Kvm, Processor
from inspector.machine.x86.kvm.supported_cpuid import supported_table
from inspector.machine.x86.kvm.upgrade import cpu_behind, upgrade
from layouts.x86.features import FEATURES, WORDS
from layouts.x86.xsave import DYNAMIC

M32 = 0xFFFFFFFF
AMD_NAME, INTEL_NAME = (0x68747541, 0x444D4163, 0x69746E65), (0x756E6547, 0x6C65746E, 0x49656E69)
Leaves = dict[tuple[int, int], CpuidValues]


def bit(cpuid: Cpuid, feature: str) -> int:
    leaf, subleaf, register, number = FEATURES[feature]
    return (cpuid.get(leaf, subleaf) or (0, 0, 0, 0))[register] >> number & 1


# A CPU that has everything of its vendor


INTELS, AMDS = "VMX SGX AMX_TILE", "SVM CLZERO FMA4"


@pytest.mark.parametrize(("layout", "own", "foreign"), [(AMD, AMDS, INTELS), (INTEL, INTELS, AMDS)])
def test_a_cpu_of_a_vendor(layout: str, own: str, foreign: str) -> None:
    cpu = any_cpu(layout)
    assert [bit(cpu, name) for name in own.split()] == [1, 1, 1]
    assert [bit(cpu, name) for name in foreign.split()] == [0, 0, 0]
    assert (bit(cpu, "AVX2"), bit(cpu, "HYPERVISOR"), bit(cpu, "HYBRID_CPU")) == (1, 0, 0)
    assert [cpu.leaves[leaf, 0][0] for leaf in (0, 7, 0x80000000)] == [0xFF, 0xFF, 0x800000FF]
    assert cpu.leaves[0x80000000, 0] == (0x800000FF, 0, 0, 0)
    assert cpu.leaves[0x80000008, 0][0] == 0x3930
    assert cpu.leaves[0x8000001F, 0] == (0, 0, 0, 0)
    assert cpu.leaves[0xD, 0] == shipped_cpu(layout).leaves[0xD, 0]
    assert cpu.leaves[0xD, 1][2] == (shipped_cpu(layout).leaves[0xD, 1][2] | 0x1800)
    assert [cpu.leaves[0xD, number] for number in (11, 12)] == [
        shipped_cpu(layout).leaves.get((0xD, 11), (0x10, 0, 1, 0)),
        shipped_cpu(layout).leaves.get((0xD, 12), (0x18, 0, 1, 0)),
    ]
    vendors_leaf, others = (0x8000000A, 0x1E) if layout == AMD else (0x1E, 0x8000000A)
    assert any(cpu.leaves.get((vendors_leaf, subleaf), (0, 0, 0, 0)) > (0, 0, 0, 0) for subleaf in (0, 1))
    assert not any(any(values) for (leaf, _), values in cpu.leaves.items() if leaf == others and layout == INTEL)
    assert not any(value & ~M32 for values in cpu.leaves.values() for value in values)


# What is told


def test_groups_of_changes() -> None:
    found = changes(shipped_cpu("sapphire-rapids"), "6.12", "7.2")
    assert {change.group for change in found} == {
        "cpuid", "xss", "msr", "feature-msr", "capability", "msr-rule", "vcpu-rule",
    }  # fmt: skip
    by_name = {change.name.split(" (")[0]: change for change in found}
    assert by_name["XSS"] == Change("xss", "XSS", "0x0", "0x1800")
    assert by_name["KVM_CAP_ONE_REG"] == Change("capability", "KVM_CAP_ONE_REG (70)", "", "0x1")
    assert "KVM_CAP_NR_VCPUS" not in by_name
    reserved = [change.name for change in found if change.name.startswith("reserved")]
    assert all("CPUID." in name for name in reserved)
    (xcr0,) = (change for change in changes(shipped_cpu("sapphire-rapids"), "5.10", "6.1") if change.group == "xcr0")
    assert xcr0 == Change("xcr0", "XCR0", "0x2e7", "0x602e7")


def test_rows_that_come_and_fields_that_change() -> None:
    found = {change.name: change for change in changes(any_cpu(INTEL), "5.10", "6.1")}
    row = Change("cpuid", "CPUID.D.12", "", "0x2000 0xb00 0x6 0x0")
    assert found["CPUID.D.12"] == row
    assert found["CPUID.D.0.EBX"] == Change("cpuid", "CPUID.D.0.EBX", "0xa88", "0x2b00")
    assert found["AMX_TILE (CPUID.7.0.EDX[24])"] == Change("cpuid", "AMX_TILE (CPUID.7.0.EDX[24])", "", "shown")
    back = {change.name: change for change in changes(any_cpu(INTEL), "6.1", "5.10")}
    assert back["CPUID.D.12"] == row._replace(before=row.after, after="")
    version = "AVX10_VERSION (CPUID.24.0.EBX[7:0])"
    newer = [change for change in changes(any_cpu(INTEL), "6.19", "7.0") if change.name.startswith("AVX10_VERSION")]
    assert newer == [Change("cpuid", version, "0x1", "0x2")]


def test_msrs_and_rules_by_their_groups() -> None:
    found = {change.name.split(" (")[0]: change for change in changes(any_cpu(INTEL), "6.17", "6.18")}
    assert found["IA32_U_CET"] == Change("msr", "IA32_U_CET (0x6a0)", "", "listed")
    assert found["cet"] == Change("msr-rule", "cet", "no", "yes")
    reserved = found["CR4 reserved for every guest"]
    assert int(reserved.before, 16) & ~int(reserved.after, 16) == 1 << 23
    assert int(reserved.before, 16) >> 63 == 1
    assert reserved.group == "vcpu-rule"
    features = [change for change in changes(any_cpu(INTEL), "5.10", "7.2") if change.group == "feature-msr"]
    assert features
    assert {change.after for change in features} <= {"", "listed"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (9, "9"),
        (10, "0xa"),
        (-1, "0xffffffffffffffff"),
        ("gp", "gp"),
        ("", "none"),
        ((), "()"),
    ],
)
def test_a_switchs_value_in_words(value: object, text: str) -> None:
    assert told._text(value) == text


def test_sregs_check_efer_from_7_2_on() -> None:
    for older, newer, words in (("7.1", "7.2", ("no", "yes")), ("7.2", "7.1", ("yes", "no")), ("7.0", "7.1", None)):
        found = changes(shipped_cpu("zen5"), older, newer)
        rows = [change for change in found if change.name == "KVM_SET_SREGS checks EFER"]
        assert rows == ([Change("vcpu-rule", "KVM_SET_SREGS checks EFER", *words)] if words else [])


def test_changes_that_both_vendors_have_are_told_once() -> None:
    both, one, other, last = (Change("g", name, "", "") for name in ("both", "one", "other", "last"))
    tables = {"a": (both, one, last), "b": (other, both)}
    assert [*of_both_vendors(tables)] == [("", both), ("a", one), ("a", last), ("b", other)]


# What is predicted


def guest(vendor: tuple[int, int, int] = AMD_NAME, **more: CpuidValues) -> Cpuid:
    """A guest's table; ``l7_0=(...)`` are rows of it."""
    rows: Leaves = {(0, 0): (0x1F, *vendor), (1, 0): (0xA00F11, 0, 0, 0x178BFBFF), (7, 0): (0, 1, 0, 0)}
    rows |= {(0x80000000, 0): (0x80000021, *vendor), (0xD, 0): (7, 0x340, 0x340, 0), (0xD, 1): (0xF, 0x340, 0, 0)}
    rows |= {(0xD, 2): (0x100, 0x240, 0, 0)}
    for name, values in more.items():
        leaf, _, subleaf = name.removeprefix("l").partition("_")
        rows[int(leaf, 16), int(subleaf)] = values
    return Cpuid(rows)


@pytest.mark.parametrize(
    ("vendor", "kept", "gone"),
    [
        (AMD_NAME, "AMD_IBPB AMD_SSBD", "SPEC_CTRL INTEL_STIBP SPEC_CTRL_SSBD ARCH_CAPABILITIES HYPERVISOR"),
        (
            INTEL_NAME,
            "SPEC_CTRL ARCH_CAPABILITIES",
            "AMD_IBPB AMD_IBRS AMD_STIBP AMD_SSBD AMD_SSB_NO AMD_IBPB_RET OSXSAVE",
        ),
    ],
)
def test_a_cpu_has_not_what_kvm_and_the_vmm_add(vendor: tuple[int, int, int], kept: str, gone: str) -> None:
    """kvm_set_cpu_caps tells each vendor's guests in the other's bits what Linux can do."""
    cpu = cpu_behind(guest(vendor, l1_0=(0, 0, M32, M32), l7_0=(0, M32, M32, M32), l80000008_0=(0x3030, M32, 0, 0)))
    assert {bit(cpu, name) for name in kept.split()} == {1}
    assert {bit(cpu, name) for name in gone.split()} == {0}
    assert cpu.leaves[7, 0][3] == M32 & ~(0xAC000000 if vendor == AMD_NAME else 0)
    # What the table has not is not made.
    assert (7, 0) not in cpu_behind(Cpuid({(0, 0): (0x1F, *vendor)})).leaves


def test_a_named_cpu_tells_more() -> None:
    """Features, highest leaves, components and tiles; its other rows are not the guest's CPU's."""
    named = Cpuid(
        {
            (0, 0): (0x20, *AMD_NAME),
            (7, 0): (2, 8, 0, 0),
            (7, 1): (0x10, 0, 0, 0),
            (0x80000000, 0): (0x80000008, *AMD_NAME),
            (0x80000008, 0): (0x3939, 5, 7, 0),
            (0xD, 0): (0x602E7, 1, 1, 4),
            (0xD, 1): (0x1F, 1, 0x1800, 8),
            (0xD, 18): (0x2000, 0xB00, 6, 0),
            (0x1D, 1): (1, 2, 3, 4),
            (0x1E, 0): (5, 0, 0, 0),
            (0x15, 0): (9, 9, 9, 9),
        }
    )
    cpu = cpu_behind(guest(), named)
    assert (cpu.leaves[0, 0][0], cpu.leaves[7, 0][0], cpu.leaves[0x80000000, 0][0]) == (0x20, 2, 0x80000021)
    assert (cpu.leaves[7, 0][1], cpu.leaves[7, 1], cpu.leaves[0x80000008, 0]) == (9, (0x10, 0, 0, 0), (0, 5, 0, 0))
    assert (cpu.leaves[0xD, 0], cpu.leaves[0xD, 1]) == ((0x602E7, 0x340, 0x340, 4), (0x1F, 0x340, 0x1800, 8))
    assert (cpu.leaves[0xD, 2], cpu.leaves[0xD, 18], cpu.leaves[0x1D, 1]) == (
        (0x100, 0x240, 0, 0),
        (0x2000, 0xB00, 6, 0),
        (1, 2, 3, 4),
    )
    assert cpu.leaves[0x1E, 0] == (5, 0, 0, 0)
    assert (0x15, 0) not in cpu.leaves
    # What the guest saw stays; who has no leaf 0xD, the guest or the named CPU, adds nothing to it.
    seen = cpu_behind(guest(lD_0=(0x407, 0x340, 0x340, 0)), named)
    assert seen.leaves[0xD, 0] == (0x606E7, 0x340, 0x340, 4)
    for one, other in ((guest(), Cpuid({})), (Cpuid({(0, 0): (0x1F, *AMD_NAME)}), Cpuid({(7, 0): (0, 8, 0, 0)}))):
        assert cpu_behind(one, other).get(0xD) == one.get(0xD)


def test_an_upgrade_keeps_what_the_vmm_made() -> None:
    """Features one by one, another value where the VMM had left it alone; leaves of the newer kernel come."""
    shown = guest(l7_0=(0, 2, 0, 0), l1_0=(0xA00F11, 0x1234, 0, 0x178BFBFF), l80000007_0=(1, 2, 3, 4))
    found = upgrade(shown, "6.1", "6.18")
    assert found.cpuid.leaves[1, 0][:2] == (0xA00F11, 0x1234)
    assert found.cpuid.leaves[1, 0][2] & (1 << 31 | 1 << 24) == 1 << 31 | 1 << 24
    assert found.cpuid.leaves[0x80000007, 0] == (1, 2, 3, 4)
    assert found.cpuid.leaves[7, 0][1] & 3 == 2
    same = upgrade(shown, "6.12", "6.12")
    assert same.cpuid.leaves == shown.leaves
    assert (same.added, same.removed) == ((), ())


def test_bits_that_hang_on_the_cpu() -> None:
    found = upgrade(guest(), "6.1", "6.18")
    assert found.unknown[7, 0][2] >> 7 & 1, "shadow stacks, where the CPU has them"
    assert found.unknown[0x80000021, 0][0] >> 8 & 1, "automatic IBRS"
    assert all(any(values) or key not in found.cpuid for key, values in found.unknown.items())
    assert {0x6A0, 0x6A2} <= set(found.maybe)
    assert not {0x6A0, 0x6A2} & {*found.added, *found.removed}
    assert list(found.added) == sorted(found.added)
    assert list(found.maybe) == sorted(found.maybe)
    # Downwards nothing comes, and what the older kernel does not list goes.
    back = upgrade(guest(), "6.18", "6.1")
    assert not back.added
    assert set(found.added) <= set(back.removed)
    assert list(back.removed) == sorted(back.removed)


@pytest.mark.parametrize(("perm", "has_tiles"), [(DYNAMIC, True), (0, False)])
def test_a_vmm_asks_for_tiles_or_does_not(perm: int, has_tiles: bool) -> None:
    named = any_cpu(INTEL)
    shown = supported_table(assumed_kvm(named, "5.10"))
    found = upgrade(shown, "5.10", "6.1", named=named, guest_perm=perm)
    assert found.cpuid.leaves[0xD, 0][0] == (0x602E7 if has_tiles else 0x202E7)
    assert found.cpuid.leaves == supported_table(assumed_kvm(named, "6.1"), perm).leaves


@pytest.mark.parametrize("nested", [True, False])
def test_nesting_is_as_the_guest_has_it(nested: bool) -> None:
    """Without SVM in the guest's table its leaf does not come either."""
    shown = guest(l80000001_0=(0, 0, 4 if nested else 0, 0x20100800))
    found = upgrade(shown, "6.1", "6.18")
    assert bool((found.cpuid.get(0x80000001) or (0, 0, 0, 0))[2] >> 2 & 1) is nested


@pytest.mark.parametrize(
    ("feature", "parameters"),
    [(None, {"nested": "N"}), ("SVM", {}), ("VMX", {})],
)
def test_each_kernel_is_loaded_alike(
    feature: str | None, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same parameters of the module, the same processor: the CPUs and the releases differ."""
    loaded: list[tuple[str, Kvm, dict[str, str]]] = []

    def assumed(cpu: Cpuid, release: str, *, parameters: dict[str, str], processor: Processor | None) -> Kvm:
        kvm = assumed_kvm(cpu, release, parameters=parameters, processor=processor)
        loaded.append((release, kvm, dict(parameters)))
        return kvm

    monkeypatch.setattr(predicted, "assumed_kvm", assumed)
    ecx = {"SVM": (0x80000001, 0), "VMX": (1, 0)}
    shown = guest(INTEL_NAME if feature == "VMX" else AMD_NAME)
    if feature is not None:
        row = list(shown.get(*ecx[feature]) or (0, 0, 0, 0))
        row[2] |= 1 << FEATURES[feature][3]
        shown = Cpuid({**shown.leaves, ecx[feature]: (row[0], row[1], row[2], row[3])})
    mine = Processor(tsc_khz=12345)
    upgrade(shown, "6.1", "6.18", processor=mine)
    assert [release for release, *_ in loaded] == ["6.1", "6.18", ".".join(map(str, loaded[0][1].release)), "6.18"]
    assert [told for *_, told in loaded[:2]] == [parameters] * 2
    assert loaded[3][2] == loaded[1][1].parameters
    assert loaded[2][2] == loaded[0][1].parameters
    assert {kvm.processor.tsc_khz for _, kvm, _ in loaded} == {mine.tsc_khz}


def test_msrs_that_come_go_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the older kernel, of the newer, and of the newer on a CPU that has all that was hidden."""
    lists = iter(({1, 2, 9}, {2, 9, 3, 30, 4}, {2, 30, 3, 5, 1}))
    monkeypatch.setattr(predicted, "_listed", lambda _: next(lists))
    found = upgrade(guest(), "6.12", "6.12")
    assert (found.added, found.removed, found.maybe) == ((3, 30), (1,), (1, 4, 5, 9))


def at_most(cpu: Cpuid, older: str, newer: str) -> Cpuid:
    return predicted._at_most(cpu, assumed_kvm(cpu, older), assumed_kvm(cpu, newer))


#: FSGSBASE, AVX2 and AVX_VNNI are shown by all of these; shadow stacks from 6.18 on, automatic IBRS from 6.3 on.
SHOWN, HIDDEN = ("FSGSBASE", "AVX2", "AVX_VNNI"), ("SHSTK", "IBT", "AUTOIBRS")


@pytest.mark.parametrize(
    ("vendor", "foreign", "hidden"),
    [
        (AMD_NAME, "SPEC_CTRL INTEL_STIBP SPEC_CTRL_SSBD ARCH_CAPABILITIES ARCH_LBR", ""),
        # kvm_set_cpu_caps derives IBPB_RET from a bug (PBRSB) that CPUID does not tell.
        (INTEL_NAME, "AMD_IBPB AMD_IBRS AMD_STIBP AMD_SSBD AMD_SSB_NO", "AMD_IBPB_RET ARCH_LBR"),
    ],
)
def test_the_most_that_a_cpu_may_have(vendor: tuple[int, int, int], foreign: str, hidden: str) -> None:
    cpu = guest(vendor, l7_0=(0, 1 << 9, 0, 0))
    most = at_most(cpu, "6.1", "6.18")
    for name in SHOWN:
        assert bit(most, name) == bit(cpu, name)
    assert {bit(most, name) for name in (*HIDDEN, *hidden.split())} == {1}
    assert {bit(most, name) for name in ("HYPERVISOR", *foreign.split())} == {0}
    for key, values in most.leaves.items():
        assert not any(value & ~M32 for value in values)
        for register, value in enumerate(values):
            is_told = (*key, register) in WORDS or key[0] in (0, 7, 0x80000000, 0xD) or (key, register) in NUMBERS
            assert is_told or value == (cpu.get(*key) or (0, 0, 0, 0))[register], (key, register)


NUMBERS = (((0x24, 0), 1), ((0x80000022, 0), 1))


@pytest.mark.parametrize(
    ("older", "rows", "highest"),
    [
        # Where the guest saw the highest that the kernel shows, the CPU may have more.
        ("6.1", {}, (0xFF, 0, 0x800000FF)),
        ("6.1", {"l7_0": (2, 0, 0, 0)}, (0xFF, 0xFF, 0x800000FF)),
        ("6.1", {"l7_0": (3, 0, 0, 0)}, (0xFF, 0xFF, 0x800000FF)),
        ("6.18", {"l7_0": (1, 0, 0, 0)}, (0x1F, 1, 0x80000021)),
        ("6.18", {"l80000000_0": (0x80000022, *AMD_NAME)}, (0x1F, 0, 0x800000FF)),
    ],
)
def test_the_highest_leaves_that_there_may_be(
    older: str, rows: dict[str, CpuidValues], highest: tuple[int, ...]
) -> None:
    most = at_most(guest(AMD_NAME, **rows), older, "6.18")
    assert tuple(most.leaves[leaf, 0][0] for leaf in (0, 7, 0x80000000)) == highest
    assert [most.leaves[leaf, 0][1] for leaf in (0, 0x80000000)] == [AMD_NAME[0]] * 2
    without = Cpuid({key: row for key, row in guest().leaves.items() if key[0] != 0x80000000})
    assert at_most(without, older, "6.18").get(0x80000000) is None


@pytest.mark.parametrize(
    ("older", "row", "version", "counters"),
    [
        ("6.1", None, 0xFF, 0xF),
        ("6.1", (0, 0x100, 0, 0), 0xFF, 0xF),
        ("6.18", None, 0xFF, 0xF),
        # KVM of 6.18 shows version 1 whatever the CPU has.
        ("6.18", (0, 0, 0, 0), 0xFE, 0),
    ],
)
def test_numbers_that_the_older_kernel_hides(older: str, row: CpuidValues | None, version: int, counters: int) -> None:
    """AVX10's version (6.12 shows it), the counters of PerfMonV2 (6.2)."""
    rows = {} if row is None else {"l24_0": row, "l80000022_0": row}
    most = at_most(guest(AMD_NAME, **rows), older, "6.18")
    assert most.leaves[0x24, 0][1] & 0xFF == version
    assert most.leaves[0x80000022, 0][1:] == (counters | (row[1] if row else 0), 0, 0)
    assert (most.leaves[0x24, 0][0], *most.leaves[0x24, 0][2:]) == (0, 0, 0)


def test_components_that_the_newer_kernel_brings() -> None:
    """CET is of 6.18; a component that the CPU tells of stays as it is."""
    most = at_most(guest(lD_1=(0xF, 0x340, 1 << 15, 0)), "6.1", "6.18")
    assert (most.leaves[0xD, 11], most.leaves[0xD, 12]) == ((0x10, 0, 1, 0), (0x18, 0, 1, 0))
    assert (most.leaves[0xD, 1][1:], {row for leaf, row in most.leaves if leaf == 0xD}) == (
        (0x340, 1 << 15 | 0x1800, 0),
        {0, 1, 2, 11, 12},
    )
    assert at_most(guest(lD_11=(0x20, 0, 3, 0)), "6.1", "6.18").leaves[0xD, 11] == (0x20, 0, 3, 0)
    assert (0xD, 11) not in at_most(guest(), "6.18", "7.2")
    bare = Cpuid({key: row for key, row in guest().leaves.items() if key[0] != 0xD})
    assert at_most(bare, "6.1", "6.18").leaves[0xD, 1][1:] == (0, 0x1800, 0)


def test_a_cpu_that_has_everything() -> None:
    cpu = guest()
    kvm = assumed_kvm(cpu, "6.1", parameters={"nested": "N"}, processor=Processor(tsc_khz=12345))
    found = predicted._everything(cpu, kvm)
    assert (found.release, found.parameters["nested"], found.processor.tsc_khz) == (kvm.release, "N", 12345)
    assert [found.raw.leaves[leaf, 0] for leaf in (0, 0x80000000)] == [(0xFF, *AMD_NAME), (0x800000FF, *AMD_NAME)]
    assert [found.raw.leaves[key] for key in ((7, 0), (0x24, 0), (0x24, 1))] == [
        (0xFF, M32, M32, M32),
        (0, M32, 0, 0),
        (0, 0, M32, 0),
    ]
    assert found.raw.leaves[0xD, 0] == cpu.leaves[0xD, 0]
    bare = predicted._everything(Cpuid({}), kvm).raw.leaves
    assert (bare[0, 0], bare[0x80000000, 0]) == ((0xFF, 0, 0, 0), (0x800000FF, 0, 0, 0))
