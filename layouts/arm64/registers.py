"""Bit fields of arm64 registers that the kernel's register description does not have."""

from __future__ import annotations

from layouts.vocabulary import Bits, Register, flag

_ARM = "Arm ARM (DDI 0487)"

PSTATE = Register(
    "PSTATE",
    "process state, as SPSR_ELx holds it",
    (
        Bits(
            "M",
            0,
            4,
            "exception level and stack pointer",
            {0: "EL0t", 4: "EL1t", 5: "EL1h", 8: "EL2t", 9: "EL2h", 12: "EL3t", 13: "EL3h"},
        ),
        flag("nRW", 4, "AArch32"),
        flag("F", 6, "FIQ masked"),
        flag("I", 7, "IRQ masked"),
        flag("A", 8, "SError masked"),
        flag("D", 9, "debug exceptions masked"),
        Bits("BTYPE", 10, 2, "branch type"),
        flag("SSBS", 12, "speculative store bypass safe"),
        flag("ALLINT", 13, "all interrupts masked"),
        flag("IL", 20, "illegal execution state"),
        flag("SS", 21, "software step"),
        flag("PAN", 22, "privileged access never"),
        flag("UAO", 23, "user access override"),
        flag("DIT", 24, "data independent timing"),
        flag("TCO", 25, "tag check override"),
        flag("V", 28, "overflow"),
        flag("C", 29, "carry"),
        flag("Z", 30, "zero"),
        flag("N", 31, "negative"),
        flag("PM", 32, "PMU exception masked"),
        flag("PPEND", 33, "PMU exception pending"),
        flag("EXLOCK", 34, "exception return state lock"),
        flag("PACM", 35, "PAC with PC"),
        flag("UINJ", 36, "injected undefined instruction"),
    ),
    f"{_ARM}, C5.2 (SPSR_EL1)",
)

MIDR = Register(
    "MIDR_EL1",
    "main ID",
    (
        Bits("Revision", 0, 4, "revision (the p of rNpM)"),
        Bits(
            "PartNum",
            4,
            12,
            "part",
            {
                0xD03: "Cortex-A53",
                0xD05: "Cortex-A55",
                0xD07: "Cortex-A57",
                0xD08: "Cortex-A72",
                0xD0B: "Cortex-A76",
                0xD0C: "Neoverse N1",
                0xD40: "Neoverse V1",
                0xD47: "Cortex-A710",
                0xD49: "Neoverse N2",
                0xD4F: "Neoverse V2",
                0xD83: "Neoverse V3AE",
                0xD84: "Neoverse V3",
                0xD8E: "Neoverse N3",
                0x001: "A64FX (Fujitsu)",
                0x000: "emulated or reserved",
            },
        ),
        Bits("Architecture", 16, 4, "architecture", {15: "by ID registers"}),
        Bits("Variant", 20, 4, "variant (the r of rNpM)"),
        Bits(
            "Implementer",
            24,
            8,
            "implementer",
            {
                0x00: "reserved for software",
                0x41: "Arm",
                0x42: "Broadcom",
                0x43: "Cavium",
                0x46: "Fujitsu",
                0x48: "HiSilicon",
                0x4E: "NVIDIA",
                0x51: "Qualcomm",
                0x61: "Apple",
                0x6D: "Microsoft",
                0xC0: "Ampere",
            },
        ),
    ),
    f"{_ARM}, D24.2 (MIDR_EL1); Linux arch/arm64/include/asm/cputype.h",
)

MPIDR = Register(
    "MPIDR_EL1",
    "multiprocessor affinity",
    (
        Bits("Aff0", 0, 8, "affinity 0"),
        Bits("Aff1", 8, 8, "affinity 1"),
        Bits("Aff2", 16, 8, "affinity 2"),
        flag("MT", 24, "affinity 0 counts threads"),
        flag("U", 30, "uniprocessor"),
        flag("RES1", 31, "reads as one"),
        Bits("Aff3", 32, 8, "affinity 3"),
    ),
    f"{_ARM}, D24.2 (MPIDR_EL1)",
)

_CACHE_TYPES = {
    0: "no cache",
    1: "instructions",
    2: "data",
    3: "instructions and data, separate",
    4: "unified",
}
_TAG_TYPES = {0: "no tag cache", 1: "tags alone", 2: "unified, in one line", 3: "unified, in separate lines"}
CLIDR = Register(
    "CLIDR_EL1",
    "cache hierarchy",
    (
        *(Bits(f"Ctype{n}", 3 * (n - 1), 3, f"level {n}", _CACHE_TYPES) for n in range(1, 8)),
        Bits("LoUIS", 21, 3, "level of unification, inner shareable"),
        Bits("LoC", 24, 3, "level of coherence"),
        Bits("LoUU", 27, 3, "level of unification, uniprocessor"),
        Bits("ICB", 30, 3, "last level of inner cacheable"),
        *(Bits(f"Ttype{n}", 33 + 2 * (n - 1), 2, f"tags of level {n}", _TAG_TYPES) for n in range(1, 8)),
    ),
    f"{_ARM}, D24.2 (CLIDR_EL1)",
)

_EXCEPTION_CLASS = {
    0x00: "unknown reason",
    0x01: "WFI or WFE",
    0x07: "SVE, SIMD or floating point",
    0x09: "pointer authentication",
    0x0D: "branch target",
    0x0E: "illegal execution state",
    0x11: "SVC (AArch32)",
    0x15: "SVC",
    0x16: "HVC",
    0x17: "SMC",
    0x18: "MSR, MRS or system instruction",
    0x19: "SVE",
    0x1A: "ERET",
    0x1C: "pointer authentication failure",
    0x1D: "SME",
    0x20: "instruction abort, lower EL",
    0x21: "instruction abort, same EL",
    0x22: "PC alignment",
    0x24: "data abort, lower EL",
    0x25: "data abort, same EL",
    0x26: "SP alignment",
    0x27: "memory copy or set",
    0x28: "floating point (AArch32)",
    0x2C: "floating point",
    0x2D: "guarded control stack",
    0x2F: "SError",
    0x30: "breakpoint, lower EL",
    0x31: "breakpoint, same EL",
    0x32: "software step, lower EL",
    0x33: "software step, same EL",
    0x34: "watchpoint, lower EL",
    0x35: "watchpoint, same EL",
    0x3C: "BRK",
}

ESR = Register(
    "ESR_ELx",
    "exception syndrome",
    (
        Bits("ISS", 0, 25, "syndrome of the class"),
        flag("IL", 25, "32-bit instruction"),
        Bits("EC", 26, 6, "exception class", _EXCEPTION_CLASS),
        Bits("ISS2", 32, 24, "syndrome, second part"),
    ),
    f"{_ARM}, D24.2 (ESR_EL1)",
)

_MEMORY_ATTRIBUTE = {
    0x00: "Device-nGnRnE",
    0x04: "Device-nGnRE",
    0x08: "Device-nGRE",
    0x0C: "Device-GRE",
    0x40: "Normal, non-cacheable, XS",
    0x44: "Normal, non-cacheable",
    0xA0: "Normal, write-through, XS",
    0xBB: "Normal, write-through",
    0xF0: "Normal, tagged",
    0xFF: "Normal, write-back",
}

MAIR = Register(
    "MAIR_ELx",
    "memory attributes",
    tuple(Bits(f"Attr{n}", 8 * n, 8, f"attribute {n}", _MEMORY_ATTRIBUTE) for n in range(8)),
    f"{_ARM}, D24.2 (MAIR_EL1)",
)

PMCR = Register(
    "PMCR_EL0",
    "performance monitors control",
    (
        flag("E", 0, "enabled"),
        flag("P", 1, "event counter reset"),
        flag("C", 2, "cycle counter reset"),
        flag("D", 3, "cycle counter counts every 64th"),
        flag("X", 4, "export of events"),
        flag("DP", 5, "cycle counter off where prohibited"),
        flag("LC", 6, "64-bit cycle counter"),
        flag("LP", 7, "64-bit event counters"),
        flag("FZO", 9, "freeze on overflow"),
        Bits("N", 11, 5, "event counters"),
        Bits("IDCODE", 16, 8, "identification"),
        Bits("IMP", 24, 8, "implementer"),
        flag("FZS", 32, "freeze on SPE event"),
    ),
    f"{_ARM}, D24.5 (PMCR_EL0)",
)

CNT_CTL = Register(
    "CNTx_CTL",
    "timer control",
    (flag("ENABLE", 0, "enabled"), flag("IMASK", 1, "interrupt masked"), flag("ISTATUS", 2, "condition met")),
    f"{_ARM}, D24.10 (CNTV_CTL_EL0)",
)

CNTKCTL = Register(
    "CNTKCTL_EL1",
    "counter-timer kernel control",
    (
        flag("EL0PCTEN", 0, "physical counter at EL0"),
        flag("EL0VCTEN", 1, "virtual counter at EL0"),
        flag("EVNTEN", 2, "event stream"),
        flag("EVNTDIR", 3, "on a 1 to 0 transition"),
        Bits("EVNTI", 4, 4, "bit that triggers"),
        flag("EL0VTEN", 8, "virtual timer at EL0"),
        flag("EL0PTEN", 9, "physical timer at EL0"),
        flag("EVNTIS", 17, "scale of EVNTI"),
    ),
    f"{_ARM}, D24.10 (CNTKCTL_EL1)",
)

FPSR = Register(
    "FPSR",
    "floating-point status",
    (
        flag("IOC", 0, "invalid operation"),
        flag("DZC", 1, "division by zero"),
        flag("OFC", 2, "overflow"),
        flag("UFC", 3, "underflow"),
        flag("IXC", 4, "inexact"),
        flag("IDC", 7, "input denormal"),
        flag("QC", 27, "saturation"),
    ),
    f"{_ARM}, C5.2 (FPSR)",
)

TAGGED_ADDR_CTRL = Register(
    "TAGGED_ADDR_CTRL",
    "PR_SET_TAGGED_ADDR_CTRL of the thread",
    (
        flag("TAGGED_ADDR", 0, "tagged addresses in system calls"),
        Bits("TCF", 1, 2, "tag check faults", {0: "none", 1: "synchronous", 2: "asynchronous", 3: "as preferred"}),
        Bits("TAGS", 3, 16, "tags that IRG may give"),
    ),
    "Linux include/uapi/linux/prctl.h",
)

PAC_KEYS = Register(
    "PAC_ENABLED_KEYS",
    "pointer authentication keys in force",
    (flag("APIA", 0), flag("APIB", 1), flag("APDA", 2), flag("APDB", 3), flag("APGA", 4)),
    "Linux include/uapi/linux/prctl.h, PR_PAC_*",
)

GCS_MODE = Register(
    "GCS",
    "guarded control stack modes",
    (flag("ENABLE", 0, "enabled"), flag("WRITE", 1, "GCSSTR allowed"), flag("PUSH", 2, "GCSPUSHM allowed")),
    "Linux include/uapi/linux/prctl.h, PR_SHADOW_STACK_*",
)

#: By register name: what replaces or completes the generated table.
REGISTERS = {
    "MIDR_EL1": MIDR,
    "VPIDR_EL2": MIDR,
    "MPIDR_EL1": MPIDR,
    "VMPIDR_EL2": MPIDR,
    **dict.fromkeys(("ESR_EL1", "ESR_EL2", "ESR_EL3", "ESR_EL12"), ESR),
    **dict.fromkeys(("MAIR_EL1", "MAIR_EL2", "MAIR_EL3", "MAIR_EL12"), MAIR),
    **dict.fromkeys(("SPSR_EL1", "SPSR_EL2", "SPSR_EL3", "SPSR_EL12"), PSTATE),
    "CLIDR_EL1": CLIDR,
    "PMCR_EL0": PMCR,
    **dict.fromkeys(("CNTV_CTL_EL0", "CNTP_CTL_EL0", "CNTHV_CTL_EL2", "CNTHP_CTL_EL2", "CNTPS_CTL_EL1"), CNT_CTL),
    "CNTKCTL_EL1": CNTKCTL,
    "FPSR": FPSR,
}
