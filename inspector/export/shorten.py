"""Names in little room: what all have in common stands once, and what is still too long is cut in its middle."""

from __future__ import annotations

from collections.abc import Sequence

_HEADS, _TAILS = "/:", "./"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def shared(names: Sequence[str]) -> tuple[str, str]:
    """How all names begin and end, up to a sign that parts words; empty where one would have nothing left."""
    if len(names) < 2:
        return "", ""
    head = _beginning(names)
    head = head[: 1 + max(head.rfind(sign) for sign in _HEADS)]
    left = [name[len(head) :][::-1] for name in names]
    tail = _beginning(left)[::-1]
    starts = [at for at in (tail.find(sign) for sign in _TAILS) if at >= 0]
    tail = tail[min(starts) :] if starts else ""
    return head, tail if all(len(one) > len(tail) for one in left) else ""


def _beginning(texts: Sequence[str]) -> str:
    """The characters with which all begin."""
    first, last = min(texts), max(texts)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:same]


def without(name: str, ends: tuple[str, str]) -> str:
    """A name without what all have."""
    head, tail = ends
    is_one = len(name) > len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
    return name[len(head) : len(name) - len(tail)] if is_one else name


def middle_cut(text: str, width: int) -> str:
    """A text that is no longer than a width. Names differ at their ends, and more of that is kept."""
    if len(text) <= width:
        return text
    kept = max(0, width - 1)
    head = kept * 2 // 5
    return text[:head] + _ELLIPSIS * (width > 0) + text[len(text) - (kept - head) :] if kept else _ELLIPSIS * width
