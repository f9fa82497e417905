"""What a capture as a whole says of single fields: PKRU that may be stale, XSTATE_BV that is XINUSE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from inspector.capture.host import Host
from inspector.capture.model import Area, Capture
from inspector.cli.main import main
from inspector.decode.notes import Note, notes_of
from inspector.readers.open import open_capture
from tests.support import SAMPLES, opened

PKRU, BV = "xsave.pkru.pkru", "xsave.header.xstate_bv"
SCENES = sorted(path.name.removesuffix(".core.gz") for path in (SAMPLES / "emerald-rapids").glob("*.core.gz"))


def first_notes(capture: Capture) -> Mapping[str, Note]:
    return notes_of(capture, capture.vcpus[0])


def patched(area: Area, offset: int, data: bytes) -> None:
    """Other bytes in an area."""
    raw = bytearray(area.data)
    raw[offset : offset + len(data)] = data
    area.data = bytes(raw)


@pytest.mark.parametrize("scene", SCENES)
def test_pkru_is_doubted_where_the_register_had_another_value(scene: str) -> None:
    """The recordings know the register: no stale value passes without the note."""
    capture = opened(f"emerald-rapids/{scene}.core.gz")
    threads = json.loads((SAMPLES / "emerald-rapids" / f"{scene}.json").read_text())["threads"]
    for vcpu, thread in zip(capture.vcpus, threads, strict=True):
        noted = PKRU in notes_of(capture, vcpu)
        assert noted == (len(threads) == 1)
        if thread.get("pkru_register") not in (None, thread["pkru"]):
            assert noted


def test_threads_that_waited_for_each_other_are_not_doubted() -> None:
    capture = opened("emerald-rapids/threads.core.gz")
    assert all(PKRU not in notes_of(capture, vcpu) for vcpu in capture.vcpus)
    assert all(BV in notes_of(capture, vcpu) for vcpu in capture.vcpus)


def test_a_core_that_no_signal_caused_is_not_doubted() -> None:
    """As gdb's gcore writes of a thread that it stopped: that is a switch."""
    capture = opened("emerald-rapids/full.core.gz")
    prstatus = next(area for area in capture.vcpus[0].areas if area.layout.startswith("elf-prstatus"))
    patched(prstatus, 12, bytes(2))
    assert PKRU not in first_notes(capture)
    assert BV in first_notes(capture)


def test_a_core_of_gdb_is_not_doubted() -> None:
    capture = opened("emerald-rapids/full.core.gz")
    origin = capture.vcpus[0].areas[0].origin
    described = Area("raw", "note.GDB", "NT_GDB_TDESC", b"<target/>", origin, attributes={"note_owner": "GDB"})
    capture.context.append(described)
    assert PKRU not in first_notes(capture)


@pytest.mark.parametrize(("release", "noted"), [("5.13.19", False), ("5.14", True), ("6.18.44", True), ("", True)])
def test_kernels_that_keep_pkru_in_the_image_are_not_doubted(release: str, noted: bool) -> None:
    capture = opened("emerald-rapids/full.core.gz")
    capture.host = Host(kernel=release)
    assert (PKRU in first_notes(capture)) == noted


def test_a_pkru_that_was_not_in_use_was_zero() -> None:
    capture = opened("emerald-rapids/full.core.gz")
    image = capture.vcpus[0].area("xsave")
    assert image is not None
    patched(image, 512, (0x600E7).to_bytes(8, "little"))
    assert PKRU not in first_notes(capture)


def test_zero_tiles_in_use_are_said_to_be_normal() -> None:
    notes = first_notes(opened("emerald-rapids/tilezero.core.gz"))
    assert "xtiledata is in use and zero, which is normal" in notes[BV].text
    assert "xstate.xtiledata.in_use" in notes
    full = first_notes(opened("emerald-rapids/full.core.gz"))
    assert "XINUSE" in full[BV].text
    assert "zero" not in full[BV].text


@pytest.mark.parametrize(
    "name", ["amx", "zen5-kvm", "qemu-amx-apx/guest-memory.elf.gz", "arm64-threads/max-72.core.gz"]
)
def test_what_is_no_core_of_an_x86_process_has_no_notes(name: str) -> None:
    capture = opened(name)
    assert all(not notes_of(capture, vcpu) for vcpu in capture.vcpus)


def test_the_note_outlives_a_conversion(tmp_path: Path) -> None:
    path = tmp_path / "full.vcpu"
    assert main(["convert", "sample:emerald-rapids/full.core.gz", "--to", "vcpu", "-o", str(path)]) == 0
    assert PKRU in first_notes(open_capture(str(path)))


def test_show_says_it_at_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["show", "sample:amx/process.core", "--field", PKRU, "--field", "xsave.legacy.mxcsr"]
    main(words)
    text = capsys.readouterr().out
    assert "note: may be stale: Linux 5.14" in text
    main([*words, "--json"])
    (vcpu,) = json.loads(capsys.readouterr().out)["vcpus"]
    by_path = {field["path"]: field for field in vcpu["fields"]}
    assert by_path[PKRU]["note"].startswith("may be stale")
    assert "note" not in by_path["xsave.legacy.mxcsr"]
