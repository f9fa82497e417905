"""TOML as CPU records are: a key a line, its value behind it. Importing tomllib takes longer than reading these."""

from __future__ import annotations

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_HEX = frozenset("0123456789abcdefABCDEF")


def plain_toml(text: str) -> dict[str, Any] | None:
    """Such a text as tomllib gives it; None for any other, also for one with a fault.

    It has tables of one name, bare keys of at most two parts, texts without escapes, hexadecimal and short decimal
    numbers and lists of these, comments. Nothing is given twice.
    """
    found: dict[str, Any] = {}
    table = found
    for line in text.split("\n"):
        words = line.strip(" ")
        if not line.isprintable():
            return None
        if not words or words[0] == "#":
            continue
        if words[0] == "[":
            name = words[1:-1]
            if words[-1] != "]" or not _is_bare(name) or name in found:
                return None
            table = found[name] = {}
        elif not _put(table, *words.partition("=")[::2]):
            return None
    return found


def _put(table: dict[str, Any], words: str, text: str) -> bool:
    """Set a key, ``0x7`` or ``0x7.0x1``. False where it is another one, or there already."""
    first, dot, last = words.rstrip(" ").partition(".")
    inner = table.setdefault(first, {}) if dot else table
    key = last if dot else first
    value = _value(text.strip(" "))
    if value is None or not _is_bare(first) or not _is_bare(key) or not isinstance(inner, dict) or key in inner:
        return False
    inner[key] = value
    return True


def _is_bare(key: str) -> bool:
    return key.isascii() and key.replace("_", "").isalnum()


def _value(text: str) -> str | int | list[int] | None:
    """A value and what stands behind it, a comment at most."""
    if text[:1] == '"':
        value, _, rest = text[1:].partition('"')
        rest = rest.lstrip(" ")
        return value if rest[:1] in ("", "#") and text.count('"') > 1 and "\\" not in value else None
    text = text.partition("#")[0].rstrip(" ")
    if text[:1] == "[" and text[-1:] == "]":
        numbers = [_number(item.strip(" ")) for item in text[1:-1].split(",")]
        known = [number for number in numbers if number is not None]
        return known if len(known) == len(numbers) else None
    return _number(text)


def _number(text: str) -> int | None:
    if text[:2] == "0x":
        return int(text, 16) if text[2:] and _HEX.issuperset(text[2:]) else None
    is_short = text.isascii() and text.isdecimal() and len(text) < 16
    return int(text) if is_short and (text[0] != "0" or text == "0") else None
