r"""Text and JSON from files, made safe as they are read: bounded, and no half characters.

A lone surrogate (``"\ud800"`` in JSON) is no character: it could not be printed or written. It
becomes the visible text ``\ud800``.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.readers.budget import Budget
from inspector.readers.plain_toml import plain_toml
from inspector.readers.source import Source
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from typing import Any

#: Text larger than this is none of ours: ``info registers -a`` of 1,000 CPUs has 20 MB.
MAX_TEXT_BYTES = 64 << 20
_MAX_LINES = 1 << 20
_MAX_LINE_BYTES = 1 << 14

#: A snapshot of 512 vCPUs has 3 million values; a value takes up to 130 bytes.
_MAX_JSON_VALUES = 1 << 22

#: A key of ours has two parts, and no sentence of a source so many stops.
_MAX_DOTS = 64

_LINE = rb"[^\r\n]+"
_SURROGATE = r"(?i)\\ud[89a-f]"
_ESCAPE = r"(?i)\\(u(d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(?P<lone>d[89a-f][0-9a-f]{2}))|.)"


def text_lines(source: Source, faults: list[InputError]) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not empty, with their offsets; Latin-1, without their ends.

    A line that is too long is left out and, like the end of the budget, becomes a fault. Raises InputError for a
    text of more than MAX_TEXT_BYTES.
    """
    return lines_of_text(source.read_all(MAX_TEXT_BYTES), source.name, faults)


def lines_of_text(
    data: bytes, file: str, faults: list[InputError], most_line_bytes: int = _MAX_LINE_BYTES
) -> Iterator[tuple[int, str]]:
    """The same of bytes that were read; ``file`` is what faults call it."""
    import re

    budget = Budget(file, "lines", records=_MAX_LINES)
    told = False
    for match in re.finditer(_LINE, data):
        at = match.start()
        try:
            budget.take(at)
        except InputError as error:
            faults.append(error)
            return
        if match.end() - at <= most_line_bytes:
            yield at, match[0].decode("latin-1")
        elif not told:
            told = True
            found = f"{match.end() - at}"
            faults.append(InputError(file, f"a line of at most {most_line_bytes} bytes", found, at))


def parse_json(data: bytes | str, *, keep_halves: bool = False) -> Any:
    """JSON as Python values. Raises ValueError, with words for the user, for what is no JSON or too much of it.

    ``keep_halves`` leaves lone surrogates as they are: a capture file is given back as it was written.
    """
    import json
    import re

    text = _decoded(data) if isinstance(data, bytes) else data
    values = text.count(",") + text.count("[") + text.count("{")
    if values > _MAX_JSON_VALUES:
        raise ValueError(f"more than {_MAX_JSON_VALUES} values")
    if not keep_halves and re.search(_SURROGATE, text):
        text = re.sub(_ESCAPE, _without_half, text)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("values nested too deep") from None
    except ValueError as error:
        raise _in_words(error, json.JSONDecodeError) from None


def parse_toml(text: str) -> dict[str, Any]:
    """TOML as a table. Raises ValueError, as ``parse_json``.

    tomllib looks at every part of a dotted key once for each part, so long keys are refused before it sees them.
    """
    crowded = next((number for number, line in enumerate(text.splitlines(), 1) if line.count(".") > _MAX_DOTS), 0)
    if crowded:
        raise ValueError(f"more than {_MAX_DOTS} dots in line {crowded}")
    plain = plain_toml(text)
    if plain is not None:
        return plain
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("values nested too deep") from None
    except ValueError as error:
        raise _in_words(error, tomllib.TOMLDecodeError) from None


def _in_words(error: ValueError, known: type[ValueError]) -> ValueError:
    """What the parser says of the text; what int() says of its digits is for programmers."""
    return error if isinstance(error, known) else ValueError("a number of thousands of digits")


def _decoded(data: bytes) -> str:
    import json

    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError(f"no {error.encoding} at offset {error.start:#x}") from None


def _without_half(match: re.Match[str]) -> str:
    return f"\\\\u{match['lone']}" if match["lone"] else match[0]


def shown(value: Any, limit: int = 60) -> str:
    """A value from a file for an error line, cut to ``limit`` characters, without walking all of it."""
    from reprlib import Repr

    class Short(Repr):
        def repr_int(self, x: int, level: int) -> str:
            return f"a number of {x.bit_length()} bits" if abs(x) >> 4096 else super().repr_int(x, level)

    short = Short()
    short.maxlist = short.maxdict = short.maxlevel = 4
    short.maxstring = short.maxother = short.maxlong = limit
    return short.repr(value)[:limit]
