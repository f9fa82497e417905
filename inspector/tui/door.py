"""The door between captures and machines: from a captured vCPU to its lab, and from a lab to its bytes.

What is behind it (``inspector.tui.labs``) is imported when it is opened: the first frame does not wait for machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from inspector.capture.errors import InspectorError
from inspector.tui.base_app import BaseApp
from inspector.tui.wanted import (
    BytesWanted,
    CallsWanted,
    CompareWanted,
    EditsWanted,
    FieldWanted,
    MigrationWanted,
    OtherLabWanted,
    PlayWanted,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.capture.model import Capture
    from inspector.tui.labs import LabSession
    from inspector.tui.migration_session import MigrationSession
    from inspector.tui.session import Session


class DoorApp(BaseApp):
    """An application that opens labs and their bytes where a screen asks for them."""

    def open(self, wanted: Wanted) -> None:
        """A lab, or why there is none; the bytes of a simulated machine; vCPUs side by side, a field of one."""
        if isinstance(wanted, CompareWanted | FieldWanted | EditsWanted | MigrationWanted | CallsWanted):
            self.push_screen(_over(wanted))
            return
        from inspector.tui.labs import bytes_screen, lab_screen, session_of, session_of_vcpu

        if isinstance(wanted, BytesWanted):
            self.push_screen(bytes_screen(*wanted))
            return
        if isinstance(wanted, OtherLabWanted):
            self.push_screen(lab_screen(session_of(wanted.lab, () if wanted.has_command else None)))
            return
        try:
            self.push_screen(lab_screen(session_of_vcpu(*wanted, plays=isinstance(wanted, PlayWanted))))
        except InspectorError as error:
            self.notify(str(error), markup=False, timeout=3)


def _over(wanted: CompareWanted | FieldWanted | EditsWanted | MigrationWanted | CallsWanted) -> Screen[None]:
    """Another screen on an opened capture."""
    if isinstance(wanted, MigrationWanted):
        from inspector.tui.screens.migration import MigrationScreen

        return MigrationScreen(wanted.session)
    if isinstance(wanted, CallsWanted):
        return _calls(wanted.capture)
    if isinstance(wanted, EditsWanted):
        from inspector.tui.screens.edits import EditsScreen

        return EditsScreen(*wanted)
    if isinstance(wanted, FieldWanted):
        from inspector.tui.screens.field import FieldScreen

        return FieldScreen(*wanted)
    from inspector.tui.compare_session import CompareSession
    from inspector.tui.screens.compare import CompareScreen

    return CompareScreen(CompareSession([wanted.session]))


def _calls(capture: Capture) -> Screen[None]:
    """A log's calls; where nothing tells the host, the calls alone."""
    from inspector.targets.x86_log import of_capture, unasked
    from inspector.tui.screens.calls import CallsScreen

    try:
        return CallsScreen(of_capture(capture))
    except InspectorError as error:
        return CallsScreen(unasked(capture, str(error)))


class CompareApp(DoorApp):
    """Several captures side by side as the lowest screen."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        from inspector.tui.compare_session import CompareSession
        from inspector.tui.screens.compare import CompareScreen

        super().__init__()
        self.compare = CompareScreen(CompareSession(sessions))

    def get_default_screen(self) -> Screen[None]:
        """The Compare screen."""
        return self.compare

    @property
    def is_ready(self) -> bool:
        """See BaseApp."""
        return self.compare.comparison.found is not None


class LabApp(DoorApp):
    """A lab as the lowest screen."""

    def __init__(self, session: LabSession) -> None:
        from inspector.tui.labs import lab_screen

        super().__init__()
        self.lab = lab_screen(session)

    def get_default_screen(self) -> Screen[None]:
        """The lab."""
        return self.lab


class FleetApp(DoorApp):
    """A fleet as the lowest screen. Raises InputError for a file that is no store."""

    def __init__(self, store: str) -> None:
        from inspector.tui.labs import fleet_screen

        super().__init__()
        self.target = store
        self.fleet = fleet_screen(store)

    def get_default_screen(self) -> Screen[None]:
        """The Fleet screen."""
        return self.fleet

    @property
    def is_ready(self) -> bool:
        """See BaseApp."""
        return self.fleet.is_ready


class MigrationApp(DoorApp):
    """A migration as the lowest screen."""

    def __init__(self, session: MigrationSession) -> None:
        from inspector.tui.screens.migration import MigrationScreen

        super().__init__()
        self.migration = MigrationScreen(session)

    def get_default_screen(self) -> Screen[None]:
        """The Migration screen."""
        return self.migration
