"""Rules over arm64 state."""

from __future__ import annotations

from layouts.lint.rule import LintRule

RULES: tuple[LintRule, ...] = ()
