"""Recorded answers of real kernels against the machine: what agrees, by kind and by answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from inspector.capture.errors import InputError
from layouts.kernels import UnknownReleaseError

SCHEMA = 1
_SHOWN_DISAGREEMENTS = 100
_TEXT_LENGTH = 200


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


class Agreement:
    """Tallies of answers: ``[agree, total]`` by kind and by answer, the first disagreements."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.by_kind: dict[str, list[int]] = {}
        self.by_answer: dict[str, list[int]] = {"accepted": [0, 0], "refused": [0, 0]}
        self.disagreements: list[Answer] = []

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        agrees = answer.agrees
        for tally in (
            self.by_kind.setdefault(answer.kind, [0, 0]),
            self.by_answer["accepted" if answer.accepted else "refused"],
        ):
            tally[0] += agrees
            tally[1] += 1
        if not agrees and len(self.disagreements) < _SHOWN_DISAGREEMENTS:
            self.disagreements.append(answer)

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


def records(file: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of a file, one JSON object a line. Raises InputError naming the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {number}", "one JSON object", str(error)) from error
        if not isinstance(found, dict) or not isinstance(found.get("t"), str):
            raise InputError(
                f"{file}: line {number}", 'an object with a kind "t"', line[:40].decode("utf-8", "replace")
            )
        yield found


def verify(file: str, lines: Iterable[bytes], cpu: str = "") -> Agreement:
    """Replay a file of recorded answers, on the CPU that it records or on a shipped one.

    Raises InputError for what is no such file, or whose records lack what their kind has.
    """
    agreement = Agreement(file)
    found = list(records(file, lines))
    try:
        for answer in _replay(found, cpu):
            agreement.add(answer)
    except UnknownReleaseError as error:
        named = f"the release {error.release!r}" if error.release else f"{len(found)} records without one"
        raise InputError(file, f"answers of {error.expected} (a uname record)", named) from None
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(file, "records as the recorder writes them", f"{type(error).__name__}: {error}") from error
    if not agreement.total:
        raise InputError(file, "recorded answers of x86 or arm64", f"{len(found)} records of other kinds")
    return agreement


def _replay(found: list[dict[str, Any]], cpu: str) -> Iterator[Answer]:
    """The answers of the architecture that the records are about."""
    if is_arm64(found):
        from inspector.machine.arm64.replay.records import replay as replay_arm64

        return replay_arm64(found)
    from inspector.machine.x86.replay.records import replay

    return replay(found, cpu)


def is_arm64(found: list[dict[str, Any]]) -> bool:
    """Records of KVM/arm64: its kinds, or sequences in which vCPUs are made."""
    for record in found:
        if record["t"] in ("idreg", "idw", "reglist", "feat"):
            return True
        if record["t"] == "seq":
            return any(step[0] in ("create_vcpu", "init") for step in record["steps"])
    return False
