"""Recorded restores of whole vCPUs, in the folder beside the checkout."""

from __future__ import annotations

from tests.shared import SHARED

RECORDED = SHARED / "restore"
#: What one host saved and another was asked to take.
FOREIGN = sorted(path.name for path in (RECORDED / "foreign").glob("*.xz"))
