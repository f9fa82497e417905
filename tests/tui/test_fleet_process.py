"""The process that answers a Fleet screen's questions, and what the screen says when it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import Pipe
from threading import Thread

import pytest

from inspector.fleet.hosts import fleets
from inspector.fleet.store import Store
from inspector.tui import fleet_process, fleet_session
from inspector.tui.fleet_asker import (
    CHECK,
    DONE,
    FORECAST,
    LATTICE,
    ODD,
    Asker,
    Piece,
    Question,
    SupersededError,
    Upgrade,
)
from inspector.tui.fleet_process import AskedProcess
from inspector.tui.fleet_session import FleetSession
from inspector.tui.fleet_views import VIEWS
from tests.fleet.fleets import small


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small(tmp_path_factory.mktemp("fleet"))


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_answers_and_one_that_is_killed_is_told_and_asked_again(path: str) -> None:
    session = FleetSession(path)
    session.start()
    until(lambda: not session.is_busy)
    assert [part.lattice is not None and part.common is not None for part in session.parts] == [True, True]
    asked = session._process
    assert isinstance(asked, AskedProcess)
    session.ask(ODD)
    asked.kill()
    session.start()
    until(lambda: not session.is_busy)
    line = "the process that asks ended (killed by SIGKILL); the question's key asks again"
    assert session.wrong == {ODD: line}
    assert next(VIEWS[ODD](session).said(0)).text == line
    session.ask(ODD)
    assert not session.is_busy
    session.ask(ODD, again=True)
    session.start()
    until(lambda: not session.is_busy)
    assert not session.wrong
    assert [part.odd for part in session.parts] == [[], []]
    asked = session._process
    session.close()
    assert asked is not None
    assert asked._process.wait(5)


def test_no_process_can_be_made(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_store: str) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(fleet_session, "AskedProcess", full)
    session = FleetSession(path)
    session.start()
    until(lambda: not session.is_busy)
    assert session.wrong == {LATTICE: "no process can be made to ask (Resource temporarily unavailable)"}


def test_no_message_is_long(path: str) -> None:
    """However long an answer is: what the screen's process takes at once is a few rows."""
    ours, theirs = Pipe()
    rows = [("guest", number) for number in range(50)]
    Thread(target=fleet_process._Served(path, theirs)._tell, args=(Piece(CHECK, "x86", None, rows),)).start()
    head, count = ours.recv()
    assert (head, count) == (Piece(CHECK, "x86"), 50)
    slices: list[list[tuple[str, int]]] = []
    while sum(len(one) for one in slices) < count:
        slices.append(ours.recv())
    assert max(len(one) for one in slices) == fleet_process._ROWS
    assert [row for one in slices for row in one] == rows


def test_another_forecast_is_instead_of_the_one_that_is_worked_on(path: str) -> None:
    ours, theirs = Pipe()
    served = fleet_process._Served(path, theirs)
    first, second = (Question(FORECAST, Upgrade(kernel, ("*",))) for kernel in ("6.18", "7.3"))
    ours.send(second)
    served._name = FORECAST
    with pytest.raises(SupersededError):
        served._heed()
    told: list[Piece] = []
    Asker(path, told.append, served._heed).answer(first)
    assert told == [Piece(DONE, head=first)]
    served._name = CHECK
    served._heed()


def test_verdicts_are_told_in_a_byte_and_a_number(path: str) -> None:
    with Store(path) as store:
        for fleet in fleets(store, print):
            found = fleet.lattice()
            told = found._replace(verdicts=found.verdicts.told())
            classes = range(len(found.classes))
            for pair in ((one, other) for one in classes for other in classes):
                assert told.may(*pair) == found.may(*pair)
                assert told.blockers(*pair) == found.blockers(*pair)
