"""Recorded answers of real kernels against the machine: what agrees, by kind and by answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from inspector.capture.errors import InputError
from inspector.machine.outcome import MemoryFaultError
from inspector.machine.shapes import ANY_TEXT, Shape, misfit
from layouts.kernels import UnknownReleaseError

SCHEMA = 1
#: Before records of another file that name the host: they are not replayed.
BORROWED_HOST = "borrowed-host"
_SHOWN_DISAGREEMENTS = 100
_TEXT_LENGTH = 200
#: Kinds of x86 records that are programs.
_PROGRAMS = frozenset(("prog", "ptrace"))


class Answer(NamedTuple):
    """One recorded answer beside the machine's. ``accepted``: the real kernel said yes."""

    kind: str
    record: str
    expected: object
    predicted: object
    accepted: bool
    because: str = ""

    @property
    def agrees(self) -> bool:
        """The machine says what the kernel said."""
        return self.expected == self.predicted


class Agreed(NamedTuple):
    """Many answers of a kind that all agree: how many the kernel accepted, and how many it refused."""

    kind: str
    accepted: int
    refused: int


class NotAsked(NamedTuple):
    """Recorded answers that the machine was not asked, and why; they count neither as agreement nor against it."""

    kind: str
    cause: str
    answers: int


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
        """The documented shape of ``verify --json``."""
        return {
            "schema": SCHEMA,
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


def text_of(record: object) -> str:
    """A record in a report: its JSON, cut."""
    text = json.dumps(record, separators=(",", ":"))
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"


class RecordError(ValueError):
    """A record that does not follow from those before it: a call on a vCPU that nobody made, say."""


def records(file: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of a file, one JSON object a line. Raises InputError naming the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {number}", "one JSON object", str(error)) from error
        if not isinstance(found, dict) or not (isinstance(found.get("t"), str) or isinstance(found.get("op"), str)):
            expected = 'an object with a kind "t" or "op"'
            raise InputError(f"{file}: line {number}", expected, line[:40].decode("utf-8", "replace"))
        yield found


def check_shapes(file: str, found: Iterable[Mapping[str, Any]], key: str, shapes: Mapping[str, Shape]) -> None:
    """Every record is as its kind's records are. Raises InputError naming the record; other kinds pass."""
    for number, record in enumerate(found, 1):
        wrong = misfit(record, {key: ANY_TEXT}) or misfit(record, shapes.get(record[key], {}))
        if wrong is not None:
            raise InputError(f"{file}: record {number}, {record.get(key, 'of no kind')}", *wrong)


def verify(
    file: str,
    lines: Iterable[bytes],
    cpu: str = "",
    host: Iterable[bytes] | None = None,
    captures: Callable[[str], Mapping[str, bytes] | None] | None = None,
) -> Agreement:
    """Replay a file of recorded answers, on the CPU that it records or on a shipped one.

    ``host``: the records of the file that names the host, for a file that names none. ``captures``: the files of
    a captured vCPU by its name, for a file that restores vCPUs of other hosts.

    Raises InputError for what is no such file, or whose records lack what their kind has.
    """
    agreement = Agreement(file)
    found = list(records(file, lines))
    if host is not None and not names_host(found):
        found = _with_host(found, list(records(f"{file}: its host", host)))
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
    agreement: Agreement,
    found: list[dict[str, Any]],
    cpu: str,
    captures: Callable[[str], Mapping[str, bytes] | None] | None,
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
    agreement: Agreement,
    found: list[dict[str, Any]],
    captures: Callable[[str], Mapping[str, bytes] | None] | None,
) -> Iterator[Answer | Agreed | NotAsked]:
    from inspector.machine.x86.replay.restore.bench import Bench
    from inspector.machine.x86.replay.restore.replay import replay

    bench = Bench(agreement.file, found)
    agreement.host = f"{bench.runner.get('cpu', 'a CPU')}, kernel {bench.kvm.kernel.name}, from bare CPUID"
    return _of_programs(agreement.file, replay(bench, captures))


def _replay_deep(agreement: Agreement, found: list[dict[str, Any]]) -> Iterator[Answer | Agreed | NotAsked]:
    from inspector.machine.arm64.replay.deep import hosts, shapes
    from inspector.machine.arm64.replay.deep.replay import replay

    check_shapes(agreement.file, found, "op", shapes.SHAPES)
    host = hosts.host_of(agreement.file, found)
    agreement.host = f"{host.name}, kernel {host.kernel.name}, from bare registers"
    return replay(host, found)


def _replay_arm64(agreement: Agreement, found: list[dict[str, Any]]) -> Iterator[Answer | Agreed | NotAsked]:
    from inspector.machine.arm64.replay import shapes
    from inspector.machine.arm64.replay.records import hosted, replay

    check_shapes(agreement.file, found, "t", shapes.SHAPES)
    made = hosted(agreement.file, found)
    how = "the file's own answers" if made.recalled else "bare registers"
    agreement.host = f"{made.host.name or agreement.file}, kernel {made.host.kernel.name}, from {how}"
    return replay(made, found)


def _replay_x86(agreement: Agreement, found: list[dict[str, Any]], cpu: str) -> Iterator[Answer | NotAsked]:
    from inspector.machine.x86.replay import shapes
    from inspector.machine.x86.replay.records import hosted, replay

    check_shapes(agreement.file, found, "t", shapes.SHAPES)
    host = hosted(found, cpu)
    agreement.host = f"kernel {host.kernel.name}, the processor of {'an emulator' if host.emulated else 'silicon'}"
    answers = replay(host, found)
    return _of_programs(agreement.file, answers) if _PROGRAMS & {record["t"] for record in found} else answers


Counted = TypeVar("Counted")


def _of_programs(file: str, answers: Iterator[Counted]) -> Iterator[Counted]:
    """Records without shapes, as steps of programs: what cannot be done with one is told when it is done."""
    try:
        yield from answers
    except (
        *(KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, AssertionError),
        MemoryFaultError,
    ) as error:
        raise InputError(file, "records as the recorder writes them", f"{type(error).__name__}: {error}") from error


def _with_host(found: list[dict[str, Any]], host: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with those that name their host: before them all, or behind what ran them."""
    if not is_restore(found):
        return [*host, *found]
    section = [*(record for record in host if record.get("op") == "section" and record.get("name") == "host")]
    at = host.index(section[0]) if section else len(host)
    end = next((nth for nth in range(at, len(host)) if host[nth].get("op") == "end"), len(host))
    return [found[0], {"op": BORROWED_HOST}, *host[at:end], {"op": "end", "name": "host"}, *found[1:]]


def names_host(found: Iterable[Mapping[str, Any]]) -> bool:
    """Records of x86 programs need a host, its kernel or its CPUID; so do restores, and they have a section of it."""
    found = list(found)
    if found and found[0].get("op") == "runner":
        return any(record.get("op") == "section" and record.get("name") == "host" for record in found)
    kinds = {record.get("t") for record in found}
    return bool(kinds & {"uname", "cpuid", "meta"}) or not kinds & _PROGRAMS


def is_restore(found: list[dict[str, Any]]) -> bool:
    """A recording of KVM/x86's restore ioctls: it begins with what ran it."""
    return bool(found) and found[0].get("op") == "runner"


def is_deep(found: list[dict[str, Any]]) -> bool:
    """A deep recording of KVM/arm64: its records have their kind as ``op``."""
    return bool(found) and not isinstance(found[0].get("t"), str)


def is_arm64(found: list[dict[str, Any]]) -> bool:
    """Records of KVM/arm64: its kinds, or sequences in which vCPUs are made."""
    if is_deep(found):
        return True
    for record in found:
        if record.get("t") in ("idreg", "idw", "reglist", "feat"):
            return True
        if record.get("t") == "seq":
            steps = record.get("steps")
            return isinstance(steps, list) and any(
                step[:1] in (["create_vcpu"], ["init"]) for step in steps if isinstance(step, list)
            )
    return False
