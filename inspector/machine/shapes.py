"""The shape of a recorded answer's record: which keys it has, and what each may hold.

Checked before a record is replayed, so that what goes wrong in a replay is the program's fault, and what is wrong
with a file is told as that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    import re

Holds = Callable[[object], bool]


class Value(NamedTuple):
    """What a key may hold: in words, and as a check. ``required``: the key is there in every record."""

    words: str
    holds: Holds
    required: bool = True


Shape = Mapping[str, Value]


def misfit(record: Mapping[str, object], shape: Shape) -> tuple[str, str] | None:
    """What was expected of the first key that does not fit, and what was found; None when all fit."""
    for key, value in shape.items():
        if key not in record:
            if value.required:
                return f'"{key}": {value.words}', "no such key"
        elif not value.holds(record[key]):
            return f'"{key}": {value.words}', _cut(record[key])
    return None


def _cut(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:59] + "…"


def optional(value: Value) -> Value:
    """A key that may be left out."""
    return value._replace(required=False)


def text(pattern: str, words: str) -> Value:
    """Text that a pattern matches in full; compiled when the first text is looked at."""

    @cache
    def compiled() -> re.Pattern[str]:
        import re

        return re.compile(pattern)

    return Value(words, lambda found: isinstance(found, str) and compiled().fullmatch(found) is not None)


def number(least: int = -(1 << 63), most: int = (1 << 63) - 1, words: str = "") -> Value:
    """An integer within bounds; JSON's true and false are none."""
    return Value(
        words or (f"a number from {least} to {most}" if least >= 0 else "a number"),
        lambda found: isinstance(found, int) and not isinstance(found, bool) and least <= found <= most,
    )


def word(*words: str) -> Value:
    """One of some words."""
    return Value(" or ".join(words), lambda found: isinstance(found, str) and found in words)


def rows(of: Value, count: int | None = None) -> Value:
    """A list of values alike, of any length or of one."""
    words = f"{'a list' if count is None else count} of {of.words}"
    return Value(
        words,
        lambda found: (
            isinstance(found, list) and (count is None or len(found) == count) and all(of.holds(each) for each in found)
        ),
    )


def tuple_of(*values: Value) -> Value:
    """A list of certain values in their order."""
    words = f"[{', '.join(value.words for value in values)}]"
    return Value(
        words,
        lambda found: (
            isinstance(found, list)
            and len(found) == len(values)
            and all(value.holds(each) for value, each in zip(values, found, strict=True))
        ),
    )


def table(key: Value, value: Value) -> Value:
    """An object whose keys and values are alike."""
    return Value(
        f"an object of {key.words}: {value.words}",
        lambda found: isinstance(found, dict) and all(key.holds(k) and value.holds(v) for k, v in found.items()),
    )


ANY_TEXT = Value("text", lambda found: isinstance(found, str))
ERRNO = number(-4096, 4095, "an errno")
U64 = text("[0-9a-f]{1,16}", "up to 16 hexadecimal digits")
MEMORY = text("(?:[0-9a-f]{2}){0,32768}", "bytes in hexadecimal")
REGISTER = text(r"[0-3]_[0-7]_(?:\d|1[0-5])_(?:\d|1[0-5])_[0-7]", "a register as op0_op1_CRn_CRm_op2")
