"""``inspector lint``: does a state contradict itself, and what will then happen on resume."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.exit_code import ExitCode
from inspector.cli import arguments
from inspector.cli.streams import say, say_json
from inspector.targets.schemes import capture_of

VMMS = ("qemu", "cloud-hypervisor", "firecracker")

_ABOUT = """\
Does a state contradict itself, and what will then happen on resume. Every finding has a code, which inspector explain
CODE tells more of. Exit code 1 when there is an error among them."""

_EXAMPLES = """\
  inspector lint sample:amx
  inspector lint guest.bin --vmm qemu --json
  inspector explain X0101"""


def run(words: Sequence[str]) -> int:
    """Print what contradicts itself."""
    parser = arguments.parser("lint", _ABOUT, _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("--vmm", default="", choices=VMMS, help="who will restore it: rules of that VMM too")
    parser.add_argument("--json", action="store_true", help="as JSON")
    found = parser.parse_args(words)
    capture = capture_of(found.target, arguments.options_of(found))
    from inspector.export.lint import lint_json, lint_text
    from inspector.lint.findings import findings

    results = list(findings(capture, found.vmm))
    if found.json:
        say_json(lint_json(capture, found.vmm, results))
    else:
        say(*lint_text(capture, results))
    return arguments.tell(capture) or ExitCode.of(all(finding.rule.severity != "error" for finding in results))
