"""Rules over arm64 state, a module for each group of codes."""

from layouts.lint.rule import LintRule

__all__ = ["RULES"]

RULES: tuple[LintRule, ...] = ()
