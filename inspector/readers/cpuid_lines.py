"""What one line of a CPUID dump says: which CPU follows, a leaf, an MSR, an ID register.

``cpuid -r``, InstLatx64 (AIDA64) and libcpuid, of every age: with and without sub-leaf numbers
and headings.
"""

from __future__ import annotations

import re

from inspector.capture.host import CpuidValues
from layouts.arm64.kvm_ids import id_of_name
from layouts.light import NamedTuple


class Heading(NamedTuple):
    """A CPU begins; ``name`` is empty where the line does not number it, ``machine`` is of no one CPU."""

    name: str = ""
    machine: bool = False


class Leaf(NamedTuple):
    """A CPUID leaf; ``subleaf`` is None where the line does not tell it."""

    leaf: int
    subleaf: int | None
    values: CpuidValues


class Msr(NamedTuple):
    """An MSR; ``value`` is None where the read failed."""

    number: int
    value: int | None


class IdRegister(NamedTuple):
    """An arm64 ID register by its KVM id."""

    register_id: int
    value: int


class Word(NamedTuple):
    """What the dump says of itself (``version=0.7.0``)."""

    text: str


Line = Heading | Leaf | Msr | IdRegister | Word

_H = "[0-9a-f]"
_NUMBERED = re.compile(
    r"CPU(?: (?P<cpu>\d{1,6}))?:"
    r"|[-_=\[ ]*(?:(?:CPUID|MSR)(?: Registers)? ?/ ?)?Logical CPU #?(?P<logical>\d{1,6})[-_=\]: ]*"
    r"|[-_=\[ ]*CPU ?#(?P<hash>\d{1,6})(?: Aff(?:inity ?)?Mask:? ?\w{1,20})?[-_=\]: ]*"
    r"|(?:CPUID|MSR) Registers \(CPU #(?P<round>\d{1,6})(?: \w{1,20})?\):?",
    re.IGNORECASE,
)
_AFFINITY = re.compile(
    rf"(?:Group:? ?(?:0x)?(?P<group>{_H}{{1,4}})\W+)?Aff(?:inity ?)?Mask:?\s*(?:0x)?(?P<mask>{_H}{{1,16}})(?:\s.*)?",
    re.IGNORECASE,
)
_MACHINE = re.compile(r"[-_=\[ ]*MSR Registers[-_=\]: ]*", re.IGNORECASE)
_ETALLEN = re.compile(
    rf"0x({_H}{{8}}) 0x({_H}{{2,8}}): eax=0x({_H}{{8}}) ebx=0x({_H}{{8}}) ecx=0x({_H}{{8}}) edx=0x({_H}{{8}})", re.I
)
_INSTLAT = re.compile(rf"CPUID ({_H}{{8}})[:\s]\s*({_H}{{8}})-({_H}{{8}})-({_H}{{8}})-({_H}{{8}})(\s.*)?", re.I)
_SUBLEAF = re.compile(rf"\[SL ({_H}{{2,8}})\]", re.I)
_ARRAY = re.compile(rf"(\w{{1,20}})\[(\d{{1,5}})\]=({_H}{{1,16}}) ({_H}{{1,16}}) ({_H}{{1,16}}) ({_H}{{1,16}})", re.I)
_FUNCTION = re.compile(r"[a-z]+_fn(?:(\d{1,3})|([0-9a-f]{1,8})h)")
_MSR = re.compile(
    rf"MSR (?:0x)?({_H}{{1,8}})[:=\s]\s*"
    rf"(?:({_H}{{4}})-({_H}{{4}})-({_H}{{4}})-({_H}{{4}})|({_H}{{8}})-({_H}{{8}})|(?:0x)?({_H}{{1,16}})|<? ?FAILED ?>?)"
    rf"(?:\s.*)?",
    re.I,
)
_ARM = re.compile(rf"arm_(\w{{3,20}})=(?:0x)?({_H}{{1,16}})", re.I)
_WORD = re.compile(r"(version|build_date|compiler)=([\w. :+-]{1,60})")

#: libcpuid's arrays whose elements are leaves: the leaf of element 0.
_LEAF_ARRAYS = {"basic_cpuid": 0, "ext_cpuid": 0x8000_0000}

#: A line that begins like data but cannot be read is a fault, not a remark.
_BROKEN = re.compile(
    rf"0x{_H}{{8}} 0x|CPUID {_H}{{8}}\b|MSR {_H}{{8}}\b|(basic|ext)_cpuid\[|(intel|amd)_fn\w+\["
    r"|arm_(midr|id_)(?!\w*=[0-9a-fx]+$)",
    re.I,
)


def broken(text: str) -> bool:
    """A line of data that is torn or damaged."""
    return bool(_BROKEN.match(text))


def parse_line(text: str) -> Line | None:
    """What a stripped line says; None for what is none of these."""
    first = text[:1]
    if first in "0":
        return _etallen(text)
    if first in "abei":
        return _libcpuid(text)
    if first in "Mm" and (found := _MSR.fullmatch(text)):
        return _msr(found)
    if first in "Cc" and (found := _INSTLAT.fullmatch(text)):
        values = (int(found[2], 16), int(found[3], 16), int(found[4], 16), int(found[5], 16))
        subleaf = _SUBLEAF.search(found[6] or "")
        return Leaf(int(found[1], 16), int(subleaf[1], 16) if subleaf else None, values)
    if first in "vc" and (found := _WORD.fullmatch(text)):
        return Word(f"{found[1]} {found[2]}")
    return _heading(text)


def _heading(text: str) -> Heading | None:
    if found := _NUMBERED.fullmatch(text):
        number = next((part for part in found.groups() if part is not None), None)
        return Heading("CPU" if number is None else f"CPU {int(number)}")
    if found := _AFFINITY.fullmatch(text):
        mask = int(found["mask"], 16)
        if mask.bit_count() != 1:
            return Heading()
        return Heading(f"CPU {int(found['group'] or '0', 16) * 64 + mask.bit_length() - 1}")
    return Heading(machine=True) if _MACHINE.fullmatch(text) else None


def _etallen(text: str) -> Leaf | None:
    found = _ETALLEN.fullmatch(text)
    if not found:
        return None
    leaf, subleaf, eax, ebx, ecx, edx = (int(part, 16) for part in found.groups())
    return Leaf(leaf, subleaf, (eax, ebx, ecx, edx))


def _msr(found: re.Match[str]) -> Msr:
    parts = [part for part in found.groups()[1:] if part is not None]
    return Msr(int(found[1], 16), int("".join(parts), 16) if parts else None)


def _libcpuid(text: str) -> Line | None:
    if found := _ARM.fullmatch(text):
        return _id_register(found[1].upper(), int(found[2], 16))
    if found := _WORD.fullmatch(text):
        return Word(f"{found[1]} {found[2]}")
    found = _ARRAY.fullmatch(text)
    if not found:
        return None
    name, number = found[1].lower(), int(found[2])
    eax, ebx, ecx, edx = (int(part, 16) & 0xFFFF_FFFF for part in found.groups()[2:])
    if name in _LEAF_ARRAYS:
        return Leaf(_LEAF_ARRAYS[name] + number, 0, (eax, ebx, ecx, edx))
    function = _FUNCTION.fullmatch(name)
    if not function:
        return None
    leaf = int(function[1]) if function[1] else int(function[2], 16)
    return Leaf(leaf, number, (eax, ebx, ecx, edx))


def _id_register(name: str, value: int) -> IdRegister | None:
    register_id = id_of_name(f"{name}_EL1") or id_of_name(f"{name}_EL0")
    return IdRegister(register_id, value) if register_id is not None else None
