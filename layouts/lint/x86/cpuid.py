"""X04xx: the guest's CPUID against itself, and against the state that it rules."""

from __future__ import annotations

from layouts.lint.rule import LintRule

_FIND = "Linux arch/x86/kvm/cpuid.c, cpuid_entry2_find"
_DEPS = "Linux arch/x86/kernel/cpu/cpuid-deps.c; Intel SDM vol. 1, chapters of the features"
_SDM_D = "Intel SDM vol. 1, 13.2; vol. 2, CPUID, leaf 0DH"

#: Bits that are of no use without others: the bit, and what it needs.
NEEDS = {
    "1.0.ecx.avx": ("1.0.ecx.xsave",),
    "1.0.ecx.fma": ("1.0.ecx.avx",),
    "1.0.ecx.f16c": ("1.0.ecx.avx",),
    "7.0.ebx.avx2": ("1.0.ecx.avx",),
    "7.0.ebx.avx512f": ("7.0.ebx.avx2",),
    "7.0.ebx.avx512dq": ("7.0.ebx.avx512f",),
    "7.0.ebx.avx512bw": ("7.0.ebx.avx512f",),
    "7.0.ebx.avx512vl": ("7.0.ebx.avx512f",),
    "7.0.ebx.avx512cd": ("7.0.ebx.avx512f",),
    "7.0.ebx.avx512ifma": ("7.0.ebx.avx512f",),
    "7.0.ecx.avx512vbmi": ("7.0.ebx.avx512f",),
    "7.0.ecx.avx512_vnni": ("7.0.ebx.avx512f",),
    "7.0.edx.avx512_fp16": ("7.0.ebx.avx512bw",),
    "7.0.ecx.vaes": ("1.0.ecx.avx",),
    "7.0.ecx.vpclmulqdq": ("1.0.ecx.avx",),
    "7.0.ecx.pku": ("1.0.ecx.xsave",),
    "7.0.edx.amx_bf16": ("7.0.edx.amx_tile",),
    "7.0.edx.amx_int8": ("7.0.edx.amx_tile",),
    "d.1.eax.xsaves": ("d.1.eax.xsavec",),
    "d.1.eax.xsavec": ("1.0.ecx.xsave",),
}
#: Bits that are of no use without components of XCR0 in leaf 0xD: the bit, and the mask.
NEEDS_XCR0 = {
    "1.0.ecx.avx": 0x4,
    "7.0.ebx.avx512f": 0xE0,
    "7.0.edx.amx_tile": 0x6_0000,
    "7.1.edx.apx_f": 0x8_0000,
}

RULES = (
    LintRule(
        "X0401",
        "note",
        "CPUID says otherwise of OSXSAVE than CR4",
        "Bit 27 of leaf 1 ECX follows CR4.OSXSAVE.",
        "KVM sets the bit by CR4 when CPUID or CR4 is set: the table that was captured is older than CR4.",
        "Nothing; KVM mends it.",
        "Linux arch/x86/kvm/cpuid.c, kvm_update_cpuid_runtime",
    ),
    LintRule(
        "X0402",
        "note",
        "CPUID says otherwise of the APIC than IA32_APIC_BASE",
        "Bit 9 of leaf 1 EDX follows IA32_APIC_BASE.EN.",
        "KVM sets the bit when CPUID or the APIC base is set.",
        "Nothing; KVM mends it.",
        "Linux arch/x86/kvm/cpuid.c, kvm_update_cpuid_runtime",
    ),
    LintRule(
        "X0403",
        "note",
        "leaf 0xD has another size than XCR0 needs",
        "EBX of sub-leaf 0 is the size of the standard format for XCR0 as it is.",
        "KVM computes it when CPUID or XCR0 is set: the table that was captured is older than XCR0.",
        "Nothing; KVM mends it.",
        "Linux arch/x86/kvm/cpuid.c, kvm_update_cpuid_runtime, xstate_required_size",
    ),
    LintRule(
        "X0404",
        "error",
        "leaf 0xD offers a component without saying where it is",
        "Each bit from 2 up in sub-leaf 0 has a sub-leaf with its size and place.",
        "The guest's kernel reads a size of 0, finds its XSAVE layout inconsistent and switches XSAVE off, or writes "
        "over what lies at the place.",
        "Add the sub-leaf as KVM_GET_SUPPORTED_CPUID gives it.",
        f"{_SDM_D}; Linux arch/x86/kernel/fpu/xstate.c, setup_xstate_cache, init_xstate_size",
    ),
    LintRule(
        "X0405",
        "error",
        "two components of leaf 0xD lie over each other",
        "In the standard format components do not overlap, and none lies before byte 576.",
        "XSAVE of the guest writes where the host's CPU has the components, whatever CPUID says: programs and "
        "the guest's "
        "kernel read registers of another component.",
        "Take leaf 0xD from the host that the guest runs on.",
        _SDM_D,
    ),
    LintRule(
        "X0406",
        "error",
        "leaf 0xD's largest size is less than where a component ends",
        "ECX of sub-leaf 0 is the size of the standard format for all that XCR0 may have.",
        "A guest that allocates ECX bytes has XSAVE write beyond them.",
        "Take leaf 0xD from KVM_GET_SUPPORTED_CPUID.",
        _SDM_D,
    ),
    LintRule(
        "X0407",
        "warning",
        "a leaf is beyond the highest that CPUID says",
        "EAX of leaf 0 (and of 0x80000000) is the highest leaf of its range.",
        "Guests do not look; where KVM has the entry it answers CPUID with it all the same, where not, with the "
        "last basic "
        "leaf on Intel.",
        "Raise the highest leaf.",
        "Linux arch/x86/kvm/cpuid.c, get_out_of_range_cpuid_entry",
    ),
    LintRule(
        "X0408",
        "warning",
        "a leaf is in the table twice",
        "Two entries have the same leaf and sub-leaf.",
        "KVM answers CPUID with the first.",
        "Remove the one that is not meant.",
        _FIND,
    ),
    LintRule(
        "X0409",
        "error",
        "sub-leaves are not marked as such",
        "Several sub-leaves of a leaf, and the first has no KVM_CPUID_FLAG_SIGNIFCANT_INDEX.",
        "An entry without the flag answers for every sub-leaf: the others are never seen. From 5.18 "
        "KVM_SET_CPUID2 keeps "
        "the flags as they come.",
        "Set the flag in every entry of the leaf.",
        _FIND,
    ),
    LintRule(
        "X0410",
        "warning",
        "a feature is offered without one that it needs",
        "CPUID has a bit whose instructions need another feature.",
        "Linux guests clear the bit; other programs test it alone and use instructions that raise #UD.",
        "Offer both or neither.",
        _DEPS,
    ),
    LintRule(
        "X0411",
        "error",
        "a feature is offered whose state leaf 0xD does not have",
        "The registers of the feature are a component of XCR0 that the guest cannot enable.",
        "Instructions raise #UD though CPUID offers them: programs that do not ask XGETBV are killed by SIGILL.",
        "Offer the component in leaf 0xD (AMX tiles need arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM)), or clear the bit.",
        "Intel SDM vol. 1, 13.3, 14.3 and 15.2",
    ),
    LintRule(
        "X0412",
        "warning",
        "the vendor of leaf 0 and of leaf 0x80000000 differ",
        "AMD and Hygon repeat the vendor, Intel leaves EBX, ECX and EDX of 0x80000000 zero.",
        "Guests take the vendor of leaf 0; programs that take the other choose other leaves and errata.",
        "Take both leaves from one CPU.",
        "AMD APM vol. 3, appendix E; Intel SDM vol. 2, CPUID",
    ),
    LintRule(
        "X0413",
        "error",
        "the width of linear addresses is none that KVM takes",
        "Bits 15:8 of leaf 0x80000008 EAX are 48, 57 or 0.",
        "KVM_SET_CPUID2 answers EINVAL.",
        "Write 48, or 57 with LA57.",
        "Linux arch/x86/kvm/cpuid.c, kvm_check_cpuid",
    ),
    LintRule(
        "X0414",
        "warning",
        "LA57 and the width of linear addresses differ",
        "A CPU with LA57 has 57 bits of linear address, one without 48.",
        "KVM and the guest's kernel go by LA57, others by the width: addresses are canonical for one and not for "
        "the other.",
        "Make them agree.",
        "Intel SDM vol. 3, 4.1.4; Linux arch/x86/kvm/x86.h, is_noncanonical_address",
    ),
    LintRule(
        "X0415",
        "error",
        "the width of physical addresses is impossible",
        "MAXPHYADDR is 32 to 52.",
        "Above 52 page-table bits that KVM uses become addresses; below 32 the APIC base is reserved and, up to 6.12, "
        "KVM_SET_SREGS answers EINVAL.",
        "Write the width that KVM_GET_SUPPORTED_CPUID gives, or fewer bits.",
        "Linux arch/x86/kvm/cpuid.c, kvm_vcpu_after_set_cpuid; Intel SDM vol. 3, 4.1.4",
    ),
    LintRule(
        "X0416",
        "warning",
        "hypervisor leaves without the hypervisor bit",
        "Leaves from 0x40000000 on are there, and bit 31 of leaf 1 ECX is 0.",
        "Guests do not look for a hypervisor: no kvm-clock, no paravirtual features, while their MSRs are restored.",
        "Set the bit.",
        "Linux arch/x86/kernel/cpu/hypervisor.c; arch/x86/include/asm/cpuid/api.h, cpuid_base_hypervisor",
    ),
    LintRule(
        "X0417",
        "warning",
        "the hypervisor bit without hypervisor leaves",
        "Bit 31 of leaf 1 ECX is 1, and leaf 0x40000000 is not in the table.",
        "On Intel CPUID answers out-of-range leaves with the last basic leaf: the guest reads garbage as a signature.",
        "Add KVM's leaves, which KVM_GET_SUPPORTED_CPUID gives.",
        "Linux arch/x86/kvm/cpuid.c, get_out_of_range_cpuid_entry",
    ),
    LintRule(
        "X0418",
        "error",
        "more entries than KVM takes",
        "KVM_MAX_CPUID_ENTRIES is 256.",
        "KVM_SET_CPUID2 answers E2BIG.",
        "Leave out leaves that are zero.",
        "Linux arch/x86/kvm/cpuid.c, kvm_vcpu_ioctl_set_cpuid2",
    ),
    LintRule(
        "X0419",
        "note",
        "no CPUID table was captured",
        "The capture has control registers and MSRs, and not the CPUID that says what they mean.",
        "What KVM takes depends on the CPUID that is set before: the VMM must give exactly the one that the "
        "guest ran with.",
        "Save KVM_GET_CPUID2 as well.",
        "Linux Documentation/virt/kvm/api.rst, KVM_SET_CPUID2",
    ),
    LintRule(
        "X0420",
        "warning",
        "CPUID differs over vCPUs",
        "vCPUs differ in more than their APIC ids, topology and what follows their own registers.",
        "The guest's kernel takes features from its first CPU: another one faults on them, or hides them.",
        "Give every vCPU the same table, but its own ids.",
        "Linux arch/x86/kernel/cpu/common.c, identify_secondary_cpu",
    ),
    LintRule(
        "X0421",
        "error",
        "two vCPUs have one APIC id",
        "Leaf 0xB EDX, or leaf 1 EBX where there is no leaf 0xB, is the same in two vCPUs.",
        "The guest's kernel brings up one of them; with xAPIC both take interrupts of one.",
        "Give each vCPU the id of its KVM_CREATE_VCPU.",
        "Linux arch/x86/kvm/lapic.c, kvm_recalculate_phys_map; Intel SDM vol. 3, 9.4",
    ),
    LintRule(
        "X0422",
        "warning",
        "the APIC ids of leaf 1 and leaf 0xB differ",
        "The low 8 bits of leaf 0xB EDX are in leaf 1 EBX[31:24].",
        "Topology and interrupt routing of the guest go by different ids.",
        "Write both from the id of KVM_CREATE_VCPU.",
        "Intel SDM vol. 2, CPUID, leaf 0BH; Linux arch/x86/kernel/cpu/topology_common.c",
    ),
    LintRule(
        "X0423",
        "error",
        "XSAVE is offered without leaf 0xD, or leaf 0xD without XSAVE",
        "CPUID bit 26 of leaf 1 ECX and leaf 0xD go together.",
        "Without leaf 0xD the guest can set no bit of XCR0 but x87: Linux switches XSAVE off, AVX with it.",
        "Offer both or neither.",
        f"{_SDM_D}; Linux arch/x86/kernel/fpu/xstate.c, fpu__init_system_xstate",
    ),
    LintRule(
        "X0424",
        "warning",
        "a sub-leaf of leaf 7 is beyond the highest that it says",
        "EAX of leaf 7, sub-leaf 0, is the number of the last sub-leaf.",
        "Guests do not look at the sub-leaf: its features are hidden.",
        "Raise EAX.",
        "Intel SDM vol. 2, CPUID, leaf 07H",
    ),
)
