"""The migration of an arm64 vCPU as the screen shows it: the calls and the order are QEMU's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inspector.capture.errors import InspectorError
from inspector.capture.model import Capture, Vcpu
from inspector.export.migration import name_of
from inspector.export.words import counted
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.decided import Asked, decided, noticed, remedied, words_for
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import Call, Migration
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.arm64_move import migration_of, state_of_vcpu, state_of_word
from inspector.targets.kernels import split
from inspector.targets.moves import Move
from inspector.targets.schemes import capture_of, host_of
from inspector.tui.migration_picture import BitRow, CallRow, Part, Picture, RemedyRow
from layouts.arm64.kernels import kernels

_VMM = "QEMU"
_THEN = "QEMU prints which register failed, and exits"
_LISTS = "QEMU target/arm/machine.c, cpu_post_load: cpreg_vmstate_array_len"


class Arm64Mover:
    """An arm64 vCPU that is to move: asked about any destination and kernel."""

    architecture = "arm64"
    vmms = ("qemu",)
    vmm = "qemu"
    has_models = False

    def __init__(self, state: State, options: Options) -> None:
        self.state = state
        self.options = options
        self._others: dict[str, dict[str, Host]] = {}

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
        made = migration_of(self.state, move, self.options)
        return picture_of(made, self._hosts(move.destination) if made.failures else {}, move)

    def _hosts(self, word: str) -> Mapping[str, Host]:
        """The same machine under every kernel, as far as the word can be asked so."""
        name, _ = split(word)
        if name not in self._others:
            self._others[name] = {}
            for release in self.kernels():
                try:
                    self._others[name][release] = host_of(f"{name}@{release}", "arm64", "", NO_OPTIONS)
                except InspectorError:
                    # The word has a kernel of its own.
                    break
        return self._others[name]


def picture_of(made: Migration, others: Mapping[str, Host], move: Move) -> Picture:
    """A verdict for the screen. ``others``: the destination under other kernels, by release."""
    bits = tuple(_bit(made, asked, others) for asked in Asked.of(made))
    return Picture(
        who=made.state.name,
        where=made.host.name,
        kernel=made.host.kernel.title,
        vmm=_VMM,
        verdict="refused" if not made.possible else "open" if made.undecided or made.open else "arrives",
        because=_because(made, bits),
        calls=tuple(_calls(made)),
        bits=bits,
        lost=(),
        remedy=_remedy(made, move),
        hangs_on=tuple(f"{entry.name}: {entry.why}" if entry.why else entry.name for entry in made.open),
        noun="field",
        notes=(f"{made.untried} registers hold state that no rule of the destination decides",),
    )


def _because(made: Migration, bits: tuple[BitRow, ...]) -> str:
    groups: dict[str, int] = {}
    for bit in bits:
        groups[bit.by] = groups.get(bit.by, 0) + 1
    return " · ".join((_fails_at(made), *(f"{counted(count, 'field')} by {by}" for by, count in groups.items())))


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
    name = name_of(step.register_id).removeprefix("sysreg.")
    return f"{step.event} {name}" if step.event.endswith("ONE_REG") else step.event


def _calls(made: Migration) -> Iterator[CallRow]:
    """Each call; registers that are taken one after another in one line. Lists are compared before the first."""
    taken: list[Call] = []
    compared = False
    for step in made.steps:
        is_register = step.event.endswith("ONE_REG")
        if is_register and not compared:
            compared = True
            yield _lists(made)
        if is_register and step.outcome.accepted:
            taken.append(step)
            continue
        yield from _taken(taken)
        taken = []
        yield _call(step)
    yield from _taken(taken)


def _lists(made: Migration) -> CallRow:
    parts = tuple(
        Part(name_of(register), f"✗ not in the destination's list ({register:#x})") for register in made.unknown
    )
    held = not made.unknown
    return CallRow(
        f"{_VMM} compares register lists",
        "ok" if held else f"{len(parts)} less",
        held,
        (),
        _LISTS,
        parts,
        "" if held else "QEMU ends the migration before the first write",
        ends=not held,
    )


def _taken(steps: list[Call]) -> Iterator[CallRow]:
    if steps:
        parts = tuple(Part(name_of(step.register_id), "ok") for step in steps)
        name = f"KVM_SET_ONE_REG, {counted(len(steps), 'register')}"
        yield CallRow(name, "ok", held=True, source=steps[0].outcome.source, parts=parts)


def _call(step: Call) -> CallRow:
    outcome = step.outcome
    held = None if outcome.verdict == "depends-on" else outcome.accepted
    refused = held is False
    return CallRow(
        _name(step),
        outcome.name,
        held,
        outcome.checks,
        outcome.source,
        tuple(Part(f"{field.place.name}={field.value}", f"✗ {field.why}") for field in step.fields),
        _THEN if refused else "",
        ends=refused,
    )


def _bit(made: Migration, asked: Asked, others: Mapping[str, Host]) -> BitRow:
    by, text = decided(made, asked, others)
    evidence, use = noticed(made.state, asked)
    return BitRow(
        name=asked.name,
        where=asked.where,
        source=str(asked.value),
        target=str(asked.host),
        rule="at_most",
        blocks=True,
        known=True,
        by=by,
        origin=text,
        noticed=use,
        in_use=bool(evidence),
        remedies={"qemu": words_for(made, asked)},
    )


def _remedy(made: Migration, move: Move) -> RemedyRow | None:
    """The guest with what both have, asked again."""
    asked, after = remedied(made, abi=move.abi, writable_imp=move.imp_ids)
    if not asked:
        return None
    still = [f"{_name(step)}: {step.outcome}" for step in after.failures]
    still += [f"{name_of(register)} is not in the destination's list" for register in after.unknown]
    line = f"-cpu ...,{','.join(dict.fromkeys(words_for(made, one) for one in asked))}"
    return RemedyRow(line, after.possible, tuple(still), len(asked))
