"""A command's arguments, declared once and read in two ways.

Words as they are usually typed are read here: argparse takes as long to import as such a command to run. Everything
else (help, faults, abbreviations, ``--name=value``) is argparse's, which is made of the same declarations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from inspector.capture.errors import visible
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from typing import Any, NoReturn

    from _typeshed import SupportsWrite

#: What an argument may say of itself to be read here.
_PLAIN = {"action", "choices", "const", "default", "dest", "help", "metavar", "nargs", "required", "type"}
_ACTIONS = ("store", "store_true", "store_const", "append")


class _Found:
    """Parsed arguments by name: what argparse.Namespace is."""


class _Unusual(Exception):  # noqa: N818 - no error: argparse reads these words
    """Words that are left to argparse."""


#: The word that asks a command for its parser alone; no shell can give it.
PARSER_ALONE = "\0parser"


class ParserMade(Exception):  # noqa: N818 - it is no error
    """A command has made its parser, and was asked for no more."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


class Parser:
    """The arguments of one command; ``epilog`` is the text behind them in its help."""

    def __init__(self, command: str, about: str, examples: str = "") -> None:
        self.command = command
        self.about = about
        self.epilog = examples and f"examples:\n{examples}"
        self._arguments: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def add_argument(self, *names: str, **how: Any) -> None:
        """As argparse has it."""
        self._arguments.append((names, how))

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments. Ends the program with help or usage, as argparse does. Raises ParserMade."""
        found = None if words == [PARSER_ALONE] else self.plain(words)
        return self.whole().parse_args(words) if found is None else found

    def plain(self, words: Sequence[str]) -> argparse.Namespace | None:
        """The arguments where the words are as usual; None: ask argparse."""
        try:
            found: Any = self._read(words)
        except _Unusual:
            return None
        return found  # type: ignore[no-any-return]

    def whole(self) -> argparse.ArgumentParser:
        """The parser of argparse."""
        import argparse

        class Whole(argparse.ArgumentParser):
            """A parser whose messages are safe to print, and whose help says when it cannot be."""

            def error(self, message: str) -> NoReturn:
                """Usage and the message, with what a name of a file brings made visible."""
                super().error(visible(message))

            def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
                """The words as argparse takes them. Raises ParserMade where the parser alone is wanted."""
                if args == [PARSER_ALONE]:
                    raise ParserMade(self)
                return super().parse_known_args(args, namespace)

            def print_help(self, file: SupportsWrite[str] | None = None) -> None:
                """The help; argparse's own hides that standard output is full."""
                (file or sys.stdout).write(self.format_help())

        made = Whole(
            prog=f"inspector {self.command}",
            description=self.about,
            epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for names, how in self._arguments:
            made.add_argument(*names, **how)
        return made

    def _read(self, words: Sequence[str]) -> _Found:
        found = _Found()
        options: dict[str, tuple[str, dict[str, Any]]] = {}
        places: list[tuple[str, dict[str, Any]]] = []
        for names, how in self._arguments:
            if how.keys() - _PLAIN or how.get("action", "store") not in _ACTIONS:
                raise _Unusual
            name = how.get("dest") or _name(names)
            # Of several options that set the same, the first says what it is without them, as in argparse.
            if not hasattr(found, name):
                setattr(found, name, _default(how))
            if names[0].startswith("-"):
                if how.get("nargs") is not None:
                    raise _Unusual
                options.update(dict.fromkeys(names, (name, how)))
            else:
                places.append((name, how))
        _fill_places(found, places, _fill_options(found, options, words))
        if any(how.get("required") and name not in words for name, (_, how) in options.items()):
            raise _Unusual
        return found


def _name(names: tuple[str, ...]) -> str:
    """The attribute of an argument: its first long name."""
    first = next((name for name in names if name.startswith("--")), names[0])
    return first.lstrip("-").replace("-", "_")


def _default(how: dict[str, Any]) -> Any:
    default = how.get("default", False if how.get("action") == "store_true" else None)
    if how.get("nargs") == "*" and default is None:
        return []
    kind: Callable[[str], Any] | None = how.get("type")
    if isinstance(default, list):
        return list(default)
    return kind(default) if kind and isinstance(default, str) else default


def _value(how: dict[str, Any], word: str) -> Any:
    """A word as the argument's type and among its choices."""
    try:
        value = how["type"](word) if "type" in how else word
    except Exception as error:
        raise _Unusual from error
    if "choices" in how and value not in how["choices"]:
        raise _Unusual
    return value


def _fill_options(found: _Found, options: dict[str, tuple[str, dict[str, Any]]], words: Sequence[str]) -> list[str]:
    """Take options with their values; the words that are none. Those must stand together."""
    rest: list[str] = []
    ended = False
    left = iter(words)
    for word in left:
        if not word.startswith("-") or word == "-":
            if ended:
                raise _Unusual
            rest.append(word)
            continue
        ended = bool(rest)
        if word not in options:
            raise _Unusual
        name, how = options[word]
        if how.get("action") in ("store_true", "store_const"):
            setattr(found, name, how.get("const", True))
            continue
        given = next(left, "-")
        if given.startswith("-"):
            raise _Unusual
        value = _value(how, given)
        if how.get("action") == "append":
            value = [*(getattr(found, name) or []), value]
        setattr(found, name, value)
    return rest


def _fill_places(found: _Found, places: list[tuple[str, dict[str, Any]]], words: list[str]) -> None:
    """Words without an option, each in its place; the last place may take several."""
    for number, (name, how) in enumerate(places):
        nargs = how.get("nargs")
        if nargs is None:
            if not words:
                raise _Unusual
            setattr(found, name, _value(how, words.pop(0)))
        elif nargs in ("+", "*") and number == len(places) - 1:
            if nargs == "+" and not words:
                raise _Unusual
            if words:
                setattr(found, name, [_value(how, word) for word in words])
            words = []
        else:
            raise _Unusual
    if words:
        raise _Unusual
