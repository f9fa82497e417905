"""The Fleet screen while questions are asked: how long a key waits for its line, how long the event loop for its turn.

    python -m benchmarks.fleet_screen STORE

Opens a store in a pseudo-terminal, asks one question after the other, and moves through the list while each is worked
on. A task in the program wakes every 5 ms; what it wakes late is what anything else in the loop would have waited. On a
busy machine run it before the others (``chrt -r 1``).
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
import tempfile
import time

from benchmarks.terminal import Program

_TICK_SECONDS = 0.005
_KEY_SECONDS = 0.12
_ASKED_SECONDS = 6.0
#: A question as keys, then what leads back to the list.
_QUESTIONS = {
    "lattice": "",
    "nothing": "p",
    "check": "cp",
    "odd": "op",
    "baseline": "bp",
    "forecast": "f7.3 *\rp",
    "search": "/",
}
_SEARCH = "host0999\x7f\x7f\x7f123"


def probed(store: str, out: str) -> None:
    """The program with the task in it; when it ends, ``out`` has the times and waits in seconds."""
    from inspector.cli.open import app_of

    waits: list[tuple[float, float]] = []

    async def tick() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_TICK_SECONDS)
            waits.append((begun, time.perf_counter() - begun - _TICK_SECONDS))

    async def run() -> None:
        ticking = asyncio.create_task(tick())
        await app_of(f"fleet:{store}").run_async()
        ticking.cancel()

    asyncio.run(run())
    with open(out, "w", encoding="utf-8") as file:
        json.dump(waits, file)


def press(program: Program, key: str, seconds: float = _KEY_SECONDS) -> float:
    """Press a key and take what comes for a while; seconds to its first byte."""
    begun = time.perf_counter()
    os.write(program.descriptor, key.encode())
    first = seconds
    while (left := begun + seconds - time.perf_counter()) > 0:
        if select.select([program.descriptor], [], [], left)[0]:
            os.read(program.descriptor, 1 << 16)
            first = min(first, time.perf_counter() - begun)
    return first


def asked(program: Program, question: str) -> list[float]:
    """Ask a question and go on through the list; seconds of each key."""
    for key in _QUESTIONS[question]:
        press(program, key)
    end = time.perf_counter() + _ASKED_SECONDS
    moves = _SEARCH if question == "search" else "jjjjkkkk"
    found: list[float] = []
    while time.perf_counter() < end:
        found.append(press(program, moves[len(found) % len(moves)]))
    return found


def main(store: str) -> None:
    """Print a line a question."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "waits")
        program = Program([sys.executable, "-m", "benchmarks.fleet_screen", "probe", store, out])
        program.until(b", Linux")
        begins, keys = [], {}
        for question in _QUESTIONS:
            begins.append((time.perf_counter(), question))
            keys[question] = sorted(asked(program, question))
        press(program, "\x1b", 1)
        os.write(program.descriptor, b"q")
        os.waitpid(program.child, 0)
        os.close(program.descriptor)
        with open(out, encoding="utf-8") as file:
            waits = json.load(file)
    print(f"{'while asked':<12} {'key ms median':>14} {'95 of 100':>10} {'loop ms most':>13}")
    for (begun, question), (end, _) in zip(begins, [*begins[1:], (float("inf"), "")], strict=True):
        found = keys[question]
        most = max(wait for at, wait in waits if begun <= at < end)
        median, most_keys = found[len(found) // 2], found[int(0.95 * (len(found) - 1))]
        print(f"{question:<12} {1000 * median:>14.0f} {1000 * most_keys:>10.0f} {1000 * most:>13.0f}")


if __name__ == "__main__":
    if sys.argv[1] == "probe":
        probed(*sys.argv[2:])
    else:
        main(sys.argv[1])
