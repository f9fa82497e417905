"""The component matrix: what each XSAVE component is at every level, and what touching it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspector.decode.placement import Place, standard_places
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.instructions import tiles, vectors
from inspector.machine.x86.cpu.processor import Instruction, Processor
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.tdx import TdGuest
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.process import Thread
from inspector.machine.x86.world.state import Use, WorldState, live, xfd_of
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import BY_NUMBER, LEGACY_COMPONENTS, PKRU, TILEDATA, XTILE

_DATA = bytes(64)


def _stored(cpu: Processor) -> Outcome:
    """TILESTORED as a program does it: tiles configured, which XFD does not stop; else #UD comes before #NM."""
    configured = tiles.ldtilecfg(cpu) if cpu.xfd else None
    return tiles.tilestored(cpu, 0) if configured is None or configured.accepted else configured


#: An instruction that uses the component and little else; x87 needs nothing.
_TOUCH: dict[str, Instruction] = {
    "FNOP": lambda cpu: Rule("Intel SDM vol. 2, FNOP", cpu.host.evidence).ok(),
    "MOVDQU": lambda cpu: vectors.movdqu(cpu, 0, _DATA),
    "VMOVDQU": lambda cpu: vectors.vmovdqu(cpu, 0, _DATA),
    "KMOVQ": lambda cpu: vectors.kmovq(cpu, 0, 0),
    "VMOVDQU64 ZMM0": lambda cpu: vectors.vmovdqu64(cpu, 0, _DATA),
    "VMOVDQU64 ZMM16": lambda cpu: vectors.vmovdqu64(cpu, 16, _DATA),
    "RDPKRU": vectors.rdpkru,
    "INCSSP": lambda cpu: vectors.incssp(cpu, 0),
    "STTILECFG": tiles.sttilecfg,
    "TILESTORED": _stored,
}
_NONE = "-"
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
    places = {place.component: place for place in standard_places(host.table, host.cpu_xcr0 | 3, 1 << 16)}
    rows = []
    shown = host.cpu_xcr0 | 3 | host.supervisor
    for number in range(64):
        if not shown >> number & 1:
            continue
        offset, size_bytes = _place(places, number)
        rows.append(
            ComponentRow(
                number=number,
                name=_name(number),
                supervisor=bool(host.supervisor >> number & 1),
                kernel=bool(host.kernel_max >> number & 1),
                permission=bool((state.process.permission | host.supervisor) >> number & 1),
                guest_permission=bool((state.process.guest_permission | host.supervisor) >> number & 1),
                cpuid=_bit(of_vcpu and of_vcpu.allowed | 1, number),
                xcr0=_bit(of_vcpu and of_vcpu.enabled, number),
                xfd=_bit(of_vcpu and of_vcpu.xfd, number),
                use=of_vcpu.use(number) if of_vcpu is not None else None,
                saved=_bit(of_vcpu and of_vcpu.saved, number),
                room=_bit(of_vcpu and of_vcpu.room, number),
                task_permission=_bit(_task_permission(state), number),
                task_room=_bit(state.guest and state.guest.room, number),
                process=_touch(_process_processor(world), number, _thread_may(world.process.leader, number)),
                guest=_touch(_guest_processor(vm, vcpu), number),
                task=_touch_task(vm, vcpu, number),
                offset=offset,
                size_bytes=size_bytes,
            )
        )
    return rows


def _name(number: int) -> str:
    return BY_NUMBER[number].name if number in BY_NUMBER else "?"


def _place(places: dict[int, Place], number: int) -> tuple[int, int]:
    """Offset and size in a standard image; a supervisor component's offset is 0."""
    if number in places:
        return places[number].offset, places[number].size_bytes
    if number in LEGACY_COMPONENTS:
        return LEGACY_COMPONENTS[number]
    return 0, BY_NUMBER[number].size_bytes if number in BY_NUMBER else 0


def _bit(mask: int | None, number: int) -> Bit:
    """A component's bit of a mask; None where there is no mask yet."""
    return None if mask is None else bool(mask >> number & 1)


def _task_permission(state: WorldState) -> int | None:
    return state.guest and state.guest.process.permission | state.guest.supervisor


# What touching gives: the very instruction, on a processor with the state of whoever touches


def _with(host: Host, xcr0: int, xfd: int, registers: Registers) -> Processor:
    processor = Processor(host)
    processor.xcr0, processor.xfd, processor.registers = xcr0, xfd, registers.copy()
    processor.cr4_pke = bool(xcr0 >> PKRU & 1)
    return processor


def _process_processor(world: World) -> Processor:
    thread = world.process.leader
    own = thread.task_fpstate or thread.fpstate
    registers = own.registers(world.host) if thread.task_fpstate else world.host_linux.registers(thread)
    return _with(world.host, world.host.user_max, own.xfd, registers)


def _guest_processor(vm: Vm | None, vcpu: Vcpu | None) -> Processor | None:
    if vm is None or vcpu is None or not vcpu.cr4_osxsave:
        return None
    processor = live(vcpu)
    guest = vm.guests[vcpu.number]
    if isinstance(guest, TdGuest):
        state = processor if processor is not None and vcpu.in_guest else guest.state
        return _with(vcpu.host, state.xcr0, state.xfd, state.registers)
    registers = processor.registers if processor is not None else vcpu.fpstate.registers(vcpu.host)
    return _with(vcpu.host, vcpu.xcr0, xfd_of(vcpu), registers)


def _touched(processor: Processor | None, number: int, *, user: bool = False) -> Outcome | None:
    """What the instruction comes to on the processor."""
    component = BY_NUMBER.get(number)
    instruction = _TOUCH.get(component.touch) if component is not None else None
    return processor.execute(instruction, user=user) if processor is not None and instruction is not None else None


def _touch(processor: Processor | None, number: int, allows: Callable[[], bool] | None = None) -> str:
    """The verdict of the instruction; ``allows`` makes it a program's, whose kernel handles the exception."""
    outcome = _touched(processor, number, user=allows is not None)
    if outcome is None:
        return _NONE
    if allows is None or outcome.verdict != "exception":
        return outcome.name
    if outcome.name == "#NM":
        return "grows" if allows() else "SIGILL"
    return "SIGILL" if outcome.name == "#UD" else "SIGSEGV"


def _thread_may(thread: Thread, number: int) -> Callable[[], bool]:
    return lambda: bool(thread.process.perm >> number & 1)


def _touch_task(vm: Vm | None, vcpu: Vcpu | None, number: int) -> str:
    if vm is None or vm.guest_process is None:
        return _NONE
    return _touch(_task_processor(vm, vcpu), number, _thread_may(vm.guest_process.leader, number))


def _task_processor(vm: Vm, vcpu: Vcpu | None) -> Processor | None:
    """The guest's processor while its program runs."""
    if vcpu is None or vm.linux is None or vm.guest_process is None:
        return None
    processor = _guest_processor(vm, vcpu)
    if processor is not None:
        processor.xfd = _task_xfd(vm, vcpu)
    return processor


def _task_xfd(vm: Vm, vcpu: Vcpu) -> int:
    """XFD while the guest's program runs: its kernel writes it only if its cache says so."""
    assert vm.linux is not None
    assert vm.guest_process is not None
    leader = vm.guest_process.leader
    cpu = leader.cpu or vm.linux.cpus.get(vcpu.number)
    if cpu is None:
        return leader.fpstate.xfd
    is_valid = leader.loaded or cpu.owner is leader.fpstate or cpu.xfd_state == leader.fpstate.xfd
    return _xfd_now(vm, vm.vcpus[cpu.number]) if is_valid else leader.fpstate.xfd


def _xfd_now(vm: Vm, vcpu: Vcpu) -> int:
    guest = vm.guests[vcpu.number]
    return guest.state.xfd if isinstance(guest, TdGuest) and not vcpu.in_guest else xfd_of(vcpu)


# Why: the way from the host's CPU to the guest's program, the first step that fails decides


def walk(world: World, number: int) -> Outcome:
    """What has to hold for a guest's program to use a component, in the order in which it comes about.

    The verdict is ``blocked`` where something does not.
    """
    vm, vcpu = world.vm, world.vcpu
    state = world.state()
    steps = _steps_to_vcpu(world, state, number)
    of_vcpu = state.vcpus[0] if state.vcpus else None
    if state.guest is not None:
        steps.append(
            (
                "the program asked the guest's kernel for permission (ARCH_REQ_XCOMP_PERM)",
                _bit(_task_permission(state), number),
            )
        )
        assert vm is not None
        touched = _touched(_task_processor(vm, vcpu), number, user=True)
        answer = _touch_task(vm, vcpu, number)
        room = _bit(state.guest.room, number)
    else:
        steps.append((f"the guest's XFD[{number}] is 0", not (of_vcpu and of_vcpu.xfd >> number & 1)))
        touched = _touched(_guest_processor(vm, vcpu), number)
        answer = _touch(_guest_processor(vm, vcpu), number)
        room = _bit(of_vcpu and of_vcpu.room, number)
    return _walked([(text, bool(held)) for text, held in steps], answer, touched, has_room=room is not False)


def _steps_to_vcpu(world: World, state: WorldState, number: int) -> list[tuple[str, Bit]]:
    """From the host's CPU to the guest's XCR0."""
    host = world.host
    vcpu = state.vcpus[0] if state.vcpus else None
    name = BY_NUMBER[number].name if number in BY_NUMBER else str(number)
    permission = state.process.guest_permission | host.supervisor
    steps = [
        (f"the host's CPU has {name} (CPUID leaf 0xD)", _bit(host.cpu_xcr0 | host.cpu_xss, number)),
        ("the host's Linux uses it", _bit(host.kernel_max, number)),
        (
            "the VMM's process may give it to guests (ARCH_REQ_XCOMP_GUEST_PERM, before the first vCPU)",
            _bit(permission, number),
        ),
        ("there is a vCPU", vcpu is not None),
        ("the vCPU's CPUID has it (KVM_SET_CPUID2)", _bit(vcpu and vcpu.allowed | 1, number)),
        ("the vCPU's buffer has room for it", _bit(vcpu and vcpu.room, number)),
        ("the guest's kernel set its bit of XCR0 or XSS", _bit(vcpu and vcpu.enabled, number)),
    ]
    if number == TILEDATA:
        has_both = vcpu is not None and vcpu.xcr0 & XTILE == XTILE
        steps.append(("tiles come with their configuration: XCR0[18:17] = 11", has_both))
    return steps


def _walked(steps: list[tuple[str, bool]], answer: str, touched: Outcome | None, *, has_room: bool) -> Outcome:
    """The first step that fails is the reason, unless the instruction works all the same: then all are told."""
    rule = Rule("Linux, Documentation/arch/x86/xstate.rst; Intel SDM vol. 1, 13.14")
    if answer in ("ok", "grows"):
        for text, held in steps:
            rule.check(text if held else f"not in the way now: {text}", held)
        rule.check(f"an instruction on it gives {answer}", True)
        if answer == "ok" and not has_room:
            rule.check("the buffer has room for it; without, the next context switch loses it", False)
        return rule.ok()
    for text, held in steps:
        if not rule.check(text, held):
            return rule.blocked()
    because = f": {touched.because}" if touched is not None and not touched.accepted else ""
    rule.check(f"an instruction on it gives {answer}{because}", answer == _NONE)
    return rule.ok()
