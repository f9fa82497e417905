"""Files that try to drive the terminal: every place from which a text can come holds control characters."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path

from inspector.capture.errors import InputError
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.placement import table_from_layout
from inspector.export.vcpu import write_vcpu
from tests.support import core64, opened, prstatus64

#: Begins a line where a line end gets through.
INJECTED = "INJECTED"
#: Title and colour of the terminal, bell, ends of lines, C1, writing direction, a lone surrogate; and rich's markup.
TEXT = f"\x1b[2J\x1b]0;T\x07\r\n{INJECTED}\t\x85\x9b\u202e\u2066\u200f\u061c\u2028\ud800[b]<i>"
#: The same for a file's name: no separator, and a byte that is no UTF-8.
FILE_NAME = os.fsdecode(b"\x1b[2J\x07\r\nINJECTED\t\xc2\x85\xe2\x80\xae\xff[b]<i>")
#: The same for a name of bytes, as ELF notes have it.
OWNER = b"\x1b[2J\x07\r\nINJECTED\t\x85\x9b[b]<i>"


def hostile_files() -> dict[str, bytes]:
    """A file for every format that carries text, by a name for the test."""
    notes = _note(b"CORE", 1, prstatus64(1)) + _note(OWNER, 0x777, b"x" * 24) + _note(OWNER, 1, b"y" * 24)
    return {
        "elf": core64(notes),
        "kdump": _kdump(notes),
        "qemu": _qemu_stream(),
        "qemu-walked": b"QEVM\0\0\0\3\4\0\0\0\1\x08" + OWNER[:8] + bytes(8) + b"\0\0\0\1",
        "libvirt": _libvirt(),
        "vcpu": _vcpu_file(),
        "vcpu-cut": _vcpu_file()[:-100],
        "crosvm": json.dumps({"vcpu_id": TEXT, "debug_regs": {}, "regs": {"rax": 1}, TEXT: 1}).encode(),
        "cloud-hypervisor": json.dumps(
            {"snapshots": {"cpu-manager": {"snapshots": {TEXT: {"Kvm": {"regs": {"rax": 1}}}}}}, "snapshot_data": {}}
        ).encode(),
        "qmp": json.dumps({"model": {"name": TEXT, "props": {TEXT: TEXT}}}).encode(),
        "qmp-definitions": json.dumps({"return": [{"name": TEXT, "typename": TEXT, TEXT: [TEXT]}]}).encode(),
        "unknown-json": json.dumps({TEXT: TEXT}).encode(),
        "register-list": b"# " + OWNER.replace(b"\n", b"") + b"\n0x603000000013c020 0x1\n" + OWNER + b"\n",
        "cpuid": b"CPU " + OWNER.replace(b"\n", b"").replace(b"\r", b"") + b":\n"
        b"   0x00000000 0x00: eax=0x00000001 ebx=0x1b5d1b5d ecx=0x0a0d0a0d edx=0x07070707\n",
        "nothing-known": OWNER * 4,
    }


def write_all(folder: Path) -> dict[str, str]:
    """Write them, and a folder with such names; the target of each."""
    targets = {}
    for name, data in hostile_files().items():
        (folder / name).write_bytes(data)
        targets[name] = str(folder / name)
    named = folder / "names"
    named.mkdir()
    (named / FILE_NAME).write_bytes(hostile_files()["elf"])
    targets["file-name"] = str(named / FILE_NAME)
    members = folder / FILE_NAME
    members.mkdir()
    for vcpu in (f"a{FILE_NAME}", "b"):
        (members / f"{vcpu}.kvm_regs.bin").write_bytes(bytes(144))
    (members / f"other{FILE_NAME}.bin").write_bytes(b"?")
    targets["folder"] = str(members)
    return targets


def model_file() -> str:
    """A model of the user's own with such texts, as TOML."""
    text = json.dumps(TEXT.replace("\ud800", ""))
    return (
        f'name = {text}\nversion = 1\nparent = "neoverse-n1-v1"\ntitle = {text}\nnotes = {text}\n'
        f'[[values]]\nsource = {text}\n[values.properties]\nfeat_AES = "off"\n'
    )


def records() -> bytes:
    """Recorded answers that name such things."""
    return json.dumps({"t": "info", "kernel": TEXT, "cpu": TEXT}).encode() + b"\n" + json.dumps({"t": TEXT}).encode()


def _note(owner: bytes, number: int, data: bytes) -> bytes:
    name = owner + b"\0"
    head = struct.pack("<III", len(name), len(data), number)
    return head + name + bytes(-len(name) % 4) + data + bytes(-len(data) % 4)


def _kdump(notes: bytes) -> bytes:
    header = b"KDUMP   " + (6).to_bytes(4, "little")
    header = (header.ljust(0x1A8, b"\0") + struct.pack("<iIII", 1, 4096, 1, 1)).ljust(4096, b"\0")
    sub = struct.pack("<QiiQQQQQQ", 0, 0, 0, 0, 0, 0, 0, 4096 + 104, len(notes)).ljust(104, b"\0")
    return header + sub + notes


def _qemu_stream() -> bytes:
    """A stream with one cpu section: names and types of its fields and of a subsection."""
    field = {"name": TEXT, "type": TEXT, "size": 8}
    device = {"name": "cpu", "instance_id": 0, "vmsd_name": "cpu", "version": 1, "fields": [field]}
    # Its name stands in the stream too, as bytes.
    device["subsections"] = [{"vmsd_name": f"cpu/{TEXT}", "version": 1, "fields": [field]}]
    name = f"cpu/{TEXT}".encode("latin-1", "replace")
    body = bytes(8) + b"\x05" + bytes([len(name)]) + name + struct.pack(">I", 1) + bytes(8)
    section = b"\x04\0\0\0\1\x03cpu" + struct.pack(">II", 0, 1) + body + b"\x7e\0\0\0\1"
    description = json.dumps({"page_size": 4096, "devices": [device]}).encode()
    return b"QEVM\0\0\0\3" + section + b"\0\6" + struct.pack(">I", len(description)) + description


def _libvirt() -> bytes:
    xml = b"<domain><cpu mode='custom'><model>" + OWNER + b"</model></cpu></domain>\0"
    return b"LibvirtQemudSave" + struct.pack("<5I", 2, len(xml), 1, 0, 0) + bytes(56) + xml + _qemu_stream()


def _vcpu_file() -> bytes:
    """The project's own capture file with such texts everywhere."""
    amx = opened("amx/process.core").vcpus[0].area("xsave")
    assert amx is not None
    table = table_from_layout("sapphire-rapids")._replace(origin=TEXT)
    origin = Origin(TEXT, 0)
    areas = [
        Area("xsave", TEXT, TEXT, amx.data, origin, attributes={"table": table, "note_owner": TEXT, "note_type": 514}),
        Area("properties", "rows", TEXT, b"", origin, attributes={"rows": [(TEXT, TEXT)], "synthesized": True}),
        Area("named-values", "named", TEXT, b"hello", origin, attributes={"named": [(TEXT, "uint", 5)]}),
        Area("qemu-section", "s", TEXT, bytes(16), origin, attributes={"fields": [("cpu", TEXT, TEXT, 0, 8, 1)]}),
        Area("kvm-regs", f"regs{TEXT}", TEXT, bytes(144), origin, attributes={"note_owner": TEXT, "note_type": 1}),
    ]
    capture = Capture(
        "t",
        f"vcpu{TEXT}",
        [Vcpu(n, f"{n}{TEXT}", f"x86{TEXT}" if n else "x86", areas) for n in (0, 1)],
        host=Host(None, TEXT, TEXT),
        context=[Area("raw", TEXT, TEXT, b"bytes", origin)],
        notices=[TEXT, "second"],
        faults=[InputError(TEXT, TEXT, TEXT, 1)],
    )
    out = io.BytesIO()
    write_vcpu(out, capture)
    header, _, blobs = out.getvalue().partition(b"\n")
    # InputError makes its texts visible: a file that somebody wrote does not.
    record = json.loads(header)
    record["partial"] |= {"message": TEXT, "file": TEXT, "expected": TEXT, "found": TEXT}
    return json.dumps(record).encode() + b"\n" + blobs
