"""How an MSR is set and read by the host: the checks around the rules of each MSR.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), do_set_msr, kvm_do_msr_access, msr_io.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from inspector.machine.outcome import Check, Outcome
from inspector.machine.x86.kvm.msrs.rule import UNKNOWN, VMX_RANGE, Refusal, never_written
from inspector.machine.x86.kvm.msrs.table import table_of
from layouts.light import TYPE_CHECKING
from layouts.x86.msrs import MSR_NAMES

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

#: MAX_IO_MSRS: from this many entries on KVM_SET_MSRS and KVM_GET_MSRS are refused.
MAX_IO_MSRS = 256


_FROZEN = Refusal("the vCPU has not run, and is not in guest mode, or the feature MSR keeps its value")
_NO_NESTED = Refusal("nested virtualization is on")
_TAKEN, _READ = (Check("KVM takes the value", held=True),), (Check("KVM gives the value", held=True),)


def write(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """do_set_msr: set an MSR as the host does; None where KVM took the value."""
    table = table_of(vcpu.kvm)
    if index in table.frozen and table.is_frozen(vcpu):
        if read(vcpu, index) != value:
            return _FROZEN
        if table.rules.frozen_is_not_stored:
            return None
    rule = table.rule(index)
    refusal = UNKNOWN if rule is None else rule.write(vcpu, index, value)
    if refusal is None or not refusal.unsupported:
        return refusal
    if table.ignores or (not value and table.is_zero(index)):
        return None
    return refusal


def never_takes(kvm: Kvm, index: int, value: int) -> bool:
    """KVM refuses a value whatever state a vCPU is in: it has no such MSR, or only reads it."""
    table = table_of(kvm)
    rule = table.rule(index)
    if index in table.frozen or (rule is not None and rule.write is not never_written):
        return False
    return not table.ignores and (bool(value) or not table.is_zero(index))


def read(vcpu: WholeVcpu, index: int) -> int | Refusal:
    """do_get_msr: read an MSR as the host does."""
    table = table_of(vcpu.kvm)
    rule = table.rule(index)
    found = UNKNOWN if rule is None else rule.read(vcpu, index)
    if isinstance(found, int) or not found.unsupported:
        return found
    return 0 if table.ignores or table.is_zero(index) else found


def read_feature(vcpu: WholeVcpu, index: int) -> int | Refusal:
    """KVM_GET_MSRS on /dev/kvm, of which ``vcpu`` gives the host (do_get_feature_msr)."""
    table = table_of(vcpu.kvm)
    found = table.feature(index)
    if found is not None:
        return found
    if table.kvm.is_vmx and index in VMX_RANGE:
        # vmx_get_feature_msr without nested virtualization: no case for ignore_msrs.
        return _NO_NESTED
    listed = table.rules.unsupported_is_zero == "listed" and table.is_zero(index)
    return 0 if listed or table.ignores else UNKNOWN


def name_of(index: int) -> str:
    """The MSR's name, or its number."""
    return MSR_NAMES.get(index, f"MSR {index:#x}")


def source_of(vcpu: WholeVcpu, index: int) -> str:
    """The function whose rule answers."""
    rule = table_of(vcpu.kvm).rule(index)
    return rule.source if rule else "kvm_set_msr_common (x86.c)"


def set_msr(vcpu: WholeVcpu, index: int, value: int) -> Outcome:
    """KVM_SET_MSRS with one entry; refused means that the call counts 0 of 1."""
    refusal = write(vcpu, index, value)
    if refusal is not None:
        return Outcome("short", 1, (Check(refusal.told(index, value), held=False),), source_of(vcpu, index))
    return Outcome("ok", 0, _TAKEN, source_of(vcpu, index), 1)


def get_msr(vcpu: WholeVcpu, index: int) -> Outcome:
    """KVM_GET_MSRS with one entry: its value, or 0 of 1."""
    found = read(vcpu, index)
    if isinstance(found, Refusal):
        return Outcome("short", 1, (Check(found.told(index), held=False),), source_of(vcpu, index))
    return Outcome("ok", 0, _READ, source_of(vcpu, index), found)


def set_msrs(vcpu: WholeVcpu, entries: Iterable[tuple[int, int]]) -> Outcome:
    """KVM_SET_MSRS: entries are set until one is refused; the value is how many were."""
    asked = tuple(entries)
    if len(asked) >= MAX_IO_MSRS:
        return _too_many()
    for done, (index, value) in enumerate(asked):
        refusal = write(vcpu, index, value)
        if refusal is not None:
            text = f"entry {done}, {name_of(index)}: {refusal.told(index, value)}"
            return Outcome("short", len(asked), (Check(text, held=False),), source_of(vcpu, index), done)
    return Outcome("ok", 0, (Check("every entry is taken", held=True),), "msr_io (x86.c)", len(asked))


def get_msrs(vcpu: WholeVcpu, indexes: Sequence[int]) -> tuple[Outcome, tuple[int, ...]]:
    """KVM_GET_MSRS: values up to the first that cannot be read."""
    if len(indexes) >= MAX_IO_MSRS:
        return _too_many(), ()
    values: list[int] = []
    for index in indexes:
        found = read(vcpu, index)
        if isinstance(found, Refusal):
            text = f"entry {len(values)}, {name_of(index)}: {found.told(index)}"
            short = Outcome("short", len(indexes), (Check(text, held=False),), source_of(vcpu, index), len(values))
            return short, tuple(values)
        values.append(found)
    return Outcome("ok", 0, (Check("every entry is read", held=True),), "msr_io (x86.c)", len(values)), tuple(values)


def _too_many() -> Outcome:
    check = Check(f"fewer than {MAX_IO_MSRS} entries", held=False)
    return Outcome("errno", errno.E2BIG, (check,), "msr_io (x86.c)")
