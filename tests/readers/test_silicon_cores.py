"""Core files of a real processor with AMX: every register of every thread is what the program had put there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import SAMPLES, field, fields, opened, value_bytes

FOLDER = SAMPLES / "emerald-rapids"
SCENES = sorted(path.name.removesuffix(".core.gz") for path in FOLDER.glob("*.core.gz"))


def expected(scene: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{scene}.json").read_text())["threads"]
    return found


@pytest.mark.parametrize("scene", SCENES)
def test_every_register_of_a_scene(scene: str) -> None:
    capture = opened(f"emerald-rapids/{scene}.core.gz")
    assert not capture.partial
    assert len(capture.vcpus) == len(expected(scene))
    for vcpu, thread in zip(capture.vcpus, expected(scene), strict=True):
        assert field(vcpu, "xsave.header.xstate_bv").value == int(thread["xstate_bv"], 16)
        assert field(vcpu, "xsave.legacy.sw_xcr0").value == int(thread["sw_xfeatures"], 16)
        for name in ("fcw", "fsw", "ftw", "fop", "mxcsr"):
            assert field(vcpu, f"xsave.legacy.{name}").value == int(thread[name], 16), name
        assert field(vcpu, "xsave.pkru.pkru").value == int(thread["pkru"], 16)
        for n, value in enumerate(thread["k"]):
            assert field(vcpu, f"xsave.opmask.k[{n}]").value == int(value, 16)
        for n, value in enumerate(thread["zmm"]):
            assert value_bytes(field(vcpu, f"xsave.zmm[{n}]")).hex() == value
        for n, value in enumerate(thread["st"]):
            assert value_bytes(field(vcpu, f"xsave.st[{n}]")).hex() == value


@pytest.mark.parametrize("scene", SCENES)
def test_tiles_of_a_scene(scene: str) -> None:
    for vcpu, thread in zip(opened(f"emerald-rapids/{scene}.core.gz").vcpus, expected(scene), strict=True):
        if thread["tilecfg"] is None:
            assert field(vcpu, "xsave.xtilecfg.palette_id").state == "initial"
            continue
        config = bytes.fromhex(thread["tilecfg"])
        assert field(vcpu, "xsave.xtilecfg.palette_id").value == config[0]
        for n in range(8):
            assert field(vcpu, f"xsave.xtilecfg.colsb[{n}]").value == int.from_bytes(
                config[16 + 2 * n : 18 + 2 * n], "little"
            )
            assert field(vcpu, f"xsave.xtilecfg.rows[{n}]").value == config[48 + n]
        for n in range(8):
            tile = value_bytes(field(vcpu, f"xsave.xtiledata.tmm[{n}]"))
            t = thread.get("t", 0)
            filled = bytes((0x40 * t + 29 * n + 5 * row + c) & 0xFF for row in range(16) for c in range(64))
            assert tile == (filled if thread.get("tiles") else bytes(1024)), n


def test_the_layout_comes_from_the_note() -> None:
    (vcpu,) = opened("emerald-rapids/full.core.gz").vcpus
    found = fields(vcpu)
    for number, size, offset, _ in json.loads((FOLDER / "full.json").read_text())["layout"]:
        name = {2: "avx", 5: "opmask", 6: "zmm_hi256", 7: "hi16_zmm", 9: "pkru", 17: "xtilecfg", 18: "xtiledata"}[
            number
        ]
        assert found[f"xstate.{name}.offset"].value == offset
        assert found[f"xstate.{name}.size"].value == size
