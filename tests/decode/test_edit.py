"""Edits: bytes change as typed or not at all, and undo gives every byte back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.errors import EditError
from inspector.capture.overlay import Overlay
from inspector.decode.edit import set_field, toggle
from inspector.decode.fields import FieldTable
from tests.support import SAMPLES, xsave_area

IMAGE = (SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()


def table() -> FieldTable:
    return FieldTable(xsave_area(IMAGE))


def get(found: FieldTable, path: str) -> object:
    again = FieldTable(found.area)
    return again.decode(again.find(path)[0])


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("xsave.legacy.mxcsr", "0x1fa0", 0x1FA0),
        ("xsave.legacy.mxcsr", "8096", 8096),
        ("xsave.legacy.mxcsr", "-1", 0xFFFFFFFF),
        ("xsave.legacy.mxcsr", "0b1_0000", 16),
        ("xsave.legacy.mxcsr.RC", "3", 3),
        ("xsave.legacy.mxcsr.RC", "toward zero", 3),
        ("xsave.zmm[3].f32[2]", "1.5", 0x3FC00000),
        ("xsave.zmm[3].bf16[2]", "1.5", 0x3FC0),
        ("xsave.zmm[3].f64[7]", "-inf", 0xFFF0000000000000),
        ("xsave.zmm[3].i8[63]", "-2", 0xFE),
        ("xsave.zmm[3]", hex((1 << 512) - 1), (1 << 512) - 1),
        ("xsave.xtilecfg.rows[2]", "7", 7),
        ("xsave.xtiledata.tmm[4].row[3]", "0x77", 0x77),
        ("xstate.xtiledata.in_use", "0", 0),
    ],
)
def test_set(path: str, text: str, value: int) -> None:
    found = table()
    overlay = Overlay()
    edit = set_field(overlay, found, found.find(path)[0], text)
    assert edit is not None
    field = get(found, path)
    assert field.value == value
    assert field.changed
    assert overlay.undo() is edit
    assert found.area.data is found.area.original
    assert overlay.redo() is edit
    assert get(found, path).value == value


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("xsave.legacy.mxcsr", "", "is no number"),
        ("xsave.legacy.mxcsr", "zz", "is no number"),
        ("xsave.legacy.mxcsr", "0x1ffffffff", "needs 33 bits, the field has 32"),
        ("xsave.legacy.mxcsr", "-2147483649", "the field has 32"),
        ("xsave.legacy.mxcsr.IE", "2", "the field has 1"),
        ("xsave.zmm[0].f32[0]", "one", "is no f32 number"),
        ("xsave.zmm[0].f16[0]", "1e9", "is no f16 number"),
        ("xstate.avx.offset", "1", "follows from the layout"),
    ],
)
def test_refused_edits_change_nothing(path: str, text: str, why: str) -> None:
    found = table()
    overlay = Overlay()
    with pytest.raises(EditError, match=why):
        set_field(overlay, found, found.find(path)[0], text)
    assert found.area.data is found.area.original
    assert not overlay.edits


def test_not_captured_cannot_be_edited() -> None:
    found = FieldTable(xsave_area(IMAGE[:3000], declared=11008))
    with pytest.raises(EditError, match="not captured"):
        set_field(Overlay(), found, found.find("xsave.xtiledata.tmm[0]")[0], "1")


def test_editing_an_initial_component_brings_it_into_use() -> None:
    """Other registers of the component take their initial values, not the stale bytes."""
    image = bytearray(IMAGE)
    image[0:6] = b"\xff" * 6
    found = FieldTable(xsave_area(bytes(image)))
    assert get(found, "xsave.legacy.fsw").state == "initial"
    overlay = Overlay()
    set_field(overlay, found, found.find("xsave.legacy.fsw")[0], "0x3800")
    assert get(found, "xsave.legacy.fsw").value == 0x3800
    assert get(found, "xsave.legacy.fcw").value == 0x37F
    assert get(found, "xstate.x87.in_use").value == 1
    overlay.undo()
    assert bytes(found.area.data) == bytes(image)


def test_edit_to_the_stale_bytes_still_sets_the_value() -> None:
    image = bytearray(IMAGE)
    image[2:4] = b"\x00\x38"
    found = FieldTable(xsave_area(bytes(image)))
    set_field(Overlay(), found, found.find("xsave.legacy.fsw")[0], "0x3800")
    assert get(found, "xsave.legacy.fsw").value == 0x3800


def test_toggle() -> None:
    found = table()
    overlay = Overlay()
    spec = found.find("xsave.legacy.mxcsr.DAZ")[0]
    toggle(overlay, found, spec)
    assert get(found, "xsave.legacy.mxcsr.DAZ").value == 1
    toggle(overlay, FieldTable(found.area), spec)
    assert found.area.data is found.area.original
    with pytest.raises(EditError, match="bits wide"):
        toggle(overlay, found, found.find("xsave.legacy.mxcsr")[0])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, (1 << 64) - 1), st.booleans()), max_size=12))
def test_undo_is_identity(steps: list[tuple[int, int, bool]]) -> None:
    found = table()
    overlay = Overlay()
    states = [bytes(found.area.data)]
    for number, value, undo in steps:
        if undo and overlay.edits:
            overlay.undo()
            states.pop()
            assert bytes(found.area.data) == states[-1]
            continue
        now = FieldTable(found.area)
        spec = now.specs[number % len(now.specs)]
        try:
            edit = set_field(overlay, now, spec, hex(value % (1 << max(1, min(64, spec.bits)))))
        except EditError:
            assert bytes(found.area.data) == states[-1]
            continue
        if edit:
            states.append(bytes(found.area.data))
    while overlay.undo():
        states.pop()
        assert bytes(found.area.data) == states[-1]
    assert found.area.data is found.area.original
