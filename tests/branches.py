"""How much of each package the tests went through: `make coverage` ends with it.

A figure of lines and branches together is carried by the lines, so branches are held alone as well. Reads what
`coverage json -o -` writes, from the standard input; exit code 1 where a figure is too low.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

LEAST_PERCENT = 95.0
PACKAGES = ("layouts", "inspector/capture", "inspector/decode", "inspector/readers", "inspector/machine")
_ROW = "{:20}{:>20}{:>12}{:>12}"


def share(files: Mapping[str, Any], package: str) -> tuple[float, float]:
    """How many percent of a package's lines and branches together were gone through, and of its branches alone."""
    found = [one["summary"] for name, one in files.items() if name.startswith(f"{package}/")]
    lines, lines_covered, branches, branches_covered = (
        sum(one[key] for one in found)
        for key in ("num_statements", "covered_lines", "num_branches", "covered_branches")
    )
    both = 100 * (lines_covered + branches_covered) / max(lines + branches, 1)
    return both, 100 * branches_covered / max(branches, 1)


def main() -> int:
    """Print both figures of every package."""
    files = json.load(sys.stdin)["files"]
    print(_ROW.format("", "lines and branches", "branches", "at least"))
    low = False
    for package in PACKAGES:
        both, branches = share(files, package)
        is_low = min(both, branches) < LEAST_PERCENT
        low = low or is_low
        print(_ROW.format(package, f"{both:.2f} %", f"{branches:.2f} %", f"{LEAST_PERCENT:.0f} %"), "LOW" * is_low)
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
