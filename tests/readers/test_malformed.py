"""Inputs that are nearly of a format: what is told of each, and what is kept."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.capture.model import Capture, Origin
from inspector.readers import crosvm, qemu_walk
from inspector.readers.domcapabilities import parse_domcapabilities
from inspector.readers.kdump import FlattenedSource
from inspector.readers.open import open_capture
from inspector.readers.options import NO_OPTIONS, Options
from inspector.readers.source import BytesSource
from inspector.readers.template_cpu import parse_template
from inspector.readers.vmm_json import decode
from inspector.readers.x86_cpuinfo import parse_x86_cpuinfo
from inspector.readers.xl_cpuid import parse_xl_cpuid
from tests.fuzz import checkpoint_seeds as seeds
from tests.fuzz.seeds import _zero_cpu, qcow2
from tests.readers.support import XSAVE, cloud_hypervisor_state
from tests.support import fields


def opened(tmp_path: Path, data: bytes, name: str = "file") -> Capture:
    path = tmp_path / name
    path.write_bytes(data)
    return open_capture(str(path))


# CRIU


def task(*fields_: bytes, machine: int = 1) -> bytes:
    return seeds._core(seeds._number(1, machine) + b"".join(fields_))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (task(), "thread_info of x86"),
        (task(machine=3), "ti_aarch64"),
        (task(machine=6), "a task of mips"),
        (task(machine=77), "machine type 77"),
    ],
)
def test_a_criu_task_without_registers(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        opened(tmp_path, data)


def test_a_criu_task_has_what_it_has(tmp_path: Path) -> None:
    """No group of registers is needed; a key of which a half is missing is none."""
    (bare,) = opened(tmp_path, task(seeds._bytes(2, b""))).vcpus
    assert (bare.name, bare.areas) == ("task 0", [])
    keys = seeds._bytes(5, seeds._bytes(7, seeds._number(1, 0xA)))
    name = seeds._bytes(5, seeds._number(1, 0) + seeds._bytes(13, b"own"))
    (arm,) = opened(tmp_path, task(seeds._bytes(8, keys), name, machine=3)).vcpus
    assert arm.name == "own"
    assert not fields(arm)


def test_criu_tasks_beyond_the_limit(tmp_path: Path) -> None:
    one = seeds._number(1, 1) + seeds._bytes(2, b"")
    entry = struct.pack("<I", len(one)) + one
    capture = opened(tmp_path, struct.pack("<2I", 0x54564319, 0x55053847) + entry * 4097)
    assert len(capture.vcpus) == 4096
    assert "at most 4096 tasks" in str(capture.faults[0])


# QEMU streams that describe nothing


def configuration(*parts: tuple[bytes, bytes]) -> bytes:
    head = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 5) + b"q35-9"
    return head + b"".join(b"\x05" + bytes([len(name)]) + name + struct.pack(">I", 1) + body for name, body in parts)


def ram(*blocks: bytes) -> bytes:
    total = struct.pack(">Q", 4096 * len(blocks) | 4)
    start = b"\x01" + struct.pack(">IB", 2, 3) + b"ram" + struct.pack(">II", 0, 4)
    return start + total + b"".join(blocks) + struct.pack(">Q", 0x10) + b"\x7e" + struct.pack(">I", 2)


BLOCK = b"\x06pc.ram" + struct.pack(">Q", 4096)
CAPABILITY = struct.pack(">I", 2) + b"\x08x-ignore" + b"\x0amapped-ram"


def walked(data: bytes) -> tuple[list[qemu_walk.Section], list[InputError]]:
    return qemu_walk.walk_forward(BytesSource("stream", data), 0)


def test_the_configuration_is_stepped_over() -> None:
    """vmstate_configuration (migration/savevm.c): target page bits, capabilities, UUID, each a subsection."""
    parts = (
        (b"configuration/target-page-bits", bytes(4)),
        (b"configuration/capabilities", struct.pack(">I", 1) + b"\x08x-ignore"),
        (b"configuration/uuid", bytes(16)),
    )
    sections, faults = walked(configuration(*parts) + ram(BLOCK) + _zero_cpu("x86"))
    assert [section.name for section in sections] == ["cpu"]
    assert not faults


def test_pages_at_fixed_offsets_are_passed_over() -> None:
    """mapped-ram.rst: a block's header tells where its pages are; the stream goes on behind them."""
    head = configuration((b"configuration/capabilities", CAPABILITY))
    before = len(head) + len(ram(BLOCK)) - 13 - 5
    pages = before + 28 + 100
    mapped = struct.pack(">IQQQ", 1, 4096, pages - 8, pages)
    data = head + ram(BLOCK + mapped)
    at = len(head) + len(ram(BLOCK + mapped)) - 13
    whole = data[:at] + bytes(pages - at) + b"\xaa" * 4096 + data[at:] + _zero_cpu("x86")
    sections, faults = walked(whole)
    assert [section.name for section in sections] == ["cpu"]
    assert not faults
    wrong = head + ram(BLOCK + struct.pack(">IQQQ", 1, 4096, 8, 16))
    _, (fault,) = walked(wrong + bytes(64))
    assert "pages behind their header" in str(fault)


def test_a_subsection_that_nobody_knows_ends_where_a_known_one_begins() -> None:
    """The unknown one is named; what is known behind it is read again."""
    head = struct.pack(">I", 1)
    unknown = b"".join(
        b"\x05" + bytes([len(name)]) + name + head + bytes(40) for name in (b"cpu/tomorrow", b"cpu/later")
    )
    known = b"\x05\x15cpu/amd_tsc_scale_msr" + head + struct.pack(">Q", 1 << 32)
    cpu = _zero_cpu("x86")
    sections, (fault,) = walked(configuration() + ram(BLOCK) + cpu[:-5] + unknown + known + cpu[-5:])
    assert "cpu/tomorrow, not shown" in str(fault)
    assert sections[0].rows[-1][:2] == ("cpu/amd_tsc_scale_msr", "env.amd_tsc_scale_msr")


def test_a_cpu_beyond_all_cpus_is_none() -> None:
    cpu = bytearray(_zero_cpu("x86"))
    cpu[9:13] = b"\xff\xff\xff\xff"
    sections, (fault,) = walked(configuration() + ram(BLOCK) + bytes(cpu))
    assert not sections
    assert "a cpu section of a known layout" in str(fault)


# qcow2, libvirt's files


def test_a_snapshot_in_compressed_clusters(tmp_path: Path) -> None:
    data = bytearray(qcow2()[0])
    struct.pack_into(">Q", data, 2048, 1 << 62 | 4096)
    with pytest.raises(InputError, match="VM state in plain clusters, found a compressed one"):
        opened(tmp_path, bytes(data))


def test_older_snapshots_are_named(tmp_path: Path) -> None:
    """Two entries of the table, of which the last is the newest."""
    data = bytearray(qcow2()[0])
    entry = bytes(data[1024 : 1024 + 42])
    struct.pack_into(">I", data, 60, 2)
    data[1024:1536] = (entry.ljust(48, b"\0") + entry[:40] + b"2t").ljust(512, b"\0")
    assert opened(tmp_path, bytes(data)).notices[:2] == [
        "snapshot t: offsets count from the beginning of its VM state",
        "older snapshots with VM state, not shown: s (`qemu-img snapshot -l`)",
    ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_save_image_of_another_version(tmp_path: Path, order: str) -> None:
    """A header of the other byte order is known by its version (bswap_header, qemu_saveimage.c)."""
    head = b"LibvirtQemudSave" + struct.pack(f"{order}4I", 3, 1, 0, 0) + bytes(60)
    with pytest.raises(InputError, match="a libvirt save image of version 1 or 2, found version 3"):
        opened(tmp_path, head + bytes(64))


HOST_MODEL = "<cpu><mode name='host-model'><model>EPYC</model></mode></cpu>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!DOCTYPE a><domainCapabilities/>", "a document type"),
        ("<domainCapabilities><cpu/></domainCapabilities>", "a host-model in <domainCapabilities>"),
        ("<domainCapabilities/>", "<domainCapabilities>"),
        ("<domain><cpu/></domain>", "found <domain>"),
        ("<domainCapabilities>", "no XML"),
        ("<domainCapabilities><cpu><mode name='host-model'/></cpu></domainCapabilities>", "a host-model"),
    ],
)
def test_domain_capabilities_that_are_none(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_domcapabilities(text, "file")


def test_domain_capabilities_as_a_capture(tmp_path: Path) -> None:
    for text in ("<!DOCTYPE a>", "<!ENTITY a>"):
        with pytest.raises(InputError, match="a document type"):
            opened(tmp_path, f"{text}<domainCapabilities/>".encode())
    # Without a host-model no model is shown, and no mode of another name is one.
    other = b"<domainCapabilities><cpu><mode name='maximum'><model>max</model></mode></cpu></domainCapabilities>"
    assert not opened(tmp_path, other).vcpus
    assert not opened(tmp_path, b"<domainCapabilities><cpu/></domainCapabilities>").vcpus


# Capture files


def written(**header: Any) -> bytes:
    return json.dumps({"vcpu_capture": 1, "format": "vcpu", "vcpus": [], **header}).encode() + b"\n"


def area(**changed: Any) -> dict[str, Any]:
    return {
        "layout": "xsave",
        "prefix": "xsave",
        "title": "t",
        "declared_size_bytes": 4096,
        "blob": 0,
        "sha256": "",
        "file": "f",
        "offset": 0,
        "xsave_table": {"rooms": [], "origin": "o", "guessed": False},
        **changed,
    }


def table(*rooms: Any) -> dict[str, Any]:
    return {"xsave_table": {"rooms": list(rooms), "origin": "o", "guessed": False}}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"host": {"cpuid": 5}}, "not rows of six numbers"),
        ({"host": {"cpuid": [[1, 2, 3]]}}, "not rows of six numbers"),
        ({"context": [area(**table([2, 256, 576]))]}, r"a room is not \[component, size, offset, align\]"),
        ({"context": [area(**table(["2", 256, 576, 0]))]}, "a room is not"),
        ({"context": [area(**table([1, 256, 576, 0]))]}, "a room that no image can have"),
        ({"context": [area(**table([2, 1 << 17, 576, 0]))]}, "a room that no image can have"),
        ({"context": [area(**table([2, 256, 576, 0], [2, 256, 576, 0]))]}, "two rooms of component 2"),
    ],
)
def test_a_capture_file_that_says_what_cannot_be(tmp_path: Path, header: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        opened(tmp_path, written(**header), "a.vcpu")


def test_a_layout_of_tomorrow_is_shown_as_bytes(tmp_path: Path) -> None:
    """A file of a newer program whose layout is not known here."""
    capture = opened(tmp_path, written(context=[area(layout="of-tomorrow")]), "a.vcpu")
    assert capture.context[0].layout == "raw"
    assert "blob 0" in str(capture.faults[0])


# VMMs' JSON


@pytest.mark.parametrize(
    ("state", "prefixes"),
    [
        # An image by its words, inside of another object, or cut.
        ({"xsave": {"xsave": {"region": [0] * 1024}, "extra": [0] * 16}}, ["xsave"]),
        ({"xsave": {"region": [0] * 10}}, []),
        ({"xsave": {"region": [0] * 1023 + [1 << 32]}}, []),
        ({"mp_state": 3}, ["mp_state"]),
        ({"cpuid": [5]}, []),
        ({"msrs": [{"index": 0x1C4}]}, []),
        ({"sys_regs": {"0x603000000013c020": 1, "0x6030000000000000": 2}}, ["arm64"]),
        ({"sys_regs": {"0x2030000000000000": 1}}, []),
        ({"sys_regs": [{"id": 5, "data": 1}, {"id": 0x603000000013C020, "data": "x"}, 7]}, []),
    ],
)
def test_parts_of_a_vcpus_state(state: dict[str, Any], prefixes: list[str]) -> None:
    found = decode(state, Origin("file", 0), NO_OPTIONS)
    assert [one.prefix for one in found.areas] == prefixes


def test_snapshots_of_other_shapes(tmp_path: Path) -> None:
    """A state wrapped in itself for ever, and a crosvm snapshot that is no map."""
    state = cloud_hypervisor_state()
    deep: Any = {"rax": 1}
    for _ in range(9):
        deep = {"state": deep}
    state["snapshots"]["cpu-manager"]["snapshots"]["1"] = {"snapshot_data": deep}
    capture = opened(tmp_path, json.dumps(state).encode(), "state.json")
    assert len(capture.vcpus) == 1
    assert "KVM state of vCPU 1" in str(capture.faults[0])
    import cbor2

    with pytest.raises(InputError, match="a vCPU snapshot"):
        crosvm.read(BytesSource("crosvm", cbor2.dumps([1, 2])), NO_OPTIONS)


# Texts


def test_templates_and_lines_that_are_none() -> None:
    for found, said in (
        ([], "an object with cpuid_modifiers"),
        ({"cpuid_modifiers": 5}, "a list of objects"),
        ({"cpuid_modifiers": [5]}, "a list of objects"),
        ({"msr_modifiers": [{"addr": "x"}]}, "expected a number"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_template(found)
    assert parse_xl_cpuid("[ '0x7:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0' ]").bits == {(7, 0, "ebx", 0): 0}


def test_flags_alone_tell_no_signature() -> None:
    """lscpu in a container may show flags and no family; then the CPU is not named."""
    found = parse_x86_cpuinfo("flags : fpu lm avx\n")
    assert found is not None
    assert (found.signature, found.phys_bits, found.microcode) == (None, 0, 0)
    arm = parse_x86_cpuinfo("vendor_id : GenuineIntel\ncpu family : 6\nflags : fpu\n")
    assert arm is not None
    assert arm.signature is None


# Folders


def test_a_folder_whose_files_cannot_be_used(tmp_path: Path) -> None:
    """A host.json without a release, CPUID text without leaves, an image with a room less, a file that is cut."""
    (tmp_path / "vcpu0.kvm_xsave.bin").write_bytes(XSAVE[:4096])
    (tmp_path / "vcpu0.kvm_regs.bin").write_bytes(bytes(144))
    (tmp_path / "host.json").write_text('{"cpu": "x"}')
    (tmp_path / "cpuid.txt").write_text("CPU 0:\n")
    (tmp_path / "vcpu1.kvm_regs.bin.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\3\x4b")
    capture = open_capture(str(tmp_path))
    assert capture.host.kernel == ""
    assert capture.faults
    with pytest.raises(InputError, match="a folder"):
        open_capture(str(tmp_path), Options(as_format="elf"))


# Dumps


def test_a_minidump_of_more_threads_than_there_are(tmp_path: Path) -> None:
    data = bytearray(seeds.minidump())
    at = next(
        struct.unpack_from("<III", data, 32 + 12 * n)[2]
        for n in range(4)
        if struct.unpack_from("<I", data, 32 + 12 * n)[0] == 3
    )
    for count, said in ((1 << 20, "at most"), (500, "before the end of the file")):
        struct.pack_into("<I", data, at, count)
        capture = opened(tmp_path, bytes(data))
        assert any(said in str(fault) for fault in capture.faults)


def test_records_of_a_flattened_file_that_lie_over_others() -> None:
    """makedumpfile writes a header last, over the zeros that were there: the later record wins, both ends stay."""

    def record(at: int, data: bytes) -> bytes:
        return struct.pack(">qq", at, len(data)) + data

    body = record(0, b"a" * 8) + record(8, b"b" * 8) + record(4, b"") + record(4, b"c" * 8) + record(4, b"d" * 2)
    flat = b"makedumpfile".ljust(16, b"\0").ljust(4096, b"\0") + body + struct.pack(">qq", -1, -1)
    source = FlattenedSource(BytesSource("f", flat))
    # Records are looked for as they are needed; behind the last one all are known.
    assert source.read(16, 1) == b""
    assert source.read(0, 16) == b"aaaaddccccccbbbb"
