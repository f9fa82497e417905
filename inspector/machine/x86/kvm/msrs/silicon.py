"""Which of the MSRs that KVM would save a processor has: what kvm_probe_msr_to_save finds by RDMSR.

Source: Intel SDM vol. 4 (2.1, 2.17), AMD APM vol. 2 (appendix A). Emulators answer every RDMSR.
"""

from __future__ import annotations

from layouts.light import TYPE_CHECKING
from layouts.x86.features import FEATURES

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm

_TSX_CTRL = 1 << 7
_AMD_COUNTERS = range(0xC0010000, 0xC0010008)
_CORE_COUNTERS, _GLOBAL = range(0xC0010200, 0xC001020C), range(0xC0000300, 0xC0000304)
_GP, _SELECT, _FIXED = range(0xC1, 0xD3), range(0x186, 0x198), range(0x309, 0x30D)
_PERFMON_2 = range(0x38D, 0x391)
#: An MSR, and the features of which one brings it.
_BY_FEATURE = {
    0xC0000103: ("RDTSCP", "RDPID"),
    0x48: ("SPEC_CTRL", "AMD_IBRS", "AMD_STIBP", "AMD_SSBD", "SPEC_CTRL_SSBD"),
    0xD90: ("MPX",),
    0xE1: ("WAITPKG",),
    0x3A: ("VMX", "SMX", "SGX"),
    0xC0010117: ("SVM",),
    **dict.fromkeys((0x1C4, 0x1C5), ("XFD",)),
    0xDA0: ("XSAVES",),
    **dict.fromkeys((0x6A0, 0x6A2), ("SHSTK", "IBT")),
    **dict.fromkeys(range(0x6A4, 0x6A9), ("SHSTK",)),
    **dict.fromkeys((0x560, 0x561, 0x570, 0x571, 0x572, *range(0x580, 0x588)), ("INTEL_PT",)),
    **dict.fromkeys((0x600, 0x3F1), ("DS",)),
    **dict.fromkeys(_CORE_COUNTERS, ("PERFCTR_CORE",)),
    **dict.fromkeys(_GLOBAL, ("PERFMON_V2",)),
}


def names(kvm: Kvm, feature: str) -> bool:
    """The CPUID instruction names the feature, whatever Linux made of it."""
    *word, bit = FEATURES[feature]
    return bool(kvm.raw_register((word[0], word[1], word[2])) >> bit & 1)


def reads(kvm: Kvm, index: int) -> bool:
    """RDMSR of the MSR does not fault on the host."""
    processor = kvm.processor
    if processor.emulator:
        return True
    if index in processor.absent:
        return False
    features = _BY_FEATURE.get(index)
    if features is not None:
        return any(names(kvm, feature) for feature in features)
    if index == 0x122:
        return bool(processor.msrs.get(0x10A, 0) & _TSX_CTRL)
    # With architectural last branches there are only those of exceptions.
    if index in (0x1DB, 0x1DC):
        return not names(kvm, "ARCH_LBR")
    if index in _AMD_COUNTERS:
        return kvm.is_svm
    return _reads_counter(kvm, index) if index in _ARCHITECTURAL else True


_ARCHITECTURAL = frozenset((*_GP, *_SELECT, *_FIXED, *_PERFMON_2, 0x3F2))


def _reads_counter(kvm: Kvm, index: int) -> bool:
    """Architectural counters: how many CPUID leaf 0xA has."""
    leaf = kvm.raw.get(0xA)
    if kvm.is_svm or not leaf or not leaf[0] & 0xFF:
        return False
    version, gp, fixed = leaf[0] & 0xFF, leaf[0] >> 8 & 0xFF, leaf[3] & 0x1F
    if index in _GP:
        return index - _GP[0] < gp
    if index in _SELECT:
        return index - _SELECT[0] < gp
    if index in _FIXED:
        return index - _FIXED[0] < fixed
    # PEBS_DATA_CFG came with adaptive PEBS, and that with version 5.
    return version >= (5 if index == 0x3F2 else 2)
