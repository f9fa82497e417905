"""Fields as JSON text, many at a time: what equal layouts have in common is worked out once.

A core of a thousand threads has 300,000 fields of 300 specs. Of a spec with a given XSTATE_BV everything but the value
and the bytes is known before an area is read, so a field costs two slices and a format. What is out of the ordinary
(cut, dropped, unknown or swapped bytes, values with words) is decoded as everywhere. ``tests/export/test_json.py``
holds that both ways write the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspector.capture.model import Area
from inspector.decode.fields import PARTLY_INITIAL, Field, FieldTable
from inspector.decode.notes import Note
from inspector.decode.plans import could_match
from inspector.decode.spec import FieldSpec
from inspector.decode.texts import has_words
from inspector.export.encode import encode
from inspector.export.select import specs_selected
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

#: Plans kept at a time: a core's threads have a handful of layouts and XSTATE_BVs.
_MOST_PLANS = 64


class _Step(NamedTuple):
    """How a field is written: the text before its value, between value and bytes, and behind.

    ``start`` and ``end`` are its bytes, ``pieces`` those of a register in several places. ``is_plain``: nothing else
    is needed; ``value`` is what an initial one has (None: what its bytes say).
    """

    spec: FieldSpec
    head: str
    tail: str
    start: int
    end: int
    pieces: tuple[tuple[int, int], ...]
    is_plain: bool
    value: str
    meaning: int


class FieldWriter:
    """Fields of areas as JSON texts; ``meanings`` collects what is said once for all of them."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.meanings: list[str] = []
        self._patterns = patterns
        self._numbers: dict[str, int] = {}
        self._plans: dict[tuple[int, int | None, str], tuple[Sequence[FieldSpec], list[_Step]]] = {}

    def fields(self, area: Area, notes: Mapping[str, Note]) -> list[str]:
        """The fields of an area that one of the globs matches, an object each."""
        if not could_match(area, self._patterns):
            return []
        table = FieldTable(area)
        steps = self._plan(table)
        if not table.is_ordinary:
            return [_decoded(table, step, notes) for step in steps]
        data = bytes(table.area.data)
        digits, size = data.hex(), len(data)
        number = int.from_bytes
        out: list[str] = []
        for step in steps:
            spec, head, tail, start, end, pieces, is_plain, value, _ = step
            if not is_plain or end > size or (notes and spec.path in notes):
                out.append(_decoded(table, step, notes))
            elif pieces:
                raw = b"".join([data[first:last] for first, last in pieces])
                out.append(f'{head}{value or hex(number(raw, "little"))}", "bytes": "{raw.hex()}{tail}')
            else:
                shown = value or hex(number(data[start:end], "little"))
                out.append(f'{head}{shown}", "bytes": "{digits[2 * start : 2 * end]}{tail}')
        return out

    def _plan(self, table: FieldTable) -> list[_Step]:
        """The steps of a table's specs under its XSTATE_BV; kept, with the specs that they are of, by identity."""
        specs = table.specs
        key = (id(specs), table.xstate_bv, table.area.prefix)
        known = self._plans.get(key)
        if known is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            known = self._plans[key] = (
                specs,
                [self._step(table, spec) for spec in specs_selected(table, self._patterns)],
            )
        return known[1]

    def _step(self, table: FieldTable, spec: FieldSpec) -> _Step:
        head = f'{{"path": {encode(spec.path)}, "value": "'
        state = table.state_of(spec)
        pieces = tuple((at, at + size) for at, size in spec.pieces)
        is_plain = bool(pieces) and spec.bit is None and spec.swap <= 1 and not spec.missing_bytes
        is_plain = is_plain and state != PARTLY_INITIAL and (state == "initial" or not has_words(spec))
        meaning = self._meaning(table, spec)
        tail = f'", "bits": {spec.bits or 64}, "meaning": {meaning}'
        tail += f', "state": "{state}"}}' if state else "}"
        start, end = pieces[0] if len(pieces) == 1 else (0, spec.end)
        value = hex(spec.initial) if state == "initial" else ""
        return _Step(spec, head, tail, start, end, pieces if len(pieces) > 1 else (), is_plain, value, meaning)

    def _meaning(self, table: FieldTable, spec: FieldSpec) -> int:
        """The number of what is said of a spec."""
        said = encode(meaning_of(spec, table.area.prefix))
        known = self._numbers.get(said)
        if known is None:
            known = self._numbers[said] = len(self.meanings)
            self.meanings.append(said)
        return known


def _decoded(table: FieldTable, step: _Step, notes: Mapping[str, Note]) -> str:
    note = notes.get(step.spec.path)
    record = record_of(table.decode(step.spec), step.meaning)
    return encode(record | ({"note": note.text} if note is not None else {}))


def record_of(field: Field, meaning: int) -> dict[str, Any]:
    """A field as ``show --json`` prints it (docs/json.md)."""
    record: dict[str, Any] = {
        "path": field.spec.path,
        "value": None if field.value is None else hex(field.value),
        "bytes": None if field.data is None else field.data.hex(),
        "bits": field.bits,
        "meaning": meaning,
    }
    if field.state:
        record["state"] = field.state
    if field.value is None or (has_words(field.spec) and field.state != "initial"):
        record["text"] = field.text
    return record


def meaning_of(spec: FieldSpec, area: str) -> dict[str, Any]:
    """What is the same of a field in every vCPU: words about it, whose they are, and where it lies in its area."""
    span: dict[str, Any] | None = None
    if spec.pieces:
        span = {"offset": spec.pieces[0].offset, "bit": spec.bit.lsb if spec.bit else 0, "width": spec.bits}
        if len(spec.pieces) > 1:
            span["pieces"] = [{"offset": piece.offset, "width": 8 * piece.size_bytes} for piece in spec.pieces]
    return {"title": spec.title, "source": spec.source, "area": area, "span": span}
