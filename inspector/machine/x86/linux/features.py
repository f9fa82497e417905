"""What Linux concludes about its processor beyond the bits of CPUID: synthetic features and bugs.

Source: Linux arch/x86/kernel/cpu/common.c (init_speculation_control, check_null_seg_clears_base,
cpu_set_bug_bits), amd.c (init_amd, tsa_init, bsp_init_amd).
"""

from __future__ import annotations

from inspector.machine.x86.host import Host
from layouts.x86.features import FEATURES

_ZEN1, _ZEN3, _ZEN5 = 0x17, 0x19, 0x1A
#: IA32_ARCH_CAPABILITIES.
_IBRS_ALL, _PBRSB_NO = 1 << 1, 1 << 24
#: AMD families whose LS_CFG register turns speculative store bypass off (bsp_init_amd).
_LS_CFG_FAMILIES = range(0x15, 0x18)

#: AMD families that do not store speculatively (cpu_vuln_whitelist, NO_SSB).
_NO_SSB_FAMILIES = range(0x0F, 0x13)


def _has(host: Host, feature: str) -> bool:
    return host.has(*FEATURES[feature])


def _family(host: Host) -> int:
    signature = host.cpuid.signature()
    return signature[1] if signature else 0


def _is_amd(host: Host) -> bool:
    return host.cpuid.vendor() in ("AuthenticAMD", "HygonGenuine")


def synthesized(host: Host) -> frozenset[str]:
    """Features that Linux has without a bit of CPUID of that name."""
    found = set()
    if _has(host, "SPEC_CTRL"):
        found |= {"IBRS", "IBPB", "MSR_SPEC_CTRL"}
    for bit, names in (
        ("INTEL_STIBP", ("STIBP",)),
        ("SPEC_CTRL_SSBD", ("SSBD",)),
        ("VIRT_SSBD", ("SSBD",)),
        ("AMD_IBRS", ("IBRS", "MSR_SPEC_CTRL")),
        ("AMD_IBPB", ("IBPB",)),
        ("AMD_STIBP", ("STIBP", "MSR_SPEC_CTRL")),
        ("AMD_SSBD", ("SSBD", "MSR_SPEC_CTRL")),
    ):
        if _has(host, bit):
            found.update(names)
    if _has(host, "XMM2"):
        # Intel by itself, AMD by a bit of DE_CFG that Linux sets.
        found.add("LFENCE_RDTSC")
    if _is_amd(host):
        found |= _of_amd(host)
    return frozenset(found)


def _of_amd(host: Host) -> set[str]:
    """What init_amd and its like add; not on a processor that says it is virtual."""
    found: set[str] = set()
    if _has(host, "HYPERVISOR"):
        return found
    family = _family(host)
    if family in _LS_CFG_FAMILIES and not _has(host, "VIRT_SSBD"):
        found.add("LS_CFG_SSBD")
    if family == _ZEN1 and _has(host, "AMD_IBPB"):
        found.add("IBPB_BRTYPE")
    if family == _ZEN3:
        found |= {"IBPB_BRTYPE", "SBPB"}
    # tsa_init, with microcode of June 2025 or later.
    found |= {"VERW_CLEAR"} if family == _ZEN3 else {"TSA_SQ_NO", "TSA_L1_NO"}
    return found


def lnx_5(host: Host) -> int:
    """5.10's Linux-defined word 22, which its KVM shows as CPUID(0x8000_0021).ECX without a mask.

    Bits 11 and 12: no TSA; 13 CLEAR_CPU_BUF_VM; 14 IBPB_EXIT_TO_USER, against VMSCAPE (5.10.262: cpufeatures.h; bugs.c,
    tsa_update_mitigation and vmscape_select_mitigation). A Linux that is a guest has neither.
    """
    if not _is_amd(host) or _has(host, "HYPERVISOR"):
        return 0
    family, found = _family(host), 0
    if "TSA_SQ_NO" in _of_amd(host):
        found |= 3 << 11
    if family == _ZEN3:
        found |= 1 << 13
    if family in (_ZEN1, _ZEN3, _ZEN5) and _has(host, "AMD_IBPB"):
        found |= 1 << 14
    return found


def bugs(host: Host, arch_capabilities: int | None = None) -> frozenset[str]:
    """Bugs that Linux sees, of those that KVM asks for.

    ``arch_capabilities`` is the processor's MSR; where it is not known it is taken to say IBRS_ALL and no PBRSB_NO.
    """
    found = set()
    told = _IBRS_ALL if arch_capabilities is None else arch_capabilities
    if not _is_amd(host) and _has(host, "ARCH_CAPABILITIES") and told & _IBRS_ALL and not told & _PBRSB_NO:
        found.add("EIBRS_PBRSB")
    if not _has(host, "NULL_SEL_CLR_BASE") and _is_amd(host) and not _clears_base(host):
        found.add("NULL_SEG")
    if not _has(host, "AMD_SSB_NO") and not (_is_amd(host) and _family(host) in _NO_SSB_FAMILIES):
        found.add("SPEC_STORE_BYPASS")
    return frozenset(found)


def _clears_base(host: Host) -> bool:
    """check_null_seg_clears_base: Zen 2 and later do without saying so; a virtual one is not believed."""
    signature = host.cpuid.signature()
    if signature is None or _has(host, "HYPERVISOR"):
        return False
    _, family, model, _ = signature
    return family > _ZEN1 or (family == _ZEN1 and model >= 0x30)
