"""Named models as people, QEMU and libvirt read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from inspector.export.kinds import head, kernel_json
from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, Host
from inspector.machine.arm64.models.accepted import Accepted, guest_properties, on_host
from inspector.machine.arm64.models.partial import Open, PartialHost
from inspector.machine.arm64.models.realize import Realization
from inspector.machine.arm64.models.request import Request
from layouts.arm64.arm_features import features_in
from layouts.arm64.ids import ISAR1
from layouts.arm64.named_models import ModelValue, NamedModel, chain, model_named
from layouts.arm64.properties import SVE, FieldPlace, Property, numbers_in, properties, text_in, value_text
from layouts.arm64.sources import Source
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_MARGIN = 100


# One model


def model_text(model: NamedModel, models: Mapping[str, NamedModel]) -> Iterator[str]:
    """A model with its parents: each value, and where it comes from."""
    lineage = chain(model, models)
    yield f"{model.name}  {model.title}"
    yield f"  parents: {' > '.join(entry.name for entry in lineage)}"
    if not model.realizable:
        yield "  not realizable on its own: it leaves fields open that the implementation defines"
    for entry in lineage:
        yield ""
        yield f"{entry.name}:"
        yield from (f"  {line}" for line in entry.notes.splitlines())
        source = ""
        for value in entry.values:
            head = f"  from {value.source.text}" + (f", only with {value.switch}=on" if value.switch else "")
            head += "" if value.verified else "  UNVERIFIED"
            if head != source:
                yield (source := head)
            yield f"    {value.assignment!s:<26} {_second(value)}".rstrip()
        if entry.vl_bytes:
            yield f"    SVE vector lengths: {', '.join(map(str, entry.vl_bytes))} bytes"
    yield ""
    yield "second sources:"
    yield from _legend(lineage)


def _second(value: ModelValue) -> str:
    """Who else says it, by the names that the end of the page explains."""
    if not value.second:
        return "no second source"
    return "also " + ", ".join(map(str, value.second)) + ("" if value.has_second else ": an emulator, no second source")


def _legend(lineage: Iterable[NamedModel]) -> Iterator[str]:
    """What the keys of second sources stand for."""
    named = {source for entry in lineage for value in entry.values for source in value.second if source.key}
    for source in sorted(named):
        yield f"  {source.key:<20} {source.kind}: {source.text}"


def model_json(model: NamedModel, models: Mapping[str, NamedModel]) -> dict[str, Any]:
    """The same for programs."""
    return {
        **head("model"),
        "arch": "arm64",
        "name": model.name,
        "version": model.version,
        "title": model.title,
        "libvirt": model.libvirt,
        "typename": model.typename,
        "realizable": model.realizable,
        "parents": [entry.name for entry in chain(model, models)[:-1]],
        "vl_bytes": list(model.vl_bytes),
        "aliases": [name for name in _short_names(model) if model_named(name, models) is model],
        "deprecated": False,
        "vendor": None,
        "family": None,
        "model": None,
        "stepping": None,
        "values": [
            {
                "model": entry.name,
                "property": value.assignment.name,
                "value": value.assignment.text,
                "places": [f"{place.register}.{place.name}" for place in _places_of(value.assignment.name)],
                "source": _source_json(value.source),
                "second": [_source_json(source) for source in value.second],
                "has_second": value.has_second,
                "verified": value.verified,
                "switch": value.switch or None,
            }
            for entry in chain(model, models)
            for value in entry.values
        ],
    }


def _short_names(model: NamedModel) -> Iterator[str]:
    """Names of a model beside QEMU's: without its version, and libvirt's."""
    for name in dict.fromkeys((model.name, model.libvirt)):
        if name != model.name:
            yield name
        if name.endswith(ending := f"-v{model.version}"):
            yield name.removesuffix(ending)


def _places_of(name: str) -> tuple[FieldPlace, ...]:
    found = properties().get(name)
    return found.places if found else ()


def _source_json(source: Source) -> dict[str, str]:
    return {"key": source.key, "kind": source.kind, "text": source.text}


# A realization


def properties_of(request: Request) -> dict[str, str]:
    """What the guest gets, as properties: everything that is not zero, and the switches."""
    found: dict[str, str] = {}
    for entry in guest_properties():
        if any(numbers_in(entry, request.registers)):
            found[entry.name] = text_in(entry, request.registers)
    found |= {name: "on" if request.features & bits else "off" for name, bits in FEATURES_OF_SWITCH.items()}
    return found | {f"sve{8 * length}": "on" for length in sve.lengths_bytes(request.vqs)}


def check_text(name: str, made: Realization, *, steps: bool) -> Iterator[str]:
    """Whether a model runs on a host, and if not why."""
    yield f"{name} on {made.host.name}, kernel {made.host.kernel.label}: usable {made.verdict}"
    yield from (f"  conflict: {conflict}" for conflict in made.request.conflicts)
    yield from (f"  note: {note}" for note in notes_of(made))
    yield from (f"  blocker {blocker}" for blocker in made.blockers)
    if made.warned:
        names = ", ".join(dict.fromkeys(blocker.name for blocker in made.warned))
        yield f"  QEMU as proposed writes back what is writable, warns of {names}, and boots a guest with the host's"
    yield from open_text(made)
    if not made.agree:
        yield "  the prediction and the scratch vCPU differ:"
    for write in made.writes:
        if steps or not write.outcome.accepted:
            yield f"  {write.event}: {write.outcome}"


def notes_of(made: Realization) -> Iterator[str]:
    """Fields that a switch takes from the host because no model names them: another host, another guest."""
    taken: dict[str, list[str]] = {}
    for place, history in made.request.history.items():
        if history[-1].origin == "switch" and history[-1].value and place.name != "SVE":
            taken.setdefault(history[-1].name, []).append(f"{place.name}={place.text(history[-1].value)}")
    if made.blockers and not made.host.mask(ISAR1):
        yield "this kernel takes only the host's own ID registers (but CSV2 and CSV3), so no other guest runs there"
    for name, fields in taken.items() if made.request.has_model else ():
        yield f"{name} takes this host's {', '.join(fields)}: on another host it may be another guest"


def open_text(made: Realization) -> Iterator[str]:
    """What the answer hangs on, where the host is known in part."""
    if not (made.open and isinstance(made.host, PartialHost)):
        return
    core = made.host.core or "core"
    counted = f"{len(made.open)} value{'s' * (len(made.open) > 1)}"
    yield f"  hangs on {counted} that the record of {made.host.name} does not tell"
    likely = [open_word(entry) for entry in made.open if not entry.why]
    if likely:
        yield from wrapped(f"  as every {core} has it: ", likely)
    for entry in made.open:
        if entry.why:
            yield f"  unlikely {open_word(entry)}: where it is as in {core}, {entry.why}"


def open_word(entry: Open) -> str:
    """A property with what is wanted of it."""
    if entry.place is None:
        lengths = sve.lengths_bytes(entry.wanted) if entry.name == SVE else ()
        return entry.name + (f" of {' '.join(map(str, lengths))} bytes" if lengths else "")
    known = properties().get(entry.name)
    is_one = known is not None and known.places == (entry.place,)
    return f"{entry.name}={value_text(known, (entry.wanted,)) if known and is_one else entry.wanted}"


def wrapped(head: str, words: Iterable[str]) -> Iterator[str]:
    """Words in lines of the page's width, the first after a head."""
    line = head.rstrip(" ") or "   "
    for word in words:
        if len(line) + len(word) >= _MARGIN:
            yield line
            line = "   "
        line += f" {word}"
    yield line


def steps_text(made: Realization) -> Iterator[str]:
    """Field by field who set it to what, in order of precedence."""
    for place, history in sorted(made.request.history.items(), key=lambda item: (item[0].encoding, -item[0].lsb)):
        hosts = place.get(made.host.limit(place.encoding, made.request.features))
        path = " > ".join(f"{place.text(setting.value)} ({setting.origin}: {setting.name})" for setting in history)
        yield f"  {place.register}.{place.name}: 0 > {path}; the host has {place.text(hosts)}"


def registers_text(made: Realization) -> Iterator[str]:
    """The ID registers that the guest sees."""
    for encoding, value in sorted(made.registers.items()):
        name = made.host.kernel.register_name(encoding)
        wanted = made.request.registers[encoding]
        note = "" if value == wanted else f"  (wanted {wanted:#018x})"
        yield f"  {name:<18} {value:#018x}{note}"


def realization_json(name: str, made: Realization) -> dict[str, Any]:
    """A realization for programs."""
    return {
        **head("realization"),
        "arch": "arm64",
        "model": name,
        "host": made.host.name,
        **kernel_json(made.host.kernel),
        "machine": None,
        "qemu": None,
        "usable": made.usable,
        "verdict": made.verdict,
        "starts": made.possible or len(made.warned) == len(made.blockers),
        "agree": made.agree,
        "open": [_open_json(entry) for entry in made.open],
        "nameless": [],
        "qemu_warns": [blocker.name for blocker in made.warned],
        "blockers": [
            {
                "property": blocker.name,
                "register": blocker.place.register if blocker.place else None,
                "field": blocker.place.name if blocker.place else None,
                "wanted": blocker.wanted,
                "host": blocker.host,
                "why": blocker.why,
            }
            for blocker in made.blockers
        ],
        "conflicts": [str(conflict) for conflict in made.request.conflicts],
        "calls": [{"call": write.event, "verdict": write.outcome.name} for write in made.writes],
        "features": list(features_in(made.registers)),
        "origins": {
            f"{place.register}.{place.name}": f"{place.text(last.value)} by {last.origin} {last.name}"
            for place, history in made.request.history.items()
            for last in history[-1:]
        },
        "registers": {
            made.host.kernel.register_name(encoding): f"{value:#x}" for encoding, value in made.registers.items()
        },
    }


def _open_json(entry: Open) -> dict[str, Any]:
    return {
        "property": entry.name,
        "register": entry.place.register if entry.place else None,
        "field": entry.place.name if entry.place else None,
        "wanted": entry.wanted,
        "likely": entry.likely,
        "why": entry.why or None,
    }


def accepted_text(request: Request, host: Host) -> Iterator[str]:
    """Every property that can have more than one value: the guest's, and what the host accepts."""
    wanted = properties_of(request)
    for entry in on_host(host, request.features):
        name = entry.entry.name
        value = wanted.get(name, _zero(entry.entry))
        if len(entry.values) > 1 or value != entry.host:
            known = "likely" if _is_open(entry.entry, host) else "host"
            yield f"  {name + '=' + value:<32} {known} {entry.host:<10} accepts {_short(entry)}"
            for choice in entry.differences:
                yield f"      {choice.text}: predicted {choice.refusal or 'ok'}; KVM says {choice.outcome}"


def _is_open(entry: Property, host: Host) -> bool:
    return isinstance(host, PartialHost) and any(place in host.open for place in entry.places)


def _zero(entry: Property) -> str:
    return text_in(entry, {})


def _short(entry: Accepted) -> str:
    """The values in words; a run of numbers by its ends."""
    values = entry.values
    numbers = [int(value) for value in values if value.isdigit()]
    if len(numbers) == len(values) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}..{numbers[-1]}"
    return ",".join(values)
