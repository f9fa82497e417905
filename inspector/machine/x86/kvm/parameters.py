"""Module parameters of KVM where nobody set them and nobody captured them: what this CPU and release have.

Source: Linux arch/x86/kvm/svm/svm.c, vmx/vmx.c, x86.c; the table is layouts/x86/kvm_parameters.py.
"""

from __future__ import annotations

from inspector.capture.host import Cpuid
from layouts.x86.features import FEATURES
from layouts.x86.kvm_parameters import DEFAULTS, Parameter


def default_parameters(cpuid: Cpuid, vendor: str, release: tuple[int, int]) -> dict[str, str]:
    """Module parameters that nobody set. What a table without the leaf does not tell is taken as there."""
    return {
        parameter.name: "N" if _is_off(parameter, cpuid) else parameter.default
        for parameter in DEFAULTS.get(vendor, ())
        if release >= parameter.since
    }


def _is_off(parameter: Parameter, cpuid: Cpuid) -> bool:
    def told(feature: str) -> bool | None:
        leaf, subleaf, register, bit = FEATURES[feature]
        values = cpuid.get(leaf, subleaf)
        return None if values is None else bool(values[register] >> bit & 1)

    lacks = bool(parameter.needs) and told(parameter.needs) is False
    return lacks or (bool(parameter.not_with) and told(parameter.not_with) is True)
