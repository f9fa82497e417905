"""/proc/cpuinfo and lscpu of an x86 machine: the flags that Linux shows, and which CPU it is.

Source: Linux arch/x86/kernel/cpu/proc.c, show_cpuinfo; arch/x86/include/asm/cpufeatures.h for the words.
"""

from __future__ import annotations

import re

from layouts.light import NamedTuple


class X86Words(NamedTuple):
    """The flags that all CPUs of the file have; vendor, family, model, stepping; the brand; address bits, 0 if untold.

    ``vmx_flags`` are the words of "vmx flags", which Linux shows from 5.7 on.
    """

    flags: frozenset[str]
    signature: tuple[str, int, int, int] | None
    model_name: str
    phys_bits: int
    vmx_flags: frozenset[str]
    microcode: int


def parse_x86_cpuinfo(text: str) -> X86Words | None:
    """The flags of every processor (lscpu: ``Flags``); None for another text."""
    found = re.findall(r"^\s*flags\s*:\s*(.*)$", text, re.MULTILINE | re.IGNORECASE)
    words = [frozenset(line.split()) for line in found]
    if not words or not all("fpu" in each or "cpuid" in each or "lm" in each for each in words):
        return None
    vmx = [frozenset(line.split()) for line in re.findall(r"^vmx flags\s*:\s*(.*)$", text, re.MULTILINE)]
    vendor = _text(text, "vendor_id") or _text(text, "Vendor ID")
    family, model = _number(text, "cpu family", "CPU family"), _number(text, "model", "Model")
    stepping = _number(text, "stepping", "Stepping")
    is_told = vendor and family is not None and model is not None
    signature = (vendor, family or 0, model or 0, stepping or 0) if is_told else None
    width = re.search(r"(\d+) bits physical", text)
    return X86Words(
        frozenset.intersection(*words),
        signature,
        _text(text, "model name") or _text(text, "Model name"),
        int(width[1]) if width else 0,
        frozenset.intersection(*vmx) if vmx else frozenset(),
        _number(text, "microcode") or 0,
    )


def _text(text: str, name: str) -> str:
    found = re.search(rf"^\s*{name}\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def _number(text: str, *names: str) -> int | None:
    for name in names:
        found = re.search(rf"^\s*{name}\s*:\s*(0x[0-9a-f]+|\d+)\s*$", text, re.MULTILINE)
        if found:
            return int(found[1], 16 if found[1].startswith("0x") else 10)
    return None
