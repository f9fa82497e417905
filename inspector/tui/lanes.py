"""The timeline as swim lanes: an event a line, from who begins it to whom control comes, and what it cost so far."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, NamedTuple

from inspector.capture.errors import visible
from inspector.export.words import counted
from inspector.machine.lanes import LANES, Lane, Path
from inspector.machine.world import WorldStep
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.widgets.line_view import fitted

#: Lanes in much room and in little.
_NAMES: dict[Lane, tuple[str, str]] = {
    "VMM": ("VMM", "VMM"),
    "host kernel": ("host kernel", "host"),
    "vCPU": ("vCPU", "vCPU"),
    "guest kernel": ("guest kernel", "guest"),
    "guest program": ("guest program", "prog"),
}
LEGEND = "● begins  ◀ ▶ control goes to  ○ acts too  ◇ the vCPU does it, no exit"
#: An answer is a sign and up to ten letters: ``! depends-on``, ``✗ EOPNOTSUPP``.
_NUMBER_WIDTH, _ANSWER_WIDTH = 5, 14
#: With less than the second, lanes are as narrow as they can be: nearly every event is shorter.
_LEAST_EVENT, _USUAL_EVENT, _MOST_EVENT = 20, 36, 72
_LEAST_CELL, _MOST_CELL, _LONG_CELL, _LEAST_TEXT = 6, 14, 14, 8
#: What grows with the events, and how wide it is written.
_COSTS: tuple[tuple[str, str, int], ...] = (
    ("exits", "vm_exits", 6),
    ("WRMSR", "wrmsr_xfd", 6),
    ("RDMSR", "rdmsr_xfd", 6),
    ("bytes", "allocated_bytes", 8),
)
_COSTS_WIDTH = sum(width for *_, width in _COSTS)
#: Less than this has no room for lanes, more than that for costs too.
LEAST_WIDTH = _NUMBER_WIDTH + _LEAST_EVENT + len(LANES) * _LEAST_CELL + _ANSWER_WIDTH
_COSTS_FROM = LEAST_WIDTH + _COSTS_WIDTH + 15


class _Columns(NamedTuple):
    """Columns that an event, a lane and the costs take."""

    event: int
    cell: int
    has_costs: bool

    def centre(self, lane: int) -> int:
        """Where a lane's line is, from the first lane's left."""
        return lane * self.cell + self.cell // 2


def _columns(width: int, *, counted: bool) -> _Columns:
    has_costs = counted and width >= _COSTS_FROM
    room = width - _NUMBER_WIDTH - _ANSWER_WIDTH - has_costs * _COSTS_WIDTH
    cell = max(_LEAST_CELL, min(_MOST_CELL, (room - _USUAL_EVENT) // len(LANES)))
    return _Columns(max(0, min(_MOST_EVENT, room - cell * len(LANES))), cell, has_costs)


def lane_names(width: int, fill: str = " ", *, counted: bool = True) -> str:
    """The lanes' names above their lines; ``fill`` is between them. ``counted``: the world counts what it costs."""
    columns = _columns(width, counted=counted)
    return fill * (_NUMBER_WIDTH + columns.event) + _names(columns, fill)


def _names(columns: _Columns, fill: str = " ") -> str:
    line = [fill] * (columns.cell * len(LANES))
    for number, lane in enumerate(LANES):
        name = _NAMES[lane][columns.cell < _LONG_CELL]
        start = columns.centre(number) - len(name) // 2
        line[start : start + len(name)] = name
    return "".join(line)


def lanes_heading(width: int, *, counted: bool = True) -> Drawn:
    """Names of all columns."""
    columns = _columns(width, counted=counted)
    costs = "".join(f"{name:>{wide}}" for name, _, wide in _COSTS) if columns.has_costs else ""
    return [Piece(f"{lane_names(width, counted=counted)}  {'answer':<{_ANSWER_WIDTH - 2}}{costs}", "heading")]


def lanes_line(step: WorldStep[Any], number: int, width: int) -> Drawn:
    """An event: who begins it and how far it goes, its answer, and what all cost up to here."""
    columns = _columns(width, counted=bool(step.costs))
    style = "good" if is_fine(step) else "bad"
    event = f"{number:>3}  {fitted(visible(step.event), columns.event - 1):<{columns.event}}"
    pieces = [Piece(event), *_wire(step.path, columns, style)]
    name = step.outcome.name
    answer = f"  {name}" if is_fine(step) else f"! {name}" if step.outcome.accepted else f"✗ {name}"
    pieces.append(Piece(f"{fitted(answer, _ANSWER_WIDTH - 1):<{_ANSWER_WIDTH}}", style if style == "bad" else ""))
    if columns.has_costs:
        pieces.append(Piece("".join(f"{step.costs[name]:>{wide}}" for _, name, wide in _COSTS), "quiet"))
    return pieces


def coming_line(event: str, number: int, width: int, *, counted: bool = True) -> Drawn:
    """An event that is still to come."""
    columns = _columns(width, counted=counted)
    text = f"{number:>3}  {fitted(visible(event), columns.event - 1):<{columns.event}}"
    return [Piece(text + "".join(_empty(columns)), "quiet")]


def is_fine(step: WorldStep[Any]) -> bool:
    """Accepted, and nothing is as it should not be."""
    return step.outcome.accepted and all(check.held for check in step.outcome.checks)


def _empty(columns: _Columns) -> list[str]:
    line = [" "] * (columns.cell * len(LANES))
    for number in range(len(LANES)):
        line[columns.centre(number)] = "│"
    return line


def _wire(path: Path, columns: _Columns, style: str) -> list[Piece]:
    """From the one who begins to both ends."""
    line = _empty(columns)
    found = [LANES.index(lane) for lane in path.lanes]
    left, right = min(found), max(found)
    start, end = columns.centre(left), columns.centre(right)
    for at in range(start, end + 1):
        line[at] = "─" if line[at] == " " else "┼"
    for lane in found:
        line[columns.centre(lane)] = "○"
    if path.native and "vCPU" in path.lanes:
        line[columns.centre(LANES.index("vCPU"))] = "◇"
    else:
        line[start], line[end] = "◀", "▶"
    line[columns.centre(found[0])] = "●"
    text = "".join(line)
    return [Piece(text[:start], "quiet"), Piece(text[start : end + 1], style), Piece(text[end + 1 :], "quiet")]


def path_lines(step: WorldStep[Any], width: int) -> list[Drawn]:
    """One event in full: a line each time that control comes to somebody, with what is done there."""
    cell = max(_LEAST_CELL, min(_LONG_CELL - 1, width // 3 // len(LANES)))
    columns = _Columns(0, cell, has_costs=False)
    style = "good" if is_fine(step) else "bad"
    lines: list[Drawn] = [[Piece(_names(columns), "heading")]]
    before = -1
    for stop in step.path.stops:
        lane = LANES.index(stop.lane)
        drawn = _empty(columns)
        if before not in (-1, lane):
            left, right = sorted((columns.centre(before), columns.centre(lane)))
            for at in range(left, right + 1):
                drawn[at] = "─" if drawn[at] == " " else "┼"
            drawn[columns.centre(before)], drawn[columns.centre(lane)] = ("├", "▶") if lane > before else ("┤", "◀")
        else:
            drawn[columns.centre(lane)] = "●"
        first, *others = wrap(visible(stop.text), max(_LEAST_TEXT, width - len(drawn) - 3)) or [""]
        lines.append([Piece("".join(drawn), "quiet"), Piece(f" {first}")])
        lines.extend([Piece("".join(_empty(columns)), "quiet"), Piece(f"   {other}")] for other in others)
        before = lane
    lines.append([Piece("".join(_empty(columns)), "quiet"), Piece(f" → {step.outcome.name}", style)])
    return lines


def costs_words(costs: Mapping[str, Any]) -> str:
    """What all events cost so far, for a title."""
    words = [counted(costs["vm_exits"], "exit"), f"{costs['wrmsr_xfd']} WRMSR", f"{costs['rdmsr_xfd']} RDMSR"]
    return ", ".join([*words, counted(costs["allocated_bytes"], "byte")])
