"""The picture of the ID-register lab: the selected register as cells, or SVE's vector lengths as dots."""

from __future__ import annotations

from inspector.tui.drawn import Drawn, Piece
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import Line, Toggle
from inspector.tui.register_cells import cell_lines, cells_of, legend, length_lines
from inspector.tui.widgets.line_view import fitted
from layouts.arm64.properties import FieldPlace, properties

_SVE = "sve"


def picture(session: IdLabSession, line: Line, width: int, *, brief: bool) -> list[Drawn]:
    """What a line is about, drawn; ``brief`` where there are few lines."""
    if isinstance(line, Toggle) and line.name.startswith(_SVE):
        return _lengths(session, width, brief=brief)
    encoding, places = _register_of(session, line)
    if encoding is None:
        return []
    blocked = frozenset(place for place in session.blocked_places() if place.encoding == encoding)
    cells = cells_of(session.benches, encoding, places, blocked)
    lines = list(cell_lines(cells, width, brief=brief))
    if brief:
        return lines
    value = session.bench.made.request.registers.get(encoding, 0)
    name = session.bench.host.kernel.register_name(encoding)
    head = f"{name} {value:#018x}"
    return [[Piece(head, "heading"), Piece(fitted(f"   {legend(cells)}", width - len(head)), "quiet")], *lines]


def _register_of(session: IdLabSession, line: Line) -> tuple[int | None, tuple[FieldPlace, ...]]:
    """The register that a line is about, and its fields."""
    if isinstance(line, str):
        return session.encoding_of(line.partition(" ")[0]), ()
    places = properties()[line.name].places if isinstance(line, Toggle) else line.entry.places
    return places[0].encoding, places


def _lengths(session: IdLabSession, width: int, *, brief: bool) -> list[Drawn]:
    toggles = [line for line in session.lines if isinstance(line, Toggle) and line.name.removeprefix(_SVE).isdigit()]
    rows = {"host A" if session.other is not None else "host": [one.host for one in toggles]}
    if session.other is not None:
        rows["host B"] = [bool(one.second) for one in toggles]
    rows["guest"] = [one.guest for one in toggles]
    lines = list(length_lines(rows, [int(one.name.removeprefix(_SVE)) for one in toggles], width))
    if brief:
        return lines
    rule = "SVE vector lengths: KVM takes exactly the host's, up to the guest's longest (set_sve_vls)"
    return [[Piece(fitted(rule, width), "quiet")], *lines]
