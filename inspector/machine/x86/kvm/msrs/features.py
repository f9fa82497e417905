"""Feature MSRs: what they say of the host, and what a VMM may set.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), kvm_get_feature_msr, kvm_get_arch_capabilities.
"""

from __future__ import annotations

from inspector.capture.host import Cpuid
from inspector.machine.x86.kvm.msrs import nested_vmx
from inspector.machine.x86.kvm.msrs.counters import (
    LBR_FORMAT,
    PEBS_FORMAT,
    PEBS_MASK,
    guest_counters,
    supported_perf_cap,
)
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, COMMON, is_stuffed, store, stored
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_origins import not_shown
from layouts.x86.msr_rules import MsrRules, rules_for

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

UCODE_REV, PLATFORM_INFO, ARCH_CAPABILITIES, PERF_CAPABILITIES = 0x8B, 0xCE, 0x10A, 0x345
MISC_FEATURES_ENABLES, DE_CFG = 0x140, 0xC0011029
CPUID_FAULT = 1 << 31
LFENCE_SERIALIZE = 2
#: Of ARCH_CAPABILITIES: microcode that mitigates gather data sampling, and a CPU or guest without it.
_GDS_CTRL, _GDS_NO = 1 << 25, 1 << 26
_RESET_REVISION = {"svm": 0x01000065, "vmx": 1 << 32}

_NO_ARCH_CAPABILITIES = Refusal("the guest's CPUID has ARCH_CAPABILITIES, and so has KVM", unsupported=True)
_NO_PDCM = Refusal("the guest's CPUID has PDCM, and so has KVM", unsupported=True)
_PERF = Refusal("only what KVM supports of PERF_CAPABILITIES ({allowed:#x}) is set in {value:#x}")
_NO_PMU = Refusal("the guest has a PMU (CPUID leaf 0xA)")
_NO_DS = Refusal("the guest's CPUID has DS and DTES64, without which it has no PEBS")
_OTHER_MODEL = Refusal("the guest's model is the host's (CPUID.1.EAX), as that of records has to be")
_FORMAT = Refusal("the format of records in {value:#x} is the host's ({allowed:#x}), or none")
_FAULT_STAYS = Refusal("CPUID faulting stays offered while MISC_FEATURES_ENABLES has it on")
_FAULT_ONLY = Refusal("only bit 0 (CPUID faulting) of MISC_FEATURES_ENABLES is set in {value:#x}")
_NO_FAULT = Refusal("PLATFORM_INFO offers CPUID faulting")


def arch_capabilities(kvm: Kvm, rules: MsrRules) -> int:
    """kvm_get_arch_capabilities: the host's, with what Linux knows its CPU to be free of."""
    host = kvm.processor.msrs.get(ARCH_CAPABILITIES, 0) if kvm.boot_has("ARCH_CAPABILITIES") else 0
    found = host & rules.arch_capabilities | 1 << 6
    if kvm.parameter("vmentry_l1d_flush") != "never":
        found |= 1 << 3
    for bit, bug in ((0, "CPU_MELTDOWN"), (4, "SPEC_STORE_BYPASS"), (5, "MDS")):
        found |= (not kvm.has_bug(bug)) << bit
    if not kvm.has_bug("GDS") or (host & _GDS_CTRL and not kvm.boot_has("HYPERVISOR")):
        # gds_ucode_mitigated, unless the kernel's command line turns that off.
        found |= _GDS_NO
    for bit, bug in ((27, "RFDS"), (62, "ITS")):
        found |= (not kvm.has_bug(bug) and bool(rules.arch_capabilities >> bit & 1)) << bit
    if not kvm.boot_has("RTM"):
        return found & ~(1 << 8)
    return found | (not kvm.has_bug("TAA")) << 8


def shown(release: tuple[int, int, int], index: int) -> int:
    """The bits of a feature MSR that KVM of a release may show. What it makes of its own is among what it passes on."""
    if index == ARCH_CAPABILITIES:
        return rules_for(release).arch_capabilities
    return ~not_shown(index, release) & ALL_ONES


def perf_capabilities(kvm: Kvm) -> int:
    """kvm_caps.supported_perf_cap: nothing on AMD; on Intel full-width writes, LBR and PEBS formats of the host."""
    return supported_perf_cap(kvm) if kvm.is_vmx else 0


def value_of(kvm: Kvm, rules: MsrRules, index: int) -> int:
    """kvm_get_feature_msr."""
    if index == ARCH_CAPABILITIES:
        return arch_capabilities(kvm, rules)
    if index == PERF_CAPABILITIES:
        return perf_capabilities(kvm)
    if index == PLATFORM_INFO:
        return CPUID_FAULT
    if index == UCODE_REV:
        return kvm.processor.microcode
    if index == DE_CFG:
        return de_cfg(kvm)
    return nested_vmx.supported(kvm)[index]


def de_cfg(kvm: Kvm) -> int:
    """svm_get_feature_msr: LFENCE serializes, which Linux turns on where an AMD CPU has SSE2 (init_amd)."""
    return LFENCE_SERIALIZE if kvm.boot_has("XMM2") else 0


def _write_arch_capabilities(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if vcpu.kvm.msr_rules.needs_arch_capabilities and not vcpu.guest.has("ARCH_CAPABILITIES"):
        return _NO_ARCH_CAPABILITIES
    vcpu.msrs[index] = value
    return None


def _read_arch_capabilities(vcpu: WholeVcpu, index: int) -> int | Refusal:
    rules = vcpu.kvm.msr_rules
    if rules.needs_arch_capabilities and not vcpu.guest.has("ARCH_CAPABILITIES"):
        return _NO_ARCH_CAPABILITIES
    found = vcpu.msrs.get(index)
    if found is None:
        found = arch_capabilities(vcpu.kvm, rules) if is_stuffed(vcpu) else 0
    return found


def _write_perf_capabilities(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if vcpu.kvm.msr_rules.needs_arch_capabilities and not vcpu.guest.has("PDCM"):
        return _NO_PDCM
    kvm, allowed = vcpu.kvm, perf_capabilities(vcpu.kvm)
    if value and kvm.is_vmx and not kvm.since(6, 13) and not guest_counters(vcpu).version:
        return _NO_PMU
    if value & ~allowed:
        return _PERF._replace(allowed=allowed)
    refused = _records(vcpu, value, allowed)
    if refused is None:
        vcpu.msrs[index] = value
    return refused


def _records(vcpu: WholeVcpu, value: int, allowed: int) -> Refusal | None:
    """vmx_set_msr: last branches and PEBS as the host has them, for a guest of its model; PEBS with DS and DTES64."""
    for field, mask in ((LBR_FORMAT, LBR_FORMAT), (PEBS_FORMAT, PEBS_MASK)):
        if value & field and (value ^ allowed) & mask:
            return _FORMAT._replace(allowed=allowed & mask)
        if field == PEBS_FORMAT and value & field and not (vcpu.guest.has("DS") and vcpu.guest.has("DTES64")):
            return _NO_DS
        if value & field and not _is_hosts_model(vcpu):
            return _OTHER_MODEL
    return None


def _is_hosts_model(vcpu: WholeVcpu) -> bool:
    """cpuid_model_is_consistent; the family and the stepping may differ."""
    guest, host = vcpu.guest.leaf(1), vcpu.kvm.host.cpuid.signature()
    found = Cpuid({(1, 0): guest}).signature() if guest is not None else None
    return found is not None and host is not None and found[2] == host[2]


def _read_perf_capabilities(vcpu: WholeVcpu, _index: int) -> int | Refusal:
    if vcpu.kvm.msr_rules.needs_arch_capabilities and not vcpu.guest.has("PDCM"):
        return _NO_PDCM
    return _kept_perf_capabilities(vcpu)


def _kept_perf_capabilities(vcpu: WholeVcpu) -> int:
    found = vcpu.msrs.get(PERF_CAPABILITIES)
    if found is None:
        stuffed = vcpu.kvm.msr_rules.perf_capabilities_are_stuffed and is_stuffed(vcpu)
        found = perf_capabilities(vcpu.kvm) if stuffed else 0
    return found


def guest_perf_capabilities(vcpu: WholeVcpu) -> int:
    """vcpu_get_perf_capabilities (vmx/pmu_intel.h): nothing without PDCM, whatever the VMM wrote."""
    return _kept_perf_capabilities(vcpu) if vcpu.guest.has("PDCM") else 0


def _write_platform_info(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    faulting = vcpu.kvm.msr_rules.platform_info_fault and vcpu.msrs.get(MISC_FEATURES_ENABLES, 0) & 1
    if faulting and not value & CPUID_FAULT:
        return _FAULT_STAYS
    vcpu.msrs[index] = value
    return None


def _read_platform_info(vcpu: WholeVcpu, index: int) -> int:
    return vcpu.msrs.get(index, CPUID_FAULT if is_stuffed(vcpu) else 0)


def _write_misc_features(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value & ~1:
        return _FAULT_ONLY
    if value and not _read_platform_info(vcpu, PLATFORM_INFO) & CPUID_FAULT:
        return _NO_FAULT
    vcpu.msrs[index] = value
    return None


def _read_revision(vcpu: WholeVcpu, index: int) -> int:
    reset = _RESET_REVISION[vcpu.kvm.vendor] if is_stuffed(vcpu) else 0
    return vcpu.msrs.get(index, reset)


def rules(_kvm: Kvm, _rules: MsrRules) -> dict[int, MsrRule]:
    """The feature MSRs of both vendors."""
    return {
        UCODE_REV: MsrRule(store, _read_revision, COMMON),
        ARCH_CAPABILITIES: MsrRule(_write_arch_capabilities, _read_arch_capabilities, COMMON),
        PERF_CAPABILITIES: MsrRule(_write_perf_capabilities, _read_perf_capabilities, COMMON),
        PLATFORM_INFO: MsrRule(_write_platform_info, _read_platform_info, COMMON),
        MISC_FEATURES_ENABLES: stored()._replace(write=_write_misc_features),
    }
