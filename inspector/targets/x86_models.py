"""What a word, a line or a file asks of an x86 host: QEMU's line, libvirt's XML, a template, a profile, labels."""

from __future__ import annotations

from inspector.capture.cpu_line import HOST, CpuLine
from inspector.capture.errors import InputError, UsageError
from inspector.capture.nearest import did_you_mean
from inspector.machine.x86.models.offer import Offer
from inspector.machine.x86.models.request import BASE, MAX, Request, RequestError, request
from inspector.readers.cloud_hypervisor_cpu import parse_cpus
from inspector.readers.kubernetes import chosen, looks_like_yaml, objects_of
from inspector.readers.kubevirt_cpu import parse_virtual_machines
from inspector.readers.libvirt_x86 import parse_libvirt_x86
from inspector.readers.lines import text_of
from inspector.readers.qemu_cpu import parse_qemu_cpu
from inspector.readers.template_cpu import parse_template
from inspector.readers.text import MAX_TEXT_BYTES
from inspector.readers.xl_cpuid import parse_xl_cpuid
from inspector.targets.files import member_of
from layouts.light import NamedTuple
from layouts.x86.models.features import feature_at, feature_named, msr_feature_at
from layouts.x86.models.libvirt import DROPPED, ONLY_LIBVIRT
from layouts.x86.models.qemu import NEWEST, qemu_models

_HOST_MODEL = "host-model"
#: Words of a VMM's line that QEMU would be given too; the others change nothing that CPUID shows.
_PROPERTIES = {
    "libvirt": ("phys-bits",),
    "cloud-hypervisor": ("host-phys-bits-limit",),
    "kubevirt": (),
    "firecracker": (),
    "xl": (),
}


class Asked(NamedTuple):
    """A line with what could not be made a feature: bits that have no name, and features that QEMU does not know."""

    line: CpuLine
    request: Request
    nameless: tuple[str, ...]


def is_x86_model(word: str) -> bool:
    """Whether a word is an x86 line by its look alone: no file is opened."""
    head = word.strip()
    if head.startswith(("-cpu", "--cpus", "cpuid")) or "-cpu " in head:
        return True
    return qemu_models().named(head.split(",")[0]) is not None or any(
        qemu_models(version).named(head.split(",")[0]) for version in ("10.0", "5.2")
    )


def is_x86_file(text: str) -> bool:
    """Whether a file's text asks for an x86 guest: a template, an object of KubeVirt, XML with an x86 model."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[", "cpuid", "-cpu ", "--cpus")) or looks_like_yaml(text):
        return True
    if not start.startswith("<"):
        return False
    model = parse_libvirt_x86(text, "").model
    return qemu_models().named(model) is not None or model in DROPPED or model in ONLY_LIBVIRT


def asked_of(word: str, *, machine: str = "", qemu: str = "") -> Asked:
    """A request of a word, a line or a file. Raises UsageError, and InputError for a file that is none."""
    path, member = member_of(word)
    line = line_of_text(text_of(path, "a model line", MAX_TEXT_BYTES), path, member) if path else _of_word(word)
    try:
        return _asked(line, machine, qemu)
    except RequestError as error:
        raise UsageError(f"{word[:60]}: {error}{_hint(line)}") from None


def _hint(line: CpuLine) -> str:
    known = qemu_models()
    if known.named(line.model) is None and line.model not in (HOST, MAX, BASE):
        if line.model in DROPPED:
            return f"; it was dropped in QEMU {DROPPED[line.model]}, --qemu 5.2 has it"
        return f"; {did_you_mean(line.model, (*known.models, *known.aliases), 'inspector models list')}"
    return ""


def _of_word(word: str) -> CpuLine:
    head = word.strip()
    try:
        if head.startswith("--cpus"):
            return parse_cpus(head)
        if head.startswith("cpuid"):
            return parse_xl_cpuid(head)
        return parse_qemu_cpu(word)
    except ValueError as error:
        raise UsageError(f"{word[:60]}: {error}") from None


def line_of_text(text: str, name: str, member: str = "") -> CpuLine:
    """What a file says, by its content; ``member`` is one of several virtual machines.

    Raises UsageError and InputError.
    """
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("<"):
        return parse_libvirt_x86(text, name)
    if start.startswith(("{", "[{")) or looks_like_yaml(text):
        return _of_objects(text, name, member)
    try:
        return _of_word(start.splitlines()[0] if start else "")
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _of_objects(text: str, name: str, member: str) -> CpuLine:
    objects = objects_of(text, name)
    machines = parse_virtual_machines(objects)
    if machines:
        return chosen(machines, member, "virtual machine", name)
    if looks_like_yaml(text) or not objects:
        kinds = ", ".join(dict.fromkeys(str(one.get("kind", "no kind")) for one in objects)) or "none"
        raise InputError(name, "a virtual machine of KubeVirt", f"objects: {kinds}")
    try:
        return parse_template(objects[0])
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _asked(line: CpuLine, machine: str, qemu: str) -> Asked:
    models = qemu_models(qemu or NEWEST)
    nameless: list[str] = []
    switches: dict[str, bool] = {}
    for name, on in line.switches.items():
        known = feature_named(name)
        if line.policies.get(name) == "optional" or (line.vmm != "qemu" and (not known or known in models.lacks)):
            nameless += [] if known else [name]
            continue
        switches[name] = on
    for place, value in line.bits.items():
        name = feature_at().get(place, "")
        if name and name not in models.lacks:
            switches[name] = bool(value)
        else:
            leaf, subleaf, register, bit = place
            nameless.append(f"CPUID.{leaf:X}.{subleaf:X}.{register.upper()}[{bit}]={value}")
    for (msr, bit), value in line.msr_bits.items():
        name = msr_feature_at().get((msr, bit), "")
        if name and name not in models.lacks:
            switches[name] = bool(value)
        else:
            nameless.append(f"MSR.{msr:X}[{bit}]={value}")
    kept = line.properties if line.vmm == "qemu" else _PROPERTIES[line.vmm]
    properties = {key: value for key, value in line.properties.items() if key in kept}
    name = HOST if line.model == _HOST_MODEL else line.model
    made = request(name, switches, properties, machine=machine or line.machine, qemu=qemu)
    return Asked(line, made, tuple(nameless))


def optional_of(asked: Asked, offer: Offer) -> Request:
    """Libvirt's policy optional: on where the host has it."""
    optional = {
        known: True
        for name, policy in asked.line.policies.items()
        if policy == "optional" and (known := feature_named(name)) and offer.has(known)
    }
    return asked.request._replace(switches={**asked.request.switches, **optional})
