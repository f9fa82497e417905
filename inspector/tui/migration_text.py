"""What the Migration screen says of a selected line."""

from __future__ import annotations

from rich.text import Text

from inspector.capture.errors import visible
from inspector.tui.migration_picture import BitRow, CallRow, LostRow, Part, Picture, RemedyRow
from inspector.tui.migration_session import Heading, Line, MigrationSession, Words
from inspector.tui.widgets.outcome_pane import hanging

#: How two values go together, by rule.
_RULES = {
    "and": "the guest keeps it only where the destination has it",
    "or": "the guest has to be told of it wherever any host needs it",
    "equal": "has to be the same on both",
    "at_most": "the destination's has to reach the guest's",
    "ignore": "moves with the vCPU",
}
VERDICTS = {
    "arrives": "✓ the vCPU arrives",
    "open": "? not known",
    "lossy": "≈ arrives as another one",
    "refused": "✗ refused",
}


def line_text(session: MigrationSession, line: Line, width: int) -> Text:
    """Everything about the selected line."""
    picture = session.picture
    if isinstance(line, CallRow):
        return _call_text(session, line, width)
    if isinstance(line, Part):
        text = _begun(f"{visible(line.name)}\n", "bold")
        text.append("  " + hanging(visible(line.why), width, 4))
        call = next((call for call in picture.calls if any(part is line for part in call.parts)), None)
        return text.append(_call_text(session, call, width)) if call is not None else text
    if isinstance(line, BitRow):
        return _bit_text(session, line, width)
    if isinstance(line, RemedyRow):
        return _remedy_text(line, picture, width)
    if isinstance(line, LostRow):
        return _lost_text(line, width)
    return _summary_text(picture, line, width)


def _begun(words: str, style: str) -> Text:
    """A text that begins with words of a style, which the rest does not have."""
    return Text().append(words, style)


def _call_text(session: MigrationSession, call: CallRow, width: int) -> Text:
    text = _begun(f"{visible(call.name)}: {visible(call.answer)}\n", "bold" if call.held else "bold red")
    if call.said:
        text.append("  " + hanging(visible(call.said), width, 2))
    for check in call.checks:
        text.append("  ✓ " if check.held else "  ✗ ", "green" if check.held else "bold red")
        text.append(hanging(visible(check.text), width, 4))
    if not session.is_reached(call):
        text.append("  " + hanging("not reached: a call before it has ended the migration", width, 4), "yellow")
    if call.then:
        text.append("then  ", "bold").append(hanging(visible(call.then), width, 6))
    for older in call.history:
        text.append("  before: " + hanging(visible(older), width, 10), "dim")
    if call.taken_by:
        text.append("  " + hanging(f"Linux {', '.join(call.taken_by)} takes it on this CPU", width, 4), "green")
    return text.append("  " + hanging(visible(call.source), width, 4), "dim")


def _bit_text(session: MigrationSession, bit: BitRow, width: int) -> Text:
    text = _begun(f"{visible(bit.name)}  {bit.where}\n", "bold")
    text.append(f"  guest {bit.source}, destination {bit.target}", "bold red" if bit.blocks else "")
    way = "in the way" if bit.blocks else "in nobody's way" if bit.known else "not known"
    text.append(f": {way}\n", "bold red" if bit.blocks else "")
    text.append("  " + hanging(_RULES.get(bit.rule, bit.rule), width, 4), "dim")
    for head, words in ((bit.by, bit.origin), ("use", bit.noticed)):
        text.append(f"{head}\n", "bold").append("  " + hanging(visible(words), width, 2))
    lines = {name: line for name, line in bit.remedies.items() if line}
    if lines:
        text.append("to start a guest without it\n", "bold")
    elif bit.blocks:
        text.append("  " + hanging("no words of a VMM take it away: another host, or a guest made for both", width, 4))
    for name in sorted(lines, key=lambda one: (one != session.vmm, one)):
        text.append(f"  {name}\n", "bold" if name == session.vmm else "dim")
        text.append("    " + hanging(visible(lines[name]), width, 4), "green" if name == session.vmm else "dim")
    return text


def _remedy_text(row: RemedyRow, picture: Picture, width: int) -> Text:
    head = "the vCPU arrives" if row.arrives else "still in the way"
    text = _begun(f"a guest that starts without all of these: {head}\n", "bold" if row.arrives else "bold red")
    for still in row.still:
        text.append("  ✗ ", "bold red").append(hanging(visible(still), width, 4))
    text.append(f"{picture.vmm}, y copies it\n", "bold")
    text.append("  " + hanging(visible(row.line), width, 2), "green")
    words = (
        "A running guest keeps its CPU: the words are for its next start. They were applied, and the move asked again."
    )
    return text.append("  " + hanging(words, width, 4), "dim")


def _lost_text(row: LostRow, width: int) -> Text:
    text = Text("lost in silence: nobody refuses it\n", "bold")
    text.append("  " + hanging(visible(row.text), width, 2))
    if row.code:
        text.append(f"  lint finds it in the capture: {row.code}\n")
    return text.append("  " + hanging(visible(row.source), width, 4), "dim")


def _summary_text(picture: Picture, line: Line, width: int) -> Text:
    text = _begun(f"{VERDICTS[picture.verdict]}\n", "bold" if picture.verdict == "arrives" else "bold red")
    text.append("  " + hanging(visible(picture.because), width, 2))
    for note in picture.notes:
        text.append("  " + hanging(visible(note), width, 4), "dim")
    if isinstance(line, Words):
        text.append("  " + hanging(visible(line.text), width, 2))
    elif isinstance(line, Heading) and line.group:
        text.append("  Space folds and unfolds the group\n", "dim")
    return text
