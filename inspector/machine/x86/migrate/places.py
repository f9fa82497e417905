"""Where bits and fields are, and what they are called.

A place is written as JSON has it: ``CPUID.7.0.EBX[16]``, ``CPUID.80000008.0.EAX[7:0]``, ``MSR.10A[5]``, ``XCR0[18]``.
"""

from __future__ import annotations

from layouts.light import NamedTuple, cache, lru_cache
from layouts.x86.combine import FIELDS, IGNORED_BITS, OR_BITS, OR_MSR_BITS, SWITCHED_BITS, Combine, Field
from layouts.x86.cpuid import cpuid_register
from layouts.x86.features import FEATURES, REGISTERS, WORDS
from layouts.x86.models.features import feature_at, msr_feature_at
from layouts.x86.models.features import words as qemu_words
from layouts.x86.msrs import MSR_NAMES
from layouts.x86.xsave import BY_NUMBER

#: Sub-leaves that are components of XSAVE: their own places are XCR0 and XSS.
XSTATE_LEAF = 0xD


class Place(NamedTuple):
    """A bit or a field (``high`` > ``low``). ``kind`` is ``cpuid``, ``msr``, ``xcr0``, ``xss`` or ``xstate``."""

    kind: str
    at: int
    subleaf: int = 0
    register: str = ""
    high: int = 0
    low: int = 0

    @property
    def mask(self) -> int:
        """The bits within the register."""
        return ((1 << self.high - self.low + 1) - 1) << self.low

    @property
    def key(self) -> tuple[int, int, str, int]:
        """A bit of CPUID as tables of features have it."""
        return self.at, self.subleaf, self.register, self.low

    def __str__(self) -> str:
        bits = f"[{self.low}]" if self.high == self.low else f"[{self.high}:{self.low}]"
        if self.kind == "msr":
            return f"MSR.{self.at:X}{bits}"
        if self.kind in ("xcr0", "xss"):
            return f"{self.kind.upper()}{bits}"
        return f"CPUID.{self.at:X}.{self.subleaf:X}.{self.register.upper()}{bits}"


@cache
def linux_names() -> dict[tuple[int, int, str, int], str]:
    """Linux's name of a bit of CPUID."""
    return {(found.leaf, found.subleaf, REGISTERS[found.register], found.bit): name for name, found in FEATURES.items()}


@lru_cache(maxsize=4096)
def names_of(place: Place) -> tuple[str, ...]:
    """Every name: QEMU's first, then Linux's, else what the manual calls it."""
    if place.kind in ("xcr0", "xss"):
        return (BY_NUMBER[place.low].name if place.low in BY_NUMBER else f"component {place.low}",)
    if place.kind == "xstate":
        component = BY_NUMBER[place.subleaf].name if place.subleaf in BY_NUMBER else f"component {place.subleaf}"
        return (f"{'size' if place.register == 'eax' else 'offset'} of {component}",)
    if place.kind == "msr":
        name = msr_feature_at().get((place.at, place.low), "")
        return (name,) if name else (f"{MSR_NAMES.get(place.at, f'MSR {place.at:#x}')} bit {place.low}",)
    if place.high > place.low:
        fields = _fields_at(place.at, place.subleaf, place.register)
        return tuple(field.name for field in fields if field.low == place.low) or (str(place),)
    found = [feature_at().get(place.key, ""), linux_names().get(place.key, "")]
    if not any(found):
        register = cpuid_register(place.at, place.subleaf, place.register)
        found += [bits.name for bits in (register.bits if register else ()) if bits.lsb == place.low]
    return tuple(dict.fromkeys(name for name in found if name)) or (str(place),)


@lru_cache(maxsize=4096)
def _fields_at(leaf: int, subleaf: int, register: str) -> tuple[Field, ...]:
    return tuple(
        field
        for field in FIELDS
        if field.leaf == leaf and field.register == register and field.subleaf in (None, subleaf)
    )


@cache
def feature_words() -> frozenset[tuple[int, int, str]]:
    """The registers of CPUID whose bits are features."""
    known = {(leaf, subleaf, REGISTERS[register]) for leaf, subleaf, register in WORDS}
    return frozenset(known | {(*word.leaf, word.register) for word in qemu_words() if not word.is_msr})


@lru_cache(maxsize=4096)
def parts_of(leaf: int, subleaf: int, register: str) -> tuple[tuple[Place, Combine, int], ...]:
    """The bits and fields of a register of CPUID that are compared, with how and their mask; empty where none is."""
    fields = _fields_at(leaf, subleaf, register)
    found: list[tuple[Place, Combine]] = [
        (Place("cpuid", leaf, subleaf, register, field.high, field.low), field.rule) for field in fields
    ]
    if (leaf, subleaf, register) in feature_words():
        taken = sum(((1 << field.high - field.low + 1) - 1) << field.low for field in fields)
        for bit in range(32):
            if not taken >> bit & 1:
                place = Place("cpuid", leaf, subleaf, register, bit, bit)
                found.append((place, rule_of(place)))
    return tuple((place, rule, place.mask) for place, rule in found)


def rule_of(place: Place, *, by_line: bool = False) -> Combine:
    """How a feature bit of two hosts goes together; of two lines of QEMU with ``by_line``."""
    if place.kind == "msr":
        return "or" if (place.at, place.low) in OR_MSR_BITS else "and"
    if place.key in IGNORED_BITS and not (by_line and place.key in SWITCHED_BITS):
        return "ignore"
    return "or" if place.key in OR_BITS else "and"
