"""What the Compare screen works on: the vCPUs of one capture, or one vCPU of several captures. Toolkit-free."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from inspector.capture.model import Area
from inspector.diff.pairing import rows
from inspector.tui.comparison import Comparison, Side
from inspector.tui.session import Session
from inspector.tui.titles import notice_of

#: So many vCPUs of a capture stand side by side, the selected one among them: each holds its fields.
MOST_SIDES = 256


class CompareSession:
    """Columns are the vCPUs of the one session, or the captures of several, of which ``row`` is a vCPU each."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = list(sessions)
        self.rows = rows([session.capture for session in sessions]) if len(sessions) > 1 else []
        vcpus = [number for number, row in enumerate(self.rows) if row.name]
        self.number = vcpus[0] if vcpus else 0
        #: The vCPU in the first column, where columns are vCPUs.
        self.first = self._first()
        self.comparison = Comparison(self._sides())
        if self.rows:
            # Of two or more captures the first is what the others are held against.
            self.comparison.reference = 0

    @property
    def is_over_captures(self) -> bool:
        """Whether columns are captures."""
        return bool(self.rows)

    def title(self) -> str:
        """What is compared: the vCPUs of a capture, or a vCPU of each capture."""
        if not self.rows:
            capture = self.sessions[0].capture
            count = len(capture.vcpus)
            shown = f"{self.first + 1} to {self.first + MOST_SIDES} of {count}" if count > MOST_SIDES else f"{count}"
            return f"{os.path.basename(capture.target.rstrip('/'))} · {shown} vCPUs"
        row = self.rows[self.number]
        what = "machine or process"
        if row.name:
            numbers = {f"vCPU {vcpu.index}": None for vcpu in row.vcpus if vcpu is not None}
            vcpus = sum(bool(other.name) for other in self.rows)
            what = " / ".join(numbers) + (f" of {vcpus}" if vcpus > 1 else "")
        return f"{len(self.sessions)} captures · {what}"

    def select_row(self, number: int) -> bool:
        """Compare another vCPU of the captures in the same way; whether there is one."""
        if not 0 <= number < len(self.rows) or number == self.number:
            return False
        before = self.comparison
        self.number = number
        self.comparison = Comparison(self._sides())
        self.comparison.reference, self.comparison.step = before.reference, before.step
        self.comparison.only_differences, self.comparison.filter_text = before.only_differences, before.filter_text
        self.comparison.turned = before.turned
        return True

    def _first(self) -> int:
        """So that the selected vCPU and those around it are among the columns."""
        session = self.sessions[0]
        most = len(session.capture.vcpus) - MOST_SIDES
        return max(0, min(session.vcpu_number - MOST_SIDES // 2, most))

    def _sides(self) -> list[Side]:
        if not self.rows:
            session, first = self.sessions[0], self.first
            return [
                Side(vcpu.name or f"vCPU {vcpu.index}", lambda number=number: session.areas_of(number))  # type: ignore[misc]
                for number, vcpu in enumerate(session.capture.vcpus[first : first + MOST_SIDES], first)
            ]
        targets = [session.capture.target for session in self.sessions]
        return [Side(name, lambda side=side: self._areas_of(side)) for side, name in enumerate(names(targets))]  # type: ignore[misc]

    def _areas_of(self, side: int) -> Sequence[Area]:
        session, number = self.place(side)
        if number is None:
            return ()
        return session.areas_of(number)

    def place(self, side: int) -> tuple[Session, int | None]:
        """The capture of a side and the number of its vCPU there: -1 the machine or process, None where it has none."""
        if not self.rows:
            return self.sessions[0], self.first + side
        session, vcpu = self.sessions[side], self.rows[self.number].vcpus[side]
        if not self.rows[self.number].name:
            return session, -1
        return session, session.capture.vcpus.index(vcpu) if vcpu is not None else None

    def edits(self) -> list[int]:
        """How many edits each capture has."""
        return [len(session.overlay.edits) for session in self.sessions]

    def unsaved_edits(self) -> int:
        """How many edits would be lost with all captures."""
        return sum(len(session.unsaved_edits()) for session in self.sessions)

    def notice(self) -> str:
        """What the readers had to say, and which areas cannot be read, each with its capture."""
        said = []
        for session, name in zip(self.sessions, names([s.capture.target for s in self.sessions]), strict=True):
            words = [word for word in (notice_of(session.capture), *session.trouble.values()) if word]
            said += [f"{name}: {'; '.join(words)}"] if words else []
        return "; ".join(said)

    def command(self, path: str, side: int) -> str:
        """The command that prints what differs in a field: of all captures, or of a vCPU from the reference."""
        if not self.rows:
            session = self.sessions[0]
            sides = [session.capture.target] * 2
            numbers = [self.first + at for at in self._pair(path, side)]
        else:
            sides = [session.capture.target for session in self.sessions]
            number = self.place(0)[1]
            numbers = [number] if number is not None and number >= 0 and len(self.rows) > 1 else []
        words = ["inspector", "diff", *sides]
        for number in numbers:
            words += ["--vcpu", str(number)]
        return shlex.join([*words, "--field", path])

    def _pair(self, path: str, side: int) -> list[int]:
        """A vCPU that is as it should be, and one that is not: the given one where it is odd."""
        odd = self.comparison.odd(path)
        usual = [other for other in range(len(self.comparison.sides)) if other not in odd]
        if side not in odd:
            return [side, min(odd, default=(side + 1) % len(self.comparison.sides))]
        return [self.comparison.reference if self.comparison.reference is not None else usual[0], side]


def names(targets: Sequence[str]) -> list[str]:
    """Short names of targets, whole ones where short ones are the same; a target that comes twice is numbered."""
    short = [os.path.basename(target.rstrip("/")) for target in targets]
    chosen = short if len(set(short)) == len(short) else list(targets)
    return [name if chosen.count(name) == 1 else f"{name} [{number}]" for number, name in enumerate(chosen)]
