"""What many tests need: samples, fields by path, small ELF cores."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from inspector.capture.attributes import XsaveTable
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.fields import Field, FieldTable
from inspector.decode.placement import table_from_layout
from inspector.targets.schemes import capture_of

SAMPLES = Path(__file__).parents[1] / "samples"


def slowed() -> int:
    """By how much what is timed may take longer here: make coverage traces each line."""
    from coverage import Coverage

    return 4 if Coverage.current() is not None else 1


def opened(name: str) -> Capture:
    return capture_of(f"sample:{name}")


def fields(vcpu: Vcpu) -> dict[str, Field]:
    """All fields of a vCPU by path."""
    return {field.path: field for area in vcpu.areas for field in FieldTable(area)}


def field(vcpu: Vcpu, path: str) -> Field:
    """One field, also one below a register or vector."""
    for area in vcpu.areas:
        table = FieldTable(area)
        found = table.find(path)
        if found:
            assert len(found) == 1, path
            return table.decode(found[0])
    raise AssertionError(f"no field {path}")


def value_bytes(found: Field) -> bytes:
    """The value as bytes, low byte first."""
    return found.shown_value()


def xsave_area(data: bytes, layout: str | XsaveTable = "sapphire-rapids", declared: int = 0) -> Area:
    table = table_from_layout(layout) if isinstance(layout, str) else layout
    return Area(
        "xsave",
        "xsave",
        "XSAVE image",
        data,
        Origin("test", 0),
        declared_size_bytes=declared or len(data),
        attributes={"table": table},
    )


def note(owner: str, number: int, data: bytes) -> bytes:
    name = owner.encode() + b"\0"
    head = struct.pack("<III", len(name), len(data), number)
    return head + name + bytes(-len(name) % 4) + data + bytes(-len(data) % 4)


def core64(notes: bytes, *, loads: tuple[tuple[int, int], ...] = (), phnum: int | None = None, **header: Any) -> bytes:
    """A 64-bit core with one PT_NOTE and PT_LOADs of (offset, size)."""
    count = 1 + len(loads)
    at = 64 + 56 * count
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH",
        header.get("type", 4),
        header.get("machine", 62),
        1,
        0,
        64,
        header.get("shoff", 0),
        0,
        64,
        56,
        count if phnum is None else phnum,
        64,
        0,
        0,
    )
    programs = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), 0, 4)
    for offset, size in loads:
        programs += struct.pack("<IIQQQQQQ", 1, 4, offset, 0, 0, size, size, 4096)
    return head + programs + notes


def prstatus64(pid: int, **registers: int) -> bytes:
    from inspector.decode.plans import fixed_specs

    data = bytearray(336)
    struct.pack_into("<i", data, 32, pid)
    places = {spec.path: spec.pieces[0] for spec in fixed_specs("elf-prstatus-x86-64", "prstatus", 336)}
    for name, value in registers.items():
        place = places[f"regs.{name}"]
        data[place.offset : place.offset + 8] = value.to_bytes(8, "little")
    return bytes(data)
