"""A migration as text and JSON: which call fails, on which field, and why."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.export.kinds import head, kernel_json
from inspector.export.words import counted
from inspector.machine.arm64.migrate import Call, Migration
from layouts.arm64.kvm_ids import explain
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SHOWN = 8


def name_of(register_id: int) -> str:
    """A register's name."""
    return explain(register_id).path


def _call(step: Call) -> str:
    return f"{step.event} {name_of(step.register_id)}" if step.event.endswith("ONE_REG") else step.event


def migration_text(made: Migration, *, steps: bool) -> Iterator[str]:
    """The verdict, what is in the way, and how many registers were tried."""
    host = made.host
    verdict = "the vCPU arrives" if made.accepted else "the destination refuses the vCPU"
    if made.possible and made.undecided:
        verdict = "not known, it depends on the destination's hardware"
    yield f"{made.state.name} to {host.name}, kernel {host.kernel.label}: {verdict}"
    if made.open and made.accepted:
        unlikely = [entry for entry in made.open if entry.why]
        yield f"  hangs on {counted(len(made.open), 'value')} that are not known of {host.name}"
        yield from (f"    unlikely {entry.name}: with what its core has, {entry.why}" for entry in unlikely)
    if made.unknown:
        names = ", ".join(f"{name_of(rid)} ({rid:#x})" for rid in made.unknown[:_SHOWN])
        more = f" and {len(made.unknown) - _SHOWN} more" if len(made.unknown) > _SHOWN else ""
        yield f"  the destination's KVM has {counted(len(made.unknown), 'register')} less: {names}{more}"
    for step in made.steps:
        if step.outcome.accepted and not steps:
            continue
        yield f"  {_call(step)}: {step.outcome}"
        for field in step.fields:
            yield f"    {field.place.register}.{field.place.name}={field.value}: {field.why} (property {field.name})"
    tried = sum(1 for step in made.steps if step.register_id)
    yield f"  {counted(tried, 'register')} tried; {made.untried} hold state that no rule of the destination decides"


def migration_json(made: Migration) -> dict[str, Any]:
    """The same for programs."""
    return {
        **head("migration"),
        "source": made.state.name,
        "destination": made.host.name,
        **kernel_json(made.host.kernel),
        "accepted": made.accepted,
        "undecided": [{"call": _call(step), "why": step.outcome.because} for step in made.undecided],
        "open": [entry.name for entry in made.open],
        "missing": [{"id": f"{rid:#x}", "name": name_of(rid)} for rid in made.unknown],
        "failures": [
            {
                "call": _call(step),
                "verdict": step.outcome.name,
                "why": step.outcome.because,
                "source": step.outcome.source,
                "fields": [
                    {
                        "register": field.place.register,
                        "field": field.place.name,
                        "value": field.value,
                        "destination": field.host,
                        "property": field.name,
                        "why": field.why,
                    }
                    for field in step.fields
                ],
            }
            for step in made.failures
        ],
    }
