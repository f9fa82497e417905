"""Differences as text, and as JSON (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from inspector.capture.model import Capture
from inspector.decode.fields import NOT_CAPTURED, Field
from inspector.decode.values import short_hex
from inspector.diff.changes import Change, Difference, Missing, within
from inspector.diff.pairing import Row
from inspector.diff.parts import Part, parts
from inspector.export import kinds
from inspector.export.lines import Line, plain_text, printer_for
from inspector.export.words import styled

_PATH_WIDTH = 28
_PARTS_SHOWN = 4
_STYLES = {"+": "green", "-": "red", "~": "yellow"}
#: Who changed a field, of three states of which the first is what both others come from.
_MOVES = {"a": "only 1", "b": "only 2", "both": "both, to the same", "conflict": "both, to different values"}


class Compared(NamedTuple):
    """A row of vCPUs, and what differs between them."""

    row: Row
    difference: Difference


class Shown(NamedTuple):
    """``three_ways``: the first capture is what both others come from. ``volatile``: what always differs too."""

    three_ways: bool = False
    volatile: bool = True


def write_text(out: TextIO, captures: Sequence[Capture], compared: Iterator[Compared], shown: Shown) -> bool:
    """Write differences as text; whether there was one."""
    printer = _Printer(out)
    for number, capture in enumerate(captures):
        printer.line(
            _line((f"{_label(number, len(captures), shown)}  {capture.target}", "bold"), f"  {capture.format}")
        )
    differs, equal = _write_rows(printer, compared, shown)
    printer.line(())
    printer.line(_line((f"{'no other difference' if differs else 'no difference'}; {equal} fields are equal", "dim")))
    return differs


def write_changes(out: TextIO, compared: Iterator[Compared], shown: Shown) -> bool:
    """Write only what differs as text, nothing where nothing does; whether there was something."""
    return _write_rows(_Printer(out), compared, shown)[0]


def _write_rows(printer: _Printer, compared: Iterator[Compared], shown: Shown) -> tuple[bool, int]:
    """Whether anything differs, and how many fields are equal."""
    equal, differs = 0, False
    for row, found in compared:
        equal += found.equal
        lines = list(_row_lines(row, found, shown))
        if lines:
            differs = True
            printer.line(())
            printer.line(_line((row.name or "machine or process", "bold cyan")))
            for line in lines:
                printer.line(line)
    return differs, equal


def write_json(out: TextIO, captures: Sequence[Capture], compared: Iterator[Compared], shown: Shown) -> bool:
    """Write differences as JSON; whether there was one."""
    targets = [{"target": capture.target, "format": capture.format} for capture in captures]
    head = {**kinds.head("diff"), "three_ways": shown.three_ways, "targets": targets}
    encode = json.JSONEncoder().encode
    out.write(encode(head)[:-1] + ', "vcpus": [')
    differs = first = False
    for row, found in compared:
        changes = _changes(found, shown)
        differs = differs or bool(changes or found.missing or None in _presence(row))
        record = {
            "name": row.name,
            "vcpus": [vcpu.index if vcpu else None for vcpu in row.vcpus],
            "equal": found.equal,
            "missing": [_missing_json(missing, len(captures)) for missing in found.missing],
            "changes": [_change_json(change, shown) for change in changes],
        }
        out.write((",\n" if first else "\n") + encode(record))
        first = True
    out.write('], "differ": ' + encode(differs) + "}\n")
    return differs


def moved(change: Change) -> str:
    """Who changed a field that came from the first of three states: ``a``, ``b``, ``both`` or ``conflict``."""
    base, one, other = (_plain(field) for field in change.fields)
    if one == base:
        return "b"
    if other == base:
        return "a"
    return "both" if one == other else "conflict"


def _presence(row: Row) -> Sequence[object | None]:
    return row.vcpus if row.name else ()


def _changes(found: Difference, shown: Shown) -> list[Change]:
    return [change for change in found.changes if shown.volatile or not change.volatile]


def _label(number: int, count: int, shown: Shown) -> str:
    if shown.three_ways:
        return ("base", "1", "2")[number]
    return "-+"[number] if count == 2 else f"[{number}]"


def _row_lines(row: Row, found: Difference, shown: Shown) -> Iterator[Line]:
    presence = _presence(row)
    if None in presence:
        there = [_label(at, len(presence), shown) for at, vcpu in enumerate(presence) if vcpu is not None]
        yield _line(("  only in " + ", ".join(there), "yellow"))
        return
    changes = _changes(found, shown)
    holders = within(changes)
    usual = [change for change in changes if not change.volatile]
    yield from _folded([_entry(change, holders, shown) for change in usual])
    if len(usual) < len(changes):
        yield _line(("  what always differs:", "dim"))
        yield from _folded([_entry(change, holders, shown) for change in changes[len(usual) :]])
    for missing in found.missing:
        there = [_label(side, len(row.areas), shown) for side in missing.sides]
        words = f"  {missing.prefix}: {missing.title}, {missing.fields} fields, only in {', '.join(there)}"
        yield _line((words, "dim"))


class _Entry(NamedTuple):
    """A change as it is printed: what stands behind the path, and the lines below."""

    change: Change
    said: Line
    below: list[Line]

    @property
    def style(self) -> str:
        return "dim" if self.change.volatile else _STYLES[self.change.sign]


def _folded(entries: Sequence[_Entry]) -> Iterator[Line]:
    """Fields of one array of which the same is said become one line: ``xmm[1..15]``."""
    names = [_indexed(entry.change.path) for entry in entries]
    at = 0
    while at < len(entries):
        first, (name, number) = entries[at], names[at]
        last = at
        path, said = first.change.path, first.said
        if number is not None:
            without = _without(first, number)
            while names[last + 1 : last + 2] == [(name, number + last + 1 - at)] and without == _without(
                entries[last + 1], number + last + 1 - at
            ):
                last += 1
        if number is not None and last > at:
            numbers = f"[{number}..{number + last - at}]"
            path, said = name + numbers, ((plain_text(said).replace(f"[{number}]", numbers), "dim"),)
        yield ((f"  {first.change.sign} {path:<{_PATH_WIDTH}} ", first.style), *said)
        yield from first.below
        at = last + 1


def _indexed(path: str) -> tuple[str, int | None]:
    if not path.endswith("]"):
        return path, None
    name, bracket, number = path[:-1].rpartition("[")
    return (name, int(number)) if bracket and number.isdecimal() else (path, None)


def _without(entry: _Entry, number: int) -> tuple[str, str, list[Line]]:
    """What is said, but for the number of the register."""
    return entry.change.sign, plain_text(entry.said).replace(f"[{number}]", "[]"), entry.below


def _entry(change: Change, holders: Mapping[str, str], shown: Shown) -> _Entry:
    if len(change.places) == 2 and not shown.three_ways and change.path in holders:
        return _Entry(change, _line((f"part of {holders[change.path]}", "dim")), [])
    fields = change.fields
    if shown.three_ways:
        return _Entry(change, _line(f"{' | '.join(map(_value, fields))}  {_MOVES[moved(change)]}"), [])
    if len(fields) > 2:
        return _Entry(change, _line(_course(fields)), [])
    there = [field for field in fields if field is not None]
    if len(there) == 1:
        return _Entry(change, _line(f"{_value(there[0])}  {there[0].text}"), [])
    before, after = there
    if before.value == after.value and before.state == after.state:
        return _Entry(change, _line(f"{_value(before)}  {before.text}", (" → ", "dim"), after.text), [])
    if before.value == after.value:
        return _Entry(change, _line("the same value, ", _state(before), (" → ", "dim"), _state(after)), [])
    differing = parts(there)
    if before.spec.kind == "text":
        return _Entry(change, _line(repr(before.text), (" → ", "dim"), repr(after.text)), [])
    if before.bits > 64 and differing:
        below = [
            _line(f"      {part.name:<10} {_wide(part, before, 0)}", (" → ", "dim"), _wide(part, after, 1))
            for part in differing[:_PARTS_SHOWN]
        ]
        if len(differing) > _PARTS_SHOWN:
            below.append(_line((f"      … and {len(differing) - _PARTS_SHOWN} more", "dim")))
        return _Entry(change, _line(_count(differing, before)), below)
    tail = "   " + "  ".join(_bit_text(part, there) for part in differing) if differing else ""
    style = "dim" if change.volatile else _STYLES[change.sign]
    return _Entry(change, _line(_value(before), (" → ", "dim"), _value(after), (tail, style)), [])


def _state(field: Field) -> str:
    return field.state or "in use"


def _count(differing: Sequence[Part], field: Field) -> str:
    of = -(-field.bits // differing[0].width)
    return f"{len(differing)} of {of} {differing[0].name.partition('[')[0]}s differ"


def _wide(part: Part, field: Field, side: int) -> str:
    """A number; of a tile's rows and of bytes, the bytes as they lie in memory."""
    if field.spec.kind == "vector":
        return short_hex(part.values[side], part.width)
    data = part.values[side].to_bytes(part.width // 8, "little")
    return data[:8].hex(" ") + (" …" if len(data) > 8 else "")


def _bit_text(part: Part, fields: Sequence[Field]) -> str:
    if part.width == 1:
        return f"{'+' if part.values[1] else '-'}{part.name}"
    before, after = part.texts(fields)
    return f"{part.name}: {before}→{after}"


def _course(fields: Sequence[Field | None]) -> str:
    """The values in their order, each where it appears: ``[0] 0xe7  [2] 0x602e7``."""
    words = []
    last: object = ()
    for at, field in enumerate(fields):
        if _plain(field) != last:
            last = _plain(field)
            words.append(f"[{at}] {_value(field)}")
    return "  ".join(words)


def _plain(field: Field | None) -> object:
    return None if field is None else (field.value, field.state, field.text if field.value is None else "")


def _value(field: Field | None) -> str:
    if field is None:
        return "none"
    if field.value is None:
        return field.text or NOT_CAPTURED
    return short_hex(field.value, field.bits) + (f" ({field.state})" if field.state else "")


def _change_json(change: Change, shown: Shown) -> dict[str, Any]:
    there = [field for field in change.fields if field is not None]
    record: dict[str, Any] = {
        "path": change.path,
        "change": change.sign,
        "volatile": change.volatile or None,
        "values": [None if f is None or f.value is None else hex(f.value) for f in change.fields],
        "texts": [None if field is None else field.text for field in change.fields],
        "states": [None if field is None else field.state for field in change.fields],
        "source": there[0].spec.source,
    }
    if shown.three_ways:
        record["moved"] = moved(change)
    if len(there) == len(change.fields):
        record["parts"] = [
            {"name": part.name, "lsb": part.lsb, "width": part.width, "values": list(map(hex, part.values))}
            for part in parts(there)
        ]
    return record


def _missing_json(missing: Missing, sides: int) -> dict[str, Any]:
    return {
        "prefix": missing.prefix,
        "title": missing.title,
        "fields": missing.fields,
        "present": [side in missing.sides for side in range(sides)],
    }


class _Printer:
    """Lines for people, one after the other."""

    def __init__(self, out: TextIO) -> None:
        self._put = printer_for(out)

    def line(self, line: Line) -> None:
        """Print one."""
        self._put([line])


def _line(*pieces: str | tuple[str, str]) -> Line:
    """A line of parts, each with a style: whatever a file brings is visible, and stays in the line."""
    return styled(*pieces)
