"""Walking a declaration gives the offsets at which construct itself parses."""

from __future__ import annotations

import random

import construct
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.decode.walk import walk
from layouts.registry import layouts
from layouts.x86.xsave import COMPONENTS, HEADER, LEGACY

DECLARATIONS = {layout.name: layout.construct for layout in (*layouts().values(), LEGACY, HEADER)}
DECLARATIONS |= {component.name: component.construct for component in COMPONENTS if component.construct}


def member(parsed: object, name: str) -> object:
    """``a.b[2]`` of a parsed container."""
    for part in name.replace("[", ".[").split("."):
        parsed = parsed[int(part[1:-1])] if part.startswith("[") else parsed[part]  # type: ignore[index]
    return parsed


@pytest.mark.parametrize("name", DECLARATIONS)
@settings(deadline=None)
@given(seed=st.integers(0, 1 << 64))
def test_leaves_are_what_construct_parses(name: str, seed: int) -> None:
    declaration = DECLARATIONS[name]
    size = declaration.sizeof()
    raw = random.Random(seed).randbytes(size)
    parsed = declaration.parse(raw)
    at = 0
    for leaf in walk(declaration):
        assert leaf.offset == at, leaf
        at += leaf.size_bytes
        piece = raw[leaf.offset : leaf.offset + leaf.size_bytes]
        if leaf.name.endswith("].reserved") or (
            leaf.kind == "reserved" and "." in leaf.name and leaf.doc == "not used"
        ):
            continue
        value = member(parsed, leaf.name)
        if isinstance(value, int):
            assert value == int.from_bytes(piece, "little", signed=leaf.kind == "int"), leaf
        else:
            assert bytes(value) == piece, leaf  # type: ignore[call-overload]
    assert at == size


def test_other_constructs_are_refused() -> None:
    with pytest.raises(TypeError, match="layouts do not use"):
        walk(construct.Struct("a" / construct.GreedyBytes))


@pytest.mark.parametrize("layout", layouts().values(), ids=lambda layout: layout.name)
def test_registers_name_members(layout: object) -> None:
    """A register that is declared for a member that does not exist would never be shown."""
    names = {leaf.plain_name for leaf in walk(layout.construct)}  # type: ignore[attr-defined]
    assert set(layout.registers) <= names  # type: ignore[attr-defined]


def test_component_registers_name_members() -> None:
    for component in COMPONENTS:
        if component.construct:
            assert set(component.registers) <= {leaf.plain_name for leaf in walk(component.construct)}
