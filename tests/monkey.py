"""Random keys over all screens: ``python -m tests.monkey --keys 100000 --seed 7``. A failure names seed and keys.

Files are written nowhere: saving and pictures do nothing here.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from textual import events

from inspector.capture.errors import InspectorError
from inspector.cli.open import app_of
from inspector.tui import keys
from inspector.tui.base_app import BaseApp, KeyedScreen
from inspector.tui.key import keys_of
from inspector.tui.picture import opened
from inspector.tui.start import StartApp

#: What the keys begin on; an empty word is the start screen.
TARGETS = (
    "",
    "sample:amx",
    "sample:amx/process.core",
    "sample:zen5-kvm",
    "sample:arm64-kvm/max-linux-7.2.13.regs",
    "sim:guest-xfd",
    "sim:arm64-sve-migration",
    "model:neoverse-v1-v1:neoverse-n1",
)
_SIZES = ((80, 24), (120, 35), (160, 45), (40, 10))
#: Typed into whatever line is open.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_.*[]@#=- "
_OTHERS = ("enter", "escape", "tab", "shift+tab", "up", "down", "left", "right", "backspace", "question_mark")
#: Out of the program, and what takes a tenth of a second a key.
_NEVER, _SELDOM = ("ctrl+q",), ("t", "ctrl+p", "s")
#: As many keys come at once, as from a held key or a paste.
_AT_ONCE = 12
_RECALLED = 40


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


async def play(target: str, seed: int, count: int) -> int:
    """Press so many keys on a target; how many there were. What leaves the program does nothing.

    Raises AssertionError where the program fails.
    """
    chance = random.Random(f"{target} {seed}")
    app = app_of(target) if target else StartApp()
    pressed: list[str] = []
    with _nothing_is_written():
        async with app.run_test(size=chance.choice(_SIZES), notifications=True) as pilot:
            await opened(app, pilot)
            app.exit = lambda *_, **__: None  # type: ignore[method-assign]
            while len(pressed) < count and not app._exit:
                for key in _keys_now(app, chance):
                    pressed.append(key)
                    app.post_message(events.Key(key, key if len(key) == 1 else None))
                await _settled(app)
                if app.failure is not None or app._exception is not None:
                    break
            failed: InspectorError | Exception | None = app.failure or app._exception
            app._exception = None
    if failed is not None:
        raise AssertionError(f"{target!r}, seed {seed}: {failed!r} behind {' '.join(pressed[-_RECALLED:])}") from failed
    return len(pressed)


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
    began, total, seed, failures = time.monotonic(), 0, found.seed, set()
    while total < found.keys and time.monotonic() - began < found.seconds:
        for target in TARGETS:
            try:
                total += asyncio.run(play(target, seed, 500))
            except AssertionError as error:
                failures.add(str(error))
                print(error, flush=True)  # noqa: T201 - a program for developers
        seed += 1
    print(f"{total} keys in {time.monotonic() - began:.0f} s, {len(failures)} failures")  # noqa: T201
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
