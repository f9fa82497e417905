"""Compacted images with supervisor and APX components, built here byte by byte."""

from __future__ import annotations

import pytest

from inspector.decode.fields import FieldTable
from layouts.x86.xsave import BY_NUMBER
from tests.decode.support import MASK, compacted
from tests.support import xsave_area


@pytest.mark.parametrize("component", [n for n in range(2, 20) if MASK >> n & 1])
def test_each_component_is_found(component: int) -> None:
    area = xsave_area(compacted(MASK, MASK), "apx")
    table = FieldTable(area)
    name = BY_NUMBER[component].name
    found = [table.decode(spec) for spec in table.specs if spec.path.startswith(f"xsave.{name}.")]
    assert found
    for each in found:
        assert set(each.data) == {component}, each.path
    assert table.decode(table.find(f"xstate.{name}.in_use")[0]).value == 1


def test_apx_registers() -> None:
    table = FieldTable(xsave_area(compacted(MASK, MASK), "apx"))
    assert table.decode(table.find("xsave.apx.r[16]")[0]).value == 0x1313131313131313
    assert table.decode(table.find("xsave.apx.r[31]")[0]).value == 0x1313131313131313
    assert not table.find("xsave.apx.r[0]")


def test_whole_register_with_initial_upper_half() -> None:
    table = FieldTable(xsave_area(compacted(MASK, MASK & ~0x40 | 3), "apx"))
    zmm0 = table.decode(table.find("xsave.zmm[0]")[0])
    assert zmm0.state == "partly initial"
    assert zmm0.shown_value()[32:] == bytes(32)
    assert set(zmm0.data[32:]) == {6}


def test_mxcsr_is_initial_only_in_compacted_images() -> None:
    data = bytearray(compacted(MASK, MASK & ~2))
    data[24:28] = (0x1FA0).to_bytes(4, "little")
    table = FieldTable(xsave_area(bytes(data), "apx"))
    mxcsr = table.decode(table.find("xsave.legacy.mxcsr")[0])
    assert (mxcsr.state, mxcsr.value) == ("initial", 0x1F80)
    assert "stale" in mxcsr.text
    data[520:528] = bytes(8)
    table = FieldTable(xsave_area(bytes(data), "apx"))
    mxcsr = table.decode(table.find("xsave.legacy.mxcsr")[0])
    assert (mxcsr.state, mxcsr.value) == ("", 0x1FA0)


def test_every_byte_belongs_to_a_field() -> None:
    for layout in ("apx", "zen5", "haswell"):
        for data in (compacted(0xE7, 0xE7), bytes(4096)):
            area = xsave_area(data, layout)
            covered = bytearray(len(data))
            for spec in FieldTable(area).specs:
                for offset, size in spec.pieces:
                    covered[offset : offset + size] = b"\1" * size
            assert all(covered)
