"""KVM's MSRs by release: which it lists, and what differs between releases in its checks, as data.

Read from arch/x86/kvm of the sources that ``layouts/x86/kernels.py`` names: x86.c (from 7.3 on msrs.c), svm/svm.c,
vmx/vmx.c, mtrr.c, pmu.c, hyperv.c. What a stable update changed inside a series is in ``_STABLE``.
"""

from __future__ import annotations

from layouts.light import TYPE_CHECKING, NamedTuple, Record, cache

if TYPE_CHECKING:
    from typing import Any

Release = tuple[int, int, int]


class MsrRules(Record):
    """The rules of one release; the defaults are those of 5.10.

    Lists: ``lbr_listed``: DEBUGCTL and the last branch MSRs. ``unsupported_is_zero``: what an MSR that KVM lists but
    does not have for this guest answers to the host: nothing (""), 0 where it is one of ``saved``
    (kvm_is_msr_to_save), or where it is ``listed`` at all (kvm_is_advertised_msr). ``pmu_only_if_on``: the PMU's MSRs
    are listed with enable_pmu only. ``ovf_ctrl_listed``: PERF_GLOBAL_OVF_CTRL is one of them.

    Addresses: ``canonical_by_host``: bases and SYSENTER addresses are as wide as the host's, whatever CR4.LA57 of the
    guest (is_noncanonical_msr_address). ``sysenter_halves``: AMD keeps the upper half only for a guest that is Intel's.
    ``tsc_aux_is_common``: TSC_AUX is cut to 32 bits, and refused beyond for a guest that is Intel's.
    ``intel_unless_amd``: a guest without CPUID counts as Intel's. ``svm_bases``: kvm-amd has FS_BASE and GS_BASE.

    Feature MSRs: ``frozen_after_run``: after the first KVM_RUN only the present value is taken (do_set_msr);
    ``frozen_in_guest_mode``: in L2 too. ``frozen_is_not_stored``: the equal value is not stored again.
    ``needs_arch_capabilities``: ARCH_CAPABILITIES and PERF_CAPABILITIES need their CPUID bit. ``arch_capabilities``:
    KVM_SUPPORTED_ARCH_CAP. ``stuffs_features``: KVM_X86_QUIRK_STUFF_FEATURE_MSRS gives feature MSRs their values.
    ``perf_capabilities_are_stuffed``: PERF_CAPABILITIES begins as what KVM supports. ``platform_info_listed``: it is
    a feature MSR. ``platform_info_fault``: bit 31 stays while CPUID faulting is on (cpuid_fault_enabled).

    Commands: ``pred_cmd_by_bit``: PRED_CMD 0 is taken without IBPB. ``sbpb``: PRED_CMD has SBPB.
    ``flush_cmd``: KVM has FLUSH_CMD.

    HWCR: ``hwcr``: bits that it takes. ``hwcr_keeps``: 0 is taken but the bit stays. ``hwcr_cpuid_user_dis``: bit 35
    with its CPUID bit.

    ``misc_enable``: MISC_ENABLE at reset. ``efer_lmsle_by_cpu``: EFER.LMSLE goes where the CPU says it must be 0.
    ``efer_by_caps``: EFER's bits follow KVM's features (kvm_setup_efer_caps).

    ``mce_ctl2``: KVM has MC0_CTL2 and following. ``mtrr_any``: the whole range to 0x2ff is kvm_mtrr_set_msr's.
    ``mtrr_shift_wraps``: addresses are masked by a shift, of which the CPU takes six bits (5.10: ~0 << maxphyaddr).

    ``xfd``: KVM has XFD and XFD_ERR. ``xss_needs_xsaves``: XSS needs XSAVES in the guest's CPUID, and what it may have
    is the guest's (guest_supported_xss), else KVM's. ``cet``: KVM has the CET MSRs.

    Paravirtual: ``pv_is_unsupported``: an MSR that an enforced CPUID hides is unsupported, before it is refused.
    ``pv_stores_first``: ASYNC_PF_EN and PV_EOI_EN keep the value although its address is refused.

    AMD: ``tsc_ratio``: KVM has AMD64_TSC_RATIO. ``lbr_writes``: the last branch MSRs can be set with lbrv=1.
    ``debugctl_reserved``: bits that DEBUGCTL refuses with LBR virtualization. ``debugctl_drops``: bits that it drops.

    Intel: ``feature_control_host``: the host may set every bit of FEATURE_CONTROL that KVM knows, else only those that
    the guest's CPUID enables. ``debugctl_rtm``: DEBUGCTL.RTM where the CPU has RTM. ``debugctl_in_common``: DEBUGCTL
    is kvm_set_msr_common's nop. ``tsx_ctrl_listed``: TSX_CTRL is listed. ``vmx_is_range``: the feature MSRs begin with
    the VMX range.

    PMU: ``global_ctrl_reset``: the counters that PERF_GLOBAL_CTRL begins with: none (""), the general ones (``gp``),
    or ``all``. ``global_status_any``: the host may set any bit of PERF_GLOBAL_STATUS. ``ovf_ctrl_kept``:
    PERF_GLOBAL_OVF_CTRL reads back. ``in_tx_cp_any``: IN_TX_CHECKPOINTED is there with IN_TX, else for counter 2 alone.
    ``pebs``: KVM has PEBS_ENABLE, PEBS_DATA_CFG and DS_AREA.
    ``pmu_always``: AMD's counters are there whatever the parameter, the F15H ones whatever CPUID.
    ``pmu_needs_version``: AMD's counters need the version that kvm_pmu_refresh finds. ``perfmon_v2``: AMD's global
    MSRs. ``global_status_set``: PERF_CNTR_GLOBAL_STATUS_SET.

    Local APIC: ``icr_is_whole``: ICR is one register of 64 bits, other registers have 32. ``icr_reserved``: its
    reserved bits are refused.

    Hyper-V: ``invariant_tsc``: TSC_INVARIANT_CONTROL. ``max_vcpus``: KVM_MAX_VCPUS, from 6.7 on
    CONFIG_KVM_MAX_NR_VCPUS, which is 4096 in Debian's kernels.
    """

    unsupported_is_zero: str = ""
    pmu_only_if_on: bool = False
    canonical_by_host: bool = False
    sysenter_halves: bool = False
    tsc_aux_is_common: bool = False
    intel_unless_amd: bool = False
    svm_bases: bool = False
    frozen_after_run: bool = False
    frozen_in_guest_mode: bool = False
    frozen_is_not_stored: bool = False
    needs_arch_capabilities: bool = False
    arch_capabilities: int = 0
    stuffs_features: bool = False
    perf_capabilities_are_stuffed: bool = False
    platform_info_listed: bool = False
    platform_info_fault: bool = True
    pred_cmd_by_bit: bool = False
    sbpb: bool = False
    flush_cmd: bool = False
    hwcr: int = 1 << 18
    hwcr_keeps: bool = True
    hwcr_cpuid_user_dis: bool = False
    misc_enable: int = 0
    efer_lmsle_by_cpu: bool = False
    efer_by_caps: bool = False
    mce_ctl2: bool = False
    mtrr_any: bool = True
    mtrr_shift_wraps: bool = True
    xfd: bool = False
    xss_needs_xsaves: bool = False
    cet: bool = False
    pv_is_unsupported: bool = False
    pv_stores_first: bool = True
    tsc_ratio: bool = False
    lbr_listed: bool = False
    lbr_writes: bool = False
    debugctl_reserved: int = ~0x3F
    debugctl_drops: int = 0
    feature_control_host: bool = False
    debugctl_rtm: bool = False
    debugctl_in_common: bool = True
    tsx_ctrl_listed: bool = False
    vmx_is_range: bool = False
    global_ctrl_reset: str = "all"
    global_status_any: bool = True
    ovf_ctrl_kept: bool = True
    in_tx_cp_any: bool = True
    pebs: bool = False
    pmu_always: bool = True
    pmu_needs_version: bool = False
    perfmon_v2: bool = False
    global_status_set: bool = False
    ovf_ctrl_listed: bool = True
    icr_is_whole: bool = False
    icr_reserved: bool = False
    invariant_tsc: bool = False
    max_vcpus: int = 288


#: KVM_SUPPORTED_ARCH_CAP: RDCL_NO, IBRS_ALL, RSBA, SKIP_VMENTRY_L1DFLUSH, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TSX_CTRL,
#: TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, FB_CLEAR, RRSBA, PBRSB_NO, GDS_NO.
_ARCH_CAP = 0x1FF | 0xE000 | 1 << 17 | 1 << 19 | 1 << 24 | 1 << 26
#: RFDS_NO, RFDS_CLEAR; BHI_NO, which 5.10 has not got (5.10.262 does not pass it); ITS_NO after them.
_BHI, _ITS = 1 << 20, 1 << 62
_ARCH_CAP_RFDS = _ARCH_CAP | 1 << 27 | 1 << 28
_ARCH_CAP_ITS = _ARCH_CAP_RFDS | _BHI | _ITS


def _after(before: MsrRules, **changed: Any) -> MsrRules:
    return before.replaced(**changed)


_5_10 = MsrRules(arch_capabilities=_ARCH_CAP)
_6_1 = _after(
    _5_10,
    unsupported_is_zero="saved",
    sysenter_halves=True,
    tsc_aux_is_common=True,
    misc_enable=0x1800,
    mce_ctl2=True,
    mtrr_shift_wraps=False,
    xfd=True,
    tsc_ratio=True,
    debugctl_reserved=~3,
    debugctl_drops=0x3C,
    debugctl_in_common=False,
    global_ctrl_reset="",
    ovf_ctrl_kept=False,
    in_tx_cp_any=False,
    pebs=True,
    pmu_always=False,
    icr_is_whole=True,
    pv_stores_first=False,
    max_vcpus=1024,
)
_6_6 = _after(
    _6_1,
    pmu_only_if_on=True,
    frozen_after_run=True,
    frozen_is_not_stored=True,
    perf_capabilities_are_stuffed=True,
    flush_cmd=True,
    mtrr_any=False,
    feature_control_host=True,
    tsx_ctrl_listed=True,
    vmx_is_range=True,
    global_status_any=False,
    perfmon_v2=True,
    invariant_tsc=True,
    debugctl_reserved=~0x3F,
    debugctl_drops=0,
)
_6_12 = _after(
    _6_6,
    unsupported_is_zero="listed",
    canonical_by_host=True,
    intel_unless_amd=True,
    svm_bases=True,
    frozen_is_not_stored=False,
    arch_capabilities=_ARCH_CAP_ITS,
    stuffs_features=True,
    pred_cmd_by_bit=True,
    sbpb=True,
    hwcr=1 << 18 | 1 << 24,
    hwcr_keeps=False,
    pv_is_unsupported=True,
    debugctl_reserved=~1,
    debugctl_drops=2,
    debugctl_rtm=True,
    global_ctrl_reset="gp",
    ovf_ctrl_listed=False,
    icr_reserved=True,
    max_vcpus=4096,
)
_6_16 = _after(
    _6_12,
    needs_arch_capabilities=True,
    platform_info_listed=True,
    platform_info_fault=False,
    pv_is_unsupported=False,
)
_6_17 = _6_16
_6_18 = _after(
    _6_17,
    xss_needs_xsaves=True,
    cet=True,
    pmu_needs_version=True,
    global_status_set=True,
)
_6_19 = _after(_6_18, pv_is_unsupported=True, efer_lmsle_by_cpu=True)
_7_0 = _after(_6_19, frozen_in_guest_mode=True)
_7_1 = _after(_7_0, efer_by_caps=True, lbr_listed=True, lbr_writes=True)
_7_2 = _after(_7_1, hwcr_cpuid_user_dis=True)

#: By major and minor number, oldest first.
RULES: dict[tuple[int, int], MsrRules] = {
    (5, 10): _5_10,
    (6, 1): _6_1,
    (6, 6): _6_6,
    (6, 12): _6_12,
    (6, 16): _6_16,
    (6, 17): _6_17,
    (6, 18): _6_18,
    (6, 19): _6_19,
    (7, 0): _7_0,
    (7, 1): _7_1,
    (7, 2): _7_2,
}

#: What an update of a stable series changed: series, the first update that is known to have it, what.
_STABLE: tuple[tuple[tuple[int, int], int, dict[str, Any]], ...] = (
    # RFDS and BHI in spring 2024, ITS in May 2025.
    ((5, 10), 213, {"arch_capabilities": _ARCH_CAP_RFDS}),
    ((5, 10), 238, {"arch_capabilities": _ARCH_CAP_RFDS | _ITS}),
    ((6, 1), 82, {"arch_capabilities": _ARCH_CAP_RFDS | _BHI}),
    ((6, 1), 139, {"arch_capabilities": _ARCH_CAP_ITS}),
    ((6, 6), 22, {"arch_capabilities": _ARCH_CAP_RFDS | _BHI}),
    ((6, 6), 91, {"arch_capabilities": _ARCH_CAP_ITS}),
    ((6, 1), 176, {"svm_bases": True, "icr_reserved": True}),
    ((6, 1), 192, {"pv_is_unsupported": True, "debugctl_rtm": True}),
    # Listed by 6.18.30 (Amazon's 6.18.30-61.116, Firecracker's fingerprints), not by 6.18.15.
    ((6, 18), 30, {"lbr_listed": True, "lbr_writes": True}),
    ((6, 12), 117, {"lbr_listed": True, "lbr_writes": True, "debugctl_drops": 0x3E, "global_status_set": True}),
)


@cache
def rules_for(release: Release) -> MsrRules:
    """The rules of a release, as major, minor and stable number: the newest that is not newer."""
    series, update = release[:2], release[2]
    found = next((rules for at, rules in reversed(RULES.items()) if at <= series), _5_10)
    for at, since, changed in _STABLE:
        if at == series and update >= since:
            found = found.replaced(**changed)
    return found


class Listed(NamedTuple):
    """Indexes of a list that some series have, in the kernel's order.

    ``needs``: names of conditions (``inspector/machine/x86/kvm/msrs/lists.py``) beside that RDMSR answers.
    """

    indexes: tuple[int, ...]
    needs: str = ""
    since: tuple[int, int] = (0, 0)
    until: tuple[int, int] = (99, 0)


def _listed(text: str, needs: str = "", since: tuple[int, int] = (0, 0), until: tuple[int, int] = (99, 0)) -> Listed:
    indexes: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        indexes.extend(range(int(first, 16), int(last or first, 16) + 1))
    return Listed(tuple(indexes), needs, since, until)


#: msrs_to_save_base.
SAVED = (
    _listed("174 175 176 c0000081 c0000083 c0000102 c0000084 c0000082 10 277 c0010117 3a"),
    _listed("d90", "mpx"),
    _listed("c0000103", "rdtscp"),
    _listed("48"),
    _listed("122", "tsx_ctrl", since=(6, 6)),
    _listed("570 571", "pt"),
    _listed("572", "pt_cr3"),
    _listed("560 561", "pt_output"),
    _listed("580-587", "pt_ranges"),
    _listed("e1", "waitpkg"),
    # In 6.1 the PMU's stand before them.
    _listed("1c4 1c5", "xfd", since=(6, 6)),
    _listed("da0", "xss", since=(6, 18)),
    _listed("6a0 6a2", "cet", since=(6, 18)),
    _listed("6a4-6a7", "shstk", since=(6, 18)),
    _listed("6a8", "shstk_lm", since=(6, 18)),
    _listed("1d9 1db-1de", "lbr"),
)
#: msrs_to_save_pmu; up to 6.1 the end of the list above.
SAVED_PMU = (
    _listed("309-30b", "fixed"),
    _listed("38d 38e 38f"),
    _listed("390", "ovf_ctrl"),
    _listed("3f1 600 3f2", since=(6, 1)),
    _listed("c1-c8", "gp"),
    _listed("c9-d2", "gp", until=(5, 10)),
    _listed("186-18d", "gp"),
    _listed("18e-197", "gp", until=(5, 10)),
    _listed("c0010000-c0010007"),
    _listed("c0010200 c0010202 c0010204 c0010206 c0010208 c001020a"),
    _listed("c0010201 c0010203 c0010205 c0010207 c0010209 c001020b"),
    _listed("c0000301 c0000300 c0000302", "perfmon_v2"),
    _listed("c0000303", "status_set"),
    _listed("1c4 1c5", "xfd", since=(6, 1), until=(6, 1)),
)
#: emulated_msrs_all.
EMULATED = (
    _listed("12 11 4b564d01 4b564d00 40000000 40000001 40000020-40000023 40000100-40000105 40000003 40000002 40000010"),
    _listed("40000080 400000b0 40000073 40000106-40000108"),
    _listed("40000118", since=(6, 2)),
    _listed("400000ff 400000f1-400000f5 4b564d02 4b564d03 4b564d04 4b564d06 4b564d07"),
    _listed("3b 6e0 10a 345 1a0 17a 17b"),
    _listed("4d0", "vmx"),
    _listed("9e", "smbase"),
    _listed("34 ce 140"),
    _listed("c001011f", "svm"),
    _listed("c0000104", "svm", since=(6, 1)),
    _listed("1fc 8b"),
    _listed("480 48d 48e 48f 490 485 486 488 48a 48b 48c 491", "nested_vmx"),
    _listed("c0010015 4b564d05"),
)
#: msr_based_features_all: the VMX ones, from 6.6 on as a range.
FEATURE_VMX = _listed("480 48d 481 48e 482 48f 483 490 484 485 486 487 488 489 48a 48b 48c 491", "nested_vmx")
FEATURE_VMX_RANGE = _listed("480-491", "nested_vmx")
#: msr_based_features_all_except_vmx.
FEATURES = (
    _listed("c0011029", "svm"),
    _listed("8b 10a 345"),
    _listed("ce", since=(6, 16)),
)
