"""Named models as people, QEMU and libvirt read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, Host
from inspector.machine.arm64.models.accepted import Accepted, guest_properties, on_host
from inspector.machine.arm64.models.baseline import Baseline, Ranked
from inspector.machine.arm64.models.realize import Realization, places_of
from inspector.machine.arm64.models.request import Request
from layouts.arm64.named_models import SWITCHES, NamedModel, chain
from layouts.arm64.properties import COMPOSITE, Property, numbers_in, properties, text_in

SCHEMA = "inspector-models-1"
_MARGIN = 100


# One model


def model_text(model: NamedModel, models: dict[str, NamedModel]) -> Iterator[str]:
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
            head = f"  from {value.source}" + (f", only with {value.switch}=on" if value.switch else "")
            head += "" if value.verified else "  UNVERIFIED"
            if head != source:
                yield (source := head)
            yield f"    {value.assignment}"
        if entry.vl_bytes:
            yield f"    SVE vector lengths: {', '.join(map(str, entry.vl_bytes))} bytes"


def model_json(model: NamedModel, models: dict[str, NamedModel]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema": SCHEMA,
        "name": model.name,
        "version": model.version,
        "title": model.title,
        "realizable": model.realizable,
        "parents": [entry.name for entry in chain(model, models)[:-1]],
        "vl_bytes": list(model.vl_bytes),
        "values": [
            {
                "model": entry.name,
                "property": value.assignment.name,
                "value": value.assignment.text,
                "source": value.source,
                "verified": value.verified,
                "switch": value.switch or None,
            }
            for entry in chain(model, models)
            for value in entry.values
        ],
    }


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
    yield f"{name} on {made.host.name}, kernel {made.host.kernel.label}: usable {'yes' if made.usable else 'no'}"
    yield from (f"  conflict: {conflict}" for conflict in made.request.conflicts)
    yield from (f"  blocker {blocker}" for blocker in made.blockers)
    if not made.agree:
        yield "  the prediction and the scratch vCPU differ:"
    for write in made.writes:
        if steps or not write.outcome.accepted:
            yield f"  {write.what}: {write.outcome}"


def steps_text(made: Realization) -> Iterator[str]:
    """Field by field who set it to what, in order of precedence."""
    for place, history in sorted(made.request.history.items(), key=lambda item: (item[0].encoding, -item[0].lsb)):
        hosts = place.get(made.host.limit(place.encoding, made.request.features))
        path = " > ".join(f"{setting.value} ({setting.origin}: {setting.name})" for setting in history)
        yield f"  {place.register}.{place.field}: 0 > {path}; the host has {hosts}"


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
        "schema": SCHEMA,
        "model": name,
        "host": made.host.name,
        "kernel": made.host.kernel.name,
        "answers_for": made.host.kernel.answers_for or None,
        "usable": made.usable,
        "agree": made.agree,
        "blockers": [
            {
                "property": blocker.name,
                "register": blocker.place.register if blocker.place else None,
                "field": blocker.place.field if blocker.place else None,
                "wanted": blocker.wanted,
                "host": blocker.host,
                "why": blocker.why,
            }
            for blocker in made.blockers
        ],
        "conflicts": [str(conflict) for conflict in made.request.conflicts],
        "calls": [{"call": write.what, "verdict": write.outcome.name} for write in made.writes],
        "registers": {
            made.host.kernel.register_name(encoding): f"{value:#x}" for encoding, value in made.registers.items()
        },
    }


def accepted_text(request: Request, host: Host) -> Iterator[str]:
    """Every property that can have more than one value: the guest's, and what the host accepts."""
    wanted = properties_of(request)
    for entry in on_host(host, request.features):
        name = entry.entry.name
        value = wanted.get(name, _zero(entry.entry))
        if len(entry.values) > 1 or value != entry.host:
            yield f"  {name + '=' + value:<32} host {entry.host:<10} accepts {_short(entry)}"
            for choice in entry.differences:
                yield f"      {choice.text}: predicted {choice.refusal or 'ok'}; KVM says {choice.outcome}"


def _zero(entry: Property) -> str:
    return text_in(entry, {})


def _short(entry: Accepted) -> str:
    """The values in words; a run of numbers by its ends."""
    values = entry.values
    numbers = [int(value) for value in values if value.isdigit()]
    if len(numbers) == len(values) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}..{numbers[-1]}"
    return ",".join(values)


# QEMU and libvirt


def qmp_definitions(rows: Iterable[tuple[NamedModel, Realization | None]]) -> dict[str, Any]:
    """``query-cpu-definitions``; blockers are ``unavailable-features``."""
    found = []
    for model, made in rows:
        entry: dict[str, Any] = {
            "name": model.name,
            "typename": f"{model.name}-arm-cpu",
            "static": False,
            "migration-safe": True,
            "deprecated": False,
        }
        if made is not None:
            entry["unavailable-features"] = sorted({blocker.name for blocker in made.blockers})
        found.append(entry)
    return {"return": found}


def qmp_expansion(name: str, request: Request) -> dict[str, Any]:
    """``query-cpu-model-expansion``, type full."""
    props: dict[str, Any] = {}
    for key, text in properties_of(request).items():
        entry = properties().get(key)
        is_switch = text in ("on", "off") and (
            entry is None or (entry.kind in ("boolean", COMPOSITE)) or key.startswith("sve")
        )
        props[key] = text == "on" if is_switch else int(text, 0) if entry and not entry.values else text
    return {"return": {"model": {"name": name, "props": props}}}


def libvirt_xml(rows: Iterable[tuple[str, Realization]], *, with_properties: bool) -> str:
    """``<cpu>`` elements as in QEMU capabilities: usable, blockers, and properties with what they support."""
    root = ElementTree.Element("cpus")
    for name, made in rows:
        cpu = ElementTree.SubElement(
            root,
            "cpu",
            type="kvm",
            name=name,
            typename=f"{name}-arm-cpu",
            usable="yes" if made.usable else "no",
        )
        for blocker in dict.fromkeys(blocker.name for blocker in made.blockers):
            ElementTree.SubElement(cpu, "blocker", name=blocker)
        if with_properties:
            wanted = properties_of(made.request)
            for entry in on_host(made.host, made.request.features):
                kind = entry.entry.kind if entry.entry.kind in ("boolean", "numeric") else "string"
                ElementTree.SubElement(
                    cpu,
                    "property",
                    name=entry.entry.name,
                    type=kind,
                    value=wanted.get(entry.entry.name, _zero(entry.entry)),
                    supports=",".join(entry.values),
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode")


def cpu_line(name: str, words: Sequence[str]) -> str:
    """A ``-cpu`` argument of QEMU with named properties."""
    return "-cpu " + ",".join((name, *words))


def sysreg_line(made: Realization) -> str:
    """The same guest over ``-cpu host``, in the reviewer's scheme: every field that is not the host's."""
    words = []
    for encoding, value in sorted(made.request.registers.items()):
        limit = made.host.limit(encoding, made.request.features)
        words += [
            f"SYSREG_{place.register}_{place.field}={place.get(value)}"
            for place in places_of(encoding)
            if place.get(value) != place.get(limit)
        ]
    switches = properties_of(made.request)
    words += [f"{name}={switches[name]}" for name in SWITCHES]
    return cpu_line("host", words)


# Several hosts


def baseline_text(found: Baseline, hosts: Sequence[Host]) -> Iterator[str]:
    """The best values for all hosts, and what cannot be the same on all."""
    yield f"baseline of {', '.join(f'{host.name} (kernel {host.kernel.label})' for host in hosts)}"
    if found.differences:
        yield "  no baseline: these fields differ, and a host does not let user space write them"
        yield from (f"  {difference}" for difference in found.differences)
    yield "  properties over zero; -o FILE writes them as a model"
    line = " "
    for word in found.words:
        if len(line) + len(word) >= _MARGIN:
            yield line
            line = " "
        line += f" {word}"
    yield line


def ranking_text(ranked: Sequence[Ranked], hosts: Sequence[Host]) -> Iterator[str]:
    """Which models run on all hosts, the best first, and why the others do not."""
    usable = [entry for entry in ranked if entry.usable]
    if usable:
        yield f"best model that runs on all: {usable[0].model.name}"
    else:
        yield "no named model runs on all"
    for entry in ranked:
        if entry.usable:
            yield f"  {entry.model.name:<18} runs on all"
            continue
        made, host = next((made, host) for made, host in zip(entry.realizations, hosts, strict=True) if not made.usable)
        more = f" (+{len(made.blockers) - 1})" if len(made.blockers) > 1 else ""
        why = str(made.blockers[0]) if made.blockers else "a call was refused"
        yield f"  {entry.model.name:<18} not on {host.name}: {why}{more}"


def baseline_toml(found: Baseline, name: str, hosts: Sequence[Host]) -> str:
    """The baseline as a model file of the user's own."""
    lengths = sve.lengths_bytes(found.vqs)
    lines = [f'name = "{name}"', "version = 1", f'title = "runs on all of {len(hosts)} hosts"', ""]
    lines += ["[[values]]", f'source = "baseline of {", ".join(host.name for host in hosts)}"']
    lines += [f"vl_bytes = {lengths}"] if lengths else []
    lines.append("[values.properties]")
    for word in found.words:
        key, _, value = word.partition("=")
        if key not in SWITCHES and not (key.startswith("sve") and key[3:].isdigit()):
            lines.append(f"{key} = {value if value.isdigit() else repr(value).replace(chr(39), chr(34))}")
    return "\n".join(lines) + "\n"
