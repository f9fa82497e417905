"""Captures go to other formats and come back the same."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.errors import InspectorError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.capture.overlay import Overlay
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable
from inspector.export.core import write_core
from inspector.export.cpuid_text import write_cpuid
from inspector.export.json import write_json
from inspector.export.raw import write_raw
from inspector.export.vcpu import write_vcpu
from inspector.readers.open import open_capture
from inspector.targets import samples
from tests.support import SAMPLES, field, opened


def as_json(capture: object) -> dict[str, object]:
    out = io.StringIO()
    write_json(out, capture, capture.vcpus, [])  # type: ignore[attr-defined, arg-type]
    found = json.loads(out.getvalue())
    del found["target"]
    return found


@pytest.mark.parametrize("name", samples.names())
def test_capture_file_is_lossless(tmp_path: Path, name: str) -> None:
    capture = opened(name)
    path = tmp_path / "x.vcpu"
    with path.open("wb") as out:
        write_vcpu(out, capture)
    again = open_capture(str(path))
    assert as_json(again) == as_json(capture)
    second = io.BytesIO()
    again.target = capture.target
    write_vcpu(second, again)
    assert second.getvalue() == path.read_bytes()


def test_capture_file_of_a_cut_file_stays_partial(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes((SAMPLES / "amx/process.core").read_bytes()[:6000])
    path = tmp_path / "x.vcpu"
    with path.open("wb") as out:
        write_vcpu(out, open_capture(str(cut)))
    again = open_capture(str(path))
    assert again.partial
    assert field(again.vcpus[0], "xsave.xtiledata.tmm[7]").value is None


def test_capture_file_keeps_edits(tmp_path: Path) -> None:
    capture = opened("amx/process.core")
    table = FieldTable(capture.vcpus[0].area("xsave"))
    set_field(Overlay(), table, table.find("xsave.pkru.pkru")[0], "0x77")
    path = tmp_path / "x.vcpu"
    with path.open("wb") as out:
        write_vcpu(out, capture)
    assert field(open_capture(str(path)).vcpus[0], "xsave.pkru.pkru").value == 0x77


def test_newer_version_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "x.vcpu"
    path.write_bytes(b'{"vcpu_capture": 2}\n')
    with pytest.raises(InspectorError, match="version 2"):
        open_capture(str(path))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_capture_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    out = io.BytesIO()
    write_vcpu(out, opened("zen5"))
    raw = bytearray(out.getvalue())
    head = raw.index(b"\n")
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(20, len(raw) - 1)) :]
    else:
        limit = data.draw(st.sampled_from([head, len(raw) - 1]))
        raw[data.draw(st.integers(18, limit))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("vcpu") / "x"
    path.write_bytes(raw)
    with contextlib.suppress(InspectorError):
        as_json(open_capture(str(path)))


@pytest.mark.parametrize("name", ["amx/process.core", "zen5-threads/xcore.core.gz"])
def test_core_round_trip(tmp_path: Path, name: str) -> None:
    capture = opened(name)
    path = tmp_path / "small.core"
    with path.open("wb") as out:
        write_core(out, capture)
    again = open_capture(str(path))
    assert not again.faults
    for before, after in zip(capture.vcpus, again.vcpus, strict=True):
        assert [bytes(area.data) for area in before.areas] == [bytes(area.data) for area in after.areas]
    tables = [each.vcpus[0].area("xsave").attributes["table"] for each in (capture, again)]
    assert tables[0].rooms == tables[1].rooms


@pytest.mark.parametrize(
    "name",
    [
        "amx",
        "zen5/cpuid-r.txt",
        "arm64-kvm/max-linux-7.2.13.regs",
        "qemu-amx-apx/migration-stream.gz",
        "qemu-amx-apx/info-registers.txt.gz",
        "templates/graviton3-as-graviton2.json",
    ],
)
def test_only_cores_become_cores(name: str) -> None:
    with pytest.raises(InspectorError, match="only what came from an ELF core"):
        write_core(io.BytesIO(), opened(name))


@pytest.mark.parametrize(
    "attributes", [{}, {"note_type": 1}, {"note_owner": "CORE"}, {"note_owner": "\u0100", "note_type": 1},
                   {"note_owner": "CORE", "note_type": -1}, {"note_owner": "CORE", "note_type": 1 << 32}],
)  # fmt: skip
def test_notes_that_no_core_can_hold(attributes: dict[str, object]) -> None:
    area = Area("raw", "p", "t", b"", Origin("f", 0), attributes=attributes)
    good = Area("raw", "p", "t", b"", Origin("f", 0), attributes={"note_owner": "CORE", "note_type": 1})
    for vcpus, context in (([area], []), ([], []), ([good], [area])):
        capture = Capture("t", "vcpu", [Vcpu(0, "v", "x86", vcpus)], context=context)
        with pytest.raises(InspectorError, match="only what came from an ELF core"):
            write_core(io.BytesIO(), capture)


@pytest.mark.parametrize("name", ["amx", "zen5-kvm", "skylake-x"])
def test_raw_round_trip(tmp_path: Path, name: str) -> None:
    capture = opened(name)
    folder = tmp_path / "raw"
    for written in write_raw(str(folder), capture):
        assert (folder / written).read_bytes() == (SAMPLES / name / written).read_bytes()
    again = open_capture(str(folder))
    assert [vcpu.name for vcpu in again.vcpus] == [vcpu.name for vcpu in capture.vcpus]


def test_raw_of_a_core_opens_as_vcpus(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    write_raw(str(folder), opened("amx/process.core"))
    again = open_capture(str(folder))
    assert field(again.vcpus[0], "xsave.pkru.pkru").value == 0x55555554


def test_cpuid_round_trip() -> None:
    out = io.StringIO()
    write_cpuid(out, opened("zen5/cpuid-r.txt"))
    original = (SAMPLES / "zen5/cpuid-r.txt").read_text()
    assert out.getvalue().splitlines()[1:] == original.splitlines()[1:]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "inspector", "convert", "sample:amx", "--to", "vcpu", "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "already there" in done.stderr
    assert path.read_text() == "mine"
