"""The gates between a component and whoever wants to use it, in their order: the first closed one decides.

Source: Linux Documentation/arch/x86/xstate.rst; Intel SDM vol. 1, 13.14.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.matrix import bit_of, name_of
from inspector.machine.x86.world.state import GuestState, TaskState, VcpuState, WorldState
from inspector.machine.x86.world.touch import Touched, guest_touch, process_touch, task_touch, task_xfd
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import TILEDATA, XTILE

Actor = Literal["host program", "guest kernel", "guest program"]
GateName = Literal[
    "hardware", "host XCR0", "permission", "guest permission", "vCPU", "CPUID", "XCR0", "task permission", "XFD", "room"
]
#: ``on use``: closed, and the kernel opens it when the component is used first. ``passed``: it would be closed, but
#: the instruction works all the same.
GateState = Literal["open", "closed", "on use", "passed"]


class Gate(NamedTuple):
    """Something that has to hold: ``text`` says what, ``value`` what is, ``closed`` what is where it does not."""

    name: GateName
    state: GateState
    value: str
    text: str
    closed: str


class Chain(NamedTuple):
    """The gates of an actor on the way to a component, and what an instruction on it gives."""

    actor: Actor
    gates: tuple[Gate, ...]
    touched: Touched

    @property
    def first_closed(self) -> Gate | None:
        """The gate that decides, if one does."""
        return next((gate for gate in self.gates if gate.state == "closed"), None)


class _Gate(NamedTuple):
    """A gate before anybody went through it."""

    name: GateName
    held: bool
    value: str
    text: str
    closed: str


class _Way(NamedTuple):
    """From where a component comes, and what there is on its way now; ``vcpu`` is None where there is none."""

    number: int
    host: Host
    state: WorldState
    vcpu: VcpuState | None


def chains(world: World, number: int, vcpu_number: int = 0) -> tuple[Chain, ...]:
    """The ways of a component to the host's program, the guest's kernel, and the guest's program where there is one."""
    vm, state = world.vm, world.state()
    vcpu = vm.vcpus[vcpu_number] if vm is not None and vcpu_number < len(state.vcpus) else None
    way = _Way(number, world.host, state, state.vcpus[vcpu_number] if vcpu is not None else None)
    found = [
        _chain("host program", _to_process(way), process_touch(world, number)),
        _chain("guest kernel", _to_guest(way), guest_touch(vm, vcpu, number)),
    ]
    if vm is not None and vcpu is not None and state.guest is not None:
        gates = _to_task(way, state.guest, task_xfd(vm, vcpu))
        found.append(_chain("guest program", gates, task_touch(vm, vcpu, number)))
    return tuple(found)


def _chain(actor: Actor, gates: Iterator[_Gate], touched: Touched) -> Chain:
    return Chain(actor, tuple(_passed(gate, touched) for gate in gates), touched)


def _passed(gate: _Gate, touched: Touched) -> Gate:
    """The gate as the instruction found it."""
    state: GateState = "open"
    if not gate.held:
        grows = touched.word == "grows" and gate.name in ("XFD", "room")
        state = "on use" if grows else "passed" if touched.works else "closed"
    return Gate(gate.name, state, *gate[2:])


# Each actor's gates


def _to_linux(way: _Way) -> Iterator[_Gate]:
    """What every actor needs."""
    host, number, name = way.host, way.number, name_of(way.number)
    has = bool((host.cpu_xcr0 | host.cpu_xss) >> number & 1)
    uses = bool(host.kernel_max >> number & 1)
    yield _Gate(
        "hardware",
        has,
        str(int(has)),
        f"the host's CPU has {name} (CPUID leaf 0xD)",
        f"the host's CPU has no {name} (CPUID leaf 0xD)",
    )
    yield _Gate("host XCR0", uses, str(int(uses)), "the host's Linux uses it", "the host's Linux does not use it")


def _to_process(way: _Way) -> Iterator[_Gate]:
    yield from _to_linux(way)
    number, process = way.number, way.state.process
    may = bool((process.permission | way.host.supervisor) >> number & 1)
    yield _Gate(
        "permission",
        may,
        str(int(may)),
        "the program asked its kernel for permission (ARCH_REQ_XCOMP_PERM)",
        f"nobody asked for ARCH_REQ_XCOMP_PERM {number}",
    )
    yield from _xfd_and_room(number, process.tasks[0].xfd, process.tasks[0])


def _xfd_and_room(number: int, xfd: int, task: TaskState) -> Iterator[_Gate]:
    """A program's last gates."""
    armed, fits = xfd >> number & 1, bool(task.room >> number & 1)
    yield _Gate("XFD", not armed, str(armed), f"XFD[{number}] is 0", f"XFD[{number}] is 1")
    yield _Gate(
        "room",
        fits,
        str(int(fits)),
        "the buffer has room for it",
        f"the task's buffer has no room for it ({task.buffer_size_bytes} bytes)",
    )


def _to_guest(way: _Way) -> Iterator[_Gate]:
    """To the guest's kernel."""
    yield from _to_xcr0(way)
    number, vcpu = way.number, way.vcpu
    passes = vcpu is not None and not vcpu.xfd >> number & 1
    value = _value(vcpu and vcpu.xfd, number)
    yield _Gate("XFD", passes, value, f"the guest's XFD[{number}] is 0", f"the guest's XFD[{number}] is 1")
    size = f" ({vcpu.buffer_size_bytes} bytes)" if vcpu is not None else ""
    yield _Gate(
        "room",
        bool(bit_of(vcpu and vcpu.room, number)),
        _value(vcpu and vcpu.room, number),
        "the vCPU's buffer has room for it",
        f"the vCPU's buffer has no room for it{size}",
    )


def _to_task(way: _Way, guest: GuestState, xfd: int) -> Iterator[_Gate]:
    """To the guest's program, to whom XFD is ``xfd``."""
    yield from _to_xcr0(way)
    number = way.number
    may = bool((guest.process.permission | guest.supervisor) >> number & 1)
    yield _Gate(
        "task permission",
        may,
        str(int(may)),
        "the program asked the guest's kernel for permission (ARCH_REQ_XCOMP_PERM)",
        f"nobody asked the guest's kernel for ARCH_REQ_XCOMP_PERM {number}",
    )
    yield from _xfd_and_room(number, xfd, guest.process.tasks[0])


def _to_xcr0(way: _Way) -> Iterator[_Gate]:
    """From the host's CPU to the guest's XCR0."""
    yield from _to_linux(way)
    number, process, vcpu = way.number, way.state.process, way.vcpu
    may = bool((process.guest_permission | way.host.supervisor) >> number & 1)
    late = " before the first vCPU; now it is final" if process.is_locked else ""
    yield _Gate(
        "guest permission",
        may,
        str(int(may)),
        "the VMM's process may give it to guests (ARCH_REQ_XCOMP_GUEST_PERM, before the first vCPU)",
        f"nobody asked for ARCH_REQ_XCOMP_GUEST_PERM {number}{late}",
    )
    yield _Gate("vCPU", vcpu is not None, str(int(vcpu is not None)), "there is a vCPU", "there is no vCPU")
    yield _Gate(
        "CPUID",
        bool(bit_of(vcpu and vcpu.allowed | 1, number)),
        _value(vcpu and vcpu.allowed | 1, number),
        "the vCPU's CPUID has it (KVM_SET_CPUID2)",
        "the vCPU's CPUID does not have it (KVM_SET_CPUID2)",
    )
    yield from _xcr0(number, vcpu)


def _xcr0(number: int, vcpu: VcpuState | None) -> Iterator[_Gate]:
    yield _Gate(
        "XCR0",
        bool(bit_of(vcpu and vcpu.enabled, number)),
        _value(vcpu and vcpu.enabled, number),
        "the guest's kernel set its bit of XCR0 or XSS",
        f"bit {number} of the guest's XCR0 or XSS is 0",
    )
    if number == TILEDATA:
        has_both = vcpu is not None and vcpu.xcr0 & XTILE == XTILE
        text = "tiles come with their configuration: XCR0[18:17] = 11"
        yield _Gate("XCR0", has_both, str(int(has_both)), text, "XCR0[18:17] is not 11")


def _value(mask: int | None, number: int) -> str:
    """A bit; ``-`` where there is no mask yet."""
    return "-" if mask is None else str(mask >> number & 1)


# Why: the innermost way as an outcome


def walk(world: World, number: int) -> Outcome:
    """What has to hold for a guest's program (its kernel, before it has one) to use a component, in order.

    The verdict is ``blocked`` where something does not.
    """
    *_, chain = chains(world, number)
    # What a program's XFD holds back, its kernel decides upon #NM: the instruction tells.
    own = ("XFD", "room") if chain.actor == "guest program" else ("room",)
    gates = [gate for gate in chain.gates if gate.name not in own]
    has_room = all(gate.state == "open" for gate in chain.gates if gate.name == "room")
    rule = Rule("Linux, Documentation/arch/x86/xstate.rst; Intel SDM vol. 1, 13.14")
    answer = chain.touched.word
    if chain.touched.works:
        for gate in gates:
            is_open = gate.state == "open"
            rule.check(gate.text if is_open else f"not in the way now: {gate.text}", is_open)
        rule.check(f"an instruction on it gives {answer}", held=True)
        if answer == "ok" and not has_room:
            rule.check("the buffer has room for it; without, the next context switch loses it", held=False)
        return rule.ok()
    for gate in gates:
        if not rule.check(gate.text, gate.state == "open"):
            return rule.blocked()
    because = f": {chain.touched.because}" if chain.touched.because else ""
    rule.check(f"an instruction on it gives {answer}{because}", chain.touched.outcome is None)
    return rule.ok()
