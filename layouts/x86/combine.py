"""How the bits and fields of CPUID, feature MSRs and XSAVE masks of two hosts go together, as data.

``and``: the guest may have it where both have it; a guest that has it cannot go where it is not. ``or``: a duty or a
warning, which a guest has to be told where any host needs it. ``equal``: a guest goes only where it is the same.
``at_most``: a number that the destination's must reach. ``ignore``: it is the vCPU's own, moves with it, or changes as
it runs.

Source: the meaning of the bits in Intel SDM vol. 2A (CPUID), vol. 4 (IA32_ARCH_CAPABILITIES) and AMD APM vol. 3,
appendix E. That some are OR-ed over a pool: Xen, xen/include/public/arch-x86/cpufeatureset.h, attribute ``|``.
"""

from __future__ import annotations

from layouts.light import Literal, NamedTuple

Combine = Literal["and", "or", "equal", "at_most", "ignore"]
Place = tuple[int, int, str, int]

#: Bits of CPUID that are OR-ed: leaf, sub-leaf, register, bit.
OR_BITS: dict[Place, str] = {
    (7, 0, "edx", 10): "MD_CLEAR: VERW clears buffers, so the guest has to use it",
    (0x80000008, 0, "ebx", 20): "NO_LMSL: EFER.LMSLE must be 0",
    (0x80000021, 0, "eax", 1): "FS_GS_NS: WRMSR to FS_BASE and GS_BASE does not serialize",
    (0x80000021, 0, "eax", 5): "VERW_CLEAR: VERW clears buffers, so the guest has to use it",
}
#: Bits of feature MSRs that are OR-ed.
OR_MSR_BITS: dict[tuple[int, int], str] = {
    (0x10A, 2): "RSBA: an empty RSB is filled from elsewhere",
    (0x10A, 17): "FB_CLEAR: VERW clears fill buffers",
    (0x10A, 19): "RRSBA: an empty RSB is filled from elsewhere",
    (0x10A, 28): "RFDS_CLEAR: VERW clears register files",
}
#: Bits that follow the vCPU's own state, or that a VMM or KVM gives whatever the CPU has.
IGNORED_BITS: dict[Place, str] = {
    (1, 0, "ecx", 3): "MWAIT: follows IA32_MISC_ENABLE",
    (1, 0, "ecx", 27): "OSXSAVE: follows CR4",
    (1, 0, "ecx", 31): "HYPERVISOR: every VMM sets it",
    (1, 0, "edx", 9): "APIC: follows IA32_APIC_BASE",
    (1, 0, "edx", 28): "HTT: topology",
    (7, 0, "ecx", 4): "OSPKE: follows CR4",
    (0x80000001, 0, "edx", 9): "APIC: follows IA32_APIC_BASE",
    (0x80000001, 0, "ecx", 1): "CMP_LEGACY: topology",
    (0x80000001, 0, "ecx", 22): "TOPOEXT: topology",
    (0x80000001, 0, "ecx", 3): "EXTAPIC: KVM's APIC has none of its registers",
}
#: Those of them that a VMM's line switches: with another line they change under the guest. A QEMU without KVM raises
#: #UD for MONITOR then; KVM keeps MWAIT's bit as it was given (KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT).
SWITCHED_BITS: frozenset[Place] = frozenset(
    ((1, 0, "ecx", 3), (1, 0, "ecx", 31), (0x80000001, 0, "ecx", 3), (0x80000001, 0, "ecx", 22))
)


class Field(NamedTuple):
    """A field of a register: bits ``low`` to ``high``; ``subleaf`` None for any."""

    leaf: int
    subleaf: int | None
    register: str
    high: int
    low: int
    rule: Combine
    name: str


FIELDS = (
    Field(0, None, "eax", 31, 0, "ignore", "highest basic leaf"),
    Field(0, None, "ebx", 31, 0, "equal", "vendor"),
    Field(0, None, "ecx", 31, 0, "equal", "vendor"),
    Field(0, None, "edx", 31, 0, "equal", "vendor"),
    Field(1, None, "eax", 31, 0, "ignore", "family, model and stepping"),
    Field(7, 0, "eax", 31, 0, "ignore", "highest sub-leaf"),
    Field(0xA, None, "eax", 7, 0, "at_most", "version of the PMU"),
    Field(0xA, None, "eax", 15, 8, "at_most", "general-purpose counters"),
    Field(0xA, None, "eax", 23, 16, "at_most", "width of general-purpose counters"),
    Field(0xA, None, "edx", 4, 0, "at_most", "fixed counters"),
    Field(0xA, None, "edx", 12, 5, "at_most", "width of fixed counters"),
    Field(0x1D, 1, "eax", 31, 0, "equal", "bytes of a tile palette and of a tile"),
    Field(0x1D, 1, "ebx", 31, 0, "equal", "bytes of a row and tiles"),
    Field(0x1D, 1, "ecx", 15, 0, "equal", "rows of a tile"),
    Field(0x24, 0, "ebx", 7, 0, "at_most", "version of AVX10"),
    Field(0x80000000, None, "eax", 31, 0, "ignore", "highest extended leaf"),
    Field(0x80000008, None, "eax", 7, 0, "at_most", "physical address width"),
    Field(0x80000008, None, "eax", 15, 8, "at_most", "linear address width"),
    Field(0x80000008, None, "eax", 23, 16, "ignore", "guest physical address width"),
    Field(0x8000000A, None, "eax", 7, 0, "at_most", "SVM revision"),
    Field(0x80000022, None, "ebx", 3, 0, "at_most", "counters of a core"),
)
#: Feature MSRs that count as bits: those that are AND-ed, whatever QEMU names in them.
FEATURE_MSRS = (0x10A, 0xCE, 0xCF, 0x345, 0xC0011029)
