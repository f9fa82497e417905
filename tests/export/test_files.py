"""What is written: whole or not at all, in place of nothing, under names that a capture cannot choose."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.capture.errors import OutputError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.export import files
from inspector.export.files import file_name, save_bytes, save_folder, save_new
from inspector.export.raw import write_raw
from inspector.readers.open import open_capture

#: Each way of writing: the best that the file system can, and those behind it.
WAYS = ("unnamed", "linked", "reserved")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave only one way of writing."""
    if request.param != "unnamed":
        monkeypatch.setattr(files, "_write_unnamed", files._write_beside)
    if request.param == "reserved":

        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", no_links)
    return str(request.param)


def test_a_file_appears_whole(way: str, tmp_path: Path) -> None:
    path = tmp_path / "new"

    def write(out: object) -> None:
        out.write(b"half")  # type: ignore[attr-defined]
        assert not path.exists()
        out.write(b" and half")  # type: ignore[attr-defined]

    save_new(str(path), write)
    assert path.read_bytes() == b"half and half"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert list(tmp_path.iterdir()) == [path]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "folder"])
def test_nothing_is_replaced(way: str, tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "there", tmp_path / "other"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
        if kind == "link":
            other.write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="there: already there"):
        save_bytes(str(path), b"ours")
    assert sorted(tmp_path.iterdir()) == before
    if kind in ("file", "link"):
        assert path.read_text() == "mine"


def test_a_name_that_is_taken_while_we_write(way: str, tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(OutputError, match="already there"):
        save_new(str(path), lambda _: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_nothing(way: str, tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        save_new(str(tmp_path / "new"), broken)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing(way: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        save_bytes(str(tmp_path / "no/where"), b"")


def run(words: list[str], before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    # Python keeps the half of a compiled module that a limit lets it write: here it keeps none.
    keeps = {"PYTHONDONTWRITEBYTECODE": "1"} if before is not None else {}
    return subprocess.run(
        [sys.executable, "-m", "inspector", *words],
        preexec_fn=before,
        env={**os.environ, **keeps},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _full() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


OUTPUTS = {
    "vcpu": ["convert", "sample:amx/process.core", "--to", "vcpu", "-o"],
    "core": ["convert", "sample:amx/process.core", "--to", "core", "-o"],
    "json": ["convert", "sample:amx/process.core", "--to", "json", "-o"],
    "cpuid": ["convert", "sample:zen5", "--to", "cpuid", "-o"],
    "raw": ["convert", "sample:amx", "--to", "raw", "-o"],
    "x.svg": ["screenshot", "sample:amx/process.core", "--size", "80x24", "-o"],
    "sim.vcpu": ["sim", "snapshot-einval", "--save"],
    "sim.xsave": ["sim", "two-buffers", "--save"],
    "set.vcpu": ["set", "sample:amx", "xcr.xcr0=0x7", "-o"],
    "ours.toml": ["models", "baseline", "neoverse-v1", "-o"],
    "guest.vcpu": ["models", "expand", "neoverse-v1-v1", "--host", "neoverse-v1", "--save"],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str) -> None:
    done = run([*OUTPUTS[name], str(tmp_path / name)], _full)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "not part of" not in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].endswith(": File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_command_replaces_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("mine")
    done = run([*OUTPUTS[name], str(path)])
    assert done.returncode == 2
    assert "already there" in done.stderr
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_does_not_replace_what_it_shows(tmp_path: Path) -> None:
    picture = tmp_path / "registers.txt"
    picture.write_text("0x603000000013c020 0x1\n")
    link = tmp_path / "link.txt"
    link.symlink_to(picture)
    for output in (picture, link):
        assert run(["screenshot", str(picture), "-o", str(output)]).returncode == 2
    assert picture.read_text() == "0x603000000013c020 0x1\n"


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    """The file has no name before it is whole."""
    code = (
        "import os, signal, sys\n"
        "from inspector.export.files import save_new\n"
        "def write(out):\n"
        "    out.write(b'x' * 100000)\n"
        "    out.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_new(sys.argv[1], write)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "new")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


# Names


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_becomes_a_safe_name(text: str) -> None:
    name = file_name(text)
    assert name
    assert not set("/\\\0") & set(name)
    assert name.isprintable()
    assert name[0] not in ".-"
    assert len(os.fsencode(name)) <= 255
    assert file_name(name) == name


def test_ordinary_names_stay_and_taken_ones_count() -> None:
    assert file_name("vcpu-permitted.kvm_xsave2.bin") == "vcpu-permitted.kvm_xsave2.bin"
    assert file_name("a.kvm_regs.bin", {"a.kvm_regs.bin"}) == "a-2.kvm_regs.bin"
    assert file_name("a.bin", {"a.bin", "a-2.bin"}) == "a-3.bin"
    assert file_name("x" * 300 + ".kvm_regs.bin").endswith("x.kvm_regs.bin")


HOSTILE = (
    "/abs",
    "../up",
    "..",
    "../../../../x",
    ".bashrc",
    "a/b",
    "nul\0x",
    "",
    "-rf",
    "long" * 100,
    "\udcff",
    "a\nb",
)


def test_raw_stays_in_its_folder(tmp_path: Path) -> None:
    """Prefixes, origins and vCPU names from a capture file name no place outside."""
    context = [Area("raw", text, "t", b"context", Origin("x", 1)) for text in HOSTILE]
    context += [Area("raw", "p", "t", b"origin", Origin(text, 0)) for text in HOSTILE]
    vcpus = [
        Vcpu(n, text, "x86", [Area("raw", text, "t", bytes([n]), Origin("x", 1)) for text in HOSTILE])
        for n, text in enumerate(HOSTILE)
    ]
    folder = tmp_path / "deep/er/out"
    folder.parent.mkdir(parents=True)
    names = write_raw(str(folder), Capture("t", "vcpu", vcpus, context=context))
    assert sorted(entry.name for entry in folder.iterdir()) == names
    assert all(entry.is_file() for entry in folder.iterdir())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


def test_raw_loses_no_vcpu_of_equal_name(tmp_path: Path) -> None:
    vcpus = [Vcpu(n, "cpu", "x86", [Area("kvm-regs", "regs", "t", bytes([n]) * 144, Origin("x", 1))]) for n in (0, 1)]
    write_raw(str(tmp_path / "out"), Capture("t", "vcpu", vcpus))
    again = open_capture(str(tmp_path / "out"))
    assert sorted(bytes(vcpu.areas[0].data)[0] for vcpu in again.vcpus) == [0, 1]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "out"
    if is_there:
        folder.mkdir(0o700)
    with pytest.raises(OutputError, match=f"^{folder}/no/such: "):
        save_folder(str(folder), {"a": b"1", "no/such": b"2"})
    assert folder.exists() == is_there
    assert [path for path in tmp_path.rglob("*") if path != folder] == []
    save_folder(f"{folder}/", {"a": b"1", "b": b"2"})
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    assert (folder.stat().st_mode & 0o777 == 0o700) == is_there
    with pytest.raises(OutputError, match="not an empty folder"):
        save_folder(str(folder), {"c": b"3"})
