"""``inspector explain``: what a code of ``inspector lint``, one of Arm's features or a message of a VMM means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.nearest import did_you_mean
from inspector.cli import arguments
from inspector.cli.streams import say

_FEATURE = "FEAT_"


def run(words: Sequence[str]) -> int:
    """Print a rule; without a code, all of them in a line each."""
    examples = (
        "  inspector explain X0101\n  inspector explain FEAT_SVE2\n  inspector explain 'failed to set MSR 0x1dd to 0x0'"
    )
    about = "What a code of inspector lint, a feature of Arm's, or a message of a VMM means, and what to do."
    parser = arguments.parser("explain", about, examples)
    parser.add_argument(
        "code", nargs="*", metavar="CODE", help="a code, FEAT_X, or a VMM's error message; none lists all codes"
    )
    parser.add_argument("--markdown", action="store_true", help="all of them as a page of Markdown")
    found = parser.parse_args(words)
    from inspector.export.lint import explain_text, rules_page
    from layouts.lint.table import lint_rules

    rules = lint_rules()
    if found.markdown:
        say(*rules_page(rules))
        return ExitCode.OK
    text = " ".join(found.code)
    if not text:
        say(*(f"{rule.code}  {rule.severity:<8} {rule.title}" for rule in rules.values()))
        return ExitCode.OK
    if text.upper().startswith(_FEATURE):
        return _explain_feature(text)
    rule = rules.get(text.upper())
    if rule is not None:
        say(*explain_text(rule))
        return ExitCode.OK
    return _explain_message(text, rules)


def _explain_message(text: str, codes: Iterable[str]) -> int:
    """A line that a VMM or a program printed: what it means, and what to do."""
    from inspector.export.messages import message_text
    from layouts.messages import MESSAGES, message_in

    message = message_in(text)
    if message is None and " " in text:
        known = ", ".join(one.words for one in MESSAGES)
        raise UsageError(f"{text}: no message that is known; expected one of {known}, a code or FEAT_X")
    if message is None:
        raise UsageError(f"{text}: no such code; {did_you_mean(text, codes, 'inspector explain')}")
    say(*message_text(message, text))
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
