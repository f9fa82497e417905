"""Formats that are known but not read: each is named, with what to do instead."""

from __future__ import annotations

import bz2
import struct
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.readers.open import open_capture
from layouts.files.foreign import MAGIC, TEXT
from tests.readers.support import stream
from tests.support import SAMPLES, core64, fields, note, opened

MAGIC_EXAMPLES = {
    "an LZ4 frame": b"\x04\x22\x4d\x18\x64\x40\xa7" + bytes(100),
    "a legacy LZ4 file": b"\x02\x21\x4c\x18" + bytes(100),
    "an lzop file": b"\x89LZO\0\r\n\x1a\n" + bytes(100),
    "a framed Snappy file": b"\xff\x06\0\0sNaPpY" + bytes(100),
    "a zip archive": b"PK\x03\x04" + bytes(100),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c" + bytes(100),
    "a tar archive": b"dump.elf".ljust(257, b"\0") + b"ustar\x0000" + bytes(255),
    "a further channel of a multifd": b"\x11\x22\x33\x44" + (1).to_bytes(4, "big") + bytes(1 << 17),
    "a libvirt save image that was never": b"LibvirtQemudPart" + struct.pack("<5I", 2, 10, 1, 0, 0) + bytes(100),
    "a VMware disk": b"KDMV\1\0\0\0" + bytes(504),
    "a VirtualBox disk": b"<<< Oracle VM VirtualBox Disk Image >>>\n" + bytes(500),
    "a crash dump of a 32-bit Windows": b"PAGEDUMP" + bytes(8192),
    "a VirtualBox saved state": b"\x7fVirtualBox SavedState V2.0\n" + bytes(200),
    "a VMware suspended state": b"\xd2\xbe\xd2\xbe\x08\0\0\0" + bytes(300),
    "a Xen save image": b"LibxenFmt" + bytes(300),
    "a perf recording": b"PERFILE2" + bytes(300),
}
TEXT_EXAMPLES = {
    "libvirt host capabilities": "<capabilities>\n\n  <host>\n  </host>\n</capabilities>\n",
    "libvirt domain XML": "<domain type='kvm'>\n  <name>vm</name>\n  <cpu mode='host-model'/>\n</domain>\n",
    "CPU models in libvirt's XML": '<cpus>\n  <cpu type="kvm" name="a-v1" usable="yes">\n  </cpu>\n</cpus>\n',
    "a QEMU -cpu line with writable": "-cpu host,SYSREG_ID_AA64PFR0_EL1_EL2=0,SYSREG_ID_AA64ISAR0_EL1_SM4=0\n",
    "a QEMU -cpu line": "-cpu neoverse-v1,sve=off\n",
    "the explained output of cpuid": 'CPU:\n   vendor_id = "GenuineIntel"\n   version information (1/eax):\n',
    "the text of QEMU's `info lapic`": "dumping local APIC state for CPU 0 \n\nLVT0\t 0x00010700 active-hi\n",
    "registers as VirtualBox's log": "00:00:12.1 rax=0000000000000000 rbx=0000000000000000 rcx=0000000000000000\n",
    "`info registers` of a 32-bit Arm CPU": "CPU#0\nR00=00000e00 R01=11111111 R02=22222222 R03=33333333\n",
    "gdb's registers of a 32-bit Arm": "r0             0xe00   3584\nr1             0x1  1\ncpsr           0x10  16\n",
    "registers of a RISC-V CPU": " x0/zero  0000000000000000 x1/ra    0000000080000400 x2/sp 0000000000000000\n",
}


def test_every_row_has_an_example() -> None:
    for rows, examples in ((MAGIC, MAGIC_EXAMPLES), (TEXT, TEXT_EXAMPLES)):
        assert len(rows) == len(examples)
        for row, start in zip(rows, examples, strict=True):
            assert row.name.startswith(start)
            assert row.advice
            assert row.source


@pytest.mark.parametrize("name", [*MAGIC_EXAMPLES, *TEXT_EXAMPLES])
def test_it_is_named(tmp_path: Path, name: str) -> None:
    example = MAGIC_EXAMPLES.get(name) or TEXT_EXAMPLES[name].encode()
    path = tmp_path / "file"
    path.write_bytes(example)
    with pytest.raises(InputError) as caught:
        open_capture(str(path))
    assert f"found {name}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.core"))[:3] + sorted(SAMPLES.rglob("info-registers*"))[:2])
def test_nothing_that_is_read_is_refused(path: Path) -> None:
    assert opened(str(path.relative_to(SAMPLES))).vcpus


def test_bzip2_is_unpacked(tmp_path: Path) -> None:
    plain, packed = tmp_path / "core", tmp_path / "core.bz2"
    plain.write_bytes((SAMPLES / "zen5/process-4-threads.core").read_bytes())
    packed.write_bytes(bz2.compress(plain.read_bytes()))
    for ours, theirs in zip(open_capture(str(packed)).vcpus, open_capture(str(plain)).vcpus, strict=True):
        assert {p: f.value for p, f in fields(ours).items()} == {p: f.value for p, f in fields(theirs).items()}
    packed.write_bytes(packed.read_bytes()[:-3000])
    with pytest.raises(InputError, match="more compressed data"):
        open_capture(str(packed))


def test_libvirt_save_with_bzip2_and_with_lzop(tmp_path: Path) -> None:
    xml = b"<domain/>\0"
    head = b"LibvirtQemudSave" + struct.pack("<5I", 2, len(xml), 1, 2, 0) + bytes(56)
    path = tmp_path / "save"
    path.write_bytes(head + xml + bz2.compress(stream("qemu-turin")))
    assert fields(open_capture(str(path)).vcpus[0])["regs.rax"].value == 0x0101010101010101
    head = b"LibvirtQemudSave" + struct.pack("<5I", 2, len(xml), 1, 4, 0) + bytes(56)
    path.write_bytes(head + xml + MAGIC_EXAMPLES["an lzop file"])
    with pytest.raises(InputError, match="lzop"):
        open_capture(str(path))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"return": [{"cpu-index": 0, "thread-id": 1, "target": "x86_64"}]}', "query-cpus-fast: 1 CPUs"),
        ('[{"cpu-index": 0, "qom-path": "/machine"}]', "query-cpus-fast: 1 CPUs"),
        ('{"error": {"class": "GenericError", "desc": "The type is not supported"}}', "GenericError The type is not"),
    ],
)
def test_answers_of_qmp_without_a_model(tmp_path: Path, answer: str, said: str) -> None:
    path = tmp_path / "answer.json"
    path.write_text(answer)
    with pytest.raises(InputError, match=said):
        open_capture(str(path))


def test_elf_cores_of_other_machines(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core64(note("CORE", 1, bytes(148)), machine=40))
    with pytest.raises(InputError, match="32-bit Arm"):
        open_capture(str(path))
    notes = note("CORE", 1, bytes(376)) + note("LINUX", 0x900, bytes(8)) + note("LINUX", 0x901, bytes(64))
    path.write_bytes(core64(notes, machine=243))
    capture = open_capture(str(path))
    assert "registers of riscv are not decoded" in capture.notices[0]
    assert [area.title for area in capture.vcpus[0].areas] == ["NT_PRSTATUS", "NT_RISCV_CSR", "NT_RISCV_VECTOR"]


def test_a_raw_folder_of_a_stream_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "cpu-0.cpu.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match="convert --to vcpu"):
        open_capture(str(tmp_path))


def qcow2(state: bytes, *, bits: int = 12, v3: bool = True) -> bytes:
    """An image of one cluster of disk with snapshots ``first`` (no VM state) and ``second`` (this one)."""
    cluster = 1 << bits
    per_table = cluster // 8
    base = per_table  # the first guest cluster behind the disk's end, in whole L2 tables
    count = -(-len(state) // cluster)
    tables = -(-count // per_table)
    l1_at, l2_at = 2 * cluster, 3 * cluster
    data_at = l2_at + tables * cluster
    l1 = [0] * (base // per_table) + [l2_at + n * cluster | 1 << 63 for n in range(tables)]
    l2 = [data_at + n * cluster | 1 << 63 for n in range(count)]
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3 if v3 else 2, 0, 0, bits, cluster, 0, 0, 0, 0, 0, 2, cluster)
    extra = struct.pack(">QQ", len(state), cluster) if v3 else b""
    table = b""
    for name, l1_size, size, more in ((b"first", 0, 0, b""), (b"second", len(l1), len(state), extra)):
        row = struct.pack(">QIHHIIQII", l1_at, l1_size, 1, len(name), 0, 0, 0, size, len(more)) + more + b"1" + name
        table += row.ljust(-(-len(row) // 8) * 8, b"\0")
    body = header.ljust(104, b"\0").ljust(cluster, b"\0") + table.ljust(cluster, b"\0")
    body += b"".join(struct.pack(">Q", entry) for entry in l1).ljust(cluster, b"\0")
    body += b"".join(struct.pack(">Q", entry) for entry in l2).ljust(tables * cluster, b"\0")
    return body + state.ljust(count * cluster, b"\0")


@pytest.mark.parametrize("v3", [False, True])
def test_internal_snapshot_of_a_qcow2(tmp_path: Path, v3: bool) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2(stream("qemu-turin"), v3=v3))
    capture = open_capture(str(path))
    assert capture.format == "qcow2-snapshot"
    assert "snapshot second" in capture.notices[0]
    ours, theirs = fields(capture.vcpus[0]), fields(opened("qemu-turin/migration-stream.gz").vcpus[0])
    assert {p: f.value for p, f in ours.items()} == {p: f.value for p, f in theirs.items()}


def test_damaged_and_empty_qcow2(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    whole = qcow2(stream("qemu-turin"))
    for damaged in (whole[:50], whole[:4100], whole[:8200], whole[:12400], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            open_capture(str(path))
    for at, value in ((23, 30), (79, 4), (4096 + 39, 0xFF), (8192, 0x40), (4096 + 8, 0)):
        flipped = bytearray(whole)
        flipped[at] = value
        path.write_bytes(flipped)
        try:
            open_capture(str(path))
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
    path.write_bytes(qcow2(b""))
    with pytest.raises(InputError, match="2 snapshots, none with VM state"):
        open_capture(str(path))
