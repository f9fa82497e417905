"""What comes into a store: every form of target, once, whatever happens meanwhile."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.fleet import adding, taking, workers
from inspector.fleet.adding import Added, add
from inspector.fleet.facts import digest
from inspector.fleet.gather import gather
from inspector.fleet.sources import Item, items
from inspector.fleet.store import Row, Store
from inspector.fleet.taking import take
from inspector.targets.samples import path_of

RECORD = Path(path_of("sample:ice-lake/linux-6.1"))


def node(name: str, *features: str, architecture: str = "amd64", kernel: str = "6.1.0-13-amd64") -> dict[str, Any]:
    labels = {f"cpu-feature.node.kubevirt.io/{one}": "true" for one in features}
    labels["cpu-vendor.node.kubevirt.io/Intel"] = "true"
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"nodeInfo": {"architecture": architecture, "kernelVersion": kernel}},
    }


def store_at(path: Path) -> Store:
    return Store(str(path / "a.fleet"), create=True)


def names_in(store: Store) -> list[str]:
    return [row[1] for row in store.captures()]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    class Input:
        buffer = io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Input())


def test_a_folder_is_added_once(tmp_path: Path) -> None:
    folder = tmp_path / "captures" / "rack"
    folder.mkdir(parents=True)
    for name in ("a.toml", "b.toml"):
        (folder / name).write_bytes(RECORD.read_bytes())
    (folder / ".hidden").write_text("no")
    with store_at(tmp_path) as store:
        assert add(store, items([str(tmp_path / "captures")])) == Added(2, 2, 0, 0)
        assert add(store, items([str(tmp_path / "captures")])) == Added(0, 0, 2, 0)
        assert add(store, items([str(folder / "*.toml")])).skipped == 2
        assert store.counts()[:4] == (2, 2, 1, 1)


def test_a_file_that_changed_is_a_new_capture_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    with store_at(tmp_path) as store:
        for at, name in enumerate(("sample:ice-lake/linux-6.1", "sample:ice-lake/linux-6.18")):
            path.write_bytes(Path(path_of(name)).read_bytes())
            os.utime(path, (1_700_000_000 + at, 1_700_000_000 + at))
            assert add(store, items([str(path)])).new == 1
        assert store.counts()[:3] == (2, 1, 2)
        (current,) = store.hosts()
        assert current.facts["kernel"] == "6.18"


def test_lines_of_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECORD.read_text("utf-8")
    lines = [json.dumps({"name": f"host{one}", "time": "2026-01-01T00:00:00Z", "text": text}) for one in range(3)]
    lines += ["", json.dumps(node("worker", "avx2")), '{"name": "bad", "capture": {"no": "format"}}', "{not JSON"]
    with store_at(tmp_path) as store:
        stdin(monkeypatch, "\n".join(lines).encode())
        came = add(store, items(["-"]))
        assert came == Added(4, 4, 0, 2)
        assert names_in(store) == ["host0", "host1", "host2", "worker"]
        told = dict(store.faults())
        assert list(told) == ["stdin:6", "stdin:7"]
        assert "keys no" in told["stdin:6"]
        assert "/tmp" not in told["stdin:6"]
        stdin(monkeypatch, "\n".join(lines).encode())
        assert add(store, items(["-"])).new == 0
        assert store.counts()[:4] == (4, 4, 2, 1)


def test_nodes_of_kubernetes_in_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"kind": "List", "items": [node("a", "avx2", "aes"), node("b", "aes"), node("c", architecture="arm64")]}
    with store_at(tmp_path) as store:
        stdin(monkeypatch, json.dumps(found, indent=1).encode())
        assert add(store, items(["-"])) == Added(2, 2, 0, 0)
        assert names_in(store) == ["a", "b"]
        assert {kept.facts["kernel"] for kept in store.hosts()} == {"6.1"}


def test_a_document_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal documents of other names are looked up by their bytes."""
    taking._remembered.cache_clear()
    asked: list[str] = []

    def counting(target: str) -> Any:
        asked.append(target)
        return gather(target)

    monkeypatch.setattr(taking, "gather", counting)
    line = json.dumps({"text": RECORD.read_text("utf-8")}).encode()
    batch = take([Item(f"stdin:{number}", line) for number in range(50)])
    assert (len(batch.rows), len(batch.documents), len(asked)) == (50, 2, 1)


def test_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "_FEW", 2)
    monkeypatch.setattr(adding, "_BATCH", 2)
    names = ("ice-lake", "epyc-milan", "graviton3")
    targets = [Item(f"sample:{name}/linux-{release}") for name in names for release in ("5.10", "6.1")]
    kept = []
    for processes in (1, 2):
        (tmp_path / str(processes)).mkdir()
        with store_at(tmp_path / str(processes)) as store:
            assert add(store, targets, processes=processes) == Added(6, 6, 0, 0)
            kept.append((sorted(store.captures()), sorted(store.facts("hosts")), sorted(store.facts("guests"))))
    assert kept[0] == kept[1]


def test_interrupted_and_gone_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added before a Ctrl-C stays; the rest comes with the same command."""
    monkeypatch.setattr(adding, "_BATCH", 2)
    targets = [Item(f"sample:ice-lake/linux-{release}") for release in ("5.10", "6.1", "6.18")]

    def broken(seen: int) -> None:
        raise KeyboardInterrupt

    with store_at(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        add(store, targets, progress=broken)
    with store_at(tmp_path) as store:
        assert len(names_in(store)) == 2
        assert add(store, targets).new == 1


def test_a_worker_ends_with_who_started_it(tmp_path: Path) -> None:
    """Killed with SIGKILL, the command leaves no process that waits for work."""
    program = (
        "import os, time\n"
        "from multiprocessing import get_context\n"
        "from inspector.fleet.workers import end_with_parent\n"
        "def work(): end_with_parent(); print(os.getpid(), flush=True); time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    get_context('spawn').Process(target=work).start(); time.sleep(60)\n"
    )
    path = tmp_path / "program.py"
    path.write_text(program)
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        begun = time.monotonic()
        process.kill()
        # The worker has the pipe open as long as it lives.
        assert process.stdout.read() == ""
        assert time.monotonic() - begun < 30


def test_a_batch_is_all_or_nothing(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        facts = gather("sample:ice-lake/linux-6.1")[0].host
        rows = [Row("a", "a", "", "", digest(facts), ""), Row("b", "b", "", "", "of nobody", "")]
        with pytest.raises(InputError):
            store.add(rows, {digest(facts): facts})
        assert store.counts()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("word", "error"),
    [("no-such-file", InputError), ("none-*.json", InputError), ("sample:nothing", None), ("nonsense:x", UsageError)],
)
def test_words_that_name_nothing(tmp_path: Path, word: str, error: type[Exception] | None) -> None:
    with store_at(tmp_path) as store:
        if error is None:
            assert add(store, items([word])).faults == 1
        else:
            with pytest.raises(error):
                add(store, items([word]))


def test_stores_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Store(str(tmp_path / "none"))
    text = tmp_path / "text"
    text.write_text("words " * 400)
    with pytest.raises(InputError, match="not a database"):
        Store(str(text))
    other = tmp_path / "other"
    made = sqlite3.connect(other)
    made.execute("CREATE TABLE t (x)")
    made.commit()
    made.close()
    with pytest.raises(InputError, match="another SQLite file"):
        Store(str(other), create=True)
    with store_at(tmp_path) as store:
        store._db.execute("PRAGMA user_version = 9")
    with pytest.raises(InputError, match="version 1"):
        store_at(tmp_path)


def test_cpus_of_one_machine_are_one_host(tmp_path: Path) -> None:
    """APIC ids differ from CPU to CPU; the host is the same."""
    text = RECORD.read_text("utf-8")
    other = text.replace("0x1.0x0 = [0x000606a6, 0x00010800,", "0x1.0x0 = [0x000606a6, 0x05010800,")
    assert other != text
    found = []
    for number, data in enumerate((text, other)):
        path = tmp_path / f"{number}.toml"
        path.write_text(data)
        found.append(gather(str(path))[0])
    assert digest(found[0].host) == digest(found[1].host)
    assert digest(found[0].guest or {}) == digest(found[1].guest or {})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "_SCHEDULER_SECONDS", 0.2)
    (tmp_path / "bad.bin").write_bytes(b"\0\1\2" * 40)
    assert main(["fleet", "lattice"]) == 3
    assert "fleet.db" in capsys.readouterr().err
    assert main(["fleet", "add"]) == 2
    assert main(["fleet", "add", "bad.bin", "sample:ice-lake/linux-6.1"]) == 3
    said = capsys.readouterr().out
    assert "1 target could not be read" in said
    assert "bad.bin" in said
    assert main(["fleet", "lattice"]) == 0
    assert main(["fleet", "forecast", "--kernel", "7.3", "--on", "nobody"]) == 2
    assert main(["fleet", "forecast", "--kernel", "no number"]) == 2
    assert main(["fleet", "add", "sample:amx", "--dask", "tcp://127.0.0.1:1"]) == 2
