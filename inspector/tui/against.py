"""The same events in two worlds side by side, drawn: an event a line, what only one side has, what each paid."""

from __future__ import annotations

from textwrap import wrap

from inspector.capture.errors import visible
from inspector.export.worlds import Comparison, Difference, Pair, first_sentence, only, short_answer
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.lanes import is_fine
from inspector.tui.widgets.line_view import fitted

LEGEND = "▶ first difference  ≠ another answer  ~ the same answer, other changes"
_MARKS: dict[Difference, str] = {"": " ", "answer": "≠", "change": "~", "log": "~"}
_NUMBER_WIDTH, _MOST_EVENT = 7, 60


def _widths(width: int) -> tuple[int, int]:
    """Columns of the event and of each answer."""
    event = min(_MOST_EVENT, (width - _NUMBER_WIDTH) // 2)
    return event, (width - _NUMBER_WIDTH - event) // 2


def against_heading(found: Comparison, width: int) -> list[Drawn]:
    """What tells the two apart, and where they first do not agree."""
    event, answer = _widths(width)
    names = "".join(f"{fitted(visible(name), answer - 1):<{answer}}" for name in found.names)
    style = "changed" if found.first is not None else "good"
    return [
        *([Piece(line, style)] for line in _wrapped(first_sentence(found), width)),
        [Piece(f"{fitted('event', event + _NUMBER_WIDTH):<{event + _NUMBER_WIDTH}}{names}", "heading")],
    ]


def pair_line(found: Comparison, pair: Pair, width: int) -> Drawn:
    """An event, and its answer on both sides."""
    event, answer = _widths(width)
    mark = "▶" if pair is found.first else _MARKS[pair.differs]
    style = "changed" if pair.differs == "answer" or pair is found.first else ""
    text = fitted(visible(pair.one.event), event - 1)
    pieces = [Piece(f"{mark} {pair.number:>3}  {text:<{event}}", style)]
    for happened in (pair.one, pair.other):
        fine = happened.step is not None and is_fine(happened.step)
        pieces.append(Piece(f"{fitted(short_answer(happened), answer - 1):<{answer}}", "" if fine else "bad"))
    return pieces


def only_lines(found: Comparison, pair: Pair, width: int) -> list[Drawn]:
    """What one side has and the other has not, in two columns."""
    column = max(10, (width - 3) // 2)
    sides = [[line for text in only(pair, side) for line in _wrapped(visible(text), column)] for side in (0, 1)]
    names = [fitted(visible(f"only {name}"), column) for name in found.names]
    lines: list[Drawn] = [[Piece(f"{names[0]:<{column}} │ {names[1]}", "heading")]]
    if not any(sides):
        return [*lines, [Piece("no difference in this event", "quiet")]]
    sides = [side or ["nothing"] for side in sides]
    count = max(map(len, sides))
    left, right = (side + [""] * (count - len(side)) for side in sides)
    for one, other in zip(left, right, strict=True):
        lines.append([Piece(f"{one:<{column}}"), Piece(" │ ", "quiet"), Piece(other)])
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, subsequent_indent="  ") or [""]


def cost_lines(found: Comparison, width: int) -> list[Drawn]:
    """What each side paid."""
    event, answer = _widths(width)
    return [
        [
            Piece(f"{'':<{_NUMBER_WIDTH}}{name:<{event}}", "quiet"),
            Piece(f"{one:<{answer}}{other:<{answer}}", "changed" if one != other else "quiet"),
        ]
        for name, one, other in found.costs
    ]
