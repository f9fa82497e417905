"""``inspector show``: the state as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inspector.capture.errors import InspectorError, UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.targets.schemes import capture_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from inspector.cli.parser import Parser

_EXAMPLES = """\
  inspector show sample:amx/process.core --field 'xsave.header.*'
  inspector show sample:zen5-threads/xcore.core.gz --vcpu 1 --field 'xsave.zmm[*]' --json
  inspector show sample:zen5-threads/xcore.core.gz --list
  inspector show sample:graviton3/linux-6.18 --feat"""


def run(words: Sequence[str]) -> int:
    """Print the fields of a target."""
    found = _parser().parse_args(words)
    if found.watch is not None:
        from inspector.cli.watch import check_watch

        check_watch(found)
    capture = capture_of(found.target, arguments.options_of(found))
    vcpus = arguments.choose_vcpus(capture, found.vcpu)
    _edit(capture, vcpus, found.set)
    if found.feat:
        return _features(capture, vcpus, is_json=found.json)
    matched = _write(capture, vcpus, found)
    sys.stdout.flush()
    code = arguments.tell(capture)
    if found.field and not matched:
        raise InspectorError(f"{capture.target}: no field matches {' or '.join(found.field)}")
    if found.watch is not None:
        from inspector.cli.watch import watch

        watch(capture, arguments.options_of(found), found)
    return code


def _parser() -> Parser:
    parser = arguments.parser("show", "Print the state of a capture as text or JSON.", _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--vcpu", type=int, metavar="N", help="only this vCPU or thread")
    parser.add_argument(
        "--field", action="append", default=[], metavar="GLOB", help="only fields with such a path (may be repeated)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--jsonl", action="store_true", help="as JSON, a line a vCPU: it begins at once, however many")
    parser.add_argument("--feat", action="store_true", help="arm64: Arm's features (FEAT_) that the ID registers show")
    parser.add_argument("--list", action="store_true", help="one line a vCPU")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="as if it had this value (may be repeated)"
    )
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="read it again and again, and print what changed; Ctrl-C ends"
    )
    return parser


def _write(capture: Capture, vcpus: Sequence[Vcpu], found: argparse.Namespace) -> int:
    """Print in the form that was asked for; how many fields or vCPUs."""
    if found.json or found.jsonl:
        from inspector.export.json import write_json, write_json_lines

        write = write_json_lines if found.jsonl else write_json
        return write(sys.stdout, capture, vcpus, found.field)
    if found.list:
        from inspector.export.listing import write_list

        return write_list(sys.stdout, capture, vcpus)
    from inspector.export.text import write_text

    return write_text(sys.stdout, capture, vcpus, found.field)


def _features(capture: Capture, vcpus: Sequence[Vcpu], *, is_json: bool) -> int:
    """Which features ID registers show, and which of Arm's constraints they break; 1 where any."""
    from inspector.cli.streams import say, say_json
    from inspector.export.arm_features import features_json, features_of, features_text

    found = [(vcpu, features_of(capture, vcpu)) for vcpu in vcpus]
    if not any(view.registers for _, view in found):
        raise InspectorError(f"{capture.target}: no vCPU with ID registers of arm64")
    if is_json:
        say_json(features_json(capture, found))
    else:
        for vcpu, view in found:
            say(*features_text(vcpu.name, view))
    arguments.tell(capture)
    return int(any(view.violations for _, view in found))


def _edit(capture: Capture, vcpus: Sequence[Vcpu], edits: Sequence[str]) -> None:
    """Give fields of the one vCPU that is shown other values, in memory. Raises UsageError and EditError."""
    if not edits:
        return
    if len(vcpus) != 1:
        raise UsageError(f"--set: {capture.target} has {len(vcpus)} vCPUs; --vcpu N says which")
    from inspector.cli.edits import edited

    for edit in edits:
        edited(capture, vcpus[0], edit)
