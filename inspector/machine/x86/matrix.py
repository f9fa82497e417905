"""The component matrix: what each XSAVE component is at every level, and what touching it gives."""

from __future__ import annotations

from typing import NamedTuple

from inspector.decode.placement import standard_places
from inspector.machine.x86.host import TILECFG, TILEDATA, XTILE
from inspector.machine.x86.kvm import Vcpu
from inspector.machine.x86.registers import LEGACY
from inspector.machine.x86.state import live, xfd_of
from inspector.machine.x86.world import World
from layouts.x86.xsave import BY_NUMBER

_AVX512 = 0xE6
#: XCR0 bits that an instruction on the component needs (Intel SDM vol. 2, exception classes).
_NEEDS = {1: 2, 2: 6, 3: 0x18, 4: 0x18, 5: _AVX512, 6: _AVX512, 7: _AVX512, TILECFG: XTILE, TILEDATA: XTILE}


class ComponentRow(NamedTuple):
    """One component. Bits are None where there is no vCPU yet; sizes and offsets are in bytes."""

    number: int
    name: str
    host: bool
    permission: bool
    guest_permission: bool
    cpuid: bool | None
    xcr0: bool | None
    xfd: bool | None
    in_use: bool | None
    room: bool | None
    offset: int
    size_bytes: int
    touch: str


def component_rows(world: World) -> list[ComponentRow]:
    """The user components of the host's CPU."""
    host, process, vcpu = world.host, world.process, world.vcpu
    places = {place.component: place for place in standard_places(host.table, host.cpu_xcr0 | 3, 1 << 16)}
    rows = []
    for number in range(64):
        if not (host.cpu_xcr0 | 3) >> number & 1:
            continue
        place = places.get(number)
        offset, size = (place.offset, place.size_bytes) if place is not None else LEGACY.get(number, (0, 0))
        known = BY_NUMBER.get(number)
        cpuid, xcr0, xfd, in_use, room = _vcpu_bits(vcpu, number)
        rows.append(
            ComponentRow(
                number=number,
                name=known.name if known is not None else "?",
                host=bool(host.user_max >> number & 1),
                permission=bool(process.perm >> number & 1),
                guest_permission=bool(process.guest_perm >> number & 1),
                cpuid=cpuid,
                xcr0=xcr0,
                xfd=xfd,
                in_use=in_use,
                room=room,
                offset=offset,
                size_bytes=size,
                touch=touch(vcpu, number),
            )
        )
    return rows


def _vcpu_bits(vcpu: Vcpu | None, number: int) -> list[bool | None]:
    if vcpu is None:
        return [None] * 5
    processor = live(vcpu)
    in_use = processor.registers.in_use if processor is not None else vcpu.fpstate.xstate_bv
    masks = (vcpu.guest_xcr0 | 1, vcpu.xcr0, xfd_of(vcpu), in_use, vcpu.fpstate.xfeatures | 3)
    return [bool(mask >> number & 1) for mask in masks]


def touch(vcpu: Vcpu | None, number: int) -> str:
    """What an instruction on the component gives the guest now: ``ok``, ``#UD``, ``#NM``, or ``-``.

    Tile data: #UD by XCR0, then #NM by XFD, then #UD by the tile configuration.
    """
    if vcpu is None or not vcpu.cr4_osxsave:
        return "-"
    needs = _NEEDS.get(number)
    if needs is None:
        return "ok" if number == 0 else "-"
    if vcpu.xcr0 & needs != needs:
        return "#UD"
    if number == TILEDATA:
        if xfd_of(vcpu) >> TILEDATA & 1:
            return "#NM"
        processor = live(vcpu)
        registers = processor.registers if processor is not None else vcpu.fpstate.registers(vcpu.host)
        return "ok" if any(registers.get(TILECFG)) else "#UD"
    return "ok"
