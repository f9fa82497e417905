"""``inspector explain``: what a code of ``inspector lint`` or one of Arm's features means."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say

_FEATURE = "FEAT_"


def run(words: Sequence[str]) -> int:
    """Print a rule; without a code, all of them in a line each."""
    examples = "  inspector explain X0101\n  inspector explain FEAT_SVE2"
    parser = arguments.parser("explain", "What a code of inspector lint, or a feature of Arm's, means.", examples)
    parser.add_argument("code", nargs="?", metavar="CODE", help="a code, or FEAT_X; none lists all codes")
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
    if found.code.upper().startswith(_FEATURE):
        return _explain_feature(found.code)
    rule = rules.get(found.code.upper())
    if rule is None:
        raise UsageError(f"{found.code}: no such code; {did_you_mean(found.code, rules, 'inspector explain')}")
    say(*explain_text(rule))
    return ExitCode.OK


def _explain_feature(name: str) -> int:
    """One of Arm's features: which fields show it, as which properties, and what it is tied to."""
    from inspector.export.arm_features import feature_text
    from layouts.arm64.arm_features import conditions, feature_named

    if feature_named(name) is None:
        names = sorted({one.feature for one in conditions()})
        raise UsageError(f"{name}: no such feature; {did_you_mean(name.upper(), names, 'inspector models find FEAT_')}")
    say(*feature_text(name))
    return ExitCode.OK
