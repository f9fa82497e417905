"""What was asked again about a verdict. A text, a document and a screen ask for the same, and it is asked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.host import CpuidValues
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Restored
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import Place


class Again:
    """The answers so far: of changes by the bit that they are for, of whole restores by the kernel."""

    def __init__(self) -> None:
        self.helps: dict[Difference, bool] = {}
        self.on_kernel: dict[str, Restored] = {}
        self._table: Mapping[tuple[int, int], CpuidValues] | None = None
        self._places: frozenset[Place] | None = None

    def table_of(self, guest: Guest) -> Mapping[tuple[int, int], CpuidValues]:
        """The CPUID of the verdict's guest."""
        if self._table is None:
            self._table = guest.table
        return self._table

    def places_of(self, bits: Iterable[Difference]) -> frozenset[Place]:
        """Where the verdict's bits are that are in the way."""
        if self._places is None:
            self._places = frozenset(bit.place for bit in bits if bit.blocks)
        return self._places
