"""A migration of an arm64 vCPU as text and JSON: the calls, the fields in the way by who decided, what to change."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.export.kinds import head, kernel_json
from inspector.export.words import VERDICTS, counted
from inspector.machine.arm64.migrate import Call, FieldReason
from inspector.machine.arm64.verdict import Bit, Together, Verdict, call_name, then
from layouts.arm64 import vmms
from layouts.arm64.kvm_ids import explain
from layouts.arm64.properties import property_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SHOWN = 8


def name_of(register_id: int) -> str:
    """A register's name."""
    return explain(register_id).path


# Text


def migration_text(found: Verdict, *, steps: bool) -> Iterator[str]:
    """The verdict, what is in the way by who decided, what to change, and how many registers were tried."""
    made, host = found.made, found.made.host
    yield f"{made.state.name} to {host.name}, kernel {host.kernel.label}, {vmms.TITLE}: {VERDICTS[found.verdict]}"
    if made.open and made.accepted:
        unlikely = [entry for entry in made.open if entry.why]
        yield f"  hangs on {counted(len(made.open), 'value')} that are not known of {host.name}"
        yield from (f"    unlikely {entry.name}: with what its core has, {entry.why}" for entry in unlikely)
    if made.unknown:
        names = ", ".join(f"{name_of(rid)} ({rid:#x})" for rid in made.unknown[:_SHOWN])
        more = f" and {len(made.unknown) - _SHOWN} more" if len(made.unknown) > _SHOWN else ""
        yield f"  the destination's KVM has {counted(len(made.unknown), 'register')} less: {names}{more}"
        yield f"    {vmms.LISTS.text} (since {vmms.LISTS.since})"
    for step in made.steps:
        if steps or not step.outcome.accepted:
            yield from _step_text(found, step)
    yield from _bits_text(found)
    if found.together is not None:
        yield from _together_text(found.together)
    tried = sum(1 for step in made.steps if step.register_id)
    yield f"  {counted(tried, 'register')} tried; {made.untried} hold state that no rule of the destination decides"


def _step_text(found: Verdict, step: Call) -> Iterator[str]:
    yield f"  {call_name(step)}: {step.outcome}"
    for field in step.fields:
        value = field.place.text(field.value)
        yield f"    {field.place.register}.{field.place.name}={value}: {field.why} (property {field.name})"
    if step not in found.failures:
        return
    if step is found.failures[0]:
        yield f"    {then(step).text} (since {then(step).since})"
    taken = found.kernels_that_take(step)
    if taken:
        yield f"    taken by Linux {', '.join(taken)} on this machine"


def _bits_text(found: Verdict) -> Iterator[str]:
    groups: dict[str, list[Bit]] = {}
    for bit in found.bits:
        groups.setdefault(bit.by, []).append(bit)
    for by, bits in groups.items():
        yield f"  {counted(len(bits), 'field')} by {by}"
        for bit in bits:
            yield f"    {bit.asked.name} ({bit.asked.where}): {bit.origin}; {bit.use}"
            if bit.remedy:
                yield f"      -cpu ...,{bit.remedy}"


def _together_text(together: Together) -> Iterator[str]:
    left = together.still
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    result = "the vCPU arrives" if together.arrives else f"still in the way: {'; '.join(left[:_SHOWN])}{more}"
    yield f"  a guest that starts without {counted(len(together.bits), 'field')}: {result}"
    yield f"    {together.line}"


# JSON


def migration_json(found: Verdict) -> dict[str, Any]:
    """The same for programs."""
    made = found.made
    return {
        **head("migration"),
        "arch": "arm64",
        "source": made.state.name,
        "destination": made.host.name,
        **kernel_json(made.host.kernel),
        "vmm": vmms.NAME,
        "arrives": found.verdict == "arrives",
        "verdict": found.verdict,
        "refused_by": found.refusal or None,
        "accepted": made.accepted,
        "compared": [_compared_json(found)],
        "steps": [_step_json(found, step) for step in made.steps],
        "bits": [_bit_json(bit) for bit in found.bits],
        "together": _together_json(found.together),
        "undecided": [{"call": call_name(step), "why": step.outcome.because} for step in made.undecided],
        "open": [entry.name for entry in made.open],
        "missing": [{"id": f"{rid:#x}", "name": name_of(rid)} for rid in made.unknown],
        "failures": [_failure_json(step) for step in made.failures],
    }


def _compared_json(found: Verdict) -> dict[str, Any]:
    missing = found.made.unknown
    return {
        "what": "register list",
        "held": not missing,
        "refuses": bool(missing),
        "message": vmms.LISTS.text if missing else "",
        "source": vmms.LISTS.source,
    }


def _step_json(found: Verdict, step: Call) -> dict[str, Any]:
    outcome = step.outcome
    refused = step in found.failures
    return {
        "call": call_name(step),
        "register": name_of(step.register_id) if step.register_id else None,
        "accepted": outcome.accepted,
        "errno": outcome.code if outcome.verdict == "errno" else 0,
        "count": None,
        "entries": None,
        "refused": [_field_json(field) for field in step.fields],
        "checks": [{"text": check.text, "held": check.held} for check in outcome.checks],
        "because": None if outcome.accepted else outcome.because,
        "then": _then_json(step) if refused else None,
        "kernels": list(found.kernels_that_take(step)) if refused else None,
        "source": outcome.source,
    }


def _then_json(step: Call) -> dict[str, Any]:
    does = then(step)
    return {"does": does.does, "text": does.text, "since": does.since, "before": []}


def _bit_json(bit: Bit) -> dict[str, Any]:
    asked = bit.asked
    return {
        "where": asked.path,
        "name": asked.name,
        "names": [property_of(asked.place) if asked.place is not None else asked.name],
        "source": f"{asked.value:#x}",
        "target": f"{asked.host:#x}",
        "rule": bit.rule,
        "blocks": True,
        "known": True,
        "origin": bit.origin,
        "by": bit.by,
        "noticed": bit.noticed or None,
        "use": bit.use,
        "remedies": {vmms.NAME: f"-cpu ...,{bit.remedy}" if bit.remedy else ""},
    }


def _together_json(together: Together | None) -> dict[str, Any] | None:
    if together is None:
        return None
    return {
        "bits": [one.path for one in together.bits],
        "remedies": {vmms.NAME: together.line},
        "arrives": together.arrives,
        "verdict": "arrives" if together.arrives else "refused",
        "still": list(together.still),
    }


def _failure_json(step: Call) -> dict[str, Any]:
    return {
        "call": call_name(step),
        "verdict": step.outcome.name,
        "why": step.outcome.because,
        "source": step.outcome.source,
        "fields": [_field_json(field) for field in step.fields],
    }


def _field_json(field: FieldReason) -> dict[str, Any]:
    return {
        "register": field.place.register,
        "field": field.place.name,
        "value": field.value,
        "destination": field.host,
        "property": field.name,
        "why": field.why,
    }
