"""The registry of checks: each function below a code of ``layouts/lint`` yields what it finds in one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from inspector.lint.state import State


class Hit(NamedTuple):
    """Where a rule is broken: the field, the evidence in words, and a remedy that is more exact than the rule's."""

    path: str
    evidence: str
    remedy: str = ""


Check = Callable[[State], Iterable[Hit]]
#: A check over all vCPUs of a capture at once.
CaptureCheck = Callable[[list[State]], Iterable[Hit]]

CHECKS: dict[str, Check] = {}
CAPTURE_CHECKS: dict[str, CaptureCheck] = {}


def check(code: str) -> Callable[[Check], Check]:
    """The function is the check of a rule, for each vCPU."""

    def keep(function: Check) -> Check:
        CHECKS[code] = function
        return function

    return keep


def capture_check(code: str) -> Callable[[CaptureCheck], CaptureCheck]:
    """The function is the check of a rule over all vCPUs together."""

    def keep(function: CaptureCheck) -> CaptureCheck:
        CAPTURE_CHECKS[code] = function
        return function

    return keep
