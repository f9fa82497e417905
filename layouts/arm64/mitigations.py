"""Which cores Linux takes as unaffected by speculation, by implementer and part number of MIDR_EL1.

Source: Linux 7.2 arch/arm64/kernel/proton-pack.c (spectre_v2_safe_list, spectre_v4_safe_list,
spectre_bhb_safe_list, the lists of spectre_bhb_loop_affected), arch/arm64/kernel/cpufeature.c (kpti_safe_list);
part numbers as in arch/arm64/include/asm/cputype.h. 5.10 and 6.1 have the same first, second and last list.
"""

from __future__ import annotations

Part = tuple[int, int]
"""Implementer and part number."""

_ARM, _BROADCOM, _CAVIUM, _HISILICON, _NVIDIA, _QUALCOMM = 0x41, 0x42, 0x43, 0x48, 0x4E, 0x51
_MICROSOFT, _AMPERE = 0x6D, 0xC0


def _arm(*parts: int) -> frozenset[Part]:
    return frozenset((_ARM, part) for part in parts)


_A35, _A53, _A55, _A57, _A72, _A73, _A510, _A520 = 0xD04, 0xD03, 0xD05, 0xD07, 0xD08, 0xD09, 0xD46, 0xD80
_BRAHMA_B53, _VULCAN, _THUNDERX2 = (_BROADCOM, 0x100), (_BROADCOM, 0x516), (_CAVIUM, 0x0AF)
_TSV110, _HIP09, _CARMEL = (_HISILICON, 0xD01), (_HISILICON, 0xD02), (_NVIDIA, 0x004)
_KRYO_2XX_GOLD, _KRYO_2XX_SILVER = (_QUALCOMM, 0x800), (_QUALCOMM, 0x801)
_KRYO_3XX_SILVER, _KRYO_4XX_GOLD, _KRYO_4XX_SILVER = (_QUALCOMM, 0x803), (_QUALCOMM, 0x804), (_QUALCOMM, 0x805)
_KRYO_SILVER = frozenset((_KRYO_2XX_SILVER, _KRYO_3XX_SILVER, _KRYO_4XX_SILVER))

#: Not affected by Spectre v2, whatever ID_AA64PFR0_EL1.CSV2 says.
SPECTRE_V2_SAFE = _arm(_A35, _A53, _A55) | {_BRAHMA_B53, _TSV110} | _KRYO_SILVER
#: Not affected by Spectre v4.
SPECTRE_V4_SAFE = _arm(_A35, _A53, _A55) | {_BRAHMA_B53, _KRYO_3XX_SILVER, _KRYO_4XX_SILVER}
#: Not affected by Spectre-BHB.
SPECTRE_BHB_SAFE = _arm(_A35, _A53, _A55, _A510, _A520) | {_BRAHMA_B53} | _KRYO_SILVER
#: Affected by Spectre-BHB; a loop of branches mitigates it.
SPECTRE_BHB_LOOP = (
    _arm(0xD4E, 0xD4F, 0xD4D, 0xD81, 0xD89, 0xD41, 0xD42, 0xD4B, 0xD44, 0xD4C, 0xD47, 0xD48, 0xD49, 0xD40)
    | _arm(0xD0B, 0xD0E, 0xD0D, 0xD0C, _A72, _A57)
    | {_TSV110, _HIP09, _KRYO_4XX_GOLD, (_AMPERE, 0xAC3)}
)
#: MSR SSBS does not always hold back later loads (erratum_spec_ssbs_list of cpu_errata.c, Linux 7.3): programs do not
#: see the feature.
SPECULATIVE_SSBS = _arm(
    *(0xD0B, 0xD0D, 0xD41, 0xD4B, 0xD47, 0xD4D, 0xD81, 0xD89, 0xD87, 0xD44, 0xD4C, 0xD48, 0xD4E, 0xD82, 0xD85),
    *(0xD0C, 0xD49, 0xD8E, 0xD40, 0xD4F, 0xD84, 0xD83),
) | {(_MICROSOFT, 0xD49)}
#: Not affected by Meltdown, whatever ID_AA64PFR0_EL1.CSV3 says.
MELTDOWN_SAFE = (
    _arm(_A35, _A53, _A55, _A57, _A72, _A73)
    | {_THUNDERX2, _VULCAN, _BRAHMA_B53, _TSV110, _CARMEL, _KRYO_2XX_GOLD}
    | _KRYO_SILVER
)
