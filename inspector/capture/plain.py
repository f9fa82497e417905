"""Text for who has ASCII alone: each sign that we write becomes one that looks like it and is as wide."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("▸▶►", ">"),
        **dict.fromkeys("▾▼", "v"),
        **dict.fromkeys("◂◀◄", "<"),
        **dict.fromkeys("●■", "*"),
        **dict.fromkeys("○◯□", "o"),
        **dict.fromkeys("◐◑", "%"),
        **dict.fromkeys("◇◆", "@"),
        **dict.fromkeys("╳✗✘×", "x"),
        **dict.fromkeys("✓✔", "+"),
        **dict.fromkeys("≠", "#"),
        **dict.fromkeys("≈", "~"),
        **dict.fromkeys("≤", "<"),
        **dict.fromkeys("≥", ">"),
        **dict.fromkeys("→", ">"),
        **dict.fromkeys("←", "<"),
        **dict.fromkeys("↑", "^"),
        **dict.fromkeys("↓", "v"),
        **dict.fromkeys("⏎↵", "<"),
        **dict.fromkeys("·•∙", "."),
        **dict.fromkeys("…", "~"),
        **dict.fromkeys("¦", "|"),
        **dict.fromkeys("▒", "+"),
        **dict.fromkeys("░", "."),
        **dict.fromkeys("–—−", "-"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("‘’", "'"),
    }
)
#: The blocks of Unicode for lines and for filled cells.
_LINES, _BLOCKS = range(0x2500, 0x2580), range(0x2580, 0x25A0)
_ACROSS, _DOWN = frozenset("─━┄┅┈┉╌╍═╴╶╸╺╼╾"), frozenset("│┃┆┇┊┋╎╏║╵╷╹╻╽╿")
#: What is written where it cannot be encoded, for streams.
ERRORS = "inspector.plain"


def plain(text: str) -> str:
    """A text in ASCII, letter for letter; a wide letter becomes two."""
    return text if text.isascii() else "".join(_plain(letter) for letter in text.translate(_SIGNS))


def _plain(letter: str) -> str:
    import unicodedata

    if letter.isascii():
        return letter
    if ord(letter) in _LINES:
        return "-" if letter in _ACROSS else "|" if letter in _DOWN else "+"
    if ord(letter) in _BLOCKS:
        return "#"
    if unicodedata.combining(letter):
        return ""
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base.isascii() else "?" * (2 if unicodedata.east_asian_width(letter) in "WF" else 1)


def is_sign(letter: str) -> bool:
    """Whether it is one of ours, which something stands for."""
    return ord(letter) in _SIGNS or ord(letter) in _LINES or ord(letter) in _BLOCKS


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """For a stream: signs of ours as ASCII; what a file brings, as an escape that says what it was."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    shown = [plain(a) if is_sign(a) else a.encode("ascii", "backslashreplace").decode() for a in letters]
    return "".join(shown), error.end


codecs.register_error(ERRORS, _stand_in)


def wants_ascii(environment: Mapping[str, str]) -> bool:
    """Whether a terminal shows ASCII alone: the Linux console, or a locale without UTF-8 that somebody has set.

    ``INSPECTOR_ASCII`` decides where it is set. Python sets LC_CTYPE for itself where the locale is C (PEP 538).
    """
    said = environment.get("INSPECTOR_ASCII", "")
    if said:
        return said != "0"
    if environment.get("TERM") == "linux":
        return True
    names = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if names[1] in ("C.UTF-8", "C.utf8", "UTF-8") and names[2] in ("C", "POSIX"):
        names[1] = ""
    name = next(filter(None, names), "")
    codeset = name.partition(".")[2].partition("@")[0].lower().replace("-", "")
    return name in ("C", "POSIX") or codeset not in ("", "utf8")
