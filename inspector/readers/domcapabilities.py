"""``virsh domcapabilities``: which model and features libvirt makes of a host, and which models it can run.

Source: libvirt docs/formatdomaincaps.rst, "CPU configuration".
"""

from __future__ import annotations

from inspector.capture.errors import InputError
from layouts.light import NamedTuple

_FORMAT = "libvirt's <domainCapabilities>"


class DomainCapabilities(NamedTuple):
    """The host-model: a model of libvirt with features over it; ``models`` by name: usable, not, or unknown (None).

    ``blockers`` are the features that keep a model from running.
    """

    machine: str
    model: str
    vendor: str
    policies: dict[str, str]
    models: dict[str, bool | None]
    blockers: dict[str, tuple[str, ...]]
    phys_bits: int


def parse_domcapabilities(text: str, file: str) -> DomainCapabilities:
    """The host-model and the models. Raises InputError for another text."""
    from xml.etree import ElementTree

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(file, _FORMAT, "a document type, which libvirt's XML has not")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise InputError(file, _FORMAT, f"no XML: {error}") from None
    cpu = root.find("cpu")
    if root.tag != "domainCapabilities" or cpu is None:
        raise InputError(file, _FORMAT, f"<{root.tag}>")
    modes = {mode.get("name", ""): mode for mode in cpu.findall("mode")}
    host, custom = modes.get("host-model"), modes.get("custom")
    model = host.findtext("model", "").strip() if host is not None else ""
    if host is None or not model:
        raise InputError(file, "a host-model in <domainCapabilities>", "none")
    width = host.find("maxphysaddr")
    limit = width.get("limit", "") if width is not None else ""
    rows = custom.findall("model") if custom is not None else []
    blockers = custom.findall("blockers") if custom is not None else []
    return DomainCapabilities(
        root.findtext("machine", ""),
        model,
        host.findtext("vendor", "").strip(),
        {feature.get("name", ""): feature.get("policy", "require") for feature in host.findall("feature")},
        {(row.text or "").strip(): {"yes": True, "no": False}.get(row.get("usable", "")) for row in rows},
        {
            found.get("model", ""): tuple(feature.get("name", "") for feature in found.findall("feature"))
            for found in blockers
        },
        int(limit) if limit.isdecimal() else 0,
    )
