"""KVM_RUN: loading the guest's registers, entering the guest, leaving it, saving them.

Source: Linux arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl_run, vcpu_enter_guest), kvm/vmx/vmx.c;
arch/x86/kernel/fpu/core.c (fpu_swap_kvm_fpstate, fpu_sync_guest_vmexit_xfd_state).
"""

from __future__ import annotations

import errno

from inspector.machine.outcome import NM, Outcome, Rule
from inspector.machine.x86.cpu.instructions.control import MSR_S_CET
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.process import Cpu, Kernel
from layouts.x86 import call_chains
from layouts.x86.kernels import AT_EXIT
from layouts.x86.xsave import PKRU

_PKRU = 1 << PKRU


class Run:
    """The run of one vCPU, in its thread, on a CPU of the host."""

    def __init__(self, vcpu: Vcpu, cpu_number: int = 0) -> None:
        self.vcpu = vcpu
        self.linux: Kernel = vcpu.process.linux
        self.cpu: Cpu = self.linux.cpu(cpu_number)
        machine = self.cpu.machine
        assert isinstance(machine, Processor)
        self.processor = machine

    def log(self, text: str, calls: tuple[str, ...] = ()) -> None:
        """Say what KVM does, and in which functions."""
        vcpu = self.vcpu
        line = f"vCPU {vcpu.number}: {text}"
        self.linux.trace.add(self.linux.level, self.cpu.number, vcpu.thread.name, line, calls)

    def begin(self) -> Outcome | None:
        """kvm_load_guest_fpu: the thread's registers are saved, the guest's loaded. None, or the oops."""
        vcpu, linux, thread = self.vcpu, self.linux, self.vcpu.thread
        if vcpu.in_run:
            return None
        if vcpu.wants_buffer:
            given = self._reallocated()
            if not given.accepted:
                return given
        if thread.task_fpstate is not None:
            raise ValueError(f"thread {thread.name} is inside KVM_RUN of another vCPU; return comes first")
        linux.to_user(self.cpu, thread)
        # kvm_arch_vcpu_load (x86.c): the thread's own PKRU, which kvm_load_host_xsave_state puts back.
        vcpu.host_pkru = self._read_pkru()
        if thread.loaded:
            linux.save(self.cpu, thread.fpstate)
        thread.task_fpstate, thread.fpstate = thread.fpstate, vcpu.fpstate
        vcpu.fpstate.in_use = True
        wrong = self._restore(vcpu.fpstate)
        if wrong is not None:
            thread.fpstate, thread.task_fpstate = thread.task_fpstate, None
            vcpu.fpstate.in_use = thread.loaded = False
            return wrong
        thread.loaded = True
        vcpu.ran = vcpu.in_run = True
        return None

    def _restore(self, fpstate: Fpstate) -> Outcome | None:
        """Load a guest's buffer; #NM in the host's kernel is an oops.

        KVM_SET_MSRS of XFD leaves XSTATE_BV alone unless TIF_NEED_FPU_LOAD is set
        (fpu_update_guest_xfd). Recorded on 6.12.107 and 7.2.13 with an emulated CPU.
        """
        if fpstate.is_confidential:
            self.linux.write_xfd(self.cpu, fpstate.xfd)
            self.cpu.owner = fpstate
            return None
        wrong = self.linux.restore(self.cpu, fpstate)
        if wrong is not None:
            off = fpstate.xfd & fpstate.xstate_bv
            rule = Rule("fpu_swap_kvm_fpstate, XRSTORS (fpu/core.c)")
            rule.check(f"the guest's XFD is 0 for all that the image has (XFD & XSTATE_BV = {off:#x})", held=False)
            return rule.oops(NM)
        if self.linux.host.emulated and not self.vcpu.large:
            self.processor.registers = self.processor.initial_registers()
        return None

    def enter(self) -> Outcome | None:
        """Before VM entry: registers, XFD_ERR, XCR0 and XSS, PKRU. None, or the oops."""
        vcpu, thread, processor = self.vcpu, self.vcpu.thread, self.processor
        if vcpu.in_guest:
            return None
        self.linux.schedule(self.cpu, thread)
        if not thread.loaded:
            valid = self.linux.is_valid_on(self.cpu, vcpu.fpstate)
            wrong = None if valid else self._restore(vcpu.fpstate)
            if wrong is not None:
                return wrong
            thread.loaded = True
        vcpu.intercepts.before_entry(vcpu)
        if vcpu.policy.is_proposal and vcpu.passthrough:
            # The proposal saves and restores XFD at exit and entry; merged, it is loaded with the registers.
            self.linux.write_xfd(self.cpu, vcpu.fpstate.xfd)
        if vcpu.xfd_err:
            processor.xfd_err = vcpu.xfd_err
        processor.xcr0, processor.xss = vcpu.xcr0, vcpu.xss
        processor.cr4_osxsave = vcpu.cr4_osxsave
        processor.msrs[MSR_S_CET] = vcpu.s_cet
        processor.cr4_cet = vcpu.has_cet(2, 7)
        if self._has_pkru:
            self._pkru(vcpu.pkru)
        vcpu.in_guest = True
        vcpu.thread.leave_guest = self.exit
        return None

    @property
    def _has_pkru(self) -> bool:
        """CR4.PKE is taken to be set where XCR0[9] is."""
        return bool(self.vcpu.xcr0 & self.linux.host.user_max & _PKRU)

    def _read_pkru(self) -> int:
        return int.from_bytes(self.processor.registers.get(PKRU)[:4], "little")

    def _pkru(self, value: int) -> None:
        self.processor.registers.components[PKRU] = value.to_bytes(8, "little")

    def exit_and_reenter(self) -> None:
        """An exit that is handled with interrupts off, and the guest goes on (exit fast path): no MSR is saved."""
        if self.vcpu.in_guest:
            self.linux.trace.costs.vm_exits += 1

    def exit(self, *, costs: bool = True) -> None:
        """After VM exit, with interrupts off: the guest's XFD and XFD_ERR are read, the host's state put back.

        It ``costs`` nothing where nobody would have left the guest: KVM_RUN was for one instruction alone.
        """
        vcpu, processor, linux = self.vcpu, self.processor, self.linux
        if not vcpu.in_guest:
            return
        linux.trace.costs.vm_exits += costs
        vcpu.in_guest = False
        vcpu.thread.leave_guest = None
        host = linux.host
        if self._has_pkru:
            vcpu.pkru = self._read_pkru()
        if host.user_max & _PKRU:
            self._pkru(vcpu.host_pkru)
        vcpu.s_cet = processor.msrs.get(MSR_S_CET, 0)
        processor.xcr0, processor.xss, processor.cr4_osxsave = host.user_max, host.supervisor, True
        processor.cr4_cet = False
        if vcpu.passthrough:
            linux.trace.costs.rdmsr_xfd += costs
            vcpu.fpstate.xfd = self.cpu.xfd_state = self.cpu.eager_xfd = processor.xfd
        if vcpu.policy.is_proposal:
            self._exit_of_proposal()
        elif vcpu.xfd_err:
            processor.xfd_err = 0

    def _exit_of_proposal(self) -> None:
        """XINUSE is noted; option 1 clears XFD over state that is in use, until the next entry.

        It says nothing of XFD_ERR: taken as saved and put back like XFD.
        """
        vcpu, processor = self.vcpu, self.processor
        vcpu.xfd_err, processor.xfd_err = processor.xfd_err, 0
        vcpu.fpstate.xinuse = processor.registers.in_use
        if vcpu.policy.clears_xfd != AT_EXIT or not vcpu.passthrough:
            return
        self.linux.trace.costs.checks += 1
        if vcpu.fpstate.xinuse & processor.xfd:
            self.log(f"XFD of the CPU := 0, until the next entry: components {processor.xfd:#x} are in use")
            self.linux.write_xfd(self.cpu, 0)

    def device_not_available(self) -> None:
        """#NM trapped: XFD_ERR is kept, the host's cleared, the exception queued; nothing is allocated.

        vmx_handle_nm_fault_irqoff, handle_exception_nmi. The proposal does not trap it.
        """
        vcpu = self.vcpu
        if vcpu.policy.is_proposal:
            return
        vcpu.xfd_err = self.processor.xfd_err
        self.exit()
        self.log(f"XFD_ERR = {vcpu.xfd_err:#x}", call_chains.NM_IRQS_OFF)
        self.log("XFD_ERR of the CPU := 0", call_chains.AFTER_EXIT)
        self.log("#NM is queued to the guest", call_chains.NM_EXIT)

    def save(self) -> Outcome:
        """XSAVES of the guest's registers while KVM_RUN lasts: a context switch or a softirq."""
        self.exit()
        thread = self.vcpu.thread
        if self.vcpu.fpstate.is_confidential or not thread.loaded:
            thread.loaded = False
            return Rule("TIF_NEED_FPU_LOAD is set already").ok()
        outcome = self.linux.save(self.cpu, self.vcpu.fpstate)
        thread.loaded = False
        return outcome

    def end(self) -> Outcome:
        """kvm_put_guest_fpu: the guest's registers are saved, with its XFD in force, the thread's loaded."""
        vcpu, thread, linux = self.vcpu, self.vcpu.thread, self.linux
        outcome = self.save()
        vcpu.in_run = vcpu.fpstate.in_use = False
        assert thread.task_fpstate is not None
        thread.fpstate, thread.task_fpstate = thread.task_fpstate, None
        linux.restore(self.cpu, thread.fpstate)
        thread.loaded = True
        return self._reallocated() if vcpu.wants_buffer else outcome

    def _reallocated(self) -> Outcome:
        """The proposal: as control goes from KVM to the FPU core, the buffer grows, or KVM_RUN fails."""
        rule = Rule("the proposal for AMX in KVM of 2021: reallocation on the way out of KVM_RUN", "proposal")
        if not self.vcpu.give_buffer(rule):
            return rule.refuse(errno.ENOMEM)
        return rule.ok()
