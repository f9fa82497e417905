"""Named models as QEMU and libvirt would read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from inspector.capture.errors import visible
from inspector.export.model_answers import Property, Row
from inspector.export.models import properties_of
from inspector.machine.arm64 import sve
from inspector.machine.arm64.models.accepted import on_host
from inspector.machine.arm64.models.realize import Realization, places_of
from inspector.machine.arm64.models.request import Request
from layouts.arm64.named_models import SWITCHES, NamedModel
from layouts.arm64.properties import COMPOSITE, SVE, FieldPlace, aarch32_places, properties, text_in


def row_of(model: NamedModel, made: Realization | None, *, with_properties: bool = False) -> Row:
    """A model, and what comes of it on a host where one was asked."""
    row = Row(model.name, model.libvirt, model.typename)
    if made is None:
        return row
    return row._replace(
        verdict=made.verdict,
        blockers=tuple(blocker.name for blocker in made.blockers),
        unknown=tuple(entry.name for entry in made.open),
        properties=_properties(made) if with_properties else (),
    )


def _properties(made: Realization) -> tuple[Property, ...]:
    wanted = properties_of(made.request)
    return tuple(
        Property(
            entry.entry.name,
            entry.entry.kind if entry.entry.kind in ("boolean", "numeric") else "string",
            wanted.get(entry.entry.name, text_in(entry.entry, {})),
            entry.values,
        )
        for entry in on_host(made.host, made.request.features)
    )


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


def domain_cpu(model: NamedModel | None, words: Sequence[str]) -> str:
    """``<cpu>`` of a libvirt domain: the model by libvirt's name, and the user's properties as features.

    A feature is there or not: properties with other values than on and off have none, and stand in a comment.
    """
    root = ElementTree.Element("cpu", mode="host-passthrough" if model is None else "custom", check="none")
    if model is not None:
        root.set("match", "exact")
        ElementTree.SubElement(root, "model", fallback="forbid").text = visible(model.libvirt)
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
    return "-cpu " + ",".join((visible(name), *words))


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
