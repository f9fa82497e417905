from __future__ import annotations

import pytest

from inspector.decode.fields import FieldTable, children
from tests.support import SAMPLES, opened, xsave_area

IMAGE = (SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("xsave.zmm[*]", 32),
        ("xsave.ymm[*]", 16),
        ("XSAVE.ZMM[3]", 1),
        ("xsave.zmm[1?]", 10),
        ("xsave.legacy.mxcsr.*", 16),
        ("xsave.zmm[0].f64[*]", 8),
        ("xsave.xtiledata.tmm[2].row[*]", 16),
        ("xsave.zmm[0].nothing[*]", 0),
        ("zmm[0]", 0),
        ("xstate.*.in_use", 9),
    ],
)
def test_find(pattern: str, count: int) -> None:
    assert len(FieldTable(xsave_area(IMAGE)).find(pattern)) == count


def test_paths_are_unique() -> None:
    for sample in ("amx", "zen5", "zen5-kvm", "amx/process.core"):
        for vcpu in opened(sample).vcpus:
            paths = [spec.path for area in vcpu.areas for spec in FieldTable(area).specs]
            assert len(paths) == len(set(paths))


def test_every_byte_finds_its_field() -> None:
    table = FieldTable(xsave_area(IMAGE))
    for offset in range(len(IMAGE)):
        number = table.at(offset)
        assert number is not None
        assert any(o <= offset < o + n for o, n in table.specs[number].pieces)
    assert table.at(len(IMAGE)) is None


def test_children_of_every_field_lie_within_it() -> None:
    for vcpu in opened("zen5-kvm").vcpus[:2]:
        for area in vcpu.areas:
            table = FieldTable(area)
            for spec in table.specs:
                for child in children(spec):
                    table.decode(child)
                    assert child.bits <= spec.bits
                    assert child.path.startswith(f"{spec.path}.")
