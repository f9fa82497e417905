"""The CPUID that a captured vCPU was given."""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid
from inspector.capture.model import Capture, Vcpu
from inspector.readers.cpuid_table import cpuid_of


def guest_table(capture: Capture) -> Cpuid | None:
    """The CPUID of the first vCPU that has one. Raises InputError, see ``require_whole``."""
    for vcpu in capture.vcpus:
        require_whole(capture, vcpu)
        area = vcpu.area("cpuid")
        if area is not None and (found := cpuid_of(bytes(area.data))) is not None:
            return found
    return None


def require_whole(capture: Capture, vcpu: Vcpu) -> None:
    """Raises InputError for CPUID of which bits are left to a host: it is nobody's guest and no host.

    Source: Firecracker docs/cpu_templates/cpu-templates.md.
    """
    area = vcpu.area("cpuid")
    if area is not None and area.attributes.get("unknown"):
        expected = "a host or a guest; a CPU template leaves bits to its host (model:FILE:HOST is its guest on one)"
        raise InputError(capture.target, expected, capture.format)
