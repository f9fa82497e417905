"""Cores built here: threads, unknown notes, 32 bits, cut and hostile files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.readers.open import open_capture
from tests.readers.support import thread
from tests.support import SAMPLES, core64, field, note, prstatus64

XSAVE = (SAMPLES / "amx/vcpu-permitted.kvm_xsave2.bin").read_bytes()
LAYOUT = b"".join(struct.pack("<4I", *row) for row in ((2, 256, 576, 0), (9, 8, 2688, 0)))


def write(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "core"
    path.write_bytes(data)
    return str(path)


def test_threads_in_file_order(tmp_path: Path) -> None:
    notes = b"".join(thread(pid, rip=pid * 16) for pid in (7, 3, 5))
    capture = open_capture(write(tmp_path, core64(notes)))
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 7", "thread 3", "thread 5"]
    assert [field(vcpu, "regs.rip").value for vcpu in capture.vcpus] == [112, 48, 80]
    assert not capture.faults


def test_shadow_stack_note(tmp_path: Path) -> None:
    data = core64(thread(1) + note("LINUX", 0x204, (0x7FFF1230).to_bytes(8, "little")))
    assert field(open_capture(write(tmp_path, data)).vcpus[0], "shstk.ssp").value == 0x7FFF1230


def test_unknown_notes_are_raw_and_named(tmp_path: Path) -> None:
    data = core64(thread(1) + note("LINUX", 0x999, b"abcd") + note("VENDOR", 1, b"xyz"))
    vcpu = open_capture(write(tmp_path, data)).vcpus[0]
    assert field(vcpu, "note.LINUX.0x999").data == b"abcd"
    assert field(vcpu, "note.VENDOR.0x1").data == b"xyz"


def test_note_of_unexpected_size_is_raw(tmp_path: Path) -> None:
    notes = note("CORE", 1, prstatus64(1)) + note("CORE", 2, bytes(100))
    vcpu = open_capture(write(tmp_path, core64(notes))).vcpus[0]
    assert [area.layout for area in vcpu.areas] == ["elf-prstatus-x86-64", "raw"]


def test_layout_note_wins_over_the_option(tmp_path: Path) -> None:
    from inspector.readers.options import Options

    data = core64(thread(1) + note("LINUX", 0x205, LAYOUT))
    capture = open_capture(write(tmp_path, data), Options(layout="zen5"))
    assert capture.vcpus[0].area("xsave").attributes["table"].origin == "note NT_X86_XSAVE_LAYOUT"
    assert "--layout zen5 is not used" in capture.notices[0]


def test_without_note_the_layout_is_a_guess_or_named(tmp_path: Path) -> None:
    from inspector.readers.options import Options

    path = write(tmp_path, core64(thread(1)))
    assert open_capture(path).vcpus[0].area("xsave").attributes["table"].guessed
    named = open_capture(path, Options(layout="emerald-rapids"))
    assert named.vcpus[0].area("xsave").attributes["table"].origin == "layout emerald-rapids"
    assert not named.notices


def test_hostile_layout_note_is_a_fault(tmp_path: Path) -> None:
    bad = struct.pack("<4I", 2, 0xFFFFFFFF, 576, 0)
    capture = open_capture(write(tmp_path, core64(thread(1) + note("LINUX", 0x205, bad))))
    assert "no XSAVE image can have" in str(capture.faults[0])
    assert capture.vcpus[0].areas


def test_more_segments_than_the_header_can_count(tmp_path: Path) -> None:
    """PN_XNUM: the number of segments is in section 0."""
    notes = thread(4)
    data = bytearray(core64(notes, phnum=0xFFFF))
    shoff = len(data)
    data[40:48] = shoff.to_bytes(8, "little")
    section = bytearray(64)
    section[44:48] = (1).to_bytes(4, "little")
    capture = open_capture(write(tmp_path, bytes(data + section)))
    assert [vcpu.name for vcpu in capture.vcpus] == ["thread 4"]


def test_32_bit_core(tmp_path: Path) -> None:
    status = bytearray(144)
    struct.pack_into("<i", status, 24, 99)
    struct.pack_into("<I", status, 72 + 4 * 12, 0x08048000)
    notes = note("CORE", 1, bytes(status)) + note("CORE", 2, bytes(108)) + note("LINUX", 0x46E62B7F, bytes(512))
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIIIIIHHHHHH", 4, 3, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    head += struct.pack("<8I", 4, 84, 0, 0, len(notes), 0, 0, 4)
    capture = open_capture(write(tmp_path, head + notes))
    assert capture.vcpus[0].name == "thread 99"
    assert field(capture.vcpus[0], "regs.eip").value == 0x08048000
    assert [area.prefix for area in capture.vcpus[0].areas] == ["prstatus", "fpregs", "fpregs~2"]


def test_cut_memory_is_told_and_registers_are_whole(tmp_path: Path) -> None:
    data = core64(thread(1), loads=((1 << 20, 1 << 30),))
    capture = open_capture(write(tmp_path, data))
    assert "segment 1" in str(capture.faults[0])
    assert field(capture.vcpus[0], "xsave.pkru.pkru").value is not None


def test_memory_is_not_read(tmp_path: Path) -> None:
    """A sparse core of 64 GiB opens like a small one."""
    path = tmp_path / "core"
    path.write_bytes(core64(thread(1), loads=((1 << 20, 64 << 30),)))
    with path.open("r+b") as file:
        file.truncate((1 << 20) + (64 << 30))
    capture = open_capture(str(path))
    assert not capture.faults
    assert field(capture.vcpus[0], "xsave.pkru.pkru").value is not None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": 2}, "expected an ELF core"),
        ({"phnum": 0}, "PT_NOTE"),
        ({"phnum": 60000}, "expected"),
    ],
)
def test_broken_headers(tmp_path: Path, change: dict[str, int], why: str) -> None:
    path = write(tmp_path, core64(thread(1), **change))
    with pytest.raises(InputError, match=why):
        raise open_capture(path).faults[0]


def test_big_endian_is_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(core64(thread(1)))
    data[5] = 2
    with pytest.raises(InputError, match="little-endian"):
        open_capture(write(tmp_path, bytes(data)))


def test_a_core_without_threads_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command: the error that the reader passes on is not its own cause."""
    path = write(tmp_path, core64(note("LINUX", 0x1234, b"none")))
    assert main(["show", path]) == 3
    assert (
        capsys.readouterr().err == f"inspector: {path}: expected a thread (NT_PRSTATUS), found no thread status note\n"
    )


def test_huge_note_sizes_stop_the_scan(tmp_path: Path) -> None:
    bad = struct.pack("<III", 5, 0xFFFFFFF0, 1) + b"CORE\0\0\0\0"
    capture = open_capture(write(tmp_path, core64(thread(1) + bad)))
    assert len(capture.vcpus) >= 1
    assert "of 4294967280 bytes" in str(capture.faults[0])
    bad = struct.pack("<III", 0xFFFFFFF0, 4, 1)
    capture = open_capture(write(tmp_path, core64(thread(1) + bad)))
    assert "name of at most 256 bytes" in str(capture.faults[0])


def test_thousand_threads_list_without_decoding(tmp_path: Path) -> None:
    path = write(tmp_path, core64(b"".join(thread(pid) for pid in range(1000))))
    capture = open_capture(path)
    assert len(capture.vcpus) == 1000
    assert all(vcpu._areas is None for vcpu in capture.vcpus)
    assert field(capture.vcpus[999], "prstatus.pid").value == 999
