"""QEMU's cpu sections: every declared subsection, and which vector length controls are in force."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.model import Area, Origin
from inspector.decode.section_arm64 import controls_in_force
from inspector.decode.spec import Span
from inspector.readers.open import open_capture
from layouts.arm64.kvm_ids import id_of_name
from tests.support import fields

KNOWN = json.loads(files("layouts.files").joinpath("data/qemu-cpu.json").read_text("utf-8"))


#: M-profile has no X registers: its sections are shown under QEMU's names. ZA is there when SVCR.ZA says so.
ELSEWHERE = re.compile(r"cpu/(?:m(?:/|$)|sme)").match


def payload(description: Any) -> bytes:
    """Zeros for every field; arrays whose length is a field are empty."""
    size = 0
    for field in description["fields"]:
        count = field.get("array_len", 1)
        inner = field.get("struct")
        one = len(payload(inner)) if inner else field["size"]
        size += one * (count if isinstance(count, int) else 0)
    return bytes(size)


def stream(arch: str) -> bytes:
    """A stream without description: one cpu with every subsection."""
    cpu = KNOWN[arch]["cpu"]
    body = payload(cpu)
    shared = KNOWN["x86"]["subsections"] if arch == "i386" else {}
    known = {name: what for name, what in (shared | KNOWN[arch]["subsections"]).items() if not ELSEWHERE(name)}
    for name, description in known.items():
        body += b"\x05" + bytes([len(name)]) + name.encode() + (1).to_bytes(4, "big") + payload(description)
    head = b"\x04" + (7).to_bytes(4, "big") + b"\x03cpu" + (5).to_bytes(4, "big") + cpu["version"].to_bytes(4, "big")
    return b"QEVM\0\0\0\x03" + head + body + b"\x7e" + (7).to_bytes(4, "big") + b"\0"


@pytest.mark.parametrize(("arch", "count"), [("x86", 55), ("i386", 56), ("arm64", 14)])
def test_every_declared_subsection_is_read(tmp_path: Path, arch: str, count: int) -> None:
    path = tmp_path / "stream"
    path.write_bytes(stream(arch))
    capture = open_capture(str(path))
    assert not capture.faults
    (vcpu,) = capture.vcpus
    assert vcpu.name == "cpu 5"
    found = fields(vcpu)
    assert sum(path.endswith(".header") for path in found) == count
    assert not [path for path in found if ".gap" in path or ("~" in path and "vfp.xregs" not in path)]


HCR_RW, HCR_TGE, HCR_E2H = 1 << 31, 1 << 27, 1 << 34


@pytest.mark.parametrize(
    ("level", "registers", "expected"),
    [
        (0, {}, (1,)),
        (1, {}, (1,)),
        (1, {"HCR_EL2": 0}, (1,)),  # QEMU's zeros for a CPU without EL2
        (1, {"HCR_EL2": HCR_RW}, (1, 2)),
        (0, {"HCR_EL2": HCR_RW}, (1, 2)),
        (0, {"HCR_EL2": HCR_RW | HCR_E2H}, (1, 2)),  # a guest of a host at EL2
        (0, {"HCR_EL2": HCR_RW | HCR_E2H | HCR_TGE}, (2,)),  # a program of a host at EL2
        (2, {"HCR_EL2": HCR_RW | HCR_E2H | HCR_TGE}, (2,)),
        (2, {"HCR_EL2": HCR_RW}, (2,)),
        (2, {"HCR_EL2": HCR_RW, "SCR_EL3": 1}, (2, 3)),
        (1, {"HCR_EL2": HCR_RW, "SCR_EL3": 1}, (1, 2, 3)),
        (1, {"HCR_EL2": HCR_RW, "SCR_EL3": 0}, (1, 3)),  # Secure, EL2 not enabled there
        (1, {"HCR_EL2": HCR_RW, "SCR_EL3": 1 << 18}, (1, 2, 3)),  # Secure EL2
        (0, {"HCR_EL2": HCR_RW | HCR_E2H | HCR_TGE, "SCR_EL3": 0}, (1, 3)),
        (3, {"HCR_EL2": HCR_RW, "SCR_EL3": 1}, (3,)),
    ],
)
def test_controls_in_force(level: int, registers: dict[str, int], expected: tuple[int, ...]) -> None:
    data = b"".join(value.to_bytes(8, "big") for value in registers.values())
    places = {id_of_name(name) or 0: Span(8 * nth, 8) for nth, name in enumerate(registers)}
    area = Area("qemu-section", "cpu", "", data, Origin("test", 0))
    assert controls_in_force(area, places, level << 2) == expected
