"""Edits: whole or not at all, back and forth to the byte, and the file's bytes never."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.model import Area, Origin
from inspector.capture.overlay import Overlay

SIZE_BYTES = 32
_WRITE = st.integers(0, SIZE_BYTES - 4).flatmap(
    lambda at: st.tuples(st.just(at), st.binary(min_size=1, max_size=min(4, SIZE_BYTES - at)))
)


def made() -> Area:
    return Area("raw", "regs", "bytes", bytes(range(SIZE_BYTES)), Origin("file", 0))


def test_an_edit_says_which_bytes_it_replaced() -> None:
    area, overlay = made(), Overlay()
    edit = overlay.apply("rax", area, [(4, b"\xaa\xbb"), (8, b"\x08")])
    assert edit is not None
    # The second write is what was there: no change.
    assert [(change.offset, change.old, change.new) for change in edit.changes] == [(4, b"\x04\x05", b"\xaa\xbb")]
    assert [each.label for each in overlay.edits] == ["rax"]
    assert area.original == bytes(range(SIZE_BYTES))


def test_an_edit_that_changes_nothing_is_none() -> None:
    area, overlay = made(), Overlay()
    assert overlay.apply("same", area, [(0, b"\x00\x01")]) is None
    assert overlay.edits == []
    assert area.data is area.original


@pytest.mark.parametrize("write", [(-1, b"x"), (SIZE_BYTES, b"x"), (SIZE_BYTES - 1, b"xy")])
def test_a_write_outside_changes_nothing_not_even_with_others_inside(write: tuple[int, bytes]) -> None:
    area, overlay = made(), Overlay()
    with pytest.raises(ValueError, match="outside regs"):
        overlay.apply("bad", area, [(0, b"\xff"), write])
    assert area.data is area.original
    assert overlay.edits == []


def test_nothing_to_undo_and_nothing_to_redo() -> None:
    overlay = Overlay()
    assert overlay.undo() is None
    assert overlay.redo() is None


def test_after_undo_the_very_bytes_of_the_file_are_back() -> None:
    area, overlay = made(), Overlay()
    overlay.apply("one", area, [(0, b"\xff")])
    assert area.data is not area.original
    undone = overlay.undo()
    assert undone is not None
    assert undone.label == "one"
    assert area.data is area.original


def test_another_edit_ends_what_could_be_made_again() -> None:
    area, overlay = made(), Overlay()
    overlay.apply("one", area, [(0, b"\xff")])
    overlay.undo()
    overlay.apply("two", area, [(1, b"\xff")])
    assert overlay.redo() is None
    assert [edit.label for edit in overlay.edits] == ["two"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.lists(_WRITE, min_size=1, max_size=3), st.sampled_from(["undo", "redo"])), max_size=12))
def test_any_edits_are_as_a_list_of_states(steps: list[list[tuple[int, bytes]] | str]) -> None:
    """Against the plainest model: a list of whole contents, and where in it we are."""
    area, overlay = made(), Overlay()
    states, at = [bytes(area.data)], 0
    for step in steps:
        if step == "undo":
            assert (overlay.undo() is not None) == (at > 0)
            at = max(0, at - 1)
        elif step == "redo":
            assert (overlay.redo() is not None) == (at + 1 < len(states))
            at = min(len(states) - 1, at + 1)
        else:
            after = bytearray(states[at])
            for offset, new in step:
                after[offset : offset + len(new)] = new
            edit = overlay.apply("edit", area, step)
            assert (edit is not None) == (bytes(after) != states[at])
            if edit is not None:
                states, at = [*states[: at + 1], bytes(after)], at + 1
        assert bytes(area.data) == states[at]
        assert len(overlay.edits) == at
        assert area.original == bytes(range(SIZE_BYTES))
        assert (area.data is area.original) == (states[at] == states[0])
