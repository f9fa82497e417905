"""Values as JSON text, as ``json.dumps`` writes them: importing json takes longer than most answers."""

from __future__ import annotations

from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

try:
    # What json itself escapes strings with: beyond ASCII everything, lone surrogates too.
    from _json import encode_basestring_ascii as _string
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _string


def encode(value: Any) -> str:
    """A value of dicts, lists, strings, integers and None as JSON. Raises TypeError for any other."""
    if isinstance(value, str):
        return str(_string(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_string(key)}: {encode(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([encode(item) for item in value]) + "]"
    raise TypeError(f"no JSON of {type(value).__name__}")


def indented(value: Any, width: int, margin: str = "\n") -> str:
    """The same over several lines, ``width`` spaces a level, as ``json.dumps`` indents. ``margin`` begins a line."""
    if isinstance(value, str):
        return str(_string(value))
    if isinstance(value, dict) and value:
        inner = margin + " " * width
        items = [f"{_string(key)}: {indented(item, width, inner)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(items) + margin + "}"
    if isinstance(value, (list, tuple)) and value:
        inner = margin + " " * width
        return "[" + inner + ("," + inner).join([indented(item, width, inner) for item in value]) + margin + "]"
    return encode(value)
