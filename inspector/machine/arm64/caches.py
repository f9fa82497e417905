"""CLIDR_EL1: the caches that a core has, and that KVM shows its guests.

Source: Arm ARM (DDI 0487), D24.2 (CLIDR_EL1); Linux arch/arm64/kvm/sys_regs.c (reset_clidr, set_clidr,
is_valid_cache), arch/arm64/include/asm/cache.h (read_cpuid_effective_cachetype).
"""

from __future__ import annotations

from layouts.arm64 import id_fields as of

#: Kinds of cache in CLIDR_EL1, and of tags.
_INSTRUCTIONS, _DATA, _BOTH, _UNIFIED, _TAGS_IN_LINE = 1, 2, 3, 4, 2


def needs_no_cleaning(clidr: int) -> bool:
    """Nothing has to be cleaned to the point of unification: no level to that of coherence, or none to either other."""
    return not of.CLIDR_LOC.get(clidr) or not (of.CLIDR_LOUIS.get(clidr) or of.CLIDR_LOUU.get(clidr))


def has_cache(clidr: int, selector: int) -> bool:
    """There is the cache that CSSELR_EL1 selects: bit 0 instructions, above it the level less one."""
    kind = of.CLIDR_CTYPE[selector >> 1].get(clidr)
    return kind in ((_INSTRUCTIONS, _BOTH) if selector & 1 else (_DATA, _BOTH, _UNIFIED))


def reset_clidr(ctr: int, *, mte: bool = False) -> int:
    """The cache hierarchy that KVM shows: one level, as CTR_EL0's IDC and DIC ask, and tags (reset_clidr)."""
    idc, dic = of.CTR_IDC.get(ctr), of.CTR_DIC.get(ctr)
    level = 2 if idc and not dic else 1
    if idc:
        clidr = of.CLIDR_CTYPE[level - 1].put(0, _UNIFIED)
    else:
        clidr = of.CLIDR_LOUU.put(of.CLIDR_LOUIS.put(of.CLIDR_CTYPE[0].put(0, _DATA), 1), 1)
    if not dic:
        clidr |= of.CLIDR_CTYPE[0].put(0, _INSTRUCTIONS)
    if mte:
        clidr = of.CLIDR_TTYPE[level - 1].put(clidr, _TAGS_IN_LINE)
    return of.CLIDR_LOC.put(clidr, level)
