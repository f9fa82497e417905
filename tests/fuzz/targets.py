"""Every reader as a fuzz target: small seeds, and an entry from bytes to everything decoded and written."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cbor2

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture
from inspector.decode.fields import FieldTable, children
from inspector.export.json import write_json
from inspector.export.listing import write_list
from inspector.export.report.case import Asked, case_of
from inspector.export.report.markdown import markdown_of
from inspector.export.report.page import write_page
from inspector.export.report.redact import Redaction
from inspector.export.text import write_text
from inspector.export.vcpu import write_vcpu
from inspector.readers.kvm_struct import as_words
from inspector.readers.open import read_source
from inspector.readers.options import Options
from inspector.readers.source import Source, unpacked
from tests.fuzz import checkpoint_seeds, seeds, text_seeds


class BytesSource(Source):
    """A file that is not one."""

    def __init__(self, data: bytes) -> None:
        self.name = "fuzz"
        self.size: int = len(data)
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size] if offset >= 0 else b""


def run(data: bytes, as_format: str = "") -> bool:
    """Open, decode everything and write it; False for what is refused. Raises nothing else."""
    try:
        capture = read_source(unpacked(BytesSource(data)), Options(as_format=as_format))
    except InputError as error:
        if not str(error).isprintable():
            raise AssertionError(f"not one line: {error}") from error
        if error.__cause__ is error:
            raise AssertionError(f"its own cause: {error}") from None
        return False
    number = zlib.crc32(data)
    areas = [area for vcpu in capture.vcpus for area in vcpu.areas] + capture.context
    for area in areas:
        _decode(area, number)
    _write(capture, number)
    return True


def _decode(area: Area, number: int) -> None:
    """Every field, and of some their bits or elements."""
    table = FieldTable(area)
    want = ("*", "f32", "i8", "bf16", "x128")[number % 5]
    for nth, field in enumerate(table):
        if nth % 16 == number % 16:
            for child in children(field.spec, want)[:64]:
                table.decode(child)


def _write(capture: Capture, number: int) -> None:
    """One of the writers, by the bytes of the input: over many inputs, all of them."""
    text = io.TextIOWrapper(io.BytesIO(), "utf-8")
    kind = number % 8
    if kind == 0:
        write_text(text, capture, capture.vcpus, [])
    elif kind <= 3:
        write_json(text, capture, capture.vcpus, [])
    elif kind == 4:
        write_list(text, capture, capture.vcpus)
    elif kind == 5:
        _report(capture)
    else:
        out = io.BytesIO()
        write_vcpu(out, capture)
        again = read_source(BytesSource(out.getvalue()), Options())
        assert len(again.vcpus) == len(capture.vcpus)
    text.flush()


def _report(capture: Capture) -> None:
    """A report, which has to open again."""
    case = case_of([(capture, capture.vcpus)], Asked(lint=True), Redaction())
    out = io.BytesIO()
    write_page(out, case)
    assert all(line.isprintable() for line in markdown_of(case))
    again = read_source(BytesSource(out.getvalue()), Options())
    assert len(again.vcpus) == len(capture.vcpus)


class Target(NamedTuple):
    """Seeds of a reader. ``wrap`` makes a file of what is mutated (lengths and sums fit again)."""

    seeds: Callable[[], list[bytes]]
    wrap: Callable[[bytes], bytes] | None = None
    run: Callable[[bytes], bool] = run


def _run_struct(data: bytes) -> bool:
    words = as_words()
    return run(data[1:], words[data[0] % len(words)]) if data else False


#: Every reader by name.
TARGETS = {
    "elf": Target(seeds.elf),
    "kdump": Target(seeds.kdump),
    "qemu": Target(lambda: [seeds.stream(description) for description in seeds.descriptions()]),
    "qemu-description": Target(seeds.descriptions, seeds.stream),
    "qemu-walked": Target(seeds.walked),
    "libvirt": Target(seeds.libvirt_seeds, seeds.libvirt),
    "own-file": Target(seeds.own),
    "report": Target(lambda: [seeds.report(data) for data in seeds.own()]),
    "report-capture": Target(seeds.own, seeds.report),
    "xsave": Target(lambda: [seeds.xsave(832), seeds.xsave(1088), seeds.compacted()]),
    "kvm-structs": Target(seeds.structs, run=_run_struct),
    "firecracker": Target(seeds.firecracker),
    "firecracker-state": Target(seeds.firecracker_state),
    "cloud-hypervisor": Target(seeds.cloud_hypervisor_seeds, seeds.cloud_hypervisor),
    "crosvm-cbor": Target(lambda: [cbor2.dumps(seeds.crosvm_state()), cbor2.dumps({"vcpus": [seeds.crosvm_state()]})]),
    "crosvm-json": Target(lambda: [json.dumps(seeds.crosvm_state()).encode()]),
    "qmp": Target(seeds.qmp),
    "register-json": Target(lambda: [b'{"0x603000000013c020": "0x1101", "0x6030000000100040": 16}']),
    "register-text": Target(lambda: [text_seeds.REGISTER_TEXT]),
    "info-registers": Target(lambda: [text_seeds.INFO_X86, text_seeds.INFO_ARM]),
    "cpuid-text": Target(lambda: list(text_seeds.CPUID)),
    "gdb-registers": Target(lambda: [text_seeds.GDB]),
    "kernel-oops": Target(lambda: [text_seeds.OOPS]),
    "libvirt-capabilities": Target(lambda: [text_seeds.CAPABILITIES]),
    "logs": Target(lambda: list(text_seeds.LOGS)),
    "criu": Target(lambda: [checkpoint_seeds.criu_x86(), checkpoint_seeds.criu_arm64()]),
    "minidump": Target(
        lambda: [
            checkpoint_seeds.minidump(),
            checkpoint_seeds.minidump_arm64(),
            checkpoint_seeds.minidump_arm64(old=True),
        ]
    ),
    "win-dmp": Target(lambda: [checkpoint_seeds.win_dump()]),
    "qcow2": Target(seeds.qcow2),
    "cpu-record": Target(lambda: [text_seeds.RECORD, text_seeds.RECORD[:180]]),
    "packed": Target(seeds.packed),
}
