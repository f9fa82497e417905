"""What a mistyped name was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 3
_ALIKE = 0.6
#: Letters that say enough of a longer name.
_PART = 3


def did_you_mean(word: str, names: Iterable[str], listed_by: str) -> str:
    """The names most like a word, three at most, and the command that lists them all; for the end of a message."""
    from difflib import get_close_matches

    known = list(names)
    inside = [name for name in known if len(word) >= _PART and word.lower() in name.lower()]
    by_small = {name.lower(): name for name in reversed(known)}
    alike = [by_small[name] for name in get_close_matches(word.lower(), by_small, _SHOWN, _ALIKE)]
    found = list(dict.fromkeys((*alike, *inside)))[:_SHOWN]
    has_all = f"{listed_by} has them all"
    return f"did you mean {_either(found)}? {has_all}" if found else has_all


def _either(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
