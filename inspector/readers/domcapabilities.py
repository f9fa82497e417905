"""What libvirt says of a host.

``virsh domcapabilities``: the model and features that it makes of it for guests, and which models can run.
``virsh capabilities``: the CPU itself.

Source: libvirt docs/formatdomaincaps.rst, "CPU configuration"; docs/formatcaps.rst, "Host capabilities".
"""

from __future__ import annotations

from inspector.capture.errors import InputError
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xml.etree import ElementTree

_FORMAT = "libvirt's <domainCapabilities>"
_HOST_FORMAT = "libvirt's <capabilities>"
#: Numbers of the XML are shorter.
_DIGITS = 6


class DomainCapabilities(NamedTuple):
    """The host-model: a model of libvirt with features over it; ``models`` by name: usable, not, or unknown (None).

    ``blockers`` are the features that keep a model from running. ``domain`` is what runs guests: ``kvm``, or ``qemu``
    for the emulator.
    """

    machine: str
    model: str
    vendor: str
    policies: dict[str, str]
    models: dict[str, bool | None]
    blockers: dict[str, tuple[str, ...]]
    phys_bits: int
    domain: str


class HostCapabilities(NamedTuple):
    """The host's CPU: the model whose features it has, and what it has over it.

    ``signature`` is family, model and stepping, None in files of libvirt before 7.2.
    """

    model: str
    vendor: str
    features: frozenset[str]
    signature: tuple[int, int, int] | None
    phys_bits: int


def _parsed(text: str, file: str, form: str) -> ElementTree.Element:
    from xml.etree import ElementTree

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(file, form, "a document type, which libvirt's XML has not")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise InputError(file, form, f"no XML: {error}") from None


def parse_capabilities(text: str, file: str) -> HostCapabilities:
    """The host's CPU. Raises InputError for another text, or the CPU of another architecture."""
    root = _parsed(text, file, _HOST_FORMAT)
    cpu = root.find("host/cpu")
    if root.tag != "capabilities" or cpu is None:
        raise InputError(file, _HOST_FORMAT, f"<{root.tag}>{'' if cpu is not None else ' without <host><cpu>'}")
    arch, model = cpu.findtext("arch", "").strip(), cpu.findtext("model", "").strip()
    if arch not in ("x86_64", "i686") or not model:
        raise InputError(
            file, "the model of an x86 CPU in <host>", f"{arch or 'no architecture'}, {model or 'no model'}"
        )
    signature, width = cpu.find("signature"), cpu.find("maxphysaddr")
    return HostCapabilities(
        model,
        cpu.findtext("vendor", "").strip(),
        frozenset(feature.get("name", "") for feature in cpu.findall("feature")),
        None if signature is None else _numbers(signature),
        _number(width, "bits"),
    )


def _numbers(signature: ElementTree.Element) -> tuple[int, int, int]:
    return _number(signature, "family"), _number(signature, "model"), _number(signature, "stepping")


def _number(element: ElementTree.Element | None, name: str) -> int:
    """A number of an element, 0 where it has none."""
    text = element.get(name, "") if element is not None else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0


def parse_domcapabilities(text: str, file: str) -> DomainCapabilities:
    """The host-model and the models. Raises InputError for another text."""
    root = _parsed(text, file, _FORMAT)
    cpu = root.find("cpu")
    if root.tag != "domainCapabilities" or cpu is None:
        raise InputError(file, _FORMAT, f"<{root.tag}>")
    modes = {mode.get("name", ""): mode for mode in cpu.findall("mode")}
    host, custom = modes.get("host-model"), modes.get("custom")
    model = host.findtext("model", "").strip() if host is not None else ""
    if host is None or not model:
        raise InputError(file, "a host-model in <domainCapabilities>", "none")
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
        _number(host.find("maxphysaddr"), "limit"),
        root.findtext("domain", "").strip(),
    )
