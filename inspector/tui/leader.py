"""What is behind the leader, drawn: groups of keys in columns, each key with what it would do now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from inspector.tui.drawn import Drawn, Piece
from inspector.tui.key import Key, Table, is_behind, written
from inspector.tui.lab_keys import EVENTS
from inspector.tui.widgets.line_view import fitted

#: What a column has where there is room, and in no room at all.
_LEAST_CELL, _SMALLEST_CELL = 25, 8


class Entry(NamedTuple):
    """A line of the panel: the two keys, the second as it is written, what they do; a heading has no keys."""

    keys: str
    letter: str
    text: str


def entries_of(table: Table, text_of: Callable[[Key], str], selected: str) -> list[list[Entry]]:
    """The groups of a table that have keys behind the leader; ``selected`` is the name of what they are about."""
    found = []
    for title, lines in table:
        pairs = [(key, one) for line in lines for key in line.keys for one in key.keys.split(",") if is_behind(one)]
        if pairs:
            short = title.removeprefix(EVENTS)
            heading = Entry("", "", selected if short.startswith("the selected") else short)
            found.append([heading, *(Entry(one, written(one.split()[1]), text_of(key)) for key, one in pairs)])
    return found


class Panel(NamedTuple):
    """The entries in columns of a width."""

    columns: list[list[Entry]]
    cell: int

    def at(self, x: int, y: int) -> Entry | None:
        """The entry at a place."""
        column = self.columns[x // self.cell] if x // self.cell < len(self.columns) else []
        return column[y] if y < len(column) and column[y].keys else None

    def lines(self) -> list[Drawn]:
        """The panel, a line a row."""
        count = max(map(len, self.columns), default=0)
        return [[piece for column in self.columns for piece in self._cell(column, row)] for row in range(count)]

    def _cell(self, column: Sequence[Entry], row: int) -> list[Piece]:
        if row >= len(column):
            return [Piece(" " * self.cell)]
        entry = column[row]
        if not entry.letter:
            return [Piece(f"{fitted(entry.text, self.cell - 1):<{self.cell}}", "quiet")]
        width = self.cell - len(entry.letter) - 3
        return [Piece(f" {entry.letter} ", "heading"), Piece(f" {fitted(entry.text, width - 1):<{width}}")]


def panel(groups: Sequence[Sequence[Entry]], width: int, height: int) -> Panel:
    """The groups in as many columns as a width has, none of them parted; in too few lines as much as fits."""
    count = max(1, width // _LEAST_CELL)
    tall = next((tall for tall in range(1, 1 + sum(map(len, groups))) if len(_packed(groups, tall)) <= count), 1)
    columns = _packed(groups, tall)
    if tall > height:
        one = [entry for group in groups for entry in group]
        columns = [one[at : at + height] for at in range(0, len(one), max(1, height))]
        left = sum(1 for column in columns[count:] for entry in column if entry.keys)
        columns = columns[:count]
        if left and columns[-1]:
            left += bool(columns[-1][-1].keys)
            columns[-1][-1] = Entry("", "", f"… {left} more: ?")
    return Panel(columns, max(_SMALLEST_CELL, width // max(1, len(columns))))


def _packed(groups: Sequence[Sequence[Entry]], tall: int) -> list[list[Entry]]:
    """Groups below one another, as long as a column is not taller; one that is taller alone counts as many columns."""
    columns: list[list[Entry]] = []
    for group in groups:
        if len(group) > tall:
            return [[]] * (1 + sum(map(len, groups)))
        if columns and len(columns[-1]) + len(group) <= tall:
            columns[-1].extend(group)
        else:
            columns.append([*group])
    return columns
