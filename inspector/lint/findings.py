"""What contradicts itself in a capture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from inspector.capture.model import Capture, Vcpu
from inspector.lint.registry import CHECKS, GROUP_CHECKS
from inspector.lint.state import State
from layouts.light import import_module
from layouts.lint.rule import LintRule
from layouts.lint.table import lint_rules

#: With what the codes of an architecture's rules begin. Their checks stand in the package of its name, which is
#: imported for vCPUs of it.
_LETTERS = {"x86": "X", "arm64": "A"}
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


class Finding(NamedTuple):
    """A broken rule in a capture. ``vcpu`` is its number, None where it is about several."""

    rule: LintRule
    vcpu: int | None
    path: str
    evidence: str
    remedy: str


def findings(capture: Capture, vmm: str = "") -> Iterator[Finding]:
    """What contradicts itself in a capture, vCPU by vCPU, then between those of one machine."""
    groups: dict[tuple[str, str], list[State]] = {}
    for vcpu in capture.vcpus:
        state = State(capture, vcpu, vmm)
        yield from _of_vcpu(state)
        groups.setdefault((vcpu.arch, _machine_of(vcpu)), []).append(state)
    for (arch, _), states in groups.items():
        for rule in _applying(arch, vmm) if len(states) > 1 else ():
            for hit in GROUP_CHECKS[rule.code](states) if rule.code in GROUP_CHECKS else ():
                yield Finding(rule, None, hit.path, hit.evidence, hit.remedy or rule.remedy)


def findings_of_vcpu(capture: Capture, vcpu: Vcpu, vmm: str = "") -> Iterator[Finding]:
    """What contradicts itself in one vCPU."""
    return _of_vcpu(State(capture, vcpu, vmm))


def codes_with_checks() -> frozenset[str]:
    """The codes that a function stands behind."""
    for arch in _LETTERS:
        import_module(f"inspector.lint.{arch}")
    return frozenset(CHECKS) | frozenset(GROUP_CHECKS)


def _of_vcpu(state: State) -> Iterator[Finding]:
    for rule in _applying(state.vcpu.arch, state.vmm):
        for hit in CHECKS[rule.code](state) if rule.code in CHECKS else ():
            yield Finding(rule, state.vcpu.index, hit.path, hit.evidence, hit.remedy or rule.remedy)


def _machine_of(vcpu: Vcpu) -> str:
    """VCPUs whose names differ in nothing but the last number were taken together.

    ``reset`` and ``pattern`` were not, nor ``host 0 vCPU 0`` and ``host 1 vCPU 0``.
    """
    return _LAST_NUMBER.sub("", vcpu.name)


def _applying(arch: str, vmm: str) -> Iterator[LintRule]:
    if arch not in _LETTERS:
        return
    import_module(f"inspector.lint.{arch}")
    for rule in lint_rules().values():
        if rule.code.startswith(_LETTERS[arch]) and (not rule.vmms or vmm in rule.vmms):
            yield rule
