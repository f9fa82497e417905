"""The CPUID of a vCPU that moves: its rows, where KVM's leaves are in it, its bits against a host's; its state."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.kvm.leaves import as_shown, leaf_in
from inspector.machine.x86.migrate import start
from inspector.machine.x86.migrate.again import Again
from inspector.machine.x86.migrate.bits import Difference, differences, in_msrs, in_table, violates
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, entry_of, facts_of, steps_of
from inspector.machine.x86.migrate.lost import has
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.remedy import without
from inspector.machine.x86.models.offer import offer_of_cpuid, offer_of_features
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_guest import guest_of_model
from layouts.x86.combine import Combine
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import silicon

FIRST, FEATURES, PUSHED, PUSHED_FEATURES = ((leaf, 0) for leaf in (0x40000000, 0x40000001, 0x40000100, 0x40000101))
KVM, HYPER_V = ((0, *struct.unpack("<3I", name)) for name in (b"KVMKVMKVM\0\0\0", b"Microsoft Hv"))
HV_1 = (0x31237648, 0, 0, 0)
UNKNOWN_OF_KVM = 1 << 31
NOBODY = Guest("g", NOTHING, frozenset(), {})


def guest_with(table: Mapping[tuple[int, int], CpuidValues]) -> Guest:
    return NOBODY.with_table(table)


def behind_hyper_v(features: int) -> dict[tuple[int, int], CpuidValues]:
    """As QEMU makes the table of a guest with Hyper-V's enlightenments."""
    return {(7, 0): (0, 0, 0, 0), FIRST: HYPER_V, FEATURES: HV_1, PUSHED: KVM, PUSHED_FEATURES: (features, 0, 0, 0)}


# KVM's leaves


def test_kvms_leaves_are_compared_where_it_shows_them() -> None:
    table = behind_hyper_v(3)
    assert as_shown(table) == {(7, 0): (0, 0, 0, 0), FIRST: KVM, FEATURES: (3, 0, 0, 0)}
    assert as_shown({(7, 0): (0, 0, 0, 0), FIRST: HYPER_V, FEATURES: HV_1}) == {(7, 0): (0, 0, 0, 0)}
    plain = {FIRST: KVM, FEATURES: (3, 0, 0, 0), (0x80000001, 0): (0, 0, 0, 0)}
    assert as_shown(plain) is plain
    assert [leaf_in(table, leaf) for leaf in (7, 0x40000001, 0x80000001)] == [7, 0x40000101, 0x80000001]
    assert [leaf_in(plain, 0x40000001), leaf_in({FIRST: HYPER_V}, 0x40000001)] == [0x40000001] * 2


def test_a_guest_with_hyper_v_keeps_kvms_features() -> None:
    host = silicon("6.18")
    shown = host.shown(0x40000001, 0, "eax")
    guest = guest_with({**host.supported.leaves, **behind_hyper_v(shown), (7, 0): host.supported.leaves[7, 0]})
    words = {FEATURES: range(4)}
    assert list(in_table(guest, guest.table, host, words)) == []
    more = guest.with_table({**guest.table, PUSHED_FEATURES: (shown | UNKNOWN_OF_KVM, 0, 0, 0)})
    (bit,) = in_table(more, more.table, host, words)
    assert (str(bit.place), bit.source, bit.target, bit.blocks) == ("CPUID.40000001.0.EAX[31]", 1, 0, True)
    # What QEMU makes anew, and a guest that starts without it: both lose it where the guest has it.
    assert start.arriving(more, VMMS["qemu"], (bit,), None) == guest.saved.cpuid
    assert without(more, (bit,)).table == guest.table
    assert has(guest.table, "kvmclock")
    assert not has({**guest.table, PUSHED_FEATURES: (0, 0, 0, 0)}, "kvmclock")


def test_a_guests_table_with_hyper_v_tells_kvms_features_of_its_host() -> None:
    kvm = silicon("6.18").kvm
    told = Cpuid(behind_hyper_v(UNKNOWN_OF_KVM))
    host = Destination("h", kvm, is_raw=False, supported=told, is_guests=True)
    assert host.shown(0x40000001, 0, "eax") == silicon("6.18").shown(0x40000001, 0, "eax") | UNKNOWN_OF_KVM
    kvmclock = behind_hyper_v(9) | {(1, 0): (0, 0, 0, 0)}
    assert "kvmclock" in offer_of_cpuid("h", Cpuid(kvmclock)).features
    assert "kvm-pv-eoi" not in offer_of_cpuid("h", Cpuid(kvmclock)).features, "a bit of Hv#1"


@pytest.mark.parametrize(("interface", "refused"), [(HV_1, False), ((HV_1[0] + 1, 0, 0, 0), True), (None, True)])
def test_cloud_hypervisor_makes_hyper_vs_leaves_on_both_sides(interface: CpuidValues | None, refused: bool) -> None:
    """By the machine's configuration, which moves (vm_check_cpuid_compatibility); KVM's are its hosts'."""
    host = silicon("6.18")
    table = {**host.supported.leaves, FIRST: HYPER_V}
    del table[FEATURES]
    guest = guest_with({**table, FEATURES: interface} if interface else table)
    found = start.compared(guest, host, VMMS["cloud-hypervisor"], (), None)
    assert any(entry.refuses and entry.what.startswith("CPUID.4") for entry in found) is refused


# Rows


@pytest.mark.parametrize(("key", "flags"), [((0x1D, 1), 1), ((0x1D, 0), 1), ((0x24, 0), 1), ((0xB, 0), 1), ((1, 0), 0)])
def test_rows_whose_sub_leaf_counts(key: tuple[int, int], flags: int) -> None:
    """kvm_find_cpuid_entry_index takes an entry without the flag for any sub-leaf that is asked for."""
    assert entry_of(key, (1, 2, 3, 4)) == (*key, flags, 1, 2, 3, 4)
    assert guest_with({key: (1, 2, 3, 4)}).saved.cpuid == ((*key, flags, 1, 2, 3, 4),)


def test_rows_that_stay_keep_flags_and_place() -> None:
    before = NOTHING._replace(
        cpuid=tuple(entry_of(key, (1, 2, 3, 4))._replace(flags=6) for key in ((2, 0), (1, 0), (3, 0)))
    )
    after = Guest("g", before, frozenset(), {}).with_table(
        {(1, 0): (1, 2, 3, 4), (7, 0): (5, 6, 7, 8), (2, 0): (9, 8, 7, 6)}
    )
    assert after.saved.cpuid == ((2, 0, 6, 9, 8, 7, 6), (1, 0, 6, 1, 2, 3, 4), (7, 0, 1, 5, 6, 7, 8))
    twice = Guest("g", before._replace(cpuid=(*before.cpuid, before.cpuid[0]._replace(eax=99))), frozenset(), {})
    assert twice.table[2, 0] == (1, 2, 3, 4), "the first of several stands"


# Bits against a host


def told(
    table: Mapping[tuple[int, int], CpuidValues], host: Destination, *registers: tuple[int, int, int]
) -> list[str]:
    """Each difference in these registers: place, rule, the guest's and the host's value, whether it is in the way."""
    words: dict[tuple[int, int], list[int]] = {}
    for leaf, subleaf, number in registers:
        words.setdefault((leaf, subleaf), []).append(number)
    return [written(bit) for bit in in_table(guest_with(table), table, host, words)]


def written(bit: Difference) -> str:
    assert bit.known or not bit.blocks
    way = "blocks" if bit.blocks else "open" if not bit.known else "-"
    return f"{bit.place} {bit.rule} {bit.source:#x} {bit.target:#x} {way}"


@pytest.mark.parametrize(
    ("rule", "source", "target", "wrong"),
    [
        ("and", 1, 0, True),
        ("and", 0, 1, False),
        ("or", 1, 0, False),
        ("or", 0, 1, False),
        ("equal", 1, 2, True),
        ("equal", 2, 2, False),
        ("at_most", 46, 46, False),
        ("at_most", 48, 46, True),
        ("at_most", 46, 48, False),
        ("ignore", 1, 0, False),
    ],
)
def test_how_two_values_go_together(rule: Combine, source: int, target: int, wrong: bool) -> None:
    assert violates(rule, source, target) is wrong


def test_only_bits_that_differ_are_told() -> None:
    host = silicon("6.18")
    row = host.supported.leaves[7, 0]
    assert row[2] & 0x10C == 0x10C
    changed = row[2] & ~8 | 1 << 19
    assert told({(7, 0): (row[0], row[1], changed, row[3])}, host, (7, 0, 2), (7, 0, 3)) == [
        "CPUID.7.0.ECX[3] and 0x0 0x1 -", "CPUID.7.0.ECX[19] and 0x1 0x0 blocks"
    ]  # fmt: skip


def test_a_register_that_nobody_compares_is_passed_over() -> None:
    """EBX of 8000_0001 tells of the package."""
    host = silicon("6.18")
    eax, ebx, ecx, edx = host.supported.leaves[0x80000001, 0]
    assert told({(0x80000001, 0): (eax, ebx ^ 1, ecx & ~1, edx)}, host, (0x80000001, 0, 1), (0x80000001, 0, 2)) == [
        "CPUID.80000001.0.ECX[0] and 0x0 0x1 -"
    ]


def test_fields_are_compared_as_numbers() -> None:
    host = silicon("6.18")
    eax = host.supported.leaves[0x80000008, 0][0]
    assert eax & 0xFFFF == 57 << 8 | 46
    other = {(0x80000008, 0): (eax & ~0xFFFF | 48 << 8 | 47, 0, 0, 0)}
    assert told(other, host, (0x80000008, 0, 0)) == [
        "CPUID.80000008.0.EAX[7:0] at_most 0x2f 0x2e blocks", "CPUID.80000008.0.EAX[15:8] at_most 0x30 0x39 -"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ((1, 2, 3, 4), (1, 5, 3, 4), ["CPUID.1D.1.EBX[31:0] equal 0x2 0x5 blocks"]),
        ((1, 2, 3, 4), (0, 5, 3, 4), ["CPUID.1D.1.EBX[31:0] equal 0x2 0x5 blocks"]),
        ((1, 2, 3, 4), None, []),
        (None, (1, 5, 3, 4), []),
    ],
)
def test_tiles_are_compared_where_both_have_them(
    mine: CpuidValues | None, theirs: CpuidValues | None, said: list[str]
) -> None:
    """Who has them is a feature's; the leaves behind are compared all the same."""
    rest: dict[tuple[int, int], CpuidValues] = {(0x80000021, 0): (0, 0, 0, 0)}
    supported = Cpuid({**rest, (0x1D, 1): theirs} if theirs else rest)
    host = Destination("h", silicon("6.18").kvm, is_raw=True, supported=supported)
    table = {(0x80000021, 0): (1 << 31, 0, 0, 0), **({(0x1D, 1): mine} if mine else {})}
    registers = [*((0x1D, 1, number) for number in range(4)), (0x80000021, 0, 0)]
    assert told(table, host, *registers) == [*said, "CPUID.80000021.0.EAX[31] and 0x1 0x0 blocks"]


def test_a_guest_without_cpuid_differs_in_its_msrs_alone() -> None:
    host = silicon("6.18")
    host.msrs = {0x10A: 0}
    guest = Guest("g", NOTHING._replace(msrs=((0x10A, 1), (0x480, 1))), frozenset(), {})
    assert [written(bit) for bit in differences(guest, host)] == ["MSR.10A[0] and 0x1 0x0 blocks"]


def test_what_one_side_alone_has() -> None:
    host = silicon("6.18")
    row = host.supported.leaves[7, 0]
    found = [bit for bit in in_table(NOBODY, {(0x80000021, 0): (1 << 31, 0, 0, 0)}, host) if bit.place.at > 6]
    assert {written(bit) for bit in found if bit.source} == {"CPUID.80000021.0.EAX[31] and 0x1 0x0 blocks"}
    assert {bit.place.low for bit in found if bit.place[1:4] == (7, 0, "ebx")} == {
        n for n in range(32) if row[1] >> n & 1
    }


def test_what_names_do_not_tell_is_open_for_a_guest_that_has_it() -> None:
    """FSGSBASE is there, AVX2 is not; SMEP and ERMS nobody named. HTT is the vCPU's own."""
    offer = offer_of_features("h", ["fsgsbase"], ["avx2"], signature=("GenuineIntel", 6, 143, 8))
    host = Destination("h", silicon("6.18").kvm, is_raw=False, offer=offer)
    table = {(7, 0): (0, 1 | 1 << 5 | 1 << 9, 0, 0), (1, 0): (0, 0, 0, 1 << 28)}
    assert told(table, host, (7, 0, 1), (1, 0, 3)) == [
        "CPUID.7.0.EBX[5] and 0x1 0x0 blocks", "CPUID.7.0.EBX[9] and 0x1 0x1 open"
    ]  # fmt: skip


def test_what_qemu_takes_from_the_cpu_is_there_for_a_guest_that_has_it() -> None:
    """FZRM of leaf 7.1, which KVM of 6.1 does not show (kvm_arch_get_supported_cpuid of QEMU)."""
    host = silicon("6.1")
    fzrm = 1 << 10
    assert not host.shown(7, 1, "eax") & fzrm
    row = host.supported.leaves[7, 1]
    assert told({(7, 1): (row[0] | fzrm, *row[1:])}, host, (7, 1, 0)) == []
    assert told({(7, 1): row}, host, (7, 1, 0)) == []


def test_a_guest_without_leaf_0xd_has_no_component() -> None:
    host = silicon("6.18")
    found = list(in_table(NOBODY, {}, host, {(0xD, 0): ()}))
    masks = {"xcr0": host.kvm.xcr0, "xss": host.kvm.xss}
    bits = [(kind, bit) for kind, mask in masks.items() for bit in range(64) if mask >> bit & 1]
    assert [bit.place for bit in found] == [Place(kind, 0xD, 0, "", bit, bit) for kind, bit in bits]
    assert {(bit.source, bit.target, bit.blocks, bit.known) for bit in found} == {(0, 1, False, True)}


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ((256, 600, 0, 0), (256, 576, 0, 0), ["CPUID.D.2.EBX[31:0] equal 0x258 0x240 blocks"]),
        ((200, 576, 0, 0), (256, 576, 0, 0), ["CPUID.D.2.EAX[31:0] equal 0xc8 0x100 blocks"]),
        ((0, 600, 0, 0), (256, 576, 0, 0), []),
        ((256, 600, 0, 0), (0, 576, 0, 0), []),
        ((256, 0, 0, 0), (256, 576, 0, 0), ["CPUID.D.2.EBX[31:0] equal 0x0 0x240 blocks"]),
        ((256, 576, 0, 0), (256, 0, 0, 0), ["CPUID.D.2.EBX[31:0] equal 0x240 0x0 blocks"]),
    ],
)
def test_where_avx_lies(mine: CpuidValues, theirs: CpuidValues, said: list[str]) -> None:
    kvm = silicon("6.18").kvm
    rows = {(0xD, 0): (kvm.xcr0 & 0xFFFFFFFF, 0, 0, 0), (0xD, 1): (0, 0, kvm.xss, 0)}
    host = Destination("h", kvm, is_raw=True, supported=Cpuid({**rows, (0xD, 2): theirs}))
    assert told({**rows, (0xD, 2): mine}, host, (0xD, 2, 0)) == said


def test_where_components_lie_is_not_known_of_a_guest_by_names() -> None:
    host = silicon("6.18")
    rows = {
        (0xD, 0): (host.kvm.xcr0 & 0xFFFFFFFF, 0, 0, 0),
        (0xD, 1): (0, 0, host.kvm.xss, 0),
        (0xD, 2): (256, 600, 0, 0),
    }
    by_names = NOBODY._replace(made=guest_of_model("EPYC", "", NO_OPTIONS).made)
    words = {(0xD, 0): ()}
    assert list(in_table(by_names, rows, host, words)) == []
    assert [bit.place.kind for bit in in_table(NOBODY, rows, host, words)] == ["xstate"]


# Feature MSRs


def test_feature_msrs_bit_by_bit() -> None:
    """Those that the guest lacks, or the host's KVM does not tell, are passed over."""
    host = silicon("6.18")
    host.msrs = {0x10A: 0b1010, 0x345: 1 << 63}
    guest = {0x10A: 0b1100, 0x1234: 7, 0x345: 1}
    found = list(in_msrs(guest, (0x122, 0x1234, 0x10A, 0x345), host))
    assert [written(bit) for bit in found] == [
        "MSR.10A[1] and 0x0 0x1 -",
        "MSR.10A[2] or 0x1 0x0 -",
        "MSR.345[0] and 0x1 0x0 blocks",
        "MSR.345[63] and 0x0 0x1 -",
    ]
    assert {bit.place for bit in found if bit.place.at == 0x345} == {Place("msr", 0x345, 0, "", n, n) for n in (0, 63)}


def test_feature_msrs_that_nobody_told_are_open_where_the_guest_has_some() -> None:
    host = silicon("6.18")
    host.kvm.processor = host.kvm.processor._replace(msrs={})
    host.msrs = {0x345: 0}
    assert host.feature_msr(0x10A) is None
    found = list(in_msrs({0x10A: 5, 0x345: 2}, (0x10A, 0x345), host))
    assert [written(bit) for bit in found] == ["MSR.10A[63:0] and 0x5 0x0 open", "MSR.345[1] and 0x1 0x0 blocks"]
    assert found[0].place == Place("msr", 0x10A, 0, "", 63, 0)
    assert list(in_msrs({0x10A: 0}, (0x10A,), host)) == []


# What its state says


def test_registers_that_say_what_a_guest_uses() -> None:
    """struct kvm_sregs, the first entry of struct kvm_xcrs, the header of the image: each in its eight bytes."""
    assert facts_of(NOTHING) == {}
    sregs = b"".join(number.to_bytes(8, "little") for number in range(312 // 8))
    assert facts_of(NOTHING._replace(sregs=sregs)) == {"cr0": 28, "cr3": 30, "cr4": 31, "efer": 33, "apic_base": 34}
    assert facts_of(NOTHING._replace(sregs=sregs[: 33 * 8])) == {"cr0": 28, "cr3": 30, "cr4": 31}
    assert facts_of(NOTHING._replace(sregs=sregs[: 32 * 8 - 1])) == {"cr0": 28, "cr3": 30}
    ones = (1 << 64) - 1
    assert facts_of(NOTHING._replace(xcrs=b"\xff" * 392)) == {"xcr0": ones}
    assert [facts_of(NOTHING._replace(xcrs=b"\xff" * size)) for size in (23, 24)] == [{}, {"xcr0": ones}]
    assert facts_of(NOTHING._replace(xsave=b"\xff" * 576))["xstate_bv"] == ones


@pytest.mark.parametrize(
    ("part", "steps"),
    [
        ("regs", {"regs", "mp"}), ("sregs", {"sregs", "sregs2"}), ("sregs2", {"sregs2"}), ("xsave", {"xsave"}),
        ("xcrs", {"xcrs"}), ("msrs", {"msrs"}), ("events", {"events"}), ("debugregs", {"debugregs"}),
        ("lapic", {"lapic"}), ("nested", {"nested"}), ("tsc_khz", {"tsc_khz"}), ("cpuid", set()), ("mp_state", set()),
    ],
)  # fmt: skip
def test_steps_for_what_was_captured(part: str, steps: set[str]) -> None:
    """A runnable vCPU has mp_state 0, so that its registers say whether it was captured."""
    value: dict[str, Any] = {part: 2000 if part in ("tsc_khz", "mp_state") else b"\1"}
    assert steps_of(NOTHING._replace(**value)) == steps
    assert steps_of(NOTHING) == frozenset()


def test_what_is_asked_about_a_verdict_is_asked_once() -> None:
    again, guest = Again(), NOBODY.with_table({(7, 0): (1, 2, 3, 4)})
    assert again.table_of(guest) is again.table_of(NOBODY)
    bits = [Difference(Place("cpuid", 7, 0, "ebx", n, n), "and", 1, 0, blocks=n == 3) for n in (2, 3)]
    assert again.places_of(bits) == {bits[1].place}
    assert again.places_of(()) is again.places_of(bits)
