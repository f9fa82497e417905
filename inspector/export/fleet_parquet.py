"""A store as Parquet, in folders that DuckDB, Spark and Polars read as columns (``arch=x86/``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from inspector.capture.errors import OutputError, UsageError
from inspector.fleet.store import Store

_ROWS = 65_536
_CAPTURES = ("name", "target", "time", "kernel", "host", "guest")
_FACTS = ("digest", "facts")


def write_parquet(store: Store, folder: str) -> None:
    """``captures``, ``hosts`` and ``guests`` under a folder; files of the same names are replaced.

    ``host`` and ``guest`` of a capture are digests, ``facts`` is JSON. Raises UsageError without pyarrow, OutputError.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("--parquet needs the extra: pip install 'vcpu-inspector[parquet]'") from None
    try:
        for table, columns, rows in (
            ("captures", _CAPTURES, ((row[0], row[1:]) for row in store.captures())),
            ("hosts", _FACTS, ((arch, (digest, facts)) for digest, arch, facts in store.facts("hosts"))),
            ("guests", _FACTS, ((arch, (digest, facts)) for digest, arch, facts in store.facts("guests"))),
        ):
            _write(pyarrow, parquet, os.path.join(folder, table), columns, rows)
    except OSError as error:
        raise OutputError(f"{folder}: {error}") from None


def _write(
    pyarrow: Any, parquet: Any, folder: str, columns: tuple[str, ...], rows: Iterable[tuple[str, tuple[str, ...]]]
) -> None:
    """One file an architecture, in groups of rows, so that memory does not grow with the fleet."""
    schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
    writers: dict[str, Any] = {}
    partial = []
    try:
        for arch, table in _tables(pyarrow, schema, rows):
            if arch not in writers:
                path = os.path.join(folder, f"arch={arch}", "part-0.parquet")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                partial.append(path)
                writers[arch] = parquet.ParquetWriter(f"{path}.partial", schema, compression="zstd")
            writers[arch].write_table(table)
    finally:
        for writer in writers.values():
            writer.close()
    for path in partial:
        os.replace(f"{path}.partial", path)


def _tables(pyarrow: Any, schema: Any, rows: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[tuple[str, Any]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _ROWS)):
        by_arch: dict[str, list[tuple[str, ...]]] = {}
        for arch, row in chunk:
            by_arch.setdefault(arch, []).append(row)
        for arch, found in by_arch.items():
            yield arch, pyarrow.table([list(column) for column in zip(*found, strict=True)], schema=schema)
