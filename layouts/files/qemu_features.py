"""Which sub-leaf of CPUID a feature is of that QEMU names by leaf and register alone.

QEMU says ``CPUID.0DH:EAX.xsavec`` for sub-leaf 1 as for sub-leaf 0; the name tells. Source: QEMU target/i386/cpu.c,
``feature_word_info`` (FEAT_XSAVE, FEAT_7_1_EAX, FEAT_7_1_EDX, FEAT_7_2_EDX, FEAT_14_0_ECX).
"""

from __future__ import annotations

#: Words whose registers have features in one sub-leaf only, and that is not 0.
_ONE = {(7, "eax"): 1}
#: The others, by feature; what is not here is of sub-leaf 0.
_BY_NAME: dict[tuple[int, str], dict[int, tuple[str, ...]]] = {
    (0xD, "eax"): {1: ("xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd")},
    (7, "edx"): {
        1: ("avx-vnni-int8", "avx-ne-convert", "amx-complex", "avx-vnni-int16", "prefetchiti", "avx10"),
        2: ("intel-psfd", "ipred-ctrl", "rrsba-ctrl", "ddpd-u", "bhi-ctrl", "mcdt-no"),
    },
}


def subleaf_of(leaf: int, register: str, name: str) -> int:
    """The sub-leaf of a feature of QEMU; ``register`` is ``eax`` to ``edx``."""
    if (leaf, register) in _ONE:
        return _ONE[leaf, register]
    rows = _BY_NAME.get((leaf, register), {})
    return next((subleaf for subleaf, names in rows.items() if name in names), 0)
