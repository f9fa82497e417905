"""X0240 to X0259: segment registers against the mode and against each other."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_VMX = "Intel SDM vol. 3, VM entries, checks on the guest-state area"
_ENTRY = (
    "KVM_SET_SREGS takes it. On Intel VM entry fails (KVM_EXIT_FAIL_ENTRY, reason 0x80000021), or KVM emulates "
    "until the "
    "guest has loaded the segment; AMD looks at less."
)
_BASES = f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, __vmx_guest_state_valid"

RULES = (
    LintRule(
        "X0240",
        "error",
        "CS is no code segment",
        "In protected mode CS is usable, present, not a system segment, and of a code type that was accessed.",
        _ENTRY,
        "Restore CS as KVM_GET_SREGS gave it.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, code_segment_valid",
    ),
    LintRule(
        "X0241",
        "error",
        "CS has both L and D",
        "A 64-bit code segment has D=0; the combination is reserved.",
        _ENTRY,
        "Clear CS.D (db).",
        _VMX,
    ),
    LintRule(
        "X0242",
        "error",
        "CS and SS have different privileges",
        "SS.DPL is the CPL. A non-conforming CS has the same DPL, a conforming one at most that.",
        _ENTRY + " KVM takes the CPL from SS.DPL.",
        "Restore CS and SS of the same moment.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, code_segment_valid, vmx_get_cpl",
    ),
    LintRule(
        "X0243",
        "error",
        "SS is no stack segment",
        "A usable SS is present, writable data that was accessed (type 3 or 7).",
        _ENTRY,
        "Restore SS as KVM_GET_SREGS gave it, or mark it unusable (64-bit mode).",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, stack_segment_valid",
    ),
    LintRule(
        "X0244",
        "error",
        "a data segment is not readable",
        "A usable DS, ES, FS or GS is present, no system segment, accessed, and if it is code, readable.",
        _ENTRY,
        "Restore the segment as KVM_GET_SREGS gave it, or mark it unusable.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, data_segment_valid",
    ),
    LintRule(
        "X0245",
        "error",
        "TR is no busy TSS",
        "TR is always usable and present; its type is 11 in long mode, 3 or 11 otherwise.",
        _ENTRY,
        "Set type 11 (busy 64-bit or 32-bit TSS).",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, tr_valid",
    ),
    LintRule(
        "X0246",
        "error",
        "LDTR is usable and no LDT",
        "A usable LDTR is present, a system segment of type 2, and from the GDT.",
        _ENTRY,
        "Mark it unusable, or set type 2.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, ldtr_valid",
    ),
    LintRule(
        "X0247",
        "error",
        "a limit does not fit its granularity",
        "With G=1 the low 12 bits of the limit are ones; with G=0 bits 31:20 are zeros.",
        _ENTRY,
        "Write the limit in bytes: struct kvm_segment has no page units, and set G when it is above 1 MiB.",
        _VMX,
    ),
    LintRule(
        "X0248",
        "error",
        "a base is not canonical",
        "Bases of FS, GS, TR, a usable LDTR, GDTR and IDTR are canonical; CS, SS, DS and ES have 32 bits.",
        _ENTRY,
        "Restore the base.",
        _BASES,
    ),
    LintRule(
        "X0249",
        "error",
        "a virtual-8086 segment is not as 16-bit code has it",
        "With RFLAGS.VM each segment's base is its selector times 16, its limit 0xffff, its access rights 0xf3.",
        _ENTRY,
        "Restore segments and RFLAGS of the same moment.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, rmode_segment_valid",
    ),
    LintRule(
        "X0250",
        "error",
        "a selector of TR or LDTR points into the LDT",
        "TSS and LDT descriptors are in the GDT alone: bit 2 of their selectors is 0.",
        _ENTRY,
        "Clear the bit.",
        f"{_VMX}; Linux arch/x86/kvm/vmx/vmx.c, tr_valid, ldtr_valid",
    ),
    LintRule(
        "X0251",
        "warning",
        "a segment that is not present is usable",
        "KVM keeps both: unusable is the inverse of present for what KVM_GET_SREGS gives on AMD.",
        "AMD has no unusable bit: KVM writes present there, so the segment changes on the way between vendors.",
        "Set unusable, or present.",
        "Linux arch/x86/kvm/svm/svm.c, svm_set_segment, svm_get_segment",
    ),
)
