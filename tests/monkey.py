"""Random keys over all screens: ``python -m tests.monkey --keys 100000 --seed 7``. A failure names seed and keys.

Files are written nowhere: saving and pictures do nothing here.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
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


class Place(NamedTuple):
    """Where keys begin: an application, and the keys that lead to a screen of it."""

    screen: str
    make: Callable[[], BaseApp]
    keys: Sequence[str] = ()


def _moving(source: str, destination: str) -> MigrationApp:
    return MigrationApp(session_of(Move(source, destination), Options()))


_THREADS = "sample:zen5-kvm"
_EDIT = ("enter", "7", "enter", "v")
_EDIT = ("enter", "7", "enter", "v")
_XSTATE, _ARM64 = "sim:guest-xfd", "sim:arm64-sve-migration"
#: Every screen of the table of keys, by its name there; some of them on more than one thing.
PLACES = {
    "start": Place("start", StartApp),
    "folder": Place("inspect", partial(app_of, "sample:amx")),
    "core": Place("inspect", partial(app_of, "sample:amx/process.core")),
    "vCPUs": Place("inspect", partial(app_of, _THREADS)),
    "registers": Place("inspect", partial(app_of, "sample:arm64-kvm/max-linux-7.2.13.regs")),
    "compare": Place("compare", partial(app_of, _THREADS), ("c",)),
    "captures": Place("compare", partial(comparing, ("sample:amx", _THREADS, "sample:amx/process.core"))),
    "field": Place("field", partial(app_of, _THREADS), ("c", "n", "enter")),
    "edits": Place("edits", partial(app_of, "sample:amx/process.core"), ("colon", *"pkru", "enter", *_EDIT)),
    "findings": Place("findings", partial(app_of, "sample:amx"), ("exclamation_mark",)),
    "calls": Place("calls", partial(app_of, "sample:logs/refused-cpuid.strace.txt")),
    "xstate lab": Place("xstate lab", partial(app_of, _XSTATE)),
    "arm64 lab": Place("arm64 lab", partial(app_of, _ARM64)),
    "played": Place("xstate lab", partial(app_of, "sample:amx"), ("P",)),
    "simulated": Place("simulated", partial(app_of, _XSTATE), ("n", "n", "n", "o")),
    "timeline": Place("timeline", partial(app_of, _XSTATE), ("n", "n", "n", "T")),
    "against": Place("against", partial(app_of, _XSTATE), ("n", "n", "n", "A", *"kernel=6.1", "enter")),
    "id lab": Place("id lab", partial(app_of, "model:neoverse-v1-v1:neoverse-n1")),
    "two hosts": Place("id lab", partial(app_of, "model:host:grace,graviton3")),
    "x86 migration": Place("migration", partial(_moving, "sample:amx", "milan@6.18")),
    "arm64 migration": Place("migration", partial(_moving, "sample:arm64-kvm/max-linux-7.2.13.regs", "neoverse-n1")),
    "tour": Place("xstate lab", TourApp),
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
    app, pressed = place.make(), list(place.keys)
    seen = Counter() if seen is None else seen
    with _nothing_is_written():
        async with app.run_test(size=chance.choice(_SIZES), notifications=True) as pilot:
            await _arrive(app, pilot, place)
            app.exit = lambda *_, **__: None  # type: ignore[method-assign]
            while len(pressed) < count and _goes_on(app):
                is_left = len(app.screen_stack) == 1 and chance.random() < _BACK
                now = place.keys if is_left and place.keys else _keys_now(app, chance)
                pressed += await _round(app, pilot, chance, now, seen)
            failed: InspectorError | Exception | None = app.failure or app._exception
            app._exception = None
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


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after these")
    found = parser.parse_args()
    began, total, seed, failures, seen = time.monotonic(), 0, found.seed, set(), Counter[str]()
    while total < found.keys and time.monotonic() - began < found.seconds:
        for name in PLACES:
            try:
                total += asyncio.run(play(name, seed, _A_PLAY, seen))
            except AssertionError as error:
                failures.add(str(error))
                print(error, flush=True)  # noqa: T201 - a program for developers
        seed += 1
    for name, count in seen.most_common():
        print(f"{count:>7} {name}")  # noqa: T201
    print(f"{total} keys in {time.monotonic() - began:.0f} s, {len(failures)} failures")  # noqa: T201
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
