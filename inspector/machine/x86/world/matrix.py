"""The component matrix: what each XSAVE component is at every level, and what touching it gives."""

from __future__ import annotations

from typing import NamedTuple

from inspector.decode.placement import Place, standard_places
from inspector.machine.x86.world.state import Use, WorldState
from inspector.machine.x86.world.touch import guest_touch, process_touch, task_touch
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import BY_NUMBER, LEGACY_COMPONENTS

#: Whether something holds; None where the level is not there yet.
Bit = bool | None


class ComponentRow(NamedTuple):
    """One component. Bits are None where the level is not there yet; sizes and offsets are in bytes.

    ``kernel``, ``permission``, ``guest_permission`` are the host's and its process's; ``cpuid`` to
    ``room`` the vCPU's, ``use`` by its XINUSE and contents; ``task_permission`` and ``task_room`` those of
    the task in the guest's Linux.
    ``process``, ``guest`` and ``task`` are what an instruction on it gives each of them now.
    """

    number: int
    name: str
    supervisor: bool
    kernel: bool
    permission: bool
    guest_permission: bool
    cpuid: Bit
    xcr0: Bit
    xfd: Bit
    use: Use | None
    saved: Bit
    room: Bit
    task_permission: Bit
    task_room: Bit
    process: str
    guest: str
    task: str
    offset: int
    size_bytes: int


def component_rows(world: World, vcpu_number: int = 0) -> list[ComponentRow]:
    """The user components of the host's CPU, and the supervisor ones that its kernel keeps."""
    host, vm = world.host, world.vm
    state = world.state()
    vcpu = vm.vcpus[vcpu_number] if vm is not None and vcpu_number < len(vm.guests) else None
    of_vcpu = state.vcpus[vcpu_number] if vcpu is not None else None
    places = {place.component: place for place in standard_places(host.table, host.cpu_xcr0)}
    rows = []
    shown = host.cpu_xcr0 | host.supervisor
    for number in range(shown.bit_length()):
        if not shown >> number & 1:
            continue
        offset, size_bytes = _place(places, number)
        rows.append(
            ComponentRow(
                number=number,
                name=name_of(number),
                supervisor=bool(host.supervisor >> number & 1),
                kernel=bool(host.kernel_max >> number & 1),
                permission=bool((state.process.permission | host.supervisor) >> number & 1),
                guest_permission=bool((state.process.guest_permission | host.supervisor) >> number & 1),
                cpuid=bit_of(of_vcpu and of_vcpu.allowed | 1, number),
                xcr0=bit_of(of_vcpu and of_vcpu.enabled, number),
                xfd=bit_of(of_vcpu and of_vcpu.xfd, number),
                use=of_vcpu.use(number) if of_vcpu is not None else None,
                saved=bit_of(of_vcpu and of_vcpu.saved, number),
                room=bit_of(of_vcpu and of_vcpu.room, number),
                task_permission=bit_of(_task_permission(state), number),
                task_room=bit_of(state.guest and state.guest.process.tasks[0].room, number),
                process=process_touch(world, number).word,
                guest=guest_touch(vm, vcpu, number).word,
                task=task_touch(vm, vcpu, number).word,
                offset=offset,
                size_bytes=size_bytes,
            )
        )
    return rows


def name_of(number: int) -> str:
    """A component's name."""
    return BY_NUMBER[number].name if number in BY_NUMBER else "?"


def _place(places: dict[int, Place], number: int) -> tuple[int, int]:
    """Offset and size in a standard image; a supervisor component's offset is 0."""
    if number in places:
        return places[number].offset, places[number].size_bytes
    if number in LEGACY_COMPONENTS:
        return LEGACY_COMPONENTS[number]
    return 0, BY_NUMBER[number].size_bytes if number in BY_NUMBER else 0


def bit_of(mask: int | None, number: int) -> Bit:
    """A component's bit of a mask; None where there is no mask yet."""
    return None if mask is None else bool(mask >> number & 1)


def _task_permission(state: WorldState) -> int | None:
    return state.guest and state.guest.process.permission | state.guest.supervisor
