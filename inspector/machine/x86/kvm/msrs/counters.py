"""The host's performance counters, and those that a guest has.

Source: Linux arch/x86/kvm/pmu.c, kvm_init_pmu_capability, kvm_pmu_refresh; svm/pmu.c, amd_pmu_refresh;
vmx/pmu_intel.c, intel_pmu_refresh; vmx/vmx.c, vmx_get_perf_capabilities.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.pebs import has_pebs
from layouts.light import TYPE_CHECKING, NamedTuple
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

#: AMD64_NUM_COUNTERS, AMD64_NUM_COUNTERS_CORE; KVM_MAX_NR_INTEL_GP_COUNTERS, KVM_MAX_NR_FIXED_COUNTERS.
_AMD, _AMD_CORE = 4, 6
_MOST_GP, _MOST_FIXED = 8, 3
#: PERF_CAPABILITIES: full-width writes, the format of last branches, PEBS without the baseline.
FW_WRITES, LBR_FORMAT = 1 << 13, 0x3F
PEBS_FORMAT, PEBS_BASELINE, PEBS_TIMING = 0xF00, 1 << 14, 1 << 17
_PEBS = 1 << 6 | 1 << 7 | PEBS_FORMAT
#: PERF_CAP_PEBS_MASK.
PEBS_MASK = _PEBS | PEBS_BASELINE | PEBS_TIMING


class Counters(NamedTuple):
    """Performance counters: version of the PMU, how many of each kind, and their widths in bits.

    ``listed`` is how many general counters the index list has.
    """

    version: int = 0
    gp: int = 0
    fixed: int = 0
    gp_bits: int = 48
    fixed_bits: int = 0
    listed: int = 0


def is_enabled(kvm: Kvm) -> bool:
    """The PMU is on; kvm-amd of 5.10 does not ask."""
    return _parameter(kvm) or (kvm.msr_rules.pmu_always and kvm.is_svm)


def _parameter(kvm: Kvm) -> bool:
    """enable_pmu, as KVM left it: off where Linux has no counters, and on hybrid CPUs (kvm_init_pmu_capability)."""
    return kvm.is_on("enable_pmu", default=not kvm.processor.emulator and not kvm.boot_has("HYBRID_CPU"))


def host_counters(kvm: Kvm, rules: MsrRules) -> Counters:
    """kvm_pmu_cap; nothing where the PMU is off."""
    found = _amd(kvm) if kvm.is_svm else _intel(kvm)
    if rules.pmu_always or _parameter(kvm):
        return found._replace(listed=found.gp)
    return Counters()


def _amd(kvm: Kvm) -> Counters:
    leaf = kvm.raw.get(0x80000022)
    if leaf and leaf[0] & 1:
        return Counters(2, min(leaf[1] & 0xF, _AMD_CORE))
    return Counters(1, _AMD_CORE if kvm.boot_has("PERFCTR_CORE") else _AMD)


def _intel(kvm: Kvm) -> Counters:
    leaf = kvm.raw.get(0xA)
    if not leaf or not leaf[0] & 0xFF:
        return Counters()
    eax, _, _, edx = leaf
    fixed = min(edx & 0x1F, _MOST_FIXED)
    return Counters(min(eax & 0xFF, 2), min(eax >> 8 & 0xFF, _MOST_GP), fixed, eax >> 16 & 0xFF, edx >> 5 & 0xFF)


def guest_counters(vcpu: WholeVcpu) -> Counters:
    """kvm_pmu_refresh: what the guest's CPUID asks for, at most what the host has."""
    kvm = vcpu.kvm
    if not is_enabled(kvm):
        return Counters()
    host = host_counters(kvm, kvm.msr_rules)
    return _amd_guest(vcpu, host) if kvm.is_svm else _intel_guest(vcpu, host)


def _amd_guest(vcpu: WholeVcpu, host: Counters) -> Counters:
    rules = vcpu.kvm.msr_rules
    if rules.pmu_always:
        return Counters(1, _AMD_CORE)
    leaf = vcpu.guest.leaf(0x80000022, 0) if rules.perfmon_v2 else None
    if leaf and vcpu.guest.has("PERFMON_V2"):
        return Counters(2, min(leaf[1] & 0xF, host.gp))
    count = _AMD_CORE if vcpu.guest.has("PERFCTR_CORE") else _AMD
    return Counters(1, min(count, host.gp) if rules.perfmon_v2 else count)


def _intel_guest(vcpu: WholeVcpu, host: Counters) -> Counters:
    leaf = vcpu.guest.leaf(0xA)
    if leaf is None or not leaf[0] & 0xFF:
        return Counters()
    eax, _, _, edx = leaf
    version = eax & 0xFF
    gp, bits = min(eax >> 8 & 0xFF, host.gp), min(eax >> 16 & 0xFF, host.gp_bits)
    if version == 1:
        return Counters(version, gp, 0, bits)
    return Counters(version, gp, min(edx & 0x1F, host.fixed), bits, min(edx >> 5 & 0xFF, host.fixed_bits))


def supported_perf_cap(kvm: Kvm) -> int:
    """vmx_get_perf_capabilities."""
    if kvm.release >= (5, 18, 0) and not is_enabled(kvm):
        return 0
    host = kvm.processor.msrs.get(0x345, 0) if kvm.boot_has("PDCM") else 0
    no_lbr = kvm.boot_has("ARCH_LBR") or kvm.release < (5, 12, 0) or kvm.is_on("enable_mediated_pmu")
    return FW_WRITES | (0 if no_lbr else host & LBR_FORMAT) | (_supported_pebs(kvm, host) if has_pebs(kvm) else 0)


def _supported_pebs(kvm: Kvm, host: int) -> int:
    """The baseline, which adaptive PEBS needs, until commit 9e985cbf2942 of 6.9, which Linux 6.1.192 has too."""
    found = host & (_PEBS | (PEBS_TIMING if kvm.since(6, 17) else 0))
    is_adaptive = not kvm.since(6, 9) and kvm.release[:2] != (6, 1) and host & PEBS_FORMAT
    return found | (host & PEBS_BASELINE if is_adaptive else 0)
