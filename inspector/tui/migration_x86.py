"""The migration of an x86 vCPU as the screen shows it."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.model import Capture, Vcpu
from inspector.export.words import counted
from inspector.export.x86_migration_words import remedies_of
from inspector.export.x86_together import all_remedies, together_lines
from inspector.machine.outcome import Check
from inspector.machine.x86.kvm.msrs.access import name_of
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Call
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.noticed import noticed
from inspector.machine.x86.migrate.origin import origin_of
from inspector.machine.x86.migrate.remedy import kernels_that_take
from inspector.machine.x86.migrate.start import Compared
from inspector.machine.x86.migrate.verdict import Migration
from inspector.readers.options import Options
from inspector.targets.moves import Move
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu
from inspector.targets.x86_move import guest_of_word, migration_of, vmm_of
from inspector.tui.migration_picture import BitRow, CallRow, LostRow, Part, Picture, RemedyRow
from layouts.x86.kernels import kernels
from layouts.x86.vmms import VMMS


class X86Mover:
    """An x86 vCPU that is to move: asked about any destination, VMM, kernel and model line."""

    architecture = "x86"
    vmms = tuple(VMMS)
    has_models = True
    has_imp_ids = False

    def __init__(self, guest: Guest, options: Options, vmm: str = "qemu") -> None:
        self.guest = guest
        self.options = options
        self.vmm = vmm
        self._hosts: dict[tuple[str, str], Destination] = {}

    @classmethod
    def of_vcpu(cls, capture: Capture, vcpu: Vcpu, options: Options) -> X86Mover:
        """A captured vCPU. Raises InputError where it has too little."""
        return cls(guest_of_vcpu(capture, vcpu, options), options, vmm_of(capture))

    @classmethod
    def of_word(cls, move: Move, options: Options) -> X86Mover:
        """A guest by a word that is no capture. Raises UsageError."""
        return cls(guest_of_word(move.source, move.machine, options), options)

    def kernels(self) -> list[str]:
        """The releases whose KVM is known, the oldest first."""
        return list(kernels())

    def picture(self, move: Move) -> Picture:
        """The verdict. Raises UsageError for words that are none, InputError for files that are none."""
        key = move.destination, move.kernel
        if key not in self._hosts:
            self._hosts[key] = destination_of(*key, self.options)
        return picture_of(migration_of(self.guest, self._hosts[key], move._replace(vmm=move.vmm or self.vmm)))


def picture_of(made: Migration) -> Picture:
    """A verdict for the screen."""
    host = made.destination
    return Picture(
        who=made.guest.name,
        where=host.name,
        kernel=host.emulator or host.kernel.title,
        vmm=made.vmm.title,
        verdict=made.verdict,
        because=_because(made),
        calls=(*_compared(made), *(_call(made, call) for call in made.calls)),
        bits=tuple(_bit(made, bit) for bit in made.bits if bit.rule != "ignore"),
        lost=tuple(_lost(made)),
        remedy=_remedy(made),
        untried=made.restored.not_captured,
        hangs_on=made.open,
        notes=(f"{host.name}: {host.because}",) if host.because else (),
        no_calls=_no_calls(made),
    )


def _no_calls(made: Migration) -> str:
    """Why KVM is asked nothing; empty where it is."""
    if made.destination.emulator:
        return f"the destination is {made.destination.emulator}, which is none"
    return "" if made.calls else "the guest's CPUID was not captured, and every call hangs on it"


def _because(made: Migration) -> str:
    """Where it fails, and who decided, in one sentence."""
    groups: dict[str, int] = {}
    for bit in made.blockers:
        by = origin_of(made, bit).by
        groups[by] = groups.get(by, 0) + 1
    bits = ", ".join(f"{counted(count, 'bit')} by {by}" for by, count in groups.items())
    return " · ".join(part for part in (_fails_at(made), bits) if part)


def _fails_at(made: Migration) -> str:
    refusal = made.refusal
    if isinstance(refusal, Compared):
        return f"{made.vmm.title}, before any call: {refusal.message or refusal.what}"
    if refusal is not None and refusal.refused:
        return f"{refusal.name}: {refusal.outcome.name}, at {name_of(refusal.refused[0][0])}"
    if refusal is not None:
        return f"{refusal.name}: {refusal.outcome}"
    if made.lost:
        return f"nothing refuses, {counted(len(made.lost), 'thing')} of the guest {_is(len(made.lost))} lost"
    return f"hangs on {made.open[0]}" if made.open else "every call is taken, and nothing is lost"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _compared(made: Migration) -> Iterator[CallRow]:
    """What the VMM compares before the first call: what ends the migration in lines, all warnings in one."""
    title = made.vmm.title
    warned = [entry for entry in made.compared if not entry.held and not entry.refuses]
    if warned:
        yield CallRow(
            f"{title} compares features",
            counted(len(warned), "warning"),
            None,
            (Check("the destination has every feature", held=False),),
            warned[0].source,
            tuple(Part(entry.what, entry.message) for entry in warned),
            f"{title} warns, and goes on",
        )
    for entry in made.compared:
        if entry.held or entry.refuses:
            check = (Check(entry.what, entry.held),)
            answer, then = ("ok", "") if entry.held else ("refused", f"{title} ends the migration")
            name = f"{title} compares {entry.what.partition(' ')[0] if made.vmm.compares == 'registers' else ''}"
            yield CallRow(
                name.strip(), answer, entry.held, check, entry.source, then=then, ends=entry.refuses, said=entry.message
            )


def _call(made: Migration, call: Call) -> CallRow:
    held = call.accepted
    answer = call.outcome.name if not held else f"{call.entries} of {call.entries}" if call.step == "msrs" else "ok"
    if call.refused:
        answer = f"{call.outcome.value} of {call.entries}"
    older = made.vmm.history(call.step)[1:] if call.then is not None else ()
    return CallRow(
        call.name,
        answer,
        held,
        call.outcome.checks,
        call.outcome.source,
        tuple(Part(f"{name_of(index)} {index:#x}", f"✗ {why}") for index, why in call.refused),
        f"{call.then.text} (since {call.then.since})" if call.then is not None else "",
        ends=call.then is not None and call.then.does == "abort",
        history=tuple(f"since {entry.since} {entry.text}" for entry in older),
        taken_by=kernels_that_take(made, call),
    )


def _bit(made: Migration, bit: Difference) -> BitRow:
    origin, shown = origin_of(made, bit), noticed(made.guest, bit)
    return BitRow(
        bit.name,
        str(bit.place),
        f"{bit.source:#x}" if bit.source > 1 else str(bit.source),
        "?" if not bit.known else f"{bit.target:#x}" if bit.target > 1 or bit.source > 1 else str(bit.target),
        bit.rule,
        bit.blocks,
        bit.known,
        origin.by,
        origin.text,
        shown.use,
        bool(shown.evidence),
        remedies_of(made, bit),
    )


def _lost(made: Migration) -> list[LostRow]:
    """What is lost: bits that the groups show already as one line."""
    others = [entry for entry in made.lost if entry.kind != "cpuid"]
    bits = len(made.lost) - len(others)
    verb = "goes on seeing what is not there" if made.vmm.sends_cpuid else "loses what it has seen"
    source = "KVM_SET_CPUID2 compares nothing of it (kvm_check_cpuid, cpuid.c)"
    rows = [LostRow(f"the guest {verb}: {counted(bits, 'bit')} of those above", source)] if bits else []
    return [*rows, *(LostRow(entry.text, entry.source, entry.code) for entry in others)]


def _remedy(made: Migration) -> RemedyRow | None:
    found = all_remedies(made)
    if found is None:
        return None
    return RemedyRow(together_lines(found.bits)[made.vmm.name], found.arrives, found.still, len(found.bits))
