"""Random keys over all screens: ``python -m tests.monkey --keys 100000 --seed 7``. A failure names seed and keys.

Files are written nowhere: saving and pictures do nothing here.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

from textual import events
from textual.pilot import OutOfBounds, Pilot

from inspector.capture.errors import InspectorError
from inspector.cli.open import app_of, comparing
from inspector.readers.options import Options
from inspector.targets.moves import Move
from inspector.tui import keys
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.door import MigrationApp
from inspector.tui.key import keys_of
from inspector.tui.migrations import session_of
from inspector.tui.picture import opened
from inspector.tui.start import StartApp
from inspector.tui.tour_app import TourApp
from tests.fleet.fleets import small


class Place(NamedTuple):
    """Where keys begin: an application, made in a folder of its own, and the keys that lead to a screen of it."""

    screen: str
    make: Callable[[Path], BaseApp]
    keys: Sequence[str] = ()


def _moving(source: str, destination: str) -> MigrationApp:
    return MigrationApp(session_of(Move(source, destination), Options()))


def _fleet(folder: Path) -> BaseApp:
    return app_of(small(folder))


def _of(make: Callable[..., BaseApp], *words: object) -> Callable[[Path], BaseApp]:
    """What needs no folder."""
    return lambda _folder: make(*words)


_THREADS = "sample:zen5-kvm"
_EDIT = ("enter", "7", "enter", "v")
_XSTATE, _ARM64 = "sim:guest-xfd", "sim:arm64-sve-migration"
#: Every screen of the table of keys, by its name there; some of them on more than one thing.
PLACES = {
    "start": Place("start", _of(StartApp)),
    "folder": Place("inspect", _of(app_of, "sample:amx")),
    "core": Place("inspect", _of(app_of, "sample:amx/process.core")),
    "vCPUs": Place("inspect", _of(app_of, _THREADS)),
    "registers": Place("inspect", _of(app_of, "sample:arm64-kvm/max-linux-7.2.13.regs")),
    "compare": Place("compare", _of(app_of, _THREADS), ("c",)),
    "captures": Place("compare", _of(comparing, ("sample:amx", _THREADS, "sample:amx/process.core"))),
    "field": Place("field", _of(app_of, _THREADS), ("c", "n", "enter")),
    "edits": Place("edits", _of(app_of, "sample:amx/process.core"), ("colon", *"pkru", "enter", *_EDIT)),
    "findings": Place("findings", _of(app_of, "sample:amx"), ("exclamation_mark",)),
    "calls": Place("calls", _of(app_of, "sample:logs/refused-cpuid.strace.txt")),
    "xstate lab": Place("xstate lab", _of(app_of, _XSTATE)),
    "arm64 lab": Place("arm64 lab", _of(app_of, _ARM64)),
    "played": Place("xstate lab", _of(app_of, "sample:amx"), ("P",)),
    "simulated": Place("simulated", _of(app_of, _XSTATE), ("n", "n", "n", "o")),
    "timeline": Place("timeline", _of(app_of, _XSTATE), ("n", "n", "n", "T")),
    "against": Place("against", _of(app_of, _XSTATE), ("n", "n", "n", "A", *"kernel=6.1", "enter")),
    "id lab": Place("id lab", _of(app_of, "model:neoverse-v1-v1:neoverse-n1")),
    "two hosts": Place("id lab", _of(app_of, "model:host:grace,graviton3")),
    "x86 migration": Place("migration", _of(_moving, "sample:amx", "milan@6.18")),
    "arm64 migration": Place("migration", _of(_moving, "sample:arm64-kvm/max-linux-7.2.13.regs", "neoverse-n1")),
    "fleet": Place("fleet", _fleet),
    "tour": Place("xstate lab", _of(TourApp)),
}
_SIZES = ((80, 24), (120, 35), (160, 45), (220, 60), (40, 10))
#: Typed into whatever line is open.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_.*[]@#=- "
_OTHERS = ("enter", "escape", "tab", "shift+tab", "up", "down", "left", "right", "backspace", "question_mark")
#: Out of the program, and what takes a tenth of a second a key.
_NEVER, _SELDOM = ("ctrl+q",), ("t", "ctrl+p", "s")
#: As many keys come at once, as from a held key or a paste.
_AT_ONCE = 12
_RECALLED = 40
#: Keys from a beginning on.
_A_PLAY = 250
#: Keys from one line of progress to the next.
_TOLD_EACH = 5_000
#: Of the rounds, how many end with a click, and with another size of the terminal.
_CLICKS, _RESIZES = 0.15, 0.03
#: Where one is back at the lowest screen, how often the keys of the place come again.
_BACK = 0.5


def _keys_now(app: BaseApp, chance: random.Random) -> list[str]:
    """Some keys, most of them those of the screen that is shown."""
    screen = app.screen
    table = keys.help_of(screen.keys_name) if isinstance(screen, KeyedScreen) else keys.HELP
    own = [key for one, _ in keys_of(table) for key in one.keys.split(",") if key not in _NEVER]
    found = []
    for _ in range(chance.randint(1, _AT_ONCE)):
        kind = chance.random()
        key = chance.choice(own if kind < 0.7 else _OTHERS if kind < 0.85 else _LETTERS)
        if key not in _SELDOM or chance.random() < 0.05:
            # What is behind a leader is two keys.
            found.extend(key.split() or [key])
    return found


@contextmanager
def _nothing_is_written() -> Iterator[None]:
    with (
        mock.patch("inspector.export.files.save_new"),
        mock.patch("inspector.tui.picture.save_pictures", return_value=["x.svg"]),
    ):
        yield


async def play(name: str, seed: int, count: int, seen: Counter[str] | None = None) -> int:
    """Press so many keys, beginning at a place; how many there were. What leaves the program does nothing.

    ``seen`` counts them by the screen on which they came. Raises AssertionError where the program fails.
    """
    chance, place = random.Random(f"{name} {seed}"), PLACES[name]
    pressed, seen = list(place.keys), Counter() if seen is None else seen
    with TemporaryDirectory() as folder, _nothing_is_written():
        app = place.make(Path(folder))
        async with app.run_test(size=chance.choice(_SIZES), notifications=True) as pilot:
            await _arrive(app, pilot, place)
            app.exit = lambda *_, **__: None  # type: ignore[method-assign]
            while len(pressed) < count and _goes_on(app):
                is_left = len(app.screen_stack) == 1 and chance.random() < _BACK
                now = place.keys if is_left and place.keys else _keys_now(app, chance)
                pressed += await _round(app, pilot, chance, now, seen)
            failed: InspectorError | Exception | None = app.failure or app._exception
            app._exception = None
    # What fails while the program ends is raised by Textual.
    if failed is not None:
        raise AssertionError(f"{name}, seed {seed}: {failed!r} behind {' '.join(pressed[-_RECALLED:])}") from failed
    return len(pressed)


async def _arrive(app: BaseApp, pilot: Pilot[Any], place: Place) -> None:
    """Go to a place."""
    await opened(app, pilot)
    for key in place.keys:
        await pilot.press(key)
    screen = app.screen
    assert isinstance(screen, KeyedScreen)
    assert screen.keys_name == place.screen


async def _round(
    app: BaseApp, pilot: Pilot[Any], chance: random.Random, now: Sequence[str], seen: Counter[str]
) -> list[str]:
    """Keys at once, then perhaps a click or another size; what was done, in words."""
    done, screen = list(now), app.screen
    seen[screen.keys_name if isinstance(screen, KeyedScreen) else type(screen).__name__] += len(now)
    for key in now:
        app.post_message(events.Key(key, key if len(key) == 1 else None))
    await _settled(app)
    if chance.random() < _RESIZES and _goes_on(app):
        size = chance.choice(_SIZES)
        await pilot.resize_terminal(*size)
        done.append(f"<{size[0]}x{size[1]}>")
    if chance.random() < _CLICKS and _goes_on(app):
        at, times = (chance.randrange(app.size.width), chance.randrange(app.size.height)), chance.choice((1, 1, 2))
        with suppress(OutOfBounds):
            await pilot.click(offset=at, times=times)
        done.append(f"<{times} at {at[0]},{at[1]}>")
    return done


def _goes_on(app: BaseApp) -> bool:
    return not app._exit and app.failure is None and app._exception is None


async def _settled(app: BaseApp) -> None:
    """Wait until the keys have been taken: behind them comes a message of ours."""
    done = asyncio.Event()
    app.call_later(done.set)
    while not done.is_set() and not app._exit and app._exception is None:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)


class _Tally:
    """What has been pressed so far, and what failed."""

    def __init__(self) -> None:
        self.failures: set[str] = set()
        self.seen = Counter[str]()
        self._began = time.monotonic()

    @property
    def total(self) -> int:
        """Keys on all screens."""
        return self.seen.total()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def play(self, name: str, seed: int) -> None:
        """One round of a place; how far it is, each so many keys."""
        before = self.total
        try:
            asyncio.run(play(name, seed, _A_PLAY, self.seen))
        except Exception as error:  # noqa: BLE001 - any of them is a fault
            self.failures.add(f"{name}, seed {seed}: {error!r}")
            print(f"{name}, seed {seed}: {error!r}", flush=True)  # noqa: T201 - a program for developers
        if self.total // _TOLD_EACH > before // _TOLD_EACH:
            print(self, flush=True)  # noqa: T201

    def __str__(self) -> str:
        """In one line."""
        return f"{self.total} keys in {self.seconds:.0f} s, {len(self.failures)} failures"

    def tell(self) -> None:
        """All of it."""
        for name, count in self.seen.most_common():
            print(f"{count:>7} {name}")  # noqa: T201
        print(self, flush=True)  # noqa: T201


def main() -> None:
    """As the module says. Ctrl-C and SIGTERM end it; what was pressed until then is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after these")
    found = parser.parse_args()
    tally, seed = _Tally(), found.seed
    try:
        while tally.total < found.keys and tally.seconds < found.seconds:
            for name in PLACES:
                if tally.seconds > found.seconds:
                    break
                tally.play(name, seed)
            seed += 1
    except KeyboardInterrupt:
        print("interrupted", flush=True)  # noqa: T201
    tally.tell()
    raise SystemExit(bool(tally.failures))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
