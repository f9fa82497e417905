"""The optional extras: a Dask cluster reads, and Parquet is written; and a small round of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import run
from inspector.cli.main import main
from inspector.fleet import adding
from inspector.fleet.adding import Added, add
from inspector.fleet.sources import Item
from inspector.fleet.store import Store
from tests.fleet.fleets import add_all

TARGETS = [f"sample:{name}/linux-{release}" for name in ("ice-lake", "graviton3") for release in ("5.10", "6.1")]


def test_a_dask_cluster_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr(adding, "_BATCH", 1)
    with Store(str(tmp_path / "here"), create=True) as here:
        add_all(here, TARGETS)
        wanted = sorted(here.captures()), sorted(here.facts("hosts")), sorted(here.facts("guests"))
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    monkeypatch.setitem(pytest.importorskip("dask").config.config, "temporary-directory", str(tmp_path))
    with distributed.LocalCluster(**options) as cluster, Store(str(tmp_path / "there"), create=True) as there:
        assert add(there, [Item(target) for target in TARGETS], dask=cluster.scheduler_address) == Added(4, 4, 0, 0)
        assert (sorted(there.captures()), sorted(there.facts("hosts")), sorted(there.facts("guests"))) == wanted


def test_parquet(tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset", reason="the extra parquet is not installed")
    store, folder = str(tmp_path / "a.fleet"), tmp_path / "out"
    for _ in range(2):
        assert main(["fleet", "add", *TARGETS, "--store", store, "--parquet", str(folder)]) == 0
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet")) == [
            f"{table}/arch={arch}/part-0.parquet"
            for table in ("captures", "guests", "hosts")
            for arch in ("arm64", "x86")
        ]
    rows = {
        name: dataset.dataset(folder / name, partitioning="hive").to_table().to_pylist()
        for name in ("captures", "hosts")
    }
    assert {row["name"]: row["arch"] for row in rows["captures"]} == {
        target: "arm64" if "graviton" in target else "x86" for target in TARGETS
    }
    assert {row["host"] for row in rows["captures"]} == {row["digest"] for row in rows["hosts"]}
    assert not list(folder.rglob("*.partial"))


def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pyarrow", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(adding, "_FEW", 1)
    store = ["--store", str(tmp_path / "a.fleet")]
    assert main(["fleet", "add", TARGETS[0], "--dask", "tcp://127.0.0.1:1", *store]) == 2
    assert "vcpu-inspector[dask]" in capsys.readouterr().err
    assert main(["fleet", "add", "--parquet", str(tmp_path / "out"), *store]) == 2
    assert "vcpu-inspector[parquet]" in capsys.readouterr().err


def test_a_small_round_of_the_benchmark(tmp_path: Path) -> None:
    """Thousands of captures of few hosts: the work is that of the few."""
    found = run(2000, 12, 1, str(tmp_path))
    assert (found["captures"], found["hosts"], found["classes"]) == (2000, 12, 12)
    assert found["store_mb"] < 1
    assert found["memory_mb"] < 1000
