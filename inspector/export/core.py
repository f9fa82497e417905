"""An ELF core with the notes of a capture that came from one, and no memory."""

from __future__ import annotations

import struct
from typing import BinaryIO

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture
from layouts.files.elf import EM_AARCH64, EM_X86_64, NT_X86_XSAVE_LAYOUT

#: What a note's owner can hold: bytes.
_LATIN1_SIZE = 256
_MACHINES = {"x86": EM_X86_64, "arm64": EM_AARCH64}


def write_core(out: BinaryIO, capture: Capture) -> None:
    """Write a 64-bit core: header, one PT_NOTE, the notes in the order of Linux's cores.

    UsageError when the areas are not notes of a 64-bit core.
    """
    areas = [[area for area in vcpu.areas if not area.attributes.get("synthesized")] for vcpu in capture.vcpus]
    members = [*capture.context, *(area for vcpu in areas for area in vcpu)]
    if not areas or not all(areas) or not all(map(_is_note, members)):
        raise UsageError(f"{capture.target}: only what came from an ELF core can become one again")
    if "ELF32" in capture.host.about:
        raise UsageError(f"{capture.target}: 32-bit cores are not written")
    notes = b""
    for number, (first, *others) in enumerate(areas):
        notes += _note(first)
        if number == 0:
            notes += b"".join(_note(area) for area in capture.context)
        notes += b"".join(_note(area) for area in others)
    notes += _layout_note(capture)
    machine = _MACHINES.get(capture.vcpus[0].arch, EM_X86_64)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    out.write(ident + struct.pack("<HHIQQQIHHHHHH", 4, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0))
    out.write(struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(notes), 0, 4))
    out.write(notes)


def _is_note(area: Area) -> bool:
    """An area that came from a note: it has an owner of bytes and a number of 32 bits."""
    owner, number = area.attributes.get("note_owner"), area.attributes.get("note_type")
    if not isinstance(owner, str) or not isinstance(number, int):
        return False
    return all(ord(letter) < _LATIN1_SIZE for letter in owner) and 0 <= number < 1 << 32


def _note(area: Area) -> bytes:
    return _packed(area.attributes["note_owner"], area.attributes["note_type"], bytes(area.data))


def _packed(owner: str, number: int, data: bytes) -> bytes:
    name = owner.encode("latin-1") + b"\0"
    head = struct.pack("<III", len(name), len(data), number)
    return head + name + bytes(-len(name) % 4) + data + bytes(-len(data) % 4)


def _layout_note(capture: Capture) -> bytes:
    """NT_X86_XSAVE_LAYOUT, when the capture had one."""
    for area in capture.vcpus[0].areas:
        table = area.attributes.get("table")
        if table is not None and table.origin.startswith("note"):
            rooms = [struct.pack("<4I", room.component, room.size_bytes, room.offset, 0) for room in table.rooms]
            return _packed("LINUX", NT_X86_XSAVE_LAYOUT, b"".join(rooms))
    return b""
