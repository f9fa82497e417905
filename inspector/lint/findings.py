"""What contradicts itself in a capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.capture.model import Capture
from inspector.lint import arm64, x86
from inspector.lint.registry import CAPTURE_CHECKS, CHECKS
from inspector.lint.state import State
from layouts.lint.rule import LintRule
from layouts.lint.table import lint_rules

#: The packages in which the checks stand.
_CHECKED = {"X": x86, "A": arm64}


class Finding(NamedTuple):
    """A broken rule in a capture. ``vcpu`` is its number, None for the whole capture."""

    rule: LintRule
    vcpu: int | None
    path: str
    evidence: str
    remedy: str


def findings(capture: Capture, vmm: str = "") -> Iterator[Finding]:
    """What contradicts itself in a capture, vCPU by vCPU, then over all of them."""
    states = [State(capture, vcpu, vmm) for vcpu in capture.vcpus]
    for state in states:
        for rule in _applying(state.vcpu.arch, vmm):
            for hit in CHECKS[rule.code](state) if rule.code in CHECKS else ():
                yield Finding(rule, state.vcpu.index, hit.path, hit.evidence, hit.remedy or rule.remedy)
    for arch in {state.vcpu.arch: None for state in states}:
        alike = [state for state in states if state.vcpu.arch == arch]
        for rule in _applying(arch, vmm):
            for hit in CAPTURE_CHECKS[rule.code](alike) if rule.code in CAPTURE_CHECKS else ():
                yield Finding(rule, None, hit.path, hit.evidence, hit.remedy or rule.remedy)


def codes_with_checks() -> frozenset[str]:
    """The codes that a function stands behind."""
    return frozenset(CHECKS) | frozenset(CAPTURE_CHECKS)


def _applying(arch: str, vmm: str) -> Iterator[LintRule]:
    for rule in lint_rules().values():
        if arch == _CHECKED[rule.code[0]].ARCH and (not rule.vmms or vmm in rule.vmms):
            yield rule
