"""Scenarios: what users ran into with XSAVE state under KVM, as events one after the other."""

from __future__ import annotations

from typing import NamedTuple


class Scenario(NamedTuple):
    """Events on a host, in order.

    ``host`` is a CPU layout, ``kernel`` a kernel profile, ``policy`` how KVM deals with
    dynamic components (``layouts.x86.kernels``).
    An event is a line of words as ``inspector sim --help`` lists them. ``source`` tells where
    the problem was reported or which rule it shows.
    """

    name: str
    title: str
    events: tuple[str, ...]
    source: str
    host: str = "sapphire-rapids"
    kernel: str = "7.2"
    policy: str = "upstream"


_PERMITTED = (
    "arch_prctl REQ_XCOMP_GUEST_PERM 18",
    "KVM_CREATE_VCPU",
    "KVM_SET_CPUID2 supported",
)
_TILES_IN_USE = (
    *_PERMITTED,
    "guest xsetbv 0x602e7",
    "guest ldtilecfg",
    "guest tileloadd 0",
)
_XFD_OVER_TILES = (
    *_PERMITTED,
    "KVM_RUN",
    "guest xsetbv 0x602e7",
    "guest ldtilecfg",
    "guest tileloadd 0",
    "guest wrmsr XFD 0x40000",
)

SCENARIOS = (
    Scenario(
        "snapshot-einval",
        "A snapshot fails with EINVAL once AMX is on",
        (
            *_TILES_IN_USE,
            "KVM_GET_XSAVE",
            "KVM_CHECK_EXTENSION KVM_CAP_XSAVE2",
            "KVM_GET_XSAVE2",
        ),
        "Cloud Hypervisor issues 5800 and 7533",
    ),
    Scenario(
        "permission-too-late",
        "Guest permission is asked for after the first vCPU",
        (
            "KVM_CREATE_VCPU",
            "arch_prctl REQ_XCOMP_GUEST_PERM 18",
            "KVM_SET_CPUID2 amx",
        ),
        "fpu_lock_guest_permissions (fpu/core.c)",
    ),
    Scenario(
        "no-amx-in-guest",
        "The VMM never asked, so the guest has no AMX and every tile instruction is #UD",
        (
            "KVM_CREATE_VCPU",
            "KVM_CHECK_EXTENSION KVM_CAP_XSAVE2",
            "KVM_SET_CPUID2 supported",
            "guest xsetbv 0x602e7",
            "guest xsetbv 0x2e7",
            "guest ldtilecfg",
        ),
        "Firecracker pull request 5065",
    ),
    Scenario(
        "guest-xfd",
        "The guest's kernel arms XFD; the first tile instruction of its process is #NM",
        (
            *_PERMITTED,
            "guest xsetbv 0x602e7",
            "guest wrmsr XFD 0x40000",
            "guest ldtilecfg",
            "guest tileloadd 0",
            "guest rdmsr XFD_ERR",
            "guest wrmsr XFD_ERR 0",
            "guest wrmsr XFD 0",
            "guest tileloadd 0",
            "KVM_GET_XSAVE2",
        ),
        "handle_xfd_event (traps.c), vmx_handle_nm_fault_irqoff (vmx.c)",
    ),
    Scenario(
        "xfd-drops-tiles",
        "The guest sets XFD[18] while tiles are in use: the data may go, and does",
        (*_TILES_IN_USE, "KVM_GET_XSAVE2", "guest wrmsr XFD 0x40000", "KVM_GET_XSAVE2"),
        "fpu_update_guest_xfd (fpu/core.c), commit b45f72177594",
    ),
    Scenario(
        "host-oops",
        "KVM_SET_MSRS sets XFD[18] over live tiles; the next KVM_RUN takes the host down",
        (*_TILES_IN_USE, "KVM_SET_MSRS XFD 0x40000", "guest xgetbv 0"),
        "fpu_swap_kvm_fpstate (fpu/core.c); recorded on 6.12.107 and 7.2.13 with an emulated CPU",
    ),
    Scenario(
        "process-sigill",
        "A program uses tiles without permission",
        (
            "process ldtilecfg",
            "process tileloadd",
            "arch_prctl REQ_XCOMP_PERM 18",
            "process tileloadd",
            "exec",
            "process tileloadd",
        ),
        "handle_xfd_event (traps.c)",
    ),
    Scenario(
        "small-altstack",
        "An alternate signal stack is too small for a frame with tiles",
        (
            "sigaltstack 4096",
            "arch_prctl REQ_XCOMP_PERM 18",
            "sigaltstack 16384",
            "arch_prctl REQ_XCOMP_PERM 18",
            "sigaltstack 4096",
        ),
        "xstate_request_perm (fpu/xstate.c), sigaltstack_size_valid (kernel/signal.c)",
    ),
    Scenario(
        "rfc-on-demand",
        "The proposal gives room when the guest could first use it, not at KVM_SET_CPUID2",
        (
            *_PERMITTED,
            "guest wrmsr XFD 0x40000",
            "guest xsetbv 0x602e7",
            "guest wrmsr XFD 0",
            "guest wrmsr XFD 0x40000",
        ),
        "the proposal for AMX in KVM of 2021",
        policy="rfc",
    ),
    Scenario(
        "rfc-preempt",
        "Tiles in use, XFD[18] set, VM exit, preempted: XSAVES loses the tiles",
        (*_XFD_OVER_TILES, "preempt", "guest wrmsr XFD 0", "return", "KVM_GET_XSAVE2"),
        "the proposal for AMX in KVM of 2021, hazard a; see it with --policy rfc-option1, rfc-option2, upstream",
        policy="rfc",
    ),
    Scenario(
        "rfc-softirq",
        "Tiles in use, XFD[18] set, VM exit, a softirq uses the FPU: XSAVES loses the tiles",
        (*_XFD_OVER_TILES, "softirq", "guest wrmsr XFD 0", "return", "KVM_GET_XSAVE2"),
        "the proposal for AMX in KVM of 2021, hazard b; see it with --policy rfc-option1, rfc-option2, upstream",
        policy="rfc",
    ),
    Scenario(
        "allocation-fails",
        "There is no memory for the larger buffer",
        (
            "arch_prctl REQ_XCOMP_GUEST_PERM 18",
            "KVM_CREATE_VCPU",
            "fail_allocation",
            "KVM_SET_CPUID2 supported",
            "KVM_SET_CPUID2 supported",
            "arch_prctl REQ_XCOMP_PERM 18",
            "process ldtilecfg",
            "fail_allocation",
            "process tileloadd",
        ),
        "__xfd_enable_feature (fpu/xstate.c), handle_xfd_event (traps.c)",
    ),
)


def scenarios() -> dict[str, Scenario]:
    """Scenarios by name."""
    return {scenario.name: scenario for scenario in SCENARIOS}
