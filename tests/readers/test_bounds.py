"""Work is bounded: small files that once took minutes, and large sparse ones, end at once and say why."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inspector.capture.model import Capture
from inspector.readers import elf_notes, qemu_stream
from inspector.readers.open import open_capture
from inspector.readers.source import unpacked
from tests.fuzz.seeds import stream as _stream
from tests.fuzz.targets import BytesSource
from tests.readers.support import PACKERS, kdump
from tests.support import core64, fields, note, prstatus64, slowed

#: Of the processor, and generous: each of these once took more than ten seconds, most for ever.
SECONDS = 4.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], Capture]]:
    """Opens bytes as a file; the test fails when that took long."""
    started = time.process_time()

    def opener(data: bytes) -> Capture:
        path = tmp_path / "f"
        path.write_bytes(data)
        return open_capture(str(path))

    yield opener
    assert time.process_time() - started < slowed() * SECONDS


def first_fault(capture: Capture) -> str:
    return str(capture.faults[0]).partition(": ")[2]


# What is packed


CORE = core64(note("CORE", 1, prstatus64(7)))


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
@pytest.mark.parametrize("behind", [b"\0", bytes(4), bytes(70_000), b"garbage", bytes(5) + b"x"])
def test_bytes_behind_a_packed_file_end(opened: Callable[[bytes], Capture], packing: str, behind: bytes) -> None:
    """gzip(1) and xz(1) pass zero bytes over (xz: in fours); what else is there is told once."""
    packed = PACKERS[packing](CORE)
    capture = opened(packed + behind)
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 7"]
    assert not capture.faults
    is_padding = not behind.strip(b"\0") and (packing == "gz" or (packing == "xz" and len(behind) % 4 == 0))
    assert [notice for notice in capture.notices if "behind the compressed data" in notice] == capture.notices
    assert len(capture.notices) == (not is_padding)
    assert unpacked(BytesSource(packed + behind)).read(0, 1 << 30) == CORE


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_members_may_have_padding_between_them(opened: Callable[[bytes], Capture], packing: str) -> None:
    pack = PACKERS[packing]
    assert not opened(pack(CORE[:300]) + bytes(8) + pack(CORE[300:]) + bytes(512)).faults


def test_thousands_of_empty_members_end(opened: Callable[[bytes], Capture]) -> None:
    assert opened(gzip.compress(b"") * 20_000 + gzip.compress(CORE)).vcpus


def test_zstd_index_behind_the_frames_is_no_garbage() -> None:
    skippable = bytes.fromhex("5e2a4d18") + struct.pack("<I", 9) + bytes(9)
    source = unpacked(BytesSource(PACKERS["zst"](CORE) + skippable))
    assert source.read(0, 1 << 20) == CORE
    assert not source.notices
    assert source.fault is None


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_standard_input_with_padding(packing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inspector", "show", "-", "--list"],
        input=PACKERS[packing](CORE) + bytes(8),
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert b"thread 7" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
@pytest.mark.parametrize("place", [32, 72])
def test_offsets_beyond_what_a_file_can_have(tmp_path: Path, packing: str, place: int) -> None:
    """e_phoff and p_offset of 2^63 and more, in bytes whose end is not known before it is read."""
    data = bytearray(CORE)
    struct.pack_into("<Q", data, place, (1 << 64) - 100)
    path = tmp_path / "f"
    path.write_bytes(PACKERS[packing](bytes(data)))
    with pytest.raises(Exception, match="expected") as caught:
        open_capture(str(path))
    assert type(caught.value).__name__ == "InputError"


def test_full_temporary_folder_is_one_line(tmp_path: Path) -> None:
    """A limit of the file size stands in for a full disk: writing fails alike."""
    path = tmp_path / "f.gz"
    core = core64(note("CORE", 1, prstatus64(7)), loads=((0x1000, 100 << 20),))
    path.write_bytes(gzip.compress(core.ljust(100 << 20, b"\0"), 1))
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    limited += "from inspector.readers.source import open_source; source = open_source(sys.argv[1]); "
    limited += "source.read(90 << 20, 1); print(source.fault)"
    done = subprocess.run([sys.executable, "-B", "-c", limited, path], capture_output=True, text=True, check=False)
    assert "room for what is unpacked in the temporary folder" in done.stdout
    assert done.stderr == ""


# ELF and kdump


def test_many_equal_notes_of_a_thread(opened: Callable[[bytes], Capture]) -> None:
    capture = opened(core64(note("CORE", 1, prstatus64(7)) + 20_000 * note("X", 5, b"")))
    assert "at most 1024 notes of a thread, found more" in first_fault(capture)
    prefixes = [area.prefix for area in capture.vcpus[0].areas]
    assert len(set(prefixes)) == len(prefixes) == 1024
    assert prefixes[1:4] == ["note.X.0x5", "note.X.0x5~2", "note.X.0x5~3"]


def test_many_threads_open_whole(opened: Callable[[bytes], Capture]) -> None:
    capture = opened(core64(b"".join(note("CORE", 1, prstatus64(pid)) for pid in range(10_000))))
    assert len(capture.vcpus) == 10_000
    assert not capture.faults


def _segments(count: int, offset: int, size: int, step: int = 0) -> bytes:
    rows = (struct.pack("<IIQQQQQQ", 4, 0, offset + n * step, 0, 0, size, 0, 4) for n in range(count))
    return b"".join(rows)


def _core_of(programs: bytes, count: int, tail: bytes) -> bytes:
    head = bytearray(core64(b"")[:64])
    struct.pack_into("<H", head, 56, count)
    return bytes(head) + programs + tail


def test_segments_of_the_same_bytes_are_read_once(opened: Callable[[bytes], Capture]) -> None:
    notes = note("CORE", 1, prstatus64(7)) + 500 * note("X", 5, b"")
    count = 900
    capture = opened(_core_of(_segments(count, 64 + 56 * count, len(notes)), count, notes))
    assert len(capture.vcpus) == 1
    assert "a PT_NOTE with bytes of its own" in first_fault(capture)


def test_more_note_segments_than_any_core_has(opened: Callable[[bytes], Capture]) -> None:
    notes = note("CORE", 1, prstatus64(7))
    count = 60_000
    capture = opened(_core_of(_segments(count, 64 + 56 * count, len(notes), len(notes)), count, notes * 2000))
    assert len(capture.vcpus) == 1024
    assert "at most 1024 PT_NOTE segments" in first_fault(capture)


def test_a_huge_segment_of_zeros_in_a_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    notes = note("CORE", 1, prstatus64(7))
    data = bytearray(core64(notes))
    struct.pack_into("<Q", data, 64 + 32, 64 << 30)
    path.write_bytes(data)
    os.truncate(path, 65 << 30)
    started = time.process_time()
    capture = open_capture(str(path))
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 7"]
    assert "expected a note, found 1048" in first_fault(capture)
    assert time.process_time() - started < slowed() * SECONDS


def test_program_headers_without_end_in_a_sparse_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf_notes, "_MAX_SEGMENTS", 1 << 16)
    path = tmp_path / "sparse"
    notes = note("CORE", 1, prstatus64(7))
    data = bytearray(core64(notes, phnum=0xFFFF, shoff=4096)).ljust(4096, b"\0")
    data += struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, (1 << 32) - 1, 0, 0)
    path.write_bytes(data)
    os.truncate(path, 260 << 30)
    capture = open_capture(str(path))
    assert capture.vcpus
    assert "at most 65536 program headers, found 4294967295" in first_fault(capture)


def test_more_notes_than_the_budget(opened: Callable[[bytes], Capture], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf_notes, "_MAX_NOTES", 100)
    capture = opened(core64(b"".join(note("CORE", 1, prstatus64(pid)) for pid in range(200))))
    assert len(capture.vcpus) == 100
    assert "at most 100 notes, found more" in first_fault(capture)


def test_flattened_records_without_bytes(opened: Callable[[bytes], Capture]) -> None:
    whole = kdump(note("CORE", 1, prstatus64(7)), flattened=True)
    capture = opened(whole[:4096] + 30_000 * struct.pack(">qq", 0, 0) + whole[4096:])
    assert capture.vcpus[0].name == "thread 7"


def test_the_later_of_two_flattened_records_holds() -> None:
    from inspector.readers.kdump import FlattenedSource

    def record(at: int, data: bytes) -> bytes:
        return struct.pack(">qq", at, len(data)) + data

    places = ((0, b"aaaaaaaa"), (2, b"bb"), (6, b"ccc"), (8, b""), (9, b"d"), (20, b"x"))
    records = b"".join(record(*place) for place in places)
    source = FlattenedSource(BytesSource(bytes(4096) + records + struct.pack(">qq", -1, -1)))
    assert source.read(20, 1) == b"x"
    assert source.read(0, 20) == b"aabbaacccd"
    assert source.read(3, 4) == b"baac"
    assert source.read(11, 4) == b""


# QEMU


def nested(depth: int, length: int) -> bytes:
    inner: dict = {"name": "x", "size": 8}
    for _ in range(depth):
        inner = {"name": "a", "array_len": length, "size": 8, "struct": {"vmsd_name": "s", "fields": [inner]}}
    device = {"name": "cpu", "instance_id": 0, "vmsd_name": "cpu", "version": 1, "fields": [inner]}
    return json.dumps({"devices": [device]}).encode()


def test_nested_arrays_of_a_description(opened: Callable[[bytes], Capture]) -> None:
    with pytest.raises(Exception, match="more fields than any machine has"):
        opened(_stream(nested(3, 2000)))


def test_markers_of_a_description_without_one(opened: Callable[[bytes], Capture]) -> None:
    head = b"QEVM" + struct.pack(">I", 3)
    for filler in (b"\x00\x06", b"\x00\x06\x00\x0f\xff\xff{", b"\x00\x06\x00\x00\x01\x00{" + b'"' * 300):
        with pytest.raises(Exception, match="a record of a QEMU stream"):
            opened(head + filler * ((1 << 20) // len(filler)))


def test_heads_of_cpu_sections_without_sections(opened: Callable[[bytes], Capture]) -> None:
    head = b"QEVM" + struct.pack(">I", 3)
    cpu = b"\x04" + struct.pack(">IB", 9, 3) + b"cpu" + struct.pack(">II", 0, 12)
    with pytest.raises(Exception, match=r"cpu section|another layout"):
        opened(head + cpu * 100_000)


def test_ram_that_ends_within_a_record(opened: Callable[[bytes], Capture]) -> None:
    head = b"QEVM" + struct.pack(">I", 3) + b"\x01" + struct.pack(">IB", 2, 3) + b"ram" + struct.pack(">II", 0, 4)
    for word in (8, 2, 0x40, 4):
        with pytest.raises(Exception, match="expected"):
            opened(head + struct.pack(">Q", word))


def test_equal_cpus_share_their_rows() -> None:
    """512 vCPUs of 2,500 rows each would not fit otherwise."""
    device = {"name": "cpu", "vmsd_name": "cpu", "fields": [{"name": "env.eip", "size": 8}]}
    description = json.dumps({"devices": [device | {"instance_id": n} for n in range(512)]}).encode()
    capture = qemu_stream.read_at(BytesSource(_stream(description)), 0, "f", "qemu-stream")
    assert len(capture.vcpus) == 512
    assert len({id(vcpu.areas[0].attributes["fields"]) for vcpu in capture.vcpus}) == 1


@pytest.mark.parametrize("tag", [b"<cpu ", b"<model ", b"<cpu mode='", b"<model>x"])
def test_tags_of_the_domain_without_end(opened: Callable[[bytes], Capture], tag: bytes) -> None:
    xml = tag * 100_000 + b"\0"
    head = b"LibvirtQemudSave" + struct.pack("<4I", 2, len(xml), 0, 0) + bytes(60)
    description = json.dumps({"devices": [{"name": "cpu", "vmsd_name": "cpu", "fields": [{"name": "e", "size": 8}]}]})
    assert opened(head + xml + _stream(description.encode())).vcpus


# Text


@pytest.mark.parametrize(
    "text",
    [
        b"0x6030000000100040 =" + b" " * 60_000 + b"x",
        b"0x6030000000100040" + b" " * 16_000 + b"x",
        b"A_EL1" * 3000,
        b"CPU#0\nRAX=00000000 RBX=00000000 " + b"1" * 16_000,
        b"CPU#0\nRAX=00000000 RBX=00000000 " + b"A1" * 8_000,
        b"CPU#0\nRAX=00000000 RBX=00000000 " + b"A =" * 5_000,
        b"CPU 0:\n" + b"\n" * (16 << 20) + b"   0x00000000 0x00: eax=0x0 ebx=0x0 ecx=0x0 edx=0x0",
        b"\n" * 60_000 + b"{",
        b" " * 60_000 + b"[",
    ],
)
def test_regular_expressions_end(opened: Callable[[bytes], Capture], text: bytes) -> None:
    try:
        opened(text)
    except Exception as error:  # noqa: BLE001 - its name is what is looked at
        assert type(error).__name__ == "InputError"  # noqa: PT017


def test_more_registers_than_there_are_names_for(opened: Callable[[bytes], Capture]) -> None:
    capture = opened(b"".join(b"0x%016x 0x1\n" % (0x6030000000000000 + n) for n in range(70_000)))
    assert "at most 65536 registers, found more" in first_fault(capture)
    assert len(capture.vcpus[0].areas[0].attributes["ids"]) == 65_536


def test_registers_of_impossible_size(opened: Callable[[bytes], Capture]) -> None:
    """KVM_REG_SIZE_U2048 is the largest; ids of 32 KiB made a gigabyte of a small list."""
    capture = opened(b"0x6030000000100040 0x1\n0x60f0000000100040 0x1\n")
    assert "a register id and a value" in first_fault(capture)
    with pytest.raises(Exception, match="a register id and a value"):
        opened(b'{"0x60f0000000100040": "0x1"}')


def test_wide_json_is_refused_before_it_is_held(opened: Callable[[bytes], Capture]) -> None:
    with pytest.raises(Exception, match="more than 4194304 values"):
        opened(b"[" + b"0," * (1 << 22) + b"0]")


# Firecracker


def test_snapshot_state_full_of_images(opened: Callable[[bytes], Capture]) -> None:
    head = (0x0710198486640000).to_bytes(8, "little")
    mark = b"\x80\x1f\0\0\xff\xff\0\0"
    with pytest.raises(Exception, match="an XSAVE image"):
        opened(head + mark * 250_000)


def test_long_keys_of_a_record_are_refused(opened: Callable[[bytes], Capture]) -> None:
    """tomllib takes hours for a key of a million parts."""
    with pytest.raises(Exception, match="more than 64 dots in line 2"):
        opened(b"cpu_record = 1\n" + b"a." * 400_000 + b"a = 1\n")
    with pytest.raises(Exception, match="nested too deep"):
        opened(b"cpu_record = 1\na = " + b"[" * 100_000)


def test_a_folder_has_a_budget_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspector.readers import folder

    monkeypatch.setattr(folder, "_MAX_BYTES", 1000)
    for number in range(9):
        (tmp_path / f"vcpu{number}.kvm_regs.bin").write_bytes(bytes(144))
    capture = open_capture(str(tmp_path))
    assert sum(len(vcpu.areas) for vcpu in capture.vcpus) == 6
    assert "at most 1000 bytes of members" in str(capture.faults[0])


def test_more_entries_than_a_kernel_gives(tmp_path: Path) -> None:
    from inspector.readers.options import Options

    path = tmp_path / "msrs"
    path.write_bytes(struct.pack("<II", 20_000, 0) + b"".join(struct.pack("<IIQ", n, 0, n) for n in range(20_000)))
    capture = open_capture(str(path), Options(as_format="kvm-msrs"))
    assert "at most 16384 entries, found a count of 20000" in str(capture.faults[0])
    assert "msr.gap[0x40008:0x4e208]" in fields(capture.vcpus[0])
