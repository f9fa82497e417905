"""What a screen asks the application for: another screen, which it need not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.message import Message

from inspector.capture.model import Capture, Vcpu

if TYPE_CHECKING:
    from inspector.targets.labs import Lab
    from inspector.tui.migration_session import MigrationSession
    from inspector.tui.session import Session


class TargetWanted(NamedTuple):
    """A word that is to be opened."""

    target: str


class LabWanted(NamedTuple):
    """The lab in which this vCPU goes on."""

    capture: Capture
    vcpu: Vcpu | None


class PlayWanted(NamedTuple):
    """The world in which this vCPU is restored, to play events."""

    capture: Capture
    vcpu: Vcpu | None


class BytesWanted(NamedTuple):
    """The bytes of a simulated machine, at a field."""

    capture: Capture
    path: str
    vcpu_number: int = 0


class CompareWanted(NamedTuple):
    """The vCPUs of an opened capture side by side."""

    session: Session


class FieldWanted(NamedTuple):
    """An opened capture, edits and all, at a field of a vCPU (-1: of the machine or process)."""

    session: Session
    path: str
    vcpu_number: int


class OtherLabWanted(NamedTuple):
    """Another lab on the same host; ``has_command``: its words make it again."""

    lab: Lab
    has_command: bool


class EditsWanted(NamedTuple):
    """The edits of an opened capture."""

    session: Session


class MigrationWanted(NamedTuple):
    """A vCPU that is to move."""

    session: MigrationSession


class CallsWanted(NamedTuple):
    """The calls of a log beside the machine's answers."""

    capture: Capture


Wanted = (
    TargetWanted
    | LabWanted
    | PlayWanted
    | BytesWanted
    | CompareWanted
    | FieldWanted
    | OtherLabWanted
    | EditsWanted
    | MigrationWanted
    | CallsWanted
)


class AgainWanted(Message):
    """The target should be read again."""
