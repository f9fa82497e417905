"""KVM_GET_MSR_INDEX_LIST and KVM_GET_MSR_FEATURE_INDEX_LIST.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_init_msr_lists; svm/svm.c, vmx/vmx.c, has_emulated_msr.
"""

from __future__ import annotations

from collections.abc import Iterable

from inspector.machine.x86.kvm.msrs import features as feature_msrs
from inspector.machine.x86.kvm.msrs.counters import host_counters
from inspector.machine.x86.kvm.msrs.silicon import reads
from layouts.light import TYPE_CHECKING
from layouts.x86 import msr_rules
from layouts.x86.msr_rules import Listed, MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm

_UCODE_REV = 0x8B
_TSX_CTRL = 1 << 7
#: CPUID(0x14,0): ECX 0 ToPA, ECX 2 single range, EBX 0 CR3 filtering; (0x14,1).EAX[2:0] address ranges.
_PT_LEAF, _NO_LEAF = 0x14, (0, 0, 0, 0)


def saved(kvm: Kvm, rules: MsrRules) -> tuple[int, ...]:
    """msrs_to_save: those that the host's RDMSR reads, and that KVM has."""
    return tuple(index for index in _of(kvm, rules, _saved_rows(kvm, rules)) if reads(kvm, index))


def is_saved(kvm: Kvm, rules: MsrRules, index: int) -> bool:
    """An MSR is of msrs_to_save."""
    rows = [row for row in _saved_rows(kvm, rules) if index in row.indexes]
    return index in _of(kvm, rules, rows) and reads(kvm, index)


def _saved_rows(kvm: Kvm, rules: MsrRules) -> tuple[Listed, ...]:
    has_pmu = kvm.is_on("enable_pmu") or not rules.pmu_only_if_on
    return (*msr_rules.SAVED, *msr_rules.SAVED_PMU) if has_pmu else msr_rules.SAVED


def emulated(kvm: Kvm) -> tuple[int, ...]:
    """emulated_msrs."""
    return tuple(_of(kvm, kvm.msr_rules, msr_rules.EMULATED))


def is_emulated(kvm: Kvm, index: int) -> bool:
    """An MSR is of emulated_msrs."""
    return index in _of(kvm, kvm.msr_rules, [row for row in msr_rules.EMULATED if index in row.indexes])


def features(kvm: Kvm, rules: MsrRules) -> tuple[int, ...]:
    """msr_based_features."""
    vmx = msr_rules.FEATURE_VMX_RANGE if rules.vmx_is_range else msr_rules.FEATURE_VMX
    return tuple(_of(kvm, rules, (vmx, *msr_rules.FEATURES)))


def frozen(rules: MsrRules) -> frozenset[int]:
    """kvm_is_immutable_feature_msr: all but the microcode revision."""
    if not rules.frozen_after_run:
        return frozenset()
    rows = (msr_rules.FEATURE_VMX_RANGE, *msr_rules.FEATURES)
    indexes = {index for row in rows for index in row.indexes} - {_UCODE_REV}
    return frozenset(indexes if rules.platform_info_listed else indexes - {0xCE})


def _of(kvm: Kvm, rules: MsrRules, rows: Iterable[Listed]) -> Iterable[int]:
    series = kvm.release[:2]
    for row in rows:
        if row.since <= series <= row.until:
            for at, index in enumerate(row.indexes):
                if _has(kvm, rules, row.needs, at, index):
                    yield index


def _has(kvm: Kvm, rules: MsrRules, needs: str, at: int, index: int) -> bool:
    """The cases of kvm_probe_msr_to_save, and has_emulated_msr."""
    match needs:
        case "":
            return True
        case "svm" | "vmx":
            return kvm.vendor == needs
        case "nested_vmx":
            return kvm.is_vmx and kvm.is_on("nested")
        case "smbase":
            modes = ("unrestricted_guest", "emulate_invalid_guest_state")
            return kvm.is_svm or any(kvm.is_on(mode) for mode in modes)
        case "mpx":
            return kvm.is_vmx and kvm.has("MPX")
        case "rdtscp":
            return kvm.has("RDTSCP") or (kvm.release >= (6, 1, 0) and kvm.has("RDPID"))
        case "waitpkg":
            return kvm.has("WAITPKG")
        case "xfd":
            return kvm.has("XFD")
        case "xss":
            return bool(kvm.xss)
        case "cet":
            return kvm.has("SHSTK") or kvm.has("IBT")
        case "shstk":
            return kvm.has("SHSTK")
        case "shstk_lm":
            return kvm.has("SHSTK") and kvm.has("LM")
        case "tsx_ctrl":
            return rules.tsx_ctrl_listed and bool(feature_msrs.arch_capabilities(kvm, rules) & _TSX_CTRL)
        case "lbr":
            return rules.lbr_listed
    return _has_trace(kvm, needs, at) if needs.startswith("pt") else _has_counter(kvm, rules, needs, index)


def _has_trace(kvm: Kvm, needs: str, at: int) -> bool:
    """Processor trace: only where KVM gives it to guests (pt_mode=1)."""
    if not kvm.has("INTEL_PT"):
        return False
    _, ebx, ecx, _ = kvm.host.cpuid.get(_PT_LEAF) or _NO_LEAF
    ranges = (kvm.host.cpuid.get(_PT_LEAF, 1) or _NO_LEAF)[0] & 7
    return {"pt": True, "pt_cr3": bool(ebx & 1), "pt_output": bool(ecx & 5), "pt_ranges": at < 2 * ranges}[needs]


def _has_counter(kvm: Kvm, rules: MsrRules, needs: str, index: int) -> bool:
    counters = host_counters(kvm, rules)
    match needs:
        case "gp":
            return (index - 0xC1 if index < 0x186 else index - 0x186) < counters.listed
        case "fixed":
            return not rules.pmu_only_if_on or index - 0x309 < counters.fixed
        case "ovf_ctrl":
            return rules.ovf_ctrl_listed
        case "perfmon_v2":
            return rules.perfmon_v2 and kvm.has("PERFMON_V2")
        case "status_set":
            return rules.global_status_set and kvm.has("PERFMON_V2")
    raise KeyError(needs)
