"""Section ``nested``: KVM_SET_NESTED_STATE over flags, formats and sizes, and with VMCBs and VMXON."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm.capabilities import nested_state_size_bytes
from inspector.machine.x86.kvm.nested.svm import EFER_SVME
from inspector.machine.x86.kvm.nested.vmx import VMCS12_REVISION
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.structures import STRUCTS, answer, long_mode

BUFFER_SIZE_BYTES = 20000
_HEADER = 128
_GUEST_MODE_AND_GIF = 0x101
#: What each guest-mode case changes: the header's (flags, size, vmcb_pa), or a field of the VMCB.
_SAVE = 0x400
_ONES = (1 << 64) - 1
_VMCB = {
    "no vmrun intercept": (0x10, 4, 0),
    "asid 0": (0x58, 4, 0),
    "np enable": (0x90, 8, 1),
    "save.efer no svme": (_SAVE + 0xD0, 8, 0x500),
    "save.cr0 no PE": (_SAVE + 0x158, 8, 0x80050032),
    "save.cr4 ones": (_SAVE + 0x148, 8, _ONES),
    "save.cr0 high": (_SAVE + 0x158, 8, 1 << 40 | 0x80050033),
    "save.cr3 ones": (_SAVE + 0x150, 8, _ONES),
    "save.dr7 ones": (_SAVE + 0x160, 8, _ONES),
    "iopm misaligned": (0x40, 8, 0x100001),
    "msrpm ones": (0x48, 8, _ONES),
    "save.efer ones": (_SAVE + 0xD0, 8, _ONES),
    "int_ctl ones": (0x60, 8, _ONES),
}
_ADDRESSES = {"vmcb_pa misaligned": 0x20001, "vmcb_pa huge": 1 << 60, "vmcb_pa outside memory": 0x40000000}
_FLAGS = {"run pending": 0x103, "no GIF": 1}


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section. Each try is followed by the base."""
    sweeps = StructSweeps("nested", STRUCTS)
    base = b""
    for record in records:
        vcpu = bench.vcpu
        match record["op"]:
            case "mk":
                vcpu = bench.make(record)
                if "SVME" not in record["x"]:
                    long_mode(vcpu)
            case "capnested":
                yield answer("nested.capnested", "size", record["size"], nested_state_size_bytes(bench.kvm))
            case "efer_svme":
                outcome = long_mode(vcpu, efer=EFER_SVME)
                yield answer("nested.efer_svme", "SREGS", record["e"], outcome.code, outcome.because)
            case "getnested":
                code, base = vcpu.nested.get(BUFFER_SIZE_BYTES)
                mine = [code, _shown(base), len(base) or BUFFER_SIZE_BYTES]
                yield answer("nested.getnested", "get", [record["ge"], record["hdr"], record["size"]], mine)
            case "base":
                yield answer("nested.base", "get", record["hex"], base[:_HEADER].hex())
                sweeps.base = base[:_HEADER]
            case "bits":
                yield from sweeps.replay(vcpu, record)
            case "nest" | "nestf" | "nestv":
                yield _tried(vcpu, base, record)
            case op:
                yield unknown(f"nested.{op}")


def unread() -> bytes:
    """The header where GET failed: the recorder's buffer with its size."""
    return struct.pack("<HHI", 0, 0, BUFFER_SIZE_BYTES).ljust(_HEADER, b"\0")


def _shown(image: bytes) -> str:
    return (image or unread())[:_HEADER].hex()


def _tried(vcpu: WholeVcpu, base: bytes, record: Record) -> Answer:
    """``nest``, ``nestf``, ``nestv``: one state, and what is there after it."""
    kind = f"nested.{record['op']}"
    outcome = vcpu.nested.set(_image(base, record))
    if record["op"] != "nest":
        vcpu.nested.set(base)
        text = " ".join(f"{key} {value}" for key, value in record.items() if key not in ("op", "e"))
        return answer(kind, text, record["e"], outcome.code, outcome.because, accepted=not record["e"])
    code, got = vcpu.nested.get(BUFFER_SIZE_BYTES)
    vcpu.nested.set(base)
    mine = [outcome.code, code, _shown(got)]
    expected = [record["e"], record["ge"], record["got"]]
    return answer(kind, record["w"], expected, mine, outcome.because, accepted=not record["e"])


def _image(base: bytes, record: Record) -> bytes:
    image = bytearray(base.ljust(BUFFER_SIZE_BYTES, b"\0"))
    if record["op"] == "nestf":
        struct.pack_into("<HHI", image, 0, record["flags"], record["format"], record["size"])
    elif record["op"] == "nestv":
        size = _HEADER + (8192 if record["flags"] else 0)
        struct.pack_into("<HHI", image, 0, record["flags"], 0, size)
        struct.pack_into("<QQ", image, 8, int(record["vmxon"], 16), int(record["vmcs12"], 16))
        struct.pack_into("<I", image, _HEADER, VMCS12_REVISION)
    elif record["w"] != "as is":
        _guest_mode(image, record["w"])
    return bytes(image)


def _guest_mode(image: bytearray, case: str) -> None:
    """A plausible VMCB, with the case's one change."""
    size = _HEADER + 4096 - (case == "size short")
    struct.pack_into("<HHI", image, 0, _FLAGS.get(case, _GUEST_MODE_AND_GIF), 1, size)
    struct.pack_into("<Q", image, 8, _ADDRESSES.get(case, 0x20000))
    fields = [(0x10, 4, 1), (0x58, 4, 1)]
    words = (0xD0, 0x1500), (0x148, 0x620), (0x150, 0x1000), (0x158, 0x80050033), (0x160, 0x400), (0x168, 0xFFFF0FF0)
    fields += [(_SAVE + at, 8, value) for at, value in (*words, (0x170, 2), (0x178, 0x10000))]
    fields += [(_SAVE + 0x10, 2, 8), (_SAVE + 0x12, 2, 0x29B), (_SAVE + 0x14, 4, 0xFFFFFFFF)]
    if case in _VMCB:
        fields.append(_VMCB[case])
    for at, width, value in fields:
        image[_HEADER + at : _HEADER + at + width] = value.to_bytes(width, "little")
