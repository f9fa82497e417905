"""TDX: a TD's XFAM, and a guest whose XFD, XCR0 and #NM the TDX module looks after instead of KVM.

Source: intel/tdx-module 1.5.01 (helpers.c check_xfam and set_msr_bitmaps, td_transitions);
Linux 7.2 kvm/vmx/tdx.c (setup_tdparams, tdx_vcpu_create).
"""

from __future__ import annotations

import errno

from inspector.capture.host import CpuidValues
from inspector.machine.outcome import GP, UD, Outcome, Rule
from inspector.machine.x86.cpu.instructions import control
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.cpu.registers import Registers
from inspector.machine.x86.host import AMX_FEATURES, OSPKE, PKU, Host
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.run import Run
from inspector.machine.x86.kvm.vcpu import Vcpu
from layouts.x86.xsave import AVX512, CET, PKRU, USER, XTILE

#: What the module lets XFAM have, and what it must have (XFAM_FIXED0, XFAM_FIXED1).
XFAM_FIXED0 = 0x6DBE7
XFAM_FIXED1 = 0x3
#: CPUID(0xD,1).EAX.
_XFD = 1 << 4
#: Bits of CPUID(7,0) that go where XFAM has none of these components: register, bits.
_BITS_OF_XFAM = (
    (AVX512, 1, 1 << 16),
    (1 << PKRU, 2, PKU | OSPKE),
    (CET, 2, 1 << 7),
    (CET, 3, 1 << 20),
    (XTILE, 3, AMX_FEATURES),
)
_ZERO: CpuidValues = (0, 0, 0, 0)


def init_vm(host: Host, xfam: int) -> Outcome:
    """KVM_TDX_INIT_VM: KVM's mask first, then the module's rules for XFAM (check_xfam)."""
    rule = Rule("setup_tdparams (vmx/tdx.c); TDH.MNG.INIT, check_xfam (TDX module)")
    supported = (host.kvm_xcr0 | host.kvm_xss) & XFAM_FIXED0
    if not rule.check(f"XFAM within what KVM supports ({supported:#x})", not xfam & ~supported):
        return rule.refuse(errno.EINVAL)
    xfam |= XFAM_FIXED1
    held = (
        rule.check("AVX-512: all three, and AVX", xfam & AVX512 == 0 or (xfam & AVX512 == AVX512 and xfam & 4))
        and rule.check("CET_U and CET_S both or none", xfam & CET in (0, CET))
        and rule.check("XTILECFG and XTILEDATA both or none", xfam & XTILE in (0, XTILE))
    )
    return rule.ok(xfam) if held else rule.refuse(errno.EINVAL)


def virtual_cpuid(host: Host, xfam: int) -> dict[tuple[int, int], CpuidValues]:
    """The CPUID leaves that XFAM decides: 0xD, and the bits of 7 by which Linux knows its components."""
    native = host.cpuid.xsave_table()
    user = xfam & USER
    size = host.standard_size_bytes(user)
    leaves: dict[tuple[int, int], CpuidValues] = {(0xD, 0): (user, size, size, 0)}
    eax = native.get(1, _ZERO)[0]
    if not xfam & host.xfd_capable:
        eax &= ~_XFD
    leaves[0xD, 1] = (eax, host.compacted_size_bytes(xfam), xfam & ~USER, 0)
    leaves |= {(0xD, number): values for number, values in native.items() if number > 1 and xfam >> number & 1}
    row = list(host.cpuid.get(7) or _ZERO)
    for components, register, bits in _BITS_OF_XFAM:
        if not xfam & components:
            row[register] &= ~bits
    leaves[7, 0] = (row[0], row[1], row[2], row[3])
    return leaves


class TdState:
    """A TD vCPU's state between runs, which only the module sees (TDVPS)."""

    def __init__(self) -> None:
        self.registers = Registers()
        self.xcr0 = 1
        self.xss = 0
        self.xfd = 0
        self.xfd_err = 0


class TdRun(Run):
    """Entry and exit of a TD: the module loads and saves its registers."""

    def __init__(self, vcpu: Vcpu, cpu_number: int, state: TdState) -> None:
        super().__init__(vcpu, cpu_number)
        self.state = state

    def enter(self) -> Outcome | None:
        """TDH.VP.ENTER: XRSTORS with XFD 0, then XCR0 and XSS, then XFD and XFD_ERR."""
        vcpu, processor, state = self.vcpu, self.processor, self.state
        if vcpu.in_guest:
            return None
        self.linux.schedule(self.cpu, vcpu.thread)
        vcpu.thread.loaded = True
        processor.registers = state.registers
        processor.xcr0, processor.xss = state.xcr0, state.xss
        processor.xfd, processor.xfd_err = state.xfd, state.xfd_err
        processor.cr4_osxsave = vcpu.cr4_osxsave
        vcpu.in_guest = True
        vcpu.thread.leave_guest = self.exit
        return None

    def exit(self, *, costs: bool = True) -> None:  # noqa: ARG002 - the host's kernel pays nothing for XFD
        """TD exit: XSAVES with the TD's XFD still loaded, then everything is wiped, XFD and XFD_ERR 0."""
        vcpu, processor, state, host = self.vcpu, self.processor, self.state, self.linux.host
        if not vcpu.in_guest:
            return
        vcpu.in_guest = False
        vcpu.thread.leave_guest = None
        live = processor.registers
        state.registers = live.within(live.in_use & ~processor.xfd)
        state.xcr0, state.xss = processor.xcr0, processor.xss
        state.xfd, state.xfd_err = processor.xfd, processor.xfd_err
        processor.registers = processor.initial_registers()
        processor.xcr0, processor.xss, processor.cr4_osxsave = host.user_max, host.supervisor, True
        processor.xfd = processor.xfd_err = 0
        if vcpu.passthrough:
            vcpu.fpstate.xfd = self.cpu.xfd_state = 0

    def device_not_available(self) -> None:
        """#NM goes straight to the TD's kernel: neither the module nor KVM sees it."""


class TdGuest(Guest):
    """A TD's vCPU as its guest sees it."""

    def __init__(self, vcpu: Vcpu) -> None:
        super().__init__(vcpu)
        self.state = TdState()
        vcpu.fpstate.is_confidential = True
        # tdx_vcpu_create: XFD may change without KVM seeing it if XFAM has AMX.
        vcpu.passthrough = vcpu.xfam & XTILE == XTILE

    @property
    def run(self) -> Run:
        """See Guest."""
        if self._run is None or self._run.cpu.number != self.cpu_number:
            self._moved()
            self._run = TdRun(self.vcpu, self.cpu_number, self.state)
        return self._run

    @property
    def _has_xfd(self) -> bool:
        return bool(self.vcpu.xfam & self.vcpu.host.xfd_capable)

    def xsetbv(self, value: int, index: int = 0) -> Outcome:
        """XSETBV exits to the module, which checks it against XFAM."""
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        rule = Rule("XSETBV exit (TDX module)", "tdx-module")
        allowed = self.vcpu.xfam & USER
        if not rule.check("CR4.OSXSAVE is set", run.processor.cr4_osxsave):
            outcome = rule.fault(UD)
        elif (
            rule.check("the register is XCR0", index == 0)
            and rule.check("bit 0 (x87) is set", value & 1)
            and control.check_xcr0(rule, value, allowed, "XFAM has")
        ):
            run.processor.xcr0 = value
            outcome = rule.ok()
        else:
            outcome = rule.fault(GP)
        return self._leave(run, outcome, alone=alone)

    def wrmsr(self, index: int, value: int) -> Outcome:
        """WRMSR: XFD and XFD_ERR are native if XFAM has an XFD component, else #GP by the module."""
        return self._msr(index, value)

    def rdmsr(self, index: int) -> Outcome:
        """RDMSR."""
        return self._msr(index, None)

    def _msr(self, index: int, value: int | None) -> Outcome:
        run, alone, wrong = self._enter()
        if wrong is not None:
            return wrong
        rule = Rule("is_msr_dynamic_bit_cleared, rd_wr_msr_generic_case (TDX module)", "tdx-module")
        held = True
        if index in (MSR_XFD, MSR_XFD_ERR):
            held = rule.check("XFAM has a component with XFD: the TD's virtual CPUID(0xD,1).EAX[4]", self._has_xfd)
        elif index == MSR_XSS and value is not None:
            allowed = self.vcpu.xfam & ~USER
            held = rule.check(f"XSS within XFAM ({allowed:#x})", not value & ~allowed)
        if not held:
            outcome = rule.fault(GP)
        elif value is None:
            outcome = control.rdmsr(run.processor, index)
        else:
            outcome = control.wrmsr(run.processor, index, value)
        return self._leave(run, outcome, alone=alone)
