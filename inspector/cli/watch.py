"""``inspector show --watch``: a target that is read again and again, and what changed each time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from time import sleep
from typing import TYPE_CHECKING, NoReturn

from inspector.capture.errors import UsageError
from inspector.cli import arguments
from inspector.cli.streams import say
from inspector.readers.options import Options
from inspector.targets.schemes import capture_of

if TYPE_CHECKING:
    import argparse

    from inspector.capture.model import Capture
    from inspector.export.diff import Compared

_LEAST_SECONDS, _MOST_SECONDS = 0.05, 86400.0
STANDARD_INPUT = "-"


def check_watch(found: argparse.Namespace) -> None:
    """UsageError where the other words do not go with --watch."""
    if not _LEAST_SECONDS <= found.watch <= _MOST_SECONDS:
        raise UsageError(f"--watch {found.watch:g}: expected {_LEAST_SECONDS:g} to {_MOST_SECONDS:g} seconds")
    if found.json or found.jsonl or found.list or found.set:
        raise UsageError("--watch prints changes as text; it goes without --json, --jsonl, --list and --set")
    if found.target == STANDARD_INPUT:
        raise UsageError("--watch reads the target again; standard input comes once")


def watch(before: Capture, options: Options, found: argparse.Namespace) -> NoReturn:
    """Print what changed since the last look, behind the time of the look. Ends by Ctrl-C, or as reading fails."""
    from inspector.export.diff import Shown, write_changes

    while True:
        sleep(found.watch)
        after = capture_of(found.target, options)
        lines = StringIO()
        if write_changes(lines, _compared(before, after, found), Shown()):
            say("", datetime.now().astimezone().isoformat(timespec="milliseconds"))
            sys.stdout.write(lines.getvalue())
            sys.stdout.flush()
        before = after


def _compared(before: Capture, after: Capture, found: argparse.Namespace) -> Iterator[Compared]:
    from inspector.diff.changes import difference
    from inspector.diff.pairing import rows
    from inspector.export.diff import Compared

    arguments.choose_vcpus(after, found.vcpu)
    for row in rows([before, after], [] if found.vcpu is None else [found.vcpu]):
        yield Compared(row, difference(row.areas, found.field))
