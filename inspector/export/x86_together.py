"""All remedies of a verdict as one change, in the words of each VMM, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.export.encode import encode
from inspector.export.words import counted
from inspector.export.x86_lines import VMMS, cloud_hypervisor_cpus, template, xl_cpuid
from inspector.export.x86_migration_words import words_for
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.remedy import features_of
from inspector.machine.x86.migrate.together import Together, names_of_features, together
from inspector.machine.x86.migrate.verdict import Migration
from layouts.light import TYPE_CHECKING
from layouts.x86.models.libvirt import libvirt_feature

if TYPE_CHECKING:
    from typing import Any

_SHOWN = 4


def all_remedies(made: Migration, vmm: str = "") -> Together | None:
    """Every remedy that a VMM has words for, applied at once; None where there is none."""
    name = vmm or made.vmm.name
    return together(made, lambda bit: bool(words_for(bit).get(name)))


def together_lines(bits: Iterable[Difference]) -> dict[str, str]:
    """One change that turns off everything behind these bits, by VMM; empty where one has no words for it."""
    bits = list(bits)
    names = list(dict.fromkeys(name for bit in bits for name in names_of_features(bit)))
    places = {key: 0 for bit in bits for key in features_of(bit)}
    msrs = {(bit.place.at, bit.place.low): 0 for bit in bits if bit.place.kind == "msr"}
    known = [word for name in names if (word := libvirt_feature(name))]
    features = ", ".join(f"{{name: {word}, policy: disable}}" for word in known)
    lines = {
        "qemu": "-cpu ...," + ",".join(f"-{name}" for name in names) if names else "",
        "libvirt": "".join(f"<feature policy='disable' name='{word}'/>" for word in known),
        "firecracker": encode(template(places, msrs)),
        "cloud-hypervisor": cloud_hypervisor_cpus(names),
        "kubevirt": f"cpu.features: [{features}]" if known else "",
        "xl": xl_cpuid(places) if places else "",
    }
    return {vmm: lines[vmm] for vmm in VMMS}


def together_text(found: Together, vmm: str) -> tuple[str, ...]:
    """The line and what it comes to, in two lines."""
    still = found.still
    more = f" and {len(still) - _SHOWN} more" if len(still) > _SHOWN else ""
    left = f"still in the way: {'; '.join(still[:_SHOWN])}{more}"
    result = "the vCPU arrives" if found.arrives else left
    return (
        f"a guest that starts without {counted(len(found.bits), 'bit')}: {result}",
        together_lines(found.bits)[vmm],
    )


def together_json(found: Together | None) -> dict[str, Any] | None:
    """The same for programs."""
    if found is None:
        return None
    return {
        "bits": [str(bit.place) for bit in found.bits],
        "remedies": together_lines(found.bits),
        "arrives": found.arrives,
        "verdict": found.after.verdict,
        "still": list(found.still),
    }
