"""Items go to workers in batches and their facts into the store: on this machine's processes, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.fleet.sources import Item
from inspector.fleet.store import Store
from inspector.fleet.taking import Batch, take

#: Items of a batch; fewer in all are not worth a process.
_BATCH = 256
#: A scheduler has so long to answer.
_SCHEDULER_SECONDS = 10
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

    Every batch is a transaction: where it was interrupted, adding again goes on. Raises UsageError and InputError.
    """
    adding = _Adding(store, progress)
    fresh = adding.fresh(items)
    first = list(islice(fresh, _FEW))
    if not dask and (processes == 1 or len(first) < _FEW):
        for batch in _batches(chain(first, fresh)):
            adding.keep(take(batch))
        return adding.done
    with _executor(processes or os.cpu_count() or 1, dask) as (executor, width):
        adding.fan_out(executor, width, _batches(chain(first, fresh)))
    return adding.done


class _Adding:
    """A run: what was done so far."""

    def __init__(self, store: Store, progress: Progress | None) -> None:
        self._store = store
        self._progress = progress
        self._seen = 0
        self.done = Added(0, 0, 0, 0)

    def fresh(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items but for files that were added as they are."""
        for item in items:
            if item.size_bytes >= 0 and self._store.knows_file(item.target, item.size_bytes, item.mtime_ns):
                self.done = self.done._replace(skipped=self.done.skipped + 1)
                self._tell(1)
            else:
                yield item

    def fan_out(self, executor: Executor, width: int, batches: Iterator[list[Item]]) -> None:
        """Keep ``width`` batches under way, so that memory does not grow with the fleet."""
        known = self._store.digests(_MOST_KNOWN)
        running: set[Future[Batch]] = set()
        try:
            for batch in batches:
                running.add(executor.submit(take, batch, known))
                if len(running) >= width:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    known |= self._keep_all(done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                self._keep_all(done)
        finally:
            for future in running:
                future.cancel()

    def _keep_all(self, done: Iterable[Future[Batch]]) -> frozenset[str]:
        new: set[str] = set()
        for future in done:
            batch = future.result()
            self.keep(batch)
            new |= batch.documents.keys()
        return frozenset(new)

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


@contextmanager
def _executor(processes: int, dask: str) -> Iterator[tuple[Executor, int]]:
    """Where batches are read, and how many may be under way."""
    if dask:
        with _dask(dask) as found:
            yield found
        return
    # Not forked: a fork has the locks of other threads as they were.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            yield pool, 2 * processes
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """A worker ends when who started it is gone, killed too: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a Dask cluster: they open targets by their paths, which have to be the same there."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the extra: pip install 'vcpu-inspector[dask]'") from None
    try:
        client: Any = Client(address, timeout=_SCHEDULER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers ({error})") from None
    closing: AbstractContextManager[Any] = client
    with closing:
        width = 2 * max(1, sum(client.nthreads().values()))
        yield client.get_executor(pure=False), width
