"""Four logs of a document on AMX under KVM and TDX, as scenarios: its events, order, CPUs and values.

Source: the AMX document (kernel 6.7.0-rc1 with prints, a Sapphire Rapids host). Its "vcpu1 cpu1" and
"vcpu5" print the physical CPU; the vCPU is 0 throughout. Events that its kernel does not print, but
that must have happened, have no line.
"""

from __future__ import annotations

from layouts.scenario import Logged, Scenario

_SOURCE = "the AMX document: host and guest logs of Linux 6.7.0-rc1 on Sapphire Rapids"
#: Where the document errs, by the kernel's and the TDX module's sources.
_NUMBERS = '"vcpu1 cpu1" and "vcpu5" in its logs are the number of the physical CPU, twice; the vCPU is 0.'
_RESET = (
    'XFD and XFD_ERR are not cleared "for some reason": the VMM pushes their reset values (KVM_SET_MSRS, once before '
    "the first run)."
)
_XFD_ERR = "what no longer exits after KVM_SET_CPUID2 is the read of XFD_ERR, not of XFD."
_SAME_TWICE = (
    "the buffer is not allocated a second time: the first is the host's, for the vCPU; the second is the guest's own, "
    "for its task."
)
_MODULE = (
    "the TDX module does not trap #NM: it goes straight to the TD's kernel, and the module only saves and loads XFD "
    "and XFD_ERR at TD exit and entry."
)
#: genvm (4367) asks for permission on CPU 1; its thread CPU 0/KVM (4371) is on CPU 5, then on CPU 1.
_BOOT = (
    "arch_prctl REQ_XCOMP_GUEST_PERM 18 cpu=1",
    "clone cpu=1",
    "KVM_CREATE_VCPU thread=1 cpu=5",
    "KVM_SET_CPUID2 supported vcpu=0 cpu=5",
    "KVM_SET_MSRS XFD 0 vcpu=0 cpu=1",
    "KVM_SET_MSRS XFD_ERR 0 vcpu=0 cpu=1",
    "KVM_RUN vcpu=0 cpu=1",
    "guest boot",
)
_TD = (
    "KVM_CREATE_VM tdx cpu=1",
    "KVM_TDX_INIT_VM 0x602e7 cpu=1",
    "arch_prctl REQ_XCOMP_GUEST_PERM 18 cpu=1",
    "clone cpu=1",
    "KVM_CREATE_VCPU thread=1 cpu=126",
    "KVM_SET_CPUID2 supported vcpu=0 cpu=126",
    "KVM_RUN vcpu=0 cpu=126",
    "guest boot",
)

TRANSCRIPTS = (
    Scenario(
        "transcript-vm-boot",
        "A VM with AMX boots: permission, the host's buffer, XFD reset, the guest arms XFD",
        _BOOT,
        _SOURCE,
        log=(
            Logged(1, "153.195759", "host", 1, "guest permission 0x602e7"),
            Logged(4, "153.197451", "host", 5, "vCPU 0: guest's buffer is now 10752 bytes (fpstate_realloc)"),
            Logged(4, "153.199992", "host", 5, "vCPU 0: reads of XFD_ERR no longer exit"),
            Logged(5, "156.017353", "host", 1, "vCPU 0: XFD := 0x0"),
            Logged(6, "156.050641", "host", 1, "vCPU 0: XFD_ERR := 0x0"),
            Logged(8, "0.637404", "guest", 0, "XFD := 0x40000 (fpu__init_cpu_xstate)"),
            Logged(8, "158.501017", "host", 1, "vCPU 0: XFD := 0x40000"),
            Logged(8, "", "host", 1, "vCPU 0: XFD is passed through, #NM is trapped"),
        ),
        kernel="6.1",
        notes=(_NUMBERS, _XFD_ERR, _RESET),
    ),
    Scenario(
        "transcript-vm-sigill",
        "A program in the VM uses tiles without permission: the host only passes #NM on",
        (*_BOOT, "guest process ldtilecfg cpu=5", "guest process tileloadd 0 cpu=5"),
        _SOURCE,
        log=(
            Logged(10, "37606.449168", "host", 5, "vCPU 0: XFD_ERR = 0x40000 (vmx_handle_nm_fault_irqoff)"),
            Logged(10, "37606.468613", "host", 5, "vCPU 0: #NM is queued to the guest (handle_exception_nmi)"),
            Logged(10, "", "guest", 0, "XFD_ERR = 0x40000 (handle_xfd_event)"),
        ),
        kernel="6.1",
        notes=(_NUMBERS,),
    ),
    Scenario(
        "transcript-vm-amx",
        "A program in the VM with permission: the second buffer is the guest's own, for its task",
        (
            *_BOOT,
            "guest arch_prctl REQ_XCOMP_PERM 18 cpu=5",
            "guest process ldtilecfg",
            "guest process tileloadd 0",
            "guest process tileloadd 1",
        ),
        f"{_SOURCE}; it shows the guest's side in its TDX log and calls the two the same",
        log=(
            Logged(9, "", "guest", 0, "own permission 0x602e7"),
            Logged(11, "37606.449168", "host", 5, "vCPU 0: XFD_ERR = 0x40000 (vmx_handle_nm_fault_irqoff)"),
            Logged(11, "37606.468613", "host", 5, "vCPU 0: #NM is queued to the guest (handle_exception_nmi)"),
            Logged(11, "", "guest", 0, "XFD_ERR = 0x40000 (handle_xfd_event)"),
            Logged(11, "", "guest", 0, "task's buffer is now 10752 bytes (fpstate_realloc)"),
        ),
        kernel="6.1",
        notes=(_NUMBERS, _SAME_TWICE),
    ),
    Scenario(
        "transcript-tdx",
        "The same in a TD: after KVM_SET_CPUID2 the host sees neither XFD nor #NM",
        (
            *_TD,
            "guest process ldtilecfg",
            "guest process tileloadd 0",
            "guest exec",
            "guest arch_prctl REQ_XCOMP_PERM 18",
            "guest process ldtilecfg",
            "guest process tileloadd 0",
        ),
        _SOURCE,
        log=(
            Logged(3, "562.182167", "host", 1, "guest permission 0x602e7"),
            Logged(6, "562.184975", "host", 126, "vCPU 0: guest's buffer is now 10752 bytes (fpstate_realloc)"),
            Logged(8, "", "guest", 0, "XFD := 0x40000 (fpu__init_cpu_xstate)"),
            Logged(10, "5905.771721", "guest", 0, "XFD_ERR = 0x40000 (handle_xfd_event)"),
            Logged(12, "6073.811797", "guest", 0, "own permission 0x602e7"),
            Logged(14, "6073.845833", "guest", 0, "XFD_ERR = 0x40000 (handle_xfd_event)"),
            Logged(14, "6073.846298", "guest", 0, "task's buffer is now 10752 bytes (fpstate_realloc)"),
        ),
        notes=(_SAME_TWICE, _MODULE),
    ),
)
