"""Remedies at their bounds: what a change leaves of a guest, whether it helps, and which kernels would take a call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.remedy import helps, kernels_that_take, without
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.readers.options import NO_OPTIONS
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu, realized
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import bit, feature, guest_with, showing, silicon

PKU, LA57, CET = (7, 0, "ecx", 3), (7, 0, "ecx", 16), (7, 0, "ecx", 7)
WIDTHS = (0x80000008, 0)
LINEAR = Place("cpuid", *WIDTHS, "eax", 15, 8)
ALL = 0xFFFFFFFF
TABLE = {
    (7, 0): (2, ALL, ALL, ALL),
    (0xD, 0): (ALL, 2696, 2696, ALL),
    (0xD, 1): (0xF, 2440, ALL, ALL),
    (0xD, 6): (512, 1152, 0, 0),
    (0xD, 9): (8, 2688, 0, 0),
    (0xD, 11): (16, 0, 1, 0),
    WIDTHS: (0x343935, 0, 0, 0),
}
Row = CpuidValues | None
#: IA32_ARCH_CAPABILITIES.TSX_CTRL: the host has IA32_TSX_CTRL, as the guest has.
_TSX_CTRL = 1 << 7
AFTER_6_17 = ("6.18", "6.19", "7.0", "7.1", "7.2", "7.3")


# What a guest is that starts without a bit


@pytest.mark.parametrize(
    ("bits", "rows"),
    [
        ((feature(PKU),), {(7, 0): (2, ALL, ALL & ~8, ALL)}),
        ((feature(PKU), feature(CET)), {(7, 0): (2, ALL, ALL & ~0x88, ALL)}),
        # Linear addresses have 48 bits without LA57; the other widths stay.
        ((feature(LA57),), {(7, 0): (2, ALL, ALL & ~(1 << 16), ALL), WIDTHS: (0x343035, 0, 0, 0)}),
        (
            (bit("cpuid", *WIDTHS, "eax", 8, 15, "at_most"),),
            {(7, 0): (2, ALL, ALL & ~(1 << 16), ALL), WIDTHS: (0x343035, 0, 0, 0)},
        ),
        # A component goes from XCR0 and XSS, with its sub-leaf and the feature that brings it.
        (
            (bit("xcr0", 0xD, 0, "", 9),),
            {
                (7, 0): (2, ALL, ALL & ~8, ALL),
                (0xD, 0): (ALL & ~(1 << 9), 2696, 2696, ALL),
                (0xD, 1): (0xF, 2440, ALL & ~(1 << 9), ALL),
                (0xD, 9): None,
            },
        ),
        (
            (bit("xss", 0xD, 0, "", 11),),
            {
                (7, 0): (2, ALL, ALL & ~(1 << 7), ALL),
                (0xD, 0): (ALL & ~(1 << 11), 2696, 2696, ALL),
                (0xD, 1): (0xF, 2440, ALL & ~(1 << 11), ALL),
                (0xD, 11): None,
            },
        ),
        (
            (bit("xstate", 0xD, 6, "ebx", 0, 31, "equal"),),
            {
                (7, 0): (2, ALL & ~(1 << 16), ALL, ALL),
                (0xD, 0): (ALL & ~(1 << 6), 2696, 2696, ALL),
                (0xD, 1): (0xF, 2440, ALL & ~(1 << 6), ALL),
                (0xD, 6): None,
            },
        ),
        # Nothing switches these.
        ((bit("xcr0", 0xD, 0, "", 40),), {}),
        ((bit("cpuid", 0, 0, "ebx", 0, 31, "equal"),), {}),
    ],
)
def test_a_guest_that_starts_without(bits: tuple[Difference, ...], rows: Mapping[tuple[int, int], Row]) -> None:
    found = {**TABLE, **rows}
    assert without(guest_with(TABLE), bits).table == {key: row for key, row in found.items() if row is not None}


def test_a_component_without_a_sub_leaf_goes_as_well() -> None:
    assert without(guest_with({(0xD, 0): (0x207, 0, 0, 0)}), (bit("xcr0", 0xD, 0, "", 9),)).table == {
        (0xD, 0): (7, 0, 0, 0)
    }


def test_bits_of_feature_msrs_that_go() -> None:
    guest = guest_with(TABLE, {0x10A: 0b1111, 0xCF: 0b11})
    found = without(guest, (bit("msr", 0x10A, 0, "", 1), bit("msr", 0x10A, 0, "", 2)))
    assert (found.msrs, found.table) == ({0x10A: 0b1001, 0xCF: 0b11}, TABLE)


# Whether it helps


@pytest.mark.parametrize(
    ("guests", "hosts", "place", "helped"),
    [
        (57, 48, LINEAR, True),
        (57, 32, LINEAR, False),
        (57, 48, Place("cpuid", *LA57, 16), True),
        (57, 32, Place("cpuid", *LA57, 16), True),
        # What was not in the way is in it now: a guest that was told of fewer bits than LA57 has.
        (32, 40, Place("cpuid", *LA57, 16), False),
    ],
)
def test_a_change_helps_where_nothing_is_in_the_way_afterwards(
    guests: int, hosts: int, place: Place, helped: bool
) -> None:
    table = {(7, 0): (0, 0, 1 << 16, 0), WIDTHS: (guests << 8 | 40, 0, 0, 0)}
    host = showing({(7, 0): (0, 0, 0, 0), WIDTHS: (hosts << 8 | 40, 0, 0, 0)})
    made = migrate(guest_with(table), host, VMMS["qemu"])
    assert helps(made, next(found for found in made.blockers if found.place == place)) is helped


def test_what_no_switch_takes_is_still_there() -> None:
    made = migrate(guest_with({(0xD, 0): (0, 0, 0, 1 << 8)}), silicon("6.18"), VMMS["qemu"])
    (found,) = (found for found in made.blockers if found.place.low == 40)
    assert not helps(made, found)


# Which kernels would take a call


@cache
def guest_of(word: str) -> Guest:
    capture = capture_of(f"sample:{word}")
    return guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)


def moved(source: str, host: str, vmm: str) -> Migration:
    """``silicon@`` and a release: the source's own CPU, which is known."""
    name, _, release = host.partition("@")
    to = silicon(release, _TSX_CTRL) if name == "silicon" else destination_of(host, "", NO_OPTIONS)
    return migrate(guest_of(source), to, VMMS[vmm])


def taken(made: Migration) -> dict[str, tuple[str, ...]]:
    return {call.step: kernels_that_take(made, call) for call in made.calls if not call.accepted}


@pytest.mark.parametrize(
    ("source", "host", "vmm", "expected"),
    [
        # CET of guests came in 6.18; MSR_LASTINTFROMIP is one of the list, and taken, from 7.1 on.
        ("sapphire-rapids/linux-6.18", "silicon@6.1", "firecracker", {"msrs": ("7.1", "7.2", "7.3")}),
        # Before AMX there was nothing to ask permission for, and KVM_SET_CPUID2 took any leaf 0xD.
        (
            "sapphire-rapids/linux-6.18", "ice-lake@6.1", "firecracker",
            {"permission": (), "cpuid": ("5.10",), "msrs": ()},
        ),
        # Cloud Hypervisor sends the guest's CPUID, with the PMU that Milan lacks; QEMU leaves that out.
        ("epyc-genoa/linux-6.18", "milan@6.18", "cloud-hypervisor", {"msrs": ("6.12",)}),
        ("epyc-genoa/linux-6.18", "milan@6.18", "qemu", {"msrs": ()}),
    ],
)  # fmt: skip
def test_the_kernels_that_take_a_call_are_those_of_whole_verdicts(
    source: str, host: str, vmm: str, expected: Mapping[str, tuple[str, ...]]
) -> None:
    made = moved(source, host, vmm)
    assert taken(made) == expected
    whole: dict[str, list[str]] = {step: [] for step in expected}
    refused = {call.step: {index for index, _ in call.refused} for call in made.calls}
    for release, kvm in made.destination.on_kernels.items():
        on = migrate(made.guest, Destination(host, kvm, is_raw=made.destination.is_raw), VMMS[vmm])
        for call in (call for call in on.calls if call.step in expected):
            others = {index for index, _ in call.refused}
            if call.accepted or (refused[call.step] and not refused[call.step] & others):
                whole[call.step].append(release)
    assert {step: tuple(releases) for step, releases in whole.items()} == expected
    assert {kernels_that_take(made, call) for call in made.calls if call.accepted} <= {()}


def test_a_call_is_known_under_its_older_name() -> None:
    """KVM_SET_SREGS2 (5.14) knows one flag; an older kernel has KVM_SET_SREGS, which has none."""
    guest = guest_of("kvm-vcpus/sapphire-rapids-linux-7.2")
    sregs2 = bytearray(guest.saved.sregs2 or b"")
    sregs2[280] = 2
    guest = guest._replace(saved=guest.saved._replace(sregs2=bytes(sregs2)))
    made = migrate(guest, silicon("6.18"), VMMS["qemu"])
    assert kernels_that_take(made, next(call for call in made.calls if call.step == "sregs2")) == ("5.10",)


@pytest.mark.parametrize(("line", "releases"), [("", AFTER_6_17), ("host", AFTER_6_17), ("host,-cet-ss,-cet-ibt", ())])
def test_another_kernel_has_the_line_that_qemu_makes_there(line: str, releases: tuple[str, ...]) -> None:
    """CR4.CET is taken where the guest's CPUID has CET there: not before 6.18, nor with a line that has it off."""
    guest = guest_of("kvm-vcpus/sapphire-rapids-linux-7.2")
    sregs2, leaf_7 = bytearray(guest.saved.sregs2 or b""), guest.table[7, 0]
    sregs2[248 + 2] |= 1 << 23 - 16
    saved = guest.saved._replace(sregs2=bytes(sregs2), sregs=bytes(sregs2[:312]))
    table = {**guest.table, (7, 0): (leaf_7[0], leaf_7[1], leaf_7[2] | 1 << 7, leaf_7[3])}
    guest = guest._replace(saved=saved).with_table(table)
    host = silicon("6.1")
    made = migrate(guest, host, VMMS["qemu"], made=realized(line, host.offer) if line else None)
    assert kernels_that_take(made, next(call for call in made.calls if call.step == "sregs2")) == releases


def test_an_msr_that_qemu_leaves_out_is_not_refused_there() -> None:
    """5.10 does not know IA32_XFD, nor list it, so QEMU does not set it."""
    guest = guest_with({(1, 0): (0, 0, 0, 0)}, {0x1C4: 1, 0x10: 7})._replace(of_qemu=True)
    made = migrate(guest, silicon("6.18"), VMMS["qemu"])
    assert kernels_that_take(made, made.calls[-1]) == ("5.10",)


def test_a_newer_update_of_the_same_series_is_not_named() -> None:
    """6.12.117 takes the MSRs of last branches, an early 6.12 does not: that is the host's own series."""
    guest = guest_of("kvm-vcpus/sapphire-rapids-linux-7.2")
    branches = tuple(row for row in guest.saved.msrs if 0x1DB <= row[0] <= 0x1DE)
    guest = guest._replace(saved=guest.saved._replace(msrs=branches))
    for release, expected in (("6.12.5", ("7.1", "7.2", "7.3")), ("6.16", ("6.12", "7.1", "7.2", "7.3"))):
        assert taken(migrate(guest, silicon(release), VMMS["firecracker"])) == {"msrs": expected}


def test_the_answers_of_other_kernels_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = moved("kvm-vcpus/sapphire-rapids-linux-7.2", "silicon@6.18", "qemu")
    assert [call.step for call in made.calls if not call.accepted] == ["msrs"] != [made.calls[-1].step]
    found = taken(made)
    assert {one.calls[-1].step for one in made.again.on_kernel.values()} == {"msrs"}, "nothing later has to be known"
    assert tuple(made.again.on_kernel) == found["msrs"] != ()
    monkeypatch.setattr("inspector.machine.x86.migrate.remedy.restored", None)
    monkeypatch.setattr("inspector.machine.x86.migrate.remedy._never_taken", lambda *_: True)
    assert taken(made) == found
