"""Forecasts from what an older kernel showed, held to what the newer one then showed on the same machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.capture.errors import UsageError
from inspector.fleet import x86
from inspector.fleet.facts import Document
from inspector.fleet.forecast import RESTARTED, forecast
from inspector.fleet.gather import gather
from inspector.fleet.hosts import Fleet, fleets, machine_of
from inspector.fleet.relation import Verdicts
from inspector.fleet.store import Kept, Store
from tests.fleet.fleets import add_all

CPUS = ("cascade-lake", "ice-lake", "sapphire-rapids", "granite-rapids", "epyc-milan", "epyc-genoa")
UPGRADES = (("5.10", "6.1"), ("6.1", "6.18"), ("5.10", "6.18"))


def kept(number: int, facts: Document) -> Kept:
    return Kept(number, facts, 1, f"host{number}")


def fleet_of(*documents: Document) -> Fleet:
    hosts = tuple(kept(number, facts) for number, facts in enumerate(documents, 1))
    return Fleet(documents[0]["arch"], hosts, tuple(machine_of(one, "", print) for one in hosts), ())


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("older", "newer"), UPGRADES)
def test_what_is_certain_came_true(cpu: str, older: str, newer: str) -> None:
    """One host, upgraded by forecast, beside the same host as it was upgraded."""
    before, after = (gather(f"sample:{cpu}/linux-{release}")[0] for release in (older, newer))
    assert before.guest is not None
    assert after.guest is not None
    real = Verdicts(
        fleet_of(before.host, after.host).relation([x86.guest_of("", before.guest), x86.guest_of("", after.guest)])
    )
    old, other = kept(1, before.host), kept(2, {**before.host, "msrs": []})
    both = Fleet(
        "x86",
        (old, other),
        tuple(machine_of(one, "", print) for one in (old, other)),
        (old._replace(facts=before.guest),),
    )
    found = forecast(both, newer, {old.id: 1})
    told = {one.when: one for one in found.pinned}
    running = told.get("running")
    upgraded = f"{old.name} upgraded"
    gone = {name for row in running.gone for name in row.hosts} if running else set()
    perhaps = {name for row in running.maybe for name in row.hosts} if running else set()
    if upgraded not in perhaps:
        assert (real[0, 1].answer == "no") == (upgraded in gone)
    again = told.get(RESTARTED)
    if real[1, 0].answer == "no":
        assert again is not None
        assert other.name in {name for row in (*again.gone, *again.maybe) for name in row.hosts}
    elif again is not None:
        assert not again.gone


def test_a_release_hides_and_shows(tmp_path: Path) -> None:
    """The CPU is known by its model: Linux 6.18 shows what 6.1 does not, and the other host keeps 6.1."""
    with Store(str(tmp_path / "a.fleet"), create=True) as store:
        add_all(store, ["sample:granite-rapids/linux-5.10", "sample:granite-rapids/linux-6.1"])
        (fleet,) = fleets(store, print)
        chosen = dict.fromkeys(store.named(["*5.10"]).values(), 1)
        found = forecast(fleet, "6.18", chosen)
        assert (found.upgraded, found.guessed) == (1, 1)
        pinned = next(one for one in found.pinned if one.when == RESTARTED)
        assert (pinned.before, pinned.after) == (2, 1)
        real = gather("sample:granite-rapids/linux-6.18")[0].host
        shown = Verdicts(fleet_of(fleet.hosts[1].facts, real).relation())
        named = {blocker.where for row in pinned.gone for blocker in row.blockers}
        assert named
        assert named <= {blocker.where for blocker in shown.blockers(shown[1, 0])}


def test_an_older_release_is_no_upgrade(tmp_path: Path) -> None:
    with Store(str(tmp_path / "a.fleet"), create=True) as store:
        add_all(store, ["sample:ice-lake/linux-6.18"])
        (fleet,) = fleets(store, print)
        chosen = dict.fromkeys(store.named(["*"]).values(), 1)
        with pytest.raises(UsageError, match="expected a newer one"):
            forecast(fleet, "6.1", chosen)


def test_part_of_the_same_hosts(tmp_path: Path) -> None:
    """Of three equal hosts one is upgraded: the others stay as they are."""
    with Store(str(tmp_path / "a.fleet"), create=True) as store:
        add_all(store, ["sample:granite-rapids/linux-6.1"], copies=3)
        (fleet,) = fleets(store, print)
        (host,) = fleet.hosts
        assert host.captures == 3
        found = forecast(fleet, "6.18", {host.id: 1})
        restarted = next(one for one in found.pinned if one.when == RESTARTED)
        assert (restarted.captures, restarted.before, restarted.after) == (1, 3, 1)
