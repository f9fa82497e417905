"""One recorded program: a process with handlers for its signals, the steps it does, what each answers."""

from __future__ import annotations

import copy
import errno
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from inspector.machine.outcome import MemoryFaultError, Outcome
from inspector.machine.x86.cpu.instructions import control, xsave
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Process, Thread
from inspector.machine.x86.replay.programs import addresses, digest
from inspector.machine.x86.replay.programs.frames import Handler
from inspector.machine.x86.replay.programs.instructions import DIGESTED, INSTRUCTIONS, READS, SHOWN
from layouts.x86.xsave import PKRU

ProgramStep = list[Any]
_CPUS = 4
_GETS = (0x1022, 0x1024)
#: RFBM of xrstor_zero where the step does not say it: what is permitted to everybody in group ``instruction``.
_ZERO, _ZERO_IN_MISC = "602e7", "2e7"
_UNTOUCHED = 0xDEAD
_ALL_BITS = 0xFFFFFFFFFFFFFFFF


class _Waiting(NamedTuple):
    """Who goes on when a child or thread is done, with its memory."""

    process: Process
    thread: Thread
    cpu: int
    memory: Memory


class Program:
    """A fresh process on a fresh host."""

    def __init__(self, host: Host, group: str = "") -> None:
        self.group = group
        self.linux = Linux(host)
        self.process = self.linux.spawn()
        self.thread = self.process.leader
        self.cpu_number = 0
        self.memory = addresses.new_memory()
        on_stack = signal.SIGILL if group == "altstack-sigill" else signal.SIGUSR1
        self.handler = Handler(self.linux, on_stack)
        self._waiting: list[_Waiting] = []
        self._system: dict[str, Callable[[ProgramStep], object]] = {
            "start": self._start,
            "arch_prctl": self._arch_prctl,
            "arch_prctl_get": self._arch_prctl_get,
            "arch_prctl_ptr": self._arch_prctl_ptr,
            "sigaltstack": self._sigaltstack,
            "raise": self._raise,
            "dig": self._dig,
            "img": lambda _: digest.digest(self.memory.read(addresses.IMAGE, 16384), everything=True),
            "frame": lambda _: digest.digest(self.handler.frame, everything=True),
            "frame_tilecfg": lambda _: self.handler.frame[2752:2816].hex(),
            "sched_yield": self._nothing,
            "spin": self._nothing,
            "stop": self._nothing,
            "nanosleep": self._sleep,
            "migrate": self._migrate,
            "other_process": self._other_process,
            "fork_continue_in_child": self._fork,
            "child": self._child,
            "endchild": self._end,
            "thread": self._new_thread,
            "endthread": self._end,
            "exec": self._exec,
        }

    @property
    def cpu(self) -> Cpu:
        """The CPU where the program runs."""
        return self.linux.cpu(self.cpu_number)

    @property
    def processor(self) -> Processor:
        """The bare processor of that CPU."""
        machine = self.cpu.machine
        assert isinstance(machine, Processor)
        return machine

    def xinuse(self) -> int:
        """XGETBV(1), executed now."""
        self.linux.to_user(self.cpu, self.thread)
        return self.processor.execute(lambda cpu: control.xgetbv(cpu, 1), user=True).value

    def step(self, step: ProgramStep) -> list[object]:
        """What a step answers, and XINUSE after it. Raises KeyError for a step that is none."""
        name = step[0]
        if name in self._system:
            result = self._system[name](step)
        elif name in SHOWN:
            result = self.memory.read(*SHOWN[name]).hex()
        elif name in DIGESTED:
            address, size = DIGESTED[name]
            result = digest.region(self.memory.read(address, step[1] if name == "stored" else size))
        else:
            result = self._instruction(name, step)
        return [result, f"{self.xinuse():x}"]

    def preempted(self) -> None:
        """Another task had the CPU: nothing changes but PKRU, which is written when the program goes on."""
        self.linux.kernel_thread(self.cpu)

    @property
    def shows_preemption(self) -> bool:
        """PKRU is 0 and initial: an interrupt that switches tasks puts it in use."""
        return not self.processor.registers.in_use >> PKRU & 1

    def _instruction(self, name: str, step: ProgramStep) -> object:
        words = step[1:-2]
        if name == "xrstor_zero" and not words:
            words = [_ZERO_IN_MISC if self.group.startswith("instruction") else _ZERO]
        if self.group == "xsaveopt-modified" and name == "xsaveopt":
            # Recorded into a buffer that was filled after XRSTOR from it.
            words = [*words, "cc", "0", "0"]
        instruction = INSTRUCTIONS[name](self.memory, words)
        outcome = self.linux.run(self.cpu, self.thread, instruction)
        if outcome.verdict == "signal":
            return self.handler.fault(self.cpu, self.thread, outcome)
        return f"{outcome.value:x}" if name in READS else 0

    def _nothing(self, _: ProgramStep) -> int:
        return 0

    def _start(self, _: ProgramStep) -> str:
        return f"{self.xinuse():x}"

    def _dig(self, _: ProgramStep) -> object:
        self.linux.to_user(self.cpu, self.thread)
        outcome = self.processor.execute(
            lambda cpu: xsave.xsave(cpu, "xsavec", bytes(addresses.IMAGE_SIZE_BYTES), _ALL_BITS), user=True
        )
        return digest.digest(outcome.image, everything=False)

    # System calls

    def _operation(self, operation: int, argument: int) -> Outcome | None:
        process = self.process
        if operation == 0x1021:
            return process.get_supported()
        if operation in _GETS:
            return process.get_permission(guest=operation == 0x1024)
        if operation in (0x1023, 0x1025):
            return process.request_permission(argument, guest=operation == 0x1025)
        return None

    def _arch_prctl(self, step: ProgramStep) -> int:
        operation, argument = int(step[1], 16), step[2] & _ALL_BITS
        outcome = self._operation(operation, argument)
        if outcome is None:
            return -errno.EINVAL
        if operation in (0x1021, *_GETS):
            return -errno.EFAULT
        return -outcome.code

    def _arch_prctl_get(self, step: ProgramStep) -> list[object]:
        outcome = self._operation(int(step[1], 16), 0)
        if outcome is None or not outcome.accepted:
            return [-(outcome.code if outcome is not None else errno.EINVAL), f"{_UNTOUCHED:x}"]
        return [0, f"{outcome.value:x}"]

    def _arch_prctl_ptr(self, step: ProgramStep) -> int:
        if self._operation(int(step[1], 16), 0) is None:
            return -errno.EINVAL
        try:
            self.memory.write(int(step[2], 16), bytes(8))
        except MemoryFaultError:
            return -errno.EFAULT
        return 0

    def _sigaltstack(self, step: ProgramStep) -> int:
        return -self.process.sigaltstack(step[1], self.thread, step[2]).code

    def _raise(self, step: ProgramStep) -> object:
        return self.handler.raised(self.cpu, self.thread, step[1], step[2])

    # Tasks

    def _sleep(self, _: ProgramStep) -> int:
        self.linux.kernel_thread(self.cpu)
        return 0

    def _migrate(self, step: ProgramStep) -> int:
        self.cpu_number = step[1] % _CPUS
        return 0

    def _other_process(self, _: ProgramStep) -> int:
        child = self.linux.fork(self.cpu, self.thread).leader
        image = digest.good_image(0, 0x2E7)
        self.linux.run(self.cpu, child, lambda cpu: xsave.xrstor(cpu, "xrstor", image, 0xE7))
        self.linux.schedule(self.cpu, self.thread)
        return 0

    def _fork(self, _: ProgramStep) -> int:
        self.process = self.linux.fork(self.cpu, self.thread)
        self.thread = self.process.leader
        return 0

    def _child(self, step: ProgramStep) -> int:
        self._waiting.append(_Waiting(self.process, self.thread, self.cpu_number, copy.deepcopy(self.memory)))
        return self._fork(step)

    def _new_thread(self, _: ProgramStep) -> int:
        self._waiting.append(_Waiting(self.process, self.thread, self.cpu_number, self.memory))
        self.thread = self.linux.clone(self.cpu, self.thread)
        return 0

    def _end(self, _: ProgramStep) -> int:
        """The child or thread is gone; who waited goes on."""
        gone = self.thread
        self.process, self.thread, self.cpu_number, self.memory = self._waiting.pop()
        if gone in self.process.threads:
            self.process.threads.remove(gone)
        return 0

    def _exec(self, _: ProgramStep) -> str:
        self.linux.exec(self.cpu, self.thread)
        self.memory = addresses.new_memory()
        self.handler = Handler(self.linux, self.handler.on_stack)
        return f"{self.xinuse():x}"
