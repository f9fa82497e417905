"""What an x86 host gives to guests, by a word: an emulator, a model, a capture, or what a program says of the host."""

from __future__ import annotations

import os
from collections.abc import Iterable

from inspector.capture.errors import InputError, UsageError, visible
from inspector.capture.host import Cpuid
from inspector.capture.model import Capture
from inspector.machine.x86.kvm.assumed import assumed_kvm, assumptions
from inspector.machine.x86.kvm.module import Processor
from inspector.machine.x86.kvm.supported_cpuid import supported_table
from inspector.machine.x86.models.cpuid import cpuid_of_model
from inspector.machine.x86.models.expand import expand
from inspector.machine.x86.models.offer import KVM, Offer, brand, offer_of_cpuid, offer_of_features, tcg_offer
from inspector.machine.x86.models.request import request
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.lines import text_of
from inspector.readers.options import NO_OPTIONS, Options
from inspector.readers.text import MAX_TEXT_BYTES
from inspector.targets.files import member_of
from inspector.targets.kernels import kernel_named, split
from inspector.targets.notes import tell_of
from inspector.targets.schemes import capture_of
from inspector.targets.x86_cpuid import guest_table
from inspector.targets.x86_cpus import model_named, no_such_cpu
from layouts.light import TYPE_CHECKING, cache
from layouts.x86.features import FEATURES, REGISTERS
from layouts.x86.kernels import kernels, profile_for
from layouts.x86.kvm_caps import emulated_everywhere
from layouts.x86.models.cpuinfo import feature_of_flag, shown_features, unknown_flags
from layouts.x86.models.features import feature_at, feature_named, features
from layouts.x86.models.libvirt import libvirt_feature
from layouts.x86.models.qemu import TCG, VERSIONS, CpuModel, qemu_models

if TYPE_CHECKING:
    from typing import Any

    from inspector.readers.kubevirt_cpu import NodeLabels
    from inspector.readers.x86_cpuinfo import X86Words

#: This machine's own KVM, which runs on the kernel that runs.
_KVM = "kvm:"
_VENDORS = {"AMD": "AuthenticAMD", "Intel": "GenuineIntel", "Hygon": "HygonGenuine"}
_TCG_BRAND = "QEMU TCG CPU"
_SHOWN = 8
#: A file of words is no larger; objects of a whole cluster may be.
_HEAD_BYTES = 4 << 20


def is_x86_word(text: str) -> bool:
    """Whether a word can only be an x86 host: the emulator or a model of QEMU."""
    name, _ = split(text)
    return name.partition(":")[0] == TCG or model_named(name) is not None


def offer_named(text: str, options: Options = NO_OPTIONS) -> Offer:
    """What a host gives. Raises UsageError for a name that is none, InputError for a file that is none."""
    from layouts.arm64.chips import chips, known_cores

    name, release = split(text)
    if name.partition(":")[0] == TCG:
        version = name.partition(":")[2] or VERSIONS[0]
        if version not in VERSIONS:
            raise UsageError(f"{text}: expected tcg:{', tcg:'.join(VERSIONS)}")
        return tcg_offer(version)
    if release and name == _KVM:
        raise UsageError(f"{text}: {name} has a kernel of its own; @RELEASE goes with CPUs and captures")
    model = model_named(name)
    if model is not None:
        return _as_model(name if qemu_models().named(name) else model.name, release, options)
    if name in chips() or name in known_cores():
        raise UsageError(f"{name} is an arm64 CPU, and an x86 model was asked for")
    if not (os.path.exists(name) or ":" in name):
        raise no_such_cpu(name, TCG)
    found = offer_of_text(name, options)
    return found._replace(kernel=release) if found else _captured(name, release, options)


def _as_model(name: str, release: str, options: Options) -> Offer:
    """A CPU that has what a model has, under KVM of a release.

    Without one it has what its model has and KVM gives everywhere, less what the newest KVM gives to nobody.
    """
    model = qemu_models().named(name)
    assert model is not None
    kernel = kernel_named(profile_for, release, options.note) if release else [*kernels().values()][-1]
    kvm = assumed_kvm(cpuid_of_model(name), release or kernel.name)
    given = offer_of_cpuid(name, supported_table(kvm), host=kvm.raw)
    asked = model.features | expand(request(name), given).features
    there = given.features | asked & _of_msrs()
    if not release:
        everywhere = offer_of_cpuid(name, Cpuid({(0, 0): (0, 0, 0, 0)})).features
        there &= asked | everywhere
    signature = (model.vendor, model.family, model.model, model.stepping)
    return offer_of_features(name, there, features().keys() - there, signature=signature, kernel=release)


@cache
def _of_msrs() -> frozenset[str]:
    """Features that MSRs tell, not CPUID."""
    return frozenset(name for name, bits in features().items() if bits[0].word.is_msr)


# Files of words


def offer_of_text(word: str, options: Options = NO_OPTIONS) -> Offer | None:
    """A file that some program wrote about its host, or one node of it; None for one that is a capture."""
    from inspector.readers.kubernetes import looks_like_yaml
    from inspector.readers.kubevirt_cpu import LABEL
    from inspector.readers.x86_cpuinfo import parse_x86_cpuinfo

    name, member = member_of(word)
    if not name:
        return None
    with open(name, "rb") as file:
        head = file.read(_HEAD_BYTES)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    is_large = os.path.getsize(name) > _HEAD_BYTES
    is_yaml = looks_like_yaml(head.decode("utf-8", "replace"))
    if is_yaml or (start[:1] in (b"{", b"[") and (not is_large or LABEL in head)):
        return _of_objects(name, member, is_yaml=is_yaml)
    if is_large or member:
        return None
    if start[:1] == b"<" and b"<domainCapabilities" in head:
        return _of_domcapabilities(text_of(name, "libvirt's XML"), name)
    if start[:1] == b"<" and b"<capabilities" in head:
        return _of_capabilities(text_of(name, "libvirt's XML"), name)
    words = parse_x86_cpuinfo(head.decode("utf-8", "replace"))
    if words is None:
        return None
    if unknown := unknown_flags(words.flags):
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        names = visible(", ".join(unknown[:_SHOWN]))
        options.note(f"{name}: flags that no known Linux has: {names}{more}; nothing is concluded of them")
    return offer_of_words(name, words)


def _of_objects(name: str, member: str, *, is_yaml: bool) -> Offer | None:
    """QEMU's answer, or a node of Kubernetes; None for JSON that is neither."""
    from inspector.readers.kubernetes import chosen, objects_of
    from inspector.readers.kubevirt_cpu import parse_nodes

    try:
        text = text_of(name, "objects as JSON or YAML", MAX_TEXT_BYTES)
        objects = objects_of(text, name)
    except InputError:
        if is_yaml:
            raise
        return None
    nodes: dict[str, NodeLabels] = {}
    for node in parse_nodes(objects):
        nodes[f"{node.name}#{len(nodes)}" if node.name in nodes else node.name] = node
    if nodes:
        return offer_of_node(chosen(nodes, member, "node", name))
    if any(one.get("kind") == "Node" for one in objects) or is_yaml:
        raise InputError(name, "a node with KubeVirt's labels (cpu-feature.node.kubevirt.io/...)", "none of them")
    return next((offer_of_expansion(name, expansion) for one in objects for expansion in _expansions(one)), None)


def _expansions(found: Any) -> Iterable[dict[str, Any]]:
    """Answers to query-cpu-model-expansion: a reply, or a map of names to properties."""
    answer = found.get("return", found) if isinstance(found, dict) else None
    model = answer.get("model") if isinstance(answer, dict) else None
    if isinstance(model, dict) and isinstance(model.get("props"), dict) and "fpu" in model["props"]:
        yield model["props"]


def offer_of_expansion(name: str, properties: dict[str, Any]) -> Offer:
    """QEMU's full expansion of host or max: what it would give; all features that it names are known."""
    told = {
        known: value for key, value in properties.items() if (known := feature_named(key)) and isinstance(value, bool)
    }
    there = {feature for feature, on in told.items() if on}
    numbers = [properties.get(key, 0) for key in ("family", "model", "stepping")]
    vendor = str(properties.get("vendor", ""))
    signature = (vendor, *map(int, numbers)) if vendor else None
    # The answer does not name the accelerator; the emulator's brand does (QEMU target/i386/tcg/tcg-cpu.c).
    accelerator = TCG if str(properties.get("model-id", "")).startswith(_TCG_BRAND) else KVM
    return offer_of_features(name, there, told.keys() - there, accelerator=accelerator, signature=signature)  # type: ignore[arg-type]


def _of_capabilities(text: str, name: str) -> Offer:
    """Libvirt's view of the CPU itself: what any libvirt of the last years names is there or not, the rest is open."""
    from inspector.readers.domcapabilities import parse_capabilities

    found = parse_capabilities(text, name)
    model = _qemu_model(found.model, name)
    named = {feature for word in found.features if (feature := feature_named(word))}
    # Of MSRs libvirt reads what it may, and its models have none.
    there = (model.features - _of_msrs()) | named
    not_there = {feature for feature in shown_features() if libvirt_feature(feature)} - there
    given = _given_everywhere()
    signature = (_VENDORS.get(found.vendor, model.vendor), *(found.signature or (model.family, model.model, 0)))
    return offer_of_features(name, there | given, not_there - given, signature=signature, phys_bits=found.phys_bits)


def _qemu_model(word: str, file: str) -> CpuModel:
    """A model that libvirt and QEMU have. Raises InputError."""
    model = qemu_models().named(word)
    if model is None:
        raise InputError(file, "a model of QEMU", repr(word))
    return model


def _of_domcapabilities(text: str, name: str) -> Offer:
    """Libvirt's host-model: the model and its features, and all others off, as far as libvirt knows them."""
    from inspector.readers.domcapabilities import parse_domcapabilities

    found = parse_domcapabilities(text, name)
    model = _qemu_model(found.model, name)
    named = {feature_named(word): policy != "disable" for word, policy in found.policies.items()}
    there = (model.features | {feature for feature, on in named.items() if on and feature}) - {
        feature for feature, on in named.items() if not on
    }
    told = {feature for feature in features() if libvirt_feature(feature)} | (named.keys() - {""})
    vendor = _VENDORS.get(found.vendor, model.vendor)
    signature = (vendor, model.family, model.model, model.stepping)
    accelerator = TCG if found.domain == "qemu" else KVM
    return offer_of_features(
        name, there, told - there, accelerator=accelerator, signature=signature, phys_bits=found.phys_bits
    )


def offer_of_node(node: NodeLabels) -> Offer:
    """KubeVirt's labels: the features that are there. What has no label is not known."""
    there = {known for word in node.features | node.required if (known := feature_named(word))}
    model = qemu_models().named(node.host_model)
    there |= model.features if model else set()
    vendor = _VENDORS.get(node.vendor, "")
    return offer_of_features(node.name, there, signature=(vendor, 0, 0, 0) if vendor else None, kernel=node.kernel)


def offer_of_words(name: str, words: X86Words) -> Offer:
    """/proc/cpuinfo: flags that Linux has shown since 5.10 are there or not; nothing else is known."""
    there = {feature for flag in words.flags for feature in feature_of_flag(flag, words.flags)}
    not_there = shown_features() - there
    given = _given_everywhere()
    return offer_of_features(
        name, there | given, not_there - given, signature=words.signature, phys_bits=words.phys_bits
    )._replace(model_id=words.model_name)


def _given_everywhere() -> frozenset[str]:
    """What KVM gives to guests of any CPU."""
    places = (
        (*FEATURES[one][:2], REGISTERS[FEATURES[one].register], FEATURES[one].bit) for one in emulated_everywhere()
    )
    return offer_of_cpuid("", Cpuid({(0, 0): (0, 0, 0, 0)})).features | {feature_at()[place] for place in places}


# Captures


def _captured(name: str, release: str, options: Options) -> Offer:
    capture = capture_of(name)
    tell_of(capture, options.note)
    kernel = release or capture.host.kernel
    table = _supported_table(capture)
    if table is None and capture.host.cpuid is not None:
        return offer_of_cpu(name, capture.host.cpuid, kernel, feature_msrs(capture), options)
    table = table or guest_table(capture)
    if table is not None:
        return offer_of_cpuid(name, table, msrs=feature_msrs(capture), host=capture.host.cpuid, kernel=kernel)
    raise InputError(name, "an x86 host: CPUID in a capture, or words about one", capture.format)


def feature_msrs(capture: Capture) -> dict[int, int]:
    """MSRs that say what a CPU has, of the host where they were kept, else as its first guest sees them."""
    areas = [area for area in capture.context if area.layout == "kvm-msrs"]
    areas += [area for vcpu in capture.vcpus[:1] for area in vcpu.areas if area.layout == "kvm-msrs"]
    found: dict[int, int] = {}
    for area in areas:
        for at in range(8, len(area.data) - 15, 16):
            index = int.from_bytes(area.data[at : at + 4], "little")
            found.setdefault(index, int.from_bytes(area.data[at + 8 : at + 16], "little"))
    return found


def _supported_table(capture: Capture) -> Cpuid | None:
    """KVM_GET_SUPPORTED_CPUID, where somebody kept it."""
    for area in capture.context:
        if area.layout == "kvm-cpuid2" and "supported" in area.prefix:
            return cpuid_of(area.data)
    return None


def offer_of_cpu(name: str, cpuid: Cpuid, release: str, msrs: dict[int, int], options: Options) -> Offer:
    """By a CPU's own table: what KVM of that release, else of the default one, gives of it to guests."""
    kernel = kernel_named(profile_for, release, options.note)
    kvm = assumed_kvm(cpuid, release or kernel.name, processor=Processor(msrs=msrs))
    for assumption in assumptions(kvm):
        options.note(f"{name}: assumed: {assumption}")
    offer = offer_of_cpuid(name, supported_table(kvm), msrs=msrs, host=cpuid, kernel=release or kernel.name)
    return offer._replace(model_id=brand(cpuid))
