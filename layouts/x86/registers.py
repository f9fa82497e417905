"""Bit fields of the x86 registers that people read: control, flags, FPU, debug, CET."""

from __future__ import annotations

from layouts.vocabulary import Bits, Register, flag

_SDM1 = "Intel SDM vol. 1"
_SDM3 = "Intel SDM vol. 3"

_ROUNDING = {0: "nearest even", 1: "down", 2: "up", 3: "toward zero"}

FCW = Register(
    "FCW",
    "x87 control word",
    (
        flag("IM", 0, "invalid operation masked"),
        flag("DM", 1, "denormal operand masked"),
        flag("ZM", 2, "divide by zero masked"),
        flag("OM", 3, "overflow masked"),
        flag("UM", 4, "underflow masked"),
        flag("PM", 5, "precision masked"),
        flag("R6", 6, "reads as one"),
        Bits(
            "PC",
            8,
            2,
            "precision control",
            {0: "24-bit", 1: "reserved", 2: "53-bit", 3: "64-bit"},
        ),
        Bits("RC", 10, 2, "rounding control", _ROUNDING),
        flag("X", 12, "infinity control (no effect since the 80387)"),
    ),
    f"{_SDM1}, 8.1.5",
)

FSW = Register(
    "FSW",
    "x87 status word",
    (
        flag("IE", 0, "invalid operation"),
        flag("DE", 1, "denormal operand"),
        flag("ZE", 2, "divide by zero"),
        flag("OE", 3, "overflow"),
        flag("UE", 4, "underflow"),
        flag("PE", 5, "precision"),
        flag("SF", 6, "stack fault"),
        flag("ES", 7, "exception summary"),
        flag("C0", 8, "condition code 0"),
        flag("C1", 9, "condition code 1"),
        flag("C2", 10, "condition code 2"),
        Bits("TOP", 11, 3, "top of the register stack"),
        flag("C3", 14, "condition code 3"),
        flag("B", 15, "busy"),
    ),
    f"{_SDM1}, 8.1.3",
)

FTW = Register(
    "FTW",
    "abridged x87 tag word: 1 = the physical register holds a value",
    tuple(flag(f"R{n}", n, f"physical register {n} is not empty") for n in range(8)),
    f"{_SDM1}, 10.5.1.1",
)

_TAGS = {0: "valid", 1: "zero", 2: "special", 3: "empty"}

TAG_WORD = Register(
    "FTW",
    "x87 tag word: what each physical register holds",
    tuple(Bits(f"TAG{n}", 2 * n, 2, f"physical register {n}", _TAGS) for n in range(8)),
    f"{_SDM1}, 8.1.7",
)

MXCSR = Register(
    "MXCSR",
    "SSE control and status",
    (
        flag("IE", 0, "invalid operation"),
        flag("DE", 1, "denormal operand"),
        flag("ZE", 2, "divide by zero"),
        flag("OE", 3, "overflow"),
        flag("UE", 4, "underflow"),
        flag("PE", 5, "precision"),
        flag("DAZ", 6, "denormals are zeros"),
        flag("IM", 7, "invalid operation masked"),
        flag("DM", 8, "denormal operand masked"),
        flag("ZM", 9, "divide by zero masked"),
        flag("OM", 10, "overflow masked"),
        flag("UM", 11, "underflow masked"),
        flag("PM", 12, "precision masked"),
        Bits("RC", 13, 2, "rounding control", _ROUNDING),
        flag("FTZ", 15, "flush to zero"),
        flag("MM", 17, "misaligned exception mask (AMD)"),
    ),
    f"{_SDM1}, 10.2.3; AMD APM vol. 1, 4.2.2",
)

RFLAGS = Register(
    "RFLAGS",
    "flags",
    (
        flag("CF", 0, "carry"),
        flag("R1", 1, "reads as one"),
        flag("PF", 2, "parity"),
        flag("AF", 4, "auxiliary carry"),
        flag("ZF", 6, "zero"),
        flag("SF", 7, "sign"),
        flag("TF", 8, "trap"),
        flag("IF", 9, "interrupts enabled"),
        flag("DF", 10, "direction"),
        flag("OF", 11, "overflow"),
        Bits("IOPL", 12, 2, "I/O privilege level"),
        flag("NT", 14, "nested task"),
        flag("RF", 16, "resume"),
        flag("VM", 17, "virtual-8086 mode"),
        flag("AC", 18, "alignment check / access control"),
        flag("VIF", 19, "virtual interrupt flag"),
        flag("VIP", 20, "virtual interrupt pending"),
        flag("ID", 21, "CPUID available"),
    ),
    f"{_SDM1}, 3.4.3",
)

CR0 = Register(
    "CR0",
    "control register 0",
    (
        flag("PE", 0, "protection enabled"),
        flag("MP", 1, "monitor coprocessor"),
        flag("EM", 2, "emulation: x87 and SSE instructions fault"),
        flag("TS", 3, "task switched: the next FPU use raises #NM"),
        flag("ET", 4, "extension type"),
        flag("NE", 5, "numeric error"),
        flag("WP", 16, "write protect"),
        flag("AM", 18, "alignment mask"),
        flag("NW", 29, "not write-through"),
        flag("CD", 30, "cache disable"),
        flag("PG", 31, "paging"),
    ),
    f"{_SDM3}, 2.5",
)

CR3 = Register(
    "CR3",
    "control register 3: page table root",
    (
        flag("PWT", 3, "page-level write-through, or PCID bit 3"),
        flag("PCD", 4, "page-level cache disable, or PCID bit 4"),
        Bits("PDB", 12, 40, "page frame of the top-level table"),
        flag("LAM_U57", 61, "linear address masking, 57 bits, user"),
        flag("LAM_U48", 62, "linear address masking, 48 bits, user"),
    ),
    f"{_SDM3}, 2.5 and 4.5",
)

CR4 = Register(
    "CR4",
    "control register 4",
    (
        flag("VME", 0, "virtual-8086 extensions"),
        flag("PVI", 1, "protected-mode virtual interrupts"),
        flag("TSD", 2, "RDTSC only at CPL 0"),
        flag("DE", 3, "debugging extensions"),
        flag("PSE", 4, "page size extensions"),
        flag("PAE", 5, "physical address extension"),
        flag("MCE", 6, "machine check"),
        flag("PGE", 7, "global pages"),
        flag("PCE", 8, "RDPMC at any CPL"),
        flag("OSFXSR", 9, "the OS uses FXSAVE: SSE enabled"),
        flag("OSXMMEXCPT", 10, "the OS handles #XM"),
        flag("UMIP", 11, "user-mode instruction prevention"),
        flag("LA57", 12, "5-level paging"),
        flag("VMXE", 13, "VMX"),
        flag("SMXE", 14, "SMX"),
        flag("FSGSBASE", 16, "RDFSBASE and friends"),
        flag("PCIDE", 17, "process-context identifiers"),
        flag("OSXSAVE", 18, "XSAVE, XSETBV and XCR0 enabled"),
        flag("KL", 19, "key locker"),
        flag("SMEP", 20, "supervisor-mode execution prevention"),
        flag("SMAP", 21, "supervisor-mode access prevention"),
        flag("PKE", 22, "protection keys for user pages"),
        flag("CET", 23, "control-flow enforcement"),
        flag("PKS", 24, "protection keys for supervisor pages"),
        flag("UINTR", 25, "user interrupts"),
        flag("LASS", 27, "linear address space separation"),
        flag("LAM_SUP", 28, "linear address masking, supervisor"),
        flag("FRED", 32, "flexible return and event delivery"),
    ),
    f"{_SDM3}, 2.5",
)

CR8 = Register("CR8", "task priority", (Bits("TPL", 0, 4, "task priority"),), f"{_SDM3}, 2.5")

EFER = Register(
    "EFER",
    "extended feature enable",
    (
        flag("SCE", 0, "SYSCALL enabled"),
        flag("LME", 8, "long mode enabled"),
        flag("LMA", 10, "long mode active"),
        flag("NXE", 11, "no-execute enabled"),
        flag("SVME", 12, "SVM enabled (AMD)"),
        flag("LMSLE", 13, "long mode segment limits (AMD)"),
        flag("FFXSR", 14, "fast FXSAVE (AMD)"),
        flag("TCE", 15, "translation cache extension (AMD)"),
        flag("MCOMMIT", 17, "MCOMMIT enabled (AMD)"),
        flag("INTWB", 18, "interruptible WBINVD (AMD)"),
        flag("UAIE", 20, "upper address ignore (AMD)"),
        flag("AIBRSE", 21, "automatic IBRS (AMD)"),
    ),
    f"{_SDM3}, 2.2.1; AMD APM vol. 2, 3.1.7",
)

APIC_BASE = Register(
    "IA32_APIC_BASE",
    "local APIC base",
    (
        flag("BSP", 8, "bootstrap processor"),
        flag("EXTD", 10, "x2APIC mode"),
        flag("EN", 11, "APIC enabled"),
        Bits("BASE", 12, 40, "page frame of the APIC"),
    ),
    f"{_SDM3}, 11.4.4",
)

DR6 = Register(
    "DR6",
    "debug status",
    (
        *(flag(f"B{n}", n, f"breakpoint {n} hit") for n in range(4)),
        Bits("R4", 4, 7, "reads as ones"),
        flag("BLD", 11, "bus lock detected (0 = yes)"),
        flag("BD", 13, "debug register access detected"),
        flag("BS", 14, "single step"),
        flag("BT", 15, "task switch"),
        flag("RTM", 16, "in a transactional region (0 = yes)"),
        Bits("R17", 17, 15, "reads as ones"),
    ),
    f"{_SDM3}, 18.2.3",
)

_DR7_WHEN = {0: "execute", 1: "write", 2: "I/O", 3: "read or write"}
_DR7_LENGTH = {0: "1 byte", 1: "2 bytes", 2: "8 bytes", 3: "4 bytes"}

DR7 = Register(
    "DR7",
    "debug control",
    (
        *(
            bit
            for n in range(4)
            for bit in (
                flag(f"L{n}", 2 * n, f"breakpoint {n} on, this task"),
                flag(f"G{n}", 2 * n + 1, f"breakpoint {n} on, all tasks"),
            )
        ),
        flag("LE", 8, "exact local breakpoints"),
        flag("GE", 9, "exact global breakpoints"),
        flag("R10", 10, "reads as one"),
        flag("RTM", 11, "debugging of transactional regions"),
        flag("GD", 13, "general detect"),
        *(
            bits
            for n in range(4)
            for bits in (
                Bits(f"RW{n}", 16 + 4 * n, 2, f"breakpoint {n}: when", _DR7_WHEN),
                Bits(f"LEN{n}", 18 + 4 * n, 2, f"breakpoint {n}: length", _DR7_LENGTH),
            )
        ),
    ),
    f"{_SDM3}, 18.2.4",
)

PKRU = Register(
    "PKRU",
    "protection key rights, user",
    tuple(
        bit
        for key in range(16)
        for bit in (
            flag(f"AD{key}", 2 * key, f"key {key}: access disabled"),
            flag(f"WD{key}", 2 * key + 1, f"key {key}: write disabled"),
        )
    ),
    f"{_SDM3}, 4.6.2",
)

CET = Register(
    "IA32_U_CET",
    "control-flow enforcement",
    (
        flag("SH_STK_EN", 0, "shadow stacks"),
        flag("WR_SHSTK_EN", 1, "WRSS enabled"),
        flag("ENDBR_EN", 2, "indirect branch tracking"),
        flag("LEG_IW_EN", 3, "legacy compatibility treatment"),
        flag("NO_TRACK_EN", 4, "no-track prefix"),
        flag("SUPPRESS_DIS", 5, "suppression of tracking disabled"),
        flag("SUPPRESS", 10, "tracking suppressed"),
        flag("TRACKER", 11, "waiting for ENDBRANCH"),
        Bits("EB_LEG_BITMAP", 12, 52, "page frame of the legacy code bitmap"),
    ),
    f"{_SDM1}, 18.1 (chapter on CET)",
)

BNDCFG = Register(
    "BNDCFGU",
    "MPX configuration",
    (
        flag("EN", 0, "MPX enabled"),
        flag("BNDPRESERVE", 1, "branches keep the bounds"),
        Bits("BASE", 12, 52, "page frame of the bound directory"),
    ),
    f"{_SDM1}, appendix E (MPX)",
)

BNDSTATUS = Register(
    "BNDSTATUS",
    "MPX status",
    (
        Bits("EC", 0, 2, "error code", {0: "none", 1: "bound violation", 2: "invalid BDE"}),
        Bits("ABD", 2, 62, "address of the bound directory entry"),
    ),
    f"{_SDM1}, appendix E (MPX)",
)

SVR = Register(
    "SVR",
    "APIC spurious interrupt vector",
    (
        Bits("VECTOR", 0, 8, "vector"),
        flag("ENABLED", 8, "APIC software enabled"),
        flag("FOCUS_OFF", 9, "focus processor checking off"),
        flag("EOI_SUPPRESS", 12, "EOI broadcast suppression"),
    ),
    f"{_SDM3}, 11.9",
)

LVT = Register(
    "LVT",
    "APIC local vector table entry",
    (
        Bits("VECTOR", 0, 8, "vector"),
        Bits("MODE", 8, 3, "delivery", {0: "fixed", 2: "SMI", 4: "NMI", 5: "INIT", 7: "ExtINT"}),
        flag("PENDING", 12, "send pending"),
        flag("LOW", 13, "active low"),
        flag("IRR", 14, "remote IRR"),
        flag("LEVEL", 15, "level triggered"),
        flag("MASKED", 16, "masked"),
        Bits("TIMER", 17, 2, "timer", {0: "one-shot", 1: "periodic", 2: "TSC deadline"}),
    ),
    f"{_SDM3}, 11.5.1",
)

VCPU_EVENTS_FLAGS = Register(
    "flags",
    "which parts of kvm_vcpu_events are valid",
    (
        flag("NMI_PENDING", 0, "nmi.pending is valid"),
        flag("SIPI_VECTOR", 1, "sipi_vector is valid"),
        flag("SHADOW", 2, "interrupt.shadow is valid"),
        flag("SMM", 3, "smi is valid"),
        flag("PAYLOAD", 4, "exception payload is valid"),
        flag("TRIPLE_FAULT", 5, "triple_fault is valid"),
    ),
    "Linux arch/x86/include/uapi/asm/kvm.h",
)

SREGS2_FLAGS = Register(
    "flags",
    "kvm_sregs2 flags",
    (flag("PDPTRS_VALID", 0, "pdptrs are valid"),),
    "Linux arch/x86/include/uapi/asm/kvm.h",
)
