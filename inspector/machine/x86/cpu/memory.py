"""A program's memory, as far as instructions of recorded programs reach: what is mapped, and what it holds."""

from __future__ import annotations

from inspector.machine.outcome import GP, PF, MemoryFaultError

_USER, _WRITE = 4, 2
_CANONICAL = 1 << 47


class Memory:
    """Regions by address. What lies outside them is not mapped."""

    def __init__(self, regions: dict[int, int]) -> None:
        self._regions = {base: bytearray(size) for base, size in regions.items()}

    def check(self, address: int, size: int, *, writes: bool, last_first: bool = False) -> None:
        """Raise MemoryFaultError where not all is mapped: at the first byte that is not, or at the last of all."""
        end = address + size
        if not (end <= _CANONICAL or address >= (1 << 64) - _CANONICAL):
            raise MemoryFaultError(GP, address)
        base, data = self._region(address)
        mapped = base + len(data)
        if mapped < end:
            raise MemoryFaultError(PF, end - 1 if last_first else mapped, _USER | (_WRITE if writes else 0))

    def _region(self, address: int) -> tuple[int, bytearray]:
        """The region of an address, and where it begins; an empty one there where nothing is mapped."""
        for base, data in self._regions.items():
            if base <= address < base + len(data):
                return base, data
        return address, bytearray()

    def read(self, address: int, size: int) -> bytes:
        """Bytes. Raises MemoryFaultError."""
        self.check(address, size, writes=False)
        base, data = self._region(address)
        return bytes(data[address - base :][:size])

    def write(self, address: int, data: bytes) -> None:
        """Bytes become others, all or none. Raises MemoryFaultError."""
        if not data:
            return
        self.check(address, len(data), writes=True)
        base, region = self._region(address)
        region[address - base : address - base + len(data)] = data
