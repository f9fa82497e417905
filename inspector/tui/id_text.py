"""What the ID-register lab says of a selected line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from inspector.capture.errors import visible
from inspector.machine.arm64.id_limits import policy_words
from inspector.machine.arm64.models.accepted import Choice
from inspector.machine.arm64.models.partial import Open
from inspector.machine.arm64.models.realize import Realization
from inspector.machine.arm64.models.workbench import Elsewhere, PropertyRow
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import A
from inspector.tui.widgets.outcome_pane import checks_text, hanging
from layouts.arm64.arm_features import shown_at
from layouts.arm64.ids import RegisterId

_SHOWN = 12
_VALUE_WIDTH, _ANSWER_WIDTH = 12, 8


def summary_text(session: IdLabSession, width: int) -> Text:
    """Whether the guest runs on each host, what blocks it, and whether it moves from one to the other."""
    text = Text()
    for host, bench in session.benches.items():
        made, name = bench.made, bench.setup.model or "the host's own values"
        where = bench.host.name if session.other is None else f"{host}, {bench.host.name}"
        name = "the same guest" if host != A else name
        text.append(visible(f"{name} on {where}: {bench.verdict}") + "\n", "bold" if made.usable else "bold red")
        if host == A:
            _asked_text(text, session, width)
        if made.open:
            text.append("  " + hanging(_open_words(made.open), width, 4), "yellow")
        for blocker in made.blockers[:_SHOWN]:
            text.append("  ✗ ", "bold red").append(hanging(str(blocker), width, 4))
        if len(made.blockers) > _SHOWN:
            text.append(f"  and {len(made.blockers) - _SHOWN} more; b goes to the next\n", "dim")
        refused = next((write for write in made.writes if not write.outcome.accepted), None)
        if refused is not None:
            text.append("  " + hanging(f"the first call that fails: {refused.event}: {refused.outcome}", width, 4))
    if session.other is not None:
        _move_text(text, session.other, width)
    return text


def _open_words(found: Sequence[Open]) -> str:
    """What a verdict hangs on: some of many."""
    names = " ".join(entry.name for entry in found[:_SHOWN])
    return f"hangs on {names}" + (f" and {len(found) - _SHOWN} more, marked ?" if len(found) > _SHOWN else "")


def _asked_text(text: Text, session: IdLabSession, width: int) -> None:
    setup = session.bench.setup
    if setup.words:
        text.append("  " + hanging(visible("over it: " + " ".join(setup.words)), width, 4))
    if setup.abi != "merged":
        text.append("  " + hanging("SVE through the interface as it was proposed (A changes it)", width, 4), "yellow")
    for conflict in session.bench.made.request.conflicts:
        text.append("  " + hanging(f"conflict: {conflict}", width, 4), "yellow")


def _move_text(text: Text, other: Elsewhere, width: int) -> None:
    """Whether the guest arrives on the second host, and the call and the fields that fail."""
    made = other.migration
    text.append("A → B, the guest with all its registers: ", "bold")
    if made.possible:
        text.append("every call is taken\n" if not made.undecided else "hangs on what guests do not see\n", "bold")
        return
    failures = made.failures
    text.append(f"{len(failures) + len(made.unknown)} refused; M shows the calls\n", "bold red")
    for register_id in made.unknown[:1]:
        text.append("  ✗ ", "bold red").append(hanging(f"{register_id:#x} is not in B's register list", width, 4))
    for call in failures[:1]:
        name = register_name(call.register_id, other) if call.event.endswith("ONE_REG") else ""
        text.append("  ✗ ", "bold red").append(hanging(f"{call.event} {name}: {call.outcome}", width, 4))
        for field in call.fields:
            text.append("    " + hanging(f"{field.place.name}={field.place.text(field.value)}: {field.why}", width, 6))


def register_name(register_id: int, other: Elsewhere) -> str:
    """What a register of a call is called."""
    found = RegisterId(register_id)
    return other.host.kernel.register_name(found.encoding) if found.is_sysreg else f"{register_id:#x}"


def property_text(session: IdLabSession, row: PropertyRow, width: int) -> Text:
    """What is in the way, what each value is and who takes it, who set the fields, and what each host answers."""
    text = Text(f"{row.name}={row.guest}\n", "bold")
    for host, blocker in session.blockers(row):
        text.append("  ✗ ", "bold red").append(hanging(f"{_on(session, host)}{blocker.why}", width, 4))
    for host in session.hangs_on(row):
        name = session.benches[host].host.name
        text.append("  ? ", "yellow").append(hanging(f"hangs on what nobody tells of {name}", width, 4))
    _values_text(text, session, row, width)
    _fields_text(text, session, row, width)
    for host in session.benches:
        there = session.row_on(host, row)
        for choice in there.accepted.choices if there is not None else ():
            if choice.text == row.guest:
                answer = "ok" if choice.outcome.accepted else choice.outcome.name
                text.append(f"{_on(session, host)}KVM_SET_ONE_REG with {row.name}={choice.text}: {answer}\n", "bold")
                checks_text(text, choice.outcome, width)
                text.append(f"  {choice.outcome.source}\n", "dim")
    return text


def _fields_text(text: Text, session: IdLabSession, row: PropertyRow, width: int) -> None:
    """Which fields, how the kernels decide on them, and who set them."""
    fields = ", ".join(f"{place.register}.{place.name}" for place in row.entry.places)
    text.append("  " + hanging(f"sets {fields}; also {row.entry.sysreg}", width, 4), "dim")
    for place in row.entry.places:
        words = {host: policy_words(bench.host, place) for host, bench in session.benches.items()}
        if len(set(words.values())) == 1:
            words = {"": words[A]}
        policy = "; ".join(f"{f'{host}: ' if host else ''}{word}" for host, word in words.items())
        text.append("  " + hanging(f"{place.name}: {policy}", width, 4), "dim")
        for setting in session.bench.made.request.history.get(place, ()):
            origin = setting.name if setting.origin in ("SYSREG_", "feat_", "switch") else setting.origin
            line = f"{place.name}={place.text(setting.value)} by {origin}"
            line += f", from {setting.source}" if setting.source else ""
            text.append("  " + hanging(line + ("" if setting.verified else "  UNVERIFIED"), width, 4))


def _on(session: IdLabSession, host: str) -> str:
    return f"{host}: " if session.other is not None else ""


def _values_text(text: Text, session: IdLabSession, row: PropertyRow, width: int) -> None:
    """Each value: who has it, who else takes it, and what of Arm's it is the least to show."""
    heads = "".join(f"{f'host {host}':<{_ANSWER_WIDTH}}" for host in session.benches if session.other is not None)
    text.append(f"  {'values':<{_VALUE_WIDTH}}{heads}".rstrip() + "\n", "bold")
    for choice in row.accepted.choices:
        numbers = ".".join(str(number) for number in choice.numbers)
        name = choice.text if choice.text == numbers else f"{numbers} {choice.text}"
        found = {host: _choice(session.row_on(host, row), choice) for host in session.benches}
        answers = "".join(f"{_answer(session, host, row, one):<{_ANSWER_WIDTH}}" for host, one in found.items())
        features = {
            name for place, n in zip(row.entry.places, choice.numbers, strict=True) for name in shown_at(place, n)
        }
        why = [
            f"DIFFER: predicted {one.refusal or 'ok'}; KVM says {one.outcome}"
            for one in found.values()
            if one and not one.agree
        ]
        if not why and choice.refusal and session.other is None:
            why = [choice.refusal]
        chosen = choice.text == row.guest
        line = f"{name:<{_VALUE_WIDTH}}{answers}{' '.join([*sorted(features), *why])}"
        style = "yellow" if any("DIFFER" in one for one in why) else "bold" if chosen else None
        text.append("▸ " if chosen else "  ", style).append(hanging(line, width, _VALUE_WIDTH), style)


def _choice(row: PropertyRow | None, wanted: Choice) -> Choice | None:
    """The same value on another host, where it was tried."""
    choices = row.accepted.choices if row is not None else ()
    return next((choice for choice in choices if choice.numbers == wanted.numbers), None)


def _answer(session: IdLabSession, host: str, row: PropertyRow, choice: Choice | None) -> str:
    there = session.row_on(host, row)
    if there is None or choice is None:
        return "no such" if there is None else "-"
    return "has it" if there.host == choice.text else choice.outcome.name


def calls_text(session: IdLabSession, width: int) -> Text:
    """Every call to KVM with its answer, on each host; where some are refused, those first."""
    text = Text()
    for host, bench in session.benches.items():
        where = f" on {host}, {bench.host.name}" if session.other is not None else ""
        text.append(visible(f"what a VMM calls{where}, and what KVM answers") + "\n", "bold")
        _calls_text(text, bench.made, width)
    return text


def _calls_text(text: Text, made: Realization, width: int) -> None:
    refused = [write for write in made.writes if not write.outcome.accepted]
    if refused:
        text.append(f"{len(refused)} of {len(made.writes)} refused\n", "bold red")
        for write in refused:
            text.append("  ✗ ", "bold red").append(hanging(f"{write.event}: {write.outcome}", width, 4))
        text.append("all, in their order\n", "bold")
    for write in made.writes:
        good = write.outcome.accepted
        text.append("  ✓ " if good else "  ✗ ", "green" if good else "bold red")
        text.append(hanging(write.event if good else f"{write.event}: {write.outcome.name}", width, 4))
