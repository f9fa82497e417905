"""Why an event came out as it did: one sentence, the checks in order, what changed, the source."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from inspector.capture.errors import visible
from inspector.machine.x86.world import Step
from layouts.x86.scenario import Scenario


class OutcomePane(VerticalScroll, can_focus=True):
    """The outcome of the selected event."""

    DEFAULT_CSS = "OutcomePane { background: $background; scrollbar-size-vertical: 1; }"

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", markup=False)

    def show(self, step: Step | None, scenario: Scenario) -> None:
        """Show an event's outcome, or how to begin."""
        text = outcome_text(step) if step is not None else beginning_text(scenario)
        self.query_one(Static).update(text)
        self.scroll_home(animate=False)


def beginning_text(scenario: Scenario) -> Text:
    """What to do first."""
    text = Text(f"{scenario.title}\n", "bold")
    if scenario.source:
        text.append(f"{scenario.source}\n", "dim")
    if scenario.events:
        return text.append("n lets the next event happen, u takes it back.\n")
    return text.append("p permits the guest a component, v creates a vCPU, c sets its CPUID; ? shows all keys.\n")


def outcome_text(step: Step) -> Text:
    """The sentence, the checks, the changes."""
    outcome = step.outcome
    text = Text(f"{visible(step.event)}: {outcome}", "bold")
    if outcome.accepted and outcome.value:
        text.append(f", {outcome.value:#x}")
    if outcome.image:
        text.append(f", {len(outcome.image)} bytes")
    text.append("\n")
    for check in outcome.checks:
        text.append("  ✓ " if check.held else "  ✗ ", "green" if check.held else "bold red")
        text.append(f"{check.text}\n")
    for name, (before, after) in step.changes.items():
        text.append(f"  {name}: {before} → {after}\n")
    if step.bytes_changed:
        text.append(f"  {step.bytes_changed} bytes of the image changed\n")
    return text.append(f"  {outcome.source}\n", "dim")
