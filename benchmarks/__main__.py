"""Measure what docs/performance.md promises: ``python -m benchmarks [--quick] [--baseline]``.

Prints the page's table, writes ``benchmarks/results.json``, and says what got slower than in
``benchmarks/baseline.json``, as ratios: another machine has other times. ``--baseline`` writes that file.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.machine import report
from benchmarks.measure import least

FOLDER = Path(__file__).parent
#: A ratio that grew by more than this part is told: two runs differ by less.
_SLOWER = 1.25
_ROUNDS = 9


def measured(known: Iterable[Case]) -> dict[str, dict[str, float]]:
    """Each case by its name, printed as a row of the page."""
    found = {}
    print("| what | against | promised | measured |\n|---|---|---|---|")
    for case in known:
        theirs_too = case.theirs is not None
        sides = [case.ours] + ([case.theirs] if case.theirs else [])
        ours, *theirs = least(sides, _ROUNDS if theirs_too else 3)
        ratio = ours / theirs[0] if theirs else ours
        shown = f"{ratio:.2f} ({ours:.1f} against {theirs[0]:.1f} {case.unit})" if theirs else f"{ours:.0f} {case.unit}"
        most = f"at most {case.most:g}" + ("" if theirs else f" {case.unit}")
        flag = "" if ratio <= case.most else " **more**"
        print(f"| {case.name} | {case.against} | {most} | {shown}{flag} |", flush=True)
        found[f"{case.name} / {case.against}"] = {"ours": round(ours, 3), "ratio": round(ratio, 3), "most": case.most}
    return found


def slower(now: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> list[str]:
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
    worse = slower(found, json.loads(baseline.read_text())["cases"]) if baseline.exists() else []
    print(*(f"slower: {line}" for line in worse), sep="\n")
    if "--quick" not in words:
        report()
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
