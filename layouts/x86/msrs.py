"""Model-specific registers by number: names, and bit meanings where they are read by people.

Sources: Intel SDM vol. 4, AMD APM vol. 2, Linux ``arch/x86/include/asm/msr-index.h``,
``arch/x86/include/uapi/asm/kvm_para.h`` and Hyper-V's TLFS for the 0x40000000 range.
"""

from __future__ import annotations

from collections.abc import Mapping

from layouts.light import cache
from layouts.vocabulary import Register
from layouts.x86 import msr_registers as msr
from layouts.x86 import registers as reg
from layouts.x86.xsave_views import XSTATE_BITMAP

MSR_NAMES = {
    0x10: "IA32_TIME_STAMP_COUNTER",
    0x11: "MSR_KVM_WALL_CLOCK",
    0x12: "MSR_KVM_SYSTEM_TIME",
    0x1B: "IA32_APIC_BASE",
    0x34: "MSR_SMI_COUNT",
    0x3A: "IA32_FEATURE_CONTROL",
    0x3B: "IA32_TSC_ADJUST",
    0x48: "IA32_SPEC_CTRL",
    0x49: "IA32_PRED_CMD",
    0x8B: "IA32_BIOS_SIGN_ID",
    0x9E: "IA32_SMBASE",
    0xC1: "IA32_PMC0",
    0xCE: "MSR_PLATFORM_INFO",
    0xE1: "IA32_UMWAIT_CONTROL",
    0xFE: "IA32_MTRRCAP",
    0x10A: "IA32_ARCH_CAPABILITIES",
    0x10B: "IA32_FLUSH_CMD",
    0x122: "IA32_TSX_CTRL",
    0x140: "MSR_MISC_FEATURES_ENABLES",
    0x174: "IA32_SYSENTER_CS",
    0x175: "IA32_SYSENTER_ESP",
    0x176: "IA32_SYSENTER_EIP",
    0x179: "IA32_MCG_CAP",
    0x17A: "IA32_MCG_STATUS",
    0x17B: "IA32_MCG_CTL",
    0x186: "IA32_PERFEVTSEL0",
    0x198: "IA32_PERF_STATUS",
    0x1A0: "IA32_MISC_ENABLE",
    0x1C4: "IA32_XFD",
    0x1C5: "IA32_XFD_ERR",
    0x1D0: "IA32_FRED_STKLVLS",
    0x1D1: "IA32_FRED_SSP1",
    0x1D2: "IA32_FRED_SSP2",
    0x1D3: "IA32_FRED_SSP3",
    0x1D4: "IA32_FRED_CONFIG",
    0x1D9: "IA32_DEBUGCTL",
    0x1DB: "MSR_LASTBRANCHFROMIP",
    0x1DC: "MSR_LASTBRANCHTOIP",
    0x1DD: "MSR_LASTINTFROMIP",
    0x1DE: "MSR_LASTINTTOIP",
    0x1FC: "MSR_POWER_CTL",
    0x200: "IA32_MTRR_PHYSBASE0",
    0x201: "IA32_MTRR_PHYSMASK0",
    0x250: "IA32_MTRR_FIX64K_00000",
    0x258: "IA32_MTRR_FIX16K_80000",
    0x259: "IA32_MTRR_FIX16K_A0000",
    0x277: "IA32_PAT",
    0x2FF: "IA32_MTRR_DEF_TYPE",
    0x309: "IA32_FIXED_CTR0",
    0x30A: "IA32_FIXED_CTR1",
    0x30B: "IA32_FIXED_CTR2",
    0x345: "IA32_PERF_CAPABILITIES",
    0x38D: "IA32_FIXED_CTR_CTRL",
    0x38E: "IA32_PERF_GLOBAL_STATUS",
    0x38F: "IA32_PERF_GLOBAL_CTRL",
    0x390: "IA32_PERF_GLOBAL_OVF_CTRL",
    0x3F1: "IA32_PEBS_ENABLE",
    0x3F2: "MSR_PEBS_DATA_CFG",
    0x600: "IA32_DS_AREA",
    0x400: "IA32_MC0_CTL",
    0x401: "IA32_MC0_STATUS",
    0x402: "IA32_MC0_ADDR",
    0x403: "IA32_MC0_MISC",
    0x480: "IA32_VMX_BASIC",
    0x481: "IA32_VMX_PINBASED_CTLS",
    0x482: "IA32_VMX_PROCBASED_CTLS",
    0x483: "IA32_VMX_EXIT_CTLS",
    0x484: "IA32_VMX_ENTRY_CTLS",
    0x485: "IA32_VMX_MISC",
    0x486: "IA32_VMX_CR0_FIXED0",
    0x487: "IA32_VMX_CR0_FIXED1",
    0x488: "IA32_VMX_CR4_FIXED0",
    0x489: "IA32_VMX_CR4_FIXED1",
    0x48A: "IA32_VMX_VMCS_ENUM",
    0x48B: "IA32_VMX_PROCBASED_CTLS2",
    0x48C: "IA32_VMX_EPT_VPID_CAP",
    0x48D: "IA32_VMX_TRUE_PINBASED_CTLS",
    0x48E: "IA32_VMX_TRUE_PROCBASED_CTLS",
    0x48F: "IA32_VMX_TRUE_EXIT_CTLS",
    0x490: "IA32_VMX_TRUE_ENTRY_CTLS",
    0x491: "IA32_VMX_VMFUNC",
    0x4C1: "IA32_A_PMC0",
    0x4D0: "IA32_MCG_EXT_CTL",
    0x560: "IA32_RTIT_OUTPUT_BASE",
    0x561: "IA32_RTIT_OUTPUT_MASK_PTRS",
    0x570: "IA32_RTIT_CTL",
    0x571: "IA32_RTIT_STATUS",
    0x572: "IA32_RTIT_CR3_MATCH",
    0x6A0: "IA32_U_CET",
    0x6A2: "IA32_S_CET",
    0x6A4: "IA32_PL0_SSP",
    0x6A5: "IA32_PL1_SSP",
    0x6A6: "IA32_PL2_SSP",
    0x6A7: "IA32_PL3_SSP",
    0x6A8: "IA32_INTERRUPT_SSP_TABLE_ADDR",
    0x6E0: "IA32_TSC_DEADLINE",
    0x6E1: "IA32_PKRS",
    0xD90: "IA32_BNDCFGS",
    0xDA0: "IA32_XSS",
    0x14CE: "IA32_LBR_CTL",
    0x14CF: "IA32_LBR_DEPTH",
    0x40000000: "HV_X64_MSR_GUEST_OS_ID",
    0x40000001: "HV_X64_MSR_HYPERCALL",
    0x40000002: "HV_X64_MSR_VP_INDEX",
    0x40000003: "HV_X64_MSR_RESET",
    0x40000010: "HV_X64_MSR_VP_RUNTIME",
    0x40000020: "HV_X64_MSR_TIME_REF_COUNT",
    0x40000021: "HV_X64_MSR_REFERENCE_TSC",
    0x40000022: "HV_X64_MSR_TSC_FREQUENCY",
    0x40000023: "HV_X64_MSR_APIC_FREQUENCY",
    0x40000073: "HV_X64_MSR_VP_ASSIST_PAGE",
    0x40000080: "HV_X64_MSR_SCONTROL",
    0x40000081: "HV_X64_MSR_SVERSION",
    0x40000082: "HV_X64_MSR_SIEFP",
    0x40000083: "HV_X64_MSR_SIMP",
    0x40000084: "HV_X64_MSR_EOM",
    0x400000F1: "HV_X64_MSR_SYNDBG_CONTROL",
    0x400000F2: "HV_X64_MSR_SYNDBG_STATUS",
    0x400000F3: "HV_X64_MSR_SYNDBG_SEND_BUFFER",
    0x400000F4: "HV_X64_MSR_SYNDBG_RECV_BUFFER",
    0x400000F5: "HV_X64_MSR_SYNDBG_PENDING_BUFFER",
    0x400000FF: "HV_X64_MSR_SYNDBG_OPTIONS",
    0x40000100: "HV_X64_MSR_CRASH_P0",
    0x40000101: "HV_X64_MSR_CRASH_P1",
    0x40000102: "HV_X64_MSR_CRASH_P2",
    0x40000103: "HV_X64_MSR_CRASH_P3",
    0x40000104: "HV_X64_MSR_CRASH_P4",
    0x40000105: "HV_X64_MSR_CRASH_CTL",
    0x40000106: "HV_X64_MSR_REENLIGHTENMENT_CONTROL",
    0x40000107: "HV_X64_MSR_TSC_EMULATION_CONTROL",
    0x40000108: "HV_X64_MSR_TSC_EMULATION_STATUS",
    0x40000118: "HV_X64_MSR_TSC_INVARIANT_CONTROL",
    0x4B564D00: "MSR_KVM_WALL_CLOCK_NEW",
    0x4B564D01: "MSR_KVM_SYSTEM_TIME_NEW",
    0x4B564D02: "MSR_KVM_ASYNC_PF_EN",
    0x4B564D03: "MSR_KVM_STEAL_TIME",
    0x4B564D04: "MSR_KVM_PV_EOI_EN",
    0x4B564D05: "MSR_KVM_POLL_CONTROL",
    0x4B564D06: "MSR_KVM_ASYNC_PF_INT",
    0x4B564D07: "MSR_KVM_ASYNC_PF_ACK",
    0x4B564D08: "MSR_KVM_MIGRATION_CONTROL",
    0xC0000080: "IA32_EFER",
    0xC0000081: "IA32_STAR",
    0xC0000082: "IA32_LSTAR",
    0xC0000083: "IA32_CSTAR",
    0xC0000084: "IA32_FMASK",
    0xC0000100: "IA32_FS_BASE",
    0xC0000101: "IA32_GS_BASE",
    0xC0000102: "IA32_KERNEL_GS_BASE",
    0xC0000103: "IA32_TSC_AUX",
    0xC0000104: "MSR_AMD64_TSC_RATIO",
    0xC0000300: "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS",
    0xC0000301: "MSR_AMD64_PERF_CNTR_GLOBAL_CTL",
    0xC0000302: "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR",
    0xC0000303: "MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET",
    0xC0010000: "MSR_K7_EVNTSEL0",
    0xC0010010: "MSR_K8_SYSCFG",
    0xC0010015: "MSR_K7_HWCR",
    0xC0010058: "MSR_FAM10H_MMIO_CONF_BASE",
    0xC0010114: "MSR_VM_CR",
    0xC0010117: "MSR_VM_HSAVE_PA",
    0xC001011F: "MSR_AMD64_VIRT_SPEC_CTRL",
    0xC0010140: "MSR_AMD64_OSVW_ID_LENGTH",
    0xC0010141: "MSR_AMD64_OSVW_STATUS",
    0xC0011029: "MSR_AMD64_DE_CFG",
}

MSR_REGISTERS: dict[int, Register] = {
    0x1B: reg.APIC_BASE,
    0x3A: msr.FEATURE_CONTROL,
    0x48: msr.SPEC_CTRL,
    0x1A0: msr.MISC_ENABLE,
    0x1C4: XSTATE_BITMAP,
    0x1C5: XSTATE_BITMAP,
    0x277: msr.PAT,
    0x6A0: reg.CET,
    0x6A2: reg.CET,
    0xD90: reg.BNDCFG,
    0xDA0: XSTATE_BITMAP,
    0xC0000080: reg.EFER,
    0xC0000081: msr.STAR,
    0xC0000084: reg.RFLAGS,
}

#: Ranges of like registers: first number, how many, name with ``{n}``.
MSR_RANGES = (
    (0xC1, 8, "IA32_PMC{n}"),
    (0x186, 8, "IA32_PERFEVTSEL{n}"),
    (0x8C, 4, "IA32_SGXLEPUBKEYHASH{n}"),
    (0x1CC, 4, "IA32_FRED_RSP{n}"),
    (0x309, 8, "IA32_FIXED_CTR{n}"),
    (0x4C1, 8, "IA32_A_PMC{n}"),
    (0x800, 64, "IA32_X2APIC_{n:#x}"),
    (0x40000090, 16, "HV_X64_MSR_SINT{n}"),
    (0xC0010200, 12, "MSR_F15H_PERF_{n}"),
)

#: Ranges whose names follow two numbers: machine checks, MTRRs, addresses of PT, Hyper-V's timers.
_BANKS, _MTRRS, _FIXED_MTRRS = range(0x400, 0x480), range(0x200, 0x220), range(0x268, 0x270)
_RTIT_ADDRESSES, _STIMERS = range(0x580, 0x588), range(0x400000B0, 0x400000B8)


def msr_name(index: int) -> str:
    """The name of an MSR, or ``MSR_0x...`` when the table has none."""
    name = MSR_NAMES.get(index)
    if name:
        return name
    for first, count, pattern in MSR_RANGES:
        if first <= index < first + count:
            return pattern.format(n=index - first)
    if index in _BANKS:
        bank, kind = divmod(index - 0x400, 4)
        return f"IA32_MC{bank}_{('CTL', 'STATUS', 'ADDR', 'MISC')[kind]}"
    if index in _MTRRS:
        kind_name = "PHYSMASK" if index & 1 else "PHYSBASE"
        return f"IA32_MTRR_{kind_name}{(index - 0x200) // 2}"
    if index in _FIXED_MTRRS:
        return f"IA32_MTRR_FIX4K_{0xC0000 + 0x8000 * (index - 0x268):X}"
    if index in _RTIT_ADDRESSES:
        return f"IA32_RTIT_ADDR{(index - 0x580) // 2}_{'B' if index & 1 else 'A'}"
    if index in _STIMERS:
        return f"HV_X64_MSR_STIMER{(index - 0x400000B0) // 2}_{'COUNT' if index & 1 else 'CONFIG'}"
    return f"MSR_{index:#x}"


@cache
def msr_numbers() -> Mapping[str, int]:
    """Every MSR that has a name, by it."""
    counted = (range(first, first + count) for first, count, _ in MSR_RANGES)
    made = (*counted, _BANKS, _MTRRS, _FIXED_MTRRS, _RTIT_ADDRESSES, _STIMERS)
    return {msr_name(index): index for numbers in (*made, MSR_NAMES) for index in numbers}
