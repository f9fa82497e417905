"""The CPUID of a vCPU that moves: its rows, where KVM's leaves are in it, and its bits against a host's."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.migrate import start
from inspector.machine.x86.migrate.bits import in_table
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, entry_of
from inspector.machine.x86.migrate.kvm_leaves import as_shown, leaf_in
from inspector.machine.x86.migrate.lost import has
from inspector.machine.x86.migrate.remedy import without
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import silicon

FIRST, FEATURES, PUSHED, PUSHED_FEATURES = ((leaf, 0) for leaf in (0x40000000, 0x40000001, 0x40000100, 0x40000101))
KVM, HYPER_V = ((0, *struct.unpack("<3I", name)) for name in (b"KVMKVMKVM\0\0\0", b"Microsoft Hv"))
HV_1 = (0x31237648, 0, 0, 0)
UNKNOWN_OF_KVM = 1 << 31


def guest_with(table: Mapping[tuple[int, int], CpuidValues], msrs: Mapping[int, int] | None = None) -> Guest:
    saved = NOTHING._replace(msrs=tuple((msrs or {}).items()))
    return Guest("g", saved, frozenset(), {}).with_table(table)


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
    assert start.arriving(more, VMMS["qemu"], (bit,), None) == guest.table
    after = without(more, (bit,))
    assert after is not None
    assert after.table == guest.table
    assert has(guest.table, "kvmclock")
    assert not has({**guest.table, PUSHED_FEATURES: (0, 0, 0, 0)}, "kvmclock")


def test_a_guests_table_with_hyper_v_tells_kvms_features_of_its_host() -> None:
    kvm = silicon("6.18").kvm
    told = Cpuid(behind_hyper_v(UNKNOWN_OF_KVM))
    host = Destination("h", kvm, is_raw=False, supported=told, is_guests=True)
    assert host.shown(0x40000001, 0, "eax") == silicon("6.18").shown(0x40000001, 0, "eax") | UNKNOWN_OF_KVM


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
    assert after.saved.cpuid == ((1, 0, 6, 1, 2, 3, 4), (2, 0, 6, 9, 8, 7, 6), (7, 0, 1, 5, 6, 7, 8))
    twice = Guest("g", before._replace(cpuid=(*before.cpuid, before.cpuid[0]._replace(eax=99))), frozenset(), {})
    assert twice.table[2, 0] == (1, 2, 3, 4), "the first of several stands"
