"""``python -m tests.fuzz``: fuzz one reader or all of them, and keep what fails."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.loop import ALARM_SECONDS, fuzz, limit_address_space, save
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Exit code 1 when an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--reader", action="append", choices=TARGETS, help="one reader (default: all, one after another)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="time for all of them (default 60)")
    parser.add_argument("--count", type=int, default=1 << 62, help="inputs a reader, if that comes first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder for inputs that fail")
    parser.add_argument("--atheris", action="store_true", help="let atheris, if it is installed, choose the inputs")
    options = parser.parse_args()
    readers = options.reader or list(TARGETS)
    limit_address_space()
    if options.atheris:
        from tests.fuzz.guided import guided

        return guided(readers[0], options.seconds)
    failed = False
    for reader in readers:
        done = fuzz(reader, options.seed, count=options.count, seconds=options.seconds / len(readers))
        slow = f", slowest {done.slowest_seconds:.2f} s"
        print(f"{reader:18} {done.inputs:8} inputs, {done.opened} opened{slow}", flush=True)
        for failure in done.failures:
            failed = True
            print(f"  {failure.report.strip().splitlines()[-1]}: {save(failure, options.failures)}", flush=True)
        failed = failed or done.slowest_seconds > ALARM_SECONDS
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
