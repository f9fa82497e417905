"""Who decided a bit: asked in turn of the silicon, the kernel, its parameters, the VMM's model and machine type."""

from __future__ import annotations

from collections.abc import Callable

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
from inspector.machine.x86.migrate.msr_origin import msr_origin
from inspector.machine.x86.migrate.places import linux_names, names_of
from layouts.kernels import release_numbers, who_does
from layouts.light import TYPE_CHECKING
from layouts.x86.features import FEATURES, REGISTERS
from layouts.x86.kernels import kernels
from layouts.x86.kvm_caps import KVM_FEATURES
from layouts.x86.models.features import features as qemu_features
from layouts.x86.msr_origins import SET_BY_LINE

if TYPE_CHECKING:
    from inspector.machine.x86.migrate.verdict import Migration

#: VMX and SVM: KVM gives them by its parameter.
_OF_NESTING = frozenset(((1, 0, "ecx", 5), (0x80000001, 0, "ecx", 2)))


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
        return Origin(VMM, f"{line.request.name} does not have {bit.name}") if bit.source else None
    if setting.on == bool(bit.target):
        return Origin(
            VMM, f"{'on' if setting.on else 'off'} because {setting.by} turns it {'on' if setting.on else 'off'}"
        )
    return None


def question_of(bit: Difference) -> Callable[[Kvm], bool] | None:
    """Asks a KVM whether it gives the bit to guests; None for a bit that is no feature of its lists."""
    place = bit.place
    if place.kind == "xcr0":
        return lambda kvm: bool(kvm.xcr0 >> place.low & 1)
    if place.kind == "xss":
        return lambda kvm: bool(kvm.xss >> place.low & 1)
    name = linux_names().get(place.key, "")
    return (lambda kvm: kvm.has(name)) if name else None


def _gone(made: Migration, bit: Difference) -> Origin:
    """The guest has it and the destination does not: silicon, Linux, KVM's release, its parameters, in turn."""
    host, kvm = made.destination, made.destination.kvm
    name, has = bit.name, question_of(bit)
    if has is None:
        return _silicon(made, bit)
    if has(kvm):
        return Origin(CAPTURE, f"{name} is kept back by what was captured of {host.name}, its KVM has it")
    showing = [release for release, other in host.on_kernels.items() if has(other)]
    if showing:
        return Origin(
            KERNEL,
            f"{who_does(showing, host.on_kernels, 'shows', 'show')} it; {host.kernel.name} of {host.name} does not",
        )
    for parameter, value, other in host.otherwise if _may_have(made, bit) else ():
        if has(other):
            return Origin(
                PARAMETER, f"{name} is off because {parameter}={'N' if value == 'Y' else 'Y'} of KVM's modules"
            )
    return _silicon(made, bit)


def _may_have(made: Migration, bit: Difference) -> bool:
    """The CPU has the bit, for all that is known; KVM's nested features are its own."""
    place, host = bit.place, made.destination
    if place.kind != "cpuid" or not host.is_raw or place.at == 0x8000000A:
        return True
    raw = host.kvm.raw.get(place.at, place.subleaf) or (0, 0, 0, 0)
    return bool(raw[REGISTERS.index(place.register)] >> place.low & 1) or place.key in _OF_NESTING


def _silicon(made: Migration, bit: Difference) -> Origin:
    host, place, name = made.destination, bit.place, bit.name
    if not host.is_raw:
        who = "what is known of" if host.because else ""
        shown = _source_kernel_alone(made, bit)
        return shown or Origin(SILICON, f"{who} {host.name} does not have {name}".strip())
    if place.kind == "cpuid":
        raw = host.kvm.raw.get(place.at, place.subleaf) or (0, 0, 0, 0)
        if raw[REGISTERS.index(place.register)] >> place.low & 1:
            feature = linux_names().get(place.key, "")
            if feature and not host.kvm.boot_has(feature):
                return Origin(LINUX, f"the CPU of {host.name} has {name}, and Linux there does not use it")
            return Origin(KERNEL, f"the CPU of {host.name} has {name}, and no known KVM gives it to guests")
    return Origin(SILICON, f"the CPU of {host.name} does not have {name}")


def _source_kernel_alone(made: Migration, bit: Difference) -> Origin | None:
    """A stand-in for the CPU was captured on an older kernel, which kept the bit from guests."""
    source, here = made.guest.kernel, made.destination.kernel
    first = _first_release(bit)
    numbers = release_numbers(source) if source else None
    if first and numbers and numbers >= first > (release_numbers(here.version) or (0, 0)):
        text = f"Linux {first[0]}.{first[1]} shows {bit.name} to guests first; {here.name} of the destination does not"
        return Origin(KERNEL, text)
    return None


def _first_release(bit: Difference) -> tuple[int, int] | None:
    """The first release whose KVM has the bit, where the oldest known one has it not."""
    if bit.place.kind in ("xcr0", "xss"):
        having = [
            kernel
            for kernel in kernels().values()
            if (kernel.kvm_xcr0 if bit.place.kind == "xcr0" else kernel.kvm_xss) >> bit.place.low & 1
        ]
        return release_numbers(having[0].since or having[0].version) if 0 < len(having) < len(kernels()) else None
    return _first_showing(linux_names().get(bit.place.key, ""))


def _first_showing(feature: str) -> tuple[int, int] | None:
    """The first release whose KVM lists the feature (layouts/x86/kvm_caps.py)."""
    if feature not in FEATURES:
        return None
    found = FEATURES[feature]
    word = f"{found.leaf:x}.{found.subleaf:x}.{REGISTERS[found.register]}"
    for release, names in sorted(KVM_FEATURES.get(word, {}).items()):
        if feature in {name.lstrip("+!~?") for name in names.split()}:
            return release if release > (5, 10) else None
    return None


def _appears(made: Migration, bit: Difference) -> Origin:
    """The destination has it and the guest does not: the source's line, its kernel, else its CPU or VMM."""
    guest, host, name = made.guest, made.destination, bit.name
    feature = names_of(bit.place)[0]
    if guest.made is not None and feature in qemu_features():
        why = guest.made.why(feature)
        if why:
            return Origin(VMM, f"the guest's {feature} is {why}")
        return Origin(VMM, f"{guest.made.request.name} does not have {feature}")
    numbers = release_numbers(guest.kernel) if guest.kernel else None
    if numbers is not None:
        first = _first_release(bit)
        if first and numbers < first:
            return Origin(
                KERNEL, f"{name} appears because Linux {first[0]}.{first[1]} shows it; {guest.kernel} does not"
            )
    return Origin(
        NOT_KNOWN, f"the guest's VMM turned {name} off, or the CPU that it started on has it not; {host.name} has it"
    )
