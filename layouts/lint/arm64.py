"""Rules over arm64 state."""

from __future__ import annotations

from layouts.lint import LintRule

RULES: tuple[LintRule, ...] = ()
