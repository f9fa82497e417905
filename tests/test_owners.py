"""Every file that is no source of ours says where it is from; nothing is another's file under our name."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.shared import SHARED, needs

ROOT = Path(__file__).parents[1]
FOLDERS = ("samples/", "docs/pictures/")
_SOURCES_WITHIN_BYTES = 4096


@cache
def tracked() -> list[Path]:
    """The files of the tree, as git knows them; all of them where there is no git."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    else:
        paths = [
            path
            for folder in ("samples", "layouts", "docs", "inspector", "tests")
            for path in ROOT.rglob(f"{folder}/**/*")
        ]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def test_names_of_files_are_plain() -> None:
    """No control character and no markup: what a test wrote beside the sources is seen here."""
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert [name for name in names if not re.fullmatch(r"[\w.+,@=/-]+", name, re.ASCII)] == []


def is_binary(path: Path) -> bool:
    data = path.read_bytes()
    try:
        return "\0" in data.decode("utf-8")
    except UnicodeDecodeError:
        return True


def needs_an_owner(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    in_data = name.startswith("layouts/") and "/data/" in name
    return (in_data or name.startswith(FOLDERS) or is_binary(path)) and not path.name.startswith("about.")


def owner(path: Path) -> str:
    """Who says where a file is from: NOTICE, an about file beside it or above, the file itself; nothing if nobody."""
    name = path.relative_to(ROOT).as_posix()
    if name in (ROOT / "NOTICE").read_text("utf-8"):
        return "NOTICE"
    for folder in path.relative_to(ROOT).parents:
        about = ROOT / folder / "about.toml"
        if about.is_file() and folder != Path():
            table = tomllib.loads(about.read_text("utf-8"))
            if table.get("from", "").strip() and ("files" not in table or table["files"].get(path.name)):
                return str(about)
        if (ROOT / folder / "about.md").is_file() and folder != Path():
            return "about.md"
    if not is_binary(path):
        head = path.read_text("utf-8")[:_SOURCES_WITHIN_BYTES]
        if head.startswith("# ") or '"source"' in head or "source =" in head:
            return "itself"
    return ""


def test_every_file_has_an_owner() -> None:
    owned = [path for path in tracked() if needs_an_owner(path)]
    assert len(owned) > 100
    assert not [path.relative_to(ROOT).as_posix() for path in owned if not owner(path)]


def test_every_name_is_plain() -> None:
    """What a test or a hostile sample wrote by accident shows by its name."""
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert not [name for name in names if not re.fullmatch(r"[A-Za-z0-9._/+-]+", name)]


def test_samples_say_what_opens_them() -> None:
    for about in ROOT.glob("samples/*/about.toml"):
        table = tomllib.loads(about.read_text("utf-8"))
        assert table["from"].strip()
        assert table["contents"].strip()
        assert table["open"], about
    assert not [path for path in ROOT.glob("samples/*") if not (path / "about.toml").is_file()]


def test_samples_stay_small() -> None:
    assert sum(path.stat().st_size for path in ROOT.glob("samples/**/*") if path.is_file()) < 5_000_000


def test_the_wheel_carries_the_notice() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"LICENSE", "NOTICE", "inspector/tui/fonts/LICENSE"} <= set(project["license-files"])
    for name in project["license-files"]:
        assert (ROOT / name).is_file()


def contents(data: bytes) -> bytes:
    """A file's bytes, unpacked."""
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"\xfd7zXZ\0"):
            return lzma.decompress(data)
    except (OSError, EOFError, lzma.LZMAError):
        pass
    return data


def digest(data: bytes) -> str:
    return hashlib.sha256(contents(data)).hexdigest()


@needs(SHARED / "captures/external")
@pytest.mark.parametrize("folder", ["captures/external", "data/aarchmrs"])
def test_nothing_is_a_copy_of_other_peoples_files(folder: str) -> None:
    theirs = {digest(path.read_bytes()): path.name for path in (SHARED / folder).rglob("*") if path.is_file()}
    theirs[digest((SHARED / "data/cpuid.csv").read_bytes())] = "cpuid.csv"
    ours = {digest(path.read_bytes()): path for path in tracked() if path.stat().st_size > 64}
    assert not [(name, ours[key]) for key, name in theirs.items() if key in ours]
