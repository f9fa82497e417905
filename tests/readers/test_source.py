from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.errors import InputError
from inspector.readers.open import open_capture
from inspector.readers.source import open_source
from inspector.targets.schemes import capture_of
from tests.readers.support import PACKERS
from tests.support import SAMPLES, field

CORE = (SAMPLES / "amx/process.core").read_bytes()


@pytest.mark.parametrize("packing", PACKERS)
def test_compressed_files_read_alike(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "anything"
    path.write_bytes(PACKERS[packing](CORE))
    source = open_source(str(path))
    assert source.read(0, 1 << 30) == CORE
    assert source.read(512, 64) == CORE[512:576]
    assert source.read(len(CORE), 10) == b""
    assert source.size == len(CORE)
    assert field(open_capture(str(path)).vcpus[0], "xsave.pkru.pkru").value == 0x55555554


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_several_members_follow_each_other(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "two"
    pack = PACKERS[packing]
    path.write_bytes(pack(CORE[:1000]) + pack(CORE[1000:]))
    assert open_source(str(path)).read(0, 1 << 30) == CORE


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["gz", "xz", "zst"]), st.data())
def test_damaged_compression_is_a_fault(
    tmp_path_factory: pytest.TempPathFactory, packing: str, data: st.DataObject
) -> None:
    packed = bytearray(PACKERS[packing](CORE))
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(6, len(packed) - 1)) :]
    else:
        packed[data.draw(st.integers(6, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("packed") / "f"
    path.write_bytes(packed)
    source = open_source(str(path))
    read = source.read(0, 1 << 30)
    assert source.fault is not None or read == CORE or len(read) == len(CORE)


def test_only_what_is_asked_for_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    source = open_source(str(path))
    source.read(0, 100)
    assert source._have <= 1 << 19  # type: ignore[attr-defined]


def test_a_pipe_is_read_as_far_as_needed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def feed() -> None:
        with path.open("wb") as out:
            out.write(CORE)

    writer = threading.Thread(target=feed)
    writer.start()
    capture = open_capture(str(path))
    writer.join()
    assert field(capture.vcpus[0], "xsave.pkru.pkru").value == 0x55555554


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/dev/null", "a character device"),
        ("/does/not/exist", "no such file"),
        ("with\0nul", "null byte"),
        ("sample:none", "no such sample"),
        ("sample:../pyproject.toml", "no such sample"),
    ],
)
def test_what_is_no_file(target: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        capture_of(target)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="an empty file"):
        open_capture(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_missing_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(CORE)
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        open_capture(str(path))


def test_text_of_a_file_name_is_made_visible() -> None:
    with pytest.raises(InputError) as caught:
        open_capture("/tmp/\x1b[2Jx")
    assert "\x1b" not in str(caught.value)
