"""Hyper-V's MSRs, with SynIC and synthetic timers.

Source: Linux arch/x86/kvm/hyperv.c, kvm_hv_set_msr_pw, kvm_hv_set_msr, synic_set_msr, stimer_set_config.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs import apic
from inspector.machine.x86.kvm.msrs.paravirtual import set_pv_eoi
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal
from inspector.machine.x86.kvm.msrs.values import U32, ignore, is_memory, masked, read_stored, read_zero, store
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

GUEST_OS_ID, HYPERCALL, VP_INDEX, RESET = 0x40000000, 0x40000001, 0x40000002, 0x40000003
VP_RUNTIME, TIME_REF_COUNT, REFERENCE_TSC = 0x40000010, 0x40000020, 0x40000021
TSC_FREQUENCY, APIC_FREQUENCY = 0x40000022, 0x40000023
EOI, ICR, TPR, VP_ASSIST_PAGE = 0x40000070, 0x40000071, 0x40000072, 0x40000073
SCONTROL, SVERSION, SIEFP, SIMP, EOM, SINT0 = 0x40000080, 0x40000081, 0x40000082, 0x40000083, 0x40000084, 0x40000090
STIMERS = range(0x400000B0, 0x400000B8)
SYNDBG = (*range(0x400000F1, 0x400000F6), 0x400000FF)
CRASH_P0, CRASH_CTL = 0x40000100, 0x40000105
REENLIGHTENMENT = range(0x40000106, 0x40000109)
TSC_INVARIANT = 0x40000118
#: KVM_CAP_HYPERV_SYNIC, KVM_CAP_HYPERV_SYNIC2.
SYNIC_CAPS = (123, 148)
_ENABLED = 1
_SYNIC_RESET = {SVERSION: 1, **dict.fromkeys(range(SINT0, SINT0 + 16), 0x10000)}
_CRASH_NOTIFY = 1 << 63
_APIC_HZ = 1_000_000_000
_ASSIST_PAGE_SIZE_BYTES = 4096
_SOURCE = "kvm_hv_set_msr, kvm_hv_set_msr_pw (hyperv.c)"
_SYNIC_SOURCE = "synic_set_msr (hyperv.c)"

_NO_MSR = Refusal("KVM of this release has Hyper-V's MSR {index:#x}")
_NO_SYNIC = Refusal("SynIC is on (KVM_CAP_HYPERV_SYNIC), or {value:#x} is 0")
_NO_LAPIC = Refusal("the local APIC is in the kernel")
_NO_MEMORY = Refusal("the page of {value:#x} is in the guest's memory")
_INDEX = Refusal("the index in {value:#x} is below {allowed:#x} (KVM_MAX_VCPUS)")
_NO_EOI_READ = Refusal("Hyper-V's EOI can be read")


def synic_is_active(vcpu: WholeVcpu) -> bool:
    """The VMM turned SynIC on."""
    return any(cap in vcpu.caps for cap in SYNIC_CAPS)


def activate_synic(vcpu: WholeVcpu) -> None:
    """kvm_hv_activate_synic: SCONTROL begins enabled."""
    vcpu.msrs[SCONTROL] = _ENABLED


def _write_os_id(vcpu: WholeVcpu, index: int, value: int) -> None:
    vcpu.msrs[index] = value
    if not value:
        vcpu.msrs[HYPERCALL] = vcpu.msrs.get(HYPERCALL, 0) & ~_ENABLED


def _write_hypercall(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.msrs.get(GUEST_OS_ID):
        return None
    if value & _ENABLED and not is_memory(vcpu, value & ~0xFFF, 4):
        return _NO_MEMORY
    vcpu.msrs[index] = value
    return None


def _write_vp_index(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    most = vcpu.kvm.msr_rules.max_vcpus
    if value & U32 >= most:
        return _INDEX._replace(allowed=most)
    vcpu.msrs[index] = value & U32
    return None


def _read_vp_index(vcpu: WholeVcpu, index: int) -> int:
    return vcpu.msrs.get(index, vcpu.vcpu_id)


def _write_assist(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not value & _ENABLED:
        vcpu.msrs[index] = value
        return set_pv_eoi(vcpu, 0, 0)
    page = value & ~0xFFF
    if not is_memory(vcpu, page, 4):
        return _NO_MEMORY
    vcpu.msrs[index] = value
    return set_pv_eoi(vcpu, page | _ENABLED, _ASSIST_PAGE_SIZE_BYTES)


def _apic_rule(number: int) -> MsrRule:
    """EOI, ICR and TPR: the local APIC's registers, in any mode."""

    def write(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
        return apic.write_register(vcpu, number, value)

    def read(vcpu: WholeVcpu, _index: int) -> int | Refusal:
        if vcpu.lapic is None:
            return _NO_LAPIC
        return _NO_EOI_READ if number == apic.EOI else apic.register(vcpu.lapic, number)

    return MsrRule(write, read, "kvm_hv_vapic_msr_write (lapic.c)")


def _write_synic(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value and not synic_is_active(vcpu):
        return _NO_SYNIC
    if index != EOM:
        vcpu.msrs[index] = value
    return None


def _read_synic(vcpu: WholeVcpu, index: int) -> int:
    return vcpu.msrs.get(index, _SYNIC_RESET.get(index, 0))


def _write_stimer(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value and not synic_is_active(vcpu):
        return _NO_SYNIC
    is_config = not index & 1
    # An enabled timer without a SINT and not in direct mode is turned off.
    if is_config and vcpu.msrs.get(index, 0) & 1 and not value >> 12 & 1 and not value >> 16 & 0xF:
        value &= ~1
    vcpu.msrs[index] = value
    return None


def _write_crash_ctl(vcpu: WholeVcpu, index: int, value: int) -> None:
    vcpu.msrs[index] = value & _CRASH_NOTIFY


def _read_tsc_frequency(vcpu: WholeVcpu, _index: int) -> int:
    return vcpu.tsc_khz * 1000


def _read_apic_frequency(_vcpu: WholeVcpu, _index: int) -> int:
    return _APIC_HZ


def _write_none(_vcpu: WholeVcpu, _index: int, _value: int) -> Refusal:
    return _NO_MSR


def _read_none(_vcpu: WholeVcpu, _index: int) -> Refusal:
    return _NO_MSR


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """Hyper-V's MSRs; KVM takes the whole range from GUEST_OS_ID to SINT15 for them."""
    kept = MsrRule(store, read_stored, _SOURCE)
    synic = MsrRule(_write_synic, _read_synic, _SYNIC_SOURCE)
    found = {
        **{index: MsrRule(_write_none, _read_none, _SOURCE) for index in range(GUEST_OS_ID, SINT0)},
        **dict.fromkeys((*SYNDBG, *range(CRASH_P0, CRASH_CTL), *REENLIGHTENMENT, REFERENCE_TSC), kept),
        **dict.fromkeys((SCONTROL, SVERSION, SIEFP, SIMP, EOM, *range(SINT0, SINT0 + 16)), synic),
        **{index: MsrRule(_write_stimer, read_stored, "stimer_set_config (hyperv.c)") for index in STIMERS},
        GUEST_OS_ID: MsrRule(_write_os_id, read_stored, _SOURCE),
        HYPERCALL: MsrRule(_write_hypercall, read_stored, _SOURCE),
        VP_INDEX: MsrRule(_write_vp_index, _read_vp_index, _SOURCE),
        RESET: MsrRule(ignore, read_zero, _SOURCE),
        VP_RUNTIME: kept,
        TIME_REF_COUNT: MsrRule(ignore, read_zero, _SOURCE),
        TSC_FREQUENCY: MsrRule(ignore, _read_tsc_frequency, _SOURCE),
        APIC_FREQUENCY: MsrRule(ignore, _read_apic_frequency, _SOURCE),
        EOI: _apic_rule(apic.EOI),
        ICR: _apic_rule(apic.ICR),
        TPR: _apic_rule(apic.TPR),
        VP_ASSIST_PAGE: MsrRule(_write_assist, read_stored, _SOURCE),
        CRASH_CTL: MsrRule(_write_crash_ctl, read_stored, _SOURCE),
    }
    if rules.invariant_tsc:
        found[TSC_INVARIANT] = MsrRule(masked(1), read_stored, _SOURCE)
    return found
