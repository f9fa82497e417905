"""What a QEMU gives its guest of CPUID, and what it would have given but for the host: properties of its x86 CPU.

``feature-words`` are the registers of CPUID that QEMU fills from named features, as the guest has them; of
``filtered-features`` a bit is set that was asked for and that the accelerator does not give. So a bit of the first is
the host's too, one of the second the host lacks, and of all others nothing is known.

Source: QEMU target/i386/cpu.c (x86_cpu_get_feature_words, x86_cpu_filter_features), qapi/misc-i386.json
(X86CPUFeatureWordInfo).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.capture.model import Area, Origin
from inspector.readers.logs.found import CpuidBit, bits_area
from inspector.readers.named_values import facts_area
from inspector.readers.synthesized import Masked, masked_cpuid_area

_REGISTERS = ("eax", "ebx", "ecx", "edx")
_WIDE = 0xFFFF_FFFF
_MOST_WORDS = 256
#: OSXSAVE and OSPKE follow the guest's CR4, and are in no word.
_OF_CR4 = {(1, 0, "ecx"): 1 << 27, (7, 0, "ecx"): 1 << 4}


def areas_of(given: Any, filtered: Any, file: str) -> list[Area]:
    """Areas ``guest``, ``host`` and ``refused``; none where the answers are no words."""
    bits: dict[CpuidBit, int] = {}
    refused: list[tuple[str, str]] = []
    table: dict[tuple[int, int], dict[str, Masked]] = {}
    for leaf, subleaf, register, value in _words(given):
        row = table.setdefault((leaf, subleaf), dict.fromkeys(_REGISTERS, (0, _WIDE)))
        row[register] = (value, _OF_CR4.get((leaf, subleaf, register), 0))
        bits |= {(leaf, subleaf, register, bit): 1 for bit in _set(value)}
    for leaf, subleaf, register, value in _words(filtered):
        bits |= {(leaf, subleaf, register, bit): 0 for bit in _set(value)}
        refused += [
            (f"CPUID.{leaf:X}.{subleaf:X}.{register.upper()}[{bit}]", "not given by the host") for bit in _set(value)
        ]
    areas = []
    if table:
        rows = {key: [table[key][register] for register in _REGISTERS] for key in sorted(table)}
        areas.append(masked_cpuid_area(rows, Origin(file, 0), "CPUID as QEMU gives it (feature-words)", "guest"))
    host = bits_area(bits, "host: features that it gives to this guest, and does not", file)
    if host is not None:
        areas.append(host)
    if refused:
        areas.append(facts_area(refused, "refused", "features that were asked for and filtered", file))
    return areas


def _words(answer: Any) -> Iterator[tuple[int, int, str, int]]:
    """Leaf, sub-leaf, register and value of each word that is well formed."""
    for word in answer[:_MOST_WORDS] if isinstance(answer, list) else ():
        if not isinstance(word, dict):
            continue
        register = str(word.get("cpuid-register", "")).lower()
        numbers = [word.get("cpuid-input-eax"), word.get("cpuid-input-ecx", 0), word.get("features")]
        if register in _REGISTERS and all(isinstance(one, int) and 0 <= one <= _WIDE for one in numbers):
            yield numbers[0], numbers[1], register, numbers[2]


def _set(value: int) -> list[int]:
    return [bit for bit in range(32) if value >> bit & 1]
