"""What touching an XSAVE component gives: the very instruction, on a processor with the state of whoever touches."""

from __future__ import annotations

from typing import NamedTuple

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.instructions import tiles, vectors
from inspector.machine.x86.cpu.processor import Instruction, Processor
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.tdx import TdGuest
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.process import Thread
from inspector.machine.x86.world.state import live, xfd_of
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import BY_NUMBER, PKRU

_DATA = bytes(64)


def _stored(cpu: Processor) -> Outcome:
    """TILESTORED as a program does it: tiles configured, which XFD does not stop; else #UD comes before #NM."""
    if cpu.xfd:
        tiles.ldtilecfg(cpu)
    return tiles.tilestored(cpu, 0)


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


class Touched(NamedTuple):
    """What an instruction on a component gives: ``word`` is how it ends for whoever touches, a signal for a program.

    ``grows`` is #NM upon which the kernel gives the program a larger buffer. ``outcome`` is the processor's answer,
    None where nobody is there who could touch.
    """

    word: str
    outcome: Outcome | None

    @property
    def works(self) -> bool:
        """The instruction is executed in the end."""
        return self.word in ("ok", "grows")

    @property
    def because(self) -> str:
        """Why not."""
        return self.outcome.because if self.outcome is not None and not self.outcome.accepted else ""


_NOBODY = Touched("-", None)


def process_touch(world: World, number: int) -> Touched:
    """What the host's process gets."""
    return _program(_process_processor(world), number, world.process.leader)


def guest_touch(vm: Vm | None, vcpu: Vcpu | None, number: int) -> Touched:
    """What the guest's kernel gets: the bare exception."""
    outcome = _outcome(_guest_processor(vm, vcpu), number, user=False)
    return Touched(outcome.name, outcome) if outcome is not None else _NOBODY


def task_touch(vm: Vm | None, vcpu: Vcpu | None, number: int) -> Touched:
    """What the guest's program gets."""
    if vm is None or vm.guest_process is None:
        return _NOBODY
    return _program(_task_processor(vm, vcpu), number, vm.guest_process.leader)


def _program(processor: Processor | None, number: int, thread: Thread) -> Touched:
    """A program's instruction, whose kernel handles the exception (exc_device_not_available, exc_invalid_op)."""
    outcome = _outcome(processor, number, user=True)
    if outcome is None:
        return _NOBODY
    if outcome.verdict != "exception":
        return Touched(outcome.name, outcome)
    # Else it is #UD, or #NM without permission.
    grows = outcome.name == "#NM" and thread.process.perm >> number & 1
    return Touched("grows" if grows else "SIGILL", outcome)


def _outcome(processor: Processor | None, number: int, *, user: bool) -> Outcome | None:
    """What the instruction comes to on the processor."""
    component = BY_NUMBER.get(number)
    instruction = _TOUCH.get(component.touch) if component is not None else None
    return processor.execute(instruction, user=user) if processor is not None and instruction is not None else None


# The processor as each of them finds it


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


def _task_processor(vm: Vm, vcpu: Vcpu | None) -> Processor | None:
    """The guest's processor while its program runs."""
    processor = _guest_processor(vm, vcpu)
    if vcpu is not None and processor is not None:
        processor.xfd = task_xfd(vm, vcpu)
    return processor


def task_xfd(vm: Vm, vcpu: Vcpu) -> int:
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
