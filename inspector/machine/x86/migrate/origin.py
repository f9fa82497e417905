"""Who decided a bit: asked in turn of the silicon, the kernel, its parameters, the VMM's model and machine type."""

from __future__ import annotations

from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.migrate.actors import (
    CAPTURE,
    EMULATOR,
    IDENTITY,
    KERNEL,
    LINUX,
    NOT_KNOWN,
    PARAMETER,
    SILICON,
    VMM,
    Origin,
)
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.given import first_release, gives
from inspector.machine.x86.migrate.msr_origin import msr_origin
from inspector.machine.x86.migrate.places import Place, linux_names, names_of
from layouts.kernels import UnknownReleaseError, release_numbers, who_does
from layouts.light import TYPE_CHECKING
from layouts.x86.features import REGISTERS
from layouts.x86.kernels import profile_for
from layouts.x86.models.features import features as qemu_features
from layouts.x86.msr_origins import SET_BY_LINE

if TYPE_CHECKING:
    from inspector.machine.x86.migrate.verdict import Migration


def origin_of(made: Migration, bit: Difference) -> Origin:
    """Who decided that the two differ here."""
    if bit.rule == "ignore":
        return Origin(IDENTITY, f"{bit.name} moves with the vCPU")
    if made.made is not None and (found := _by_line(made, bit)):
        return found
    if made.destination.emulator and bit.source and bit.known:
        return Origin(EMULATOR, f"{made.destination.emulator} does not have {bit.name}")
    if bit.place.kind == "msr":
        return msr_origin(made, bit)
    if bit.place.high > bit.place.low or bit.place.kind == "xstate":
        return Origin(SILICON, f"the destination's CPU has {bit.target:#x}, the guest {bit.source:#x}")
    return _gone(made, bit) if bit.source else _appears(made, bit)


def _by_line(made: Migration, bit: Difference) -> Origin | None:
    """The destination's line of QEMU switched it."""
    line = made.made
    of_line = bit.place.kind == "cpuid" or (bit.place.kind == "msr" and bit.place.at in SET_BY_LINE)
    if line is None or not of_line or bit.name not in qemu_features():
        return None
    if any(entry.feature == bit.name for entry in line.missing):
        return None
    setting = line.expansion.origin(bit.name)
    if setting is None:
        return Origin(VMM, f"{line.request.name} does not have {bit.name}")
    if setting.on == bool(bit.target):
        return Origin(
            VMM, f"{'on' if setting.on else 'off'} because {setting.by} turns it {'on' if setting.on else 'off'}"
        )
    return None


def _gone(made: Migration, bit: Difference) -> Origin:
    """The guest has it and the destination does not: silicon, Linux, KVM's release, its parameters, in turn."""
    host, place, name = made.destination, bit.place, bit.name
    if gives(host.kvm, place):
        return Origin(CAPTURE, f"{name} is kept back by what was captured of {host.name}, its KVM has it")
    showing = _showing(host, place)
    if showing:
        return Origin(KERNEL, f"{showing} it; {host.kernel.name} of {host.name} does not")
    for parameter, value, other in host.otherwise:
        if gives(other, place):
            return Origin(
                PARAMETER, f"{name} is off because {parameter}={'N' if value == 'Y' else 'Y'} of KVM's modules"
            )
    return _silicon(made, bit)


def _showing(host: Destination, place: Place) -> str:
    """Which releases give the bit to guests of the destination's CPU, in words; empty for none."""
    releases = [release for release, kvm in host.on_kernels.items() if gives(kvm, place)]
    return who_does(releases, host.on_kernels, "shows", "show") if releases else ""


def _silicon(made: Migration, bit: Difference) -> Origin:
    host, place, name = made.destination, bit.place, bit.name
    if not host.is_raw:
        who = "what is known of" if host.because else ""
        shown = _source_kernel_alone(made, bit)
        return shown or Origin(SILICON, f"{who} {host.name} does not have {name}".strip())
    if place.kind == "cpuid":
        raw = host.kvm.raw.get(place.at, place.subleaf)
        if raw and raw[REGISTERS.index(place.register)] >> place.low & 1:
            feature = linux_names().get(place.key)
            if feature and not host.kvm.boot_has(feature):
                return Origin(LINUX, f"the CPU of {host.name} has {name}, and Linux there does not use it")
            return Origin(KERNEL, f"the CPU of {host.name} has {name}, and no known KVM gives it to guests")
    return Origin(SILICON, f"the CPU of {host.name} does not have {name}")


def _source_kernel_alone(made: Migration, bit: Difference) -> Origin | None:
    """A stand-in for the CPU was captured on an older kernel, which kept the bit from guests."""
    host, numbers = made.destination, release_numbers(made.guest.kernel)
    if numbers is None or host.kvm.since(*numbers):
        return None
    first = first_release(bit.place, is_vmx=host.kvm.is_vmx)
    if first is None or numbers < first or host.kvm.since(*first):
        return None
    shows = f"Linux {first[0]}.{first[1]} shows {bit.name} to guests first"
    return Origin(KERNEL, f"{shows}; {host.kernel.name} of the destination does not")


def _appears(made: Migration, bit: Difference) -> Origin:
    """The destination has it and the guest does not: the source's line, its kernel, else its CPU or VMM."""
    guest, host, name = made.guest, made.destination, bit.name
    feature = names_of(bit.place)[0]
    if guest.made is not None and feature in qemu_features():
        why = guest.made.why(feature)
        if why:
            return Origin(VMM, f"the guest's {feature} is {why}")
        return Origin(VMM, f"{guest.made.request.name} does not have {feature}")
    older = _on_the_guests_kernel(made)
    if older is not None and gives(host.kvm, bit.place) and not gives(older, bit.place):
        showing = _showing(host, bit.place)
        return Origin(KERNEL, f"{name} appears because {showing} it; {guest.kernel} does not")
    return Origin(
        NOT_KNOWN, f"the guest's VMM turned {name} off, or the CPU that it started on has it not; {host.name} has it"
    )


def _on_the_guests_kernel(made: Migration) -> Kvm | None:
    """KVM of the release that the guest was captured on, on the destination's CPU; None where nobody said which."""
    if not made.guest.kernel:
        return None
    try:
        return made.destination.on_kernels[profile_for(made.guest.kernel).name]
    except UnknownReleaseError:
        return None
