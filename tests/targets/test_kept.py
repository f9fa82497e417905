"""``kept:FILE:NAME``: a capture that a store has facts of, without the file or line that it came from."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.fleet.gather import gather
from inspector.fleet.sources import items
from inspector.fleet.store import Store
from inspector.fleet.taking import take
from inspector.machine.arm64.captured import is_fact
from inspector.targets.kept import word_of
from inspector.targets.samples import path_of
from inspector.targets.schemes import capture_of
from tests.fleet.fleets import SMALL, fingerprints, small
from tests.shared import FIRECRACKER, needs


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small(tmp_path_factory.mktemp("kept"))


def known(found: dict[str, Any] | None) -> dict[str, Any]:
    """Facts but for the MSRs and registers of which no value is kept."""
    facts = {key: value for key, value in (found or {}).items() if key != "other_msrs"}
    registers = facts.get("registers", {}).items()
    return {**facts, "registers": {one: value for one, value in registers if is_fact(int(one, 16))}}


def same(path: str, names: list[str]) -> None:
    for name in names:
        ((_, host, guest, kernel),) = gather(word_of(path, name))
        ((_, wanted, told, release),) = gather(name)
        assert (known(host), known(guest), kernel) == (known(wanted), known(told), release), name


def test_the_facts_are_the_same(path: str) -> None:
    same(path, SMALL)


@needs(FIRECRACKER)
def test_the_facts_of_real_guests_are_the_same(tmp_path: Path) -> None:
    names, path = fingerprints()[::3], str(tmp_path / "a.fleet")
    with Store(path, create=True) as store:
        batch = take(list(items(names)))
        store.add(batch.rows, batch.documents)
    same(path, names)


def test_a_line_of_standard_input_migrates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {name: Path(path_of(f"sample:{name}/linux-6.1")).read_text() for name in ("cascade-lake", "ice-lake")}

    class Input:
        buffer = io.BytesIO("".join(json.dumps({"name": n, "text": text}) + "\n" for n, text in texts.items()).encode())

    monkeypatch.setattr(sys, "stdin", Input())
    path = str(tmp_path / "a.fleet")
    assert main(["fleet", "add", "-", "--store", path]) == 0
    assert main(["migrate", f"kept:{path}:cascade-lake", f"kept:{path}:ice-lake", "--json"]) == 1
    out = capsys.readouterr().out
    found = json.loads(out[out.index("{") :])
    assert {"mpx"} <= {bit["name"] for bit in found["bits"] if bit["blocks"]}


def test_bits_of_registers_that_are_only_known_to_be_there(path: str) -> None:
    """No value is zero because it was not kept."""
    capture = capture_of(word_of(path, "sample:graviton3/linux-6.1"))
    (area,) = capture.vcpus[0].areas
    assert int(area.attributes["unknown"], 16)


def test_words_that_name_nothing(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected kept:FILE:NAME"):
        capture_of("kept:nothing:x")
    with pytest.raises(UsageError, match="expected kept:FILE:NAME"):
        capture_of(f"kept:{path}:")
    with pytest.raises(InputError, match="a capture that is named nobody, found none"):
        capture_of(f"kept:{path}:nobody")
    text, other = tmp_path / "text", tmp_path / "other"
    text.write_text("words " * 100)
    with pytest.raises(InputError, match="a store of inspector fleet add"):
        capture_of(f"kept:{text}:x")
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE one (two)")
    with pytest.raises(InputError, match="another SQLite file"):
        capture_of(f"kept:{other}:x")


def test_a_host_of_which_names_of_features_are_known(tmp_path: Path) -> None:
    labels = {"cpu-feature.node.kubevirt.io/avx2": "true", "cpu-vendor.node.kubevirt.io/Intel": "true"}
    node = {"metadata": {"name": "n1", "labels": labels}, "status": {"nodeInfo": {"architecture": "amd64"}}}
    nodes, path = tmp_path / "nodes.json", str(tmp_path / "a.fleet")
    nodes.write_text(json.dumps(node))
    with Store(path, create=True) as store:
        batch = take(list(items([str(nodes)])))
        store.add(batch.rows, batch.documents)
    with pytest.raises(UsageError, match="only names of features are known"):
        capture_of(f"kept:{path}:n1")
