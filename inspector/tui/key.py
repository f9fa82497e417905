"""What a table of keys is made of, and the bindings that are made of it.

A screen's table is groups of lines; a line is one or more keys and the sentence that the help says of them. A key of
two words (``space x``) is behind a leader: no terminal sends such a key, the leader's panel plays its binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple

from textual.binding import Binding, BindingType
from textual.keys import _character_to_key

#: Keys as the help writes them, by Textual's name.
_WRITTEN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "question_mark": "?",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "exclamation_mark": "!",
    "slash": "/",
    "full_stop": ".",
    "comma": ",",
    "apostrophe": "'",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "space": "Space",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "shift+tab": "Shift-Tab",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
}


_FUNCTION = re.compile(r"f\d{1,2}")
#: What the keys of events are behind, and the id of the key that it is.
LEADER, LEADER_ID = "space", "lab.leader"


class Key(NamedTuple):
    """Keys that do one thing. ``keys`` are Textual's names, with commas between; ``space x`` is x behind the leader.

    ``label`` is what the palette calls it, and the footer where ``footer`` gives it a place there: the smallest number
    is leftmost and the last to go where the terminal is narrow, 0 is none. ``id`` is its name for a keymap: the
    table's and this one's.
    """

    keys: str
    action: str
    id: str
    label: str
    footer: int = 0

    @property
    def written(self) -> list[str]:
        """The keys as the help writes them."""
        return [written(key) for key in self.keys.split(",")]


class Line(NamedTuple):
    """A line of the help: a sentence, and its keys."""

    text: str
    keys: tuple[Key, ...]

    @property
    def written(self) -> str:
        """The keys as the help writes them: the first of each, then the others."""
        rounds = zip_longest(*(key.written for key in self.keys))
        words = [word for round_ in rounds for word in round_ if word]
        # Of several behind the leader it is said once: Space r b E.
        led = (part for word in words if is_behind(word) for part in word.split())
        return " ".join([*dict.fromkeys(word for word in words if not is_behind(word)), *dict.fromkeys(led)])


class Group(NamedTuple):
    """Lines of the help below a heading."""

    title: str
    lines: tuple[Line, ...]


Table = tuple[Group, ...]


def is_behind(key: str) -> bool:
    """The key is two: a leader, and what is pressed behind it."""
    return " " in key.strip()


def written(key: str) -> str:
    """A key as the help writes it: ``Ctrl-R``, ``Shift-Tab``, ``[``, ``Space x``."""
    if is_behind(key):
        return " ".join(map(written, key.split()))
    if key in _WRITTEN:
        return _WRITTEN[key]
    word = key.removeprefix("ctrl+")
    return f"Ctrl-{word.upper()}" if word != key else key.upper() if _FUNCTION.fullmatch(key) else key


def named(key: str) -> str:
    """Textual's name of a key that is written as the help writes it, or as Textual does: ``?``, ``Ctrl-R``, ``f5``.

    Of two keys both: ``space x``.
    """
    if is_behind(key):
        return " ".join(map(named, key.split()))
    if key.startswith("Ctrl-"):
        return f"ctrl+{key.removeprefix('Ctrl-').lower()}"
    if _FUNCTION.fullmatch(key.lower()):
        return key.lower()
    return _NAMES.get(key) or (_character_to_key(key) if len(key) == 1 else key)


_NAMES = {sign: name for name, sign in _WRITTEN.items()}


def remapped(table: Table, keymap: Mapping[str, str]) -> Table:
    """A table with the user's keys, by id."""
    return tuple(
        Group(title, tuple(Line(text, tuple(_remapped(key, keymap) for key in found)) for text, found in lines))
        for title, lines in table
    )


def _remapped(key: Key, keymap: Mapping[str, str]) -> Key:
    return key._replace(keys=keymap.get(key.id, key.keys))


def written_keys(table: Table, keymap: Mapping[str, str]) -> dict[str, str]:
    """The first key of each id as it is written, with the user's keys."""
    return {key.id: key.written[0] for key, _ in keys_of(remapped(table, keymap))}


def keys_of(table: Table) -> Iterator[tuple[Key, Line]]:
    """All keys of a table, each with its line."""
    return ((key, found) for group in table for found in group.lines for key in found.keys)


def bindings(table: Table) -> list[BindingType]:
    """The bindings of a table, in the footer's order."""
    found = sorted(keys_of(table), key=lambda pair: pair[0].footer)
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.footer),
            id=key.id,
            tooltip=sentence.text,
        )
        for key, sentence in found
    ]


def merged(*tables: Table) -> Table:
    """Tables as one: lines of groups of the same title together, in the order in which titles first come."""
    lines: dict[str, tuple[Line, ...]] = {}
    for table in tables:
        for title, more in table:
            lines[title] = lines.get(title, ()) + more
    return tuple(Group(title, found) for title, found in lines.items())


def without(name: str, table: Table) -> Table:
    """A table without a key, by its id."""
    return tuple(
        Group(title, tuple(Line(text, tuple(key for key in found if key.id != name)) for text, found in lines))
        for title, lines in table
    )


def line(text: str, *keys: Key) -> Line:
    """A line of a table."""
    return Line(text, keys)


def panes(names: str, footer: int = 0) -> Line:
    """The keys that go from pane to pane."""
    return line(
        f"panes: {names}",
        Key("tab", "app.focus_next", "pane.next", "Pane", footer),
        Key("shift+tab", "app.focus_previous", "pane.previous", "Previous pane"),
    )
