"""Why an event came out as it did: one sentence, the checks in order, what kernels did, what changed, the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from rich.text import Text

from inspector.capture.errors import visible
from inspector.export.evidence import source_of
from inspector.export.machine_state import changes_of
from inspector.export.timeline import answer_of, stamp_of
from inspector.export.why import SOURCE, gate_sentence, result_of
from inspector.export.words import counted
from inspector.machine.against import Happened
from inspector.machine.log import Line
from inspector.machine.offers import Offer
from inspector.machine.outcome import Outcome
from inspector.machine.world import WorldStep
from inspector.machine.x86.world.gates import Chain, Gate, GateState
from inspector.tui.widgets.text_pane import TextPane
from layouts.scenario import Scenario

_SIDE_BY_SIDE_COLUMNS = 76
#: What to press where no scenario tells what comes next, by the ids of keys.
_FIRST_KEYS = {
    "x86": "{xstate.permit} permits guests a component, {xstate.create} creates a vCPU, {xstate.cpuid} sets its CPUID",
    "arm64": "{arm64.vm} creates a VM, {arm64.vcpu} a vCPU, {arm64.feature} asks for the selected feature",
}
#: How the ids of an architecture's lab begin.
_LABS = {"x86": "xstate", "arm64": "arm64"}


class OutcomePane(TextPane):
    """The outcome of the selected event."""

    wraps = True

    def show(
        self,
        step: WorldStep[Any] | None,
        scenario: Scenario,
        keys: Mapping[str, str],
        number: int = 0,
        offered: Sequence[Offer] = (),
    ) -> None:
        """Show the outcome of the numbered event, and what sensibly comes next; or how to begin.

        ``keys`` are the lab's as they are written, by id.
        """
        if step is None:
            self.tell(beginning_text(scenario, keys))
            return
        offers = (
            offers_text(offered, keys[f"{_LABS[scenario.architecture]}.suggested"], self.text_width)
            if offered
            else Text()
        )
        self.tell(outcome_text(step, scenario, number, self.text_width, offers))


def beginning_text(scenario: Scenario, keys: Mapping[str, str]) -> Text:
    """What to do first."""
    text = Text(f"{visible(scenario.title)}\n", "bold")
    if scenario.source:
        text.append(f"{scenario.source}\n", "dim")
    if scenario.because:
        text.append(f"host: {visible(scenario.because)}\n", "dim")
    for note in scenario.notes:
        text.append(f"the source errs: {visible(note)}\n", "dim")
    if scenario.events:
        goes_on, back = keys[f"{_LABS[scenario.architecture]}.next"], keys["lab.undo"]
        return text.append(f"{goes_on} lets the next event happen, {back} takes it back.\n")
    first = _FIRST_KEYS[scenario.architecture]
    for name, key in keys.items():
        first = first.replace(f"{{{name}}}", key)
    return text.append(f"{first}; {keys['app.help']} shows all keys.\n")


def offers_text(offered: Sequence[Offer], key: str, width: int) -> Text:
    """What sensibly comes next; the key makes the first."""
    text = Text()
    for number, offer in enumerate(offered):
        mark = key if number == 0 else "·"
        text.append(f"  {mark} ", "bold")
        words = f"{offer.text}: {', '.join(offer.steps)}"
        text.append(hanging(words, width, len(mark) + 3), "" if number else "bold")
    return text


def left_out_text(left_out: Sequence[Happened]) -> Text:
    """The events that cannot happen in another world."""
    text = Text("cannot happen there, and were left out:\n", "bold")
    for one in left_out:
        text.append(f"  {visible(one.event)}: ", "bold red").append(f"{visible(one.why)}\n")
    return text


def checks_text(text: Text, outcome: Outcome, width: int) -> Text:
    """The checks in order, the one that decided last."""
    for check in outcome.checks:
        text.append("  ✓ " if check.held else "  ✗ ", "green" if check.held else "bold red")
        text.append(hanging(check.text if check.held else f"does not hold: {check.text}", width, 4))
    return text


def hanging(text: str, width: int, indent: int) -> str:
    """A text whose further lines are indented."""
    lines = wrap(text, max(20, width - indent - 1)) or [""]
    return ("\n" + " " * indent).join(lines) + "\n"


def why_text(name: str, outcome: Outcome, use: str, width: int) -> Text:
    """The way of a component or feature to the guest, and how it is used."""
    failed = next((check.text for check in outcome.checks if not check.held), "")
    if outcome.accepted:
        sentence = f"works, though this does not hold: {failed}" if failed else "nothing is in its way"
    else:
        sentence = f"stops here; this does not hold: {failed}"
    text = checks_text(Text(f"{name}: {sentence}\n", "bold"), outcome, width)
    if use:
        text.append("  " + hanging(use, width, 4))
    return text.append("  " + hanging(source_of(outcome), width, 4), "dim")


_GATE_SIGNS: dict[GateState, tuple[str, str]] = {
    "open": ("  ✓ ", "green"),
    "closed": ("  ✗ ", "bold red"),
    "on use": ("  ◐ ", "yellow"),
    "passed": ("  ○ ", "dim"),
}


def gates_text(name: str, found: Sequence[Chain], use: str, width: int) -> Text:
    """The gates of a component as they are for the innermost actor, what the others get, and how it is used."""
    *others, chain = found
    text = Text(f"{name}: {result_of(chain)}\n", "bold")
    for gate in chain.gates:
        sign, style = _GATE_SIGNS[gate.state]
        text.append(sign, style).append(hanging(gate_sentence(gate), width, 4))
    for other in others:
        text.append("  " + hanging(result_of(other), width, 4))
    if use:
        text.append("  " + hanging(use, width, 4))
    return text.append("  " + hanging(SOURCE, width, 4), "dim")


def gate_text(chain: Chain, gate: Gate, key: str, width: int) -> Text:
    """One gate of an actor, and the key that opens it, where there is one."""
    sign, style = _GATE_SIGNS[gate.state]
    text = Text(f"{chain.actor}, {gate.name}: {gate.state}\n", "bold")
    text.append(sign, style).append(hanging(gate_sentence(gate), width, 4))
    if key:
        text.append("  ").append(hanging(f"{key}, or a second click there, does what opens it", width, 4), "bold")
    text.append("  " + hanging(result_of(chain), width, 4))
    return text.append("  " + hanging(SOURCE, width, 4), "dim")


def outcome_text(step: WorldStep[Any], scenario: Scenario, number: int, width: int, offered: Text) -> Text:
    """The sentence, the checks, what comes next, what each kernel did, the changes."""
    outcome = step.outcome
    text = checks_text(Text(f"{visible(step.event)}: {answer_of(outcome, step.event)}\n", "bold"), outcome, width)
    text.append(offered)
    _log_text(text, step, scenario, number, width)
    for name, (before, after) in changes_of(step).items():
        text.append("  " + hanging(f"{name}: {before} → {after}", width, 4))
    if step.bytes_changed:
        text.append(f"  {counted(step.bytes_changed, 'byte')} of the image changed\n")
    text.append("  " + hanging(source_of(outcome), width, 4), "dim")
    for line in step.log:
        if len(line.calls) > 1:
            text.append("  " + hanging(" < ".join(line.calls), width, 4), "dim")
    return text


def _log_text(text: Text, step: WorldStep[Any], scenario: Scenario, number: int, width: int) -> None:
    """What the kernels did, in order: the host's on the left, the guest's on the right where there is room."""
    beside = width >= _SIDE_BY_SIDE_COLUMNS and any(line.level == "guest" for line in step.log)
    column = (width - 4) // 2
    for line in step.log:
        words = _line_words(line, stamp_of(line, scenario.log, number))
        if not beside:
            style = "cyan" if line.level == "host" else "magenta"
            text.append("  " + hanging(f"{line.level}: {words}", width, 4), style)
            continue
        left, right = (words, "") if line.level == "host" else ("", words)
        for one, other in zip(*_wrapped(left, right, column - 2), strict=True):
            text.append(f"  {one:<{column - 1}}", "cyan").append("│ ", "dim").append(f"{other}\n", "magenta")


def _line_words(line: Line, stamp: str) -> str:
    when = f" [{stamp}]" if stamp else ""
    return f"CPU {line.cpu}, task {line.task}: {line.text}{when}"


def _wrapped(left: str, right: str, width: int) -> tuple[list[str], list[str]]:
    """Both as lines of a width, equally many."""
    lines, others = wrap(left, width), wrap(right, width)
    count = max(len(lines), len(others))
    return lines + [""] * (count - len(lines)), others + [""] * (count - len(others))
