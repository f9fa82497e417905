"""Who acts in an event: the lanes that control goes through, from the VMM to the guest's program and back.

Made from what the event left behind: its words, the log of both kernels, the guest's instructions and whether each
left the guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.machine.lanes import Lane, Path, Stop
from inspector.machine.world import WorldStep
from inspector.machine.x86.world.events.linux import LINUX_EVENTS

#: Events of a Linux that its kernel begins; the others are the program's.
_OF_KERNEL = ("schedule", "kernel_thread", "signal", "fail_allocation")
#: What interrupts a run: control leaves the guest for the host's kernel.
_INTERRUPTS = ("exit", "preempt", "softirq")
_INSTRUCTION = "process"


def path_of(step: WorldStep[Any]) -> Path:
    """Who acts in an event, in order."""
    words = [word for word in step.event.split() if "=" not in word]
    name = words[0]
    stops = list(_stops(step, words))
    is_native = bool(step.executed) and not any(one.exited for one in step.executed)
    return Path(tuple(stops), name == "guest" and is_native)


def _stops(step: WorldStep[Any], words: list[str]) -> Iterator[Stop]:
    of_guest = words[0] == "guest"
    name = words[1] if of_guest else words[0]
    first = _actor(name, of_guest=of_guest)
    yield Stop(first, step.event)
    if of_guest:
        yield from _inside(step, first, name)
    elif name == "KVM_RUN" or name in _INTERRUPTS or name == "return":
        yield from _run(step, name)
    else:
        yield from _host(step, name)


def _actor(name: str, *, of_guest: bool) -> Lane:
    """Who begins an event."""
    if of_guest:
        return "guest program" if name in LINUX_EVENTS and name not in _OF_KERNEL else "guest kernel"
    if name in _INTERRUPTS or name == "return":
        return "vCPU"
    return "host kernel" if name in _OF_KERNEL else "VMM"


def _logged(step: WorldStep[Any], start: int = 0, end: int | None = None) -> Iterator[Stop]:
    for line in step.log[start:end]:
        yield Stop("guest kernel" if line.level == "guest" else "host kernel", line.text)


def _host(step: WorldStep[Any], name: str) -> Iterator[Stop]:
    """A system call, or an instruction of a program on the host: that comes to the kernel by an exception."""
    yield from _logged(step)
    is_call = name != _INSTRUCTION and name not in _OF_KERNEL
    if not step.log and (is_call or not step.outcome.accepted):
        yield Stop("host kernel", "")
    if name == "signal":
        yield Stop("VMM", "")


def _run(step: WorldStep[Any], name: str) -> Iterator[Stop]:
    """KVM_RUN goes into the guest, what interrupts it comes out, and return goes on to the VMM."""
    yield Stop("host kernel", "")
    yield from _logged(step)
    if not step.outcome.accepted:
        return
    if name == "KVM_RUN":
        yield Stop("vCPU", "VM entry")
    elif name == "return":
        yield Stop("VMM", "")


def _inside(step: WorldStep[Any], first: Lane, name: str) -> Iterator[Stop]:
    """Instructions of the guest, those between which its kernel and the host's do something."""
    at = 0
    if first == "guest program" and name != _INSTRUCTION:
        yield Stop("guest kernel", "")
    for one in step.executed:
        lines = [*_logged(step, at, one.lines_before)]
        at = one.lines_before
        if one.exited:
            yield from lines or [Stop("host kernel", "VM exit")]
        else:
            # What the host's kernel will come to, told before it does.
            yield from (stop._replace(lane="vCPU") if stop.lane == "host kernel" else stop for stop in lines)
            yield Stop("vCPU", "executed")
    yield from _logged(step, at)
    if step.outcome.verdict == "host-oops":
        yield Stop("host kernel", "oops")
    if first == "guest program" and step.outcome.verdict == "signal":
        yield Stop("guest kernel", "")
