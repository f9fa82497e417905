"""A register drawn as cells from bit 63 to bit 0: each field with its name, its value, and what hosts have instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from inspector.machine.arm64.id_limits import checked_mask
from inspector.machine.arm64.models.realize import places_of
from inspector.machine.arm64.models.workbench import Workbench
from inspector.tui.drawn import Drawn, Piece
from inspector.tui.widgets.line_view import fitted
from layouts.arm64.properties import FieldPlace

_BITS = 64
#: Rows that a register may take: the fewest in which names are whole, else the most with names cut; unframed two.
_ROWS, _ROWS_BRIEF = (1, 2, 4), (2,)
_LEAST_NAME = 3
#: Fields of more bits are written in hexadecimal.
_DECIMAL_BITS = 4


class Cell(NamedTuple):
    """A field, or bits that no field has (no name). ``hosts`` are the values of hosts that have another, by host.

    ``is_writable``: every host's kernel lets user space write it; ``blocks``: a host does not take the guest's value.
    """

    name: str
    lsb: int
    width: int
    value: int
    hosts: dict[str, int]
    is_writable: bool
    blocks: bool
    is_selected: bool

    @property
    def bits(self) -> str:
        """Its bits as manuals write them."""
        return str(self.lsb) if self.width == 1 else f"{self.lsb + self.width - 1}:{self.lsb}"

    @property
    def label(self) -> str:
        """The name, pointed at where it is selected."""
        return f"▸{self.name}" if self.is_selected else self.name or "·"

    @property
    def text(self) -> str:
        """The guest's value, in brackets where nobody can write it, and the hosts'."""
        if not self.name and not self.value:
            return "·"
        value = self._number(self.value)
        value = value if self.is_writable else f"({value})"
        one = len(self.hosts) == 1 and "" in self.hosts
        others = [f"≠{self._number(n)}" if one else f" {host}{self._number(n)}" for host, n in self.hosts.items()]
        return f"{'✗' if self.blocks else ''}{value}{''.join(others)}"

    def _number(self, value: int) -> str:
        return str(value) if self.width <= _DECIMAL_BITS else f"{value:#x}"

    @property
    def style(self) -> str:
        """How its value looks."""
        if self.blocks:
            return "bad"
        return "changed" if self.hosts else "quiet" if not self.name or not self.is_writable else ""


def cells_of(
    benches: Mapping[str, Workbench], encoding: int, selected: Sequence[FieldPlace], blocked: frozenset[FieldPlace]
) -> list[Cell]:
    """The cells of a guest's register on its hosts, bit 63 first; of one host, the host has no name."""
    first = next(iter(benches.values()))
    request = first.made.request
    value = request.registers.get(encoding, 0)
    limits = {
        name if len(benches) > 1 else "": bench.host.limit(encoding, request.features)
        for name, bench in benches.items()
    }
    writable = _everywhere(encoding, benches)
    found, above = [], _BITS
    for place in places_of(encoding):
        end = place.lsb + place.width
        found += _gap(value, end, above)
        guest = place.get(value)
        others = {name: place.get(limit) for name, limit in limits.items() if place.get(limit) != guest}
        is_writable = not place.mask & ~writable
        found.append(
            Cell(place.name, place.lsb, place.width, guest, others, is_writable, place in blocked, place in selected)
        )
        above = place.lsb
    return found + _gap(value, 0, above)


def _everywhere(encoding: int, benches: Mapping[str, Workbench]) -> int:
    """The bits that user space may write on every host."""
    writable = (1 << _BITS) - 1
    for bench in benches.values():
        known = encoding in bench.host.kernel.registers
        writable &= checked_mask(bench.host, encoding) if known else 0
    return writable


def _gap(value: int, end: int, above: int) -> list[Cell]:
    """The bits between two fields, where there are any."""
    width = above - end
    if width <= 0:
        return []
    number = value >> end & (1 << width) - 1
    return [Cell("", end, width, number, {}, is_writable=False, blocks=False, is_selected=False)]


def cell_lines(cells: Sequence[Cell], width: int, *, brief: bool) -> Iterator[Drawn]:
    """The cells in as few rows as hold their names. ``brief``: names and values alone, without a frame."""
    rows, widths = _laid_out(cells, width, brief=brief)
    at = 0
    for number, row in enumerate(rows):
        own = widths[at : at + len(row)]
        at += len(row)
        if not brief:
            yield _ruler(row, own, "┌┬┐" if number == 0 else "├┬┤")
        yield _walled(row, own, [cell.label for cell in row])
        yield _walled(row, own, [cell.text for cell in row])
    if not brief:
        yield [Piece("└" + "┴".join("─" * one for one in own) + "┘", "quiet")]


def legend(cells: Sequence[Cell]) -> str:
    """What the signs mean that the cells have."""
    words = ["▸ selected"] if any(cell.is_selected for cell in cells) else []
    words += ["(n) KVM lets nobody write it"] if any(cell.name and not cell.is_writable for cell in cells) else []
    words += ["✗ in the way"] if any(cell.blocks for cell in cells) else []
    if any("" in cell.hosts for cell in cells):
        words.append("≠n the host has n")
    elif any(cell.hosts for cell in cells):
        words.append("An, Bn that host has n")
    return " · ".join(words)


def _laid_out(cells: Sequence[Cell], width: int, *, brief: bool) -> tuple[list[list[Cell]], list[int]]:
    """Rows of cells, and the width of each cell without its wall."""
    wanted = {cell.lsb: max(len(cell.label), len(cell.text), 0 if brief else len(cell.bits)) for cell in cells}
    for count in _ROWS_BRIEF if brief else _ROWS:
        rows = _rows(cells, count)
        if all(sum(wanted[cell.lsb] + 1 for cell in row) < width for row in rows):
            break
    return rows, [one for row in rows for one in _stretched([wanted[cell.lsb] for cell in row], row, width)]


def _rows(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """The cells in rows of as many bits; a field stands where its highest bit is."""
    rows: list[list[Cell]] = [[] for _ in range(count)]
    for cell in cells:
        top = cell.lsb + cell.width - 1
        rows[(_BITS - 1 - top) * count // _BITS].append(cell)
    return [row for row in rows if row]


def _stretched(widths: list[int], row: Sequence[Cell], width: int) -> list[int]:
    """Widths that fill a line, or are cut until they fit."""
    room = width - 1 - sum(one + 1 for one in widths)
    while room < 0 and max(widths) > _LEAST_NAME:
        widths[widths.index(max(widths))] -= 1
        room += 1
    named = [at for at, cell in enumerate(row) if cell.name] or [0]
    for turn in range(max(0, room)):
        widths[named[turn % len(named)]] += 1
    return widths


def _ruler(row: Sequence[Cell], widths: Sequence[int], corners: str) -> Drawn:
    left, middle, right = tuple(corners)
    bits = [fitted(cell.bits, one).ljust(one, "─") for cell, one in zip(row, widths, strict=True)]
    return [Piece(left + middle.join(bits) + right, "quiet")]


def _walled(row: Sequence[Cell], widths: Sequence[int], texts: Sequence[str]) -> Drawn:
    found = [Piece("│", "quiet")]
    for cell, width, text in zip(row, widths, texts, strict=True):
        style = "mark" if cell.is_selected else cell.style
        found += [Piece(f"{fitted(text, width):<{width}}", style), Piece("│", "quiet")]
    return found


def length_lines(rows: Mapping[str, Sequence[bool]], lengths_bits: Sequence[int], width: int) -> Iterator[Drawn]:
    """SVE's vector lengths as a row of dots for each host and the guest; where they differ up to the guest's, ✗."""
    label = max(len(name) for name in rows) + 2
    cell = max(3, min(6, (width - label) // max(1, len(lengths_bits))))
    in_bits = cell > len(str(max(lengths_bits, default=0)))
    yield [
        Piece(f"{'bits' if in_bits else 'bytes':<{label}}", "heading"),
        *(Piece(f"{length if in_bits else length // 8:<{cell}}", "heading") for length in lengths_bits),
    ]
    guest = list(rows.values())[-1]
    longest = max((at for at, has in enumerate(guest) if has), default=-1)
    for name, row in rows.items():
        pieces = [Piece(f"{name:<{label}}")]
        for at, has in enumerate(row):
            wrong = row is not guest and at <= longest and has is not guest[at]
            style = "bad" if wrong else "good" if has else "quiet"
            pieces.append(Piece(f"{'●' if has else '·'}{'✗' if wrong else ''}".ljust(cell), style))
        yield pieces
