"""CPUID bit names, from x86-cpuid-db (CC0-1.0, ``data/cpuid.csv``, unmodified)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from layouts.vocabulary import Bits, Register

SOURCE = "x86-cpuid-db v3.1 (x86-cpuid.org)"


def _numbers(text: str) -> range:
    """``4`` or ``31:0`` as a range of numbers, low to high."""
    high, _, low = text.partition(":")
    last = int(high, 0)
    return range(int(low, 0) if low else last, last + 1)


@cache
def cpuid_registers() -> dict[tuple[int, str], list[tuple[range, tuple[Bits, ...]]]]:
    """Bit names by ``(leaf, register)``: the sub-leaves they hold for, and the bits."""
    rows: dict[tuple[int, str], dict[str, list[Bits]]] = {}
    text = files("layouts.x86").joinpath("data/cpuid.csv").read_text("utf-8")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        leaf, subleaves, register, bits, name, meaning = (part.strip() for part in line.split(",", 5))
        span = _numbers(bits)
        by_subleaf = rows.setdefault((int(leaf, 16), register), {})
        by_subleaf.setdefault(subleaves, []).append(Bits(name, span.start, len(span), meaning))
    return {
        key: [(_numbers(subleaves), tuple(sorted(found, key=lambda b: b.lsb))) for subleaves, found in by.items()]
        for key, by in rows.items()
    }


def cpuid_register(leaf: int, subleaf: int, register: str) -> Register | None:
    """The bit names of one output register of one sub-leaf; ``register`` is ``eax`` and so on."""
    for subleaves, bits in cpuid_registers().get((leaf, register), ()):
        if subleaf in subleaves:
            return Register(f"CPUID.{leaf:X}H.{subleaf}:{register.upper()}", "CPUID output", bits, SOURCE)
    return None
