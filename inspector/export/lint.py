"""Findings as text and as JSON (docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from inspector.capture.model import Capture
from inspector.export.kinds import head
from inspector.lint.findings import Finding
from layouts.lint.rule import SEVERITIES, LintRule


def lint_text(capture: Capture, found: Sequence[Finding]) -> Iterator[str]:
    """One paragraph a finding: code, field, evidence, what happens, what to change."""
    for finding in found:
        where = "" if finding.vcpu is None else f"vCPU {finding.vcpu} "
        yield f"{finding.rule.code} {finding.rule.severity}  {where}{finding.path}: {finding.rule.title}"
        yield f"    {finding.evidence}"
        yield f"    then: {finding.rule.happens}"
        yield f"    do:   {finding.remedy}"
    yield f"{capture.target}: {_counts(found)}"


def lint_json(capture: Capture, vmm: str, found: Iterable[Finding]) -> dict[str, Any]:
    """Findings for programs."""
    return {
        **head("lint"),
        "target": capture.target,
        "vmm": vmm or None,
        "findings": [
            {
                "code": finding.rule.code,
                "severity": finding.rule.severity,
                "title": finding.rule.title,
                "vcpu": finding.vcpu,
                "path": finding.path,
                "evidence": finding.evidence,
                "happens": finding.rule.happens,
                "remedy": finding.remedy,
                "source": finding.rule.source,
            }
            for finding in found
        ],
    }


def explain_text(rule: LintRule) -> Iterator[str]:
    """All that is known of a rule."""
    yield f"{rule.code}  {rule.severity}  {rule.title}"
    yield ""
    yield rule.about
    yield f"then: {rule.happens}"
    yield f"do:   {rule.remedy}"
    yield f"from: {rule.source}"
    if rule.vmms:
        yield f"only: {', '.join(rule.vmms)}"


def _counts(found: Sequence[Finding]) -> str:
    counted = {word: sum(finding.rule.severity == word for finding in found) for word in SEVERITIES}
    words = [f"{count} {word}{'s' if count != 1 else ''}" for word, count in counted.items() if count]
    return ", ".join(words) or "nothing contradicts itself"
