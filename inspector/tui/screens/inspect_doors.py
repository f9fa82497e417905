"""Where the Inspect screen leads: labs, comparison, findings, and the same target read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.tui.base_app import KeyedScreen
from inspector.tui.wanted import AgainWanted, CallsWanted, CompareWanted, LabWanted, MigrationWanted, PlayWanted

if TYPE_CHECKING:
    from inspector.capture.model import Capture
    from inspector.lint.findings import Finding
    from inspector.tui.session import Session


class DoorScreen(KeyedScreen):
    """A screen over a session that opens others. ``session`` is None until the capture is there."""

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None

    def show_all(self) -> None:
        """Paint every pane anew."""
        raise NotImplementedError

    def say(self, notice: str) -> None:
        """Show a notice above the panes."""
        raise NotImplementedError

    def action_lab(self) -> None:
        """What this vCPU may do next: its state is restored in the XSTATE lab."""
        if self.session is not None:
            self.want(LabWanted(self.session.capture, self.session.vcpu))

    def action_play(self) -> None:
        """Events on this vCPU: its state is restored in a world, on x86 that of the XSTATE lab."""
        if self.session is not None:
            self.want(PlayWanted(self.session.capture, self.session.vcpu))

    def action_migrate(self) -> None:
        """Ask for the host that this vCPU is to move to."""
        from inspector.targets.host_names import completed
        from inspector.tui.widgets.prompt import Prompt

        vcpu = self.session.vcpu if self.session is not None else None
        if vcpu is None:
            self.notify("a move is a vCPU's: none is selected", timeout=3)
            return
        words = "migrate to (a host, a file, kvm:; Tab completes):"
        self.query_one(Prompt).ask("migrate", words, "", lambda text: completed(text, vcpu.arch))

    def migrate(self, host: str) -> None:
        """Would the vCPU arrive there. Raises UsageError and InputError for a host that is none."""
        from inspector.tui.migrations import session_of_vcpu
        from inspector.tui.widgets.prompt import Prompt

        assert self.session is not None
        session = session_of_vcpu(self.session.capture, self.session.vcpu, host)
        self.query_one(Prompt).close()
        self.want(MigrationWanted(session))

    def action_again(self) -> None:
        """Read the target again; not over edits, which would be lost."""
        if self.session is None or not self.session.overlay.edits:
            self.post_message(AgainWanted())
        else:
            self.notify("read again would lose the edits: undo them first (u)", severity="warning", timeout=3)

    def show_again(self, capture: Capture) -> None:
        """What was read again, at the same place, with what changed marked."""
        from inspector.tui.again import read_again, told_again

        if self.session is not None and not self.session.overlay.edits:
            self.session = read_again(self.session, capture)
            self.say(told_again(self.session))
            self.show_all()

    def action_compare(self) -> None:
        """All vCPUs side by side."""
        if self.session is not None and len(self.session.capture.vcpus) > 1:
            self.want(CompareWanted(self.session))
        else:
            self.notify("one vCPU: nothing to compare it with", timeout=3)

    def action_calls(self) -> None:
        """A log's calls, each beside the machine's answer."""
        if self.session is not None and self.session.capture.calls:
            self.want(CallsWanted(self.session.capture))
        else:
            self.notify("no log of calls or events", timeout=3)

    def action_findings(self) -> None:
        """What contradicts itself in the capture as it is now."""
        from inspector.tui.screens.findings import FindingsScreen

        if self.session is not None:
            self.app.push_screen(FindingsScreen(self.session.capture, self._go_to))

    def _go_to(self, finding: Finding) -> None:
        assert self.session is not None
        if not self.session.go_to_finding(finding):
            self.notify(f"{finding.path} was not captured", markup=False, timeout=3)
        self.show_all()


def actions_of(screen: type[KeyedScreen]) -> frozenset[str]:
    """The names of the actions that a class of screens itself has."""
    return frozenset(name.removeprefix("action_") for name in vars(screen) if name.startswith("action_"))


DOOR_ACTIONS = actions_of(DoorScreen)
