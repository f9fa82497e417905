"""x86 kernel profiles: what differs between Linux versions in XSAVE, permission and KVM, as data.

Each is read from the source of the version that it names, from these files:

- arch/x86/include/asm/fpu/types.h (enum xfeature) and xstate.h (XFEATURE_MASK_*);
- arch/x86/kernel/fpu/xstate.c (fpu_xstate_prctl), arch/x86/kernel/process.c (do_arch_prctl_common);
- arch/x86/kvm/x86.c (KVM_SUPPORTED_XCR0, KVM_SUPPORTED_XSS, kvm_vm_ioctl_check_extension), x86.h
  (kvm_get_filtered_xcr0), cpuid.c (leaf 0xD), vmx/tdx.c.
"""

from __future__ import annotations

from layouts.kernels import Kernel, profile_among
from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    from typing import Any


class X86Kernel(Kernel):
    """A Linux version on x86; each field is named by the mask or rule that it is.

    Linux: ``xfeature_max`` is XFEATURE_MAX: component numbers from here on are out of range. ``user_supported`` and
    ``supervisor_supported`` are XFEATURE_MASK_USER_SUPPORTED and XFEATURE_MASK_SUPERVISOR_SUPPORTED: what Linux keeps
    where the CPU has it. ``guest_supervisor`` is XFEATURE_MASK_GUEST_SUPERVISOR: those of them that only guests'
    buffers hold. ``user_dynamic`` is XFEATURE_MASK_USER_DYNAMIC: what a buffer holds only after permission; without
    any there is no XFD and no ARCH_GET_XCOMP_* or ARCH_REQ_XCOMP_* (arch_prctl gives EINVAL).

    KVM: ``kvm_xcr0`` is KVM_SUPPORTED_XCR0, ``kvm_xss`` KVM_SUPPORTED_XSS (0: supported_xss is). ``kvm_xsave2``
    tells whether there is KVM_CAP_XSAVE2, ``kvm_tdx`` whether KVM can run TDs. ``filters_xtile``: KVM hides XTILECFG
    too when XTILEDATA is not permitted (kvm_get_filtered_xcr0); else it offers XTILECFG alone.
    ``defers_intercepts``: KVM_SET_CPUID2 only asks for MSR intercepts to be looked at anew, which the next entry
    does (KVM_REQ_RECALC_INTERCEPTS, kvm_vcpu_after_set_cpuid).
    """

    xfeature_max: int
    user_supported: int
    supervisor_supported: int
    guest_supervisor: int = 0
    user_dynamic: int
    kvm_xcr0: int
    kvm_xss: int = 0
    kvm_xsave2: bool
    kvm_tdx: bool = False
    filters_xtile: bool = False
    defers_intercepts: bool = False

    @property
    def source(self) -> str:
        """Where the masks are from."""
        return f"{self.provenance}: arch/x86/include/asm/fpu, arch/x86/kvm/x86.c, cpuid.c"


def _after(before: X86Kernel, name: str, *, since: str = "", package: str = "", **changed: Any) -> X86Kernel:
    """The next profile: what changed since the one before."""
    return before.replaced(name=name, since=since, package=package, **changed)


_5_10 = X86Kernel(
    name="5.10",
    version="5.10.262",
    package="Debian linux-source-5.10 5.10.262-1",
    xfeature_max=16,
    user_supported=0x2FF,
    supervisor_supported=0x400,
    user_dynamic=0,
    kvm_xcr0=0x2FF,
    kvm_xsave2=False,
)
# AMX came to tasks in 5.16 and to guests in 5.17.
_6_1 = _after(
    _5_10,
    "6.1",
    since="5.17",
    version="6.1.192",
    package="Debian linux-source-6.1 6.1.192-2",
    xfeature_max=19,
    user_supported=0x602FF,
    user_dynamic=0x40000,
    kvm_xcr0=0x602FF,
    kvm_xsave2=True,
)
_6_6 = _after(_6_1, "6.6", version="6.6.9", supervisor_supported=0xC00, filters_xtile=True)
_6_12 = _after(_6_6, "6.12", version="6.12.117", package="Debian linux-source-6.12 6.12.117-1")
_6_16 = _after(_6_12, "6.16", version="6.16.1", xfeature_max=20, user_supported=0xE02FF, kvm_tdx=True)
_6_17 = _after(_6_16, "6.17", version="6.17.0", supervisor_supported=0x1C00, guest_supervisor=0x1000)
_6_18 = _after(_6_17, "6.18", version="6.18.2", kvm_xss=0x1800, defers_intercepts=True)
_6_19 = _after(_6_18, "6.19", version="6.19.9")
_7_0 = _after(_6_19, "7.0", version="7.0.0")
_7_1 = _after(_7_0, "7.1", version="7.1.3")
_7_2 = _after(_7_1, "7.2", version="7.2.13", package="Debian linux-source-7.2 7.2.13-1")
_7_3 = _after(_7_2, "7.3", version="7.3.4", package="Debian linux-source-7.3 7.3.4-1~bpo13+1")

_KERNELS = (_5_10, _6_1, _6_6, _6_12, _6_16, _6_17, _6_18, _6_19, _7_0, _7_1, _7_2, _7_3)


@cache
def kernels() -> dict[str, X86Kernel]:
    """The profiles by name, oldest first."""
    return {kernel.name: kernel for kernel in _KERNELS}


def profile_for(release: str) -> X86Kernel:
    """The profile that answers for a release. Raises UnknownReleaseError."""
    return profile_among(kernels(), release)


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


def policies() -> dict[str, Policy]:
    """Policies by name."""
    return {policy.name: policy for policy in POLICIES}
