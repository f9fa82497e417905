"""A custom CPU template of Firecracker: what it sets of CPUID and MSRs over the host's.

Source: Firecracker docs/cpu_templates/cpu-templates.md; the schema of its cpu-template-helper.
"""

from __future__ import annotations

from inspector.capture.cpu_line import HOST, BitPlace, CpuLine
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_REGISTERS = ("eax", "ebx", "ecx", "edx")


def parse_template(found: Any) -> CpuLine:
    """A template's JSON. Raises ValueError for one that is none; x in a bitmap leaves the bit to the host."""
    if not isinstance(found, dict):
        raise ValueError("expected an object with cpuid_modifiers or msr_modifiers")
    bits: dict[BitPlace, int] = {}
    msr_bits: dict[tuple[int, int], int] = {}
    for entry in _list(found, "cpuid_modifiers"):
        leaf, subleaf = _number(entry, "leaf"), _number(entry, "subleaf")
        for modifier in _list(entry, "modifiers"):
            register = modifier.get("register")
            if register not in _REGISTERS:
                expected = f"a register of {', '.join(_REGISTERS)}"
                raise ValueError(f"cpuid_modifiers: expected {expected}; found {register!r:.40}")
            bits |= {(leaf, subleaf, register, bit): on for bit, on in _bitmap(modifier, 32)}
    for entry in _list(found, "msr_modifiers"):
        address = _number(entry, "addr")
        msr_bits |= {(address, bit): on for bit, on in _bitmap(entry, 64)}
    return CpuLine("firecracker", HOST, bits=bits, msr_bits=msr_bits)


def _list(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = found.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"{key}: expected a list of objects")
    return value


def _number(entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    try:
        return int(value, 0) if isinstance(value, str) else int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{key}: expected a number such as '0x7', found {value!r:.40}") from None


def _bitmap(entry: dict[str, Any], width: int) -> list[tuple[int, int]]:
    text = entry.get("bitmap")
    digits = text[2:].replace("_", "") if isinstance(text, str) and text.startswith("0b") else ""
    if not digits or len(digits) > width or set(digits) - set("01x"):
        raise ValueError(f"bitmap: expected 0b and up to {width} of 0, 1, x; found {text!r:.80}")
    return [(bit, int(digit)) for bit, digit in enumerate(reversed(digits)) if digit in "01"]
