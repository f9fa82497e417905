"""Guests and hosts of x86 moves of which one thing is changed."""

from __future__ import annotations

from inspector.machine.x86.host import booted
from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.readers.options import NO_OPTIONS
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu
from layouts.x86.kernels import profile_for
from layouts.x86.msr_origins import ARCH_CAPABILITIES

SOURCE = "sample:sapphire-rapids/linux-6.18"


def with_msr(index: int, value: int) -> Guest:
    """The guest of a Sapphire Rapids under 6.18, with another value of a feature MSR."""
    capture = capture_of(SOURCE)
    guest = guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)
    kept = tuple(row for row in guest.saved.msrs if row[0] != index)
    return guest._replace(saved=guest.saved._replace(msrs=(*kept, (index, value))))


def silicon(release: str, arch_capabilities: int = 0, **parameters: str) -> Destination:
    """A Sapphire Rapids of which the CPU is known, under a kernel."""
    cpuid = destination_of(SOURCE, "", NO_OPTIONS).kvm.raw
    msrs = {ARCH_CAPABILITIES: arch_capabilities}
    found = destination("spr", booted(cpuid), profile_for(release), release=release, msrs=msrs)
    for name, value in parameters.items():
        found.kvm = found.with_parameter(name, value)
    found.msrs = {ARCH_CAPABILITIES: features.arch_capabilities(found.kvm, found.kvm.msr_rules)}
    return found


def zen5(release: str) -> Destination:
    """A Zen 5 of which the CPU is known, under a kernel."""
    cpuid = destination_of("sample:ryzen-9950x/host.toml", "", NO_OPTIONS).kvm.raw
    return destination("zen5", booted(cpuid), profile_for(release), release=release)
