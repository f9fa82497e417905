"""What sensibly comes after a refused call, an exception, lost state or an oops: see ``layouts.next_step``.

``xcr0`` is the XCR0 that was asked for with all that goes with it, ``tiles`` the vCPU's XCR0 with tiles.
"""

from __future__ import annotations

from layouts.next_step import NextStep
from layouts.x86.xsave import XTILE

_PERMISSION = "arch_prctl REQ_XCOMP_GUEST_PERM 18"
_LOCKS = "fpu_lock_guest_permissions (fpu/core.c)"
_XSTATE = "Linux Documentation/arch/x86/xstate.rst"

NEXT_STEPS = (
    NextStep(
        "host-oops",
        "",
        "XFD & XSTATE_BV",
        ("undo", "KVM_SET_MSRS XFD 0", "{again}"),
        "take it back, clear XFD, run again: the image has what XFD turns off",
        "fpu_swap_kvm_fpstate (fpu/core.c); restore XFD after the image, to 0 or where XSTATE_BV is 0",
    ),
    NextStep("host-oops", "", "", ("undo",), "take it back: this host is down", "exc_device_not_available (traps.c)"),
    NextStep(
        "ok",
        "^(preempt|softirq|return)",
        r"lost: \d+ bytes",
        ("undo", "guest wrmsr XFD 0", "{again}"),
        "take it back, clear XFD in the guest, and again: nothing is lost",
        "save_fpregs_to_fpstate (fpu/core.c)",
    ),
    NextStep(
        "ok",
        "^(preempt|softirq|return)",
        r"lost: \d+ bytes",
        ("place policy=rfc-option1",),
        "the same under an option that clears XFD at each exit",
        "the proposal for AMX in KVM of 2021, option 1",
    ),
    NextStep(
        "#NM",
        "^guest (?!process)",
        "XFD",
        ("guest wrmsr XFD_ERR 0", "guest wrmsr XFD 0", "{again}"),
        "what the guest's #NM handler does: clear XFD_ERR and XFD, and again",
        "handle_xfd_event (traps.c)",
    ),
    NextStep(
        "#NM",
        "^guest (?!process)",
        "XFD",
        ("guest rdmsr XFD_ERR",),
        "which component it was: XFD_ERR",
        "Intel SDM vol. 1, 13.14",
    ),
    NextStep(
        "#UD",
        "^guest (?!process)",
        r"XCR0\[18:17\] = 11",
        ("guest xsetbv {tiles}", "{again}"),
        "set both bits of XCR0, and again",
        "Intel SDM vol. 1, 13.3",
        XTILE,
    ),
    NextStep(
        "#UD|SIGILL",
        "^(?P<who>guest process|guest|process)",
        "tile is configured",
        ("{who} ldtilecfg", "{again}"),
        "configure the tiles, and again",
        "Intel SDM vol. 2, LDTILECFG",
    ),
    NextStep(
        "#GP",
        "^guest xsetbv",
        "both or none|AVX-512: all three|AVX has SSE",
        ("guest xsetbv {xcr0}",),
        "with all that goes together",
        "Intel SDM vol. 1, 13.3",
    ),
    NextStep(
        "#GP|#UD",
        "^guest (xsetbv|ldtilecfg|tileloadd)",
        "guest's CPUID and KVM have",
        (f"first {_PERMISSION}",),
        "ask for permission before the first vCPU, and all events again",
        _LOCKS,
    ),
    NextStep(
        "EPERM",
        "^KVM_SET_CPUID2",
        "guest permission",
        (f"first {_PERMISSION}",),
        "ask before the first vCPU, and all events again",
        _LOCKS,
    ),
    NextStep(
        "EBUSY",
        "^arch_prctl REQ_XCOMP_GUEST_PERM",
        "no vCPU was created yet",
        ("first {again}",),
        "ask before the first vCPU, and all events again",
        _LOCKS,
    ),
    NextStep(
        "EINVAL",
        "^KVM_GET_XSAVE",
        "fits in 4096 bytes",
        ("KVM_GET_XSAVE2",),
        "the call that takes a larger image",
        "kvm_vcpu_ioctl_x86_get_xsave (x86.c)",
    ),
    NextStep(
        "SIGILL",
        "^(?P<who>guest )?process",
        r"permission for component (?P<component>\d+)",
        ("{who}arch_prctl REQ_XCOMP_PERM {component}", "{again}"),
        "ask the kernel for permission, and again",
        _XSTATE,
    ),
    NextStep(
        "ENOSPC",
        "^arch_prctl REQ_XCOMP_PERM",
        r"alternate stack has (?P<size>\d+) bytes",
        ("sigaltstack {size}", "{again}"),
        "a larger alternate stack, and again",
        "validate_sigaltstack (fpu/xstate.c)",
    ),
    NextStep(
        "EFAULT|SIGSEGV",
        "",
        "memory for the larger buffer",
        ("{again}",),
        "there is memory now: again",
        "fpstate_realloc (fpu/xstate.c)",
    ),
    NextStep(
        "E[A-Z]+|#[A-Z]+",
        "",
        r"\(from (?P<release>\d+\.\d+) on\)",
        ("place kernel={release}",),
        "all events again on the first kernel that has it",
        "inspector layouts kernels",
    ),
)
