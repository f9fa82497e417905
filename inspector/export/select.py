"""Which fields of which areas leave the program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inspector.capture.model import Area
from inspector.decode.fields import Field, FieldTable, is_quiet
from inspector.decode.plans import could_match
from inspector.decode.spec import FieldSpec


def specs_selected(table: FieldTable, patterns: Sequence[str]) -> Sequence[FieldSpec]:
    """The specs of a table that match one of the globs, each once; without globs all, the very ones of the table."""
    if not patterns:
        return table.specs
    return list({spec.path: spec for pattern in patterns for spec in table.find(pattern)}.values())


def selected(
    areas: Iterable[Area], patterns: Sequence[str], *, structure: bool = True
) -> Iterator[tuple[Area, list[Field]]]:
    """The fields of each area that match one of the globs; all fields without globs.

    Without ``structure``, padding and its like are left out where it holds nothing.
    """
    for area in areas:
        if not could_match(area, patterns):
            continue
        table = FieldTable(area)
        if not patterns:
            yield area, [f for f in table if structure or not is_quiet(f)]
            continue
        specs = specs_selected(table, patterns)
        if specs:
            yield area, [table.decode(spec) for spec in specs]
