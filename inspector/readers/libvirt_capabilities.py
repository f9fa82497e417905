"""``virsh domcapabilities``: the CPU models that libvirt can give a domain on this host, and its host-model.

Every model is told with whether it is usable and, where libvirt says so, which features block it; the host-model with
the features that make it. What is not told of the host is unknown: libvirt leaves features out that it has no name for.

Source: libvirt docs/formatdomaincaps.rst, "CPU configuration".
"""

from __future__ import annotations

from xml.etree import ElementTree

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Vcpu
from inspector.readers.named_values import facts_area
from inspector.readers.options import Options
from inspector.readers.source import Source

_MOST_BYTES = 4 << 20
_MOST_ROWS = 16_384
_FORMAT = "libvirt's <domainCapabilities>"
_SWITCH = {"require": "on", "force": "on"}
_NOTICE = "features that libvirt does not name are unknown"


def looks_like_capabilities(head: bytes) -> bool:
    """The root element, behind a declaration at most."""
    return b"<domainCapabilities" in head[:4096]


def read(source: Source, _options: Options) -> Capture:
    """The host-model as a model, and what is said of all models. Raises InputError for what is no such XML."""
    data = source.read_all(_MOST_BYTES)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(source.name, _FORMAT, "a document type, which libvirt's XML has not")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - no document type, so no entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise source.fault or InputError(source.name, _FORMAT, f"no XML: {error}") from None
    cpu = root.find("cpu") if root.tag == "domainCapabilities" else None
    if cpu is None:
        raise InputError(source.name, _FORMAT, f"<{root.tag}> without <cpu>")
    arch = root.findtext("arch", "").strip()
    vcpus = [
        Vcpu(0, visible(name), "model", [_area(rows, "props", "host-model", source)]) for name, rows in _host_model(cpu)
    ]
    models = _area(_models(cpu), "models", "models of CPUs", source)
    about = f"{arch}, {root.findtext('domain', '').strip()}, {root.findtext('machine', '').strip()}"
    return Capture(
        source.name, "libvirt-domcapabilities", vcpus, host=Host(about=about), context=[models], notices=[_NOTICE]
    )


def _area(rows: list[tuple[str, str]], prefix: str, title: str, source: Source) -> Area:
    return facts_area(rows[:_MOST_ROWS], prefix, title, source.name)


def _host_model(cpu: ElementTree.Element) -> list[tuple[str, list[tuple[str, str]]]]:
    """The model's name and its features; nothing where libvirt has none."""
    for mode in cpu.findall("mode"):
        name = mode.findtext("model", "").strip()
        if mode.get("name") == "host-model" and name:
            rows = [("vendor", mode.findtext("vendor", "").strip() or "not told")]
            rows += [
                (one.get("name", "?"), _SWITCH.get(one.get("policy", ""), "off")) for one in mode.findall("feature")
            ]
            return [(name, rows)]
    return []


def _models(cpu: ElementTree.Element) -> list[tuple[str, str]]:
    """Each model: usable, or blocked by which features."""
    blockers = {
        found.get("model", ""): ", ".join(feature.get("name", "?") for feature in found.findall("feature"))
        for found in cpu.iter("blockers")
    }
    rows = []
    for mode in cpu.findall("mode"):
        for model in mode.findall("model") if mode.get("name") == "custom" else ():
            name, usable = (model.text or "?").strip(), model.get("usable", "unknown")
            text = {"yes": "usable", "no": "not usable", "unknown": "unknown"}.get(usable, usable)
            rows.append((name, f"{text}: {blockers[name]}" if blockers.get(name) else text))
    return rows
