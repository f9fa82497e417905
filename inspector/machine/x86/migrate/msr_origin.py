"""Who decided a bit of a feature MSR: the line, KVM's release, a module parameter, Linux, the silicon, in turn.

How KVM makes each bit is a table: ``layouts/x86/msr_origins.py``.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.actors import KERNEL, LINUX, NOT_KNOWN, PARAMETER, SILICON, VMM, Origin
from inspector.machine.x86.migrate.bits import Difference
from layouts.kernels import release_numbers
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_origins import BITS, MsrBit
from layouts.x86.msr_rules import RULES

if TYPE_CHECKING:
    from inspector.machine.x86.migrate.verdict import Migration

#: An update of a series behind all that there are.
_NEWEST = 1 << 16


def msr_origin(made: Migration, bit: Difference) -> Origin:
    """Who decided that a bit of a feature MSR differs, or that nobody tells."""
    host = made.destination
    if not bit.known:
        return Origin(NOT_KNOWN, f"nobody tells {host.name}'s value")
    found = BITS.get((bit.place.at, bit.place.low), MsrBit())
    return _gone(made, bit, found) if bit.source else _appears(made, bit, found)


def _shows(release: tuple[int, int, int], bit: Difference) -> bool:
    """KVM of this release shows the bit to guests, where the CPU has it."""
    return bool(features.shown(release, bit.place.at) >> bit.place.low & 1)


def _first_release(bit: Difference) -> tuple[int, int] | None:
    """The first known release that shows it, with its newest update; None where none does."""
    return next((series for series in RULES if _shows((*series, _NEWEST), bit)), None)


def _who_shows(release: tuple[int, int, int], bit: Difference) -> str:
    """Which KVM shows a bit that this one does not."""
    major, minor, _ = release
    if _shows((major, minor, _NEWEST), bit):
        return f"a newer update of Linux {major}.{minor} shows {bit.name} to guests"
    first = _first_release(bit)
    return (
        f"Linux {first[0]}.{first[1]} shows {bit.name} to guests first" if first else f"no known KVM shows {bit.name}"
    )


def _gone(made: Migration, bit: Difference, how: MsrBit) -> Origin:
    """The guest has it and the destination does not."""
    host, name = made.destination, bit.name
    kvm = host.kvm
    if not _shows(kvm.release, bit):
        return Origin(
            KERNEL, f"{_who_shows(kvm.release, bit)}; {'.'.join(map(str, kvm.release))} of {host.name} does not"
        )
    if how.parameter and (off := _turned_off(kvm, how)):
        return Origin(PARAMETER, f"{name} is off because {how.parameter}={off} of KVM's modules")
    if how.bug and host.is_raw and kvm.has_bug(how.bug):
        return Origin(LINUX, f"Linux on {host.name} counts its CPU among those with {how.bug}, which takes {name}")
    if how.made:
        return Origin(NOT_KNOWN, f"KVM makes {name} by itself, and what was captured of {host.name} has it not")
    more = ", and Linux there does not know it to be free of the bug" if how.bug else ""
    known = "" if host.is_raw else "what is known of "
    return Origin(SILICON, f"{known}{host.name} does not have {name} (its silicon or microcode{more})")


def _turned_off(kvm: Kvm, how: MsrBit) -> str:
    """The value of the parameter that takes the bit; empty where it is not set so."""
    value = kvm.parameter(how.parameter)
    if how.off:
        return value if value == how.off else ""
    return value if value and not kvm.is_on(how.parameter) else ""


def _appears(made: Migration, bit: Difference, how: MsrBit) -> Origin:
    """The destination has it and the guest does not."""
    guest, host, name = made.guest, made.destination, bit.name
    if guest.made is not None:
        return Origin(VMM, f"{guest.made.request.name} does not have {name}")
    numbers = release_numbers(guest.kernel)
    if numbers is not None and not _shows((*numbers, _NEWEST), bit):
        first = _first_release(bit)
        shows = f"Linux {first[0]}.{first[1]} shows it" if first else f"{host.kernel.name} shows it"
        return Origin(KERNEL, f"{name} appears because {shows}; {guest.kernel} does not")
    if how.made:
        return Origin(VMM, f"KVM makes {name} by itself: the guest's VMM turned it off")
    if how.parameter == "vmentry_l1d_flush":
        return Origin(PARAMETER, f"{name} was off where the guest started: {how.parameter}={how.off}, or its VMM")
    if how.bug:
        text = f"Linux on {host.name} or its CPU tells that it is free of {how.bug}; the guest was not told so"
        return Origin(LINUX if host.is_raw and not host.kvm.has_bug(how.bug) else NOT_KNOWN, text)
    text = f"the guest's VMM turned {name} off, or the CPU (or its microcode) that it started on has it not"
    return Origin(NOT_KNOWN, f"{text}; {host.name} has it")
