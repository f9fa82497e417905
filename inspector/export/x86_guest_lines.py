"""One x86 guest CPU as a line or a file of each VMM, and what that VMM has no word for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.cpu_line import HOST, CpuLine
from inspector.export.encode import indented
from inspector.export.x86_lines import bits_of, kubevirt_cpu, libvirt_cpu, qemu_cpu, template, xl_cpuid
from inspector.machine.x86.models.request import MAX, Request
from inspector.readers.cloud_hypervisor_cpu import FEATURES as CLOUD_HYPERVISOR_WORDS
from layouts.light import NamedTuple
from layouts.x86.models.features import features
from layouts.x86.models.libvirt import libvirt_feature

_HOST_MODEL = "host-model"
_NESTED = {"vmx": False, "svm": False}
#: What each VMM says of QEMU's properties.
_PROPERTIES = {"libvirt": ("phys-bits",), "cloud-hypervisor": ("host-phys-bits-limit",)}


class Line(NamedTuple):
    """What a VMM is told, and the words of the request that it cannot be told."""

    text: str
    lost: tuple[str, ...]


def line_of(vmm: str, asked: Request, read: CpuLine) -> Line:
    """A request in a VMM's words; ``read`` is where it was read, bits without a name and optional features with it.

    VMMs without named models get the switches over their host.
    """
    optional = [name for name, policy in read.policies.items() if policy == "optional"]
    keeps_model = vmm in ("qemu", "libvirt", "kubevirt")
    keeps_model &= (vmm, asked.name) != ("kubevirt", MAX)
    lost = [] if keeps_model or asked.name == HOST else [f"the model {asked.name}"]
    said = asked.properties if vmm == "qemu" else dict.fromkeys(_PROPERTIES.get(vmm, ()), "")
    lost += [f"{name}={value}" for name, value in asked.properties.items() if name not in said]
    lost += [] if vmm in ("libvirt", "kubevirt") else [f"{name} where the host has it" for name in optional]
    model = read.model if read.model == _HOST_MODEL and vmm in ("libvirt", "kubevirt") else asked.name
    switches = asked.switches
    if vmm == "qemu":
        return Line(qemu_cpu(asked.name, switches, asked.properties), (*lost, *_nameless(read)))
    if vmm == "libvirt":
        text = libvirt_cpu(model, switches, asked.properties, optional)
        return Line(text, (*lost, *_without_name(switches), *_nameless(read)))
    if vmm == "kubevirt":
        text = kubevirt_cpu(model, switches, optional)
        return Line(text, (*lost, *_without_name(switches), *_nameless(read)))
    if vmm == "cloud-hypervisor":
        text, left = _cloud_hypervisor(switches, asked.properties)
        return Line(text, (*lost, *left, *_nameless(read)))
    bits, msr_bits = bits_of(switches)
    bits, msr_bits = bits | dict(read.bits), msr_bits | dict(read.msr_bits)
    if vmm == "firecracker":
        return Line(indented(template(bits, msr_bits), 2), tuple(lost))
    of_msrs = [_switch(name, on) for name, on in switches.items() if features()[name][0].word.is_msr]
    return Line(xl_cpuid(bits), (*lost, *of_msrs))


def _switch(name: str, on: bool) -> str:  # noqa: FBT001 - a feature as it is
    return f"{'+' if on else '-'}{name}"


def _without_name(switches: Mapping[str, bool]) -> Iterable[str]:
    return (_switch(name, on) for name, on in switches.items() if not libvirt_feature(name))


def _nameless(read: CpuLine) -> Iterable[str]:
    """How many bits have no name; those that have one are switches."""
    from layouts.x86.models.features import feature_at, msr_feature_at

    count = sum(place not in feature_at() for place in read.bits)
    count += sum(key not in msr_feature_at() for key in read.msr_bits)
    return (f"{count} bits without a name",) if count else ()


def _cloud_hypervisor(switches: Mapping[str, bool], properties: Mapping[str, str]) -> tuple[str, list[str]]:
    """``--cpus``, and the switches that it has no word for.

    AMX is off without ``features=amx``, both nested ones are with ``nested=off``, and that is all (docs/cpu.md).
    """
    off = {name for name, on in switches.items() if not on}
    words = [word for word, names in CLOUD_HYPERVISOR_WORDS.items() if not off & set(names)]
    parts = ["boot=1", *([f"features={'&'.join(words)}"] if words else [])]
    parts += ["nested=off"] if off & _NESTED.keys() else []
    limit = properties.get("host-phys-bits-limit")
    parts += [f"max_phys_bits={limit}"] if limit else []
    said = {name for names in CLOUD_HYPERVISOR_WORDS.values() for name in names} | _NESTED.keys()
    left = [_switch(name, on) for name, on in switches.items() if name not in said or (on and name in _NESTED)]
    return f"--cpus {','.join(parts)}", left
