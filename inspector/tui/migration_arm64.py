"""The migration of an arm64 vCPU as the screen shows it: the calls and the order are QEMU's."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.model import Capture, Vcpu
from inspector.export.migration import name_of
from inspector.export.words import counted
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.migrate import Call, Migration
from inspector.machine.arm64.verdict import Bit, Verdict, call_name, is_of_list, then
from inspector.readers.options import Options
from inspector.targets.arm64_move import state_of_vcpu, state_of_word, verdict_of
from inspector.targets.moves import Move
from inspector.targets.schemes import capture_of
from inspector.tui.migration_picture import BitRow, CallRow, Part, Picture, RemedyRow
from layouts.arm64 import vmms as qemu
from layouts.arm64.kernels import kernels


class Arm64Mover:
    """An arm64 vCPU that is to move: asked about any destination and kernel."""

    architecture = "arm64"
    vmms = (qemu.NAME,)
    vmm = qemu.NAME
    has_models = False
    has_imp_ids = True

    def __init__(self, state: State, options: Options) -> None:
        self.state = state
        self.options = options

    @classmethod
    def of_vcpu(cls, capture: Capture, vcpu: Vcpu, options: Options) -> Arm64Mover:
        """A captured vCPU. Raises InputError where it is none of KVM's."""
        return cls(state_of_vcpu(capture.target, vcpu), options)

    @classmethod
    def of_word(cls, move: Move, options: Options) -> Arm64Mover:
        """A guest with all that a host has, or the one of ``model:``. Raises UsageError and InputError."""
        state = state_of_word(move.source, options)
        if state is None:
            capture = capture_of(move.source, options)
            state = state_of_vcpu(move.source, capture.vcpus[0])
        return cls(state, options)

    def kernels(self) -> list[str]:
        """The releases whose KVM is known, the oldest first."""
        return list(kernels())

    def picture(self, move: Move) -> Picture:
        """The verdict. Raises UsageError for words that are none, InputError for files that are none."""
        return picture_of(verdict_of(self.state, move, self.options))


def picture_of(found: Verdict) -> Picture:
    """A verdict for the screen."""
    made = found.made
    return Picture(
        who=made.state.name,
        where=made.host.name,
        kernel=made.host.kernel.title,
        vmm=qemu.TITLE,
        verdict=found.verdict,
        because=_because(found),
        calls=tuple(_calls(found)),
        bits=tuple(_bit(bit) for bit in found.bits),
        lost=(),
        remedy=_remedy(found),
        hangs_on=tuple(f"{entry.name}: {entry.why}" if entry.why else entry.name for entry in made.open),
        noun="field",
        notes=(f"{made.untried} registers hold state that no rule of the destination decides",),
    )


def _because(found: Verdict) -> str:
    groups: dict[str, int] = {}
    for bit in found.bits:
        groups[bit.by] = groups.get(bit.by, 0) + 1
    return " · ".join((_fails_at(found.made), *(f"{counted(count, 'field')} by {by}" for by, count in groups.items())))


def _fails_at(made: Migration) -> str:
    first = made.failures[0] if made.failures else None
    if first is not None and (not first.register_id or not made.unknown):
        return f"{_name(first)}: {first.outcome}"
    if made.unknown:
        return f"the destination's KVM has {counted(len(made.unknown), 'register')} less"
    if made.open:
        return f"hangs on {counted(len(made.open), 'value')} that nobody tells of {made.host.name}"
    return "every call is taken"


def _name(step: Call) -> str:
    return call_name(step).replace(" sysreg.", " ")


def _calls(found: Verdict) -> Iterator[CallRow]:
    """Each call; registers that are taken one after another in one line. Lists are compared before the first."""
    taken: list[Call] = []
    compared = False
    for step in found.made.steps:
        if is_of_list(step) and not compared:
            compared = True
            yield _lists(found.made)
        if is_of_list(step) and step.outcome.accepted:
            taken.append(step)
            continue
        yield from _taken(taken)
        taken = []
        yield _call(found, step)
    yield from _taken(taken)


def _lists(made: Migration) -> CallRow:
    parts = tuple(
        Part(name_of(register), f"✗ not in the destination's list ({register:#x})") for register in made.unknown
    )
    held = not made.unknown
    return CallRow(
        f"{qemu.TITLE} compares register lists",
        "ok" if held else f"{len(parts)} less",
        held,
        (),
        qemu.LISTS.source,
        parts,
        "" if held else f"{qemu.LISTS.text} (since {qemu.LISTS.since})",
        ends=not held,
    )


def _taken(steps: list[Call]) -> Iterator[CallRow]:
    if steps:
        parts = tuple(Part(name_of(step.register_id), "ok") for step in steps)
        name = f"KVM_SET_ONE_REG, {counted(len(steps), 'register')}"
        yield CallRow(name, "ok", held=True, source=steps[0].outcome.source, parts=parts)


def _call(found: Verdict, step: Call) -> CallRow:
    outcome = step.outcome
    held = None if outcome.verdict == "depends-on" else outcome.accepted
    refused = held is False
    return CallRow(
        _name(step),
        outcome.name,
        held,
        outcome.checks,
        outcome.source,
        tuple(Part(f"{field.place.name}={field.place.text(field.value)}", f"✗ {field.why}") for field in step.fields),
        f"{then(step).text} (since {then(step).since})" if refused else "",
        ends=refused,
        taken_by=found.kernels_that_take(step) if refused else (),
    )


def _bit(bit: Bit) -> BitRow:
    asked = bit.asked
    return BitRow(
        name=asked.name,
        where=asked.where,
        source=str(asked.value),
        target=str(asked.host),
        rule=bit.rule,
        blocks=True,
        known=True,
        by=bit.by,
        origin=bit.origin,
        noticed=bit.use,
        in_use=bool(bit.noticed),
        remedies={qemu.NAME: bit.remedy},
    )


def _remedy(found: Verdict) -> RemedyRow | None:
    """The guest with what both have, asked again."""
    together = found.together
    if together is None:
        return None
    return RemedyRow(together.line, together.arrives, together.still, len(together.bits))
