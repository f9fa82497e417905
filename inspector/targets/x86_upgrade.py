"""A captured x86 guest after its host's kernel changed: what it sees, by the capture and the two releases."""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid
from inspector.capture.model import Capture
from inspector.machine.x86.kvm.module import Processor
from inspector.machine.x86.kvm.upgrade import Upgrade, upgrade
from inspector.machine.x86.models.cpuid import cpuid_of_model
from inspector.targets.x86_cpuid import guest_table
from inspector.targets.x86_offers import feature_msrs
from layouts.kernels import UnknownReleaseError
from layouts.x86.models.qemu import qemu_models


def upgraded(capture: Capture, newer: str) -> Upgrade:
    """The guest of a capture that names its host's kernel, under a newer one. Raises InputError."""
    shown = guest_table(capture)
    if shown is None:
        raise InputError(capture.target, "a guest's CPUID", "none")
    processor = Processor(msrs=feature_msrs(capture))
    try:
        return upgrade(shown, capture.host.kernel, newer, named=named_cpu(shown), processor=processor)
    except UnknownReleaseError as error:
        raise InputError(f"{capture.target}: kernel", error.expected, error.release) from None


def named_cpu(cpuid: Cpuid) -> Cpuid | None:
    """What QEMU's model with the same vendor, family and model has, in the version that has the most."""
    known = qemu_models()
    models = [known.models[name] for name in known.models]
    same = [one for one in models if (one.vendor, one.family, one.model) == (cpuid.signature() or ())[:3]]
    return cpuid_of_model(max(same, key=lambda one: len(one.features)).name) if same else None
