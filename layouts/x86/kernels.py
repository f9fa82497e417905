"""Kernel profiles: what differs between Linux versions in XSAVE, permission and KVM, as data."""

from __future__ import annotations

from typing import NamedTuple


class KernelProfile(NamedTuple):
    """A Linux version.

    ``xfeature_max`` is XFEATURE_MAX: component numbers from here on are out of range.
    ``user_supported`` and ``supervisor_supported`` are XFEATURE_MASK_USER_SUPPORTED and
    XFEATURE_MASK_SUPERVISOR_SUPPORTED: what Linux keeps where the CPU has it. ``kvm_xss`` is KVM's
    supported_xss (KVM_SUPPORTED_XSS). ``filters_xtile`` tells whether KVM hides XTILECFG too when
    XTILEDATA is not permitted (kvm_get_filtered_xcr0), ``kvm_tdx`` whether KVM can run TDs.
    ``defers_intercepts``: KVM_SET_CPUID2 only asks for MSR intercepts to be looked at anew, which the next entry
    does (KVM_REQ_RECALC_INTERCEPTS, kvm_vcpu_after_set_cpuid, from 6.18 on).
    """

    name: str
    xfeature_max: int
    user_supported: int
    supervisor_supported: int
    kvm_xss: int
    filters_xtile: bool
    kvm_tdx: bool
    source: str
    defers_intercepts: bool = False


_FILES = (
    "arch/x86/include/asm/fpu/types.h, enum xfeature, and xstate.h; "
    "arch/x86/kvm/x86.c, kvm_caps; arch/x86/kvm/cpuid.c, leaf 0xD; arch/x86/kvm/vmx/tdx.c"
)

_MERGED = "unverified: that {} came with this version is known, its source was not read"

KERNELS = (
    KernelProfile("6.1", 19, 0x602FF, 0x400, 0, False, False, f"Linux 6.1.192 {_FILES}"),
    KernelProfile("6.12", 19, 0x602FF, 0xC00, 0, True, False, f"Linux 6.12.107 {_FILES}"),
    KernelProfile("6.16", 20, 0xE02FF, 0xC00, 0, True, True, _MERGED.format("APX state and KVM's TDX")),
    KernelProfile(
        "6.18", 20, 0xE02FF, 0x1C00, 0x1800, True, True, _MERGED.format("KVM's CET, in 6.17 CET_S for guests"), True
    ),
    KernelProfile("7.2", 20, 0xE02FF, 0x1C00, 0x1800, True, True, f"Linux 7.2.13 {_FILES}", True),
)


def kernels() -> dict[str, KernelProfile]:
    """Kernel profiles by name."""
    return {kernel.name: kernel for kernel in KERNELS}


def profile_for(release: str) -> KernelProfile:
    """The profile of a release as ``uname -r`` has it: the newest that is not newer."""
    numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
    best = KERNELS[0]
    for kernel in KERNELS:
        if tuple(int(part) for part in kernel.name.split(".")) <= numbers:
            best = kernel
    return best


class Policy(NamedTuple):
    """How KVM gives room to dynamic components, and what becomes of state that XFD turns off.

    ``allocates`` is the ioctl in which the guest's buffer grows. ``clears_xfd`` tells when
    the host clears the guest's XFD[i] where XINUSE[i]=1, so that nothing is lost: never where empty.
    """

    name: str
    allocates: str
    clears_xfd: str
    source: str

    @property
    def is_proposal(self) -> bool:
        """Not what was merged: its steps are in no kernel."""
        return self.allocates == "KVM_RUN"


AT_EXIT = "at VM exit"
AROUND_SWITCH = "around XSAVES and XRSTORS"
_PROPOSAL = "the proposal for AMX in KVM of 2021"

POLICIES = (
    Policy("upstream", "KVM_SET_CPUID2", "", "Linux 5.17 and later; fpu_enable_guest_xfd_features (fpu/core.c)"),
    Policy("rfc", "KVM_RUN", "", f"{_PROPOSAL}, with neither option"),
    Policy("rfc-option1", "KVM_RUN", AT_EXIT, f"{_PROPOSAL}, option 1"),
    Policy("rfc-option2", "KVM_RUN", AROUND_SWITCH, f"{_PROPOSAL}, option 2"),
)
