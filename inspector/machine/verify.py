"""Recorded answers of real kernels against the machine: what agrees, by kind and by answer."""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from inspector.capture.errors import InputError
from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError
from inspector.machine.arm64.replay import records as arm64_records
from inspector.machine.arm64.replay import shapes as arm64_shapes
from inspector.machine.arm64.replay.deep import hosts as deep_hosts
from inspector.machine.arm64.replay.deep import replay as deep_replay
from inspector.machine.arm64.replay.deep import shapes as deep_shapes
from inspector.machine.outcome import MemoryFaultError
from inspector.machine.recording import (
    PROGRAMS,
    check_shapes,
    is_arm64,
    is_deep,
    is_restore,
    names_host,
    records,
    with_host,
)
from inspector.machine.x86.replay import records as x86_records
from inspector.machine.x86.replay import shapes as x86_shapes
from inspector.machine.x86.replay.restore import replay as restore_replay
from inspector.machine.x86.replay.restore import shapes as restore_shapes
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.captures import CapturesByName
from layouts.kernels import UnknownReleaseError

Counted = TypeVar("Counted")
_SHOWN_DISAGREEMENTS = 100
#: What Python says of a record that lacks something or holds something else, and where that is met.
_MISFITS = (
    *(KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, AssertionError, struct.error),
    MemoryFaultError,
)
_TAKEN_APART = ("inspector.machine.x86.replay.",)


class Agreement:
    """Tallies of answers: ``[agree, total]`` by kind and by answer, the first disagreements.

    ``not_asked`` has what the machine was not asked: by cause, by kind, how many answers. ``host`` says what
    the machine was made from.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.host = ""
        self.not_asked: dict[str, dict[str, int]] = {}
        self.by_kind: dict[str, list[int]] = {}
        self.by_answer: dict[str, list[int]] = {"accepted": [0, 0], "refused": [0, 0]}
        self.disagreements: list[Answer] = []

    def add(self, answer: Answer | Agreed | NotAsked) -> None:
        """Count an answer, or several."""
        if isinstance(answer, Agreed):
            self._count(answer.kind, "accepted", answer.accepted)
            self._count(answer.kind, "refused", answer.refused)
            return
        if isinstance(answer, NotAsked):
            kinds = self.not_asked.setdefault(answer.cause, {})
            kinds[answer.kind] = kinds.get(answer.kind, 0) + answer.answers
            return
        agrees = answer.agrees
        for tally in (
            self.by_kind.setdefault(answer.kind, [0, 0]),
            self.by_answer["accepted" if answer.accepted else "refused"],
        ):
            tally[0] += agrees
            tally[1] += 1
        if not agrees and len(self.disagreements) < _SHOWN_DISAGREEMENTS:
            self.disagreements.append(answer)

    def _count(self, kind: str, answer: str, agree: int) -> None:
        for tally in (self.by_kind.setdefault(kind, [0, 0]), self.by_answer[answer]):
            tally[0] += agree
            tally[1] += agree

    @property
    def unasked(self) -> int:
        """Recorded answers that the machine was not asked."""
        return sum(sum(kinds.values()) for kinds in self.not_asked.values())

    @property
    def agree(self) -> int:
        """Answers that agree."""
        return sum(tally[0] for tally in self.by_answer.values())

    @property
    def total(self) -> int:
        """Answers."""
        return sum(tally[1] for tally in self.by_answer.values())

    def as_json(self) -> dict[str, Any]:
        """What ``verify --json`` prints behind its head."""
        return {
            "file": self.file,
            "total": self.total,
            "agree": self.agree,
            "by_kind": self.by_kind,
            "by_answer": self.by_answer,
            "host": self.host,
            "not_asked": self.not_asked,
            "disagreements": [
                {
                    "record": answer.record,
                    "expected": answer.expected,
                    "predicted": answer.predicted,
                    "because": answer.because,
                }
                for answer in self.disagreements
            ],
        }


def verify(
    file: str,
    lines: Iterable[bytes],
    cpu: str = "",
    host: Iterable[bytes] | None = None,
    captures: CapturesByName | None = None,
) -> Agreement:
    """Replay a file of recorded answers, on the CPU that it records or on a shipped one.

    ``host``: the records of the file that names the host, for a file that names none. ``captures``: the files of
    a captured vCPU by its name, for a file that restores vCPUs of other hosts.

    Raises InputError for what is no such file, or whose records lack what their kind has.
    """
    agreement = Agreement(file)
    found = list(records(file, lines))
    if host is not None and not names_host(found):
        found = with_host(found, list(records(f"{file}: its host", host)))
    try:
        for answer in _replay(agreement, found, cpu, captures):
            agreement.add(answer)
    except RecordError as error:
        raise InputError(file, "records that follow from each other", str(error)) from error
    except UnknownReleaseError as error:
        named = f"the release {error.release!r}" if error.release else f"{len(found)} records without one"
        raise InputError(file, f"answers of {error.expected} (a uname or meta record)", named) from None
    if not agreement.total:
        raise InputError(file, "recorded answers of x86 or arm64", f"{len(found)} records of other kinds")
    return agreement


def _replay(
    agreement: Agreement, found: list[dict[str, Any]], cpu: str, captures: CapturesByName | None
) -> Iterator[Answer | Agreed | NotAsked] | Iterator[Answer]:
    """The answers of the architecture and the form of recording that the records are of."""
    if is_restore(found):
        return _replay_restore(agreement, found, captures)
    if is_deep(found):
        return _replay_deep(agreement, found)
    if is_arm64(found):
        return _replay_arm64(agreement, found)
    return _replay_x86(agreement, found, cpu)


def _replay_restore(
    agreement: Agreement, found: list[dict[str, Any]], captures: CapturesByName | None
) -> Iterator[Answer | Agreed | NotAsked]:
    return _of_programs(agreement.file, _restored(agreement, found, captures))


def _restored(
    agreement: Agreement, found: list[dict[str, Any]], captures: CapturesByName | None
) -> Iterator[Answer | Agreed | NotAsked]:
    restore_shapes.check(agreement.file, found)
    bench = Bench(agreement.file, found)
    agreement.host = f"{bench.runner.get('cpu', 'a CPU')}, kernel {bench.kvm.kernel.label}, from bare CPUID"
    yield from restore_replay.replay(bench, captures)


def _replay_deep(agreement: Agreement, found: list[dict[str, Any]]) -> Iterator[Answer | Agreed | NotAsked]:
    check_shapes(agreement.file, found, "op", deep_shapes.SHAPES)
    host = deep_hosts.host_of_records(agreement.file, found)
    agreement.host = f"{host.name}, kernel {host.kernel.label}, from bare registers"
    return deep_replay.replay(host, found)


def _replay_arm64(agreement: Agreement, found: list[dict[str, Any]]) -> Iterator[Answer | Agreed | NotAsked]:
    check_shapes(agreement.file, found, "t", arm64_shapes.SHAPES)
    made = arm64_records.hosted(agreement.file, found)
    how = "the file's own answers" if made.recalled else "bare registers"
    agreement.host = f"{made.host.name or agreement.file}, kernel {made.host.kernel.label}, from {how}"
    return arm64_records.replay(made, found)


def _replay_x86(agreement: Agreement, found: list[dict[str, Any]], cpu: str) -> Iterator[Answer | NotAsked]:
    check_shapes(agreement.file, found, "t", x86_shapes.SHAPES)
    host = x86_records.hosted(found, cpu)
    agreement.host = f"kernel {host.kernel.label}, the processor of {'an emulator' if host.emulated else 'silicon'}"
    answers = x86_records.replay(host, found)
    return _of_programs(agreement.file, answers) if PROGRAMS & {record["t"] for record in found} else answers


def _of_programs(file: str, answers: Iterator[Counted]) -> Iterator[Counted]:
    """Records without shapes, as steps of programs: what cannot be done with one is told when it is done."""
    try:
        yield from answers
    except _MISFITS as error:
        if not _is_of_the_record(error):
            raise
        raise InputError(file, "records as the recorder writes them", f"{type(error).__name__}: {error}") from error


def _is_of_the_record(error: BaseException) -> bool:
    """It came up where records are taken apart, or of too few bytes; what comes up in the rules is a bug of ours."""
    return isinstance(error, (MemoryFaultError, struct.error)) or any(
        frame.f_globals.get("__name__", "").startswith(_TAKEN_APART)
        for frame, _ in [*traceback.walk_tb(error.__traceback__)][-1:]
    )
