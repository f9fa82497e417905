"""The state of a world as numbers: the host's process and CPUs, the vCPUs, the Linux in the guest.

Masks have a bit a component; sizes are in bytes. Views make words of them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Process
from layouts.x86.xsave import PKRU

#: How a component is used: not at all, in use with contents that are initial, in use.
Use = Literal["no", "initial", "yes"]


class TaskState(NamedTuple):
    """A thread: its own buffer's size, ``room`` and XFD, and XINUSE (XSTATE_BV where it is in memory).

    ``changed`` are the components of XINUSE whose contents are not initial.
    """

    number: int
    buffer_size_bytes: int
    room: int
    xfd: int
    in_use: int
    changed: int


class ProcessState(NamedTuple):
    """What a process and its guests may use, and its threads. ``is_locked``: its guests' permission is final."""

    permission: int
    guest_permission: int
    is_locked: bool
    tasks: tuple[TaskState, ...]


class CpuState(NamedTuple):
    """A CPU of a Linux: its XFD and XFD_ERR, and the XFD that the kernel takes it to have."""

    number: int
    has_xfd: bool
    xfd: int
    cached_xfd: int
    xfd_err: int


class VcpuState(NamedTuple):
    """A vCPU.

    ``xcr0`` is KVM's, ``enabled`` the XCR0 and XSS in force; ``supported`` what the guest's CPUID lets XCR0 have,
    ``allowed`` that and XSS, a TD's XFAM. ``in_use`` is XINUSE, which hangs neither on a mask of components nor
    on what they contain; ``changed`` are those of it whose contents are not initial. ``saved`` is the buffer's
    XSTATE_BV, ``room`` what the buffer can hold. ``exit_in_use`` and ``wants_buffer`` are the proposal's.
    """

    number: int
    xcr0: int
    xss: int
    xfd: int
    xfd_err: int
    passes_xfd: bool
    supported: int
    allowed: int
    enabled: int
    in_processor: bool
    in_use: int
    changed: int
    saved: int
    room: int
    buffer_size_bytes: int
    user_size_bytes: int
    exits_on: tuple[str, ...]
    is_proposal: bool
    exit_in_use: int
    wants_buffer: bool

    def use(self, component: int) -> Use:
        """XINUSE of a component, told apart from what it contains."""
        if not self.in_use >> component & 1:
            return "no"
        return "yes" if self.changed >> component & 1 else "initial"


class GuestState(NamedTuple):
    """The Linux in the guest: its process, and the XFD that it takes each of its CPUs to have."""

    process: ProcessState
    supervisor: int
    cached_xfd: tuple[tuple[int, int], ...]


class WorldState(NamedTuple):
    """Host, vCPUs, and the guest's Linux where there is one."""

    process: ProcessState
    cpus: tuple[CpuState, ...]
    vcpus: tuple[VcpuState, ...]
    guest: GuestState | None
    architecture: Literal["x86"] = "x86"


def world_state_of(linux: Linux, process: Process, vm: Vm | None) -> WorldState:
    """What is worth a look."""
    return WorldState(
        _process_state(linux, process),
        tuple(_cpu_state(cpu) for cpu in linux.cpus.values()),
        tuple(vcpu_state_of(found.vcpu) for found in vm.guests) if vm is not None else (),
        _guest_state(vm) if vm is not None else None,
    )


def _process_state(linux: Linux, process: Process) -> ProcessState:
    tasks = []
    for thread in process.threads:
        own = thread.task_fpstate or thread.fpstate
        in_registers = thread.loaded and thread.task_fpstate is None and linux.level == "host"
        registers = linux.registers(thread) if in_registers else own.registers(linux.host)
        # In KVM_RUN the register may be the guest's.
        changed = registers.changed if thread.task_fpstate is not None else _changed(registers, linux.pkru(thread))
        tasks.append(
            TaskState(
                thread.number, own.size_bytes, own.xfeatures, own.xfd, registers.in_use, registers.in_use & changed
            )
        )
    return ProcessState(process.perm, process.guest_perm, process.guest_perm_locked, tuple(tasks))


def _cpu_state(cpu: Cpu) -> CpuState:
    machine = cpu.machine
    assert isinstance(machine, Processor)
    return CpuState(cpu.number, machine.host.has_xfd, machine.xfd, cpu.xfd_state, machine.xfd_err)


def vcpu_state_of(vcpu: Vcpu) -> VcpuState:
    """A vCPU's state, in the processor or in memory."""
    processor, fpstate = live(vcpu), vcpu.fpstate
    registers = processor.registers if processor is not None else fpstate.registers(vcpu.host)
    xcr0 = processor.xcr0 if vcpu.in_guest and processor is not None else vcpu.xcr0
    return VcpuState(
        number=vcpu.number,
        xcr0=vcpu.xcr0,
        xss=vcpu.xss,
        xfd=xfd_of(vcpu),
        xfd_err=vcpu.xfd_err,
        passes_xfd=vcpu.passthrough,
        supported=vcpu.guest_xcr0,
        allowed=vcpu.xfam or vcpu.guest_xcr0 | vcpu.guest_xss,
        enabled=xcr0 | vcpu.xss,
        in_processor=processor is not None,
        in_use=registers.in_use,
        changed=registers.in_use & (registers.changed if vcpu.in_guest else _changed(registers, vcpu.pkru)),
        saved=fpstate.xstate_bv,
        room=fpstate.xfeatures,
        buffer_size_bytes=fpstate.size_bytes,
        user_size_bytes=vcpu.uabi_size_bytes,
        exits_on=vcpu.intercepts.exits_on(vcpu),
        is_proposal=vcpu.policy.is_proposal,
        exit_in_use=fpstate.xinuse,
        wants_buffer=vcpu.wants_buffer,
    )


def _changed(registers: Registers, pkru: int) -> int:
    """Components whose contents are not initial; PKRU is kept apart from the other registers."""
    return registers.changed & ~(1 << PKRU) | bool(pkru) << PKRU


def _guest_state(vm: Vm) -> GuestState | None:
    if vm.linux is None or vm.guest_process is None:
        return None
    cached = tuple((cpu.number, cpu.xfd_state) for cpu in vm.linux.cpus.values())
    return GuestState(_process_state(vm.linux, vm.guest_process), vm.linux.host.supervisor, cached)


def live(vcpu: Vcpu) -> Processor | None:
    """The processor that holds the vCPU's registers now, or None when they are in memory."""
    thread = vcpu.thread
    machine = thread.cpu.machine if thread.cpu is not None else None
    loaded = vcpu.in_run and thread.loaded and thread.fpstate is vcpu.fpstate
    return machine if loaded and isinstance(machine, Processor) else None


def xfd_of(vcpu: Vcpu) -> int:
    """The guest's XFD: the processor's while the guest runs, else what KVM keeps; that too while XFD is virtual."""
    processor = live(vcpu)
    is_native = vcpu.in_guest and not vcpu.fpstate.is_virtual_xfd
    return processor.xfd if is_native and processor is not None else vcpu.xfd
