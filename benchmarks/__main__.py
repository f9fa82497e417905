"""Measure what docs/performance.md promises: ``python -m benchmarks [--quick] [--baseline]``.

Prints the page's table, writes ``benchmarks/results.json``, and says what got slower than in
``benchmarks/baseline.json``, as ratios: another machine has other times. ``--baseline`` writes that file, and its table
into the page (a test holds the two together).
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TypedDict

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.machine import report
from benchmarks.measure import least

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/performance.md"
#: The table's head, by which the page's is found.
HEAD = "| what | against | promised | measured |\n|---|---|---|---|"
#: A ratio that grew by more than this part is told: two runs differ by less.
_SLOWER = 1.25
_ROUNDS = 9


class Entry(TypedDict):
    """What came of a case. Without another side ``ratio`` is the number itself."""

    ours: float
    ratio: float
    most: float
    unit: str


def measured(known: Iterable[Case]) -> dict[str, Entry]:
    """Each case by its name, printed as a row of the page."""
    found: dict[str, Entry] = {}
    print(HEAD)
    for case in known:
        sides = [case.ours] + ([case.theirs] if case.theirs else [])
        ours, *theirs = least(sides, _ROUNDS if case.theirs else 3)
        ratio = ours / theirs[0] if theirs else ours
        name = f"{case.name} / {case.against}"
        found[name] = Entry(ours=round(ours, 3), ratio=round(ratio, 3), most=case.most, unit=case.unit)
        print(row(name, found[name]), flush=True)
    return found


def row(name: str, entry: Entry) -> str:
    """A row of the page."""
    what, _, against = name.rpartition(" / ")
    ours, ratio, unit = entry["ours"], entry["ratio"], entry["unit"]
    alone = against == "-"
    shown = f"{ours:.0f} {unit}" if alone else f"{ratio:.2f} ({ours:.1f} against {ours / ratio:.1f} {unit})"
    most = f"at most {entry['most']:g}" + (f" {unit}" if alone else "")
    flag = "" if ratio <= entry["most"] else " **more**"
    return f"| {what} | {against} | {most} | {shown}{flag} |"


def table(found: Mapping[str, Entry]) -> str:
    """The page's table."""
    return "\n".join((HEAD, *(row(name, entry) for name, entry in found.items())))


def with_table(page: str, found: Mapping[str, Entry]) -> str:
    """The page with the table of what was measured."""
    before, _, rest = page.partition(HEAD)
    return f"{before}{table(found)}\n\n{rest.partition(chr(10) * 2)[2]}"


def slower(now: Mapping[str, Entry], before: Mapping[str, Entry]) -> list[str]:
    """What got slower, in words. Numbers without another side are of one machine: they are left out."""
    return [
        f"{name}: {entry['ratio']:.2f}, was {before[name]['ratio']:.2f}"
        for name, entry in now.items()
        if name in before and not name.endswith(" / -") and entry["ratio"] > _SLOWER * before[name]["ratio"]
    ]


def main(words: list[str]) -> int:
    """Run; 1 when something got slower."""
    with tempfile.TemporaryDirectory() as folder:
        known = cases.starts()
        if "--quick" not in words:
            known = chain(known, cases.peers(), cases.images(), cases.cores(cases.thousand_threads(folder)))
        found = measured(known)
    text = json.dumps({"python": platform.python_version(), "machine": platform.machine(), "cases": found}, indent=1)
    (FOLDER / "results.json").write_text(text + "\n")
    baseline = FOLDER / "baseline.json"
    if "--baseline" in words:
        baseline.write_text(text + "\n")
        PAGE.write_text(with_table(PAGE.read_text("utf-8"), found), "utf-8")
    worse = slower(found, json.loads(baseline.read_text())["cases"]) if baseline.exists() else []
    print(*(f"slower: {line}" for line in worse), sep="\n")
    if "--quick" not in words:
        report()
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
