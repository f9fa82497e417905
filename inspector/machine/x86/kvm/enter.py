"""What KVM_RUN says to the state that a VMM set, on AMD: before the guest runs, and what its first step meets.

Source: Linux arch/x86/kvm/x86.c (kvm_arch_vcpu_ioctl_run, vcpu_run, kvm_check_and_inject_events), smm.c (enter_smm),
svm/svm.c (svm_vcpu_run, svm_handle_exit, shutdown_interception, svm_complete_interrupts); AMD APM vol. 2, 15.5.1.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from inspector.machine.x86.kvm.first_step import MISSING, STARTS, TRIPLE_FAULT, first_step
from inspector.machine.x86.kvm.mp_state import RUNNABLE, accept_events
from inspector.machine.x86.kvm.segments import Segment

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

EXIT_UNKNOWN, EXIT_SHUTDOWN, EXIT_FAIL_ENTRY, EXIT_INTR, EXIT_INTERNAL_ERROR = 0, 8, 9, 10, 17
SUBERROR_EMULATION, SUBERROR_DELIVERY = 1, 3
#: Words that go with KVM_INTERNAL_ERROR_DELIVERY_EV: the exit with what is known of it, and the CPU.
_DELIVERY_WORDS = 5
_LMA, _CS_LONG_AND_BIG = 0x400, (1, 1)
_RESET_RIP, _SMM_ENTRY = 0xFFF0, 0x8000
#: Vectors that an injected exception cannot have: what no processor raises (the emulator refuses 31, APM 15.20).
_NO_EXCEPTION = 31
_RFLAGS_VM = 1 << 17
#: RIP is not told: a failed VMRUN leaves the host's in the VMCB.
UNKNOWN_RIP = -1


class RunAnswer(NamedTuple):
    """What KVM_RUN comes to.

    ``code`` is its errno, ``exit_reason`` KVM_EXIT_*, ``detail`` the suberror, the hardware's reason, or how many words
    go with a suberror; ``vector`` the exception that the guest's handler meets first, ``rip`` what GET then tells.
    """

    code: int
    exit_reason: int
    because: str
    suberror: int = 0
    words: int = 0
    hardware: int = 0
    vector: int = -1
    rip: int = UNKNOWN_RIP

    @property
    def enters(self) -> bool:
        """The guest's own code runs: what follows is its business."""
        return self.exit_reason == EXIT_UNKNOWN and not self.code


def run(vcpu: WholeVcpu) -> RunAnswer:
    """KVM_RUN once, until a signal where the vCPU waits; what the vCPU becomes is left in it."""
    accept_events(vcpu)
    events, rip = vcpu.pending, vcpu.regs.rip
    if vcpu.mp_state != RUNNABLE:
        return RunAnswer(errno.EINTR, EXIT_INTR, f"MP state {vcpu.mp_state} waits for an event", rip=rip)
    if events.triple_fault:
        return RunAnswer(0, EXIT_SHUTDOWN, "a triple fault is pending (KVM_REQ_TRIPLE_FAULT)", rip=rip)
    if events.smi_pending:
        return _enter_smm(vcpu)
    if rip == _RESET_RIP and not vcpu.cr0 & 1:
        return _emulation_failure(vcpu, rip, "the reset vector is not in memory")
    if not vcpu.cr0 & 1 and not vcpu.efer & _LMA and Segment.of(vcpu.segments[0]).base + rip >= len(vcpu.vm.memory):
        return _emulation_failure(vcpu, UNKNOWN_RIP, "the code in real mode is not in memory")
    return _vmrun(vcpu)


def _emulation_failure(vcpu: WholeVcpu, rip: int, because: str) -> RunAnswer:
    """KVM_EXIT_INTERNAL_ERROR: from 5.16 on with flags and the instruction's bytes, six words."""
    words = 6 if vcpu.kvm.since(5, 16) else 0
    return RunAnswer(0, EXIT_INTERNAL_ERROR, because, SUBERROR_EMULATION, words, rip=rip)


def _enter_smm(vcpu: WholeVcpu) -> RunAnswer:
    """SMM has memory of its own, and the VMM gave none: from 6.2 on the VM is dead of it."""
    if vcpu.kvm.since(6, 2):
        return RunAnswer(errno.EIO, EXIT_UNKNOWN, "SMRAM cannot be written: the VM is dead (kvm_vm_dead)")
    return _emulation_failure(vcpu, _SMM_ENTRY, "the SMI's code is not in memory")


def _vmrun(vcpu: WholeVcpu) -> RunAnswer:
    """VMRUN's consistency checks, then the event that is injected, then the first instruction."""
    cs = Segment.of(vcpu.segments[0])
    hardware = 0xFFFFFFFFFFFFFFFF if vcpu.kvm.since(7, 0) else 0xFFFFFFFF
    if vcpu.efer & _LMA and (cs.l, cs.db) == _CS_LONG_AND_BIG:
        return RunAnswer(0, EXIT_FAIL_ENTRY, "CS is 64-bit and 32-bit at once", hardware=hardware)
    vector, because = _injected(vcpu)
    if vector >= _NO_EXCEPTION and vcpu.pending.injected:
        return RunAnswer(0, EXIT_FAIL_ENTRY, "the injected exception is none", hardware=hardware)
    if vcpu.efer & _LMA and vcpu.regs.rflags & _RFLAGS_VM:
        return _shutdown(vcpu, "virtual-8086 mode in long mode")
    meets = first_step(vcpu, vector)
    if meets.kind == MISSING and not vcpu.kvm.uses_tdp:
        # mmu_check_root; from 6.6 on the root is a page of zeroes, and the guest meets its page fault.
        if vcpu.kvm.since(6, 6):
            return _shutdown(vcpu, "the page tables are not in memory: no handler is reached")
        return RunAnswer(0, EXIT_SHUTDOWN, "shadow paging needs page tables in memory", rip=vcpu.regs.rip)
    if meets.kind == MISSING:
        return _without_page_tables(vcpu, meets.because, is_delivered=vector >= 0)
    if meets.kind == TRIPLE_FAULT:
        return _shutdown(vcpu, meets.because)
    if meets.kind == STARTS:
        return RunAnswer(0, EXIT_UNKNOWN, because or meets.because, rip=vcpu.regs.rip)
    return RunAnswer(0, EXIT_UNKNOWN, meets.because, vector=meets.vector, rip=meets.rip)


def _without_page_tables(vcpu: WholeVcpu, because: str, *, is_delivered: bool) -> RunAnswer:
    """Each walk of the tables is a nested page fault, and a fetch that is emulated ends in a #PF that meets it again.

    From 6.14 on no instruction is emulated while an event is delivered (svm_check_emulate_instruction), and user space
    is told. From 7.0 on npf_interception asks first where the fault's SPTE is one of MMIO, as that of a second fault
    is: then the guest is entered again without a word.
    """
    if vcpu.kvm.since(6, 14) and (is_delivered or not vcpu.kvm.since(7, 0)):
        why = f"{because}; an event is delivered, and nothing is emulated (kvm_prepare_event_vectoring_exit)"
        return RunAnswer(0, EXIT_INTERNAL_ERROR, why, SUBERROR_DELIVERY, _DELIVERY_WORDS, rip=vcpu.regs.rip)
    return RunAnswer(errno.EINTR, EXIT_INTR, because, rip=vcpu.regs.rip)


def _shutdown(vcpu: WholeVcpu, because: str) -> RunAnswer:
    """shutdown_interception: the VMCB is lost, so the vCPU gets INIT."""
    vcpu.reset_by_init()
    return RunAnswer(0, EXIT_SHUTDOWN, because, rip=_RESET_RIP)


def _injected(vcpu: WholeVcpu) -> tuple[int, str]:
    """kvm_check_and_inject_events: exception, NMI, interrupt; the vector, or -1.

    A software exception or interrupt is lost in the page fault of its delivery: svm_complete_interrupts lets the
    instruction at RIP run again, which is another one here.
    """
    events = vcpu.pending
    if events.injected:
        if events.vector in (3, 4):
            return -1, "a software exception is not injected again: the instruction at RIP runs"
        return events.vector, ""
    if events.nmi_injected or events.nmi_pending or events.nmi_queued:
        return 2, ""
    if events.interrupt_injected:
        if events.interrupt_soft and vcpu.kvm.since(6, 0):
            return -1, "a software interrupt is not injected again: the instruction at RIP runs"
        return events.interrupt_vector, ""
    return -1, ""
