from __future__ import annotations

import pytest

from inspector.capture.errors import InputError
from inspector.decode.fields import FieldTable
from inspector.decode.image import read_image
from tests.decode.support import MASK, compacted
from tests.support import SAMPLES, xsave_area

IMAGES = {
    "amx": xsave_area((SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()),
    "zen5": xsave_area((SAMPLES / "zen5-kvm/vcpu0_pattern_xsave.bin").read_bytes(), "zen5"),
    "compacted": xsave_area(compacted(MASK, MASK), "apx"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_whole_image_agrees_with_the_fields(name: str) -> None:
    area = IMAGES[name]
    table = FieldTable(area)
    components = read_image(area)
    count = 0
    for component, members in components.items():
        for member, value in members.items():
            path = f"xsave.{component}.{member}"
            spec = (table.find(path) or table.find(f"xsave.{member}"))[0]
            raw = table.decode(spec).data
            assert (value if isinstance(value, bytes) else value.to_bytes(len(raw), "little")) == raw, path
            count += 1
    assert count > 60
    assert "xmm[15]" in components["legacy"]


def test_short_image_is_told() -> None:
    with pytest.raises(InputError, match="an XSAVE image of 11008 bytes"):
        read_image(xsave_area((SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()[:5000]))
