"""The guest's processor: what runs natively, what exits, and what KVM makes of it.

Source: Linux kvm/x86.c, kvm/vmx/vmx.c. Instructions are those of :mod:`instructions`.
"""

from __future__ import annotations

from inspector.machine.outcome import GP, NM, UD, Outcome, Rule
from inspector.machine.x86.cpu.instructions import control
from inspector.machine.x86.cpu.instructions.control import CET_STATE, MSR_S_CET, MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.cpu.processor import Instruction
from inspector.machine.x86.kvm.run import Run
from inspector.machine.x86.kvm.vcpu import Vcpu


class Guest:
    """A vCPU as its guest sees it, in 64-bit mode. ``cpu_number``: where on the host its thread runs.

    Outside an explicit KVM_RUN each instruction is a run of its own.
    """

    def __init__(self, vcpu: Vcpu) -> None:
        self.vcpu = vcpu
        self.cpu_number = 0
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """KVM_RUN on the CPU where the thread is now."""
        if self._run is None or self._run.cpu.number != self.cpu_number:
            self._moved()
            self._run = Run(self.vcpu, self.cpu_number)
        return self._run

    def _moved(self) -> None:
        """The thread goes to another CPU: the guest leaves the one before."""
        if self._run is not None:
            self._run.exit()

    @property
    def number(self) -> int:
        """The vCPU's number: the guest's kernel knows it as a CPU."""
        return self.vcpu.number

    def _enter(self) -> tuple[Run, bool, Outcome | None]:
        run = self.run
        alone = not self.vcpu.in_run
        if not alone and self.vcpu.wants_buffer:
            raise ValueError("KVM_RUN is on its way to the VMM, for a larger buffer; return comes next")
        return run, alone, run.begin() or run.enter()

    def _leave(self, run: Run, outcome: Outcome, *, alone: bool) -> Outcome:
        """The instruction's outcome; KVM_RUN's, where it was for this instruction alone and failed."""
        run.linux.trace.instruction(self.number, exited=not self.vcpu.in_guest)
        if not alone:
            return outcome
        wanted = self.vcpu.wants_buffer
        run.exit(costs=False)
        ended = run.end()
        if wanted and not ended.accepted:
            return ended._replace(checks=(*outcome.checks, *ended.checks))
        return outcome

    def execute(self, instruction: Instruction, *, user: bool = False) -> Outcome:
        """An instruction that runs natively; #NM by XFD is trapped once XFD is passed through."""
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        outcome = run.processor.execute(instruction, user=user)
        if outcome.code == NM and outcome.verdict == "exception":
            run.device_not_available()
        return self._leave(run, outcome, alone=alone)

    def xsetbv(self, value: int, index: int = 0) -> Outcome:
        """XSETBV always exits; KVM checks it like KVM_SET_XCRS."""
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        vcpu = self.vcpu
        rule = Rule("kvm_emulate_xsetbv, __kvm_set_xcr (x86.c)")
        if not rule.check("CR4.OSXSAVE is set", vcpu.cr4_osxsave):
            outcome = rule.fault(UD)
        else:
            run.exit()
            if not vcpu.check_xcr(rule, index, value):
                outcome = rule.fault(GP)
            else:
                vcpu.store_xcr0(rule, value)
                outcome = rule.ok()
        return self._leave(run, outcome, alone=alone)

    def wrmsr(self, index: int, value: int) -> Outcome:
        """WRMSR: by KVM until XFD is passed through, then by the processor; CET's MSRs are passed through."""
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        vcpu = self.vcpu
        if (index == MSR_XFD and vcpu.passthrough) or self._is_native(index):
            outcome = control.wrmsr(run.processor, index, value)
        else:
            rule = Rule("kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")
            run.exit()
            if not vcpu.check_msr(rule, index, value, guest=True):
                outcome = rule.fault(GP)
            else:
                vcpu.store_msr(rule, index, value)
                outcome = rule.ok()
        if outcome.accepted and index == MSR_XFD:
            self._say_what_goes(run, value)
        return self._leave(run, outcome, alone=alone)

    def _say_what_goes(self, run: Run, xfd: int) -> None:
        """XFD over state that is in use: the next XSAVES leaves it out, and nobody is told."""
        at_stake = run.processor.registers.in_use & xfd
        if at_stake:
            run.log(f"components {at_stake:#x} are in use under XFD: the next XSAVES loses them")

    def _is_native(self, index: int) -> bool:
        return (index in CET_STATE or index == MSR_S_CET) and (self.vcpu.has_cet(2, 7) or self.vcpu.has_cet(3, 20))

    def rdmsr(self, index: int) -> Outcome:
        """RDMSR: XFD and XFD_ERR exit as Intercepts say, XSS always (vmx_recalc_msr_intercepts)."""
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        vcpu = self.vcpu
        rule = Rule("kvm_get_msr_common (x86.c)")
        if (index == MSR_XFD and vcpu.passthrough) or self._is_native(index):
            outcome = control.rdmsr(run.processor, index)
        elif index in (MSR_XFD, MSR_XFD_ERR):
            if index == MSR_XFD or not vcpu.intercepts.reads_xfd_err:
                run.exit()
            held = rule.check("the guest's CPUID has XFD", vcpu.has_xfd)
            value = vcpu.xfd if index == MSR_XFD else vcpu.xfd_err
            outcome = rule.ok(value) if held else rule.fault(GP)
        elif index == MSR_XSS:
            run.exit()
            outcome = rule.ok(vcpu.xss)
        else:
            rule.check("the guest's CPUID has shadow stacks or IBT", held=False)
            outcome = rule.fault(GP)
        return self._leave(run, outcome, alone=alone)
