"""Facts about the machine that a capture is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layouts.light import NamedTuple

CpuidValues = tuple[int, int, int, int]


class Cpuid:
    """CPUID leaves: ``(leaf, subleaf) -> (eax, ebx, ecx, edx)``."""

    def __init__(self, leaves: Mapping[tuple[int, int], CpuidValues]) -> None:
        self.leaves = dict(leaves)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.leaves)

    def __len__(self) -> int:
        return len(self.leaves)

    def get(self, leaf: int, subleaf: int = 0) -> CpuidValues | None:
        """The four registers of a sub-leaf, or None when it is not in the table."""
        return self.leaves.get((leaf, subleaf))

    def xsave_table(self) -> dict[int, CpuidValues]:
        """Leaf 0xD by sub-leaf."""
        return {subleaf: values for (leaf, subleaf), values in self.leaves.items() if leaf == 0xD}

    def vendor(self) -> str:
        """The vendor string of leaf 0, or an empty string."""
        values = self.get(0)
        if values is None:
            return ""
        _, ebx, ecx, edx = values
        raw = b"".join(part.to_bytes(4, "little") for part in (ebx, edx, ecx))
        return raw.decode("latin-1").rstrip("\0")

    def signature(self) -> tuple[str, int, int, int] | None:
        """Vendor, display family, display model and stepping of leaf 1; None without that leaf.

        Family and model are put together as the manuals say (Intel SDM vol. 2, CPUID; AMD APM vol. 3, E.3.2).
        """
        values = self.get(1)
        if values is None:
            return None
        eax = values[0]
        family, model, stepping = eax >> 8 & 0xF, eax >> 4 & 0xF, eax & 0xF
        if family in (6, 15):
            model |= eax >> 12 & 0xF0
        if family == 15:
            family += eax >> 20 & 0xFF
        return self.vendor(), family, model, stepping


class Host(NamedTuple):
    """What is known of the host: its own CPUID, not what a guest of it sees; kernel version, words about it."""

    cpuid: Cpuid | None = None
    kernel: str = ""
    about: str = ""
