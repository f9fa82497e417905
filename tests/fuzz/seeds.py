"""Seeds of every reader: as small as a format allows, for the aim is 100,000 inputs a reader."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import lzma
import struct
import sys
from typing import Any

from inspector.readers import qemu_walk
from inspector.readers.budget import Budget
from inspector.readers.kvm_struct import as_words
from inspector.readers.report import BLOCK_BEGIN, BLOCK_END, MAGIC
from layouts.registry import layouts, size_bytes
from tests.readers.support import kdump as _qemu_kdump
from tests.support import SAMPLES, core64, note, prstatus64

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def qcow2() -> list[bytes]:
    """An image of 512-byte clusters with one snapshot, whose L1 and L2 tables lead to a small stream."""
    state = stream(descriptions()[3])
    clusters = -(-len(state) // 512)
    header = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQ", 2, 0, 0, 9, 0, 0, 1, 512, 0, 0, 1, 1024)
    entry = struct.pack(">QIHHIIQII", 1536, -(-clusters // 64), 1, 1, 0, 0, 0, len(state), 0) + b"1s"
    l1_at, l2_at, data_at = 1536, 2048, 2048 + 512 * (-(-clusters // 64))
    l1 = b"".join(struct.pack(">Q", l2_at + 512 * n) for n in range(-(-clusters // 64)))
    l2 = b"".join(struct.pack(">Q", data_at + 512 * n) for n in range(clusters))
    head = header.ljust(1024, b"\0") + entry.ljust(l1_at - 1024, b"\0") + l1.ljust(l2_at - l1_at, b"\0")
    return [head + l2.ljust(data_at - l2_at, b"\0") + state.ljust(512 * clusters, b"\0")]


def xsave(size: int = 1088) -> bytes:
    image = bytearray((SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()[:size])
    struct.pack_into("<Q", image, 512, 7)
    return bytes(image)


def compacted() -> bytes:
    image = bytearray(xsave(832))
    struct.pack_into("<QQ", image, 512, 7, 1 << 63 | 7)
    return bytes(image)


def _x86_notes() -> bytes:
    auxv = struct.pack("<6Q", 6, 4096, 3, 0x400040, 0, 0)
    files = struct.pack("<5Q", 1, 4096, 0x1000, 0x2000, 0) + b"/bin/true\0"
    layout = struct.pack("<4I", 2, 256, 576, 0)
    return (
        note("CORE", 1, prstatus64(7, rip=4))
        + note("CORE", 6, auxv)
        + note("CORE", 0x46494C45, files)
        + note("LINUX", 0x202, xsave(832))
        + note("LINUX", 0x205, layout)
        + note("OTHER", 9, b"bytes")
        + note("CORE", 1, prstatus64(8))
    )


def _arm64_notes() -> bytes:
    sve = struct.pack("<IIHHHH", 16 + 16 * 34 + 64, 4096, 16, 256, 1, 0).ljust(16 + 32 * 16 + 17 * 2 + 14 + 8, b"\1")
    za = struct.pack("<IIHHHH", 16 + 256, 4096, 16, 256, 0, 0) + bytes(256)
    return note("CORE", 1, bytes(392)) + note("LINUX", 0x405, sve) + note("LINUX", 0x40C, za)


def elf() -> list[bytes]:
    return [core64(_x86_notes(), loads=((0x100, 16),)), core64(_arm64_notes(), machine=183), core64(_x86_notes()[:500])]


def kdump() -> list[bytes]:
    notes = note("CORE", 1, prstatus64(7))
    raw = _qemu_kdump(notes, flattened=False)
    return [raw, _qemu_kdump(notes, flattened=True)]


_CPU_FIELDS = [
    {"name": "env.eip", "type": "uint64", "size": 8},
    {"name": "env.regs", "array_len": 4, "type": "uint64", "size": 8},
    {"name": "env.fpus_vmstate", "type": "uint16", "size": 2},
    *(
        {
            "name": "env.segs",
            "index": n,
            "size": 8,
            "struct": {"vmsd_name": "segment", "fields": [{"name": "base", "size": 8}]},
        }
        for n in range(2)
    ),
    {"name": "env.fpregs", "index": 1, "type": "fpreg", "size": 10},
    {
        "name": "env.xmm_regs",
        "array_len": 2,
        "size": 16,
        "struct": {"fields": [{"name": "_q_ZMMReg[0]", "size": 8}] * 2},
    },
    {"name": "env.bnd_regs", "index": 0, "size": 8, "struct": {"fields": [{"name": "lb", "size": 8}]}},
]
_ARM_FIELDS = [
    {"name": "env.xregs", "array_len": 32, "type": "uint64", "size": 8},
    {"name": "cpsr", "type": "cpsr", "size": 4},
    {"name": "cpreg_vmstate_indexes", "array_len": 2, "type": "uint64", "size": 8},
    {"name": "cpreg_vmstate_values", "array_len": 2, "type": "uint64", "size": 8},
]


def descriptions() -> list[bytes]:
    avx = {"vmsd_name": "cpu/avx512", "version": 1, "fields": [{"name": "env.opmask_regs", "array_len": 2, "size": 8}]}
    sve_fields = [
        {"name": "env.vfp.zregs", "array_len": 32, "size": 240},
        {"name": "env.vfp.pregs", "array_len": 17, "size": 32},
    ]
    sve = {"vmsd_name": "cpu/sve", "version": 1, "fields": sve_fields}
    devices = [
        [
            {
                "name": "timer",
                "instance_id": 0,
                "vmsd_name": "timer",
                "version": 2,
                "fields": [{"name": "ticks", "size": 8}],
            }
        ],
        [
            {
                "name": "cpu",
                "instance_id": 0,
                "vmsd_name": "cpu",
                "version": 12,
                "fields": _CPU_FIELDS,
                "subsections": [avx],
            }
        ],
        [
            {
                "name": "cpu",
                "instance_id": 0,
                "vmsd_name": "cpu",
                "version": 22,
                "fields": _ARM_FIELDS,
                "subsections": [sve],
            }
        ],
        [{"name": "cpu", "instance_id": n, "vmsd_name": "cpu", "fields": _CPU_FIELDS[:2]} for n in range(2)],
    ]
    return [json.dumps({"page_size": 4096, "devices": rows}).encode() for rows in devices]


def _size(record: Any) -> int:
    """Bytes of a described device, as far as its description makes sense."""
    try:
        size = sum(field.get("size", 0) * field.get("array_len", 1) for field in record.get("fields", []))
        size += sum(6 + len(inner["vmsd_name"]) + _size(inner) for inner in record.get("subsections", []))
        return int(min(1 << 16, size))
    except (TypeError, AttributeError, KeyError, OverflowError, ValueError):
        return 64


def stream(description: bytes) -> bytes:
    """A stream with the sections that a description, which may be broken, describes."""
    body = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 5) + b"q35-9"
    try:
        devices = json.loads(description)["devices"]
        names = [device["name"].encode("latin-1", "replace")[:255] for device in devices]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        devices, names = [], []
    for number, (device, name) in enumerate(zip(devices, names, strict=True)):
        head = b"\x04" + struct.pack(">IB", number, len(name)) + name + struct.pack(">II", 0, 12)
        body += head + bytes(n & 0x7F for n in range(_size(device))) + b"\x7e" + struct.pack(">I", number)
    return body + b"\x00\x06" + struct.pack(">I", len(description)) + description


def walked() -> list[bytes]:
    ram = struct.pack(">Q", 4096 | 4) + b"\x06pc.ram" + struct.pack(">Q", 4096)
    zero = struct.pack(">Q", 2) + b"\x06pc.ram\0" + struct.pack(">Q", 0x10)
    head = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 5) + b"q35-9"
    start = b"\x01" + struct.pack(">IB", 2, 3) + b"ram" + struct.pack(">II", 0, 4)
    end = b"\x7e" + struct.pack(">I", 2)
    part = b"\x02" + struct.pack(">I", 2) + zero + end
    begin = head + start + ram + struct.pack(">Q", 0x10) + end + part
    return [*(begin + _zero_cpu(name) for name in ("x86", "arm64")), begin]


def _zero_cpu(name: str) -> bytes:
    """A cpu section of a known description, all zero."""
    known = qemu_walk._known()[name]
    budget = Budget("fuzz", "fields", records=1 << 16)
    parser = qemu_walk._Parser(bytes(1 << 16), 0, known["subsections"], b"", budget)
    parser._fields(known["cpu"], "cpu", "")
    size = parser.at
    head = b"\x04" + struct.pack(">IB", 9, 3) + b"cpu" + struct.pack(">II", 0, known["cpu"]["version"])
    return head + bytes(size) + b"\x7e" + struct.pack(">I", 9)


def libvirt(inner: bytes) -> bytes:
    xml, _, description = inner.partition(b"\0")
    head = b"LibvirtQemudSave" + struct.pack("<4I", 2, len(xml) + 1, 0, 0) + bytes(60)
    return head + xml + b"\0" + stream(description)


def libvirt_seeds() -> list[bytes]:
    xml = b"<domain><cpu mode='custom'><model fallback='forbid'>EPYC</model></cpu></domain>"
    return [xml + b"\0" + description for description in descriptions()]


def report(capture_file: bytes) -> bytes:
    """A page with a capture file inside."""
    return MAGIC.encode() + BLOCK_BEGIN + base64.b64encode(gzip.compress(capture_file, 1, mtime=0)) + BLOCK_END


def own() -> list[bytes]:
    blob = base64.b64encode(bytes(64))
    place = {
        "file": "f",
        "offset": 0,
        "declared_size_bytes": 64,
        "blob": 0,
        "sha256": hashlib.sha256(bytes(64)).hexdigest(),
    }
    table = {"origin": "note", "guessed": False, "rooms": [[2, 256, 576, False], [9, 8, 2688, False]]}
    areas: list[dict[str, Any]] = [
        {"layout": "kvm-regs", "prefix": "regs", "attributes": {"dropped": [["pointer", 0, 8], ["memory", 16, 4]]}},
        {"layout": "xsave", "prefix": "xsave", "attributes": {}, "xsave_table": table},
        {"layout": "arm64-regs", "prefix": "arm64", "attributes": {"ids": [0x603000000013C020], "unknown": "ff"}},
        {
            "layout": "qemu-section",
            "prefix": "cpu",
            "attributes": {"arch": "x86", "fields": [["cpu", "env.eip", "", 0, 8, 1]]},
        },
        {
            "layout": "named-values",
            "prefix": "r",
            "attributes": {"named": [["regs.rax", "uint", 8], ["a.b", "x87", 10]]},
        },
        {"layout": "properties", "prefix": "props", "attributes": {"rows": [["sve", "on"], ["n", "7"]]}},
        {"layout": "elf-auxv", "prefix": "auxv", "attributes": {"word_bytes": 8, "note_owner": "CORE", "note_type": 6}},
        {"layout": "kvm-cpuid2", "prefix": "cpuid", "attributes": {"synthesized": True}},
    ]
    seeds = []
    for first in range(0, len(areas), 2):
        vcpus = [
            {
                "index": 0,
                "name": "cpu 0",
                "arch": "x86",
                "areas": [place | area | {"title": "t"} for area in areas[first : first + 2]],
            }
        ]
        partial = {"file": "f", "offset": 3, "expected": "a", "found": "b"}
        host = {"kernel": "6.1", "about": "", "cpuid": [[13, 0, 7, 832, 832, 0]]}
        head = {
            "vcpu_capture": 1,
            "format": "xsave",
            "partial": partial,
            "notices": ["n"],
            "host": host,
            "context": [],
            "vcpus": vcpus,
        }
        seeds.append(json.dumps(head).encode() + b"\n" + blob + b"\n")
    return seeds


def structs() -> list[bytes]:
    """The number of the word that ``--as`` takes, and bytes of the structure's size."""
    words = as_words()
    sizes = [size_bytes(word) if word in layouts() else 832 for word in words]
    fixed = [bytes([n]) + bytes(i & 0x7F for i in range(min(size, 1100))) for n, size in enumerate(sizes)]
    counted = {"kvm-cpuid2": 40, "kvm-msrs": 16, "kvm-msr-list": 4}
    return [
        *fixed,
        *(bytes([words.index(w)]) + struct.pack("<II", 3, 0) + bytes(range(1, 41)) * 3 for w in counted),
    ]


def firecracker() -> list[bytes]:
    cpuid = [{"leaf": "0xd", "subleaf": "0x0", "flags": 1, "modifiers": [{"register": "eax", "bitmap": "0b0111"}]}]
    msrs = [{"addr": "0x1c4", "bitmap": "0b1x0"}]
    registers = [{"addr": "0x603000000013c020", "bitmap": "0b1xxx0001"}]
    return [
        json.dumps({"cpuid_modifiers": cpuid, "msr_modifiers": msrs}).encode(),
        json.dumps({"reg_modifiers": registers}).encode(),
        json.dumps({"kernel_version": "6.1", "guest_cpu_config": {"cpuid_modifiers": cpuid}}).encode(),
    ]


def firecracker_state() -> list[bytes]:
    head = (0x0710198486640000).to_bytes(8, "little") + bytes(40)
    return [head + xsave(1088).ljust(4096, b"\0"), head + xsave(832).ljust(4096, b"\0") + bytes(9)]


def _vmm_state() -> dict[str, Any]:
    return {
        "cpuid": [{"function": 0xD, "index": 0, "flags": 1, "eax": 7, "ebx": 832, "ecx": 832, "edx": 0}],
        "msrs": [{"index": 0x1C4, "data": 0x40000}],
        "regs": {"rax": 1, "rip": 0x1234},
        "xcrs": {"nr_xcrs": 1, "flags": 0, "xcrs": [{"xcr": 0, "reserved": 0, "value": 7}]},
        "mp_state": {"mp_state": 0},
        "sys_regs": [{"id": 0x603000000013C020, "addr": 0x11}],
        "other": [1],
    }


def cloud_hypervisor(state: bytes) -> bytes:
    data = {"snapshots": {}, "snapshot_data": {"state": state.decode("latin-1")}}
    return json.dumps({"snapshots": {"cpu-manager": {"snapshots": {"0": data}}}, "snapshot_data": {}}).encode()


def cloud_hypervisor_seeds() -> list[bytes]:
    return [
        json.dumps({"Kvm": _vmm_state()}).encode(),
        json.dumps({"Kvm": {"xsave": {"region": [0] * 150, "extra": []}}}).encode(),
    ]


def crosvm_state() -> dict[Any, Any]:
    return {
        "vcpu_id": 3,
        "regs": {"rax": 5},
        "debug_regs": {"dr7": 0x400},
        "xcrs": {0: 7},
        "msrs": {0x277: 6},
        "left": [1],
    }


def qmp() -> list[bytes]:
    model = {"return": {"model": {"name": "max", "props": {"sve": True, "aarch64": True, "n": 7, "text": "12"}}}}
    rows = {"return": [{"name": "max", "typename": "max-cpu", "unavailable-features": ["a", "b"], "static": False}]}
    return [json.dumps(model).encode(), json.dumps(rows).encode()]


def packed() -> list[bytes]:
    data = core64(note("CORE", 1, prstatus64(7)))
    packers = (gzip.compress, lzma.compress, zstd.compress)
    return [
        *(pack(data) for pack in packers),
        *(pack(data[:100]) + pack(data[100:]) for pack in packers),
        *(pack(data) + bytes(4) for pack in packers),
    ]
