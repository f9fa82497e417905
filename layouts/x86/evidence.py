"""What in a vCPU's state shows that its guest uses a feature, as data.

By QEMU's name of a feature, or ``xcr0.N`` and ``xss.N`` for components. A row is a register (``cr4``, ``efer``,
``xcr0``, ``xstate_bv``, or the number of an MSR), the bits of it that show the use, and what they are.

Source: Intel SDM vol. 3, 2.5 (CR4), 2.2.1 (EFER), 13.3 (XCR0); AMD APM vol. 2, 3.1.7; Linux
arch/x86/include/uapi/asm/kvm_para.h for KVM's own MSRs.
"""

from __future__ import annotations

from layouts.light import NamedTuple
from layouts.x86.xsave import BY_NUMBER

ALL = (1 << 64) - 1


class Use(NamedTuple):
    """A register by name or number of an MSR, bits of it, and how they are called."""

    register: str | int
    mask: int
    called: str


def _cr4(bit: int, name: str) -> Use:
    return Use("cr4", 1 << bit, f"CR4.{name}")


USES: dict[str, tuple[Use, ...]] = {
    "vme": (_cr4(0, "VME"),),
    "de": (_cr4(3, "DE"),),
    "pse": (_cr4(4, "PSE"),),
    "pae": (_cr4(5, "PAE"),),
    "mce": (_cr4(6, "MCE"),),
    "pge": (_cr4(7, "PGE"),),
    "fxsr": (_cr4(9, "OSFXSR"),),
    "sse": (_cr4(10, "OSXMMEXCPT"),),
    "umip": (_cr4(11, "UMIP"),),
    "la57": (_cr4(12, "LA57"),),
    "linear address width": (_cr4(12, "LA57"),),
    "vmx": (_cr4(13, "VMXE"),),
    "smx": (_cr4(14, "SMXE"),),
    "fsgsbase": (_cr4(16, "FSGSBASE"),),
    "pcid": (_cr4(17, "PCIDE"),),
    "xsave": (_cr4(18, "OSXSAVE"),),
    "smep": (_cr4(20, "SMEP"),),
    "smap": (_cr4(21, "SMAP"),),
    "pku": (_cr4(22, "PKE"), Use("xcr0", 1 << 9, "XCR0[9]")),
    "cet-ss": (_cr4(23, "CET"), Use(0x6A0, 3, "IA32_U_CET"), Use(0x6A2, 3, "IA32_S_CET")),
    "cet-ibt": (_cr4(23, "CET"), Use(0x6A0, 0x3C, "IA32_U_CET"), Use(0x6A2, 0x3C, "IA32_S_CET")),
    "pks": (_cr4(24, "PKS"),),
    "lam": (_cr4(28, "LAM_SUP"), Use("cr3", 3 << 61, "CR3.LAM_U48 or LAM_U57")),
    "fred": (_cr4(32, "FRED"),),
    "syscall": (Use("efer", 1, "EFER.SCE"),),
    "lm": (Use("efer", 1 << 10, "EFER.LMA"),),
    "nx": (Use("efer", 1 << 11, "EFER.NXE"),),
    "svm": (Use("efer", 1 << 12, "EFER.SVME"),),
    "fxsr-opt": (Use("efer", 1 << 14, "EFER.FFXSR"),),
    "tce": (Use("efer", 1 << 15, "EFER.TCE"),),
    "auto-ibrs": (Use("efer", 1 << 21, "EFER.AIBRSE"),),
    "x2apic": (Use("apic_base", 1 << 10, "IA32_APIC_BASE.EXTD"),),
    "xsaves": (Use(0xDA0, ALL, "IA32_XSS"),),
    "xfd": (Use(0x1C4, ALL, "IA32_XFD"),),
    "spec-ctrl": (Use(0x48, 1, "IA32_SPEC_CTRL.IBRS"),),
    "ibrs": (Use(0x48, 1, "IA32_SPEC_CTRL.IBRS"),),
    "stibp": (Use(0x48, 2, "IA32_SPEC_CTRL.STIBP"),),
    "amd-stibp": (Use(0x48, 2, "IA32_SPEC_CTRL.STIBP"),),
    "ssbd": (Use(0x48, 4, "IA32_SPEC_CTRL.SSBD"),),
    "amd-ssbd": (Use(0x48, 4, "IA32_SPEC_CTRL.SSBD"),),
    "virt-ssbd": (Use(0xC001011F, 4, "MSR_VIRT_SPEC_CTRL"),),
    "psfd": (Use(0x48, 1 << 7, "IA32_SPEC_CTRL.PSFD"),),
    "rdtscp": (Use(0xC0000103, ALL, "IA32_TSC_AUX"),),
    "rdpid": (Use(0xC0000103, ALL, "IA32_TSC_AUX"),),
    "tsc-adjust": (Use(0x3B, ALL, "IA32_TSC_ADJUST"),),
    "tsc-deadline": (Use(0x6E0, ALL, "IA32_TSC_DEADLINE"),),
    "waitpkg": (Use(0xE1, ALL, "IA32_UMWAIT_CONTROL"),),
    "mtrr": (Use(0x2FF, 1 << 11, "IA32_MTRR_DEF_TYPE.E"),),
    "pdcm": (Use(0x345, ALL, "IA32_PERF_CAPABILITIES"),),
    "kvmclock": (Use(0x12, 1, "MSR_KVM_SYSTEM_TIME"), Use(0x4B564D01, 1, "MSR_KVM_SYSTEM_TIME_NEW")),
    "kvm-asyncpf": (Use(0x4B564D02, 1, "MSR_KVM_ASYNC_PF_EN"),),
    "kvm-steal-time": (Use(0x4B564D03, 1, "MSR_KVM_STEAL_TIME"),),
    "kvm-pv-eoi": (Use(0x4B564D04, 1, "MSR_KVM_PV_EOI_EN"),),
    "kvm-asyncpf-int": (Use(0x4B564D06, 0xFF, "MSR_KVM_ASYNC_PF_INT"),),
    "amx-tile": (Use("xstate_bv", 3 << 17, "XSTATE_BV[18:17]: tiles"), Use("xcr0", 3 << 17, "XCR0[18:17]")),
    "avx": (Use("xstate_bv", 1 << 2, "XSTATE_BV[2]"), Use("xcr0", 1 << 2, "XCR0[2]")),
    "mpx": (
        Use("xstate_bv", 3 << 3, "XSTATE_BV[4:3]"),
        Use("xcr0", 3 << 3, "XCR0[4:3]"),
        Use(0xD90, 1, "IA32_BNDCFGS.EN"),
    ),
    "avx512f": (Use("xstate_bv", 7 << 5, "XSTATE_BV[7:5]"), Use("xcr0", 7 << 5, "XCR0[7:5]")),
    "apxf": (Use("xstate_bv", 1 << 19, "XSTATE_BV[19]"), Use("xcr0", 1 << 19, "XCR0[19]")),
}
#: Fields that are numbers: what a guest does with each, for none of its state shows it.
READ_AT_START = {
    "vendor": "every guest has read it: its kernel chose drivers, errata and SYSENTER's or SYSCALL's ways by it",
    "physical address width": "every guest has read it: it says which bits of its page tables are reserved",
    "guest physical address width": "every guest has read it: it says which bits of its page tables are reserved",
}
#: Features that are used with another's state: nothing else in the vCPU shows them.
WITH = {
    "avx2": "avx",
    "fma": "avx",
    "f16c": "avx",
    "vaes": "avx",
    "vpclmulqdq": "avx",
    "avx-vnni": "avx",
    **dict.fromkeys(
        (
            "avx512dq",
            "avx512cd",
            "avx512bw",
            "avx512vl",
            "avx512ifma",
            "avx512vbmi",
            "avx512vbmi2",
            "avx512vnni",
            "avx512bitalg",
            "avx512-vpopcntdq",
            "avx512-bf16",
            "avx512-fp16",
            "avx512-vp2intersect",
        ),
        "avx512f",
    ),
    "amx-bf16": "amx-tile",
    "amx-int8": "amx-tile",
    "amx-fp16": "amx-tile",
    "amx-complex": "amx-tile",
}
#: Supervisor components: the MSRs that hold them.
XSS_MSRS = {11: (0x6A0, 0x6A4, 0x6A5, 0x6A6, 0x6A7), 12: (0x6A2,)}


class Needed(NamedTuple):
    """An MSR that a guest's CPUID brings, and that has to be saved with it; ``code`` is lint's for its loss."""

    msr: int
    feature: str
    code: str
    consequence: str


#: MSRs whose loss nobody tells of: by the feature of the guest's CPUID that brings each.
NEEDED_MSRS = (
    Needed(0xDA0, "xsaves", "X0301", "supervisor state is not in XSS: XRSTORS of the guest's kernel raises #GP"),
    Needed(0x1C4, "xfd", "X0303", "XFD is 0: the guest's kernel thinks that tiles are off while they are on"),
    Needed(0x6A0, "cet-ss", "X0302", "shadow stacks and their pointers are gone"),
    Needed(0x6A2, "cet-ibt", "X0302", "branch tracking of the guest's kernel is off"),
    Needed(0xC0000103, "rdtscp", "X0305", "RDTSCP and RDPID give 0"),
    Needed(0x48, "spec-ctrl", "X0308", "mitigations that the guest turned on are off"),
    Needed(0x3B, "tsc-adjust", "X0311", "the guest's kernel sees its TSC adjusted by nobody"),
)


def component(number: int) -> Use:
    """What shows that a user component is used."""
    name = BY_NUMBER[number].name if number in BY_NUMBER else f"component {number}"
    return Use("xstate_bv", 1 << number, f"XSTATE_BV[{number}] ({name})")
