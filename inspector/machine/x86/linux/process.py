"""Processes, threads and the CPUs that they run on: permission for components, alternate stacks, buffers.

Source: Linux arch/x86/kernel/fpu/xstate.c, arch/x86/kernel/signal.c, arch/x86/kernel/fpu/core.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.processor import Instruction
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.trace import Trace
from layouts.light import Protocol
from layouts.x86 import call_chains
from layouts.x86.kernels import Policy
from layouts.x86.xsave import DYNAMIC, TILEDATA

MINSIGSTKSZ = 2048
SS_DISABLE = 2
#: init_pkru_value: every key but 0 is access-disabled.
INITIAL_PKRU = 0x55555554


class Machine(Protocol):
    """What an operating system runs on: a processor, or a vCPU."""

    @property
    def number(self) -> int:
        """Its number."""

    def execute(self, instruction: Instruction, *, user: bool = False) -> Outcome:
        """Execute an instruction."""

    def xsetbv(self, value: int) -> Outcome:
        """XSETBV of XCR0."""

    def wrmsr(self, index: int, value: int) -> Outcome:
        """WRMSR."""

    def rdmsr(self, index: int) -> Outcome:
        """RDMSR."""


class Cpu:
    """A processor as Linux keeps it: the cached XFD, whose registers are loaded, who runs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.xfd_state = 0
        #: XFD as eager switching would have left it.
        self.eager_xfd = 0
        #: fpu_fpregs_owner_ctx.
        self.owner: Fpstate | None = None
        self.current: Thread | None = None

    @property
    def number(self) -> int:
        """Its number among the kernel's CPUs."""
        return self.machine.number


class Thread:
    """A task: ``fpstate`` is what a context switch saves to, a vCPU's while KVM_RUN lasts.

    ``loaded`` is the absence of TIF_NEED_FPU_LOAD: the registers are in the processor ``cpu``.
    """

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.number = number
        self.fpstate = Fpstate.of_task(process.host)
        #: The task's own buffer while a guest's is in its place (__task_fpstate).
        self.task_fpstate: Fpstate | None = None
        self.cpu: Cpu | None = None
        self.loaded = False
        self.altstack_size_bytes = 0
        #: thread.pkru: what a switch away from the thread left; a core file and ptrace show it.
        self.pkru = INITIAL_PKRU
        #: thread.trap_nr, error_code and cr2: of the last exception that became a signal.
        self.trap_nr = self.error_code = self.fault_address = 0
        self.signal_frames: list[bytes] = []
        #: While the thread's guest runs: what makes it leave, as an interrupt does.
        self.leave_guest: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """Process and thread number."""
        return f"{self.process.number}/{self.number}" if self.number else f"{self.process.number}"


class Kernel(Protocol):
    """What a process, and KVM for its vCPUs, asks of the Linux that it runs on."""

    host: Host
    level: str
    policy: Policy
    trace: Trace

    def log(self, thread: Thread | None, text: str, calls: tuple[str, ...] = (), cpu: Cpu | None = None) -> None:
        """Say what is done, and by which functions."""

    def cpu(self, number: int) -> Cpu:
        """A CPU, brought up if it is not."""

    def write_xfd(self, cpu: Cpu, value: int) -> Outcome | None:
        """WRMSR of XFD, where the CPU has another value."""

    def save(self, cpu: Cpu, fpstate: Fpstate) -> Outcome:
        """XSAVES of a CPU's registers."""

    def restore(self, cpu: Cpu, fpstate: Fpstate) -> Outcome | None:
        """XRSTORS; None, or why it could not be."""

    def schedule(self, cpu: Cpu, thread: Thread | None) -> Outcome | None:
        """Let a thread run on a CPU."""

    def to_user(self, cpu: Cpu, thread: Thread) -> Outcome | None:
        """Load a thread's registers, where the CPU has not kept them; None, or why it could not be."""

    def is_valid_on(self, cpu: Cpu, fpstate: Fpstate) -> bool:
        """A CPU still has a buffer's registers."""


class Process:
    """A thread group: what it and its guests may use. Made by Linux.spawn."""

    def __init__(self, linux: Kernel, number: int) -> None:
        self.linux = linux
        self.host = linux.host
        self.number = number
        self.perm = self.guest_perm = self.host.user_default
        self.guest_perm_locked = False
        self.threads = [Thread(self, 0)]
        #: The next allocation of a buffer fails (injected).
        self.allocation_fails = False

    @property
    def leader(self) -> Thread:
        """The first thread; permissions are kept there."""
        return self.threads[0]

    def thread(self, number: int) -> Thread:
        """A thread by number. Raises ValueError."""
        if number >= len(self.threads):
            raise ValueError(f"process {self.number} has {len(self.threads)} threads; clone makes more")
        return self.threads[number]

    def allocate(self) -> bool:
        """Get memory for a buffer; False for an injected failure, once."""
        fails, self.allocation_fails = self.allocation_fails, False
        return not fails

    def get_supported(self) -> Outcome:
        """ARCH_GET_XCOMP_SUPP."""
        rule = Rule("fpu_xstate_prctl")
        return rule.ok(self.host.user_max | 3) if self._has_permissions(rule) else rule.refuse(errno.EINVAL)

    def get_permission(self, *, guest: bool = False) -> Outcome:
        """ARCH_GET_XCOMP_PERM and ARCH_GET_XCOMP_GUEST_PERM."""
        rule = Rule("xstate_get_host_group_perm")
        if not self._has_permissions(rule):
            return rule.refuse(errno.EINVAL)
        return rule.ok(self.guest_perm if guest else self.perm)

    def _has_permissions(self, rule: Rule) -> bool:
        """The kernel knows the operation: permission came with dynamic components (do_arch_prctl_common)."""
        return bool(self.host.kernel.user_dynamic) or rule.check("arch_prctl has it (from 5.16 on)", held=False)

    def request_permission(self, component: int, *, guest: bool = False) -> Outcome:
        """ARCH_REQ_XCOMP_PERM and ARCH_REQ_XCOMP_GUEST_PERM."""
        rule = Rule("xstate_request_perm, __xstate_request_perm (fpu/xstate.c)")
        host = self.host
        if not self._has_permissions(rule):
            return rule.refuse(errno.EINVAL)
        if not rule.check(
            f"{component} is below XFEATURE_MAX ({host.kernel.xfeature_max})", component < host.kernel.xfeature_max
        ):
            return rule.refuse(errno.EINVAL)
        if not rule.check("the component is allocated on demand (only 18 is)", component == TILEDATA):
            return rule.refuse(errno.EOPNOTSUPP)
        if not rule.check("the kernel supports the component on this CPU", host.user_max >> component & 1):
            return rule.refuse(errno.EOPNOTSUPP)
        permitted = self.guest_perm if guest else self.perm
        if permitted >> component & 1:
            rule.check("it is permitted already", held=True)
            return rule.ok()
        if guest and not rule.check("no vCPU was created yet (the first one locks)", not self.guest_perm_locked):
            return rule.refuse(errno.EBUSY)
        wanted = permitted | 1 << component
        if not guest:
            needed = host.frame_size_bytes(host.standard_size_bytes(wanted))
            stacks = [thread.altstack_size_bytes for thread in self.threads if thread.altstack_size_bytes]
            if not rule.check(f"every alternate stack has {needed} bytes", all(size >= needed for size in stacks)):
                return rule.refuse(errno.ENOSPC)
            self.perm = wanted
        else:
            self.guest_perm = wanted
        self.linux.log(self.leader, f"{'guest' if guest else 'own'} permission {wanted:#x}", call_chains.PERMISSION)
        return rule.ok()

    def sigaltstack(self, size: int, thread: Thread | None = None, flags: int = 0) -> Outcome:
        """An alternate signal stack: it must hold a frame with everything that is permitted. SS_DISABLE: none."""
        rule = Rule("do_sigaltstack, sigaltstack_size_valid (kernel/signal.c)")
        if flags == SS_DISABLE:
            (thread or self.leader).altstack_size_bytes = 0
            return rule.ok()
        if not rule.check(f"at least MINSIGSTKSZ ({MINSIGSTKSZ})", size >= MINSIGSTKSZ):
            return rule.refuse(errno.ENOMEM)
        host = self.host
        if self.perm & DYNAMIC:
            # max_frame_size - fpu_default_state_size + __user_state_size
            needed = host.frame_without_state_bytes + host.standard_size_bytes(self.perm)
            if not rule.check(f"more than {needed} bytes, for a frame with the permitted state", size > needed):
                return rule.refuse(errno.ENOMEM)
        (thread or self.leader).altstack_size_bytes = size
        return rule.ok()
