r"""Values as strace prints them: structures, arrays, flags, strings, and what it leaves out.

Source: strace's own grammar (strace(1), "Structures and arrays"; src/print_fields.h): ``{name=value, ...}``,
``[value, ...]``, ``FLAG|0x80 /* a comment */``, ``"bytes\0"...``, ``{before} => {after}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from inspector.capture.calls import Printed

_DEEPEST = 16
_MOST_VALUES = 65_536
_NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]{1,32}|\d{1,32})(?![\w])")
_NAME = re.compile(r"[A-Za-z_][\w.]{0,63}(?:\[[^\]]{0,40}\])?=")
_STRING = re.compile(r'"(?:[^"\\]|\\.){0,65536}"(?:\.\.\.)?')
#: Flags, macros with arguments, and whatever else stands between separators.
_WORD = re.compile(r"[^,{}\[\]()\s]{1,200}(?:\([^()]{0,200}\))?")
_SPACE = re.compile(r"(?:\s|/\*(?:[^*]|\*(?!/)){0,400}\*/)*")


class UnclearError(ValueError):
    """What is printed does not read as strace prints it."""


def arguments(text: str) -> list[Printed]:
    """The arguments of a call, between its parentheses. Raises UnclearError."""
    parser = _Parser(text)
    values = parser.values("")
    if parser.at != len(text):
        parser.unclear()
    return values


def _base(digits: str) -> int:
    """Hexadecimal, octal where it begins so and can be, else decimal."""
    if "0x" in digits:
        return 16
    return 8 if re.fullmatch(r"-?0[0-7]+", digits) else 10


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.count = 0

    def unclear(self) -> NoReturn:
        raise UnclearError(self.text[self.at : self.at + 20] or "the end")

    def skip(self) -> str:
        """Pass over spaces and comments; the next character."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def values(self, end: str, depth: int = 0) -> list[Printed]:
        """Values between commas up to the bracket that ends them."""
        found: list[Printed] = []
        while self.skip() and self.text[self.at] != end:
            found.append(self.value(depth))
            if self.skip() == ",":
                self.at += 1
            elif self.text[self.at : self.at + 1] != end:
                self.unclear()
        return found

    def members(self, depth: int) -> dict[str, Printed]:
        """``name=value`` up to the brace; what is left out is the member ``...``."""
        found: dict[str, Printed] = {}
        while self.skip() and self.text[self.at] != "}":
            if self.text.startswith("...", self.at):
                self.at += 3
                found["..."] = None
            else:
                name = _NAME.match(self.text, self.at)
                if not name:
                    self.unclear()
                self.at = name.end()
                found[name[0][:-1]] = self.value(depth)
            if self.skip() == ",":
                self.at += 1
            elif self.text[self.at : self.at + 1] != "}":
                self.unclear()
        return found

    def value(self, depth: int) -> Printed:
        """One value, and with ``=>`` behind it the one that it became."""
        found = self.single(depth)
        while self.skip() == "=" and self.text.startswith("=>", self.at):
            self.at += 2
            self.skip()
            found = self.single(depth)
        return found

    def single(self, depth: int) -> Printed:
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST_VALUES:
            self.unclear()
        opening = self.skip()
        if opening and opening in "{[":
            self.at += 1
            end = "}" if opening == "{" else "]"
            named = opening == "{" and (_NAME.match(self.text, self.at) or self.text.startswith("...", self.at))
            found: Printed = self.members(depth + 1) if named else self.values(end, depth + 1)
            if self.text[self.at : self.at + 1] != end:
                self.unclear()
            self.at += 1
            return found
        if self.text.startswith("...", self.at):
            self.at += 3
            return None
        return self.word()

    def word(self) -> Printed:
        """A number, a string as it is printed, or flags and other words."""
        for pattern in (_NUMBER, _STRING, _WORD):
            found = pattern.match(self.text, self.at)
            if found:
                self.at = found.end()
                if pattern is _NUMBER:
                    return int(found[0], _base(found[0]))
                return found[0]
        return self.unclear()


def is_whole(value: Printed) -> bool:
    """Nothing of it is left out."""
    if isinstance(value, Mapping):
        return "..." not in value and all(is_whole(member) for member in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(is_whole(item) for item in value)
    return value is not None
