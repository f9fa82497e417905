"""What happens to a Linux and its processes: on the host, and with ``guest`` before it in the guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspector.machine.events import Words, number, word
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.images import with_xstate_bv
from inspector.machine.x86.linux import signals
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Process, Thread
from inspector.machine.x86.world.events import instructions


class Level:
    """Where an event happens: a kernel, one of its CPUs, the process and thread that act.

    ``memory`` is what the program saved last with one of the XSAVE instructions.
    """

    def __init__(self, linux: Linux, process: Process, cpu: Cpu, thread: Thread, memory: bytes) -> None:
        self.linux = linux
        self.process = process
        self.cpu = cpu
        self.thread = thread
        self.memory = memory

    def enter(self) -> Outcome | None:
        """The thread runs on the CPU, in user space, before it asks for anything."""
        if self.thread.task_fpstate is not None:
            raise ValueError(f"thread {self.thread.name} is inside KVM_RUN; return comes first")
        return self.linux.to_user(self.cpu, self.thread)


class _Prctl(NamedTuple):
    guest: bool
    request: bool


_PRCTLS = {
    "GET_XCOMP_PERM": _Prctl(guest=False, request=False),
    "GET_XCOMP_GUEST_PERM": _Prctl(guest=True, request=False),
    "REQ_XCOMP_PERM": _Prctl(guest=False, request=True),
    "REQ_XCOMP_GUEST_PERM": _Prctl(guest=True, request=True),
}


def _arch_prctl(level: Level, words: Words) -> Outcome:
    name = word(words, 0, "an operation").removeprefix("ARCH_")
    if name == "GET_XCOMP_SUPP":
        return level.process.get_supported()
    if name not in _PRCTLS:
        raise ValueError(f"no operation {words[0]}; there are GET_XCOMP_SUPP, {', '.join(_PRCTLS)}")
    what = _PRCTLS[name]
    if what.request:
        return level.process.request_permission(number(word(words, 1, "a component")), guest=what.guest)
    return level.process.get_permission(guest=what.guest)


def _sigaltstack(level: Level, words: Words) -> Outcome:
    return level.process.sigaltstack(number(word(words, 0, "a size")), level.thread)


def _clone(level: Level, _: Words) -> Outcome:
    child = level.linux.clone(level.cpu, level.thread)
    return Rule("fpu_clone (fpu/core.c)").ok(child.number)


def _fork(level: Level, _: Words) -> Outcome:
    """What follows happens in the child."""
    level.process = level.linux.fork(level.cpu, level.thread)
    return Rule("fpu_clone, fpu_inherit_perms (fpu/core.c)").ok()


def _exec(level: Level, _: Words) -> Outcome:
    level.linux.exec(level.cpu, level.thread)
    return Rule("fpu_flush_thread, fpstate_reset (fpu/core.c)").ok()


def _process(level: Level, words: Words) -> Outcome:
    """An instruction of the program."""
    instruction = instructions.native_control(words) or instructions.parse(words, level.memory)
    outcome = level.linux.run(level.cpu, level.thread, instruction)
    if outcome.accepted and words[0].startswith("xsave"):
        level.memory = outcome.image
    return outcome


def _schedule(_level: Level, _: Words) -> Outcome:
    """The thread gets the CPU and returns to user space (switch_fpu, fpregs_restore_userregs)."""
    return Rule("switch_fpu (fpu/sched.h), fpregs_restore_userregs (fpu/context.h)").ok()


def _kernel_thread(level: Level, _: Words) -> Outcome:
    """A kernel thread runs on the CPU, then the thread again: nothing is loaded, XFD is not written."""
    level.linux.kernel_thread(level.cpu)
    level.linux.to_user(level.cpu, level.thread)
    return Rule("switch_fpu (fpu/sched.h), fpregs_state_valid (fpu/context.h)").ok()


def _signal(level: Level, _: Words) -> Outcome:
    return signals.deliver(level.linux, level.cpu, level.thread)


def _sigreturn(level: Level, _: Words) -> Outcome:
    return signals.sigreturn(level.linux, level.cpu, level.thread)


def _core(level: Level, _: Words) -> Outcome:
    return signals.core_note(level.linux, level.thread)


def _setregset(level: Level, words: Words) -> Outcome:
    """The thread's own image, with another XSTATE_BV, cut to a size."""
    image = signals.core_note(level.linux, level.thread).image
    if words:
        image = with_xstate_bv(image, number(words[0]))
    if len(words) > 1:
        image = image[: number(words[1])]
    return signals.set_regset(level.linux, level.thread, image)


def _fail_allocation(level: Level, _: Words) -> Outcome:
    level.process.allocation_fails = True
    return Rule("injected", "assumed").ok()


LINUX_EVENTS: dict[str, Callable[[Level, Words], Outcome]] = {
    "arch_prctl": _arch_prctl,
    "sigaltstack": _sigaltstack,
    "clone": _clone,
    "fork": _fork,
    "exec": _exec,
    "process": _process,
    "schedule": _schedule,
    "kernel_thread": _kernel_thread,
    "signal": _signal,
    "sigreturn": _sigreturn,
    "core": _core,
    "PTRACE_GETREGSET": _core,
    "PTRACE_SETREGSET": _setregset,
    "fail_allocation": _fail_allocation,
}
#: Events that need no thread in user space.
_FROM_OUTSIDE = ("fail_allocation",)


def happen(level: Level, words: Words) -> Outcome:
    """Let an event happen to a kernel. Raises ValueError and IndexError for words that are none."""
    if words[0] not in _FROM_OUTSIDE:
        wrong = level.enter()
        if wrong is not None:
            return wrong
    return LINUX_EVENTS[words[0]](level, words[1:])
