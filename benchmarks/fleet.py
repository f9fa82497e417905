"""100,000 captures of 300 distinct hosts: added, and asked who can move where.

    python -m benchmarks.fleet [CAPTURES [HOSTS [PROCESSES]]]

The hosts are a shipped one with one to three features taken away and one of three kernels; a line of standard input
each, with its own name and time. Prints seconds (wall), captures a second and the most memory of a process.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator

from inspector.fleet.adding import add
from inspector.fleet.gather import gather
from inspector.fleet.hosts import fleets
from inspector.fleet.sources import items
from inspector.fleet.store import Store
from inspector.targets.samples import path_of

_SAMPLE = "sample:sapphire-rapids/linux-6.1"
_KERNELS = ("5.10", "6.1", "6.18")


def records(hosts: int) -> list[str]:
    """CPU records of as many distinct hosts, as text."""
    chosen = random.Random(7)
    with open(path_of(_SAMPLE), encoding="utf-8") as file:
        lines = file.read().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("0x7.0x0 "))
    kernel = next(number for number, line in enumerate(lines) if line.startswith("kernel "))
    row = [int(word, 16) for word in lines[at].partition("[")[2].rstrip("]").split(",")]
    features = [bit for bit in range(32) if row[1] >> bit & 1]
    taken = [set(one) for count in (1, 2, 3) for one in itertools.combinations(features, count)]
    found: dict[str, None] = {}
    for number in range(10 * hosts):
        off = taken[chosen.randrange(len(taken))]
        mine = [row[0], row[1] & ~sum(1 << bit for bit in off), *row[2:]]
        changed = list(lines)
        changed[at] = f"0x7.0x0 = [{', '.join(f'0x{word:08x}' for word in mine)}]"
        changed[kernel] = f'kernel = "{_KERNELS[number % len(_KERNELS)]}.100-example"'
        found["\n".join(changed)] = None
        if len(found) == hosts:
            break
    return list(found)


def captures(count: int, texts: list[str]) -> Iterator[bytes]:
    """Lines of JSON, the popular hosts more often."""
    chosen = random.Random(11)
    packed = [json.dumps(text) for text in texts]
    for number in range(count):
        which = number if number < len(packed) else min(chosen.randrange(len(packed)), chosen.randrange(len(packed)))
        when = f"2026-01-{1 + number % 28:02}T00:00:00Z"
        yield f'{{"name": "host{number:06}", "time": "{when}", "text": {packed[which]}}}\n'.encode()


def run(count: int, hosts: int, processes: int, folder: str) -> dict[str, float]:
    """Make the captures, add them, and ask; what it took."""
    path = os.path.join(folder, "captures.jsonl")
    with open(path, "wb") as file:
        file.writelines(captures(count, records(hosts)))
    gather(_SAMPLE)
    with Store(os.path.join(folder, "fleet.db"), create=True) as store:
        begun = time.perf_counter()
        add(store, items([path]), processes=processes)
        added = time.perf_counter()
        (fleet,) = fleets(store, print)
        found = fleet.lattice()
        fleet.common(found)
        asked = time.perf_counter()
        kept = store.counts()
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "captures": kept.captures,
        "hosts": kept.hosts,
        "classes": len(found.classes),
        "pools": len(found.pools),
        "input_mb": os.path.getsize(path) / 1e6,
        "store_mb": os.path.getsize(os.path.join(folder, "fleet.db")) / 1e6,
        "add_s": added - begun,
        "lattice_s": asked - added,
        "memory_mb": most / 1e3,
    }


if __name__ == "__main__":
    numbers = [*map(int, sys.argv[1:]), *(100_000, 300, 4)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as made:
        for name, value in run(*numbers, made).items():
            print(f"{name:<10} {value:>10.1f}")
