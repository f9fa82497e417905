"""The x86 host of a captured vCPU: what the capture says of it, and a guess only where it says nothing.

In order of trust: the host's CPUID captured with the vCPU; the family and model that the vCPU's CPUID
names; a layout that the user named; where an NT_X86_XSAVE_LAYOUT note or CPUID puts each component; the
layout that was guessed for the image. What the capture contradicts is never chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from inspector.capture.attributes import XsaveTable
from inspector.capture.errors import UsageError
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Capture, Vcpu
from inspector.decode.header import is_compacted, xstate_bv
from inspector.machine.x86.host import Host, booted, enumerated_features, shipped_cpu, shipped_host
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.options import NO_OPTIONS
from inspector.targets.kernels import kernel_captured
from layouts.vocabulary import CpuLayout
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import X86Kernel, profile_for
from layouts.x86.xsave import BY_NUMBER, EXTENDED_OFFSET

#: Where nothing is known, and for an empty host: the first CPU with every component that KVM gives to guests.
DEFAULT_CPU = "sapphire-rapids"
_Offsets = Mapping[int, int]


class ChosenHost(NamedTuple):
    """A host, what screens call it, why it was chosen, and whether that is a guess."""

    name: str
    host: Host
    because: str
    is_guess: bool = False

    @property
    def label(self) -> str:
        """The name, and that it is a guess."""
        return f"{self.name} (a guess)" if self.is_guess else self.name


class _Evidence(NamedTuple):
    """What a capture says of its host."""

    host_cpuid: Cpuid | None
    vcpu_cpuid: Cpuid | None
    table: XsaveTable | None
    #: Components that the vCPU has, by its CPUID or by its image.
    wanted: int

    @property
    def offsets(self) -> _Offsets:
        """Where components are, as the capture itself says; a guess says nothing."""
        offsets = dict(_offsets_of(self.vcpu_cpuid.xsave_table())) if self.vcpu_cpuid is not None else {}
        if self.table is not None and not self.table.guessed:
            offsets |= {room.component: room.offset for room in self.table.rooms if room.offset}
        return offsets


def choose_host(capture: Capture, vcpu: Vcpu, kernel: X86Kernel) -> ChosenHost:
    """The host of a captured vCPU under a kernel."""
    evidence = _evidence_of(capture, vcpu)
    for choose in (_by_host_cpuid, _by_signature, _by_table, _by_vcpu_cpuid, _by_guessed_table):
        chosen = choose(evidence, kernel)
        if chosen is not None:
            return chosen
    return ChosenHost(DEFAULT_CPU, shipped_host(DEFAULT_CPU, kernel), "nothing captured tells the CPU", is_guess=True)


def captured_kernel(capture: Capture) -> tuple[X86Kernel, str]:
    """The profile of the kernel that a capture names, and why it is this one; the default where it names none.

    Raises InputError for a release for which no profile answers.
    """
    release = capture.host.kernel
    because = f"captured: {release}" if release else "the default; the capture names none"
    return kernel_captured(profile_for, capture, NO_OPTIONS.note), because


def contradiction(host: Host, vcpu: Vcpu) -> str:
    """Why this host cannot be given the vCPU's image: it puts a component elsewhere. Empty when it can.

    KVM_SET_XSAVE copies a standard image by the host's own offsets (copy_uabi_to_xstate, fpu/xstate.c):
    of another layout it would take other registers, and say nothing.
    """
    image = vcpu.area("xsave")
    if image is None or is_compacted(image.data):
        return ""
    table = image.attributes["table"]
    held = xstate_bv(image.data)
    for room in table.rooms:
        values = host.cpuid.get(0xD, room.component)
        if held >> room.component & 1 and room.offset and values and values[1] and values[1] != room.offset:
            name = BY_NUMBER[room.component].name if room.component in BY_NUMBER else f"component {room.component}"
            return f"its {name} is at {values[1]:#x}, the image's at {room.offset:#x} ({table.origin})"
    return ""


def require_fit(name: str, host: Host, vcpu: Vcpu) -> None:
    """Raises UsageError for a host that would read other registers out of the vCPU's image."""
    why = contradiction(host, vcpu)
    if why:
        raise UsageError(f"--host {name}: expected a CPU with the image's layout; {why}")


def signature_words(cpuid: Cpuid) -> str:
    """``GenuineIntel family 0x6 model 0x8f stepping 8``; empty without leaf 1."""
    found = cpuid.signature()
    if found is None:
        return ""
    vendor, family, model, stepping = found
    return f"{vendor or 'no vendor'} family {family:#x} model {model:#x} stepping {stepping}"


def _short_words(cpuid: Cpuid) -> str:
    """``family 0x6 model 0x8f``, for a CPU that no shipped one is."""
    found = cpuid.signature()
    return f"family {found[1]:#x} model {found[2]:#x}" if found is not None else "an unnamed CPU"


def named_by(cpuid: Cpuid) -> Iterator[CpuLayout]:
    """The shipped CPUs of this family, model and stepping."""
    found = cpuid.signature()
    if found is None:
        return
    vendor, family, model, stepping = found
    for layout in cpu_layouts().values():
        known = layout.signature
        if known and (vendor, family) == known[:2] and model in known.models and stepping in known.steppings:
            yield layout


def _evidence_of(capture: Capture, vcpu: Vcpu) -> _Evidence:
    # What was captured counts, not what was edited since.
    image, cpuid = vcpu.area("xsave"), vcpu.area("cpuid")
    table = cpuid_of(cpuid.original) if cpuid is not None else None
    wanted = (xstate_bv(image.original) if image is not None else 0) | _user_components(table)
    return _Evidence(capture.host.cpuid, table, image.attributes["table"] if image is not None else None, wanted)


def _user_components(cpuid: Cpuid | None) -> int:
    values = cpuid.get(0xD) if cpuid is not None else None
    return values[0] | values[3] << 32 if values else 0


def _offsets_of(leaf_0xd: Mapping[int, CpuidValues]) -> _Offsets:
    """User components and their standard offsets."""
    return {number: row[1] for number, row in leaf_0xd.items() if number >= 2 and row[1] and not row[2] & 1}


def _is_consistent(layout: CpuLayout, evidence: _Evidence) -> bool:
    """The CPU has every component of the vCPU, each where the capture says."""
    own = _offsets_of(layout.leaf_0xd)
    if evidence.wanted & ~(layout.leaf_0xd[0][0] | 3):
        return False
    return all(
        own.get(number) == offset for number, offset in evidence.offsets.items() if evidence.wanted >> number & 1
    )


def _by_host_cpuid(evidence: _Evidence, kernel: X86Kernel) -> ChosenHost | None:
    cpuid = evidence.host_cpuid
    if cpuid is None:
        return None
    names = [layout.name for layout in named_by(cpuid)]
    words = signature_words(cpuid)
    because = f"the host's CPUID was captured{f': {words}' if words else ''}"
    if not cpuid.xsave_table():
        because += "; it has no XSAVE"
    return ChosenHost(names[0] if names else _short_words(cpuid), Host(cpuid, kernel), because)


def _by_signature(evidence: _Evidence, kernel: X86Kernel) -> ChosenHost | None:
    cpuid = evidence.vcpu_cpuid
    if cpuid is None:
        return None
    fitting = [layout for layout in named_by(cpuid) if _is_consistent(layout, evidence)]
    if not fitting:
        return None
    layout = min(fitting, key=lambda layout: layout.leaf_0xd[0][0].bit_count())
    because = f"the vCPU's CPUID says {signature_words(cpuid)}"
    return ChosenHost(layout.name, shipped_host(layout.name, kernel), because)


def _by_table(evidence: _Evidence, kernel: X86Kernel) -> ChosenHost | None:
    """By a layout that the user named, or that came with the image."""
    table = evidence.table
    if table is None or table.guessed or evidence.vcpu_cpuid is not None:
        return None
    if table.layout:
        return ChosenHost(table.layout, shipped_host(table.layout, kernel), f"--layout {table.layout}")
    return _placed_alike(table, kernel, f"{table.origin} places each component as here")


def _placed_alike(table: XsaveTable, kernel: X86Kernel, because: str) -> ChosenHost:
    """The shipped CPU that has these components at these places and the fewest others, without those.

    Where none has them, a CPU made of the table.
    """
    rooms = {room.component: (room.size_bytes, room.offset) for room in table.rooms if room.offset}
    mask = sum(1 << number for number in rooms) | 3
    alike: list[tuple[int, int, str, int]] = []
    for name, layout in cpu_layouts().items():
        known = {number: row[:2] for number, row in layout.leaf_0xd.items()}
        if all(known.get(number) == room for number, room in rooms.items()):
            surplus = shipped_host(name, kernel).user_max & ~mask
            alike.append((surplus.bit_count(), len(alike), name, surplus))
    if not alike:
        return ChosenHost(
            "an unnamed CPU", Host(_made_of(table, mask), kernel), f"made of {table.origin}", is_guess=True
        )
    _, _, name, surplus = min(alike)
    if not surplus:
        return ChosenHost(name, shipped_host(name, kernel), because, is_guess=True)
    lacking = ", ".join(component.name for number, component in BY_NUMBER.items() if surplus >> number & 1)
    return ChosenHost(f"{name} without {lacking}", Host(_without(name, surplus), kernel), because, is_guess=True)


def _without(name: str, components: int) -> Cpuid:
    """A shipped CPU that does not enumerate these user components."""
    shipped = shipped_cpu(name)
    eax, ebx, ecx, edx = shipped.leaves[0xD, 0]
    one = shipped.get(0xD, 1) or (0, 0, 0, 0)
    leaves = {key: row for key, row in shipped.leaves.items() if key[0] != 0xD or not components >> key[1] & 1}
    kept = eax & ~components
    return Cpuid({**leaves, (0xD, 0): (kept, ebx, ecx, edx), **enumerated_features(kept | one[2])})


def _made_of(table: XsaveTable, mask: int) -> Cpuid:
    """Leaf 0xD with the table's components, and the bits of leaf 7 that they ask for."""
    rooms = [room for room in table.rooms if room.offset]
    end = max((room.offset + room.size_bytes for room in rooms), default=EXTENDED_OFFSET)
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0xD, room.component): (room.size_bytes, room.offset, 2 if room.align64 else 0, 0) for room in rooms
    }
    return Cpuid({**leaves, (0xD, 0): (mask, end, end, 0), **enumerated_features(mask)})


def _by_vcpu_cpuid(evidence: _Evidence, kernel: X86Kernel) -> ChosenHost | None:
    """No shipped CPU is the one that the vCPU names: what the vCPU sees stands in for the host."""
    cpuid = evidence.vcpu_cpuid
    if cpuid is None or not cpuid.xsave_table():
        return None
    words = signature_words(cpuid) or "a CPU without leaf 1"
    because = f"the vCPU's own CPUID stands in for the host's; no shipped CPU is {words} with its components"
    return ChosenHost(_short_words(cpuid), Host(booted(cpuid), kernel), because, is_guess=True)


def _by_guessed_table(evidence: _Evidence, kernel: X86Kernel) -> ChosenHost | None:
    table = evidence.table
    if table is None:
        return None
    if table.layout:
        because = f"the image's layout is a {table.origin}"
        return ChosenHost(table.layout, shipped_host(table.layout, kernel), because, is_guess=True)
    return _placed_alike(table, kernel, f"{table.origin} places each component as here")
