"""What calls of KVM leave behind: for each vCPU the state that was last set, or read, as far as the log prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call, Printed
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Area, Origin
from inspector.readers.logs.found import MOST, State
from inspector.readers.named_values import Sized, named_area
from inspector.readers.synthesized import cpuid_area

_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
#: Bytes of members of struct kvm_segment, kvm_dtable and kvm_sregs (arch/x86/include/uapi/asm/kvm.h).
_SIZES = {"base": 8, "limit": 4, "selector": 2}
_TABLES = ("gdt", "idt")
_CONTROLS = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")
_REGISTERS = ("KVM_SET_REGS", "KVM_GET_REGS")
_SPECIAL = ("KVM_SET_SREGS", "KVM_GET_SREGS", "KVM_SET_SREGS2", "KVM_GET_SREGS2")
#: Calls of a vCPU's state whose bytes strace does not print.
_UNPRINTED = ("KVM_SET_MSRS", "KVM_SET_XSAVE", "KVM_SET_XCRS", "KVM_SET_ONE_REG", "KVM_SET_VCPU_EVENTS", "KVM_SET_FPU")


class _Life(NamedTuple):
    number: int
    values: dict[str, Sized]
    cpuid: dict[str, Mapping[tuple[int, int], CpuidValues]]


def cpuid_given(given: Printed) -> dict[tuple[int, int], CpuidValues] | None:
    """The table that a call passes or gives back; None where not all of it is printed."""
    if not isinstance(given, Mapping):
        return None
    entries = given.get("entries")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    leaves: dict[tuple[int, int], CpuidValues] = {}
    for entry in entries:
        words = [entry.get(name) for name in _MEMBERS] if isinstance(entry, Mapping) else [None]
        if not all(isinstance(word, int) and 0 <= word < 1 << 32 for word in words):
            return None
        leaf, subleaf, eax, ebx, ecx, edx = (word for word in words if isinstance(word, int))
        leaves.setdefault((leaf, subleaf), (eax, ebx, ecx, edx))
    return leaves


_MEMBERS = ("function", "index", "eax", "ebx", "ecx", "edx")


def lives_of(calls: Sequence[Call], file: str) -> tuple[list[State], list[Area], Cpuid | None, list[str]]:
    """vCPUs, the CPUID that KVM supports, and what is not in the log."""
    lives: dict[tuple[int, int], _Life] = {}
    current: dict[int, _Life] = {}
    supported: dict[tuple[int, int], CpuidValues] | None = None
    for call in calls:
        if call.error:
            continue
        if call.name == "KVM_CREATE_VCPU" and call.result is not None and len(lives) < MOST:
            number = call.given if isinstance(call.given, int) else len(lives)
            current[call.result] = lives[call.descriptor, number] = _Life(number, {}, {})
        elif call.name == "KVM_GET_SUPPORTED_CPUID":
            supported = cpuid_given(call.given) or supported
        elif call.descriptor in current:
            _take(current[call.descriptor], call)
    states = [
        State(f"cpu {life.number}", "x86", areas) for life in lives.values() if (areas := _areas(life, file)) or life
    ]
    context = []
    if supported:
        title = "KVM_GET_SUPPORTED_CPUID: what this host's KVM can give"
        context.append(cpuid_area(Cpuid(supported), Origin(file, 0), title, "supported"))
    hidden = sorted({call.name for call in calls if call.name in _UNPRINTED and isinstance(call.given, int)})
    notices = (
        [f"{', '.join(hidden)}: strace prints the address alone, so what they set is not captured"] if hidden else []
    )
    return states, context, None, notices


def _areas(life: _Life, file: str) -> list[Area]:
    areas = []
    if "set" in life.cpuid:
        areas.append(cpuid_area(Cpuid(life.cpuid["set"]), Origin(file, 0), "KVM_SET_CPUID2"))
    if life.values:
        areas.append(named_area(life.values, file, "registers, as last set or read"))
    return areas


def _take(life: _Life, call: Call) -> None:
    given = call.given
    if call.name in ("KVM_SET_CPUID2", "KVM_GET_CPUID2"):
        leaves = cpuid_given(given)
        if leaves:
            life.cpuid["set"] = leaves
    elif isinstance(given, Mapping) and call.name in _REGISTERS:
        _forget(life, "regs.")
        life.values.update(_numbers("regs", given, dict.fromkeys(given, 8)))
    elif isinstance(given, Mapping) and call.name in _SPECIAL:
        _forget(life, "sregs.")
        for name in _SEGMENTS + _TABLES:
            members = given.get(name)
            if isinstance(members, Mapping):
                sizes = {member: _SIZES.get(member, 1) for member in members}
                if name in _TABLES:
                    sizes["limit"] = 2
                life.values.update(_numbers(f"sregs.{name}", members, sizes))
        life.values.update(_numbers("sregs", given, dict.fromkeys(_CONTROLS, 8)))


def _forget(life: _Life, prefix: str) -> None:
    """What was printed of the structure before: where strace leaves members out, they are not known any more."""
    for path in [path for path in life.values if path.startswith(prefix)]:
        del life.values[path]


def _numbers(prefix: str, members: Mapping[str, Printed], sizes: Mapping[str, int]) -> dict[str, Sized]:
    """Paths of the numbers among members. What is no number, or too large, is not taken."""
    found: dict[str, Sized] = {}
    for name, size in sizes.items():
        value = members.get(name)
        if isinstance(value, int) and 0 <= value < 1 << 8 * size:
            found[f"{prefix}.{name}"] = (value, size)
    return found
