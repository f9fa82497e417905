"""The state of a simulated machine in words, by name; what an event changed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.machine.outcome import Evidence
from inspector.machine.world import WorldStep

if TYPE_CHECKING:
    from inspector.machine.arm64.world.state import MachineState
    from inspector.machine.x86.world.state import ProcessState, Use, VcpuState, WorldState

_USES: dict[Use, str] = {
    "no": "not in use",
    "initial": "in use with initial contents; that is normal, for a write of any value puts a component in use",
    "yes": "in use",
}


def words_of(state: WorldState | MachineState) -> dict[str, str]:
    """A state by name, in words."""
    if state.architecture == "arm64":
        from inspector.export.machine_state_arm64 import words_of_machine

        return words_of_machine(state)
    return _words_of_x86(state)


def _words_of_x86(state: WorldState) -> dict[str, str]:
    process = state.process
    found = _process_words("", process)
    found["guest permission"] = f"{process.guest_permission:#x}{' locked' if process.is_locked else ''}"
    for task in process.tasks:
        found[f"thread {task.number} state in use"] = _use_words(task.in_use, task.changed)
    for cpu in state.cpus:
        if cpu.has_xfd:
            found[f"CPU {cpu.number} XFD"] = f"{cpu.xfd:#x}, cached {cpu.cached_xfd:#x}"
            found[f"CPU {cpu.number} XFD_ERR"] = f"{cpu.xfd_err:#x}"
    for vcpu in state.vcpus:
        found |= _vcpu_words(f"vCPU {vcpu.number}", vcpu)
    if state.guest is not None:
        found |= _process_words("guest's Linux: ", state.guest.process)
        for number, cached in state.guest.cached_xfd:
            found[f"guest's Linux: CPU {number} cached XFD"] = f"{cached:#x}"
    return found


def _process_words(prefix: str, process: ProcessState) -> dict[str, str]:
    found = {f"{prefix}permission": f"{process.permission:#x}"}
    for task in process.tasks:
        found[f"{prefix}thread {task.number} buffer"] = f"{task.buffer_size_bytes} bytes, XFD {task.xfd:#x}"
    return found


def _vcpu_words(label: str, vcpu: VcpuState) -> dict[str, str]:
    found = {
        f"{label} XCR0": f"{vcpu.xcr0:#x}",
        f"{label} XSS": f"{vcpu.xss:#x}",
        f"{label} XFD": f"{vcpu.xfd:#x}{' passed through' if vcpu.passes_xfd else ''}",
        f"{label} XFD_ERR": f"{vcpu.xfd_err:#x}",
        f"{label} XINUSE": _use_words(vcpu.in_use, vcpu.changed),
        f"{label} XSTATE_BV": f"{vcpu.saved:#x}",
        f"{label} supported XCR0": f"{vcpu.supported:#x}",
        f"{label} registers": "in the processor" if vcpu.in_processor else "in memory",
        f"{label} buffer": f"{vcpu.buffer_size_bytes} bytes",
        f"{label} state size": f"{vcpu.user_size_bytes} bytes",
        f"{label} exits on": ", ".join(vcpu.exits_on) or "nothing of XFD",
    }
    if vcpu.is_proposal:
        found[f"{label} fpstate->in_use"] = f"{vcpu.exit_in_use:#x}"
        found[f"{label} asks for a buffer"] = "yes" if vcpu.wants_buffer else "no"
    return found


def _use_words(in_use: int, changed: int) -> str:
    """XINUSE, and which components of it have initial contents all the same."""
    initial = in_use & ~changed
    return f"{in_use:#x}{f' ({initial:#x} with initial contents)' if initial else ''}"


def use_sentence(component: int, use: Use, evidence: Evidence) -> str:
    """How a component is used, as a sentence; ``evidence`` is the processor's."""
    sentence = f"XINUSE[{component}] is {int(use != 'no')}: {_USES[use]}"
    return f"{sentence}; not measured on AMD, as on Intel" if evidence == "unmeasured" else sentence


def changes_of(step: WorldStep[Any]) -> dict[str, tuple[str, str]]:
    """What an event changed, as name -> (before, after)."""
    before, after = words_of(step.before), words_of(step.after)
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: (before.get(name, "-"), after.get(name, "-")) for name in names if before.get(name) != after.get(name)
    }
