"""Named models on several hosts, as text: the baseline, the ranking, and the moves between hosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.capture.errors import visible
from inspector.export.migration import name_of
from inspector.export.models import wrapped
from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.baseline import Baseline, Ranked
from inspector.machine.arm64.models.moves import Move, Unlike
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.models.realize import Realization
from layouts.arm64.named_models import SWITCHES
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def baseline_text(found: Baseline, hosts: Sequence[Host]) -> Iterator[str]:
    """The best values for all hosts, and what cannot be the same on all."""
    yield f"baseline of {', '.join(f'{host.name} (kernel {host.kernel.label})' for host in hosts)}"
    partial = [host.name for host in hosts if isinstance(host, PartialHost)]
    if partial:
        yield f"  known in part: {', '.join(partial)}; where nothing is told this takes what their cores have"
    if found.differences:
        yield "  no baseline: these fields differ, and a host does not let user space write them"
        yield from (f"  {difference}" for difference in found.differences)
    yield "  properties over zero; -o FILE writes them as a model"
    yield from wrapped(" ", found.words)


def ranking_text(ranked: Sequence[Ranked], hosts: Sequence[Host]) -> Iterator[str]:
    """Which models run on all hosts and with which switches, the best first, and why the others do not."""
    best = ranked[0] if ranked else None
    if best is not None and best.usable:
        yield f"best model that runs on all: {_with_words(best)}"
    elif best is not None and best.possible:
        yield f"no model is known to run on all; the best that may: {_with_words(best)}"
    else:
        yield "no named model runs on all"
    for entry in ranked:
        yield f"  {entry.model.name:<18} {_ranked_word(entry, hosts)}"


def _with_words(entry: Ranked) -> str:
    return " ".join((entry.model.name, *entry.words))


def _ranked_word(entry: Ranked, hosts: Sequence[Host]) -> str:
    words = f" with {' '.join(entry.words)}" if entry.words else ""
    if entry.usable:
        return f"runs on all{words}"
    if entry.possible:
        hangs = [f"{len(one.open)} values of {one.host.name}" for one in entry.realizations if one.open]
        return f"may run on all{words}: it hangs on {', '.join(hangs)}"
    made, host = next((made, host) for made, host in zip(entry.realizations, hosts, strict=True) if not made.possible)
    more = f" (+{len(made.blockers) - 1})" if len(made.blockers) > 1 else ""
    return f"not on {host.name}: {made.blockers[0] if made.blockers else 'a call was refused'}{more}"


def baseline_toml(found: Baseline, name: str, hosts: Sequence[Host]) -> str:
    """The baseline as a model file of the user's own."""
    lengths = sve.lengths_bytes(found.vqs)
    of = f"baseline of {', '.join(host.name for host in hosts)}"
    lines = [f"name = {_toml(name)}", "version = 1", f'title = "runs on all of {len(hosts)} hosts"', ""]
    lines += ["[[values]]", f"source = {_toml(of)}"]
    lines += [f"vl_bytes = {lengths}"] if lengths else []
    lines.append("[values.properties]")
    for word in found.words:
        key, _, value = word.partition("=")
        if key not in SWITCHES and not (key.startswith("sve") and key[3:].isdigit()):
            lines.append(f"{key} = {value if value.isdigit() else _toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """A basic string of TOML: what is visible needs no escapes but those of JSON."""
    import json

    return json.dumps(visible(text), ensure_ascii=False)


# Moves


def moves_text(made: Sequence[Realization], moved: Sequence[Move], found: Sequence[Unlike]) -> Iterator[str]:
    """Whether guests of one model move between hosts, and what is not the same in them."""
    if not moved:
        return
    yield "between these hosts"
    for move in moved:
        yield f"  {move.source.name} -> {move.made.host.name}: {_move_word(move)}"
    names = [one.host.name for one in made if one.possible]
    for unlike in found:
        values = ", ".join(
            f"{'none' if value is None else hex(value)} on {name}"
            for name, value in zip(names, unlike.values, strict=True)
        )
        hint = "; the model leaves it to the host, cpu_* properties name it" if unlike.is_identity else ""
        yield f"  not the same guest: {unlike.name} is {values}{hint}"


def _move_word(move: Move) -> str:
    if move.needs_imp_ids:
        names = ", ".join(name_of(step.register_id) for step in move.plain.failures)
        return f"arrives, with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS for {names}"
    if move.arrives:
        return "arrives"
    if move.made.unknown:
        return f"refused; the destination lacks {', '.join(map(name_of, move.made.unknown))}"
    if move.made.possible:
        return f"not known; {move.made.undecided[0].outcome.because}"
    step = move.made.failures[0]
    register = f" {name_of(step.register_id)}" if step.register_id else ""
    more = f" (+{len(move.made.failures) - 1})" if len(move.made.failures) > 1 else ""
    return f"refused; {step.event}{register}: {step.outcome}{more}"


def moves_json(moved: Sequence[Move], host: Host) -> list[dict[str, Any]]:
    """Where a host's guest goes, for programs."""
    return [
        {
            "to": move.made.host.name,
            "arrives": move.arrives,
            "needs_writable_imp_ids": move.needs_imp_ids,
            "why": None if move.arrives else _move_word(move),
        }
        for move in moved
        if move.source is host
    ]


def unlike_json(made: Sequence[Realization], found: Sequence[Unlike]) -> list[dict[str, Any]]:
    """What differs between the guests, for programs."""
    names = [one.host.name for one in made if one.possible]
    return [
        {
            "register": unlike.register,
            "field": unlike.field or None,
            "identity": unlike.is_identity,
            "values": {
                name: None if value is None else hex(value) for name, value in zip(names, unlike.values, strict=True)
            },
        }
        for unlike in found
    ]
