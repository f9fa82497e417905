"""``/proc/cpuinfo`` and ``lscpu`` of x86 and arm64: features by Linux's words, and which CPU it says to be.

A word that is there is a bit that the CPU has, where it is the name of a bit of CPUID; one that is missing is unknown,
for the kernel also hides bits (an option, a mitigation, a bit that it does not use). Words that Linux makes up itself
(``constant_tsc``) are facts without a bit.

Source: Linux arch/x86/kernel/cpu/proc.c (show_cpuinfo), arch/x86/include/asm/cpufeatures.h; arch/arm64/kernel/cpuinfo.c
(c_show); util-linux sys-utils/lscpu.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspector.capture.model import Area
from inspector.readers.arm64_cpuinfo import parse_cpuinfo
from inspector.readers.logs.found import CpuidBit, Found, Line, State, bits_area
from inspector.readers.named_values import facts_area, named_area
from layouts.light import cache
from layouts.x86.cpuid import cpuid_register

_LINE = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9() /_-]{0,40}?)\s*:\s*(?P<value>.*)$")
_FLAGS = ("flags", "Flags", "Features", "vmx flags")
_FACTS = {
    "vendor_id": "vendor",
    "Vendor ID": "vendor",
    "model name": "model_name",
    "Model name": "model_name",
    "cpu family": "family",
    "CPU family": "family",
    "model": "model",
    "Model": "model",
    "stepping": "stepping",
    "Stepping": "stepping",
    "microcode": "microcode",
    "address sizes": "address_sizes",
    "Address sizes": "address_sizes",
    "bugs": "bugs",
    "Hypervisor vendor": "hypervisor",
    "Virtualization": "virtualization",
    "Architecture": "architecture",
}
#: Words of CPUID that Linux copies whole (cpufeatures.h: NCAPINTS words with a leaf in their heading).
_WORDS = (
    (1, 0, "edx"), (0x80000001, 0, "edx"), (1, 0, "ecx"), (0x80000001, 0, "ecx"), (7, 0, "ebx"), (0xD, 1, "eax"),
    (7, 1, "eax"), (0x80000008, 0, "ebx"), (6, 0, "eax"), (0x8000000A, 0, "edx"), (7, 0, "ecx"), (7, 0, "edx"),
    (0x80000007, 0, "ebx"), (0x8000001F, 0, "eax"), (0x80000021, 0, "eax"),
)  # fmt: skip


@cache
def _bits() -> dict[str, CpuidBit]:
    """Words of Linux -> bit of CPUID. AMD repeats bits of leaf 1 in its own; the first is meant."""
    found: dict[str, CpuidBit] = {}
    for leaf, subleaf, name in _WORDS:
        register = cpuid_register(leaf, subleaf, name)
        for bits in register.bits if register is not None else ():
            if bits.width == 1:
                found.setdefault(bits.name, (leaf, subleaf, name, bits.lsb))
    return found


def read(lines: Sequence[Line], file: str) -> Found:
    """The first processor's words; what not all processors have is told."""
    told: dict[str, str] = {}
    flags: list[frozenset[str]] = []
    for line in lines:
        found = _LINE.search(line.text)
        if not found:
            continue
        name, value = found["name"].strip(), found["value"].strip()
        if name in _FLAGS[:3]:
            flags.append(frozenset(value.split()))
        elif name in _FACTS:
            told.setdefault(_FACTS[name], value)
    if not flags:
        return Found()
    common = frozenset.intersection(*flags)
    odd = sorted(frozenset.union(*flags) - common)
    notices = [f"not of every processor: {' '.join(odd[:20])}"] if odd else []
    arm = parse_cpuinfo("\n".join(line.text for line in lines))
    if arm is not None:
        return _arm64(arm.midr, common, told, file, notices)
    bits = {_bits()[word]: 1 for word in common if word in _bits()}
    rest = sorted(word for word in common if word not in _bits())
    context = [area for area in (bits_area(bits, "host: features that Linux names", file),) if area is not None]
    context.append(
        facts_area([*told.items(), ("other_words", " ".join(rest))], "cpuinfo", "host, as Linux tells", file)
    )
    return Found(context=context, notices=[*notices, _NOTICE])


_NOTICE = "features that are not named are unknown: Linux also leaves out what it hides or does not use"


def _arm64(midr: int, words: frozenset[str], told: dict[str, str], file: str, notices: list[str]) -> Found:
    rows = [*told.items(), *((f"hwcap.{word}", "on") for word in sorted(words))]
    context: list[Area] = [facts_area(rows, "cpuinfo", "host, as Linux tells", file)]
    if not midr:
        return Found(context=context, notices=[*notices, _NOTICE])
    state = State("cpu 0", "arm64", [named_area({"sysreg.MIDR_EL1": (midr, 8)}, file, "the CPU that it says to be")])
    return Found([state], context, notices=[*notices, _NOTICE])
