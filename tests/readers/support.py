"""What many tests of readers need: files of each kind, small and made here."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import sys
from pathlib import Path
from typing import Any

from inspector.capture.errors import InspectorError
from inspector.export.json import write_json
from inspector.export.text import write_text
from inspector.readers.open import open_capture
from inspector.readers.options import Options
from tests.support import SAMPLES, note, prstatus64

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def thread(pid: int, **registers: int) -> bytes:
    return note("CORE", 1, prstatus64(pid, **registers)) + note("CORE", 2, bytes(512)) + note("LINUX", 0x202, XSAVE)


def stream(name: str) -> bytes:
    return gzip.decompress((SAMPLES / name / "migration-stream.gz").read_bytes())


def kdump(notes: bytes, *, flattened: bool) -> bytes:
    block = 4096
    header = b"KDUMP   " + (6).to_bytes(4, "little")
    header = header.ljust(0x1A8, b"\0") + struct.pack("<iIII", 1, block, 1, 1)
    sub = struct.pack("<QiiQQQQQQ", 0, 0, 0, 0, 0, 0, 0, block + 104, len(notes)).ljust(104, b"\0")
    raw = header.ljust(block, b"\0") + sub + notes
    if not flattened:
        return raw
    records = b"".join(
        struct.pack(">qq", at, len(raw[at : at + 1000])) + raw[at : at + 1000] for at in range(0, len(raw), 1000)
    )
    return b"makedumpfile".ljust(16, b"\0").ljust(4096, b"\0") + records + struct.pack(">qq", -1, -1)


def survive(path: Path, options: Options | None = None) -> str:
    """Open and decode everything; the one line that a user would see, or nothing."""
    try:
        capture = open_capture(str(path), options)
        write_json(io.StringIO(), capture, capture.vcpus, [])
        write_text(io.StringIO(), capture, capture.vcpus, [])
    except InspectorError as error:
        line = str(error)
    else:
        line = str(capture.faults[0]) if capture.faults else ""
    assert "\n" not in line
    assert line.isprintable()
    return line


XSAVE = (SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()


def cloud_hypervisor_state() -> dict[str, Any]:
    words = [int.from_bytes(XSAVE[at : at + 4], "little") for at in range(0, len(XSAVE), 4)]
    state = {
        "cpuid": [{"function": 0xD, "index": 0, "flags": 1, "eax": 7, "ebx": 832, "ecx": 832, "edx": 0}],
        "msrs": [{"index": 0x1C4, "data": 0x40000}],
        "regs": {"rax": 1, "rip": 0x1234},
        "sregs": {"cs": {"base": 0, "selector": 8, "type_": 11}, "cr4": 0x40000},
        "fpu": [0] * 416,
        "xsave": {"region": words[:1024], "extra": words[1024:]},
        "xcrs": {"nr_xcrs": 1, "flags": 0, "xcrs": [{"xcr": 0, "reserved": 0, "value": 0x602E7}]},
        "mp_state": {"mp_state": 0},
        "hyperv_synic": {"a": 1},
    }
    data = {"snapshots": {}, "snapshot_data": {"state": json.dumps({"Kvm": state})}}
    return {
        "snapshots": {"cpu-manager": {"snapshots": {"0": data, "1": data}, "snapshot_data": {}}},
        "snapshot_data": {},
    }


REGISTER_TEXT = """\
# captured with a script
0x603000000013c020 = 0x1101011021111111
0x6030000000100040: 0xffff800080001000   ; pc
ID_AA64ISAR0_EL1 0x0221100110212120
0x6020000000110000 0x701fe00a
0x6030000000140000 65537
0x603000000013df1a 0x99
"""


LIBCPUID_TEXT = """\
version=0.4.1
_________________ Logical CPU #0 _________________
basic_cpuid[0]=0000000d 756e6547 6c65746e 49656e69
basic_cpuid[13]=00000007 00000340 00000340 00000000
intel_fn4[1]=1 2 3 4
intel_fn11[1]=00000004 00000008 00000201 00000000
intel_fn12h[0]=00000001 00000000 00000000 0000241f
ext_cpuid[1]=5 6 7 8
"""


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstd.compress, "raw": bytes}
