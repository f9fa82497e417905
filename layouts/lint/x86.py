"""Rules over x86 state."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_XSAVE = "Intel SDM vol. 1, 13.4 to 13.8"

RULES = (
    LintRule(
        "X0101",
        "error",
        "XSTATE_BV has a component that XCR0 does not",
        "The image says that a component is in use which the vCPU has not enabled in XCR0.",
        "KVM_SET_XSAVE compares with what the host supports and takes the image; XRSTOR of the guest's own XCR0 never "
        "loads the component, so its registers are lost. Set before KVM_SET_XCRS of a narrower XCR0, they stay hidden.",
        "Set XCR0 to hold the component, or clear the bit in XSTATE_BV.",
        "Linux arch/x86/kernel/fpu/xstate.c, validate_user_xstate_header; " + _XSAVE,
    ),
    LintRule(
        "X0102",
        "error",
        "XCOMP_BV or reserved bytes of the XSAVE header are not zero",
        "The image is in the standard format, where XCOMP_BV and the reserved bytes of the header are 0.",
        "KVM_SET_XSAVE answers EINVAL; XRSTOR raises #GP.",
        "Write zeros, or convert the image from the compacted format (inspector convert).",
        "Linux arch/x86/kernel/fpu/xstate.c, validate_user_xstate_header; Intel SDM vol. 1, 13.8.1",
    ),
    LintRule(
        "X0103",
        "error",
        "MXCSR has reserved bits",
        "Bits outside MXCSR_MASK are set in the image's MXCSR.",
        "KVM_SET_XSAVE and KVM_SET_FPU answer EINVAL; FXRSTOR and XRSTOR raise #GP.",
        "Clear the bits.",
        "Linux arch/x86/kernel/fpu/core.c, fpu_copy_uabi_to_guest_fpstate; Intel SDM vol. 1, 10.2.3",
    ),
    LintRule(
        "X0201",
        "error",
        "EFER.LMA does not follow from CR0.PG and EFER.LME",
        "In 64-bit and compatibility mode CR0.PG, CR4.PAE, EFER.LME and EFER.LMA are set together.",
        "KVM_SET_SREGS answers EINVAL.",
        "Make CR0.PG, CR4.PAE, EFER.LME and EFER.LMA agree.",
        "Linux arch/x86/kvm/x86.c, kvm_is_valid_sregs",
    ),
)
