"""Every rule of ``inspector lint`` by its code."""

from __future__ import annotations

from layouts.light import cache
from layouts.lint import arm64, x86
from layouts.lint.rule import LintRule


@cache
def lint_rules() -> dict[str, LintRule]:
    """Every rule by its code, in the order of the codes."""
    return {rule.code: rule for rule in sorted((*x86.RULES, *arm64.RULES), key=lambda rule: "XA".index(rule.code[0]))}
