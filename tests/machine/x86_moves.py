"""Guests and hosts of x86 moves of which one thing is changed."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import booted
from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.machine.x86.migrate.guest import NOTHING, Guest, facts_of, steps_of
from inspector.machine.x86.migrate.places import Place
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


def showing(table: Mapping[tuple[int, int], CpuidValues], release: str = "6.18") -> Destination:
    """A Sapphire Rapids of which KVM_GET_SUPPORTED_CPUID was kept."""
    cpuid = destination_of(SOURCE, "", NO_OPTIONS).kvm.raw
    return destination("kept", booted(cpuid), profile_for(release), is_raw=False, supported=Cpuid(table))


def bit(kind: str, at: int, subleaf: int, register: str, low: int, high: int = -1, rule: str = "and") -> Difference:
    return Difference(Place(kind, at, subleaf, register, max(low, high), low), rule, 1, 0, blocks=True)  # type: ignore[arg-type]


def feature(key: tuple[int, int, str, int]) -> Difference:
    return bit("cpuid", *key)


def guest_with(
    table: Mapping[tuple[int, int], CpuidValues] | None = None,
    msrs: Mapping[int, int] | None = None,
    facts: Mapping[str, int] | None = None,
    **parts: bytes,
) -> Guest:
    saved = NOTHING._replace(msrs=tuple((msrs or {}).items()), **parts)  # type: ignore[arg-type]
    found = Guest("g", saved, steps_of(saved), {**(facts or {}), **facts_of(saved)})
    return found.with_table(table or {})
