"""The head of every JSON answer: its kind, and the version of that kind's shape (docs/json.md)."""

from __future__ import annotations

from layouts.coming import COMING
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from layouts.kernels import Kernel


#: By kind. A number grows with a change that old readers would misread; a new key is none.
SCHEMAS = {
    "state": 2,
    "diff": 1,
    "lint": 1,
    "timeline": 1,
    "scenarios": 1,
    "worlds": 1,
    "calls": 1,
    "edit": 1,
    "verification": 1,
    "migration": 1,
    "model": 1,
    "models": 1,
    "realization": 2,
    "baseline": 2,
    "kernels": 1,
    "features": 1,
    "fleet-add": 1,
    "fleet-check": 1,
    "fleet-baseline": 1,
    "fleet-lattice": 1,
    "fleet-forecast": 1,
    "fleet-odd": 1,
}


def head(kind: str) -> dict[str, Any]:
    """``kind`` and ``schema``, with which an answer begins."""
    return {"kind": kind, "schema": SCHEMAS[kind]}


def kernel_json(kernel: Kernel) -> dict[str, Any]:
    """``kernel``, the profile, and ``answers_for``, the release that was asked for; of next also ``not_merged``."""
    found = {"kernel": kernel.name, "answers_for": kernel.answers_for or None}
    return found | ({"not_merged": [one.name for one in COMING]} if kernel.coming else {})
