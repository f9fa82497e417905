"""The lab of an arm64 world: the features of a vCPU, events by key, the timeline, the outcome."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from inspector.tui import lab_keys
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.key import bindings
from inspector.tui.screens.world_lab import WorldLabScreen
from inspector.tui.wanted import BytesWanted, OtherLabWanted
from inspector.tui.widgets.feature_matrix import FeatureMatrix
from inspector.tui.widgets.outcome_pane import OutcomePane, why_text

#: In fewer lines than these, timeline and outcome need all but two.
_LOW_LINES = 20


class Arm64LabScreen(WorldLabScreen):
    """Simulated arm64 hosts, their VMs and vCPUs to play with."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(lab_keys.ARM64_LAB)
    keys_name = "arm64 lab"
    session: Arm64LabSession
    # SVE.
    first_row = 1

    def make_matrix(self) -> FeatureMatrix:
        """See WorldLabScreen."""
        return FeatureMatrix(self.session)

    @property
    def matrix(self) -> FeatureMatrix:
        """The features."""
        return self.query_one(FeatureMatrix)

    def fit(self, width: int, height: int) -> None:  # noqa: ARG002
        """See WorldLabScreen."""
        self.matrix.styles.max_height = self.matrix.line_count() if height >= _LOW_LINES else 2

    def title_words(self) -> list[str]:
        """See WorldLabScreen."""
        return [self.session.host_words, self.session.scenario.policy]

    def show_head(self, width: int) -> None:  # noqa: ARG002
        """See WorldLabScreen."""
        self.say("columns", FeatureMatrix.heading())

    def bytes_wanted(self) -> BytesWanted | str:
        """See WorldLabScreen."""
        if self.session.vm_number:
            return f"a capture has the first VM's vCPUs, this is VM {self.session.vm_number}"
        capture = self.session.capture()
        if not capture.vcpus:
            return "no vCPU is initialized yet"
        number = min(self.session.capture_index(), len(capture.vcpus) - 1)
        return BytesWanted(capture, self.session.bytes_path(), number)

    def action_event(self, event: str) -> None:
        """One of the events with a key."""
        self.done(self.session.event(event))

    def action_feature(self) -> None:
        """KVM_ARM_VCPU_INIT with the selected feature, or without it."""
        self.done(self.session.toggle(self.matrix.row()))

    def action_execute(self) -> None:
        """The selected feature's instruction."""
        self.done(self.session.execute(self.matrix.row()))

    def action_why(self) -> None:
        """What is between the selected feature and the guest."""
        row = self.matrix.row()
        if row.touch is None:
            self.tell(f"{row.feature.name}: no instruction here uses it, or there is no vCPU yet")
            return
        pane = self.query_one(OutcomePane)
        pane.tell(why_text(row.feature.name, row.touch, "", pane.text_width))

    def action_host(self) -> None:
        """The next host."""
        self.session.look_at_host(self.session.host_number + 1)
        self.show_all()

    def action_registers(self) -> None:
        """The ID registers of the same host."""
        session = self.session
        is_captured = session.origin is None or session.world.captured is not None
        self.want(OtherLabWanted(session.id_lab(), not is_captured))
