"""What a Fleet screen shows: a list of lines, what is said of one, and where Enter leads. No toolkit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len

from inspector.export.fleet import HOW, some
from inspector.export.shorten import middle_cut
from inspector.fleet.relation import Blocker
from inspector.tui.fleet_session import FleetSession, Part

#: A line as texts with a style each, by the names that a LineView has for styles.
Row = tuple[tuple[str, str], ...]
_TOO_MANY = 12


class Said(NamedTuple):
    """A paragraph about the selected line: its style is the toolkit's, its further lines are indented by so many."""

    text: str
    style: str = ""
    indent: int = 2


class PairWanted(NamedTuple):
    """A guest and a host, by number, of which somebody wants to see the move."""

    part: Part
    guest: int
    host: int


class View:
    """A list of lines. ``name`` is the key of :data:`inspector.tui.fleet_views.VIEWS`, empty for what Enter opened."""

    name = ""
    title = ""

    def __init__(self, session: FleetSession) -> None:
        self.session = session

    def follow(self) -> None:
        """The session has another version: make the lines anew."""

    @property
    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def row(self, at: int) -> Row:
        """A line."""
        raise NotImplementedError

    def said(self, at: int) -> Iterator[Said]:
        """Everything about a line."""
        raise NotImplementedError

    def first(self) -> int:
        """Where to begin."""
        return 0

    def enter(self, at: int) -> View | PairWanted | None:  # noqa: ARG002
        """What Enter opens."""
        return None

    def label(self, at: int) -> str:
        """The name that y copies."""
        return "".join(text for text, _ in self.row(at)).strip()

    def words(self) -> list[str]:
        """The words of the command that prints the same."""
        raise NotImplementedError

    def command(self, at: int) -> str:  # noqa: ARG002
        """The command that prints the same."""
        return shlex.join(["inspector", *self.words()])

    def has(self, at: int, text: str) -> bool:
        """A line has a text, which is in small letters."""
        return text in "".join(one for one, _ in self.row(at)).lower()

    def find(self, text: str, start: int, by: int) -> int | None:
        """The next line that has a text, from one on, round the ends; None for none."""
        text, count = text.lower(), self.count
        return next((at for step in range(count) if self.has(at := (start + by * step) % count, text)), None)

    def fleet_words(self, command: str) -> list[str]:
        """A subcommand on this store."""
        return ["fleet", command, "--store", self.session.path]


@lru_cache(maxsize=4096)
def reasons(blockers: tuple[Blocker, ...]) -> str:
    """What is in the way by rule: ``avx512f (CPUID.7.0.EBX[16]): the host has to have it``."""
    by_rule: dict[str, dict[str, None]] = {}
    for one in blockers:
        word = "vendor" if one.name == "vendor" else str(one)
        by_rule.setdefault(one.rule, {})[word] = None
    return "; ".join(f"{some([*words], most=_TOO_MANY)}: {HOW.get(rule, rule)}" for rule, words in by_rule.items())


def fitted(row: Row, width: int) -> Row:
    """A line that is no wider: its longest text is cut in the middle, as names and CPUs differ at their ends."""
    excess = sum(cell_len(text) for text, _ in row) - width
    if excess <= 0:
        return row
    longest = max(range(len(row)), key=lambda at: len(row[at][0]))
    text, style = row[longest]
    return *row[:longest], (middle_cut(text, max(0, len(text) - excess)), style), *row[longest + 1 :]


def waiting(session: FleetSession, name: str) -> Said:
    """Why there is nothing to see yet."""
    return Said(session.wrong.get(name) or "asked, and not answered yet")
