"""Who reads batches of items: processes of this machine, or the workers of a Dask cluster.

Each process has a connection of its own: one that is killed or interrupted, wherever it is, leaves nothing locked that
others wait for.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from threading import Thread
from typing import Any

from inspector.capture.errors import InputError, MemoryShortError, UsageError
from inspector.capture.exit_code import how_ended
from inspector.fleet.sources import Item
from inspector.fleet.taking import Batch, take

#: A scheduler has so long to answer.
_SCHEDULER_SECONDS = 10

Batches = Iterator[list[Item]]
#: The digests of facts that need not be sent, as of now.
Known = Callable[[], frozenset[str]]


def read_here(batches: Batches, processes: int, known: Known) -> Generator[Batch, None, None]:
    """What so many processes make of batches, in no order; they end with this. Raises MemoryShortError."""
    first = list(islice(batches, processes))
    # All at once: while one starts, who sends to it waits.
    idle = [_Worker() for _ in first]
    busy: dict[Connection, _Worker] = {}
    try:
        for batch in chain(first, batches):
            while not idle:
                yield from _done(busy, idle)
            worker = idle.pop()
            busy[worker.connection] = worker
            worker.send(batch, known())
        while busy:
            yield from _done(busy, idle)
    finally:
        for worker in (*idle, *busy.values()):
            worker.end()


def _done(busy: dict[Connection, _Worker], idle: list[_Worker]) -> Iterator[Batch]:
    """What came next."""
    for ready in connection.wait(list(busy)):
        assert isinstance(ready, Connection)
        worker = busy[ready]
        batch = worker.take()
        idle.append(busy.pop(ready))
        yield batch


class _Worker:
    """A process. It has no Ctrl-C of its own, that is for who started it."""

    def __init__(self) -> None:
        # Not forked: a fork has the locks of other threads as they were.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_read, args=(theirs,), daemon=True)
        # Made with the first process, it would take the signal's mask away.
        ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def send(self, batch: list[Item], known: frozenset[str]) -> None:
        """Give it work."""
        try:
            self.connection.send((batch, known))
        except OSError:
            raise self._gone() from None

    def take(self) -> Batch:
        """What it made of it."""
        try:
            found: Batch = self.connection.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        return found

    def _gone(self) -> MemoryShortError:
        self._process.join(1)
        code = self._process.exitcode or 0
        words = "what was added stays, and the same command goes on; fewer --processes take less memory"
        return MemoryShortError(f"a process that read captures ended ({how_ended(code)}): {words}")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _read(theirs: Connection) -> None:
    """The process: batches become facts, until nobody sends any."""
    end_with_parent()
    with suppress(EOFError, OSError):
        while True:
            batch, known = theirs.recv()
            theirs.send(take(batch, known))


def end_with_parent() -> None:
    """A worker ends when who started it is gone, killed too: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def read_on_dask(batches: Batches, address: str, known: Known) -> Generator[Batch, None, None]:
    """The same by a cluster's workers: they open targets by their paths, which have to be the same there.

    Raises UsageError without the extra or without a scheduler, InputError for a cluster that is gone.
    """
    with _client(address) as client:
        executor = client.get_executor(pure=False)
        width = 2 * max(1, sum(client.nthreads().values()))
        running: set[Future[Batch]] = set()
        try:
            for batch in batches:
                running.add(executor.submit(take, batch, known()))
                while len(running) >= width:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (_come_back(future, address) for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (_come_back(future, address) for future in done)
        finally:
            for future in running:
                future.cancel()


def _come_back(future: Future[Batch], address: str) -> Batch:
    """A batch that was read. What is in items raises nothing: it is the cluster that fails."""
    try:
        return future.result()
    except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever comes of a cluster
        words = f"{type(error).__name__}; what was added stays, and the same command goes on"
        raise InputError(f"--dask {address}", "workers that answer", words) from None


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the extra: pip install 'vcpu-inspector[dask]'") from None
    # What is wrong is told in a line, not by each of its threads.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client: Any = Client(address, timeout=_SCHEDULER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--dask {address}: no scheduler answers ({error})") from None
    closing: AbstractContextManager[Any] = client
    with closing:
        yield client
