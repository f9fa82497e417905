"""What hosts have in common: the best model or baseline for guests that run on all, and what each host loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspector.fleet.lattice import Lattice
from inspector.machine.arm64.host import Host as Arm64Host
from inspector.machine.arm64.models.baseline import Baseline as Arm64Baseline
from inspector.machine.arm64.models.baseline import baseline as arm64_baseline
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.models.baseline import baseline as x86_baseline
from inspector.machine.x86.models.offer import Offer
from inspector.machine.x86.models.realize import realize
from layouts.arm64.ids import PFR0
from layouts.arm64.properties import field_places, property_of
from layouts.light import reduce
from layouts.x86.models.features import NOT_OF_ITSELF, UNMIGRATABLE, Word, features


class Common(NamedTuple):
    """A guest that runs on all of some classes of hosts.

    ``model`` is a named one (x86), empty for arm64; ``words`` are what is switched over it, or all properties.
    ``lost`` has by class what its hosts give and this guest has not; ``unknown`` is what some record does not tell.
    """

    classes: tuple[int, ...]
    model: str
    words: tuple[str, ...]
    lost: dict[int, tuple[str, ...]]
    unknown: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The words of a QEMU line; of arm64 its properties."""
        return ",".join(filter(None, (self.model, *self.words)))


# x86


def merged(offers: Sequence[Offer]) -> Offer:
    """A host that has what all of some have: there where it is there on all, not known where some do not tell."""
    return reduce(_both, offers)


def _both(one: Offer, other: Offer) -> Offer:
    values: dict[Word, int] = {}
    known: dict[Word, int] = {}
    for word in {*one.known, *other.known}:
        here, there = one.known.get(word, 0), other.known.get(word, 0)
        mine, theirs = one.values.get(word, 0), other.values.get(word, 0)
        known[word] = here & there | here & ~mine | there & ~theirs
        values[word] = mine & theirs & here & there
    widths = [offer.phys_bits for offer in (one, other) if offer.phys_bits]
    signature = one.signature if one.vendor == other.vendor else None
    return one._replace(values=values, known=known, signature=signature, phys_bits=min(widths, default=0), cpuid=None)


def common_x86(found: Lattice, machines: Sequence[Destination]) -> list[Common]:
    """The best named model for each group of classes that can share one, with what is switched over it."""
    groups = _groups_by_equal_fields(found)
    return [_common_x86(group, {one: machines[found.classes[one].first].offer for one in group}) for group in groups]


def _common_x86(group: tuple[int, ...], offers: dict[int, Offer]) -> Common:
    offer = merged(list(offers.values()))
    best = x86_baseline([offer]).ranked
    if not best:
        return Common(group, "", (), {})
    first = best[0]
    given = realize(first.request, offer).features
    return Common(
        group, first.model, first.words, {one: _lost(mine, given) for one, mine in offers.items()}, first.unknown
    )


def _lost(offer: Offer, given: frozenset[str]) -> tuple[str, ...]:
    """Bits of CPUID that a host gives to guests of its own, but for what QEMU never takes by itself."""
    kept = given | NOT_OF_ITSELF | UNMIGRATABLE
    has = offer.features
    return tuple(name for name, bits in features().items() if name in has - kept and _counts(bits[0].word))


def _counts(word: Word) -> bool:
    return not word.is_msr and word.at >> 28 != 4


def _groups_by_equal_fields(found: Lattice) -> list[tuple[int, ...]]:
    """Classes between which nothing has to be equal that differs: a model can be lowered to a bit, not to a vendor."""
    groups: list[list[int]] = []
    for one in range(len(found.classes)):
        for group in groups:
            if not _must_be_equal(found, one, group[0]):
                group.append(one)
                break
        else:
            groups.append([one])
    return [tuple(group) for group in groups]


def _must_be_equal(found: Lattice, one: int, other: int) -> bool:
    pairs = ((one, other), (other, one))
    return any(
        blocker.name == "vendor" for pair in pairs if found.may(*pair) == "no" for blocker in found.blockers(*pair)
    )


# arm64


def common_arm64(found: Lattice, machines: Sequence[Arm64Host]) -> list[Common]:
    """The best registers for each group of classes that accept the same."""
    groups: list[tuple[list[int], Arm64Baseline]] = []
    for one in range(len(found.classes)):
        for at, (group, _) in enumerate(groups):
            best = arm64_baseline([machines[found.classes[other].first] for other in (*group, one)])
            if not best.differences:
                groups[at] = ([*group, one], best)
                break
        else:
            groups.append(([one], arm64_baseline([machines[found.classes[one].first]])))
    return [
        Common(
            tuple(group),
            "",
            best.words,
            {one: _above(machines[found.classes[one].first], best) for one in group},
        )
        for group, best in groups
    ]


def _above(host: Arm64Host, best: Arm64Baseline) -> tuple[str, ...]:
    """The properties of which a host has more than the baseline."""
    found = {
        property_of(place): None
        for place in field_places().values()
        if place.encoding in best.registers
        and not (place.encoding == PFR0 and place.name in ("EL2", "EL3"))  # no guest has those
        and place.get(host.limit(place.encoding, host.features)) != place.get(best.registers[place.encoding])
    }
    return tuple(found)
