"""A VM: its vCPUs, whether it is a TD, and the Linux inside it."""

from __future__ import annotations

import errno

from inspector.capture.host import Cpuid
from inspector.machine.outcome import Check, Outcome, Rule
from inspector.machine.x86.host import Host, booted
from inspector.machine.x86.kvm import tdx
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Machine, Process, Thread
from layouts.x86.kernels import X86Kernel


class Vm:
    """A VM of a process. ``guests`` are the vCPUs as the guest sees them, by number."""

    def __init__(self, process: Process, *, is_td: bool = False) -> None:
        self.process = process
        self.is_td = is_td
        #: A TD's components, 0 until KVM_TDX_INIT_VM.
        self.xfam = 0
        self.guests: list[Guest] = []
        self.linux: Linux | None = None
        self.guest_process: Process | None = None

    @property
    def vcpus(self) -> list[Vcpu]:
        """The vCPUs as KVM has them."""
        return [guest.vcpu for guest in self.guests]

    def tdx_init(self, xfam: int) -> Outcome:
        """KVM_TDX_INIT_VM."""
        if not self.is_td or self.xfam:
            rule = Rule("tdx_td_init (vmx/tdx.c)")
            rule.check("a TD that is not initialized yet", held=False)
            return rule.refuse(errno.EINVAL)
        outcome = tdx.init_vm(self.process.host, xfam)
        self.xfam = outcome.value
        return outcome

    def create_vcpu(self, thread: Thread) -> Outcome:
        """KVM_CREATE_VCPU: the guest's buffer; the first one locks the process's guest permission."""
        rule = Rule("kvm_arch_vcpu_create (x86.c), fpu_alloc_guest_fpstate (fpu/core.c)")
        if self.is_td and not rule.check("the TD is initialized (KVM_TDX_INIT_VM)", self.xfam):
            return rule.refuse(errno.EIO)
        if not rule.check("memory for the guest's buffer is there", self.process.allocate()):
            return rule.refuse(errno.ENOMEM)
        vcpu = Vcpu(self.process, len(self.guests), thread)
        vcpu.xfam = self.xfam
        if self.is_td:
            vcpu.cr4_osxsave = True
            self.guests.append(tdx.TdGuest(vcpu))
        else:
            self.guests.append(Guest(vcpu))
        return rule.ok()

    def close(self) -> None:
        """The process is gone, or another program: every run ends."""
        for guest in self.guests:
            if guest.vcpu.in_run:
                guest.run.end()

    def guest_host(self, kernel: X86Kernel) -> Host:
        """What the guest's kernel sees as its hardware."""
        vcpu = self.vcpus[0]
        cpuid = Cpuid(tdx.virtual_cpuid(vcpu.host, self.xfam)) if self.is_td else vcpu.cpuid
        leaves = dict(cpuid.leaves)
        if (7, 0) not in leaves:
            leaves[7, 0] = vcpu.host.cpuid.get(7) or (0, 0, 0, 0)
        return Host(booted(Cpuid(leaves)), kernel)

    def boot(self, kernel: X86Kernel, count: int) -> Outcome:
        """The guest's Linux comes up on its first vCPUs: each writes XFD, then XCR0."""
        host = self.process.linux
        linux = Linux(self.guest_host(kernel), self._machine, level="guest", trace=host.trace)
        rule = Rule("fpu__init_cpu_xstate (fpu/xstate.c), in the guest")
        if kernel.note:
            rule.checks.append(Check(kernel.note, held=True))
        for number in range(count):
            outcome = linux.bring_up(number)
            rule.checks += outcome.checks
            if not outcome.accepted:
                return outcome
        self.linux = linux
        self.guest_process = linux.spawn()
        return rule.ok()

    def _machine(self, number: int) -> Machine:
        return self.guests[number]
