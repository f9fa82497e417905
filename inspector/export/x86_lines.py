"""x86 guest CPUs in the words of each VMM, and the smallest change that turns one bit on or off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inspector.capture.cpu_line import HOST, BitPlace
from inspector.export.encode import encode
from inspector.readers.cloud_hypervisor_cpu import FEATURES as CLOUD_HYPERVISOR_WORDS
from layouts.light import TYPE_CHECKING, lru_cache
from layouts.x86.kvm_cpuid import ANY_INDEXED_LEAVES
from layouts.x86.models.features import feature_at, features, msr_feature_at
from layouts.x86.models.libvirt import libvirt_feature

if TYPE_CHECKING:
    from typing import Any

VMMS = ("qemu", "libvirt", "firecracker", "cloud-hypervisor", "kubevirt", "xl")
_PHYS_BITS = "phys-bits"
_HOST_MODES = {HOST: "host-passthrough", "max": "maximum", "host-model": "host-model"}


def qemu_cpu(model: str, switches: Mapping[str, bool], properties: Mapping[str, str] | None = None) -> str:
    """``-cpu`` of QEMU; the value's commas are doubled."""
    words = [model, *(f"{'+' if on else '-'}{name}" for name, on in switches.items())]
    words += [f"{name}={value.replace(',', ',,')}" for name, value in (properties or {}).items()]
    return f"-cpu {','.join(words)}"


def libvirt_cpu(
    model: str, switches: Mapping[str, bool], properties: Mapping[str, str] | None = None, optional: Iterable[str] = ()
) -> str:
    """``<cpu>`` of a domain. Features are required or disabled; ``optional`` are those that may be missing."""
    from xml.etree import ElementTree

    if model in _HOST_MODES:
        root = ElementTree.Element("cpu", mode=_HOST_MODES[model])
    else:
        root = ElementTree.Element("cpu", mode="custom", match="exact", check="full")
        ElementTree.SubElement(root, "model", fallback="forbid").text = model
    if bits := (properties or {}).get(_PHYS_BITS):
        ElementTree.SubElement(root, "maxphysaddr", mode="emulate", bits=bits)
    for name, on in switches.items():
        known = libvirt_feature(name)
        if known:
            ElementTree.SubElement(root, "feature", policy="require" if on else "disable", name=known)
        else:
            root.append(ElementTree.Comment(f" libvirt has no feature {name} "))
    for name in optional:
        ElementTree.SubElement(root, "feature", policy="optional", name=name)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode")


def kubevirt_cpu(model: str, switches: Mapping[str, bool], optional: Iterable[str] = ()) -> str:
    """``cpu`` of a virtual machine's domain, as YAML. KubeVirt gives the names to libvirt."""
    policies = {
        known: "require" if on else "disable" for name, on in switches.items() if (known := libvirt_feature(name))
    }
    policies |= dict.fromkeys(optional, "optional")
    lines = ["cpu:", f"  model: {'host-passthrough' if model in (HOST, 'max') else model}"]
    lines += ["  features:"] if policies else []
    for name, policy in policies.items():
        lines += [f"  - name: {name}", f"    policy: {policy}"]
    return "\n".join(lines)


def template(bits: Mapping[BitPlace, int], msr_bits: Mapping[tuple[int, int], int] | None = None) -> dict[str, Any]:
    """A custom CPU template of Firecracker: these bits, and x, the host's, in all others."""
    leaves: dict[tuple[int, int], dict[str, dict[int, int]]] = {}
    for (leaf, subleaf, register, bit), on in bits.items():
        leaves.setdefault((leaf, subleaf), {}).setdefault(register, {})[bit] = on
    msrs: dict[int, dict[int, int]] = {}
    for (address, bit), on in (msr_bits or {}).items():
        msrs.setdefault(address, {})[bit] = on
    return {
        "cpuid_modifiers": [
            {
                "leaf": f"{leaf:#x}",
                "subleaf": f"{subleaf:#x}",
                "flags": int(leaf in ANY_INDEXED_LEAVES),
                "modifiers": [
                    {"register": register, "bitmap": _bitmap(mask, 32)} for register, mask in sorted(registers.items())
                ],
            }
            for (leaf, subleaf), registers in sorted(leaves.items())
        ],
        "msr_modifiers": [{"addr": f"{addr:#x}", "bitmap": _bitmap(mask, 64)} for addr, mask in sorted(msrs.items())],
    }


def _bitmap(mask: Mapping[int, int], width: int) -> str:
    return "0b" + "".join(str(mask.get(bit, "x")) for bit in reversed(range(width)))


def xl_cpuid(bits: Mapping[BitPlace, int]) -> str:
    """``cpuid`` of xl.cfg in xend's form, which knows every bit."""
    registers: dict[tuple[int, int], dict[str, dict[int, int]]] = {}
    for (leaf, subleaf, register, bit), on in bits.items():
        registers.setdefault((leaf, subleaf), {}).setdefault(register, {})[bit] = on
    entries = [
        f"{leaf:#x}{f',{subleaf:#x}' if leaf in ANY_INDEXED_LEAVES else ''}:"
        + ",".join(f"{register}={_bitmap(mask, 32)[2:]}" for register, mask in sorted(words.items()))
        for (leaf, subleaf), words in sorted(registers.items())
    ]
    return f"cpuid = {encode(entries)}"


def cloud_hypervisor_cpus(off: Iterable[str]) -> str:
    """``--cpus`` options without some features; empty where no option says it.

    AMX is off without ``features=amx``, and so is nothing else (docs/cpu.md).
    """
    words = {word for word, names in CLOUD_HYPERVISOR_WORDS.items() if set(off) <= set(names)}
    return f"--cpus without features={'&'.join(sorted(words))}" if words and set(off) else ""


def bits_of(switches: Mapping[str, bool]) -> tuple[dict[BitPlace, int], dict[tuple[int, int], int]]:
    """Features as bits of CPUID and of MSRs."""
    bits: dict[BitPlace, int] = {}
    msr_bits: dict[tuple[int, int], int] = {}
    for name, on in switches.items():
        for bit in features()[name]:
            if bit.word.is_msr:
                msr_bits[bit.word.at, bit.number] = int(on)
            else:
                bits[*bit.word.leaf, bit.word.register, bit.number] = int(on)
    return bits, msr_bits


@lru_cache(maxsize=1024)
def remedies(place: BitPlace, *, on: bool = False) -> Mapping[str, str]:
    """The smallest change that turns one CPUID bit on or off, in the words of each VMM; empty where it has none."""
    found = _by_name(feature_at().get(place, ""), on=on)
    bits = {place: int(on)}
    return found | {
        "firecracker": encode({"cpuid_modifiers": template(bits)["cpuid_modifiers"]}),
        "xl": xl_cpuid(bits),
    }


@lru_cache(maxsize=1024)
def msr_remedies(msr: int, bit: int, *, on: bool = False) -> Mapping[str, str]:
    """The same for a bit of a feature MSR."""
    found = _by_name(msr_feature_at().get((msr, bit), ""), on=on)
    modifiers = template({}, {(msr, bit): int(on)})["msr_modifiers"]
    return found | {"firecracker": encode({"msr_modifiers": modifiers}), "xl": ""}


def _by_name(name: str, *, on: bool) -> dict[str, str]:
    policy, known = "require" if on else "disable", libvirt_feature(name)
    return {
        "qemu": f"-cpu ...,{'+' if on else '-'}{name}" if name else "",
        "libvirt": f"<feature policy='{policy}' name='{known}'/>" if known else "",
        "cloud-hypervisor": cloud_hypervisor_cpus([name]) if name and not on else "",
        "kubevirt": f"cpu.features: [{{name: {known}, policy: {policy}}}]" if known else "",
    }
