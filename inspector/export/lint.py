"""Findings as text and as JSON (docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inspector.capture.model import Capture
from inspector.export.kinds import head
from inspector.export.words import counted
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
    yield f"{capture.target}: {counts_text(found)}"


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


#: What the first letter and two digits of a code stand for.
_GROUPS = {
    "X01": "x86: the XSAVE image",
    "X02": "x86: control registers and segments",
    "X03": "x86: MSRs",
    "X04": "x86: CPUID",
    "X05": "x86: events, local APIC, nested state",
    "X06": "x86: clocks, and what is the same on every vCPU",
    "X07": "x86: what one VMM loses",
    "A01": "arm64: features",
    "A02": "arm64: vectors",
    "A03": "arm64: lists of registers",
    "A04": "arm64: vCPUs of one machine",
    "A05": "arm64: counters, timers, firmware",
    "A07": "arm64: what one VMM loses",
}


def rules_page(rules: Mapping[str, LintRule]) -> Iterator[str]:
    """Every rule as Markdown: docs/lint.md."""
    counted = {word: sum(rule.severity == word for rule in rules.values()) for word in SEVERITIES}
    counts = ", ".join(f"{count} {word}s" for word, count in counted.items())
    yield from _PAGE_HEAD.format(count=len(rules), counts=counts).splitlines()
    group = ""
    for rule in rules.values():
        if rule.code[:3] != group:
            group = rule.code[:3]
            yield from ("", f"## {_GROUPS[group]}")
        only = f" (`--vmm {'`, `'.join(rule.vmms)}`)" if rule.vmms else ""
        yield from ("", f"**{rule.code}** {rule.severity}: {rule.title}{only}", "", rule.about, "")
        yield from (f"- Then: {rule.happens}", f"- Do: {rule.remedy}", f"- From: {rule.source}")


_PAGE_HEAD = """\
# What lint looks at

`inspector lint TARGET` says where a captured state contradicts itself, what the kernel or the CPU then does with it,
and what to change. It takes every target; `--vmm qemu`, `cloud-hypervisor` or `firecracker` adds what that VMM loses.
Exit code 1 when there is an error among the findings. `inspector explain CODE` prints one of the rules below.

An **error** fails the restore or breaks the guest, a **warning** loses state or depends on the destination, a **note**
may mislead a reader. A code never changes its meaning. What was not captured breaks no rule, unless the rule is about
what is missing; vCPUs are compared where their names differ in nothing but a number.

{count} rules: {counts}. This page is made by `inspector explain --markdown`."""


def counts_text(found: Iterable[Finding]) -> str:
    """How many findings there are of each severity."""
    severities = [finding.rule.severity for finding in found]
    words = [counted(severities.count(word), word) for word in SEVERITIES if word in severities]
    return ", ".join(words) or "nothing contradicts itself"
