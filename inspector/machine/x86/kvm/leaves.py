"""KVM's leaves of a guest's CPUID: looked at where KVM itself shows them, also where Hyper-V's have pushed them up."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import CpuidValues
from layouts.x86.cpuid import HYPERVISOR_LEAF, kvm_base

Table = Mapping[tuple[int, int], CpuidValues]


def is_hypervisors(leaf: int) -> bool:
    """A leaf that no CPU has."""
    return leaf >> 28 == HYPERVISOR_LEAF >> 28


def leaf_in(table: Table, leaf: int) -> int:
    """Where a guest's table has a leaf that KVM shows."""
    base = kvm_base(table) if is_hypervisors(leaf) else None
    return leaf if base is None else leaf - HYPERVISOR_LEAF + base


def as_shown(table: Table) -> Table:
    """A guest's table with KVM's leaves where KVM shows them, and without those of other hypervisors."""
    base = kvm_base(table)
    if base == HYPERVISOR_LEAF:
        return table
    found = {key: row for key, row in table.items() if not is_hypervisors(key[0])}
    if base is not None:
        shown = ((leaf - base + HYPERVISOR_LEAF, subleaf, row) for (leaf, subleaf), row in table.items())
        found.update({(leaf, subleaf): row for leaf, subleaf, row in shown if leaf >> 8 == HYPERVISOR_LEAF >> 8})
    return found
