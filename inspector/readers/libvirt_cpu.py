"""``<cpu>`` of libvirt: a domain's XML or a fragment of it, as a model's name and properties.

Source: libvirt docs/formatdomain.rst, "CPU model and topology".
"""

from __future__ import annotations

from inspector.capture.errors import InputError
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from xml.etree import ElementTree

_FORMAT = "libvirt's <domain> or <cpu>"
_HOST_MODES = ("host-passthrough", "maximum", "host-model")
_VALUES = {"require": "on", "force": "on", "disable": "off", "forbid": "off"}


class LibvirtCpu(NamedTuple):
    """The model that a domain names, empty for the host's own, and its features as ``NAME=on`` or ``NAME=off``."""

    model: str
    words: tuple[str, ...]


def cpu_element(text: str, file: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root and its ``<cpu>``. Raises InputError for a text that has none."""
    from xml.etree import ElementTree

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(file, _FORMAT, "a document type, which libvirt's XML has not")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise InputError(file, _FORMAT, f"no XML: {error}") from None
    cpu = root if root.tag == "cpu" else root.find("cpu")
    if root.tag not in ("domain", "cpu") or cpu is None:
        raise InputError(file, _FORMAT, f"<{root.tag}>" + (" without <cpu>" if root.tag == "domain" else ""))
    return root, cpu


def parse_libvirt_cpu(text: str, file: str) -> LibvirtCpu:
    """A domain's ``<cpu>``. Raises InputError for a text that has none."""
    root, cpu = cpu_element(text, file)
    words = [_word(feature, file) for feature in cpu.findall("feature") if feature.get("policy") != "optional"]
    pmu = root.find("features/pmu") if root.tag == "domain" else None
    if pmu is not None:
        words.append(f"pmu={pmu.get('state', 'on')}")
    mode, model = cpu.get("mode", "custom"), cpu.findtext("model", "").strip()
    if mode in _HOST_MODES:
        return LibvirtCpu("", tuple(words))
    if not model:
        raise InputError(file, "<model> in <cpu mode='custom'>", "none")
    return LibvirtCpu(model, tuple(words))


def _word(feature: ElementTree.Element, file: str) -> str:
    name, policy = feature.get("name", ""), feature.get("policy", "require")
    if not name or policy not in _VALUES:
        expected = f"<feature> with a name, and a policy of {', '.join(_VALUES)}, optional"
        raise InputError(file, expected, f"name {name!r}, policy {policy!r}")
    return f"{name}={_VALUES[policy]}"
