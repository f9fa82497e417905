"""What /proc/cpuinfo and lscpu of an arm64 machine tell: words of features, and which core it says to be."""

from __future__ import annotations

import re

from layouts.light import NamedTuple

_IMPLEMENTER, _PART, _VARIANT, _REVISION = "CPU implementer", "CPU part", "CPU variant", "CPU revision"
_ARCHITECTURE = 0xF << 16


class CpuWords(NamedTuple):
    """The words that all CPUs of the file have, and the first CPU's MIDR_EL1, 0 where it is not told."""

    words: frozenset[str]
    midr: int


def parse_cpuinfo(text: str) -> CpuWords | None:
    """``Features`` of every processor (lscpu: ``Flags``), and the numbers beside them; None for another text."""
    features = re.findall(r"^\s*(?:Features|Flags)\s*:\s*(.*)$", text, re.MULTILINE)
    words = [frozenset(found.split()) for found in features]
    if not words or not all("asimd" in each for each in words):
        return None
    return CpuWords(frozenset.intersection(*words), _midr(text))


def _midr(text: str) -> int:
    found = {name: _number(text, name) for name in (_IMPLEMENTER, _VARIANT, _PART, _REVISION)}
    if found[_IMPLEMENTER] is None or found[_PART] is None:
        return 0
    variant, revision = found[_VARIANT] or 0, found[_REVISION] or 0
    return (found[_IMPLEMENTER] or 0) << 24 | variant << 20 | _ARCHITECTURE | (found[_PART] or 0) << 4 | revision


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}\s*:\s*(0x[0-9a-f]+|\d+)\s*$", text, re.MULTILINE)
    return int(found[1], 16 if found[1].startswith("0x") else 10) if found else None
