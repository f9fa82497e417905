"""Fleets for tests: real CPUs and fingerprints of the folder beside the checkout, and shipped samples."""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path

from inspector.fleet.facts import X86, Document
from inspector.fleet.gather import gather
from inspector.fleet.sources import Item
from inspector.fleet.store import Store
from inspector.fleet.taking import take
from inspector.targets.samples import names
from tests.shared import FIRECRACKER, LIBCPUID

SMALL = [
    "sample:ice-lake/linux-5.10",
    "sample:ice-lake/linux-6.1",
    "sample:cascade-lake/linux-6.1",
    "sample:epyc-milan/linux-6.1",
    "sample:graviton3/linux-6.1",
    "sample:graviton3/linux-6.18",
]


@cache
def unpacked(folder: Path) -> list[str]:
    """The CPUs of libcpuid's tests, unpacked into a folder."""
    with tarfile.open(LIBCPUID / "tests-200.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(map(str, folder.rglob("*.test")))


def fingerprints() -> list[str]:
    """Guests of real clouds' machines, as Firecracker keeps them."""
    return sorted(map(str, FIRECRACKER.glob("fingerprint_*.json")))


def shipped() -> list[str]:
    """The samples that are of one machine each: the records of several kernels."""
    return [f"sample:{name}" for name in names() if "/linux-" in name]


def hosts_of(targets: list[str]) -> tuple[list[tuple[str, Document]], list[tuple[str, Document]]]:
    """Names and facts of x86 hosts, and of arm64 hosts."""
    x86: list[tuple[str, Document]] = []
    arm64: list[tuple[str, Document]] = []
    for target in targets:
        for facts in gather(target):
            (x86 if facts.host["arch"] == X86 else arm64).append((target.rpartition("/")[2], facts.host))
    return x86, arm64


def small(folder: Path) -> str:
    """A store of six machines of both architectures, in a folder."""
    path = str(folder / "small.fleet")
    with Store(path, create=True) as store:
        add_all(store, SMALL)
    return path


def add_all(store: Store, targets: list[str], copies: int = 1) -> None:
    """Keep targets, each under as many names."""
    for target in targets:
        batch = take([Item(target)])
        assert not batch.faults
        for copy in range(copies):
            rows = [row._replace(name=f"{row.name}#{copy}" if copies > 1 else row.name) for row in batch.rows]
            store.add(rows, batch.documents)
