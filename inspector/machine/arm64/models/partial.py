"""A host that is known in part: what it has is told for some fields, and bounded or open for the others.

Such a host is answered for as the best that it may be; what the answer then hangs on is listed beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, PMU_V3, PTRAUTH, SVE, Host
from inspector.machine.arm64.sve import check_vls
from layouts.arm64 import id_fields as of
from layouts.arm64.chips import Chip
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import CLIDR
from layouts.arm64.kernels import Arm64Kernel
from layouts.arm64.properties import FieldPlace, field_places, properties
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

#: CLIDR_EL1 of a core that cleans to the point of unification: CTR_EL0.IDC is then as it is told.
_CLEANS = of.CLIDR_LOC.put(of.CLIDR_LOUU.put(of.CLIDR_LOUIS.put(0, 1), 1), 2)


class Open(NamedTuple):
    """What an answer hangs on: a property, its field if it has one, what is wanted, what is likely there.

    ``why``: what is against it if the likely is what there is; empty when nothing is.
    """

    name: str
    place: FieldPlace | None
    wanted: int
    likely: int
    why: str = ""


class PartialHost(Host):
    """A host whose ``open`` fields may be anything in a range, both ends included.

    Everything else in it is the likely value. ``open_features`` are vCPU features that it may lack; with
    ``open_lengths`` its vector lengths are only likely. ``core`` is what it is likely to be.
    """

    def __init__(self, likely: Host, core: str) -> None:
        super().__init__(likely.kernel, likely.limits, sve_vqs=likely.sve_vqs, **_known(likely))
        self.core = core
        self.open: dict[FieldPlace, tuple[int, int]] = {}
        self.open_features = 0
        self.open_lengths = False
        #: AArch32 ID registers that are not told at all, by encoding.
        self.untold: frozenset[int] = frozenset()

    def values(self, place: FieldPlace, wanted: int = 0) -> Iterable[int]:
        """What a field may be; of a wide one both ends, and what is wanted if it lies between them."""
        least, most = self.open[place]
        if most - least < 1 << 4:
            return range(least, most + 1)
        return (least, most, wanted) if least < wanted < most else (least, most)

    def open_in(self, encoding: int) -> list[FieldPlace]:
        """The open fields of a register, the most significant first."""
        return sorted((place for place in self.open if place.encoding == encoding), key=lambda place: -place.lsb)

    def assuming(self, found: Iterable[Open], features: int, vqs: int) -> Host:
        """The same host, if what an answer hangs on is there."""
        lengths = vqs if self.open_lengths and features & SVE else self.sve_vqs
        host = Host(self.kernel, self.limits, sve_vqs=lengths, **_known(self))
        host.features |= self.open_features & features
        for entry in found:
            if entry.place is not None:
                limit = host.limits.get(entry.place.encoding, 0)
                host.limits[entry.place.encoding] = entry.place.put(limit, entry.wanted)
        return host


def _known(host: Host) -> dict[str, Any]:
    """What a host known in part has as another has it."""
    return {
        "sanitised": host.sanitised,
        "of_core": host.of_core,
        "features": host.features,
        "masks": host.masks,
        "registers": host.registers,
        "with_mte": host.with_mte,
        "gic": host.gic,
        "name": host.name,
    }


def host_of_chip(kernel: Arm64Kernel, chip: Chip) -> PartialHost:
    """A chip on a kernel: what is open before KVM's limits, and what of that stays open under them."""
    found = PartialHost(from_bare(kernel, [chip.likely]), chip.core)
    least = from_bare(kernel, [_cleaning(chip.at(most=False))])
    most = from_bare(kernel, [chip.at(most=True)])
    for place in field_places().values():
        low, high = place.get(least.limits.get(place.encoding, 0)), place.get(most.limits.get(place.encoding, 0))
        if low != high:
            found.open[place] = (low, high)
            if place in chip.bounds and chip.bounds[place].least < 0:  # signed: all ones is less than zero
                found.open[place] = (0, (1 << place.width) - 1)
    found.open_features = (least.features ^ most.features) & PMU_V3
    found.open_features |= PTRAUTH if chip.pauth is None else 0
    found.open_features |= SVE if chip.sve is None else 0
    found.features = found.features & ~PTRAUTH | (PTRAUTH if chip.pauth else 0)
    found.open_lengths = chip.sve is not False
    if found.has_aarch32 and not chip.tells_aarch32:
        found.untold = frozenset(one.encoding for one in kernel.registers.values() if one.aarch32)
    return found


def _cleaning(host: BareHost) -> BareHost:
    return host._replace(registers={**host.registers, CLIDR: _CLEANS})


def open_features(host: PartialHost, features: int, vqs: int) -> list[Open]:
    """What a host may lack: features of the vCPU and vector lengths."""
    found = [
        Open(name, None, 1, 1) for name, bits in FEATURES_OF_SWITCH.items() if features & bits & host.open_features
    ]
    if features & SVE and host.open_lengths and not features & SVE & host.open_features:
        outcome = check_vls(vqs, host.sve_vqs)
        found.append(Open("sve", None, vqs, host.sve_vqs, "" if outcome.accepted else outcome.because))
    return found


def is_switched_off(place: FieldPlace, features: int) -> bool:
    """The field is zero whatever the host has: it belongs to a vCPU feature that the guest has not."""
    return any(
        place in properties()[switch].places and not features & bits for switch, bits in FEATURES_OF_SWITCH.items()
    )
