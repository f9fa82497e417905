"""Who says that an answer is so, in words."""

from __future__ import annotations

from inspector.machine.outcome import Evidence, Outcome

#: The processor whose answers were recorded is a 06_CFh.
_WORDS: dict[Evidence, str] = {
    "kernel": "kernel",
    "manual": "manual",
    "silicon": "silicon (Emerald Rapids recordings)",
    "emulator": "emulator (recordings)",
    "unmeasured": "not measured on AMD; as on Intel",
    "tdx-module": "TDX module",
    "proposal": "proposal",
    "assumed": "assumed",
}


def source_of(outcome: Outcome) -> str:
    """Who says so, and what to read."""
    return f"{_WORDS[outcome.evidence]}: {outcome.source}"
