"""``inspector explain``: what a code of ``inspector lint`` means."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say


def run(words: Sequence[str]) -> int:
    """Print a rule; without a code, all of them in a line each."""
    parser = arguments.parser("explain", "What a code of inspector lint means.", "  inspector explain X0101")
    parser.add_argument("code", nargs="?", metavar="CODE", help="a code; none lists all")
    parser.add_argument("--markdown", action="store_true", help="all of them as a page of Markdown")
    found = parser.parse_args(words)
    from inspector.export.lint import explain_text, rules_page
    from layouts.lint.table import lint_rules

    rules = lint_rules()
    if found.markdown:
        say(*rules_page(rules))
        return ExitCode.OK
    if found.code is None:
        say(*(f"{rule.code}  {rule.severity:<8} {rule.title}" for rule in rules.values()))
        return ExitCode.OK
    rule = rules.get(found.code.upper())
    if rule is None:
        raise UsageError(f"{found.code}: no such code; {did_you_mean(found.code, rules, 'inspector explain')}")
    say(*explain_text(rule))
    return ExitCode.OK
