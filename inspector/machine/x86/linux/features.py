"""What Linux concludes about its processor beyond the bits of CPUID: synthetic features and bugs.

Source: Linux arch/x86/kernel/cpu/common.c (init_speculation_control, check_null_seg_clears_base,
cpu_set_bug_bits with cpu_vuln_whitelist), amd.c (init_amd, tsa_init, bsp_init_amd), hygon.c.
"""

from __future__ import annotations

from inspector.machine.x86.host import Host
from layouts.light import lru_cache
from layouts.x86.features import FEATURES

_ZEN1, _DHYANA, _ZEN3, _ZEN5 = 0x17, 0x18, 0x19, 0x1A
#: Models of family 1Ah that are Zen 5; others are Zen 6 (init_amd).
_ZEN5_MODELS = frozenset((*range(0x30), *range(0x40, 0x50), *range(0x60, 0x80), *range(0xD0, 0xD8)))
#: IA32_ARCH_CAPABILITIES.
_IBRS_ALL, _SSB_NO, _PBRSB_NO = 1 << 1, 1 << 4, 1 << 24
#: AMD's and Hygon's families whose LS_CFG register turns speculative store bypass off (bsp_init_amd, bsp_init_hygon).
_LS_CFG_FAMILIES = range(0x15, 0x19)
#: NO_SSB: AMD families, and models of Intel's family 6 (Yonah, Silvermont, Airmont, Xeon Phi).
_NO_SSB_FAMILIES = range(0x0F, 0x13)
_NO_SSB_MODELS = frozenset((0x0E, 0x37, 0x4A, 0x4C, 0x4D, 0x57, 0x5A, 0x75, 0x85))
#: NO_EIBRS_PBRSB: models of Intel's family 6 (Goldmont Plus, Tremont).
_NO_PBRSB_MODELS = frozenset((0x7A, 0x86, 0x96, 0x9C))


def _has(host: Host, feature: str) -> bool:
    return host.has(*FEATURES[feature])


def _signature(host: Host) -> tuple[str, int, int]:
    """Vendor, family and model; 0 without leaf 1."""
    vendor, family, model, _ = host.cpuid.signature() or (host.cpuid.vendor(), 0, 0, 0)
    return vendor, family, model


def _is_amd(host: Host) -> bool:
    return host.cpuid.vendor() == "AuthenticAMD"


def _is_amd_or_hygon(host: Host) -> bool:
    return _is_amd(host) or host.cpuid.vendor() == "HygonGenuine"


@lru_cache(maxsize=64)
def synthesized(host: Host, release: tuple[int, ...]) -> frozenset[str]:
    """Features that Linux of a release has without a bit of CPUID of that name."""
    found: set[str] = set()
    for bit, names in (
        ("SPEC_CTRL", ("IBRS", "IBPB", "MSR_SPEC_CTRL")),
        ("INTEL_STIBP", ("STIBP",)),
        ("SPEC_CTRL_SSBD", ("SSBD",)),
        ("VIRT_SSBD", ("SSBD",)),
        ("AMD_IBRS", ("IBRS", "MSR_SPEC_CTRL")),
        ("AMD_IBPB", ("IBPB",)),
        ("AMD_STIBP", ("STIBP", "MSR_SPEC_CTRL")),
        ("AMD_SSBD", ("SSBD", "MSR_SPEC_CTRL")),
        # Intel by itself, AMD by a bit of DE_CFG that Linux sets.
        ("XMM2", ("LFENCE_RDTSC",)),
    ):
        if _has(host, bit):
            found.update(names)
    if not _has(host, "HYPERVISOR"):
        found |= _of_silicon(host, release)
    return frozenset(found)


def _of_silicon(host: Host, release: tuple[int, ...]) -> set[str]:
    """What Linux adds to processors of AMD and Hygon that do not say that they are virtual."""
    found: set[str] = set()
    _, family, model = _signature(host)
    can_ssbd = _has(host, "VIRT_SSBD") or _has(host, "AMD_SSBD")
    if _is_amd_or_hygon(host) and family in _LS_CFG_FAMILIES and not can_ssbd:
        found.add("LS_CFG_SSBD")
    if not _is_amd(host):
        return found
    if family == _ZEN1 and _has(host, "AMD_IBPB"):
        found.add("IBPB_BRTYPE")
    if family >= _ZEN3 and not _has(host, "IBPB_BRTYPE"):
        found.update(("IBPB_BRTYPE", "SBPB"))
    return found | _free_of_tsa(family, model, release)


def _free_of_tsa(family: int, model: int, release: tuple[int, ...]) -> set[str]:
    """tsa_init, with microcode of June 2025 or later. 6.12.117 and 7.3 know TSA-FILL too, and ask Zen 5 itself."""
    knows_fill = release[:2] == (6, 12) or release >= (7, 3)
    if knows_fill and family == _ZEN5 and model in _ZEN5_MODELS:
        return set()
    found = {"VERW_CLEAR"} if family == _ZEN3 else {"TSA_SQ_NO", "TSA_L1_NO"}
    return found | ({"TSA_FILL_NO"} if knows_fill else set())


def lnx_5(host: Host) -> int:
    """5.10's Linux-defined word 22, which its KVM shows as CPUID(0x8000_0021).ECX without a mask.

    Bits 11 and 12: no TSA; 13 CLEAR_CPU_BUF_VM; 14 IBPB_EXIT_TO_USER, against VMSCAPE (5.10.262: cpufeatures.h; bugs.c,
    tsa_update_mitigation and vmscape_select_mitigation; common.c, cpu_vuln_blacklist, which has no Zen 5). A Linux that
    is a guest has neither.
    """
    if not _is_amd_or_hygon(host) or _has(host, "HYPERVISOR"):
        return 0
    (_, family, _), found = _signature(host), 0
    if _is_amd(host):
        found = 1 << 13 if family == _ZEN3 else 3 << 11
    if family in (_ZEN1, _DHYANA, _ZEN3) and _has(host, "AMD_IBPB"):
        found |= 1 << 14
    return found


@lru_cache(maxsize=64)
def bugs(host: Host, arch_capabilities: int | None = None) -> frozenset[str]:
    """Bugs that Linux sees, of those that KVM asks for.

    ``arch_capabilities`` is the processor's MSR; where it is not known it is taken to say IBRS_ALL alone.
    """
    found = set()
    vendor, family, model = _signature(host)
    told = _IBRS_ALL if arch_capabilities is None else arch_capabilities
    if not _has(host, "ARCH_CAPABILITIES"):
        told = 0
    intel_model = model if (vendor, family) == ("GenuineIntel", 6) else None
    is_spared = _is_amd_or_hygon(host) or intel_model in _NO_PBRSB_MODELS
    if told & _IBRS_ALL and not told & _PBRSB_NO and not is_spared:
        found.add("EIBRS_PBRSB")
    if _is_amd_or_hygon(host) and not _has(host, "NULL_SEL_CLR_BASE") and not _clears_base(host):
        found.add("NULL_SEG")
    is_spared = intel_model in _NO_SSB_MODELS or (_is_amd(host) and family in _NO_SSB_FAMILIES)
    if not _has(host, "AMD_SSB_NO") and not told & _SSB_NO and not is_spared:
        found.add("SPEC_STORE_BYPASS")
    return frozenset(found)


def _clears_base(host: Host) -> bool:
    """check_null_seg_clears_base: Zen 2 does without saying so; later ones say so, and a virtual one is not believed.

    Linux tries it out on families 17h and 18h; Hygon's is Zen 1.
    """
    _, family, model = _signature(host)
    return family == _ZEN1 and model >= 0x30 and not _has(host, "HYPERVISOR")
