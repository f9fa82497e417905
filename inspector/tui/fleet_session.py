"""What the Fleet screens work on: a store, what was asked about it so far, and the work that goes on. No toolkit.

Questions take seconds: a process answers them one after the other (``fleet_process.py``), and a thread takes the pieces
of its answers. They are put into the parts, and ``version`` counts up.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Thread

from inspector.capture.errors import InputError, UsageError
from inspector.fleet.checked import Checked
from inspector.fleet.common import Common
from inspector.fleet.facts import Document
from inspector.fleet.forecast import Forecast
from inspector.fleet.lattice import Lattice
from inspector.fleet.odd import Odd
from inspector.fleet.relation import Blocker
from inspector.fleet.store import Store
from inspector.tui import fleet_asker
from inspector.tui.fleet_asker import CHECK, FORECAST, LATTICE, ODD, Asker, Known, Piece, Progress, Question, Upgrade
from inspector.tui.fleet_process import AskedProcess
from layouts.arm64 import kernels as arm64_kernels
from layouts.kernels import release_numbers
from layouts.x86 import kernels as x86_kernels

#: So many names are offered for a word.
_MOST_COMPLETED = 24
#: A key takes a dozen turns of the screen's thread; each may wait for so long for the thread that takes pieces.
_SWITCH_SECONDS = 0.001
#: Looks at what is new: after so many objects, ten of these together; at what is old as good as never.
_LOOKS = (2_000, 10, 1_000_000)


class Part:
    """The hosts of one architecture, and what is known of them so far: None is not asked, or not there yet."""

    def __init__(self, arch: str, hosts: tuple[Known, ...], guests: tuple[Known, ...]) -> None:
        self.arch = arch
        self.hosts = hosts
        self.guests = guests
        self.lattice: Lattice | None = None
        self.common: list[Common] | None = None
        self.checked: list[Checked] | None = None
        #: By row of ``checked`` everything that is in the way of its guest somewhere.
        self.in_the_way: list[frozenset[Blocker]] = []
        self.odd: list[Odd] | None = None
        self.forecast: Forecast | None = None
        #: By host its class, by class its pool.
        self.class_of: dict[int, int] = {}
        self.pool_of: dict[int, int] = {}

    def take(self, piece: Piece) -> None:
        """An answer."""
        if piece.name == LATTICE:
            self._take_lattice(piece.head._replace(verdicts=piece.head.verdicts._replace(reasons=list(piece.rows))))
        elif piece.name == FORECAST:
            self.forecast = piece.head[1]._replace(pinned=tuple(piece.rows))
        elif piece.name == CHECK:
            self.in_the_way = [frozenset(why for one in row.refused for why in one.blockers) for row in piece.rows]
            self.checked = list(piece.rows)
        elif piece.name == ODD:
            self.odd = list(piece.rows)
        else:
            self.common = list(piece.rows)

    def _take_lattice(self, found: Lattice) -> None:
        """Who can move where."""
        self.class_of = {host: number for number, one in enumerate(found.classes) for host in one.hosts}
        self.pool_of = {one: number for number, pool in enumerate(found.pools) for one in pool}
        self.lattice = found

    def host_ids(self, number: int) -> list[int]:
        """The store's ids of the hosts of a class."""
        assert self.lattice is not None
        return [self.hosts[one].id for one in self.lattice.classes[number].hosts]

    def common_of(self, number: int) -> Common | None:
        """The guest that a class shares with others."""
        return next((one for one in self.common or () if number in one.classes), None)


@contextmanager
def _yielding() -> Iterator[None]:
    """Pieces are taken so that the screen's thread runs soon, without looking for circles in everything that there is.

    A look through all that a large store's answers are made of takes 0.2 s, during which nothing else runs; they have
    no circles, and stay.
    """
    before, looks = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_LOOKS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.freeze()
        gc.set_threshold(*looks)


class FleetSession:
    """An open store. Raises InputError for a file that is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        #: For names, a page at a time; not before ``has_names``.
        self.store = Store(path)
        self.counts = self.store.counts()
        self.has_names = False
        self.hosts: list[Known] = []
        self.parts: list[Part] = []
        self.upgrade: Upgrade | None = None
        self.notes: list[str] = []
        self.progress: Progress | None = Progress("reading the store", 0, 0)
        #: Why a question has no answer, by its name.
        self.wrong: dict[str, str] = {}
        self.version = 0
        #: Asked and not answered, those that the process knows of first.
        self._open: list[Question] = [Question(LATTICE)]
        self._sent = 0
        self._asked = {LATTICE}
        self._process: AskedProcess | None = None
        self._thread: Thread | None = None
        self._lock = Lock()
        self._is_closed = False

    # The work

    def start(self) -> None:
        """Have a process work on what was asked, if there is anything."""
        with self._lock:
            if self._process is not None:
                self._send()
            elif self._open and self._thread is None and not self._is_closed:
                self._thread = Thread(target=self._follow, name="fleet", daemon=True)
                self._thread.start()

    def work(self) -> None:
        """Answer everything that was asked, here and now."""
        self._read_names()
        asker = Asker(self.path, self._take)
        while self._open and not self._is_closed:
            asker.answer(self._open[0])

    def _send(self) -> None:
        """Tell the process what it was not asked yet; with the lock held."""
        assert self._process is not None
        for question in self._open[self._sent :]:
            self._process.ask(question)
        self._sent = len(self._open)

    def _follow(self) -> None:
        """Take what the process tells, as long as it is there."""
        try:
            process = AskedProcess(self.path)
        except OSError as error:
            self._lost(f"no process can be made to ask ({error.strerror or error})")
            return
        with self._lock:
            self._process = process
            self._send()
        self._read_names()
        try:
            while not self._is_closed:
                process.wait()
                with _yielding():
                    self._take(process.take())
        except EOFError:
            pass
        self._lost(f"the process that asks ended ({process.end()}); the question's key asks again")

    def _lost(self, why: str) -> None:
        """There will be no more answers."""
        with self._lock:
            self._process, self._thread = None, None
            if self._is_closed:
                return
            self.wrong |= {question.name: why for question in self._open}
            self._open, self._sent, self.progress = [], 0, None
            self.version += 1

    def _read_names(self) -> None:
        """Names are this process's own to read."""
        try:
            self.store.prepare_names()
        except InputError as error:
            self.wrong[LATTICE] = str(error)
        else:
            self.has_names = True
        self.version += 1

    @property
    def is_busy(self) -> bool:
        """Something that was asked is not answered yet."""
        return self.progress is not None and not self._is_closed

    def close(self) -> None:
        """Stop asking."""
        self._is_closed = True
        with self._lock:
            if self._process is not None:
                self._process.kill()

    # The answers

    def _take(self, piece: Piece) -> None:
        """A piece of an answer."""
        if piece.name == fleet_asker.PROGRESS:
            self.progress = piece.head
            return
        if piece.name in (fleet_asker.DONE, fleet_asker.WRONG):
            self._close_question(piece)
        elif piece.name == fleet_asker.NOTE:
            self.notes.append(piece.head)
        elif piece.name == fleet_asker.HOSTS:
            self.hosts, self.parts = list(piece.rows), []
        elif piece.name == fleet_asker.PART:
            hosts, guests = (tuple(one for one in piece.rows if one.table == name) for name in ("hosts", "guests"))
            self.parts = [*self.parts, Part(piece.arch, hosts, guests)]
        else:
            part = next(part for part in self.parts if part.arch == piece.arch)
            if piece.name != FORECAST or piece.head[0] == self.upgrade:
                part.take(piece)
        self.version += 1

    def _close_question(self, piece: Piece) -> None:
        with self._lock:
            question, why = piece.head if piece.name == fleet_asker.WRONG else (piece.head, "")
            if why:
                self.wrong[question.name] = why
            if question in self._open:
                self._open.remove(question)
                self._sent -= 1
            if not self._open:
                self.progress = None

    # The questions

    def ask(self, name: str, *, again: bool = False) -> None:
        """Ask a question that takes no words, once; ``again`` where it could not be answered."""
        if name in (LATTICE, CHECK, ODD):
            self._ask(Question(name), again=again and name in self.wrong)

    def _ask(self, question: Question, *, again: bool) -> None:
        with self._lock:
            if question.name in self._asked and not again:
                return
            self._asked.add(question.name)
            self.wrong.pop(question.name, None)
            self._open.append(question)
            self.progress = self.progress or Progress("asking", 0, 0)

    def ask_forecast(self, text: str) -> str:
        """Ask for the forecast of ``KERNEL [HOSTS...]``; what is wrong with the words, else nothing."""
        kernel, *patterns = text.split() or [""]
        if release_numbers(kernel) is None:
            return f"{kernel or 'nothing'}: expected a release of Linux, as 7.3, and names or patterns of hosts"
        wanted = Upgrade(kernel, tuple(patterns) or ("*",))
        if not self.has_names:
            return "the store is still being read"
        missing = [one for one in wanted.hosts if not self.store.names_like(one, 1)]
        if missing:
            return f"{' '.join(missing)}: no host has such a name"
        if wanted != self.upgrade or FORECAST in self.wrong:
            self.upgrade = wanted
            for part in self.parts:
                part.forecast = None
            self._ask(Question(FORECAST, wanted), again=True)
        return ""

    def completed(self, text: str) -> list[str]:
        """What the words of a forecast can become."""
        head, space, last = text.rpartition(" ")
        if not space:
            known = {*x86_kernels.kernels(), *arm64_kernels.kernels()}
            releases = sorted(known, key=lambda one: release_numbers(one) or (0, 0))
            return [one for one in releases if one.startswith(last)]
        if not self.has_names:
            return []
        return [f"{head} {name}" for name in self.store.names_like(f"{last}*", _MOST_COMPLETED)]

    def require_names(self) -> Store:
        """The store, for names. Raises UsageError while it is read."""
        if not self.has_names:
            raise UsageError(f"{self.path}: the store is still being read")
        return self.store

    def facts_of(self, known: Known) -> Document:
        """All of what is known in short. Raises InputError."""
        return self.store.facts_of(known.table, known.id)
