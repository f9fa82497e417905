"""Questions to a store, and answers in pieces that are small enough to go between processes. No toolkit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from inspector.capture.bug import told
from inspector.fleet.checked import check
from inspector.fleet.facts import digest
from inspector.fleet.forecast import forecast
from inspector.fleet.hosts import Fleet, fleets, title
from inspector.fleet.lattice import Lattice
from inspector.fleet.odd import odd
from inspector.fleet.store import Kept, Store

LATTICE, CHECK, ODD, FORECAST = "lattice", "check", "odd", "forecast"
#: Pieces that are no answers: how far the work is, what a person should know, a question's end.
PROGRESS, NOTE, DONE, WRONG = "progress", "note", "done", "wrong"
#: Pieces of LATTICE: all distinct hosts, the hosts and guests of an architecture, the best guest.
HOSTS, PART, COMMON = "hosts", "part", "common"
#: Progress is told so often.
_TELL_SECONDS = 0.05


class Progress(NamedTuple):
    """What is worked on, and how far it is; ``total`` 0: nobody knows."""

    what: str
    done: int
    total: int


class Upgrade(NamedTuple):
    """A forecast's question: the kernel, and patterns of names of the hosts that get it."""

    kernel: str
    hosts: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """As the command takes it."""
        return ["--kernel", self.kernel, "--on", *self.hosts]


class Question(NamedTuple):
    """What is asked; a forecast has its upgrade."""

    name: str
    upgrade: Upgrade | None = None


class Known(NamedTuple):
    """Distinct facts in short: where they are in the store, how many captures have them, and what they are."""

    table: str
    id: int
    captures: int
    name: str
    title: str
    digest: str


class Piece(NamedTuple):
    """A part of an answer. ``head`` is small; of ``rows`` there may be many."""

    name: str
    arch: str = ""
    head: Any = None
    rows: Sequence[Any] = ()


class SupersededError(Exception):
    """Nobody waits for this answer any more."""


class Asker:
    """A store that is asked. ``tell`` takes pieces, ``heed`` is called between them and may raise SupersededError."""

    def __init__(self, path: str, tell: Callable[[Piece], None], heed: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._tell = tell
        self._heed = heed
        self._store: Store | None = None
        self._fleets: list[Fleet] = []
        self._told_at = 0.0

    def answer(self, question: Question) -> None:
        """Tell the answer to a question, and that it is one; or what is wrong."""
        asked: dict[str, Callable[[], None]] = {
            LATTICE: self._lattice,
            CHECK: self._check,
            ODD: self._odd,
            FORECAST: lambda: self._forecast(question.upgrade),
        }
        try:
            asked[question.name]()
        except SupersededError:
            pass
        except Exception as error:  # noqa: BLE001 - told on screen; told() says which are bugs
            self._tell(Piece(WRONG, head=(question, str(told(error)))))
            return
        self._tell(Piece(DONE, head=question))

    def _progress(self, what: str) -> Callable[[int, int], None]:
        """Tell of work that begins; what it returns tells how far it is, not too often."""
        self._heed()
        self._tell(Piece(PROGRESS, head=Progress(what, 0, 0)))

        def progress(done: int, total: int) -> None:
            self._heed()
            if time.monotonic() - self._told_at > _TELL_SECONDS:
                self._told_at = time.monotonic()
                self._tell(Piece(PROGRESS, head=Progress(what, done, total)))

        return progress

    @property
    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store(self._path)
        return self._store

    def _known(self) -> list[Fleet]:
        """The machine's hosts, made once."""
        if not self._fleets:
            self._progress("making the hosts")
            self._fleets = fleets(self._opened, lambda text: self._tell(Piece(NOTE, head=text)))
        return self._fleets

    def _lattice(self) -> None:
        self._progress("reading the store")
        self._tell(Piece(HOSTS, rows=list(_in_short("hosts", self._opened.hosts()))))
        found: list[tuple[Fleet, Lattice]] = []
        for fleet in self._known():
            hosts, guests = (_in_short(*one) for one in (("hosts", fleet.hosts), ("guests", fleet.guests)))
            self._tell(Piece(PART, fleet.arch, rows=[*hosts, *guests]))
        for fleet in self._known():
            made = fleet.lattice(self._progress(f"asking who can move where: {fleet.arch} hosts"))
            found.append((fleet, made))
            verdicts = made.verdicts.told()
            head = made._replace(verdicts=verdicts._replace(reasons=[]))
            self._tell(Piece(LATTICE, fleet.arch, head, verdicts.reasons))
        for fleet, made in found:
            self._progress(f"looking for the best guest of all: {fleet.arch}")
            self._tell(Piece(COMMON, fleet.arch, rows=fleet.common(made)))

    def _check(self) -> None:
        homes = self._opened.homes()
        for fleet in self._known():
            telling = self._progress(f"asking which guests arrive where: {fleet.arch} guests")
            self._tell(Piece(CHECK, fleet.arch, rows=check(fleet, homes, telling)))

    def _odd(self) -> None:
        for fleet in self._known():
            self._progress(f"looking for the odd ones: {fleet.arch} hosts")
            self._tell(Piece(ODD, fleet.arch, rows=odd(fleet)))

    def _forecast(self, upgrade: Upgrade | None) -> None:
        assert upgrade is not None
        chosen: dict[int, int] = {}
        for host in self._opened.named(upgrade.hosts).values():
            chosen[host] = chosen.get(host, 0) + 1
        for fleet in self._known():
            telling = self._progress(f"asking what Linux {upgrade.kernel} does: {fleet.arch} guests")
            found = forecast(fleet, upgrade.kernel, chosen, telling)
            self._tell(Piece(FORECAST, fleet.arch, (upgrade, found._replace(pinned=())), found.pinned))


def _in_short(table: str, found: Iterable[Kept]) -> Iterator[Known]:
    for kept in found:
        yield Known(table, kept.id, kept.captures, kept.name, title(kept.facts), digest(kept.facts))
