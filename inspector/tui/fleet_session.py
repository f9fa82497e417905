"""What the Fleet screens work on: a store, what was asked about it so far, and the work that goes on. No toolkit.

Questions take seconds: they are asked one after the other in a thread, with a connection of its own. What it finds is
put into the parts, and ``version`` counts up.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import NamedTuple

from inspector.capture.bug import told
from inspector.capture.errors import UsageError
from inspector.fleet.checked import Checked, check
from inspector.fleet.common import Common
from inspector.fleet.forecast import Forecast, forecast
from inspector.fleet.hosts import Fleet, fleets
from inspector.fleet.lattice import Lattice
from inspector.fleet.odd import Odd, odd
from inspector.fleet.store import Kept, Store
from layouts.arm64 import kernels as arm64_kernels
from layouts.kernels import release_numbers
from layouts.x86 import kernels as x86_kernels

#: So many names are offered for a word.
_MOST_COMPLETED = 24
#: A key takes a dozen turns of the screen's thread; each may wait for so long.
_SWITCH_SECONDS = 0.001
#: Looks at what is new: after so many objects, ten of these together; at what is old as good as never.
_LOOKS = (2_000, 10, 1_000_000)
LATTICE, CHECK, ODD, FORECAST = "lattice", "check", "odd", "forecast"


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


class Part:
    """The hosts of one architecture, and what is known of them so far: None is not asked, or not there yet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.lattice: Lattice | None = None
        self.common: list[Common] | None = None
        self.checked: list[Checked] | None = None
        self.odd: list[Odd] | None = None
        self.forecast: Forecast | None = None
        #: By host its class, by class its pool.
        self.class_of: dict[int, int] = {}
        self.pool_of: dict[int, int] = {}

    def take(self, found: Lattice) -> None:
        """Who can move where."""
        self.class_of = {host: number for number, one in enumerate(found.classes) for host in one.hosts}
        self.pool_of = {one: number for number, pool in enumerate(found.pools) for one in pool}
        self.lattice = found

    def host_ids(self, number: int) -> list[int]:
        """The store's ids of the hosts of a class."""
        assert self.lattice is not None
        return [self.fleet.hosts[one].id for one in self.lattice.classes[number].hosts]

    def common_of(self, number: int) -> Common | None:
        """The guest that a class shares with others."""
        return next((one for one in self.common or () if number in one.classes), None)


class _EndedError(Exception):
    """The screen is gone: nobody waits for the answer."""


@contextmanager
def _yielding() -> Iterator[None]:
    """Work that lets the screen's thread run soon, and never looks for circles in everything that there is.

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
        self.hosts: list[Kept] = []
        self.parts: list[Part] = []
        self.upgrade: Upgrade | None = None
        self.notes: list[str] = []
        self.progress: Progress | None = Progress("reading the store", 0, 0)
        #: Why a question has no answer, by its name.
        self.wrong: dict[str, str] = {}
        self.version = 0
        self._asking: Store | None = None
        self._jobs: deque[tuple[str, Callable[[], None]]] = deque([(LATTICE, self._read)])
        self._asked = {LATTICE}
        self._thread: Thread | None = None
        self._lock = Lock()
        self._is_closed = False

    # The work

    def start(self) -> None:
        """Work on what was asked, in a thread, if there is anything."""
        with self._lock:
            if self._jobs and self._thread is None and not self._is_closed:
                self._thread = Thread(target=self.work, name="fleet", daemon=True)
                self._thread.start()

    def work(self) -> None:
        """Answer everything that was asked, here and now."""
        with _yielding():
            while (job := self._next()) is not None:
                name, run = job
                try:
                    run()
                except _EndedError:
                    pass
                except Exception as error:  # noqa: BLE001 - told on screen; told() says which are bugs
                    self.wrong[name] = str(told(error))
                self._changed()

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._lock:
            if self._jobs and not self._is_closed:
                return self._jobs.popleft()
            self._thread, self.progress = None, None
            self.version += 1
            return None

    @property
    def is_busy(self) -> bool:
        """Something that was asked is not answered yet."""
        return self.progress is not None and not self._is_closed

    def close(self) -> None:
        """Stop asking."""
        self._is_closed = True

    def _changed(self) -> None:
        self.version += 1

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._is_closed:
            raise _EndedError
        self.progress = Progress(what, done, total)

    def _telling(self, what: str) -> Callable[[int, int], None]:
        self._tell(what, 0, 0)
        return lambda done, total: self._tell(what, done, total)

    def _ask(self, name: str, run: Callable[[], None], *, again: bool = False) -> None:
        with self._lock:
            if name in self._asked and not again:
                return
            self._asked.add(name)
            self.wrong.pop(name, None)
            self._jobs.append((name, run))
            self.progress = self.progress or Progress("asking", 0, 0)

    # The questions

    def _read(self) -> None:
        self.store.prepare_names()
        self.has_names = True
        self._asking = Store(self.path)
        self.hosts = self._asking.hosts()
        self._changed()
        self._tell("making the hosts", 0, 0)
        self.parts = [Part(fleet) for fleet in fleets(self._asking, self.notes.append)]
        for part in self.parts:
            part.take(part.fleet.lattice(self._telling(f"asking who can move where: {part.fleet.arch} hosts")))
            self._changed()
        for part in self.parts:
            assert part.lattice is not None
            self._tell(f"looking for the best guest of all: {part.fleet.arch}", 0, 0)
            part.common = part.fleet.common(part.lattice)

    def ask(self, name: str) -> None:
        """Ask a question that takes no words, once."""
        questions = {CHECK: self._check, ODD: self._odd}
        if name in questions:
            self._ask(name, questions[name])

    def _check(self) -> None:
        assert self._asking is not None
        homes = self._asking.homes()
        for part in self.parts:
            telling = self._telling(f"asking which guests arrive where: {part.fleet.arch} guests")
            part.checked = check(part.fleet, homes, telling)

    def _odd(self) -> None:
        for part in self.parts:
            self._tell(f"looking for the odd ones: {part.fleet.arch} hosts", 0, 0)
            part.odd = odd(part.fleet)

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
            self._ask(FORECAST, lambda: self._forecast(wanted), again=True)
        return ""

    def _forecast(self, wanted: Upgrade) -> None:
        assert self._asking is not None
        chosen: dict[int, int] = {}
        for host in self._asking.named(wanted.hosts).values():
            chosen[host] = chosen.get(host, 0) + 1
        for part in self.parts:
            telling = self._telling(f"asking what Linux {wanted.kernel} does: {part.fleet.arch} guests")
            found = forecast(part.fleet, wanted.kernel, chosen, telling)
            if self.upgrade == wanted:
                part.forecast = found

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
