"""Answers about a fleet as programs read them; docs/json.md has the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from inspector.export.kinds import head
from inspector.fleet.adding import Added
from inspector.fleet.checked import Checked
from inspector.fleet.common import Common
from inspector.fleet.facts import digest
from inspector.fleet.forecast import Forecast, Gone
from inspector.fleet.hosts import Fleet, title
from inspector.fleet.lattice import Lattice
from inspector.fleet.odd import Odd
from inspector.fleet.relation import Blocker
from inspector.fleet.store import Counts

Json = dict[str, Any]


def answer(command: str, store: str, parts: Iterable[Json]) -> Json:
    """An answer to all architectures."""
    return {**head(f"fleet-{command}"), "store": store, "architectures": list(parts)}


def added_json(store: str, found: Added, counts: Counts, faults: Iterable[tuple[str, str]]) -> Json:
    """What was added, and what is there now."""
    return {
        **head("fleet-add"),
        "store": store,
        **found._asdict(),
        "counts": counts._asdict(),
        "unreadable": [{"target": target, "fault": fault} for target, fault in faults],
    }


def _blockers(found: Iterable[Blocker]) -> list[Json]:
    return [one._asdict() for one in found]


def _host(fleet: Fleet, number: int) -> Json:
    kept = fleet.hosts[number]
    return {"name": kept.name, "digest": digest(kept.facts), "captures": kept.captures, "title": title(kept.facts)}


def lattice_json(fleet: Fleet, found: Lattice, common: Sequence[Common], names: Callable[[int], list[str]]) -> Json:
    """Classes with their hosts, pools, the pairs of classes that are not free, and what keeps them apart."""
    count = len(found.classes)
    pairs = ((one, other) for one in range(count) for other in range(count) if found.may(one, other) != "yes")
    return {
        "arch": fleet.arch,
        "classes": [
            {
                "class": number,
                "captures": one.captures,
                "hosts": [{**_host(fleet, host), "names": names(host)} for host in one.hosts],
            }
            for number, one in enumerate(found.classes)
        ],
        "pools": [
            {"classes": list(pool), "goes_to": list(above)}
            for pool, above in zip(found.pools, found.above, strict=True)
        ],
        "barred": [
            {
                "from": one,
                "to": other,
                "answer": found.may(one, other),
                "blockers": [blocker.where for blocker in found.blockers(one, other)],
            }
            for one, other in pairs
        ],
        "splits": [
            {**one.blocker._asdict(), "alone": one.alone, "pairs": one.pairs, "pools": one.pools}
            for one in found.splits
        ],
        "common": _common(common),
    }


def _common(common: Iterable[Common]) -> list[Json]:
    return [
        {
            "classes": list(one.classes),
            "model": one.model or None,
            "words": list(one.words),
            "lost": {str(number): list(names) for number, names in one.lost.items()},
            "unknown": list(one.unknown),
        }
        for one in common
    ]


def baseline_json(fleet: Fleet, found: Lattice, common: Sequence[Common]) -> Json:
    """The best guest for each group of classes."""
    classes = [
        {"class": number, "captures": one.captures, "hosts": [_host(fleet, host) for host in one.hosts]}
        for number, one in enumerate(found.classes)
    ]
    return {"arch": fleet.arch, "classes": classes, "common": _common(common)}


def check_json(fleet: Fleet, rows: Iterable[Checked]) -> Json:
    """Every guest against every host."""
    return {
        "arch": fleet.arch,
        "hosts": [_host(fleet, number) for number in range(len(fleet.hosts))],
        "guests": [
            {
                "name": fleet.guests[row.guest].name,
                "captures": fleet.guests[row.guest].captures,
                "takes": row.takes,
                "open": row.open,
                "refused": [
                    {"hosts": list(one.hosts), "captures": one.captures, "blockers": _blockers(one.blockers)}
                    for one in row.refused
                ],
            }
            for row in rows
        ],
    }


def forecast_json(fleet: Fleet, found: Forecast) -> Json:
    """Who is pinned by an upgrade."""
    return {
        "arch": fleet.arch,
        "kernel": found.kernel,
        "upgraded": found.upgraded,
        "asked": found.asked,
        "guessed": found.guessed,
        "pinned": [
            {
                **{key: getattr(one, key) for key in ("name", "when", "captures", "before", "after")},
                "gone": list(map(_gone, one.gone)),
                "maybe": list(map(_gone, one.maybe)),
            }
            for one in found.pinned
        ],
    }


def _gone(row: Gone) -> Json:
    return {"hosts": list(row.hosts), "captures": row.captures, "blockers": _blockers(row.blockers)}


def odd_json(fleet: Fleet, rows: Iterable[Odd]) -> Json:
    """Every host that is not as its siblings."""
    return {
        "arch": fleet.arch,
        "odd": [
            {
                "host": _host(fleet, row.host),
                "siblings": row.siblings,
                "norm": _host(fleet, row.norm),
                "differences": [one._asdict() for one in row.differences],
            }
            for row in rows
        ],
    }
