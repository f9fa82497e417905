"""What the ID-register lab says of a selected line."""

from __future__ import annotations

from rich.text import Text

from inspector.capture.errors import visible
from inspector.machine.arm64.idregs import policy_words
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.tui.widgets.outcome_pane import checks_text, hanging

_SHOWN = 12


def summary_text(bench: Workbench, width: int) -> Text:
    """Whether the guest runs on the host, and if not what blocks it."""
    made = bench.made
    name = bench.setup.model or "the host's own values"
    verdict = bench.verdict
    text = Text(visible(f"{name} on {bench.host.name}: {verdict}") + "\n", "bold" if made.usable else "bold red")
    if bench.setup.words:
        text.append("  " + hanging(visible("over it: " + " ".join(bench.setup.words)), width, 4))
    for conflict in made.request.conflicts:
        text.append("  " + hanging(f"conflict: {conflict}", width, 4), "yellow")
    if made.open:
        text.append("  " + hanging("hangs on " + " ".join(entry.name for entry in made.open), width, 4), "yellow")
    for blocker in made.blockers[:_SHOWN]:
        text.append("  ✗ ", "bold red").append(hanging(str(blocker), width, 4))
    if len(made.blockers) > _SHOWN:
        text.append(f"  and {len(made.blockers) - _SHOWN} more; b goes to the next\n", "dim")
    return text


def property_text(bench: Workbench, row: PropertyRow, width: int) -> Text:
    """The property's fields, who set them, and both answers for the guest's value and the others."""
    fields = ", ".join(f"{place.register}.{place.name}" for place in row.entry.places)
    text = Text(f"{row.name}={row.guest}\n", "bold")
    text.append("  " + hanging(f"sets {fields}; also {row.entry.sysreg}", width, 4), "dim")
    for place in row.entry.places:
        text.append("  " + hanging(f"{place.name}: {policy_words(bench.host, place)}", width, 4), "dim")
        for setting in bench.made.request.history.get(place, ()):
            origin = setting.name if setting.origin in ("SYSREG_", "feat_", "switch") else setting.origin
            line = f"{place.name}={setting.value} by {origin}"
            line += f", from {setting.source}" if setting.source else ""
            text.append("  " + hanging(line + ("" if setting.verified else "  UNVERIFIED"), width, 4))
    for blocker in row.blockers:
        text.append("  ✗ ", "bold red").append(hanging(blocker.why, width, 4))
    for choice in row.accepted.choices:
        if choice.text == row.guest:
            answer = "ok" if choice.outcome.accepted else choice.outcome.name
            text.append(f"KVM_SET_ONE_REG with {row.name}={choice.text}: {answer}\n", "bold")
            checks_text(text, choice.outcome, width)
            text.append(f"  {choice.outcome.source}\n", "dim")
    _values_text(text, row, width)
    return text


def _values_text(text: Text, row: PropertyRow, width: int) -> None:
    """Each value with the answer; both answers where prediction and scratch vCPU differ."""
    text.append("values, as predicted and as a scratch vCPU answers\n", "bold")
    for choice in row.accepted.choices:
        if not choice.agree:
            answer = f"DIFFER: predicted {choice.refusal or 'ok'}; KVM says {choice.outcome}"
        else:
            answer = f"{choice.outcome.name}: {choice.refusal}" if choice.refusal else "ok"
        line = f"{choice.text:<10} {answer}"
        text.append("  " + hanging(line, width, 4), None if choice.agree else "yellow")


def calls_text(bench: Workbench, width: int) -> Text:
    """Every call to KVM, with its answer."""
    text = Text("what a VMM calls, and what KVM answers\n", "bold")
    for write in bench.made.writes:
        good = write.outcome.accepted
        text.append("  ✓ " if good else "  ✗ ", "green" if good else "bold red")
        text.append(hanging(write.event if good else f"{write.event}: {write.outcome}", width, 4))
    return text
