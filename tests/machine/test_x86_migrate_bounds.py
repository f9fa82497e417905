"""x86 moves at their bounds: what a guest keeps when it starts anew, what shows a use, what is lost in silence."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.migrate import tsc
from inspector.machine.x86.migrate.bits import Difference, compared_msrs, in_table, msr_rule
from inspector.machine.x86.migrate.calls import order_of, restored
from inspector.machine.x86.migrate.guest import NOTHING
from inspector.machine.x86.migrate.noticed import noticed
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.remedy import features_of
from inspector.machine.x86.migrate.together import anew, names_of_features
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import bit, feature, guest_with, silicon

ALL = (1 << 64) - 1
PKU, WAITPKG, RDTSCP = (7, 0, "ecx", 3), (7, 0, "ecx", 5), (0x80000001, 0, "edx", 27)
VMX, RDPID = (1, 0, "ecx", 5), (7, 0, "ecx", 22)


# A guest that starts anew


def test_a_guest_that_starts_anew_has_none_of_the_state() -> None:
    table = {(0xD, 0): (7, 0, 0, 1), (0xD, 1): (0, 0, 0x800, 2)}
    xcr0, xss = 7 | 1 << 32, 0x800 | 2 << 32
    before = guest_with(
        table,
        {0xDA0: ALL, 0x1C4: ALL, 0x1C5: ALL, 0x10: ALL},
        sregs=b"\xff" * 256,
        xcrs=b"\xff" * 24,
        xsave=b"\xff" * 576,
    )
    after = anew(before, before, (feature(PKU),), keeps_list=False)
    assert dict(after.msrs) == {0xDA0: xss, 0x1C4: xcr0, 0x1C5: xcr0, 0x10: ALL}
    cr4 = ALL & ~(1 << 22)
    assert dict(after.facts) == {"cr0": ALL, "cr3": ALL, "cr4": cr4, "xcr0": xcr0, "xstate_bv": xcr0 | xss}
    assert after.saved.sregs == b"\xff" * 248 + cr4.to_bytes(8, "little")
    assert after.saved.xcrs == b"\xff" * 16 + xcr0.to_bytes(8, "little")
    assert after.saved.xsave == b"\xff" * 512 + (xcr0 | xss).to_bytes(8, "little") + b"\xff" * 56
    assert after.saved.sregs2 is None


def test_a_guest_that_starts_without_xsave_has_no_component() -> None:
    """Its leaf 0xD went with the bits; what was cut short when it was captured stays as it is."""
    before = guest_with(
        {(0xD, 0): (7, 0, 0, 0), (0xD, 1): (0, 0, 0x800, 0)},
        {0xDA0: ALL, 0x1C4: ALL},
        sregs=b"\xff" * 312,
        xcrs=b"\xff" * 23,
        xsave=b"\xff" * 519,
    )
    found = anew(before, before.with_table({}), (feature((1, 0, "edx", 1)),), keeps_list=True)
    assert dict(found.msrs) == {0xDA0: 0, 0x1C4: 0}
    assert found.saved.sregs == b"\xff" * 248 + (ALL & ~1).to_bytes(8, "little") + b"\xff" * 56
    assert (found.saved.xcrs, found.saved.xsave) == (b"\xff" * 23, b"\xff" * 519)


@pytest.mark.parametrize("table", [{}, {(0xD, 1): (0xF, 0, 0, 0)}])
def test_without_leaf_0xd_only_the_features_bits_go(table: Mapping[tuple[int, int], CpuidValues]) -> None:
    before = guest_with(table, facts={"xcr0": ALL, "cr4": ALL, "efer": ALL})
    facts = anew(before, before, (feature(PKU),), keeps_list=True).facts
    assert dict(facts) == {"xcr0": ALL & ~(1 << 9), "cr4": ALL & ~(1 << 22), "efer": ALL}


@pytest.mark.parametrize(
    ("gone", "msrs", "listed", "of_features"),
    [
        ((WAITPKG,), {0xE1: 5, 0x10: 7}, {0xE1: 0, 0x10: 7}, {0x10: 7}),
        ((RDTSCP,), {0xC0000103: 5}, {0xC0000103: 5}, {0xC0000103: 5}),
        ((RDTSCP, RDPID), {0xC0000103: 5}, {0xC0000103: 0}, {}),
        ((VMX,), {0x3A: 5, 0x480: 1, 0x491: 1, 0x6A0: 2}, {0x3A: 0, 0x480: 0, 0x491: 0, 0x6A0: 2}, {0x6A0: 2}),
    ],
)
def test_msrs_of_features_that_go(
    gone: tuple[tuple[int, int, str, int], ...],
    msrs: dict[int, int],
    listed: dict[int, int],
    of_features: dict[int, int],
) -> None:
    """Where the VMM saves every MSR of the host's list they are 0, else they are not there; RDPID keeps TSC_AUX."""
    bits = tuple(feature(key) for key in gone)
    before = guest_with({(7, 0): (0, 0, 0 if RDPID in gone else 1 << 22, 0)}, msrs)
    assert dict(anew(before, before, bits, keeps_list=True).msrs) == listed
    assert dict(anew(before, before, bits, keeps_list=False).msrs) == of_features


def test_what_another_feature_uses_is_kept_for_one_that_the_guest_has() -> None:
    """TSC_AUX is RDPID's too, which this guest has not; PSE's bit of CR4 is kept, and VME's beside it is not."""
    before = guest_with({(1, 0): (0, 0, 0, 1 << 3)}, {0xC0000103: 5}, {"cr4": ALL})
    after = anew(before, before, (feature(RDTSCP), feature((1, 0, "edx", 1))), keeps_list=True)
    assert (dict(after.msrs), dict(after.facts)) == ({0xC0000103: 0}, {"cr4": ALL & ~1})


@pytest.mark.parametrize(
    ("difference", "names", "keys"),
    [
        (feature(PKU), ("pku",), (PKU,)),
        (bit("xcr0", 0xD, 0, "", 9), ("pku",), (PKU,)),
        (bit("xcr0", 0xD, 0, "", 1), ("xsave",), ((1, 0, "ecx", 26),)),
        (bit("xcr0", 0xD, 0, "", 2), ("avx",), ((1, 0, "ecx", 28),)),
        (bit("xstate", 0xD, 6, "ebx", 0, 31), ("avx512f",), ((7, 0, "ebx", 16),)),
        (bit("xss", 0xD, 0, "", 11), ("cet-ss",), ((7, 0, "ecx", 7),)),
        (bit("xcr0", 0xD, 0, "", 18), ("amx-tile",), ((7, 0, "edx", 24),)),
        (bit("xcr0", 0xD, 0, "", 40), (), ()),
        (bit("cpuid", 0x80000008, 0, "eax", 8, 15, "at_most"), ("la57",), ((7, 0, "ecx", 16),)),
        (bit("cpuid", 0x80000008, 0, "eax", 0, 7, "at_most"), (), ()),
        (bit("cpuid", 7, 0, "edx", 10, rule="or"), (), ()),
        (bit("cpuid", 0, 0, "ebx", 0, 31, "and"), (), ()),
        # A bit that Linux names and QEMU does not.
        (feature((0x80000021, 0, "eax", 9)), (), ((0x80000021, 0, "eax", 9),)),
        (bit("msr", 0x10A, 0, "", 0), ("rdctl-no",), ()),
        (bit("msr", 0x10A, 0, "", 60), (), ()),
    ],
)
def test_what_brings_a_bit(
    difference: Difference, names: tuple[str, ...], keys: tuple[tuple[int, int, str, int], ...]
) -> None:
    assert (names_of_features(difference), features_of(difference)) == (names, keys)


# What shows a use


@pytest.mark.parametrize(
    ("difference", "facts", "msrs", "use"),
    [
        (feature(PKU), {"cr4": 1 << 22, "xcr0": 0}, {}, "CR4.PKE is set"),
        (feature(PKU), {"cr4": 0, "xcr0": 0}, {}, "not in use now: CR4.PKE, XCR0[9] are 0"),
        (feature(PKU), {"cr4": 0}, {}, "not in use now: CR4.PKE is 0"),
        (feature(PKU), {}, {}, "not known whether it is in use: CR4, XCR0 not captured"),
        (feature(WAITPKG), {}, {0xE1: 0x1F}, "IA32_UMWAIT_CONTROL is 0x1f"),
        # AVX2 has no state of its own.
        (feature((7, 0, "ebx", 5)), {"xstate_bv": 4, "xcr0": 0}, {}, "XSTATE_BV[2] is set"),
        (bit("xcr0", 0xD, 0, "", 9), {"xcr0": 1 << 9}, {}, "XCR0[9] is set"),
        (bit("xcr0", 0xD, 0, "", 9), {"xstate_bv": 1 << 9, "xcr0": 1 << 10}, {}, "XSTATE_BV[9] (pkru) is set"),
        (bit("xcr0", 0xD, 0, "", 9), {}, {}, "not known whether it is in use: XSTATE_BV, XCR0 not captured"),
        (bit("xss", 0xD, 0, "", 11), {}, {0xDA0: 1 << 11}, "IA32_XSS[11] is set"),
        (bit("xss", 0xD, 0, "", 11), {}, {0xDA0: 1 << 10 | 1 << 12}, "not in use now: IA32_XSS[11] is 0"),
        (bit("msr", 0x10A, 0, "", 0), {}, {}, "every guest has read it: its kernel chose by it when it started"),
        (bit("cpuid", 0x80000008, 0, "eax", 0, 7), {}, {}, "every guest has read it: it says which bits of its page"),
        (
            bit("cpuid", 0xA, 0, "eax", 0, 7),
            {},
            {},
            "no state of a vCPU shows its use: a guest reads it when it starts",
        ),
        (bit("cpuid", 0x80000008, 0, "eax", 8, 15), {"cr4": 1 << 12}, {}, "CR4.LA57 is set"),
    ],
)
def test_what_shows_a_use(difference: Difference, facts: dict[str, int], msrs: dict[int, int], use: str) -> None:
    found = noticed(guest_with(None, msrs, facts), difference)
    assert found.use.startswith(use)
    assert found.evidence == (found.use if found.use.endswith((" is set", "0x1f")) else "")


# The frequency of the TSC, the calls, the bits


@pytest.mark.parametrize(
    ("is_raw", "flags", "scales"),
    [(True, frozenset(), None), (True, frozenset({"ept"}), False), (True, frozenset({"tsc_scaling"}), True)],
)
def test_who_tells_that_tscs_are_scaled(is_raw: bool, flags: frozenset[str], scales: bool | None) -> None:
    host = silicon("6.18")
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=1000, vmx_flags=flags)
    guest = guest_with()._replace(saved=NOTHING._replace(tsc_khz=2000))
    assert tsc.scales(host) is scales
    assert bool(tsc.hangs_on(guest, host)) is (scales is None)
    host.emulator = "TCG"
    assert tsc.hangs_on(guest, host) == ""


def test_the_order_of_calls_is_that_of_what_was_captured() -> None:
    guest = guest_with(sregs=b"\0" * 312, regs=b"\0" * 144, xcrs=b"\0" * 8)
    with_sregs2 = guest_with(sregs2=b"\0" * 320, regs=b"\0" * 144, xcrs=b"\0" * 8)
    for vmm in ("qemu", "firecracker"):
        old, new = (order_of(with_sregs2, VMMS[vmm], silicon(release)) for release in ("5.10", "6.18"))
        assert sorted(order_of(guest, VMMS[vmm], silicon("6.18"))) == ["mp", "regs", "sregs", "xcrs"]
        assert [step if step != "sregs2" else "sregs" for step in new] == old
    assert order_of(with_sregs2, VMMS["qemu"], silicon("6.18")).count("sregs2") == 1
    nothing = restored(guest, silicon("6.18"), VMMS["qemu"], ())
    assert (nothing.calls, nothing.not_captured[0]) == ((), "KVM_SET_CPUID2")


def test_components_by_bit_of_xcr0_and_xss() -> None:
    host = silicon("6.18")
    table = {(0xD, 0): (host.kvm.xcr0 & 0xFFFFFFFF & ~4, 0, 0, 1 << 8), (0xD, 1): (0, 0, host.kvm.xss | 1 << 20, 1)}
    found = [entry for entry in in_table(guest_with(), table, host, {(0xD, 9): ()}) if entry.place.kind != "cpuid"]
    assert [(str(entry.place), entry.source, entry.target, entry.blocks) for entry in found] == [
        ("XCR0[2]", 0, 1, False), ("XCR0[40]", 1, 0, True), ("XSS[20]", 1, 0, True), ("XSS[32]", 1, 0, True)
    ]  # fmt: skip
    assert {entry.rule for entry in found} == {"and"}
    assert list(in_table(guest_with(), table, host, {(7, 0): ()})) == []


def test_where_a_component_lies_is_compared() -> None:
    host = silicon("6.18")
    rows = {(0xD, number): host.supported.get(0xD, number) or (0, 0, 0, 0) for number in (0, 1, 2, 9)}
    moved = {**rows, (0xD, 9): (16, 2696, 0, 0), (0xD, 1): (0, 0, host.kvm.xss, 0)}
    found = [entry for entry in in_table(guest_with(), moved, host, {(0xD, 9): ()}) if entry.place.kind == "xstate"]
    assert [(entry.place, entry.rule, entry.source, entry.target, entry.blocks) for entry in found] == [
        (Place("xstate", 0xD, 9, "eax", 31, 0), "equal", 16, 8, True),
        (Place("xstate", 0xD, 9, "ebx", 31, 0), "equal", 2696, 2688, True),
    ]
    without = {**moved, (0xD, 0): (rows[0xD, 0][0] & ~(1 << 9), 0, 0, 0)}
    assert not [e for e in in_table(guest_with(), without, host, {(0xD, 9): ()}) if e.place.kind == "xstate"]


@pytest.mark.parametrize(
    ("index", "number", "rule"),
    [
        (0x480, 31, "ignore"), (0x480, 32, "and"), (0x48A, 1, "ignore"), (0x486, 63, "or"), (0x488, 0, "or"),
        (0x487, 0, "and"), (0x481, 31, "or"), (0x481, 32, "and"), (0x48B, 0, "or"), (0x48C, 0, "and"),
        (0x485, 5, "and"), (0x490, 31, "or"), (0x491, 0, "and"), (0x10A, 17, "or"), (0x10A, 0, "and"),
    ],
)  # fmt: skip
def test_how_bits_of_feature_msrs_go_together(index: int, number: int, rule: str) -> None:
    assert msr_rule(index, number) == rule


def test_vmx_counts_where_the_guest_has_it() -> None:
    without, with_vmx = compared_msrs({(1, 0): (0, 0, 0, 0)}), compared_msrs({(1, 0): (0, 0, 1 << 5, 0)})
    assert with_vmx == (*without, *range(0x480, 0x492))
    assert compared_msrs({}) == without
