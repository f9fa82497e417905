"""Named models as QEMU and libvirt would read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from inspector.export.models import properties_of
from inspector.machine.arm64 import sve
from inspector.machine.arm64.models.accepted import on_host
from inspector.machine.arm64.models.baseline import Ranked
from inspector.machine.arm64.models.realize import Realization, places_of
from inspector.machine.arm64.models.request import Request
from layouts.arm64.named_models import SWITCHES, NamedModel
from layouts.arm64.properties import COMPOSITE, SVE, FieldPlace, aarch32_places, properties, text_in


def qmp_definitions(rows: Iterable[tuple[NamedModel, Realization | None]]) -> dict[str, Any]:
    """``query-cpu-definitions``; blockers are ``unavailable-features``."""
    found = []
    for model, made in rows:
        entry: dict[str, Any] = {
            "name": model.name,
            "typename": model.typename,
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


def qmp_baseline(best: Ranked) -> dict[str, Any]:
    """``query-cpu-model-baseline``: the best model for all hosts, and the switches that it needs there."""
    words = dict(word.split("=") for word in best.words)
    return {"return": {"model": {"name": best.model.name, "props": {name: on == "on" for name, on in words.items()}}}}


def libvirt_xml(rows: Iterable[tuple[NamedModel, Realization]], *, with_properties: bool) -> str:
    """``<cpu>`` elements as in libvirt's QEMU capabilities: usable, blockers, and properties with what they support."""
    root = ElementTree.Element("cpus")
    for model, made in rows:
        cpu = ElementTree.SubElement(
            root,
            "cpu",
            type="kvm",
            name=model.libvirt,
            typename=model.typename,
            usable={"yes": "yes", "no": "no"}.get(made.verdict, "unknown"),
        )
        for blocker in dict.fromkeys(blocker.name for blocker in made.blockers):
            ElementTree.SubElement(cpu, "blocker", name=blocker)
        for name in dict.fromkeys(entry.name for entry in made.open):
            ElementTree.SubElement(cpu, "unknown", name=name)
        if with_properties:
            wanted = properties_of(made.request)
            for entry in on_host(made.host, made.request.features):
                kind = entry.entry.kind if entry.entry.kind in ("boolean", "numeric") else "string"
                ElementTree.SubElement(
                    cpu,
                    "property",
                    name=entry.entry.name,
                    type=kind,
                    value=wanted.get(entry.entry.name, text_in(entry.entry, {})),
                    supports=",".join(entry.values),
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode")


def domain_cpu(model: NamedModel | None, words: Sequence[str]) -> str:
    """``<cpu>`` of a libvirt domain: the model by libvirt's name, and the user's properties as features.

    A feature is there or not: properties with other values than on and off have none, and stand in a comment.
    """
    root = ElementTree.Element("cpu", mode="host-passthrough" if model is None else "custom", check="none")
    if model is not None:
        root.set("match", "exact")
        ElementTree.SubElement(root, "model", fallback="forbid").text = model.libvirt
    for word in words:
        name, _, value = word.partition("=")
        if value in _POLICIES:
            ElementTree.SubElement(root, "feature", policy=_POLICIES[value], name=name)
        else:
            root.append(ElementTree.Comment(f" no feature of libvirt says {word} "))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode")


#: libvirt's policies of a feature, by what QEMU's property is.
_POLICIES = {"on": "require", "off": "disable"}


def cpu_line(name: str, words: Sequence[str]) -> str:
    """A ``-cpu`` argument of QEMU with named properties."""
    return "-cpu " + ",".join((name, *words))


def sysreg_line(made: Realization) -> str:
    """The same guest over ``-cpu host``, in the reviewer's scheme: every field and length that is not the host's."""
    words = []
    for encoding, value in sorted(made.request.registers.items()):
        limit = made.host.limit(encoding, made.request.features)
        words += [
            f"SYSREG_{place.register}_{place.name}={place.get(value)}"
            for place in (*places_of(encoding), *_aarch32_places_of(encoding))
            if place.get(value) != place.get(limit)
        ]
    switches = properties_of(made.request)
    words += [f"{name}={switches[name]}" for name in SWITCHES]
    if switches[SVE] == "on":
        host, guest = made.host.sve_vqs, made.request.vqs
        words += [f"sve{8 * length}=off" for length in sve.lengths_bytes(host & ~guest)]
        words += [f"sve{8 * length}=on" for length in sve.lengths_bytes(guest & ~host)]
    return cpu_line("host", words)


def _aarch32_places_of(encoding: int) -> list[FieldPlace]:
    return [place for place in aarch32_places().values() if place.encoding == encoding]
