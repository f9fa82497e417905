"""The state of a world: host, vCPUs, and the Linux in the guest, by name.

Numbers are taken after each event, and become words when somebody looks.
"""

from __future__ import annotations

from typing import Any

from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.kernel import Cpu, Linux
from inspector.machine.x86.linux.process import Process

Value = tuple[Any, ...]


def state_of(linux: Linux, process: Process, vm: Vm | None) -> Value:
    """What is worth a look, as numbers: the host's process and CPUs, the vCPUs, the guest's Linux."""
    guest: Value | None = None
    if vm is not None and vm.linux is not None and vm.guest_process is not None:
        cpus = tuple((cpu.number, cpu.xfd_state) for cpu in vm.linux.cpus.values())
        guest = (_process_state(vm.linux, vm.guest_process), cpus)
    return (
        _process_state(linux, process),
        tuple(_cpu_state(cpu) for cpu in linux.cpus.values()),
        tuple(_vcpu_state(found.vcpu) for found in vm.guests) if vm is not None else (),
        guest,
    )


def _process_state(linux: Linux, process: Process) -> Value:
    tasks = []
    for thread in process.threads:
        own = thread.task_fpstate or thread.fpstate
        in_registers = thread.loaded and thread.task_fpstate is None and linux.level == "host"
        in_use = linux.registers(thread).in_use if in_registers else own.xstate_bv
        tasks.append((thread.number, len(own.image), own.xfd, in_use))
    return (process.perm, process.guest_perm, process.guest_perm_locked, tasks)


def _cpu_state(cpu: Cpu) -> Value:
    machine = cpu.machine
    assert isinstance(machine, Processor)
    return (cpu.number, machine.host.has_xfd, machine.xfd, cpu.xfd_state, machine.xfd_err)


def _vcpu_state(vcpu: Vcpu) -> Value:
    processor = live(vcpu)
    xfd, fpstate = xfd_of(vcpu), vcpu.fpstate
    where = "in memory" if processor is None else "in the processor"
    size = vcpu.uabi_size_bytes
    return (
        vcpu.number, vcpu.xcr0, vcpu.xss, xfd, vcpu.passthrough, vcpu.xfd_err, fpstate.xstate_bv, vcpu.guest_xcr0,
        where, len(fpstate.image), size, vcpu.intercepts.exits_on(vcpu), vcpu.wants_buffer,
        (vcpu.policy.is_proposal, fpstate.xinuse),
    )  # fmt: skip


def words_of(state: Value) -> dict[str, str]:
    """A state by name, in words."""
    process, cpus, vcpus, guest = state
    found = _process_words("", process)
    _perm, guest_perm, locked, tasks = process
    found["guest permission"] = f"{guest_perm:#x}{' locked' if locked else ''}"
    for number, _size, _xfd, in_use in tasks:
        found[f"thread {number} state in use"] = f"{in_use:#x}"
    for number, has_xfd, xfd, cached, error in cpus:
        if has_xfd:
            found[f"CPU {number} XFD"] = f"{xfd:#x}, cached {cached:#x}"
            found[f"CPU {number} XFD_ERR"] = f"{error:#x}"
    for vcpu in vcpus:
        found |= _vcpu_words(f"vCPU {vcpu[0]}", vcpu)
    if guest is not None:
        found |= _process_words("guest's Linux: ", guest[0])
        for number, cached in guest[1]:
            found[f"guest's Linux: CPU {number} cached XFD"] = f"{cached:#x}"
    return found


def _process_words(prefix: str, process: Value) -> dict[str, str]:
    found = {f"{prefix}permission": f"{process[0]:#x}"}
    tasks = process[3]
    for number, size, xfd, _in_use in tasks:
        found[f"{prefix}thread {number} buffer"] = f"{size} bytes, XFD {xfd:#x}"
    return found


def _vcpu_words(label: str, vcpu: Value) -> dict[str, str]:
    _number, xcr0, xss, xfd, passthrough, xfd_err, bv, supported, where, room, size, exits_on, wants, proposal = vcpu
    is_proposal, xinuse = proposal
    own = {f"{label} fpstate->in_use": f"{xinuse:#x}", f"{label} asks for a buffer": "yes" if wants else "no"}
    return {
        f"{label} XCR0": f"{xcr0:#x}",
        f"{label} XSS": f"{xss:#x}",
        f"{label} XFD": f"{xfd:#x}{' passed through' if passthrough else ''}",
        f"{label} XFD_ERR": f"{xfd_err:#x}",
        f"{label} XSTATE_BV": f"{bv:#x}",
        f"{label} supported XCR0": f"{supported:#x}",
        f"{label} registers": where,
        f"{label} buffer": f"{room} bytes",
        f"{label} state size": f"{size} bytes",
        f"{label} exits on": ", ".join(exits_on) or "nothing of XFD",
    } | (own if is_proposal else {})


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
