"""What two kernels give to guests of one CPU, side by side: what an upgrade of the kernel alone changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.kvm.assumed import assumed_kvm
from inspector.machine.x86.kvm.capabilities import check_extension, hangs_on_build
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.msrs import lists
from inspector.machine.x86.kvm.supported_cpuid import supported_table
from layouts.light import Record
from layouts.vocabulary import Bits, mask_of
from layouts.x86.capabilities import NUMBERS
from layouts.x86.cpuid import cpuid_sections
from layouts.x86.features import FEATURES, REGISTERS, WORDS
from layouts.x86.msrs import msr_name
from layouts.x86.vcpu_rules import vcpu_rules
from layouts.x86.xsave import DYNAMIC

_M64 = (1 << 64) - 1
_ZERO = (0, 0, 0, 0)
#: What follows the host and not the kernel: how many CPUs are online.
_NOT_OF_KERNELS = frozenset({"NR_VCPUS"})


class Change(NamedTuple):
    """One thing that guests have otherwise; ``group`` is its kind. Empty ``before`` or ``after``: not there."""

    group: str
    name: str
    before: str
    after: str


def changes(cpu: Cpuid, older: str, newer: str) -> tuple[Change, ...]:
    """What guests of a CPU have otherwise under the newer release. Raises UnknownReleaseError."""
    before, after = assumed_kvm(cpu, older), assumed_kvm(cpu, newer)
    return (
        *_cpuid(before, after),
        *_components(before, after),
        *_msrs(before, after),
        *_capabilities(before, after),
        *_rules(before, after),
    )


def _cpuid(before: Kvm, after: Kvm) -> Iterator[Change]:
    old, new = (supported_table(kvm, DYNAMIC) for kvm in (before, after))
    names = {tuple(place): name for name, place in FEATURES.items()}
    for key in sorted({*old, *new}):
        if key not in old or key not in new:
            yield Change("cpuid", f"CPUID.{key[0]:X}.{key[1]:X}", _registers(old.get(*key)), _registers(new.get(*key)))
            continue
        for register, word in enumerate(REGISTERS):
            a, b = ((table.get(*key) or _ZERO)[register] for table in (old, new))
            place = f"CPUID.{key[0]:X}.{key[1]:X}.{word.upper()}"
            if (*key, register) in WORDS:
                fields = [one for one in _cpuid_fields((*key, register)) if one.width > 1 and one.get(a) != one.get(b)]
                for one in fields:
                    bits = f"{place}[{one.lsb + one.width - 1}:{one.lsb}]"
                    yield Change("cpuid", f"{one.name.upper()} ({bits})", f"{one.get(a):#x}", f"{one.get(b):#x}")
                for bit in (bit for bit in range(32) if ((a ^ b) & ~mask_of(*fields)) >> bit & 1):
                    name = names.get((*key, register, bit), "reserved")
                    yield Change("cpuid", f"{name} ({place}[{bit}])", *_shown(a >> bit & 1, b >> bit & 1))
            elif a != b:
                yield Change("cpuid", place, f"{a:#x}", f"{b:#x}")


def _cpuid_fields(place: tuple[int, ...]) -> list[Bits]:
    """The fields of a register of CPUID that are told in ``layouts/x86/data/cpuid``."""
    leaf, subleaf, register = place
    sections = cpuid_sections().get((leaf, REGISTERS[register]), ())
    return [one for section in sections if subleaf in section.subleaves for one in section.bits]


def _registers(values: CpuidValues | None) -> str:
    return " ".join(f"{value:#x}" for value in values) if values is not None else ""


def _shown(before: int, after: int) -> tuple[str, str]:
    return "shown" if before else "", "shown" if after else ""


def _components(before: Kvm, after: Kvm) -> Iterator[Change]:
    for group, a, b in (("xcr0", before.xcr0, after.xcr0), ("xss", before.xss, after.xss)):
        if a != b:
            yield Change(group, group.upper(), f"{a:#x}", f"{b:#x}")


def _msrs(before: Kvm, after: Kvm) -> Iterator[Change]:
    for group, listed in (("msr", _saved), ("feature-msr", _features)):
        old, new = listed(before), listed(after)
        for index in sorted(old ^ new):
            told = ("listed" if index in which else "" for which in (old, new))
            yield Change(group, f"{msr_name(index)} ({index:#x})", *told)


def _saved(kvm: Kvm) -> set[int]:
    return {*lists.saved(kvm, kvm.msr_rules), *lists.emulated(kvm)}


def _features(kvm: Kvm) -> set[int]:
    return set(lists.features(kvm, kvm.msr_rules))


def _capabilities(before: Kvm, after: Kvm) -> Iterator[Change]:
    old, new = check_extension(before), check_extension(after)
    for number in sorted({*old, *new}):
        if old.get(number) != new.get(number) and NUMBERS[number] not in _NOT_OF_KERNELS:
            values = (f"{table[number]:#x}" if number in table else "" for table in (old, new))
            name = NUMBERS[number]
            option = hangs_on_build(after, name).partition(":")[0]
            built = f", as Debian builds it: {option}" if option else ""
            yield Change("capability", f"KVM_CAP_{name} ({number}{built})", *values)


def _rules(before: Kvm, after: Kvm) -> Iterator[Change]:
    """The switches of the rules: each is told where its table stands (layouts/x86)."""
    yield from _switches("msr-rule", before.msr_rules, after.msr_rules)
    yield from _switches("vcpu-rule", vcpu_rules(before.kernel.name), vcpu_rules(after.kernel.name))
    for name, told in (("CR4 reserved for every guest", "cr4_reserved"), ("EFER bits known", "efer_known")):
        a, b = getattr(before, told) & _M64, getattr(after, told) & _M64
        if a != b:
            yield Change("vcpu-rule", name, f"{a:#x}", f"{b:#x}")
    if before.checks_efer_in_sregs != after.checks_efer_in_sregs:
        yield Change("vcpu-rule", "KVM_SET_SREGS checks EFER", *_words((before, after)))


def _words(both: Iterable[Kvm]) -> tuple[str, str]:
    before, after = ("yes" if kvm.checks_efer_in_sregs else "no" for kvm in both)
    return before, after


def _switches(group: str, old: Record, new: Record) -> Iterator[Change]:
    for name in old.field_names():
        a, b = getattr(old, name), getattr(new, name)
        if a != b:
            yield Change(group, name, _text(a), _text(b))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value & _M64:#x}" if value > 9 or value < 0 else str(value)
    return str(value) or "none"


def of_both_vendors(found: Mapping[str, tuple[Change, ...]]) -> Iterator[tuple[str, Change]]:
    """Changes by vendor, once where all vendors have them: the vendor's name, empty for all."""
    tables = list(found.values())
    everywhere = [change for change in tables[0] if all(change in table for table in tables[1:])]
    for change in everywhere:
        yield "", change
    for vendor, table in found.items():
        for change in table:
            if change not in everywhere:
                yield vendor, change
