"""``inspector diff``: what differs between states, field by field."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.targets.schemes import capture_of, scheme_of

if TYPE_CHECKING:
    from inspector.export import diff

_ABOUT = """\
What differs between states: two targets, or more in the order of time. Fields are matched by path, so an XSAVE
image of another layout, a migration stream and KVM structures compare where they hold the same thing.
Exit code 0: the same, 1: different, 2: usage, 3: unreadable."""

_EXAMPLES = """\
  inspector diff sample:zen5-process/a.core sample:zen5-process/b.core
  inspector diff sample:amx sample:amx --vcpu 0 --vcpu 1 --field 'xsave.*'
  inspector diff before.bin between.bin after.bin --json
  inspector diff mine.bin theirs.bin --base common.bin"""


def run(words: Sequence[str]) -> int:
    """Print the differences."""
    parser = arguments.parser("diff", _ABOUT, _EXAMPLES)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="captures, two or more: see targets below")
    parser.add_argument("--layout", default="", metavar="NAME", help="CPU layout of XSAVE images (see: layouts list)")
    parser.add_argument("--as", dest="as_format", default="", metavar="NAME", help="what raw files are (kvm-regs, ...)")
    parser.add_argument(
        "--vcpu", type=int, action="append", default=[], metavar="N", help="only this vCPU; once for each"
    )
    parser.add_argument(
        "--field", action="append", default=[], metavar="GLOB", help="only fields with such a path (may be repeated)"
    )
    parser.add_argument("--base", metavar="TARGET", help="what both come from: who changed each field")
    parser.add_argument("--no-volatile", action="store_true", help="without what differs between any two moments")
    parser.add_argument("--all", action="store_true", help="list fields of areas that only one of them has")
    parser.add_argument("--json", action="store_true", help="as JSON")
    arguments.list_targets(parser)
    found = parser.parse_args(words)
    targets = [found.base, *found.targets] if found.base else found.targets
    if len(targets) < 2 or (found.base and len(targets) != 3):
        raise UsageError(f"diff: {'two targets beside --base' if found.base else 'two targets or more'}, please")
    options = arguments.options_of(found)
    # --layout and --as are for those that are files.
    captures = [capture_of(target, options if scheme_of(target).is_file else arguments.TOLD) for target in targets]
    from inspector.export import diff

    write = diff.write_json if found.json else diff.write_text
    shown = diff.Shown(three_ways=bool(found.base), volatile=not found.no_volatile)
    differs = write(sys.stdout, captures, _compared(captures, found.vcpu, found.field, whole=found.all), shown)
    sys.stdout.flush()
    return max(arguments.tell(capture) for capture in captures) or ExitCode.of(not differs)


def _compared(
    captures: Sequence[Capture], vcpus: Sequence[int], patterns: Sequence[str], *, whole: bool
) -> Iterator[diff.Compared]:
    from inspector.diff.changes import difference
    from inspector.diff.pairing import rows
    from inspector.export.diff import Compared

    for row in rows(captures, vcpus):
        yield Compared(row, difference(row.areas, patterns, whole=whole))
