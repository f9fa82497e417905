"""Items go to workers in batches and their facts into the store: on this machine's processes, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import NamedTuple

from inspector.fleet.sources import Item
from inspector.fleet.store import Store
from inspector.fleet.taking import Batch, take
from inspector.fleet.workers import read_here, read_on_dask

#: Items of a batch; fewer in all are not worth a process.
_BATCH = 256
_FEW = 64
#: From so many distinct facts on their digests are not sent along, and facts may come twice.
_MOST_KNOWN = 20_000

Progress = Callable[[int], None]


class Added(NamedTuple):
    """What came of adding: captures read and those that were new, files skipped as known, what could not be read."""

    read: int
    new: int
    skipped: int
    faults: int


def add(
    store: Store, items: Iterable[Item], *, processes: int = 0, dask: str = "", progress: Progress | None = None
) -> Added:
    """Read items and keep their facts. ``processes`` 0: as many as there are CPUs; ``dask``: a scheduler's address.

    Every batch is a transaction: where it was interrupted, adding again goes on. Raises UsageError, InputError and
    MemoryShortError.
    """
    adding = _Adding(store, progress)
    fresh = adding.fresh(items)
    first = list(islice(fresh, _FEW))
    if not dask and (processes == 1 or len(first) < _FEW):
        for batch in _batches(chain(first, fresh)):
            adding.keep(take(batch))
        return adding.done
    batches = _batches(chain(first, fresh))
    if dask:
        adding.keep_all(read_on_dask(batches, dask, adding.known))
    else:
        adding.keep_all(read_here(batches, processes or os.cpu_count() or 1, adding.known))
    return adding.done


class _Adding:
    """A run: what was done so far."""

    def __init__(self, store: Store, progress: Progress | None) -> None:
        self._store = store
        self._progress = progress
        self._seen = 0
        self._known: frozenset[str] = frozenset()
        self.done = Added(0, 0, 0, 0)

    def fresh(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items but for files that were added as they are."""
        for item in items:
            if item.size_bytes >= 0 and self._store.knows_file(item.target, item.size_bytes, item.mtime_ns):
                self.done = self.done._replace(skipped=self.done.skipped + 1)
                self._tell(1)
            else:
                yield item

    def known(self) -> frozenset[str]:
        """The digests of facts that need not be sent."""
        return self._known

    def keep_all(self, read: Generator[Batch, None, None]) -> None:
        """Keep batches as they come; no more is under way than there are workers, so memory does not grow."""
        self._known = self._store.digests(_MOST_KNOWN)
        with closing(read):
            for batch in read:
                self.keep(batch)
                self._known |= batch.documents.keys()

    def keep(self, batch: Batch) -> None:
        """Write a batch."""
        added = self._store.add(batch.rows, batch.documents, batch.files, batch.faults)
        read, new, skipped, faults = self.done
        self.done = Added(read + len(batch.rows), new + added, skipped, faults + len(batch.faults))
        self._tell(batch.items)

    def _tell(self, more: int) -> None:
        self._seen += more
        if self._progress is not None:
            self._progress(self._seen)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
