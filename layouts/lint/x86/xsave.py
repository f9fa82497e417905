"""X01xx: the XSAVE image against XCR0, XSS, CPUID and itself."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_SDM = "Intel SDM vol. 1, 13.4 to 13.8"
_CORE = "Linux arch/x86/kernel/fpu/core.c, fpu_copy_uabi_to_guest_fpstate"
_XSTATE = "Linux arch/x86/kernel/fpu/xstate.c"
_SET_XCR = "Linux arch/x86/kvm/x86.c, __kvm_set_xcr; Intel SDM vol. 1, 13.3"

RULES = (
    LintRule(
        "X0101",
        "error",
        "XSTATE_BV has a component that XCR0 does not",
        "The image says that a component is in use which the vCPU has not enabled in XCR0.",
        "KVM_SET_XSAVE compares with what the host supports and takes the image; the guest's XRSTOR with its own XCR0 "
        "never loads the component, so its registers are lost.",
        "Set XCR0 to hold the component, or clear the bit in XSTATE_BV.",
        f"{_CORE}; {_SDM}",
    ),
    LintRule(
        "X0102",
        "error",
        "XCOMP_BV or reserved bytes of the XSAVE header are not zero",
        "The image is in the standard format, where XCOMP_BV and the reserved bytes of the header are 0.",
        "KVM_SET_XSAVE and PTRACE_SETREGSET answer EINVAL; XRSTOR raises #GP.",
        "Write zeros.",
        f"{_XSTATE}, validate_user_xstate_header; Intel SDM vol. 1, 13.8.1",
    ),
    LintRule(
        "X0103",
        "error",
        "MXCSR has reserved bits",
        "Bits outside MXCSR_MASK are set in the image's MXCSR.",
        "KVM_SET_XSAVE answers EINVAL when x87, SSE or AVX is in use; FXRSTOR and XRSTOR raise #GP.",
        "Clear the bits.",
        f"{_XSTATE}, copy_uabi_to_xstate; Intel SDM vol. 1, 10.2.3",
    ),
    LintRule(
        "X0104",
        "error",
        "the image is in the compacted format",
        "XCOMP_BV has bit 63: components lie behind each other in the order of XCOMP_BV, as XSAVEC and XSAVES write.",
        "KVM_SET_XSAVE and PTRACE_SETREGSET take the standard format alone and answer EINVAL.",
        "Write the standard format; its offsets are in CPUID leaf 0xD of the CPU.",
        f"{_XSTATE}, validate_user_xstate_header",
    ),
    LintRule(
        "X0105",
        "error",
        "XCR0 lacks x87",
        "Bit 0 of XCR0 is always 1.",
        "KVM_SET_XCRS answers EINVAL; XSETBV raises #GP.",
        "Set bit 0.",
        _SET_XCR,
    ),
    LintRule(
        "X0106",
        "error",
        "XCR0 has AVX without SSE",
        "AVX state extends XMM registers: bit 2 needs bit 1.",
        "KVM_SET_XCRS answers EINVAL; XSETBV raises #GP.",
        "Set bit 1, or clear bit 2.",
        _SET_XCR,
    ),
    LintRule(
        "X0107",
        "error",
        "XCR0 has a part of AVX-512",
        "Opmask, ZMM_Hi256 and Hi16_ZMM (bits 5 to 7) are enabled together, and only with AVX.",
        "KVM_SET_XCRS answers EINVAL; XSETBV raises #GP.",
        "Set bits 2, 5, 6 and 7, or clear bits 5 to 7.",
        _SET_XCR,
    ),
    LintRule(
        "X0108",
        "error",
        "XCR0 has one of TILECFG and TILEDATA",
        "Bits 17 and 18 are enabled together.",
        "KVM_SET_XCRS answers EINVAL; XSETBV raises #GP.",
        "Set both or none.",
        _SET_XCR,
    ),
    LintRule(
        "X0109",
        "error",
        "XCR0 has one of the two MPX components",
        "Bits 3 and 4 are enabled together.",
        "KVM_SET_XCRS answers EINVAL; XSETBV raises #GP.",
        "Set both or none.",
        _SET_XCR,
    ),
    LintRule(
        "X0110",
        "error",
        "XCR0 has a component that the guest's CPUID does not offer",
        "CPUID leaf 0xD, sub-leaf 0, EDX:EAX says which bits of XCR0 the guest may set.",
        "KVM_SET_XCRS answers EINVAL. A CPUID table that is set afterwards makes the order matter.",
        "Restore the CPUID that the guest ran with, before XCR0.",
        "Linux arch/x86/kvm/x86.c, __kvm_set_xcr; arch/x86/kvm/cpuid.c, cpuid_get_supported_xcr0",
    ),
    LintRule(
        "X0111",
        "error",
        "the image ends before a component that is in use",
        "struct kvm_xsave is 4,096 bytes; a guest that may use AMX tiles has an image of 11,008 bytes, for which there "
        "is KVM_GET_XSAVE2.",
        "The component is lost. KVM_SET_XSAVE reads as many bytes as the guest's image has, beyond a shorter buffer: "
        "EFAULT, or whatever lies behind it becomes register state.",
        "Save with KVM_GET_XSAVE2, and as many bytes as KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) says.",
        "Linux Documentation/virt/kvm/api.rst, KVM_SET_XSAVE; arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl",
    ),
    LintRule(
        "X0112",
        "warning",
        "the image is cut at 4,096 bytes while XCR0 has components behind that",
        "The image is a struct kvm_xsave, and XCR0 enables a component whose place is behind its end. It is not in use "
        "now, or its bit in XSTATE_BV was cleared.",
        "KVM_GET_XSAVE answers EINVAL for such a guest, so the image came from elsewhere; KVM_SET_XSAVE reads beyond "
        "a buffer of 4,096 bytes.",
        "Save with KVM_GET_XSAVE2.",
        "Linux arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl, KVM_GET_XSAVE; Documentation/virt/kvm/api.rst, KVM_GET_XSAVE2",
    ),
    LintRule(
        "X0113",
        "error",
        "tiles are in use while XFD disables them",
        "XSTATE_BV has a component that IA32_XFD disables.",
        "With IA32_XFD restored first, KVM_SET_XSAVE warns in the kernel's log and answers EINVAL; with KVM_SET_XSAVE "
        "first, the next save of the vCPU drops the tiles.",
        "Save IA32_XFD and the image at the same time; a component that XFD disables is not in use.",
        f"{_CORE}; arch/x86/kvm/x86.c, MSR_IA32_XFD",
    ),
    LintRule(
        "X0114",
        "error",
        "TILECFG is not a configuration that LDTILECFG takes",
        "Palette 1 has 8 tiles of at most 16 rows of at most 64 bytes; reserved bytes are 0, and a tile has both rows "
        "and columns or neither.",
        "LDTILECFG of these bytes raises #GP, so no guest has made them: the image is damaged or laid out otherwise.",
        "Check the layout that was used to read the image (--layout); else clear XSTATE_BV[17] and [18].",
        "Intel SDM vol. 2, LDTILECFG",
    ),
    LintRule(
        "X0115",
        "warning",
        "tile data is in use without a tile configuration",
        "XSTATE_BV has TILEDATA and not TILECFG: no palette is chosen.",
        "Every tile instruction raises #UD or needs LDTILECFG, which zeroes the tiles: the data cannot be read.",
        "Restore both components, or neither.",
        "Intel SDM vol. 2, LDTILECFG; vol. 1, 13.5.9",
    ),
    LintRule(
        "X0116",
        "note",
        "CR4.PKE is set and the image has no PKRU",
        "XSTATE_BV bit 9 is clear while the guest has protection keys on: PKRU was 0, or someone took it out.",
        "KVM_SET_XSAVE leaves PKRU as it is, where it initializes every other component: 0 on a fresh vCPU, but "
        "the old "
        "value on one that has run.",
        "Restore into a fresh vCPU, or set XSTATE_BV[9] with a PKRU of 0.",
        _CORE,
    ),
    LintRule(
        "X0117",
        "warning",
        "XSTATE_BV has a component that the guest's CPUID does not offer",
        "The image holds state of a component which is not in CPUID leaf 0xD of the guest; PKRU of the host got into "
        "guests without protection keys this way.",
        "Kernels that cut the guest's user_xfeatures to its CPUID (from 5.17, until 6.6 and stable updates of "
        "6.1) answer "
        "EINVAL to KVM_SET_XSAVE; QEMU of that time went on with the registers lost. Others take it, and leave the "
        "component out of the next KVM_GET_XSAVE.",
        "Clear the bits that CPUID does not offer.",
        "Linux arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_get_xsave2; arch/x86/kernel/fpu/xstate.c, "
        "validate_user_xstate_header",
    ),
    LintRule(
        "X0118",
        "warning",
        "struct kvm_fpu and the XSAVE image differ",
        "Both hold x87 and XMM registers, of the same moment.",
        "KVM_SET_FPU writes x87 and XMM into the same memory as KVM_SET_XSAVE: the later call wins.",
        "Restore one of them: the XSAVE image, which has everything.",
        "Linux arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl_set_fpu, kvm_vcpu_ioctl_x86_set_xsave",
    ),
    LintRule(
        "X0119",
        "warning",
        "FPU state is captured as struct kvm_fpu alone",
        "struct kvm_fpu ends with XMM15; the guest's XCR0 has more.",
        "YMM, ZMM, opmask, PKRU and tiles start at their initial values; KVM_SET_FPU does not write MXCSR either.",
        "Save with KVM_GET_XSAVE or KVM_GET_XSAVE2.",
        "Linux arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl_set_fpu",
    ),
    LintRule(
        "X0120",
        "note",
        "two XSAVE images of one vCPU differ",
        "The capture has the answers of KVM_GET_XSAVE and of KVM_GET_XSAVE2, and XSTATE_BV is not the same.",
        "What is restored last wins, except PKRU where its bit is clear.",
        "Keep the longer one.",
        "Linux arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_set_xsave",
    ),
    LintRule(
        "X0121",
        "note",
        "XCR0 is beyond x87 while CR4.OSXSAVE is clear",
        "The guest has used XSETBV and then switched XSAVE off.",
        "XSAVE, XGETBV and AVX raise #UD in the guest; its CPUID says OSXSAVE=0. XCR0 stays.",
        "Nothing, unless CR4 was lost: then restore it.",
        "Intel SDM vol. 1, 13.2 and 13.3",
    ),
    LintRule(
        "X0122",
        "note",
        "PKRU of a core may be stale",
        "The core is of a process of one thread, written by Linux 5.14 or later, and PKRU is in use.",
        "The kernel writes thread.pkru, which only a context switch stores: if the process set PKRU and died "
        "without one, "
        "this is the value from before.",
        "Do not conclude from PKRU why an access was refused; the siginfo has si_pkey.",
        "Linux arch/x86/kernel/fpu/xstate.c, copy_xstate_to_uabi_buf; arch/x86/kernel/process_64.c, x86_pkru_load",
    ),
)
