"""Facts: what is known of a host or of a guest, as a document that is the same for all that are the same.

A document is JSON with an ``arch``. It is known by its digest; what one CPU of a machine has otherwise than the next
(APIC ids, MPIDR_EL1) is not in it, and of a kernel's release the numbers alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from inspector.capture.host import Cpuid, CpuidValues
from inspector.targets.kept import digest_of
from layouts.kernels import release_numbers

Document = dict[str, Any]
Table = Mapping[tuple[int, int], CpuidValues]
X86, ARM64 = ARCHES = "x86", "arm64"
#: Bits of CPUID that tell which CPU of the machine it is (Intel SDM vol. 2, CPUID; AMD APM vol. 3, E.3 and E.4): the
#: initial APIC id, the x2APIC id of the topology leaves, AMD's extended APIC id with its core and node.
_OF_ONE_CPU = {
    1: (0, 0xFF000000, 0, 0),
    0xB: (0, 0, 0, 0xFFFFFFFF),
    0x1F: (0, 0, 0, 0xFFFFFFFF),
    0x80000026: (0, 0, 0, 0xFFFFFFFF),
    0x8000001E: (0xFFFFFFFF, 0xFF, 0xFF, 0),
}


class Facts(NamedTuple):
    """What one capture tells: its name, its host, and its guest where it has one; ``kernel`` is the whole release."""

    name: str
    host: Document
    guest: Document | None
    kernel: str = ""


def digest(document: Document) -> str:
    """The name of a document's contents, in hex."""
    return digest_of(packed(document).encode())


def packed(document: Document) -> str:
    """The document as text, the same for the same contents."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def release_of(kernel: str) -> str:
    """The numbers of a release, ``6.1`` of ``6.1.141-165.249.amzn2023.x86_64``; empty where there are none."""
    numbers = release_numbers(kernel)
    return f"{numbers[0]}.{numbers[1]}" if numbers else ""


def rows_of(table: Table) -> list[list[int]]:
    """CPUID as rows ``[leaf, sub-leaf, eax, ebx, ecx, edx]`` in order, without what is of one CPU alone."""
    return [[*key, *_shared(key[0], values)] for key, values in sorted(table.items())]


def _shared(leaf: int, values: Iterable[int]) -> list[int]:
    masks = _OF_ONE_CPU.get(leaf, (0, 0, 0, 0))
    return [value & ~mask for value, mask in zip(values, masks, strict=True)]


def cpuid_of_rows(rows: Iterable[list[int]] | None) -> Cpuid | None:
    """The table of rows, None for None."""
    if rows is None:
        return None
    return Cpuid({(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in rows})
