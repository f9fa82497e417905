"""What the Fleet screens work on: views of a store, without a screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.fleet.sources import Item, items
from inspector.fleet.store import Store
from inspector.fleet.taking import take
from inspector.tui.fleet_arrows import Arrow, gutter
from inspector.tui.fleet_asker import _in_short
from inspector.tui.fleet_guests import GuestsView
from inspector.tui.fleet_hosts import HostsView
from inspector.tui.fleet_lattice import LatticeView
from inspector.tui.fleet_moves import move_of
from inspector.tui.fleet_session import FleetSession
from inspector.tui.fleet_view import PairWanted, View
from inspector.tui.fleet_views import VIEWS
from tests.fleet.fleets import small


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetSession]:
    found = FleetSession(small(tmp_path_factory.mktemp("fleet")))
    found.work()
    assert not found.is_busy
    assert not found.wrong
    yield found
    found.close()


def text_of(view: View) -> list[str]:
    return ["".join(text for text, _ in view.row(at)).rstrip() for at in range(view.count)]


def said(view: View, at: int) -> str:
    return "\n".join(one.text for one in view.said(at))


def asked(session: FleetSession, name: str) -> View:
    view = VIEWS[name](session)
    session.work()
    view.follow()
    return view


def test_pools_and_classes_with_arrows(session: FleetSession) -> None:
    view = LatticeView(session)
    lines = text_of(view)
    assert lines[0] == "x86: 4 hosts, 4 distinct, 4 classes, 4 pools"
    assert lines[1].startswith("split first by ")
    assert lines[view.first()].endswith("pool 1, 1 host")
    arrows = [line for line in lines if "►" in line.partition("pool")[0]]
    assert arrows
    at = next(at for at, line in enumerate(lines) if "class" not in line and "1 host  Linux 5.10" in line)
    words = said(view, at)
    assert "sample:ice-lake/linux-5.10" in words
    assert "for Cascadelake-Server-v5, which 3 classes can share" in words
    assert "its guests on other pools" in words
    assert "the host has to have it" in words
    assert "it has to be the same" in words
    assert view.label(at) == "sample:ice-lake/linux-5.10"
    assert view.command(at) == f"inspector fleet lattice --store {session.path}"


def test_first_there_are_the_distinct_hosts(session: FleetSession) -> None:
    begun = FleetSession(session.path)
    view = LatticeView(begun)
    assert view.count == 0
    assert "being read" in said(view, 0)
    begun.store.prepare_names()
    begun.has_names, begun.hosts = True, session.hosts
    view.follow()
    assert len(text_of(view)) == 6
    inner = view.enter(0)
    assert isinstance(inner, HostsView)
    assert inner.count == 1


def test_enter_goes_from_a_class_to_its_hosts_and_to_one(session: FleetSession) -> None:
    view = LatticeView(session)
    at = view.find("graviton3/linux-6.18", 0, 1)
    assert at is not None
    hosts = view.enter(at)
    assert isinstance(hosts, HostsView)
    assert text_of(hosts)[hosts.first()].startswith("sample:graviton3/linux-6.18")
    facts = hosts.enter(hosts.first())
    line = facts.find("id_aa64pfr0_el1", 0, 1)
    assert line is not None
    assert "CSV3 0x1" in said(facts, line)
    assert facts.command(line) == "inspector show sample:graviton3/linux-6.18"
    split = view.enter(1)
    assert split is not None
    assert "of 3, both ways counted" in said(split, 0)


def test_names_are_read_a_page_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "many.fleet")
    batch = take([Item("sample:ice-lake/linux-6.1")])
    with Store(path, create=True) as store:
        store.add((batch.rows[0]._replace(name=f"host{number:05}") for number in range(30_000)), batch.documents)
    session = FleetSession(path)
    session.store.prepare_names()
    session.has_names, session.hosts = True, list(_in_short("hosts", session.store.hosts()))
    view = HostsView(session, "all", [session.hosts[0].id])
    assert view.count == 30_000
    assert [view.label(at) for at in (0, 127, 128, 29_999)] == ["host00000", "host00127", "host00128", "host29999"]
    for at in range(0, 30_000, 500):
        view.row(at)
    assert len(view._pages) <= 16
    assert view.find("9999", 0, 1) == 9_999
    assert view.find("9999", 10_000, 1) == 19_999
    assert view.find("9999", 9_998, -1) == 29_999
    assert view.find("100%", 0, 1) is None


def test_who_refuses_a_guest_and_the_move(session: FleetSession) -> None:
    view = asked(session, "check")
    assert isinstance(view, GuestsView)
    at = view.find("cascade", 0, 1)
    assert at is not None
    assert text_of(view)[at] == "✗ sample:cascade-lake/linux-6.1  ✓ 1  ✗ 3"
    assert "does not list it" in said(view, at)
    inner = view.enter(at)
    assert inner is not None
    pair = inner.enter(inner.find("ice-lake/linux-5.10", 0, 1) or 0)
    assert isinstance(pair, PairWanted)
    move = move_of(session.store, pair)
    assert move.command() == "inspector migrate sample:cascade-lake/linux-6.1 sample:ice-lake/linux-5.10"
    assert move.picture.verdict == "refused"


def test_a_move_whose_capture_is_gone_or_another(tmp_path: Path, session: FleetSession) -> None:
    targets = [tmp_path / name for name in ("one", "two")]
    from inspector.targets.samples import path_of

    for target, name in zip(targets, ("cascade-lake/linux-6.1", "ice-lake/linux-6.1"), strict=True):
        target.write_text(Path(path_of(f"sample:{name}")).read_text())
    path = str(tmp_path / "a.fleet")
    with Store(path, create=True) as store:
        for target in targets:
            batch = take([Item(str(target), path=str(target))])
            store.add(batch.rows, batch.documents)
    found = FleetSession(path)
    found.work()
    pair = PairWanted(found.parts[0], 0, 1)
    assert move_of(found.store, pair).picture.verdict == "refused"
    kept = f"inspector migrate kept:{path}:{targets[0]} {targets[1]}"
    for is_there in (True, False):
        if is_there:
            targets[0].write_text(targets[1].read_text())
        else:
            targets[0].unlink()
        move = move_of(found.store, pair)
        assert move.command() == kept
        assert move.picture.verdict == "lossy"


def test_a_line_of_a_file_moves_too(tmp_path: Path) -> None:
    from inspector.targets.samples import path_of

    texts = [Path(path_of(f"sample:{name}/linux-6.1")).read_text() for name in ("cascade-lake", "ice-lake")]
    lines = tmp_path / "all.jsonl"
    lines.write_text("\n".join(json.dumps({"name": f"host{at}", "text": text}) for at, text in enumerate(texts)))
    path = str(tmp_path / "a.fleet")
    with Store(path, create=True) as store:
        batch = take(list(items([str(lines)])))
        store.add(batch.rows, batch.documents)
    found = FleetSession(path)
    found.work()
    move = move_of(found.store, PairWanted(found.parts[0], 0, 1))
    assert move.command() == f"inspector migrate line:{lines}:1 line:{lines}:2"
    assert move.picture.verdict == "refused"


def test_the_odd_ones_and_the_price(session: FleetSession) -> None:
    odd = asked(session, "odd")
    assert not text_of(odd)
    assert said(odd, 0) == "no host is otherwise than most of its siblings"
    price = asked(session, "baseline")
    lines = text_of(price)
    assert lines[0].startswith("3 hosts: Cascadelake-Server-v5 ")
    assert "gives up" in lines[1]
    assert price.label(0).startswith("Cascadelake-Server-v5,")
    assert isinstance(price.enter(1), HostsView)


def test_a_forecast_is_asked_for_in_words(session: FleetSession) -> None:
    assert "expected a release of Linux" in session.ask_forecast("soon")
    assert session.ask_forecast("6.18 nobody") == "nobody: no host has such a name"
    assert "6.18" in session.completed("6.1")
    assert session.completed("6.18 sample:graviton3/linux-6.1") == [
        "6.18 sample:graviton3/linux-6.1",
        "6.18 sample:graviton3/linux-6.18",
    ]
    assert not session.ask_forecast("6.18 sample:ice-lake/* sample:epyc-milan/linux-6.1")
    view = asked(session, "forecast")
    assert text_of(view)[0] == "x86: 0 of 7 guests pinned, 1 perhaps"
    assert "perhaps no more" in said(view, 1)
    assert view.command(0).endswith("--kernel 6.18 --on 'sample:ice-lake/*' sample:epyc-milan/linux-6.1")
    assert not session.ask_forecast("5.10")
    assert not text_of(VIEWS["forecast"](session))
    assert text_of(asked(session, "forecast"))[0] == "x86: 0 of 4 guests pinned, 0 perhaps"


def test_a_store_without_hosts_or_none_at_all(tmp_path: Path) -> None:
    Store(str(tmp_path / "empty"), create=True).close()
    session = FleetSession(str(tmp_path / "empty"))
    session.work()
    view = LatticeView(session)
    assert "no host in it; inspector fleet add" in text_of(view)[0]
    assert not session.is_busy
    with pytest.raises(InputError):
        FleetSession(str(tmp_path / "none"))


def test_a_damaged_store_is_told_as_such(tmp_path: Path, session: FleetSession) -> None:
    """Wherever the damage is: by the command, and on the screen that was open already."""
    data = bytearray(Path(session.path).read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 8] = b"\xff" * 8
    path = tmp_path / "damaged.fleet"
    path.write_bytes(data)
    with pytest.raises(InputError, match="malformed"):
        FleetSession(str(path))
    path.write_bytes(Path(session.path).read_bytes())
    found = FleetSession(str(path))
    path.write_bytes(data)
    found.work()
    assert "a store of inspector fleet add" in text_of(LatticeView(found))[0]


def test_closed_nothing_is_asked_any_more(session: FleetSession) -> None:
    closed = FleetSession(session.path)
    closed.close()
    closed.work()
    assert not closed.parts
    assert not closed.is_busy


def test_arrows_turn_where_they_begin_and_end() -> None:
    assert gutter([Arrow(0, (2,))]) == {0: "┌─", 1: "│ ", 2: "└►"}
    assert gutter([Arrow(3, (0, 1))]) == {0: "┌►", 1: "├►", 2: "│ ", 3: "└─"}
    assert gutter([Arrow(0, (4,)), Arrow(1, (3,))]) == {0: "┌──", 1: "│┌─", 2: "││ ", 3: "│└►", 4: "└─►"}
    assert gutter([Arrow(0, (2,)), Arrow(1, (3,))]) == {0: " ┌─", 1: "┌┼─", 2: "│└►", 3: "└─►"}
    assert not gutter([Arrow(at, (at + 20,)) for at in range(9)])
    assert not gutter([])
