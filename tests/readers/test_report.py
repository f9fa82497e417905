"""Reports that somebody changed: what is sound of them opens, the rest is one line."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.decode.fields import FieldTable
from inspector.readers.open import open_capture
from inspector.readers.report import BLOCK_BEGIN, BLOCK_END, MAGIC


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("report") / "case.html"
    targets = ["sample:amx", "sample:amx/process.core"]
    assert main(["report", *targets, "-o", str(path)]) == 0
    return path.read_bytes()


def block(data: bytes) -> bytes:
    return BLOCK_BEGIN + base64.b64encode(data) + BLOCK_END


def written(folder: Path, data: bytes) -> str:
    path = folder / "changed.html"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (MAGIC.encode(), "expected a capture inside the report, found none"),
        (MAGIC.replace("report 1", "report 2").encode(), "expected a report of version 1"),
        (MAGIC.replace("report 1", "report").encode(), "expected a report of version 1"),
        (MAGIC.encode() + BLOCK_BEGIN + b"!!" + BLOCK_END, "expected base64"),
        (MAGIC.encode() + BLOCK_BEGIN, "expected the end of the capture inside"),
        (MAGIC.encode() + block(b""), "expected a capture file inside the report, found nothing"),
        (MAGIC.encode() + block(MAGIC.encode()), "expected a capture file inside the report"),
        (MAGIC.encode() + block(b'{"vcpu_capture":1'), "expected a JSON header line"),
        (MAGIC.encode() + block(gzip.compress(b'{"vcpu_capture":99}\n')), "version 99"),
        (MAGIC.encode() + block(gzip.compress(b'{"vcpu_capture":1')[:-9]), "changed.html"),
    ],
)
def test_what_is_none_is_one_line(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_capture(written(tmp_path, data))
    assert words in str(error.value)
    assert str(error.value).isprintable()


def test_one_damaged_capture_of_two_is_a_fault(page: bytes, tmp_path: Path) -> None:
    at = page.find(BLOCK_BEGIN) + len(BLOCK_BEGIN)
    capture = open_capture(written(tmp_path, page[:at] + b"%" + page[at + 1 :]))
    assert len(capture.vcpus) == 1
    assert capture.faults[0].offset == at


def test_the_end_cut_off_leaves_what_was_before(page: bytes, tmp_path: Path) -> None:
    last = page.rfind(BLOCK_BEGIN)
    capture = open_capture(written(tmp_path, page[: last + 100]))
    assert len(capture.vcpus) == 2
    assert capture.partial


def test_too_many_captures_are_a_fault(tmp_path: Path) -> None:
    small = block(gzip.compress(b'{"vcpu_capture":1,"format":"x","vcpus":[]}\n', mtime=0))
    capture = open_capture(written(tmp_path, MAGIC.encode() + small * 40))
    assert "at most 16 captures" in str(capture.faults[0])


def test_a_bomb_ends_in_one_line(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"vcpu_capture":1,"vcpus":[]}\n' + bytes(300 << 20), 1, mtime=0)
    with pytest.raises(InputError, match="at most 268435456 bytes"):
        open_capture(written(tmp_path, MAGIC.encode() + block(bomb)))


@pytest.mark.parametrize(
    "rows",
    [
        [["pointer", 0, 8], ["pointer", 4, 8]],
        [["pointer", 8, 8], ["pointer", 0, 8]],
        [["other", 0, 8]],
        [["pointer", -1, 8]],
        [["pointer", 0, 1 << 40]],
        [["pointer", 0]],
        ["pointer"],
    ],
)
def test_dropped_bytes_have_to_be_sound(rows: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dropped"):
        open_capture(written(tmp_path, MAGIC.encode() + block(_vcpu_with(rows))))


def test_dropped_bytes_beyond_the_area_are_no_field(tmp_path: Path) -> None:
    capture = open_capture(written(tmp_path, MAGIC.encode() + block(_vcpu_with([["pointer", 8, 1 << 30]]))))
    found = {field.path: field for field in FieldTable(capture.vcpus[0].areas[0])}
    assert found["regs.rax"].value == 0
    assert found["regs.rbx"].text == "not captured (dropped: pointer)"


def _vcpu_with(rows: object) -> bytes:
    """A capture file of one structure with these rows of dropped bytes."""
    import hashlib

    data = bytes(144)
    area = {
        "layout": "kvm-regs",
        "prefix": "regs",
        "title": "t",
        "file": "f",
        "offset": 0,
        "declared_size_bytes": len(data),
        "attributes": {"dropped": rows},
        "blob": 0,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    vcpu = {"index": 0, "name": "vcpu", "arch": "x86", "areas": [area]}
    header = json.dumps({"vcpu_capture": 1, "format": "x", "vcpus": [vcpu]}, separators=(",", ":")).encode()
    return gzip.compress(header + b"\n" + base64.b64encode(data) + b"\n", mtime=0)
