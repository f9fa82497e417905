"""A CPU that has every feature of its vendor: what its guests do not have from KVM, those of no other CPU have."""

from __future__ import annotations

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import shipped_cpu
from layouts.x86.features import FEATURES, WORDS

#: The vendors, by the shipped CPU whose XSAVE components are taken.
AMD, INTEL = "zen5", "sapphire-rapids"
#: What no CPU that hosts guests says of itself, or what turns its PMU off for them.
_NOT_THERE = ("HYPERVISOR", "HYBRID_CPU")
#: What only the other vendor's CPUs have, leaves or leaves with sub-leaf. Memory encryption is off.
_INTEL_LEAVES = frozenset((0x12, 0x1E, 0x24, (7, 2)))
_AMD_LEAVES = frozenset((0x8000000A, 0x80000021, 0x80000022))
_NOBODYS = frozenset((0x8000001F, 0xC0000001, 0x80860001))
_INTEL_FEATURES = (
    *("SGX", "SGX_LC", "VMX", "MPX", "INTEL_PT", "ARCH_LBR", "AMX_TILE", "AMX_INT8", "AMX_BF16", "AVX512_FP16", "XFD"),
    *("SPEC_CTRL", "INTEL_STIBP", "SPEC_CTRL_SSBD", "ARCH_CAPABILITIES", "SERIALIZE", "TSXLDTRK", "HLE", "RTM"),
    *("AMX_FP16", "AMX_COMPLEX", "AVX10", "PDCM", "DS", "DTES64", "WAITPKG", "MSR_IMM", "WRMSRNS", "LKGS"),
)
_AMD_FEATURES = (
    *(
        "SVM",
        "PERFCTR_CORE",
        "SSE4A",
        "MISALIGNSSE",
        "XOP",
        "FMA4",
        "TBM",
        "TOPOEXT",
        "OSVW",
        "CR8_LEGACY",
        "CMP_LEGACY",
    ),
    *("AMD_IBPB", "AMD_IBRS", "AMD_STIBP", "AMD_STIBP_ALWAYS_ON", "AMD_IBRS_SAME_MODE", "AMD_SSBD", "VIRT_SSBD"),
    *("AMD_SSB_NO", "AMD_PSFD", "AMD_IBPB_RET", "CLZERO", "XSAVEERPTR", "EFER_LMSLE_MBZ"),
)


def any_cpu(layout: str) -> Cpuid:
    """A CPU that has every feature of its vendor that Linux names; its XSAVE components are those of a CPU layout."""
    rows = {key: list(values) for key, values in shipped_cpu(layout).leaves.items()}
    foreign = _INTEL_LEAVES if layout == AMD else _AMD_LEAVES
    for leaf, subleaf, register in WORDS:
        is_own = leaf not in foreign and (leaf, subleaf) not in foreign and leaf not in _NOBODYS
        rows.setdefault((leaf, subleaf), [0, 0, 0, 0])[register] = 0xFFFFFFFF if is_own else 0
    for leaf in (0, 7, 0x80000000):
        rows.setdefault((leaf, 0), [0, 0, 0, 0])[0] = leaf | 0xFF
    for name in (*_NOT_THERE, *(_INTEL_FEATURES if layout == AMD else _AMD_FEATURES)):
        leaf, subleaf, register, bit = FEATURES[name]
        rows[leaf, subleaf][register] &= ~(1 << bit)
    rows[0x80000008, 0][0] = 0x3930
    return Cpuid({key: (row[0], row[1], row[2], row[3]) for key, row in rows.items()})
