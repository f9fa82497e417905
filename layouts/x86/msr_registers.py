"""Bit fields of model-specific registers; EFER, the APIC base and those of CET and MPX are in ``registers``."""

from __future__ import annotations

from layouts.vocabulary import Bits, Register, flag

_SDM3 = "Intel SDM vol. 3"

PASID = Register(
    "IA32_PASID",
    "process address space identifier",
    (Bits("PASID", 0, 20, "identifier"), flag("VALID", 31, "valid")),
    "Intel SDM vol. 4 (IA32_PASID)",
)

RTIT_CTL = Register(
    "IA32_RTIT_CTL",
    "processor trace control",
    (
        flag("TraceEn", 0, "tracing"),
        flag("CYCEn", 1, "cycle packets"),
        flag("OS", 2, "trace CPL 0"),
        flag("User", 3, "trace CPL > 0"),
        flag("PwrEvtEn", 4, "power packets"),
        flag("FUPonPTW", 5, "FUP after PTW"),
        flag("FabricEn", 6, "output to the trace fabric"),
        flag("CR3Filter", 7, "filter by CR3"),
        flag("ToPA", 8, "table of physical addresses"),
        flag("MTCEn", 9, "MTC packets"),
        flag("TSCEn", 10, "TSC packets"),
        flag("DisRETC", 11, "no RET compression"),
        flag("PTWEn", 12, "PTWRITE packets"),
        flag("BranchEn", 13, "branch packets"),
        Bits("MTCFreq", 14, 4, "MTC frequency"),
        Bits("CycThresh", 19, 4, "cycle threshold"),
        Bits("PSBFreq", 24, 4, "PSB frequency"),
        flag("EventEn", 31, "event packets"),
        Bits("ADDR0_CFG", 32, 4, "address range 0"),
        Bits("ADDR1_CFG", 36, 4, "address range 1"),
        Bits("ADDR2_CFG", 40, 4, "address range 2"),
        Bits("ADDR3_CFG", 44, 4, "address range 3"),
        flag("DisTNT", 55, "no TNT packets"),
        flag("InjectPsbPmiOnEnable", 56, "PSB+ and PMI at VM entry"),
    ),
    f"{_SDM3}, 33.2.8",
)

UINTR_MISC = Register(
    "IA32_UINTR_MISC",
    "user interrupts, misc (bit 63, UIF, exists in the XSAVE image only)",
    (
        Bits("UITTSZ", 0, 32, "user-interrupt target table: highest entry"),
        Bits("UINV", 32, 8, "notification vector"),
        flag("UIF", 63, "user-interrupt flag"),
    ),
    f"{_SDM3}, chapter on user interrupts",
)

HWP_REQUEST = Register(
    "IA32_HWP_REQUEST",
    "hardware P-state request",
    (
        Bits("MIN", 0, 8, "minimum performance"),
        Bits("MAX", 8, 8, "maximum performance"),
        Bits("DESIRED", 16, 8, "desired performance"),
        Bits("EPP", 24, 8, "energy performance preference"),
        Bits("WINDOW", 32, 10, "activity window"),
        flag("PACKAGE", 42, "package control"),
    ),
    f"{_SDM3}, 15.4.4",
)

LBR_CTL = Register(
    "IA32_LBR_CTL",
    "last branch records, control",
    (
        flag("LBREn", 0, "recording"),
        flag("OS", 1, "CPL 0"),
        flag("USR", 2, "CPL > 0"),
        flag("CALL_STACK", 3, "call stack mode"),
        Bits("TYPES", 16, 7, "branch types recorded"),
    ),
    f"{_SDM3}, 19.1.2 (architectural LBR)",
)

SPEC_CTRL = Register(
    "IA32_SPEC_CTRL",
    "speculation control",
    (
        flag("IBRS", 0, "indirect branch restricted speculation"),
        flag("STIBP", 1, "single thread indirect branch predictors"),
        flag("SSBD", 2, "speculative store bypass disable"),
        flag("IPRED_DIS_U", 3, "indirect predictor disable, user"),
        flag("IPRED_DIS_S", 4, "indirect predictor disable, supervisor"),
        flag("RRSBA_DIS_U", 5, "RRSBA disable, user"),
        flag("RRSBA_DIS_S", 6, "RRSBA disable, supervisor"),
        flag("PSFD", 7, "predictive store forwarding disable"),
        flag("DDPD_U", 8, "data-dependent prefetcher disable, user"),
        flag("BHI_DIS_S", 10, "branch history injection disable, supervisor"),
    ),
    "Intel SDM vol. 4 (IA32_SPEC_CTRL)",
)

FEATURE_CONTROL = Register(
    "IA32_FEATURE_CONTROL",
    "feature control",
    (
        flag("LOCK", 0, "locked"),
        flag("VMX_IN_SMX", 1, "VMX inside SMX"),
        flag("VMX", 2, "VMX outside SMX"),
        Bits("SENTER_LOCAL", 8, 7, "SENTER local functions"),
        flag("SENTER", 15, "SENTER"),
        flag("SGX_LC", 17, "SGX launch control"),
        flag("SGX", 18, "SGX"),
        flag("LMCE", 20, "local machine check"),
    ),
    "Intel SDM vol. 4 (IA32_FEATURE_CONTROL)",
)

MISC_ENABLE = Register(
    "IA32_MISC_ENABLE",
    "miscellaneous features",
    (
        flag("FAST_STRING", 0, "fast strings"),
        flag("TCC", 3, "automatic thermal control"),
        flag("EMON", 7, "performance monitoring available"),
        flag("BTS_UNAVAIL", 11, "branch trace storage unavailable"),
        flag("PEBS_UNAVAIL", 12, "PEBS unavailable"),
        flag("EIST", 16, "enhanced SpeedStep"),
        flag("MWAIT", 18, "MONITOR and MWAIT"),
        flag("LIMIT_CPUID", 22, "CPUID limited to leaf 3"),
        flag("XTPR_DISABLE", 23, "no xTPR messages"),
        flag("XD_DISABLE", 34, "execute disable off"),
    ),
    "Intel SDM vol. 4 (IA32_MISC_ENABLE)",
)

_MEMORY_TYPE = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}

PAT = Register(
    "IA32_PAT",
    "page attribute table",
    tuple(Bits(f"PA{n}", 8 * n, 3, f"entry {n}", _MEMORY_TYPE) for n in range(8)),
    f"{_SDM3}, 12.12",
)

STAR = Register(
    "IA32_STAR",
    "SYSCALL and SYSRET selectors",
    (
        Bits("EIP", 0, 32, "32-bit SYSCALL target"),
        Bits("SYSCALL_CS", 32, 16, "SYSCALL CS"),
        Bits("SYSRET_CS", 48, 16, "SYSRET CS"),
    ),
    "Intel SDM vol. 4 (IA32_STAR)",
)
