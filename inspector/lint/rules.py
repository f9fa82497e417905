"""The registry of checks: each function below a code of ``layouts/lint`` yields what it finds in one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from inspector.capture.model import Capture
from inspector.lint.state import State
from layouts.lint import LintRule, lint_rules


class Hit(NamedTuple):
    """Where a rule is broken: the field, the evidence in words, and a remedy that is more exact than the rule's."""

    path: str
    evidence: str
    remedy: str = ""


class Finding(NamedTuple):
    """A broken rule in a capture. ``vcpu`` is its number, None for the whole capture."""

    rule: LintRule
    vcpu: int | None
    path: str
    evidence: str
    remedy: str


Check = Callable[[State], Iterable[Hit]]
#: A check over all vCPUs of a capture at once.
CaptureCheck = Callable[[list[State]], Iterable[Hit]]

_CHECKS: dict[str, Check] = {}
_CAPTURE_CHECKS: dict[str, CaptureCheck] = {}


def check(code: str) -> Callable[[Check], Check]:
    """The function is the check of a rule, for each vCPU."""

    def keep(function: Check) -> Check:
        _CHECKS[code] = function
        return function

    return keep


def capture_check(code: str) -> Callable[[CaptureCheck], CaptureCheck]:
    """The function is the check of a rule over all vCPUs together."""

    def keep(function: CaptureCheck) -> CaptureCheck:
        _CAPTURE_CHECKS[code] = function
        return function

    return keep


def findings(capture: Capture, vmm: str = "") -> Iterator[Finding]:
    """What contradicts itself in a capture, vCPU by vCPU, then over all of them."""
    _load()
    states = [State(capture, vcpu, vmm) for vcpu in capture.vcpus]
    for state in states:
        for rule in _applying(state.vcpu.arch, vmm):
            for hit in _CHECKS[rule.code](state) if rule.code in _CHECKS else ():
                yield Finding(rule, state.vcpu.index, hit.path, hit.evidence, hit.remedy or rule.remedy)
    for arch in {state.vcpu.arch: None for state in states}:
        alike = [state for state in states if state.vcpu.arch == arch]
        for rule in _applying(arch, vmm):
            for hit in _CAPTURE_CHECKS[rule.code](alike) if rule.code in _CAPTURE_CHECKS else ():
                yield Finding(rule, None, hit.path, hit.evidence, hit.remedy or rule.remedy)


def codes_with_checks() -> frozenset[str]:
    """The codes that a function stands behind."""
    _load()
    return frozenset(_CHECKS) | frozenset(_CAPTURE_CHECKS)


_LETTERS = {"X": "x86", "A": "arm64"}


def _applying(arch: str, vmm: str) -> Iterator[LintRule]:
    for rule in lint_rules().values():
        if _LETTERS[rule.code[0]] == arch and (not rule.vmms or vmm in rule.vmms):
            yield rule


@cache
def _load() -> None:
    """Import the modules in which the checks stand."""
    from inspector.lint import arm64, x86  # noqa: F401 - for their checks
