"""Values that no program writes: each is one line or a fault, never a traceback, also where a field is made late."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import cbor2
import pytest

from inspector.capture.errors import InputError
from inspector.readers import vcpu_file
from inspector.readers.open import open_capture, read_source
from inspector.readers.options import Options
from inspector.readers.source import unpacked
from tests.fuzz import seeds
from tests.fuzz.loop import alarms
from tests.fuzz.targets import BytesSource, run
from tests.support import fields

CASES = Path(__file__).parents[3] / "shared/findings/robustness-cases.tar.xz"


def opened(data: bytes | dict[str, Any] | list[Any]) -> Any:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_source(unpacked(BytesSource(raw)), Options())


def refused(data: bytes | dict[str, Any] | list[Any]) -> str:
    with pytest.raises(InputError) as caught:
        opened(data)
    assert str(caught.value).isprintable()
    return str(caught.value)


# Names in the description of a QEMU stream


def described(*names: str, size: int = 8) -> Any:
    rows = [{"name": name, "type": "uint64", "size": size} for name in ("env.eip", *names)]
    device = {"name": "cpu", "instance_id": 0, "vmsd_name": "cpu", "version": 12, "fields": rows}
    return opened(seeds.stream(json.dumps({"devices": [device]}).encode()))


@pytest.mark.parametrize(
    "name",
    [
        *("env.segs[99].base", "env.segs[x].base", "env.segs[].base", "env.segs", "env.segs[3]"),
        *("env.segs[-1].base", "env.segs[²].base"),
        *("env.fpregs[x]", "env.fpregs", "env.fpregs[8]", "env.bnd_regs[x].lb", "env.bnd_regs[9].ub", "env.bnd_regs"),
        f"env.fpregs[{'9' * 200}]",
    ],
)
def test_indices_that_are_none_keep_qemu_s_name(name: str) -> None:
    found = fields(described(name).vcpus[0])
    assert f"qemu.{name.removeprefix('env.')}" in found


def test_lone_surrogates_become_visible() -> None:
    half = "\ud800"
    assert "qemu.\\ud800" in fields(described(f"env.{half}").vcpus[0])
    state = b'{"vcpu_id": "%s", "regs": {"rax": 1}, "debug_regs": {}}'
    for escaped, shown in (
        (b"\\ud800", "\\ud800"),
        # A pair is a character, and an escaped backslash is no escape.
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"\\\\ud800", "\\ud800"),
    ):
        assert opened(state % escaped).vcpus[0].name == f"vcpu {shown}"
    # A capture file is faithful: what leaves the program is made visible there.
    assert run(seeds.own()[0].replace(b'"cpu 0"', b'"a\\ud800b"'))
    assert opened(seeds.own()[0].replace(b'"cpu 0"', b'"a\\ud800b"')).vcpus[0].name == "a\ud800b"
    assert "no utf-8 at offset" in refused(b'{"return": "\xed\xa0\x80"}')


# The capture file


@pytest.mark.parametrize("attribute", ["ids", "fields", "named", "rows"])
def test_layouts_need_their_attributes(attribute: str) -> None:
    (seed,) = [data for data in seeds.own() if f'"{attribute}"'.encode() in data]
    assert f"without its {attribute}" in refused(seed.replace(f'"{attribute}"'.encode(), b'"other"'))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"offset": 3', b'"offset": [1]', "offset: [1]"),
        (b'"offset": 3', b'"offset": "3"', "offset: '3'"),
        (b'"offset": 3', b'"offset": -3', "offset: -3"),
        (b'"word_bytes": 8', b'"word_bytes": 0', "word_bytes: 0 is not 4 or 8"),
        (b'"note_type": 6', b'"note_type": 4294967296', "note_type"),
        (b'["regs.rax", "uint", 8]', b'["regs.rax", "f64", 1]', "named"),
        (b'"ids": [6', b'"ids": [null, 6', "ids: None is not a register id"),
        (b"[9, 8, 2688, false]", b"[2, 8, 2688, false]", "two rooms of component 2"),
        (b'"index": 0, "name"', b'"index": 99999999999999999999, "name"', "index"),
        (b'"cpu", "env.eip", "", 0, 8, 1', b'"cpu", "env.eip", "", 0, 8, 4000000000', "elements"),
    ],
)
def test_wrong_values_of_a_capture_file(old: bytes, new: bytes, words: str) -> None:
    (seed,) = [data for data in seeds.own() if old in data][:1]
    assert words in refused(seed.replace(old, new))


# JSON of VMMs and QMP


@pytest.mark.parametrize("count", ["x", None, [], 1.5, -1, 1 << 70])
def test_a_count_of_xcrs_that_is_none(count: Any) -> None:
    xcrs = {"nr_xcrs": count, "xcrs": [{"xcr": 0, "value": 7}]}
    assert "xcr.xcr0" not in fields(opened({"vcpu_id": 0, "regs": {"rax": 1}, "debug_regs": {}, "xcrs": xcrs}).vcpus[0])


@pytest.mark.parametrize("member", ["msrs", "xcrs"])
def test_numbers_of_msrs_and_xcrs_beyond_32_bits(member: str) -> None:
    state = {"vcpu_id": 0, "regs": {"rax": 1}, "debug_regs": {}, member: {str(1 << 32): 1}}
    assert "regs.rax" in fields(opened(state).vcpus[0])


def test_firecracker_msrs_beyond_their_widths() -> None:
    assert "an MSR number of 32 bits" in refused({"msr_modifiers": [{"addr": hex(1 << 32), "bitmap": "0b1"}]})
    assert "a bitmap of 64" in refused({"msr_modifiers": [{"addr": "0x10", "bitmap": "0b1" + 64 * "x"}]})
    assert "a KVM register id" in refused({"reg_modifiers": [{"addr": "0x60f0000000000000", "bitmap": "0b1"}]})


def test_cbor_numbers_of_thousands_of_digits() -> None:
    state = {"vcpu_id": 1 << 20_000, "regs": {"rax": 1}, 1 << 20_000: [1]}
    capture = opened(cbor2.dumps(state))
    assert capture.vcpus[0].name == "vcpu a number of 20001 bits"
    assert "a vCPU snapshot" in refused(cbor2.dumps({"vcpus": [1 << 20_000]}))


@pytest.mark.parametrize("text", ["²", "9" * 5000, "१२", "-1", "1e9"])
def test_qmp_texts_that_are_no_number(text: str) -> None:
    found = fields(opened({"return": {"model": {"name": "m", "props": {"n": text, "k": "12"}}}}).vcpus[0])
    assert found["props.n"].value == 0
    assert found["props.n"].text == text
    assert found["props.k"].value == 12


def test_deep_and_broken_json() -> None:
    assert "nested too deep" in refused(b"[" * 100_000)
    assert "found a number of thousands of digits" in refused(b'{"return": ' + b"9" * 5000 + b"}")
    assert "found a number of thousands of digits" in refused(b"cpu_record = " + b"9" * 5000)


# Text


def test_more_digits_than_python_reads() -> None:
    digits = b"9" * 5000
    capture = opened(b"0x6030000000100040 = 1\n0x6030000000100042 = " + digits)
    assert "a register id and a value" in str(capture.faults[0])
    assert opened(b"CPU#" + digits + b"\nRAX=0000000000000001 RBX=0000000000000002\n").vcpus
    assert opened(b"RAX=0000000000000001 RBX=0000000000000002\nR" + digits + b"=1\n").vcpus
    assert refused(b"CPU " + digits + b":\n   0x00000000 0x00: eax=0x0 ebx=0x0 ecx=0x0 edx=0x0")
    line = b"_________________ Logical CPU #0 _________________\nbasic_cpuid[%s]=0 0 0 0\nbasic_cpuid[0]=1 2 3 4\n"
    assert len(opened(line % b"99999999999").vcpus[0].areas[0].data) == 48


@pytest.mark.parametrize(
    ("text", "value", "is_told"),
    [
        (b"0x6030000000100040 = 0010", 0x10, True),
        (b"0x6030000000100040 = 10", 10, False),
        (b"0x6030000000100040 = 0", 0, False),
        (b"0x6030000000100040 = 0x0010", 0x10, False),
        (b"0x6030000000100040 = c", 12, True),
        (b"0x6030000000100040 = 00000000000000ff", 0xFF, True),
        # One padded value tells how all of a list are printed.
        (b"0x6030000000100040 = 1000000000000000\n0x6030000000100042 = 0000000000000001", 1 << 60, True),
        (b"0x6030000000100040 = 18446744073709551615", (1 << 64) - 1, False),
    ],
)
def test_values_without_0x(text: bytes, value: int, *, is_told: bool) -> None:
    capture = opened(text)
    assert fields(capture.vcpus[0])["core.pc"].value == value
    assert any("read as hexadecimal" in notice for notice in capture.notices) == is_told


# Memory


def test_a_packed_list_of_lists_under_1_gib(tmp_path: Path) -> None:
    """90 MB of ``[],`` in 400 KB: once a MemoryError after ten seconds."""
    path = tmp_path / "lists.gz"
    path.write_bytes(gzip.compress(b"[" + b"[]," * (30 << 20) + b"[]]", 1))
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    limited += "from inspector.cli.main import main; sys.exit(main(['show', sys.argv[1]]))"
    done = subprocess.run([sys.executable, "-c", limited, path], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == f"inspector: {path}: expected at most 67108864 bytes, found more\n"


def test_capture_files_have_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcpu_file, "MAX_SIZE_BYTES", 1 << 20)
    assert "a capture file of at most 1048576 bytes" in refused(seeds.own()[0] + bytes(2 << 20))
    monkeypatch.setattr(vcpu_file, "_MAX_BLOBS", 10)
    assert "at most 10 blobs" in refused(seeds.own()[0] + b"\n" * 20)


def test_blobs_beyond_an_area_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcpu_file, "AREA_LIMIT_BYTES", 16)
    capture = opened(seeds.own()[0])
    assert "blob 0 of at most 32 bytes" in str(capture.faults[-1])


def test_memory_that_runs_out_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspector.readers import json_file

    def burst(_data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(json_file, "parse_json", burst)
    path = tmp_path / "f"
    path.write_bytes(b"{}")
    with pytest.raises(InputError, match="expected what fits into the memory of this process"):
        open_capture(str(path))


# What a review found, where it lies beside the checkout


@pytest.mark.skipif(not CASES.exists(), reason="no shared folder beside the checkout")
@pytest.mark.parametrize("part", range(8))
def test_files_that_once_failed(part: int) -> None:
    with tarfile.open(CASES) as archive, alarms() as clock:
        small = [member for member in archive if member.isfile() and member.size < 400_000]
        members = [member for member in small if "bomb" not in member.name and not member.name.endswith(".keys")]
        for member in members[part::8]:
            held = archive.extractfile(member)
            assert held is not None
            clock.start()
            run(held.read())


@pytest.mark.parametrize(
    "text",
    [
        '{"reg_modifiers": [{"addr": true, "bitmap": "0b1"}]}',
        '{"msr_modifiers": [{"addr": true, "bitmap": "0b1"}]}',
        '{"0x603000000013c020": true}',
    ],
)
def test_true_is_no_number(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError):
        open_capture(str(path))
