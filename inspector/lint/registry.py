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
#: A check over the vCPUs that one machine had at one time.
GroupCheck = Callable[[list[State]], Iterable[Hit]]

CHECKS: dict[str, Check] = {}
GROUP_CHECKS: dict[str, GroupCheck] = {}


def check(code: str) -> Callable[[Check], Check]:
    """The function is the check of a rule, for each vCPU."""

    def keep(function: Check) -> Check:
        assert code not in CHECKS, code
        CHECKS[code] = function
        return function

    return keep


def group_check(code: str) -> Callable[[GroupCheck], GroupCheck]:
    """The function is the check of a rule over several vCPUs of one machine together."""

    def keep(function: GroupCheck) -> GroupCheck:
        assert code not in GROUP_CHECKS, code
        GROUP_CHECKS[code] = function
        return function

    return keep
