"""Make one walk of docs/architecture.md and print what it calls: python -m tests.walked NAME.

In a process of its own, so that nothing is remembered from before.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from inspector.cli.main import main
from inspector.cli.open import app_of
from inspector.tui.picture import opened

ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 0.2
#: Behind this line stands what was called.
MARK = "-- called --"


class Calls:
    """What of ours is called, in order, as ``inspector/cli/show.py:run``."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(ROOT)):
            self.names.append(f"{path[len(str(ROOT)) + 1 :]}:{frame.f_code.co_qualname}")

    def __enter__(self) -> Calls:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


async def _keys(target: str, before: str, key: str) -> list[str]:
    """What a key calls in an application, behind others."""
    app = app_of(target)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(_PATIENCE_SECONDS)
        await pilot.press(*before.split())
        await pilot.pause(_PATIENCE_SECONDS)
        with Calls() as calls:
            await pilot.press(key)
            await pilot.pause(_PATIENCE_SECONDS)
    return calls.names


async def _open(target: str) -> list[str]:
    with Calls() as calls:
        app = app_of(target)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(app, pilot)
            await pilot.pause(_PATIENCE_SECONDS)
    return calls.names


def _command(*words: str) -> list[str]:
    with Calls() as calls:
        main(list(words))
    return calls.names


VERDICTS = ROOT / "tests/machine/verdicts/x86-skylake_x-linux-6.12.jsonl.gz"
WALKED: dict[str, Callable[[], list[str]]] = {
    "Bytes to screen": lambda: asyncio.run(_open("sample:amx/process.core")),
    "Toggled bit to outcome": lambda: asyncio.run(
        _keys("sim:guest-xfd", "n n n n n n slash x t i l e d a t a enter space", "f")
    ),
    "Key press to errno": lambda: asyncio.run(
        _keys("model:neoverse-n1-v1:neoverse-n1", "slash f e a t _ S H A 2 enter right", "right")
    ),
    "Model to verdict": lambda: _command("models", "check", "neoverse-v1-v1", "--host", "neoverse-n1@6.12"),
    "Recorded answer to agreement": lambda: _command("verify", str(VERDICTS)),
}

if __name__ == "__main__":
    called = WALKED[sys.argv[1]]()
    sys.stdout.write("\n".join(["", MARK, *called]))
