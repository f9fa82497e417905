"""Models as QEMU answers QMP about them, and as libvirt keeps those answers: one form for both architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.errors import visible
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


class Property(NamedTuple):
    """A property of a guest: what it is there, and every value that the host supports."""

    name: str
    type: str
    value: str
    supports: tuple[str, ...]


class Row(NamedTuple):
    """A model, on a host where ``verdict`` is not empty: ``yes``, ``no`` or another word for what is not known.

    ``name`` is QEMU's, ``libvirt`` libvirt's. ``blockers`` and ``unknown`` are names of properties.
    """

    name: str
    libvirt: str
    typename: str
    verdict: str = ""
    blockers: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    is_deprecated: bool = False


def qmp_definitions(rows: Iterable[Row]) -> dict[str, Any]:
    """``query-cpu-definitions``; blockers are ``unavailable-features``."""
    found = []
    for row in rows:
        entry: dict[str, Any] = {
            "name": row.name,
            "typename": row.typename,
            "static": False,
            "migration-safe": True,
            "deprecated": row.is_deprecated,
        }
        if row.verdict:
            entry["unavailable-features"] = sorted(set(row.blockers))
        found.append(entry)
    return {"return": found}


def qmp_baseline(model: str, switches: Mapping[str, bool]) -> dict[str, Any]:
    """``query-cpu-model-baseline``: the best model for all hosts, and the switches that it needs there."""
    return {"return": {"model": {"name": model, "props": dict(switches)}}}


def capabilities(rows: Iterable[Row], accelerator: str = "kvm") -> str:
    """``<cpu>`` elements as in libvirt's QEMU capabilities: usable, blockers, and properties with what they support."""
    from xml.etree import ElementTree

    root = ElementTree.Element("cpus")
    for row in rows:
        usable = {"yes": "yes", "no": "no"}.get(row.verdict, "unknown")
        words = {"type": accelerator, "name": visible(row.libvirt), "typename": visible(row.typename), "usable": usable}
        cpu = ElementTree.SubElement(root, "cpu", words)
        for name in dict.fromkeys(row.blockers):
            ElementTree.SubElement(cpu, "blocker", name=name)
        for name in dict.fromkeys(row.unknown):
            ElementTree.SubElement(cpu, "unknown", name=name)
        for one in row.properties:
            said = {"name": one.name, "type": one.type, "value": one.value, "supports": ",".join(one.supports)}
            ElementTree.SubElement(cpu, "property", said)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode")
