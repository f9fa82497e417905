"""Would this vCPU arrive: what its VMM compares, its calls, the bits that differ, what is lost in silence."""

from __future__ import annotations

from inspector.machine.x86.migrate import lost, start, tsc
from inspector.machine.x86.migrate.again import Again
from inspector.machine.x86.migrate.bits import Difference, differences
from inspector.machine.x86.migrate.calls import Call, Restored, restored
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.lost import Lost
from inspector.machine.x86.migrate.start import Compared
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.vmms import Vmm

if TYPE_CHECKING:
    from inspector.machine.x86.models.realize import Realization


class Migration(NamedTuple):
    """The verdict.

    ``compared`` is what the VMM looks at before it makes the vCPU, ``restored`` the calls that it makes then. ``bits``
    are all differences. ``lost`` is what is accepted and lost all the same. ``open``: what the answer hangs on, where
    the guest or the destination is known in part. ``made`` is what the destination's QEMU makes of its line. ``again``
    keeps what is asked about the verdict afterwards.
    """

    guest: Guest
    destination: Destination
    vmm: Vmm
    compared: tuple[Compared, ...]
    restored: Restored
    bits: tuple[Difference, ...]
    lost: tuple[Lost, ...]
    open: tuple[str, ...]
    again: Again
    made: Realization | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls on the destination."""
        return self.restored.calls

    @property
    def refusal(self) -> Call | Compared | None:
        """What ends the migration: the first comparison that does not hold, else the first refused call that does."""
        compared = next((found for found in self.compared if found.refuses), None)
        return compared or next((call for call in self.calls if call.then and call.then.does == "abort"), None)

    @property
    def blockers(self) -> tuple[Difference, ...]:
        """The bits that the guest cannot keep."""
        return tuple(bit for bit in self.bits if bit.blocks)

    @property
    def verdict(self) -> str:
        """``refused``, ``lossy`` (nothing says no, and the guest is another one), ``open``, or ``arrives``."""
        if self.refusal is not None:
            return "refused"
        if self.lost:
            return "lossy"
        return "open" if self.open else "arrives"

    @property
    def arrives(self) -> bool:
        """For all that is known, the vCPU goes on there as it was."""
        return self.verdict in ("arrives", "open")


def migrate(guest: Guest, destination: Destination, vmm: Vmm, *, made: Realization | None = None) -> Migration:
    """The verdict on a vCPU, a host and a VMM. ``made``: what the destination's QEMU makes of its model line."""
    bits = _bits(guest, destination, made)
    found = restored(guest, destination, vmm, start.arriving(guest, vmm, bits, made))
    compared = start.compared(guest, destination, vmm, bits, made)
    return Migration(
        guest,
        destination,
        vmm,
        compared,
        found,
        bits,
        tuple(lost.lost(guest, destination, vmm, bits, found)),
        _open(guest, destination, bits, made),
        Again(),
        made,
    )


def _bits(guest: Guest, destination: Destination, made: Realization | None) -> tuple[Difference, ...]:
    """What the line changes, and what else the host has otherwise: what the line leaves off does not come with it."""
    if made is None:
        return differences(guest, destination)
    changed = start.changed(guest, made)
    decided = {bit.place for bit in changed} | {place for place, mine, _ in start.of_line(guest, made) if not mine}
    others = (bit for bit in differences(guest, destination) if bit.source or bit.place.kind not in ("xcr0", "xss"))
    return (*changed, *(bit for bit in others if bit.place not in decided))


def _open(
    guest: Guest, destination: Destination, bits: tuple[Difference, ...], made: Realization | None
) -> tuple[str, ...]:
    found = [] if guest.table else ["the guest's CPUID, which was not captured"]
    found += [f"{bit.place} ({bit.name})" for bit in bits if not bit.known]
    found += [frequency] if (frequency := tsc.hangs_on(guest, destination)) else []
    return (*found, *(made.unknown if made is not None else ()))
