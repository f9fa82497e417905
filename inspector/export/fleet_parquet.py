"""A store as Parquet, in folders that DuckDB, Spark and Polars read as columns (``arch=x86/``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from inspector.capture.errors import OutputError, UsageError
from inspector.fleet.facts import ARCHES
from inspector.fleet.store import Store

_ROWS = 65_536
_CAPTURES = ("name", "target", "time", "kernel", "host", "guest")
_FACTS = ("digest", "facts")
_NAME, _PARTIAL = "part-0.parquet", ".partial"


def write_parquet(store: Store, folder: str) -> None:
    """``captures``, ``hosts`` and ``guests`` under a folder; those of another store that are there go.

    ``host`` and ``guest`` of a capture are digests, ``facts`` is JSON. Raises UsageError without pyarrow, OutputError.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("--parquet needs the extra: pip install 'vcpu-inspector[parquet]'") from None
    written: list[str] = []
    try:
        for table, columns, rows in (
            ("captures", _CAPTURES, ((row[0], row[1:]) for row in store.captures())),
            ("hosts", _FACTS, ((arch, (digest, facts)) for digest, arch, facts in store.facts("hosts"))),
            ("guests", _FACTS, ((arch, (digest, facts)) for digest, arch, facts in store.facts("guests"))),
        ):
            _write(pyarrow, parquet, os.path.join(folder, table), columns, rows, written)
        for path in written:
            os.replace(f"{path}{_PARTIAL}", path)
        _remove(path for path in _paths(folder) if path not in written)
    except OSError as error:
        raise OutputError(f"{folder}: {os.strerror(error.errno) if error.errno else error}") from None
    finally:
        _remove(f"{path}{_PARTIAL}" for path in written)


def _paths(folder: str) -> Iterator[str]:
    """Where files of ours may be: of architectures that are not in the store they are another store's."""
    return (
        os.path.join(folder, table, f"arch={arch}", _NAME)
        for table in ("captures", "hosts", "guests")
        for arch in ARCHES
    )


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.remove(path)


def _write(
    pyarrow: Any,
    parquet: Any,
    folder: str,
    columns: tuple[str, ...],
    rows: Iterable[tuple[str, tuple[str, ...]]],
    written: list[str],
) -> None:
    """One file an architecture, in groups of rows, so that memory does not grow with the fleet; under another name."""
    schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
    writers: dict[str, Any] = {}
    try:
        for arch, table in _tables(pyarrow, schema, rows):
            if arch not in writers:
                path = os.path.join(folder, f"arch={arch}", _NAME)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                written.append(path)
                writers[arch] = parquet.ParquetWriter(f"{path}{_PARTIAL}", schema, compression="zstd")
            writers[arch].write_table(table)
    finally:
        for writer in writers.values():
            writer.close()


def _tables(pyarrow: Any, schema: Any, rows: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[tuple[str, Any]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _ROWS)):
        by_arch: dict[str, list[tuple[str, ...]]] = {}
        for arch, row in chunk:
            by_arch.setdefault(arch, []).append(row)
        for arch, found in by_arch.items():
            yield arch, pyarrow.table([list(column) for column in zip(*found, strict=True)], schema=schema)
