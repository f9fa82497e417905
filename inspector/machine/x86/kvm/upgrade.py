"""What another kernel on the same host changes of what guests are shown: predicted from what the older one shows.

The CPU itself is known as far as the older kernel showed it, and a named CPU of its signature tells more. What the
older kernel hides, and nobody else tells, is not known: a bit that the newer one passes on where the CPU has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.kvm.assumed import assumed_kvm
from inspector.machine.x86.kvm.module import Kvm, Processor
from inspector.machine.x86.kvm.msrs import lists
from inspector.machine.x86.kvm.supported_cpuid import supported_table
from layouts.x86.features import FEATURES, WORDS
from layouts.x86.xsave import BY_NUMBER, DYNAMIC

_AMD = ("AuthenticAMD", "HygonGenuine")
_ZERO: CpuidValues = (0, 0, 0, 0)
_M32 = 0xFFFFFFFF
#: What KVM or the VMM adds for a guest: its CPUID does not tell that the CPU has it.
_OF_A_GUEST = ("HYPERVISOR", "OSXSAVE")
#: KVM tells each vendor's guests in the other's bits what Linux can do (kvm_set_cpu_caps).
_OF_AMD = ("AMD_IBPB", "AMD_IBRS", "AMD_STIBP", "AMD_SSBD", "AMD_SSB_NO", "AMD_IBPB_RET")
_OF_INTEL = ("SPEC_CTRL", "INTEL_STIBP", "SPEC_CTRL_SSBD", "ARCH_CAPABILITIES")
#: Leaves whose EAX is the highest leaf or sub-leaf; leaf 0x24 has its version in EBX, 0x8000_0022 its counters.
_HIGHEST = (0, 7, 0x80000000)
_NUMBERS = {(0x24, 0): (1, 0xFF), (0x80000022, 0): (1, 0xF)}
_Rows = dict[tuple[int, int], list[int]]


class Upgrade(NamedTuple):
    """The guest's table under the newer kernel, the bits of it that hang on the CPU, and MSRs that come and go.

    ``unknown`` are bits that are otherwise than in ``cpuid`` where the CPU has what the older kernel does not show,
    with leaves that there are only then; ``maybe`` are MSRs that come, or do not, with such bits.
    """

    cpuid: Cpuid
    unknown: Mapping[tuple[int, int], CpuidValues]
    added: tuple[int, ...]
    removed: tuple[int, ...]
    maybe: tuple[int, ...]


def upgrade(
    shown: Cpuid,
    older: str,
    newer: str,
    *,
    named: Cpuid | None = None,
    processor: Processor | None = None,
    guest_perm: int = DYNAMIC,
) -> Upgrade:
    """What guests of the same VMM see after the host's kernel changed. Raises UnknownReleaseError.

    ``shown`` is a guest's table under the older release: what the VMM made of it stays as it is. ``guest_perm`` are
    the dynamic components that the VMM asks Linux for.
    """
    cpu = cpu_behind(shown, named)
    nested = any(_bit(shown, feature) for feature in ("SVM", "VMX"))
    parameters = {} if nested else {"nested": "N"}
    before, after = (assumed_kvm(cpu, each, parameters=parameters, processor=processor) for each in (older, newer))
    most = assumed_kvm(_at_most(cpu, before, after), newer, parameters=after.parameters, processor=processor)
    old, new, full = (supported_table(kvm, guest_perm) for kvm in (before, after, most))
    rows = {
        key: _row(_register(key, register, shown, old, new) for register in range(4))
        for key in {*shown, *new}
        if (key in shown and (key in new or key not in old)) or (key in new and key not in old)
    }
    unknown = {
        key: _row(a ^ b for a, b in zip(new.get(*key) or _ZERO, full.get(*key) or _ZERO, strict=True)) for key in full
    }
    listed = [_listed(kvm) for kvm in (before, after, most)]
    return Upgrade(
        Cpuid(rows),
        {key: values for key, values in unknown.items() if any(values) or key not in new},
        tuple(sorted(listed[1] & listed[2] - listed[0])),
        tuple(sorted(listed[0] - listed[1])),
        tuple(sorted(listed[1] ^ listed[2])),
    )


def _register(key: tuple[int, int], register: int, shown: Cpuid, old: Cpuid, new: Cpuid) -> int:
    """Bits of features follow the kernels one by one; another value does where the VMM had left it alone."""
    value, before, after = ((table.get(*key) or _ZERO)[register] for table in (shown, old, new))
    if (*key, register) in WORDS:
        changed = before ^ after
        return value & ~changed | after & changed
    return after if value == before else value


def cpu_behind(shown: Cpuid, named: Cpuid | None = None) -> Cpuid:
    """What is known of the CPU under a guest's table: what KVM passed on, and what a named CPU has besides."""
    rows = _rows_of(shown)
    for name in (*_OF_A_GUEST, *(_OF_INTEL if shown.vendor() in _AMD else _OF_AMD)):
        _clear(rows, name)
    if named is not None:
        _add(rows, named)
    return _cpuid(rows)


def _add(rows: _Rows, named: Cpuid) -> None:
    """The features of a named CPU, its highest leaves, and its XSAVE components and tiles."""
    for leaf, subleaf, register in WORDS:
        values = named.get(leaf, subleaf)
        if values and values[register]:
            _at(rows, leaf, subleaf)[register] |= values[register]
    for leaf in _HIGHEST:
        told = named.get(leaf)
        if told is not None and (leaf, 0) in rows:
            rows[leaf, 0][0] = max(rows[leaf, 0][0], told[0])
    for key, values in named.leaves.items():
        if key[0] in (0xD, 0x1D, 0x1E) and not any(rows.get(key, _ZERO)):
            rows[key] = list(values)
    for subleaf, registers in ((0, (0, 3)), (1, (2, 3))):
        told, row = named.get(0xD, subleaf), rows.get((0xD, subleaf))
        for register in registers if told is not None and row is not None else ():
            row[register] |= told[register]  # type: ignore[index]


def _at_most(cpu: Cpuid, older: Kvm, newer: Kvm) -> Cpuid:
    """The same CPU with everything that the older kernel would not have shown."""
    rows = _rows_of(cpu)
    would_show = supported_table(_everything(cpu, older))
    for leaf, subleaf, register in WORDS:
        shown = (would_show.get(leaf, subleaf) or _ZERO)[register]
        _at(rows, leaf, subleaf)[register] |= ~shown & _M32
    for name in ("HYPERVISOR", *((*_OF_INTEL, "ARCH_LBR") if cpu.vendor() in _AMD else _OF_AMD[:-1])):
        _clear(rows, name)
    for leaf in _HIGHEST:
        if (leaf, 0) in rows and rows[leaf, 0][0] >= would_show.leaves[leaf, 0][0]:
            rows[leaf, 0][0] = leaf | 0xFF
    for key, (register, mask) in _NUMBERS.items():
        if key not in would_show or key not in cpu:
            _at(rows, *key)[register] |= mask
    hidden = newer.kernel.kvm_xss & ~older.kernel.kvm_xss
    _at(rows, 0xD, 1)[2] |= hidden
    for number in (number for number in BY_NUMBER if hidden >> number & 1):
        rows.setdefault((0xD, number), [BY_NUMBER[number].size_bytes, 0, 1, 0])
    return _cpuid(rows)


def _everything(cpu: Cpuid, kvm: Kvm) -> Kvm:
    """The same kernel on a CPU that has every feature."""
    rows = _rows_of(cpu)
    for leaf, subleaf, register in WORDS:
        _at(rows, leaf, subleaf)[register] = _M32
    for leaf in _HIGHEST:
        _at(rows, leaf, 0)[0] = leaf | 0xFF
    return assumed_kvm(
        _cpuid(rows), ".".join(map(str, kvm.release)), parameters=kvm.parameters, processor=kvm.processor
    )


def _bit(cpuid: Cpuid, feature: str) -> bool:
    leaf, subleaf, register, bit = FEATURES[feature]
    return bool((cpuid.get(leaf, subleaf) or _ZERO)[register] >> bit & 1)


def _clear(rows: _Rows, feature: str) -> None:
    leaf, subleaf, register, bit = FEATURES[feature]
    if (leaf, subleaf) in rows:
        rows[leaf, subleaf][register] &= ~(1 << bit)


def _at(rows: _Rows, leaf: int, subleaf: int) -> list[int]:
    """A row, which is made where it is not there."""
    return rows.setdefault((leaf, subleaf), [0, 0, 0, 0])


def _rows_of(cpuid: Cpuid) -> _Rows:
    return {key: list(values) for key, values in cpuid.leaves.items()}


def _cpuid(rows: _Rows) -> Cpuid:
    return Cpuid({key: _row(row) for key, row in rows.items()})


def _row(values: Iterable[int]) -> CpuidValues:
    eax, ebx, ecx, edx = values
    return eax, ebx, ecx, edx


def _listed(kvm: Kvm) -> set[int]:
    """KVM_GET_MSR_INDEX_LIST."""
    return {*lists.saved(kvm, kvm.msr_rules), *lists.emulated(kvm)}
