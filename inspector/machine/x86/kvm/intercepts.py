"""Which accesses to XFD's MSRs leave the guest: the MSR bitmap and the exception bitmap of VMX.

Source: Linux arch/x86/kvm/vmx/vmx.c (vmx_vcpu_after_set_cpuid, vmx_recalc_msr_intercepts,
vmx_update_exception_bitmap), kvm/x86.c (vcpu_enter_guest).
"""

from __future__ import annotations

from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.fpstate import Fpstate
from layouts.light import Protocol
from layouts.x86 import call_chains
from layouts.x86.kernels import Policy


class Intercepted(Protocol):
    """What of a vCPU decides what exits."""

    host: Host
    policy: Policy
    fpstate: Fpstate
    passthrough: bool

    @property
    def has_xfd(self) -> bool:
        """The guest's CPUID has XFD."""

    def log(self, text: str, calls: tuple[str, ...] = ()) -> None:
        """Say what KVM does for this vCPU."""


class Intercepts:
    """What exits of one vCPU. Reads of XFD_ERR stop exiting once CPUID has XFD, XFD itself once it was non-zero."""

    def __init__(self) -> None:
        self.reads_xfd_err = False
        #: To be looked at anew before the next entry (KVM_REQ_RECALC_INTERCEPTS).
        self.requested = False

    def after_set_cpuid(self, vcpu: Intercepted) -> None:
        """XFD_ERR's intercept follows CPUID; not for a TD, whose MSRs are the module's (vt_vcpu_after_set_cpuid).

        Up to 6.17 in the ioctl, later at the next entry. The proposal does not say.
        """
        if vcpu.fpstate.is_confidential or vcpu.policy.is_proposal:
            return
        if vcpu.host.kernel.defers_intercepts:
            self.requested = True
        else:
            self._follow_cpuid(vcpu, call_chains.INTERCEPTS_IN_IOCTL)

    def before_entry(self, vcpu: Intercepted) -> None:
        """The request that KVM_RUN looks at before it enters the guest."""
        if self.requested:
            self.requested = False
            self._follow_cpuid(vcpu, call_chains.INTERCEPTS_AT_ENTRY)

    def _follow_cpuid(self, vcpu: Intercepted, calls: tuple[str, ...]) -> None:
        has_xfd = vcpu.has_xfd
        if self.reads_xfd_err != has_xfd:
            self.reads_xfd_err = has_xfd
            vcpu.log(f"reads of XFD_ERR {'no longer exit' if has_xfd else 'exit again'}", calls)

    def exits_on(self, vcpu: Intercepted) -> tuple[str, ...]:
        """What leaves the guest for KVM; nothing of a TD's does."""
        if vcpu.fpstate.is_confidential:
            return ()
        xfd = () if vcpu.passthrough else ("RDMSR XFD", "WRMSR XFD")
        reads = () if self.reads_xfd_err else ("RDMSR XFD_ERR",)
        nm = ("#NM",) if vcpu.passthrough and not vcpu.policy.is_proposal else ()
        return (*xfd, *reads, "WRMSR XFD_ERR", *nm)
