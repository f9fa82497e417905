"""A migration of an x86 vCPU as text and JSON: what is compared, the calls, the bits, what is lost in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inspector.export.kinds import head, kernel_json
from inspector.export.words import VERDICTS, counted
from inspector.export.x86_migration_words import remedies_of
from inspector.export.x86_together import all_remedies, together_json, together_text
from inspector.machine.x86.kvm.msrs.access import name_of
from inspector.machine.x86.migrate.actors import NOT_KNOWN, Origin
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.calls import Call
from inspector.machine.x86.migrate.noticed import noticed
from inspector.machine.x86.migrate.origin import origin_of
from inspector.machine.x86.migrate.places import names_of
from inspector.machine.x86.migrate.remedy import kernels_that_take
from inspector.machine.x86.migrate.start import Compared
from inspector.machine.x86.migrate.verdict import Migration
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SHOWN = 12


# JSON


def x86_migration_json(made: Migration) -> dict[str, Any]:
    """The verdict for programs."""
    refusal = made.refusal
    return {
        **head("migration"),
        "arch": "x86",
        "source": made.guest.name,
        "destination": made.destination.name,
        "known_by": made.destination.because,
        **kernel_json(made.destination.kernel),
        **({"kernel": None} if made.destination.emulator else {}),
        "vmm": made.vmm.name,
        "arrives": made.arrives,
        "verdict": made.verdict,
        "refused_by": None if refusal is None else refusal.name if isinstance(refusal, Call) else refusal.what,
        "compared": [_compared_json(entry) for entry in made.compared],
        "steps": [_step_json(made, call) for call in made.calls],
        "not_captured": list(made.restored.not_captured),
        "bits": [_bit_json(made, bit) for bit in made.bits],
        "together": together_json(all_remedies(made)),
        "lost": [entry._asdict() for entry in made.lost],
        "open": list(made.open),
    }


def _compared_json(entry: Compared) -> dict[str, Any]:
    return {**entry._asdict()}


def _step_json(made: Migration, call: Call) -> dict[str, Any]:
    first = call.refused[0] if call.refused else None
    return {
        "call": call.name,
        "register": name_of(first[0]) if first else None,
        "accepted": call.accepted,
        "errno": call.outcome.code if call.outcome.verdict == "errno" else 0,
        "count": (call.outcome.value if call.refused else call.entries) if call.step == "msrs" else None,
        "entries": call.entries if call.step == "msrs" else None,
        "refused": [{"msr": f"{index:#x}", "name": name_of(index), "why": why} for index, why in call.refused],
        "checks": [{"text": check.text, "held": check.held} for check in call.outcome.checks],
        "because": None if call.accepted else call.outcome.because,
        "then": None if call.then is None else _then_json(made, call),
        "kernels": None if call.accepted else list(kernels_that_take(made, call)),
        "source": call.outcome.source,
    }


def _then_json(made: Migration, call: Call) -> dict[str, Any]:
    return {
        "does": call.then.does if call.then else None,
        "text": call.then.text if call.then else None,
        "since": call.then.since if call.then else None,
        "before": [entry._asdict() for entry in made.vmm.history(call.step)[1:]],
    }


def _bit_json(made: Migration, bit: Difference) -> dict[str, Any]:
    origin, shown = origin_of(made, bit), noticed(made.guest, bit)
    return {
        "where": str(bit.place),
        "name": bit.name,
        "names": list(names_of(bit.place)),
        "source": f"{bit.source:#x}",
        "target": f"{bit.target:#x}" if bit.known else None,
        "rule": bit.rule,
        "blocks": bit.blocks,
        "known": bit.known,
        "origin": origin.text,
        "by": origin.by,
        "noticed": shown.evidence or None,
        "use": shown.use,
        "remedies": remedies_of(made, bit),
    }


# Text


def x86_migration_text(made: Migration, *, steps: bool = False, bits: bool = False) -> Iterator[str]:
    """The verdict, what refuses, what is in the way by origin, what is lost, and what to change."""
    host, vmm = made.destination, made.vmm
    yield f"{made.guest.name} to {host.name}, {host.system}, {vmm.title}: {VERDICTS[made.verdict]}"
    if host.because:
        yield f"  {host.name}: {host.because}"
    for entry in made.compared:
        if entry.refuses or steps:
            yield f"  {vmm.title}: {entry.message or entry.what}"
    yield from _calls_text(made, steps=steps)
    yield from _bits_text(made, every=bits)
    yield from _together_text(made)
    yield from _lost_text(made)
    if made.open:
        yield f"  depends on {', '.join(made.open[:_SHOWN])}{_more(len(made.open))}"
    if made.restored.not_captured:
        yield f"  not captured, so not tried: {', '.join(made.restored.not_captured)}"


def _more(number: int) -> str:
    return f" and {number - _SHOWN} more" if number > _SHOWN else ""


def _calls_text(made: Migration, *, steps: bool) -> Iterator[str]:
    for call in made.calls:
        if call.accepted:
            if steps:
                count = f" {call.entries} of {call.entries}" if call.step == "msrs" else ""
                yield f"  {call.name}{count}: ok"
            continue
        if call.refused:
            yield f"  {call.name}: {call.outcome.value} of {call.entries}"
            for index, why in call.refused[: None if steps else _SHOWN]:
                yield f"    {name_of(index)} ({index:#x}): this does not hold: {why}"
        else:
            yield f"  {call.name}: {call.outcome}"
        if call.then is not None:
            yield f"    {call.then.text} (since {call.then.since})"
        for older in made.vmm.history(call.step)[1:] if steps else ():
            yield f"    before: since {older.since} {older.text}"
        taken = kernels_that_take(made, call)
        if taken:
            yield f"    taken by Linux {', '.join(taken)} on this CPU"


def by_origin(made: Migration, bits: Sequence[Difference]) -> Mapping[str, list[tuple[Difference, Origin]]]:
    """Bits in groups: who decided."""
    groups: dict[str, list[tuple[Difference, Origin]]] = {}
    for bit in bits:
        origin = origin_of(made, bit)
        groups.setdefault(origin.by, []).append((bit, origin))
    return groups


def _bits_text(made: Migration, *, every: bool) -> Iterator[str]:
    shown = [bit for bit in made.bits if bit.blocks or (every and bit.rule != "ignore")]
    rest = len(made.bits) - len(shown)
    for by, rows in by_origin(made, shown).items():
        yield f"  {counted(len(rows), 'bit')} by {by}"
        for bit, origin in rows:
            use = noticed(made.guest, bit).use
            mark = "" if bit.blocks else ", not in the way"
            yield f"    {bit.name} ({bit.place}): {origin.text}; {use}{mark}"
            line = remedies_of(made, bit).get(made.vmm.name, "")
            if line:
                yield f"      {line}"
    if rest and not every:
        yield f"  {counted(rest, 'other difference')} in nobody's way (--bits shows them)"


def _together_text(made: Migration) -> Iterator[str]:
    found = all_remedies(made)
    if found is not None:
        result, line = together_text(found, made.vmm.name)
        yield f"  {result}"
        yield f"    {line}"


def _lost_text(made: Migration) -> Iterator[str]:
    entries = [entry for entry in made.lost if entry.kind != "cpuid"]
    if len(entries) < len(made.lost):
        verb = "goes on seeing what is not there" if made.vmm.sends_cpuid else "loses what it has seen"
        yield f"  silence: the guest {verb}: {counted(len(made.lost) - len(entries), 'bit')}"
    for entry in entries[:_SHOWN]:
        yield f"  silence: {entry.text}{f' ({entry.code})' if entry.code else ''}"
    if len(entries) > _SHOWN:
        yield f"  silence: {len(entries) - _SHOWN} more"


__all__ = ("NOT_KNOWN", "by_origin", "remedies_of", "x86_migration_json", "x86_migration_text")
