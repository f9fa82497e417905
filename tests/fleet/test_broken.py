"""What goes wrong with a store: processes that are killed, a full disk, damage. One line each, and no half answer."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import MemoryShortError
from inspector.cli.main import main
from inspector.fleet import adding, workers
from inspector.fleet.sources import Item
from inspector.fleet.workers import read_here
from tests.fleet.fleets import small

ITEM = Item("none", b"{}")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return small(tmp_path)


def change(path: str, *words: str) -> None:
    database = sqlite3.connect(path)
    for one in words:
        database.execute(one)
    database.commit()
    database.close()


def test_a_process_that_is_killed_is_told_and_none_is_left() -> None:
    def batches() -> Iterator[list[Item]]:
        yield [ITEM]
        (worker,) = active_children()
        assert worker.pid is not None
        mask = next(line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if "SigBlk" in line)
        assert int(mask.split()[1], 16) & 0b10
        worker.kill()
        worker.join()
        yield [ITEM]

    with pytest.raises(MemoryShortError, match=r"ended \(killed by SIGKILL\): what was added stays"):
        list(read_here(batches(), 1, frozenset))
    assert not active_children()


def test_an_interruption_says_what_stays(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_words: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adding, "add", interrupted)
    assert main(["fleet", "add", "sample:amx", "--store", path]) == 130
    said = capsys.readouterr().err
    assert said == f"inspector: interrupted: {path} has 6 captures; the same command goes on where it was\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("UPDATE hosts SET facts = replace(facts, 'x86', 'x87') WHERE id = 1", "others; the store is damaged"),
        ("UPDATE guests SET facts = '{' WHERE id = 1", "others; the store is damaged"),
        ("UPDATE captures SET name = CAST(x'ff' AS TEXT)", "UTF-8"),
        ("PRAGMA user_version = 0", "expected a store of version 1, found 0"),
        ("DROP TABLE guests", "no such table: guests"),
    ],
)
@pytest.mark.parametrize("command", ["lattice", "check", "odd"])
def test_damage_is_told(command: str, words: str, said: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(path, words)
    assert main(["fleet", command, "--store", path]) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_full_folder_of_temporary_files(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the store is at fault: its names are gathered in a temporary file."""
    monkeypatch.setattr("inspector.fleet.store._NEWEST", "PRAGMA max_page_count = 1; CREATE TABLE more (one);")
    assert main(["fleet", "lattice", "--store", path]) == 2
    assert capsys.readouterr().err.startswith(f"inspector: {path}: no room for the temporary table")


def test_parquet_of_another_store_goes(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    folder, other = tmp_path / "out", str(tmp_path / "x86.fleet")
    assert main(["fleet", "add", "--parquet", str(folder), "--store", path]) == 0
    (folder / "hosts" / "arch=x86" / "mine.parquet").write_bytes(b"")
    assert main(["fleet", "add", "sample:ice-lake/linux-6.1", "--parquet", str(folder), "--store", other]) == 0
    assert capsys.readouterr()
    assert sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()) == [
        "captures/arch=x86/part-0.parquet",
        "guests/arch=x86/part-0.parquet",
        "hosts/arch=x86/mine.parquet",
        "hosts/arch=x86/part-0.parquet",
    ]


def test_parquet_on_a_full_disk_leaves_what_was_there(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    folder = tmp_path / "out"
    assert main(["fleet", "add", "--parquet", str(folder), "--store", path]) == 0
    before = {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    written: list[str] = []

    class Full(parquet.ParquetWriter):  # type: ignore[misc,name-defined]
        def write_table(self, table: Any, *_more: Any) -> None:
            written.append(self.where)
            if len(written) > 3:
                raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")
            super().write_table(table)

    monkeypatch.setattr(parquet, "ParquetWriter", Full)
    capsys.readouterr()
    assert main(["fleet", "add", "--parquet", str(folder), "--store", path]) == 2
    assert capsys.readouterr().err == f"inspector: {folder}: No space left on device\n"
    assert {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()} == before


def test_a_cluster_that_is_gone(path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def client(_address: str) -> Iterator[Any]:
        class Client:
            def nthreads(self) -> dict[str, int]:
                return {"worker": 1}

            def get_executor(self, **_options: object) -> Any:
                return self

            def submit(self, *_work: object) -> Future[Any]:
                found: Future[Any] = Future()
                found.cancel()
                found.set_running_or_notify_cancel()
                return found

        yield Client()

    monkeypatch.setattr(workers, "_client", client)
    assert main(["fleet", "add", "sample:ice-lake/linux-6.18", "--dask", "tcp://10.0.0.1:8786", "--store", path]) == 3
    said = capsys.readouterr().err
    assert said.startswith(
        "inspector: --dask tcp://10.0.0.1:8786: expected workers that answer, found CancelledError; what"
    )
