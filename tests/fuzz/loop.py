"""The mutation loop: seeded, under a limit of address space, with an alarm for each input."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target

ADDRESS_SPACE_BYTES = 1 << 30
#: Of a processor's time: a busy machine makes no input slow. One that waits for ever is told by the other clock.
ALARM_SECONDS = 10.0
_HANGS_SECONDS = 120.0
_TICK_SECONDS = 0.5


class Alarm(BaseException):
    """An input took too long."""


class Failure(NamedTuple):
    """An input that ended in anything but InputError; ``name`` says where."""

    reader: str
    name: str
    data: bytes
    report: str


class Round(NamedTuple):
    """What a round of one reader came to; ``slowest_seconds`` is a processor's time of one input."""

    reader: str
    inputs: int
    opened: int
    slowest_seconds: float
    failures: list[Failure]


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """Mutated inputs without end, the same for the same seed; the seeds themselves come first."""
    generator = random.Random(seed)
    seeds = target.seeds()
    wrap = target.wrap or bytes
    yield from (wrap(data) for data in seeds)
    while True:
        data = mutate(generator, generator.choice(seeds), seeds)
        yield wrap(data)


def fuzz(reader: str, seed: int, *, count: int = 1 << 62, seconds: float = 1e9) -> Round:
    """Run a reader on mutated inputs until their number or the time is reached."""
    target = TARGETS[reader]
    failures: dict[str, Failure] = {}
    opened = done = 0
    slowest = 0.0
    end = time.monotonic() + seconds
    with alarms() as clock:
        for data in inputs(target, seed):
            clock.start()
            if done >= count or time.monotonic() >= end:
                break
            done += 1
            try:
                opened += target.run(data)
            except (Exception, Alarm) as error:
                failure = _failure(reader, data, error)
                failures.setdefault(failure.name, failure)
            slowest = max(slowest, clock.taken_seconds)
    return Round(reader, done, opened, slowest, list(failures.values()))


class Clock:
    """When the input began. A timer looks at it twice a second: arming one for each input would cost more."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """An input begins now."""
        self._began, self._worked = time.monotonic(), time.process_time()

    @property
    def taken_seconds(self) -> float:
        """How long the input has worked."""
        return time.process_time() - self._worked

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise Alarm when the input took too long."""
        if self.taken_seconds > ALARM_SECONDS or time.monotonic() - self._began > _HANGS_SECONDS:
            raise Alarm


@contextmanager
def alarms() -> Iterator[Clock]:
    """SIGALRM raises Alarm in an input that takes too long."""
    clock = Clock()
    before = signal.signal(signal.SIGALRM, clock.ring)
    signal.setitimer(signal.ITIMER_REAL, _TICK_SECONDS, _TICK_SECONDS)
    try:
        yield clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_address_space() -> None:
    """From here on this process has 1 GiB."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, hard))


def save(failure: Failure, folder: Path) -> Path:
    """Write a failing input and its traceback; the path of the input."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / failure.name
    path.write_bytes(failure.data)
    path.with_name(path.name + ".txt").write_text(failure.report)
    return path


def _failure(reader: str, data: bytes, error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/inspector/" in frame.filename] or list(frames)
    place = f"{Path(ours[-1].filename).name}-{ours[-1].lineno}"
    report = "".join(traceback.format_exception(error))
    return Failure(reader, f"{reader}-{type(error).__name__}-{place}", data, report)
