"""The gates of a component drawn as wires: an actor a line, the gate that decides pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inspector.machine.x86.world.gates import Chain, Gate, GateName, GateState
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.widgets.line_view import fitted

#: The columns, with what stands above them in little room and in much.
_COLUMNS: dict[GateName, tuple[str, str]] = {
    "hardware": ("CPU", "hardware"),
    "host XCR0": ("host", "host XCR0"),
    "permission": ("perm", "permission"),
    "guest permission": ("gperm", "guest perm"),
    "CPUID": ("CPUID", "CPUID"),
    "XCR0": ("XCR0", "XCR0"),
    "task permission": ("task", "task perm"),
    "XFD": ("XFD", "XFD"),
    "room": ("room", "room"),
}
#: A vCPU that is not there stands where its CPUID would.
_COLUMN_OF: dict[GateName, GateName] = {"vCPU": "CPUID"}
#: The key that opens a gate, by its id; and the one that takes events back.
_OPENS: dict[GateName, str] = {
    "permission": "xstate.permit_process",
    "guest permission": "xstate.permit",
    "vCPU": "xstate.create",
    "CPUID": "xstate.cpuid",
    "XCR0": "xstate.xcr0",
    "XFD": "xstate.xfd",
}
_UNDO = "lab.undo"
_SIGNS: dict[GateState, str] = {"open": "●", "closed": "╳", "on use": "◐", "passed": "○"}
_NAME_WIDTH, _RESULT_WIDTH = 15, 9
_LEAST_CELL, _MOST_CELL, _WIDE_CELL = 6, 14, 11


def cell_width(width: int) -> int:
    """Columns a gate takes in a pane of a width."""
    return max(_LEAST_CELL, min(_MOST_CELL, (width - _NAME_WIDTH - _RESULT_WIDTH) // len(_COLUMNS)))


def chain_heading(name: str, number: int, width: int) -> Drawn:
    """The component, and the gates' names."""
    cell = cell_width(width)
    words = []
    for gate, (short, long) in _COLUMNS.items():
        text = long if cell >= _WIDE_CELL else short
        words.append(f"{text}[{number}]" if cell >= _WIDE_CELL and gate in ("XCR0", "XFD") else text)
    names = "".join(f"{fitted(word, cell - 1):<{cell}}" for word in words)
    return [Piece(f"{fitted(name, _NAME_WIDTH - 1):<{_NAME_WIDTH}}{names}  result", "heading")]


def chain_lines(found: Sequence[Chain], keys: Mapping[str, str], width: int, *, brief: bool) -> Iterator[Drawn]:
    """A wire an actor and below each what stops it, if something does; so many lines whatever the gates are.

    ``brief``: only the last that does not arrive says why. ``keys`` are the lab's as they are written, by id.
    """
    for chain in found:
        yield _wire(chain, width)
        if not brief:
            yield _pointer(chain, keys, width)
    if brief:
        stopped = [chain for chain in found if why_of(chain, keys)]
        yield _pointer(stopped[-1] if stopped else found[-1], keys, width)


def gate_at(found: Sequence[Chain], x: int, line: int, width: int, *, brief: bool) -> tuple[Chain, Gate] | None:
    """The gate at a place of the picture, below whose heading line 0 is; the line below a wire is the wire's."""
    number, column = line if brief else line // 2, (x - _NAME_WIDTH) // cell_width(width)
    if not (0 <= number < len(found) and 0 <= column < len(_COLUMNS)):
        return None
    gate = _at(found[number].gates).get(list(_COLUMNS)[column])
    return None if gate is None else (found[number], gate)


def opener_of(gate: Gate) -> str:
    """The id of the key that opens a gate, or takes back what closed it for good; empty where there is none."""
    if gate.state == "open" or gate.name not in _OPENS:
        return ""
    return _UNDO if gate.name == "guest permission" and "final" in gate.closed else _OPENS[gate.name]


def why_of(chain: Chain, keys: Mapping[str, str]) -> str:
    """What stops an actor and the key that opens it, or what the first use will do; nothing where all is open."""
    touched = chain.touched
    if touched.word == "grows":
        return "the first use is #NM; the kernel then gives a larger buffer and clears XFD"
    if touched.works:
        return ""
    gate = chain.first_closed
    if gate is None:
        return f"does not hold: {touched.because}" if touched.because else ""
    opens = opener_of(gate)
    if not opens:
        return gate.closed
    return f"{gate.closed} · {keys[opens]} {'takes events back' if opens == _UNDO else 'opens it'}"


def _at(gates: Sequence[Gate]) -> dict[GateName, Gate]:
    """The gate of each column: of several the first that is not open."""
    found: dict[GateName, Gate] = {}
    for gate in gates:
        column = _COLUMN_OF.get(gate.name, gate.name)
        if column not in found or found[column].state == "open":
            found[column] = gate
    return found


def _wire(chain: Chain, width: int) -> Drawn:
    """An actor's line."""
    cell, gates, first = cell_width(width), _at(chain.gates), chain.first_closed
    pieces = [Piece(f"{chain.actor:<{_NAME_WIDTH}}")]
    goes = True
    for column in _COLUMNS:
        gate = gates.get(column)
        here = gate is not None and first is not None and gate.name == first.name and goes
        goes = goes and not here
        line, style = ("━", "good") if goes else ("┄", "quiet")
        text = line * cell if gate is None else f"{line if goes or not here else '━'}{_SIGNS[gate.state]}{gate.value}"
        pieces.append(Piece(text.ljust(cell, line), "bad" if here else style))
    touched = chain.touched
    ends = "good" if touched.works else "bad" if touched.outcome is not None else "quiet"
    return [*pieces, Piece(f"▶ {touched.word}", ends)]


def _pointer(chain: Chain, keys: Mapping[str, str], width: int) -> Drawn:
    """Below the gate that decides: what is wrong with it."""
    text, cell, first = why_of(chain, keys), cell_width(width), chain.first_closed
    if not text:
        return []
    columns = list(_COLUMNS)
    if chain.touched.word == "grows":
        at = columns.index("XFD")
    elif first is not None:
        at = columns.index(_COLUMN_OF.get(first.name, first.name))
    else:
        at = len(columns)
    left = _NAME_WIDTH + at * cell + 1
    style = "quiet" if chain.touched.word == "grows" else "bad"
    if left + 2 + len(text) <= width:
        return [Piece(f"{'':<{left}}╰ {text}", style)]
    if len(text) < left:
        return [Piece(f"{text:>{left - 1}} ╯", style)]
    # Too long for either side: the gate's colour and sign have to do.
    return [Piece(f"{fitted(text, width):>{width}}", style)]
