"""``inspector show``: the state as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.cli.field_names import no_field
from inspector.targets.schemes import capture_of

_EXAMPLES = """\
  inspector show sample:amx/process.core --field 'xsave.header.*'
  inspector show sample:zen5-threads/xcore.core.gz --vcpu 1 --field 'xsave.zmm[*]' --json
  inspector show sample:zen5-threads/xcore.core.gz --list"""


def run(words: Sequence[str]) -> int:
    """Print the fields of a target."""
    parser = arguments.parser("show", "Print the state of a capture as text or JSON.", _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--vcpu", type=int, metavar="N", help="only this vCPU or thread")
    parser.add_argument(
        "--field", action="append", default=[], metavar="GLOB", help="only fields with such a path (may be repeated)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--list", action="store_true", help="one line a vCPU")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="as if it had this value (may be repeated)"
    )
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="read it again and again, and print what changed; Ctrl-C ends"
    )
    found = parser.parse_args(words)
    if found.watch is not None:
        from inspector.cli.watch import check_watch

        check_watch(found)
    capture = capture_of(found.target, arguments.options_of(found))
    vcpus = arguments.choose_vcpus(capture, found.vcpu)
    _edit(capture, vcpus, found.set)
    if found.json:
        from inspector.export.json import write_json

        matched = write_json(sys.stdout, capture, vcpus, found.field)
    elif found.list:
        from inspector.export.listing import write_list

        matched = write_list(sys.stdout, capture, vcpus)
    else:
        from inspector.export.text import write_text

        matched = write_text(sys.stdout, capture, vcpus, found.field)
    sys.stdout.flush()
    code = arguments.tell(capture)
    if found.field and not matched:
        raise no_field(found.field, capture, vcpus)
    if found.watch is not None:
        from inspector.cli.watch import watch

        watch(capture, arguments.options_of(found), found)
    return code


def _edit(capture: Capture, vcpus: Sequence[Vcpu], edits: Sequence[str]) -> None:
    """Give fields of the one vCPU that is shown other values, in memory. Raises UsageError and EditError."""
    if not edits:
        return
    if len(vcpus) != 1:
        raise UsageError(f"--set: {capture.target} has {len(vcpus)} vCPUs; --vcpu N says which")
    from inspector.cli.edits import edited

    for edit in edits:
        edited(capture, vcpus[0], edit)
