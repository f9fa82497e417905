"""Linux on processors: context switches, XFD, the #NM handler, fork and exec.

The same code is the host's kernel, on processors, and the guest's, on vCPUs.
Source: Linux arch/x86/kernel/fpu/core.c, context.h, xstate.c; arch/x86/kernel/traps.c.
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.outcome import NM, Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR
from inspector.machine.x86.cpu.processor import Instruction, Processor
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux import exceptions
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.process import INITIAL_PKRU, Cpu, Machine, Process, Thread
from inspector.machine.x86.linux.trace import Trace
from layouts.x86 import call_chains
from layouts.x86.kernels import AROUND_SWITCH, AT_EXIT, POLICIES, Policy
from layouts.x86.xsave import DYNAMIC, PKRU

_INITIAL_PKRU = INITIAL_PKRU.to_bytes(8, "little")
_ILL_ILLOPC, _SI_KERNEL = 1, 0x80
_PASID = 1 << 10


class Linux:
    """A kernel. ``level`` is ``host`` or ``guest``; CPUs come up when they are first used."""

    def __init__(
        self,
        host: Host,
        machine: Callable[[int], Machine] | None = None,
        *,
        level: str = "host",
        trace: Trace | None = None,
        policy: Policy = POLICIES[0],
    ) -> None:
        self.host = host
        self.level = level
        self.policy = policy
        self.trace = trace or Trace()
        self.cpus: dict[int, Cpu] = {}
        self.processes: list[Process] = []
        self._machine = machine or self._bare_metal

    def _bare_metal(self, number: int) -> Machine:
        from inspector.machine.x86.cpu.bare_metal import BareMetal

        return BareMetal(self.host, number)

    def log(self, thread: Thread | None, text: str, calls: tuple[str, ...] = (), cpu: Cpu | None = None) -> None:
        """Say what is done, and by which functions."""
        where = cpu or (thread.cpu if thread is not None else None)
        task = thread.name if thread is not None else "boot"
        self.trace.add(self.level, where.number if where is not None else 0, task, text, calls)

    def cpu(self, number: int) -> Cpu:
        """A CPU, brought up if it is not."""
        if number not in self.cpus:
            self.bring_up(number)
        return self.cpus[number]

    def bring_up(self, number: int) -> Outcome:
        """Bring a CPU up: XFD for all dynamic components, then XCR0 with all that Linux knows.

        In this order, so that no task uses a component before it has room (fpu__init_cpu_xstate).
        """
        host = self.host
        cpu = self.cpus[number] = Cpu(self._machine(number))
        initial = host.default_xfd
        if host.uses_xfd:
            if self.level == "guest":
                self.log(None, f"XFD := {initial:#x}", call_chains.BOOT, cpu)
            outcome = cpu.machine.wrmsr(MSR_XFD, initial)
            if not outcome.accepted:
                return outcome
            cpu.xfd_state = cpu.eager_xfd = initial
        outcome = cpu.machine.xsetbv(host.user_max)
        if outcome.accepted and isinstance(cpu.machine, Processor):
            cpu.machine.xss = host.supervisor
            if host.user_max >> PKRU & 1:
                cpu.machine.registers.components[PKRU] = _INITIAL_PKRU
        return outcome

    def spawn(self) -> Process:
        """A new process with nothing asked for."""
        process = Process(self, len(self.processes) + 1)
        self.processes.append(process)
        return process

    # Registers

    def write_xfd(self, cpu: Cpu, value: int) -> Outcome | None:
        """xfd_update_state: WRMSR only if the cache differs."""
        if not self.host.default_xfd:
            return None
        self._eager(cpu, value)
        if cpu.xfd_state == value:
            return None
        machine = cpu.machine
        if isinstance(machine, Processor):
            # What the kernel writes is within what the processor enumerates.
            machine.xfd = cpu.xfd_state = value
            self.trace.costs.wrmsr_xfd += 1
            return None
        outcome = machine.wrmsr(MSR_XFD, value)
        if outcome.accepted:
            cpu.xfd_state = value
        return outcome

    def _eager(self, cpu: Cpu, value: int) -> None:
        """Count what eager switching would write."""
        if cpu.eager_xfd != value and isinstance(cpu.machine, Processor):
            cpu.eager_xfd = value
            self.trace.costs.eager_wrmsr_xfd += 1

    def save(self, cpu: Cpu, fpstate: Fpstate) -> Outcome:
        """save_fpregs_to_fpstate: XSAVES with whatever XFD is in force; what XFD turns off is lost."""
        from inspector.machine.x86.cpu.instructions import xsave

        before = self._cleared_around(cpu, fpstate, fpstate.xinuse)
        outcome = cpu.machine.execute(lambda processor: xsave.save(processor, fpstate.image, fpstate.xfeatures))
        if before is not None:
            self.write_xfd(cpu, before)
        if outcome.accepted:
            fpstate.image = outcome.image
            if outcome.value:
                dropped = f"XSAVES leaves out components {outcome.value:#x}, in use, because XFD has them: lost"
                self.log(cpu.current, dropped, call_chains.SAVE)
        return outcome

    def restore(self, cpu: Cpu, fpstate: Fpstate) -> Outcome | None:
        """restore_fpregs_from_fpstate: XFD, then XRSTORS. None, or why it could not be."""
        from inspector.machine.x86.cpu.instructions import xsave

        outcome = self.write_xfd(cpu, self._xfd_in_kernel(fpstate))
        if outcome is not None and not outcome.accepted:
            return outcome
        before = self._cleared_around(cpu, fpstate, fpstate.xstate_bv)
        outcome = cpu.machine.execute(lambda processor: xsave.restore(processor, fpstate.image, self.host.kernel_max))
        if before is not None:
            self.write_xfd(cpu, before)
        if outcome.accepted:
            cpu.owner, fpstate.last_cpu = fpstate, cpu.number
        return None if outcome.accepted else outcome

    def _xfd_in_kernel(self, fpstate: Fpstate) -> int:
        """XFD while the kernel has this buffer's registers: the buffer's, but for the proposal.

        There a guest's XFD is virtual before passthrough, and option 1 leaves it cleared over tiles.
        """
        if fpstate.is_virtual_xfd:
            return self.host.default_xfd
        if fpstate.is_guest and self.policy.clears_xfd == AT_EXIT:
            return fpstate.xfd & ~fpstate.xstate_bv
        return fpstate.xfd

    def _cleared_around(self, cpu: Cpu, fpstate: Fpstate, in_use: int) -> int | None:
        """The proposal's option 2: the host clears XFD before XSAVES and XRSTORS of a guest whose tiles are in use.

        It knows by fpstate->is_guest and fpstate->in_use. The XFD to put back afterwards, or None.
        """
        if self.policy.clears_xfd != AROUND_SWITCH or not fpstate.is_guest:
            return None
        self.trace.costs.checks += 1
        before = cpu.xfd_state
        if not before & in_use:
            return None
        self.write_xfd(cpu, 0)
        return before

    def schedule(self, cpu: Cpu, thread: Thread | None) -> Outcome | None:
        """Let a thread run on a CPU; the one before is saved (switch_fpu). None: nothing was loaded."""
        previous, outcome = cpu.current, None
        if previous is thread:
            return None
        for leaving in (previous, thread):
            if leaving is not None and leaving.leave_guest is not None:
                leaving.leave_guest()
        if previous is not None and previous.loaded:
            outcome = self.save_thread(cpu, previous)
        if thread is not None and thread.cpu is not None and thread.cpu is not cpu:
            # It was elsewhere: it leaves there first.
            if thread.loaded:
                self.save_thread(thread.cpu, thread)
            if thread.cpu.current is thread:
                self._switch_pkru(thread.cpu, thread, None)
                thread.cpu.current = None
        self._switch_pkru(cpu, previous, thread)
        cpu.current = thread
        if thread is not None:
            thread.cpu = cpu
        if self.host.default_xfd:
            self._eager(cpu, self._xfd_in_kernel(thread.fpstate) if thread is not None else self.host.default_xfd)
        return outcome

    def _switch_pkru(self, cpu: Cpu, previous: Thread | None, thread: Thread | None) -> None:
        """x86_pkru_load: the register is kept in the thread, and written only if the next one has another value."""
        machine = cpu.machine
        if not self.host.user_max >> PKRU & 1 or not isinstance(machine, Processor):
            return
        now = int.from_bytes(machine.registers.get(PKRU)[:4], "little")
        if previous is not None:
            previous.pkru = now
        wanted = thread.pkru if thread is not None else INITIAL_PKRU
        if wanted != now:
            machine.registers.components[PKRU] = wanted.to_bytes(8, "little")

    def kernel_thread(self, cpu: Cpu) -> Outcome | None:
        """A kernel thread gets the CPU, and gives it back; it has no user registers to load."""
        thread = cpu.current
        outcome = self.schedule(cpu, None)
        if thread is not None:
            self.schedule(cpu, thread)
        return outcome

    def save_thread(self, cpu: Cpu, thread: Thread) -> Outcome:
        """XSAVES of a thread's registers, which stay valid until somebody else loads."""
        outcome = self.save(cpu, thread.fpstate)
        thread.loaded = False
        thread.fpstate.last_cpu = cpu.number
        return outcome

    def is_valid_on(self, cpu: Cpu, fpstate: Fpstate) -> bool:
        """fpregs_state_valid: this CPU had the registers last, and nobody loaded others there since."""
        return cpu.owner is fpstate and fpstate.last_cpu == cpu.number

    def to_user(self, cpu: Cpu, thread: Thread) -> Outcome | None:
        """fpregs_restore_userregs: nothing if this CPU still has the thread's registers."""
        self.schedule(cpu, thread)
        if thread.loaded:
            return None
        if not self.is_valid_on(cpu, thread.fpstate):
            wrong = self.restore(cpu, thread.fpstate)
            if wrong is not None:
                return wrong
        thread.loaded = True
        return None

    def registers(self, thread: Thread) -> Registers:
        """What a host thread's registers hold, wherever they are."""
        machine = thread.cpu.machine if thread.cpu is not None else None
        if thread.loaded and isinstance(machine, Processor):
            return machine.registers
        return thread.fpstate.registers(self.host)

    # Tasks

    def clone(self, cpu: Cpu, thread: Thread) -> Thread:
        """A new thread: the default buffer, what the registers hold of it (fpu_clone)."""
        process = thread.process
        child = Thread(process, len(process.threads))
        self._inherit(cpu, thread, child)
        process.threads.append(child)
        return child

    def fork(self, cpu: Cpu, thread: Thread) -> Process:
        """The child has the permissions and their lock; tile data is not inherited."""
        process = thread.process
        child = self.spawn()
        child.perm, child.guest_perm = process.perm, process.guest_perm
        child.guest_perm_locked = process.guest_perm_locked
        child.leader.altstack_size_bytes = thread.altstack_size_bytes
        self._inherit(cpu, thread, child.leader)
        return child

    def _inherit(self, cpu: Cpu, thread: Thread, child: Thread) -> None:
        if self.to_user(cpu, thread) is None:
            self.save(cpu, child.fpstate)
            image = child.fpstate.image
            child.fpstate.image = images.with_xstate_bv(image, images.xstate_bv(image) & ~_PASID)
        child.pkru = self.pkru(thread)
        child.trap_nr, child.error_code = thread.trap_nr, thread.error_code

    def exec(self, cpu: Cpu, thread: Thread) -> None:
        """Another program: default buffer, default permissions (fpu_flush_thread, fpstate_reset)."""
        process = thread.process
        process.threads = [thread]
        thread.number = 0
        thread.fpstate, thread.loaded, thread.altstack_size_bytes = Fpstate.of_task(self.host), False, 0
        process.perm = process.guest_perm = self.host.user_default
        process.guest_perm_locked = False
        cpu.owner = None
        self.write_pkru(cpu, INITIAL_PKRU)
        self.to_user(cpu, thread)

    def pkru(self, thread: Thread) -> int:
        """PKRU of a thread: the register where it runs, else what a switch kept."""
        cpu = thread.cpu
        if cpu is not None and cpu.current is thread and isinstance(cpu.machine, Processor):
            return int.from_bytes(cpu.machine.registers.get(PKRU)[:4], "little")
        return thread.pkru

    def write_pkru(self, cpu: Cpu, value: int) -> None:
        """WRPKRU by the kernel (pkru_write_default)."""
        if self.host.user_max >> PKRU & 1 and isinstance(cpu.machine, Processor):
            cpu.machine.registers.components[PKRU] = value.to_bytes(8, "little")

    def clear_user_states(self, cpu: Cpu, thread: Thread) -> None:
        """A signal handler starts with initial state and PKRU's default (fpu__clear_user_states)."""
        self.write_xfd(cpu, thread.fpstate.xfd)
        cpu.machine.execute(_clear)
        self.write_pkru(cpu, INITIAL_PKRU)

    def run(self, cpu: Cpu, thread: Thread, instruction: Instruction) -> Outcome:
        """An instruction of a user program, and what the kernel makes of its exception."""
        wrong = self.to_user(cpu, thread)
        if wrong is not None:
            return wrong
        outcome = cpu.machine.execute(instruction, user=True)
        if outcome.verdict != "exception":
            return outcome
        if outcome.code != NM:
            return exceptions.signal_of(thread, outcome)
        rule = Rule("handle_xfd_event, __xfd_enable_feature (traps.c, fpu/xstate.c)")
        rule.checks = [check for check in outcome.checks if check.held]
        handled = self._device_not_available(rule, cpu, thread)
        if handled is not None:
            return handled
        again = cpu.machine.execute(instruction, user=True)
        rule.checks += again.checks
        again = again._replace(checks=tuple(rule.checks), source=rule.source, evidence=rule.evidence)
        return exceptions.signal_of(thread, again) if again.verdict == "exception" else again

    def _device_not_available(self, rule: Rule, cpu: Cpu, thread: Thread) -> Outcome | None:
        """handle_xfd_event: XFD_ERR, permission, a larger buffer. None: the instruction is tried again."""
        error = cpu.machine.rdmsr(MSR_XFD_ERR)
        if not error.accepted:
            return error
        self.log(thread, f"XFD_ERR = {error.value:#x}", call_chains.XFD_EVENT)
        cpu.machine.wrmsr(MSR_XFD_ERR, 0)
        wanted = error.value & DYNAMIC
        process = thread.process
        if not rule.check("XFD_ERR names a component: the #NM is XFD's", wanted):
            # die("unexpected #NM exception"), which ends the task.
            return rule.signal(exceptions.SIGSEGV, _SI_KERNEL)
        if not rule.check("the process has permission for component 18", process.perm & wanted == wanted):
            return rule.signal(exceptions.SIGILL, _ILL_ILLOPC)
        if not rule.check("memory for the larger buffer is there (fpstate_realloc)", process.allocate()):
            return rule.signal(exceptions.SIGSEGV, _SI_KERNEL)
        thread.fpstate = thread.fpstate.larger(self.host, wanted)
        if self.level == "host":
            self.trace.costs.allocated_bytes += thread.fpstate.size_bytes
        cpu.owner = thread.fpstate
        grown = f"task's buffer is now {thread.fpstate.size_bytes} bytes"
        self.log(thread, grown, call_chains.TASK_BUFFER)
        self.write_xfd(cpu, thread.fpstate.xfd)
        return None


def _clear(cpu: Processor) -> Outcome:
    kept = {n: data for n, data in cpu.registers.components.items() if n == PKRU or cpu.xss >> n & 1}
    cpu.registers = type(cpu.registers)(kept)
    return Rule("restore_fpregs_from_init_fpstate").ok()
