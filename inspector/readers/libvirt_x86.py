"""``<cpu>`` of an x86 domain of libvirt, with its policies.

Source: libvirt docs/formatdomain.rst, "CPU model and topology".
"""

from __future__ import annotations

from inspector.capture.cpu_line import HOST, CpuLine
from inspector.capture.errors import InputError
from inspector.readers.libvirt_cpu import cpu_element

_POLICIES = ("force", "require", "optional", "disable", "forbid")
_ON = ("force", "require", "optional")
_HOST_MODES = {"host-passthrough": HOST, "maximum": "max", "host-model": "host-model"}


def parse_libvirt_x86(text: str, file: str) -> CpuLine:
    """A domain's or a fragment's ``<cpu>``. Raises InputError for a text that has none.

    The model is libvirt's name; of host-model ``host-model``, which only a host can make a model of.
    """
    root, cpu = cpu_element(text, file)
    policies: dict[str, str] = {}
    for feature in cpu.findall("feature"):
        name, policy = feature.get("name", ""), feature.get("policy", "require")
        if not name or policy not in _POLICIES:
            expected = f"<feature> with a name, and a policy of {', '.join(_POLICIES)}"
            raise InputError(file, expected, f"name {name!r}, policy {policy!r}")
        policies[name] = policy
    mode = cpu.get("mode", "custom")
    if mode not in ("custom", *_HOST_MODES):
        raise InputError(file, f"a mode of custom, {', '.join(_HOST_MODES)}", repr(mode))
    model = _HOST_MODES.get(mode) or cpu.findtext("model", "").strip()
    if not model:
        raise InputError(file, "<model> in <cpu mode='custom'>", "none")
    element = cpu.find("model")
    properties = {
        "match": cpu.get("match", ""),
        "check": cpu.get("check", ""),
        "migratable": cpu.get("migratable", ""),
        "fallback": element.get("fallback", "") if element is not None else "",
        "vendor_id": element.get("vendor_id", "") if element is not None else "",
        "vendor": cpu.findtext("vendor", "").strip(),
    }
    width = cpu.find("maxphysaddr")
    if width is not None:
        properties |= {"maxphysaddr": width.get("mode", ""), "phys-bits": width.get("bits", "")}
    machine = root.find("os/type")
    return CpuLine(
        "libvirt",
        model,
        {name: policy in _ON for name, policy in policies.items()},
        {name: value for name, value in properties.items() if value},
        policies,
        machine=machine.get("machine", "") if machine is not None else "",
    )
