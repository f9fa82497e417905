"""x86 models, realizations and baselines as people and programs read them; the words are those of arm64's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inspector.export.kinds import head
from inspector.export.models import wrapped
from inspector.machine.x86.migrate.model_moves import Move, Place, Unlike
from inspector.machine.x86.models.baseline import Baseline, Ranked, labels
from inspector.machine.x86.models.cpuid import guest_cpuid, model_id_of
from inspector.machine.x86.models.offer import Offer
from inspector.machine.x86.models.realize import Realization
from layouts.light import TYPE_CHECKING
from layouts.x86.models.features import features
from layouts.x86.models.qemu import CpuModel, Models

if TYPE_CHECKING:
    from typing import Any

_REGISTERS = ("eax", "ebx", "ecx", "edx")
_SHOWN = 12
_NAMED = 3


def in_order(names: frozenset[str]) -> list[str]:
    """Features in QEMU's order of words and bits."""
    return [name for name in features() if name in names]


def parent_of(model: CpuModel, models: Models) -> CpuModel | None:
    """The version before."""
    return models.models.get(f"{model.family_name}-v{model.version - 1}")


def model_text(model: CpuModel, models: Models) -> Iterator[str]:
    """A model: who it is, its features, and what it has over the version before."""
    yield f"{model.name}  {model.model_id}"
    others = ", ".join(alias for alias, name in models.aliases.items() if name == model.name)
    yield f"  QEMU {models.version} ({models.package}){f', also {others}' if others else ''}"
    yield f"  {model.vendor} family {model.family} model {model.model} stepping {model.stepping}"
    yield f"  CPUID up to {model.level:#x} and {model.xlevel:#x}, more where a feature needs it"
    if model.deprecated:
        yield "  deprecated: QEMU will drop it"
    parent = parent_of(model, models)
    if parent is not None:
        yield f"  over {parent.name}:"
        changed = [f"+{name}" for name in in_order(model.features - parent.features)]
        changed += [f"-{name}" for name in in_order(parent.features - model.features)]
        yield from wrapped("   ", changed or ["the same features"])
    yield "  features"
    yield from wrapped("   ", in_order(model.features))


def model_json(model: CpuModel, models: Models) -> dict[str, Any]:
    """The same for programs, with arm64's keys."""
    parent = parent_of(model, models)
    source = {"key": f"qemu-{models.version}", "kind": "program", "text": f"QEMU {models.package}"}
    return {
        **head("model"),
        "arch": "x86",
        "name": model.name,
        "version": model.version,
        "title": model.model_id,
        "libvirt": model.name,
        "typename": f"{model.name}-x86_64-cpu",
        "realizable": True,
        "deprecated": model.deprecated,
        "parents": [parent.name] if parent else [],
        "vl_bytes": [],
        "aliases": [alias for alias, name in models.aliases.items() if name == model.name],
        "vendor": model.vendor,
        "family": model.family,
        "model": model.model,
        "stepping": model.stepping,
        "values": [
            {
                "model": model.name,
                "property": name,
                "value": "on",
                "places": [str(bit) for bit in features()[name]],
                "source": source,
                "second": [],
                "has_second": False,
                "verified": True,
                "switch": None,
            }
            for name in in_order(model.features)
        ],
    }


def check_text(name: str, made: Realization, nameless: Sequence[str], *, steps: bool) -> Iterator[str]:
    """Whether a model runs on a host, and if not why."""
    machine = made.request.machine.name
    yield f"{name} on {made.offer.label}, {machine}: usable {made.verdict}"
    for entry in (*made.missing, *made.dropped):
        yield f"  blocker {entry}"
    if made.missing and made.starts:
        yield "  QEMU warns of each, and the guest does without; with enforce it does not start"
    if made.unknown:
        yield f"  hangs on {len(made.unknown)} features of which the record of {made.offer.name} does not tell"
        yield from wrapped("   ", made.unknown)
    for word in nameless:
        yield f"  note: {word} has no name in QEMU, so no model line says it"
    if steps:
        for entry in (*made.missing, *made.dropped):
            yield f"  warning: {entry.warning}"


def steps_text(made: Realization) -> Iterator[str]:
    """Feature by feature who switched it."""
    for name in features():
        history = made.expansion.history.get(name)
        if history:
            path = " > ".join(str(setting) for setting in history)
            gone = "" if name in made.features or not history[-1].on else f" > off: {made.offer.name} does not have it"
            yield f"  {name:<24} {', '.join(map(str, features()[name])):<22} {path}{gone}"


def expand_text(made: Realization) -> Iterator[str]:
    """What the guest gets: features and CPUID."""
    yield f"{model_id_of(made) or 'no brand'} ({made.expansion.vendor})"
    yield "features"
    yield from wrapped("   ", in_order(made.features))
    yield "CPUID of the guest: what the model decides (caches, topology and the PMU are the machine's)"
    for (leaf, subleaf), values in sorted(guest_cpuid(made).leaves.items()):
        words = " ".join(f"{name}={value:#010x}" for name, value in zip(_REGISTERS, values, strict=True))
        yield f"  {leaf:#010x} {subleaf:#04x}: {words}"


def realization_json(name: str, made: Realization, nameless: Sequence[str]) -> dict[str, Any]:
    """A realization for programs, with arm64's keys."""
    return {
        **head("realization"),
        "arch": "x86",
        "model": name,
        "host": made.offer.name,
        "kernel": made.offer.kernel or None,
        "answers_for": None,
        "machine": made.request.machine.name,
        "qemu": made.request.models.version,
        "usable": made.verdict == "yes",
        "verdict": made.verdict,
        "starts": made.starts,
        "agree": None,
        "open": [_open_json(feature) for feature in made.unknown],
        "nameless": list(nameless),
        "qemu_warns": [entry.warning for entry in (*made.missing, *made.dropped)],
        "blockers": [
            {
                "property": entry.feature,
                "register": str(entry.bit.word),
                "field": f"{entry.bit.number}",
                "wanted": 1,
                "host": 0,
                "why": str(entry.asked),
            }
            for entry in (*made.missing, *made.dropped)
        ],
        "conflicts": [f"{entry.feature} is asked for and hangs on a feature that is off" for entry in made.dropped],
        "calls": [],
        "features": in_order(made.features),
        "origins": {feature: str(setting) for feature in features() if (setting := made.expansion.origin(feature))},
        "registers": {
            f"cpuid.{leaf:x}.{subleaf:x}.{register}": f"{value:#x}"
            for (leaf, subleaf), values in sorted(guest_cpuid(made).leaves.items())
            for register, value in zip(_REGISTERS, values, strict=True)
        },
    }


def _open_json(feature: str) -> dict[str, Any]:
    bit = features()[feature][0]
    return {
        "property": feature,
        "register": str(bit.word),
        "field": f"{bit.number}",
        "wanted": 1,
        "likely": None,
        "why": None,
    }


def properties_of(made: Realization) -> dict[str, str]:
    """What the guest gets, as properties."""
    return dict.fromkeys(in_order(made.features), "on")


def moves_text(places: Sequence[Place], moved: Sequence[Move], found: Sequence[Unlike]) -> Iterator[str]:
    """Whether guests of one model move between hosts, and what is not the same in them."""
    yield "between these hosts"
    for move in moved:
        word = "arrives" if move.arrives else move.why
        yield f"  {move.source.name} -> {move.destination.name}: {word}"
    alone: dict[tuple[int, ...], list[str]] = {}
    for one in found:
        alone.setdefault(one.values, []).append(one.feature)
    for values, names in alone.items():
        having = ", ".join(place.name for place, value in zip(places, values, strict=True) if value)
        yield from wrapped(f"  not the same guest: on {having} alone", names)


def moves_json(moved: Sequence[Move], place: Place) -> list[dict[str, Any]]:
    """Where a host's guest goes, for programs."""
    return [
        {
            "to": move.destination.name,
            "arrives": move.arrives,
            "needs_writable_imp_ids": False,
            "why": move.why or None,
        }
        for move in moved
        if move.source is place
    ]


def unlike_json(places: Sequence[Place], found: Sequence[Unlike]) -> list[dict[str, Any]]:
    """What differs between the guests, for programs."""
    return [
        {
            "register": str(one.bit.word),
            "field": f"{one.bit.number}",
            "identity": False,
            "values": {place.name: hex(value) for place, value in zip(places, one.values, strict=True)},
        }
        for one in found
    ]


def qmp_expansion(made: Realization) -> dict[str, Any]:
    """``query-cpu-model-expansion``, type full: the features, before the host's own are filtered."""
    known = {name: name in made.expansion.features for name in features() if name not in made.request.models.lacks}
    return {"return": {"model": {"name": made.request.name, "props": known}}}


# Baselines


def baseline_text(found: Baseline, offers: Sequence[Offer]) -> Iterator[str]:
    """What all have, what only some have, and the best model."""
    yield f"baseline of {', '.join(offer.label for offer in offers)}"
    yield from (f"  {difference}" for difference in differences_of(offers))
    partial = [offer.name for offer in offers if offer.is_partial]
    if partial:
        yield f"  known in part: {', '.join(partial)}; what nobody tells of one is not in the baseline"
    if found.phys_bits:
        yield f"  physical address bits: {found.phys_bits}"
    yield f"  {len(found.common)} features on all"
    for name, lacking in found.partial.items():
        bits = ", ".join(map(str, features()[name]))
        yield f"  not on all: {name} ({bits}), not on {', '.join(lacking)}"
    best = found.ranked[0] if found.ranked else None
    if best is None:
        yield "no named model is of the vendor of all hosts"
        return
    head = "best model that runs on all" if best.usable else "the model that comes nearest"
    yield f"{head}: {' '.join((best.model, *best.words))}"
    for entry in found.ranked[:_SHOWN]:
        yield f"  {entry.model:<26} {_ranked_word(entry)}"
    if len(found.ranked) > _SHOWN:
        yield f"  and {len(found.ranked) - _SHOWN} more that need more"


def _ranked_word(entry: Ranked) -> str:
    words = []
    if entry.removed:
        more = ", ..." if len(entry.removed) > _NAMED else ""
        words.append(f"needs {len(entry.removed)} off ({', '.join(entry.removed[:_NAMED])}{more})")
    if entry.unknown:
        words.append(f"hangs on {len(entry.unknown)} that are not known")
    words.append(f"leaves {len(entry.added)} unused" if entry.added else "leaves nothing unused")
    return ("" if entry.removed or entry.unknown else "runs on all, ") + ", ".join(words)


def differences_of(offers: Sequence[Offer]) -> Iterator[str]:
    """What no line makes the same."""
    vendors = sorted({offer.vendor for offer in offers if offer.vendor})
    if len(vendors) > 1:
        yield f"hosts of {' and '.join(vendors)}: no guest moves between vendors unharmed"


def baseline_json(found: Baseline, offers: Sequence[Offer], moves: Mapping[str, Any]) -> dict[str, Any]:
    """The same for programs."""
    return {
        **head("baseline"),
        "arch": "x86",
        "hosts": labels(offers),
        "properties": in_order(found.common),
        "differences": list(differences_of(offers)),
        "partial": {name: list(lacking) for name, lacking in found.partial.items()},
        "usable": [entry.model for entry in found.ranked if entry.usable],
        "switches": {entry.model: list(entry.words) for entry in found.ranked},
        "phys_bits": found.phys_bits or None,
        "moves": dict(moves),
    }
