"""A buffer of extended state, component by component: what lies where, in which use, and what has no room."""

from __future__ import annotations

from typing import Literal, NamedTuple

from inspector.decode.placement import Place
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.matrix import name_of
from inspector.machine.x86.world.state import WorldState
from layouts.x86.xsave import EXTENDED_OFFSET

#: ``unused``: there is room, XINUSE is 0. ``no room``: it may be used, and the buffer does not hold it.
SpanState = Literal["in use", "initial", "unused", "no room"]


class Span(NamedTuple):
    """A component in a buffer; one without room is behind the buffer's end."""

    component: int
    name: str
    offset: int
    size_bytes: int
    state: SpanState


class BufferMap(NamedTuple):
    """A buffer: whose it is, how large, its components by offset."""

    owner: str
    size_bytes: int
    is_compacted: bool
    spans: tuple[Span, ...]


def buffer_map(host: Host, state: WorldState, vcpu_number: int = 0) -> BufferMap:
    """The vCPU's fpstate; the task's, where there is no vCPU."""
    if vcpu_number < len(state.vcpus):
        vcpu = state.vcpus[vcpu_number]
        wanted = vcpu.allowed | vcpu.enabled
        masks = vcpu.room, wanted, vcpu.in_use, vcpu.changed
        return _map(host, f"fpstate of vCPU {vcpu.number}", vcpu.buffer_size_bytes, masks)
    task = state.process.tasks[0]
    masks = task.room, state.process.permission, task.in_use, task.changed
    return _map(host, "fpstate of the process", task.buffer_size_bytes, masks)


def _map(host: Host, owner: str, size_bytes: int, masks: tuple[int, int, int, int]) -> BufferMap:
    room, wanted, in_use, changed = masks
    spans = [Span(-1, "x87 sse", 0, EXTENDED_OFFSET, _state(3, in_use, changed))]
    spans += [
        _span(place, place.offset, _state(1 << place.component, in_use, changed)) for place in host.kernel_places(room)
    ]
    end = size_bytes
    for place in host.kernel_places(wanted & host.kernel_max & ~room):
        spans.append(_span(place, end, "no room"))
        end += place.size_bytes
    return BufferMap(owner, size_bytes, host.compacted, tuple(spans))


def _span(place: Place, offset: int, state: SpanState) -> Span:
    return Span(place.component, name_of(place.component), offset, place.size_bytes, state)


def _state(bits: int, in_use: int, changed: int) -> SpanState:
    if not in_use & bits:
        return "unused"
    return "in use" if changed & bits else "initial"
