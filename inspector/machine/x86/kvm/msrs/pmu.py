"""Performance counters.

Source: Linux arch/x86/kvm/pmu.c, kvm_pmu_set_msr; svm/pmu.c, amd_pmu_set_msr; vmx/pmu_intel.c, intel_pmu_set_msr.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.counters import FW_WRITES, PEBS_BASELINE, PEBS_FORMAT, Counters, guest_counters
from inspector.machine.x86.kvm.msrs.features import guest_perf_capabilities
from inspector.machine.x86.kvm.msrs.rule import UNKNOWN, MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, address_width, is_canonical
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

#: P6's and K7's, which a guest without a PMU may write without effect.
P6 = (0xC1, 0xC2, 0x186, 0x187)
K7_SELECT, K7_COUNTER, F15H = (
    range(0xC0010000, 0xC0010004),
    range(0xC0010004, 0xC0010008),
    range(0xC0010200, 0xC001020C),
)
AMD_STATUS, AMD_CTL, AMD_STATUS_CLR, AMD_STATUS_SET = 0xC0000300, 0xC0000301, 0xC0000302, 0xC0000303
COUNTER, SELECT, FULL_COUNTER, FIXED = 0xC1, 0x186, 0x4C1, 0x309
FIXED_CTRL, STATUS, CTRL, OVF_CTRL = 0x38D, 0x38E, 0x38F, 0x390
PEBS_ENABLE, PEBS_DATA_CFG, DS_AREA = 0x3F1, 0x3F2, 0x600
_MOST = 18
_AMD_SELECT_RESERVED = 0xFFFFFFF000280000
_INTEL_SELECT_RESERVED = 0xFFFFFFFF00200000
#: Of a selection: IN_TX, IN_TX_CHECKPOINTED, ADAPTIVE; a fixed counter's ADAPTIVE is its control's bit, 32 higher.
_IN_TX, _IN_TX_CP, _ADAPTIVE, _FIXED_ADAPTIVE = 1 << 32, 1 << 33, 1 << 34, 1 << 32
#: intel_pmu_refresh takes the numbers of two features for masks of leaf 7's EBX: X86_FEATURE_HLE | X86_FEATURE_RTM.
_HLE_OR_RTM = (9 * 32 + 4) | (9 * 32 + 11)
_STATUS_ALSO = 1 << 62 | 1 << 63
_PEBS_CFG = 0xFF00000F

_RESERVED = Refusal("no bit of {allowed:#x}, which the guest's PMU lacks, is set in {value:#x}")
_WIDE = Refusal("{value:#x} is as wide as the guest's counters ({allowed:#x})")
_NO_PMU = Refusal("the guest's PMU has the counter of {index:#x}")
_CANONICAL = Refusal("{value:#x} is canonical")


def _amd_slot(vcpu: WholeVcpu, index: int) -> int | None:
    """The counter or its selection that an index names, by its F15H number; None where the guest lacks it."""
    counters = guest_counters(vcpu)
    rules = vcpu.kvm.msr_rules
    if not counters.version:
        return None
    if index in F15H:
        if not rules.pmu_always and not vcpu.guest.has("PERFCTR_CORE"):
            return None
        slot = index
    else:
        slot = F15H[0] + (2 * (index - K7_SELECT[0]) if index in K7_SELECT else 2 * (index - K7_COUNTER[0]) + 1)
    return slot if (slot - F15H[0]) // 2 < counters.gp else None


def _lacking(vcpu: WholeVcpu) -> Refusal:
    """amd_is_valid_msr (from 6.5 on): with PERFCTR_CORE the MSR is one of the PMU's, though the PMU is off."""
    return _NO_PMU if vcpu.kvm.msr_rules.perfmon_v2 and vcpu.guest.has("PERFCTR_CORE") else UNKNOWN


def _write_amd(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    slot = _amd_slot(vcpu, index)
    if slot is None:
        return _lacking(vcpu) if index in F15H else None
    vcpu.msrs[slot] = value & ((1 << 48) - 1 if slot & 1 else ~_AMD_SELECT_RESERVED)
    return None


def _read_amd(vcpu: WholeVcpu, index: int) -> int | Refusal:
    slot = _amd_slot(vcpu, index)
    if slot is None:
        return _lacking(vcpu) if index in F15H else 0
    return vcpu.msrs.get(slot, 0)


def _write_amd_global(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    counters = guest_counters(vcpu)
    if counters.version < 2:
        return UNKNOWN
    reserved = ALL_ONES ^ ((1 << counters.gp) - 1)
    if index == AMD_STATUS and value & reserved:
        return _RESERVED._replace(allowed=reserved)
    if index in (AMD_STATUS, AMD_CTL):
        vcpu.msrs[index] = value & ~reserved
    return None


def _read_amd_global(vcpu: WholeVcpu, index: int) -> int | Refusal:
    counters = guest_counters(vcpu)
    if counters.version < 2:
        return UNKNOWN
    return vcpu.msrs.get(index, _global_ctrl(vcpu, counters) if index == AMD_CTL else 0)


def _global_ctrl(vcpu: WholeVcpu, counters: Counters) -> int:
    """What PERF_GLOBAL_CTRL begins with (kvm_pmu_refresh, intel_pmu_refresh)."""
    which = vcpu.kvm.msr_rules.global_ctrl_reset
    general = (1 << counters.gp) - 1 if which else 0
    return general | ((1 << counters.fixed) - 1) << 32 if which == "all" else general


def _in_range(index: int, first: int, count: int) -> bool:
    return first <= index < first + count


def _intel_reserved(vcpu: WholeVcpu, counters: Counters, index: int) -> int | None:
    """The bits that an MSR of the guest's PMU refuses; None where the guest lacks it."""
    both = ALL_ONES ^ ((1 << counters.gp) - 1 | ((1 << counters.fixed) - 1) << 32)
    perf = guest_perf_capabilities(vcpu)
    is_adaptive = bool(perf & PEBS_FORMAT and perf & PEBS_BASELINE)
    # From 6.18 on intel_pmu_refresh makes the masks of PEBS after it returned for version 1.
    has_masks = counters.version >= (2 if vcpu.kvm.since(6, 18) else 1)
    if index in (FIXED_CTRL, STATUS, CTRL, OVF_CTRL):
        if counters.version < 2:
            return None
        if index == FIXED_CTRL:
            each = 0xB | (_FIXED_ADAPTIVE if is_adaptive else 0)
            return ALL_ONES & ~sum(each << 4 * number for number in range(counters.fixed))
        if index == STATUS and vcpu.kvm.msr_rules.global_status_any:
            return 0
        return both if index == CTRL else both & ~_STATUS_ALSO
    if index == PEBS_ENABLE:
        mask = both if is_adaptive else ALL_ONES ^ ((1 << counters.gp) - 1)
        return (mask if has_masks else ALL_ONES) if perf & PEBS_FORMAT else None
    if index == PEBS_DATA_CFG:
        # The kernel asks for a format beyond 3, and takes the field where it lies: any but 0 is.
        return (ALL_ONES ^ _PEBS_CFG if has_masks else ALL_ONES) if is_adaptive else None
    if _in_range(index, SELECT, counters.gp):
        return _select_reserved(vcpu, index - SELECT, is_adaptive=is_adaptive and has_masks)
    if _in_range(index, FULL_COUNTER, counters.gp):
        return ALL_ONES ^ ((1 << counters.gp_bits) - 1) if perf & FW_WRITES else None
    return 0 if _in_range(index, COUNTER, counters.gp) or _in_range(index, FIXED, counters.fixed) else None


def _select_reserved(vcpu: WholeVcpu, counter: int, *, is_adaptive: bool) -> int:
    """reserved_bits of intel_pmu_refresh, and of intel_pmu_set_msr for one counter."""
    kvm, leaf = vcpu.kvm, vcpu.guest.leaf(7, 0)
    reserved = _INTEL_SELECT_RESERVED
    if leaf and leaf[1] & _HLE_OR_RTM and (kvm.boot_has("HLE") or kvm.boot_has("RTM")):
        reserved &= ~(_IN_TX | (_IN_TX_CP if counter == 2 or kvm.msr_rules.in_tx_cp_any else 0))
    return reserved & ~_ADAPTIVE if is_adaptive else reserved


def _write_intel(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if index == DS_AREA:
        if not vcpu.guest.has("DS"):
            return UNKNOWN
        if not is_canonical(value, address_width(vcpu)):
            return _CANONICAL
        vcpu.msrs[index] = value
        return None
    counters = guest_counters(vcpu)
    reserved = _intel_reserved(vcpu, counters, index)
    if reserved is None:
        return None if index in P6 else UNKNOWN
    if value & reserved:
        return (_WIDE if _in_range(index, FULL_COUNTER, _MOST) else _RESERVED)._replace(allowed=reserved)
    if _in_range(index, FULL_COUNTER, _MOST):
        index += COUNTER - FULL_COUNTER
    if _in_range(index, COUNTER, _MOST):
        value &= (1 << counters.gp_bits) - 1
    elif _in_range(index, FIXED, _MOST):
        value &= (1 << counters.fixed_bits) - 1
    if index != OVF_CTRL or vcpu.kvm.msr_rules.ovf_ctrl_kept:
        vcpu.msrs[index] = value
    return None


def _read_intel(vcpu: WholeVcpu, index: int) -> int | Refusal:
    if index == DS_AREA:
        return vcpu.msrs.get(index, 0) if vcpu.guest.has("DS") else UNKNOWN
    counters = guest_counters(vcpu)
    if _intel_reserved(vcpu, counters, index) is None:
        return 0 if index in P6 else UNKNOWN
    if _in_range(index, FULL_COUNTER, _MOST):
        index += COUNTER - FULL_COUNTER
    return vcpu.msrs.get(index, _global_ctrl(vcpu, counters) if index == CTRL else 0)


def _write_dropped(_vcpu: WholeVcpu, _index: int, _value: int) -> None:
    """The other vendor's counters: taken without effect."""


def _read_dropped(_vcpu: WholeVcpu, _index: int) -> int:
    return 0


def rules(kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """The counters of the vendor; the other's old ones take everything."""
    dropped = MsrRule(_write_dropped, _read_dropped, "kvm_set_msr_common, kvm_pmu_is_valid_msr (x86.c, pmu.c)")
    found = dict.fromkeys((*P6, *K7_SELECT, *K7_COUNTER), dropped)
    if kvm.is_svm:
        amd = MsrRule(_write_amd, _read_amd, "amd_pmu_set_msr (svm/pmu.c)")
        found.update(dict.fromkeys((*K7_SELECT, *K7_COUNTER, *F15H), amd))
        if rules.perfmon_v2:
            globals_ = MsrRule(_write_amd_global, _read_amd_global, "kvm_pmu_set_msr (pmu.c)")
            found.update(dict.fromkeys((AMD_STATUS, AMD_CTL, AMD_STATUS_CLR), globals_))
            if rules.global_status_set:
                found[AMD_STATUS_SET] = globals_
        return found
    intel = MsrRule(_write_intel, _read_intel, "intel_pmu_set_msr (vmx/pmu_intel.c)")
    ranges = ((COUNTER, 8), (SELECT, 8), (FULL_COUNTER, 8), (FIXED, 3))
    found.update({first + at: intel for first, count in ranges for at in range(count)})
    found.update(dict.fromkeys((FIXED_CTRL, STATUS, CTRL, OVF_CTRL), intel))
    if rules.pebs:
        found.update(dict.fromkeys((PEBS_ENABLE, PEBS_DATA_CFG, DS_AREA), intel))
    return found
