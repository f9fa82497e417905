"""MSRs of both vendors that need no group: EFER, HWCR, SPEC_CTRL's commands, MISC_ENABLE, TSC, bases.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), __kvm_set_msr, kvm_set_msr_common, set_efer.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal, never_read
from inspector.machine.x86.kvm.msrs.silicon import names, reads
from inspector.machine.x86.kvm.msrs.values import (
    COMMON,
    U32,
    address_width,
    canonical,
    ignored,
    is_canonical,
    read_only,
    read_stored,
    store,
    stored,
    write_only,
)
from inspector.machine.x86.kvm.segments import SEGMENTS
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

EFER, EFER_LMA = 0xC0000080, 1 << 10
TSC, TSC_ADJUST, TSC_AUX = 0x10, 0x3B, 0xC0000103
SPEC_CTRL, PRED_CMD, FLUSH_CMD = 0x48, 0x49, 0x10B
MISC_ENABLE, HWCR, OSVW_LENGTH, OSVW_STATUS = 0x1A0, 0xC0010015, 0xC0010140, 0xC0010141
SYSENTER_ESP, SYSENTER_EIP, KERNEL_GS_BASE = 0x175, 0x176, 0xC0000102
FS_BASE, GS_BASE = 0xC0000100, 0xC0000101
_SEGMENTS = {FS_BASE: SEGMENTS.index("fs"), GS_BASE: SEGMENTS.index("gs")}
#: MSR_IA32_MISC_ENABLE_MWAIT, and KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT.
_MISC_MWAIT, _QUIRK_MWAIT = 1 << 18, 1 << 4
_IBPB, _SBPB = 1, 1 << 7
_HWCR_DROPPED = 0x148
_HWCR_CPUID_USER_DIS = 1 << 35
_BOCHS_SPEC_CTRL = 0x5FF
_PERF_STATUS = 1000 | 4 << 40

_CANONICAL = Refusal("{value:#x} is canonical for the host's width of linear addresses")
_CANONICAL_GUEST = Refusal("{value:#x} is canonical for the guest's width of linear addresses (CR4.LA57)")
_NO_TSC_AUX = Refusal("the host's CPU has TSC_AUX")
_TSC_AUX_INTEL = Refusal("bits 63:32 of TSC_AUX are 0")
_TSC_AUX_HIGH = Refusal("bits 63:32 of TSC_AUX are 0, as this guest counts as Intel's")
_EFER = Refusal("only bits {allowed:#x}, which this KVM knows of EFER, are set in {value:#x}")
_PRED = Refusal("only commands that the host's CPU has ({allowed:#x}) are in {value:#x}")
_NO_IBPB = Refusal("the host's CPU has IBPB")
_NO_FLUSH = Refusal("the host's CPU has FLUSH_L1D")
_FLUSH = Refusal("only bit 0 (L1D_FLUSH) is set in {value:#x}")
_HWCR = Refusal("only bits {allowed:#x} of HWCR are set in {value:#x}")
_NO_MWAIT = Refusal("MISC_ENABLE.MWAIT changes only where the guest's CPUID has SSE3")
_ZERO = Refusal("{value:#x} is 0")
_NO_OSVW = Refusal("the guest's CPUID has OSVW")


def spec_ctrl_bits(kvm: Kvm) -> int | None:
    """The bits that the host's SPEC_CTRL takes, None where it has no such MSR (kvm_spec_ctrl_test_value tries).

    Silicon takes what CPUID names: IBRS, STIBP, SSBD, and CPUID(7,2).EDX. The emulator TCG drops every write; Bochs
    takes the same bits whatever CPUID(7,2) names.
    """
    if kvm.processor.is_tcg:
        return (1 << 64) - 1
    if kvm.processor.emulator == "bochs" and names(kvm, "SPEC_CTRL"):
        return _BOCHS_SPEC_CTRL
    named = (
        (1, ("SPEC_CTRL", "AMD_IBRS")),
        (1 << 1, ("SPEC_CTRL", "INTEL_STIBP", "AMD_STIBP")),
        (1 << 2, ("SPEC_CTRL_SSBD", "AMD_SSBD")),
        (3 << 3, ("IPRED_CTRL",)),
        (3 << 5, ("RRSBA_CTRL",)),
        (1 << 7, ("INTEL_PSFD", "AMD_PSFD")),
        (1 << 8, ("DDPD_U",)),
        (1 << 10, ("BHI_CTRL",)),
    )
    bits = sum(mask for mask, features in named if any(names(kvm, feature) for feature in features))
    return bits or None


_NO_SPEC_CTRL = Refusal("the host's CPU has SPEC_CTRL")
_SPEC_CTRL = Refusal("the host's SPEC_CTRL takes {value:#x}: it has bits {allowed:#x}")


def write_spec_ctrl(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """SPEC_CTRL, as both vendors' modules set it: tried on the host's CPU."""
    allowed = spec_ctrl_bits(vcpu.kvm)
    if allowed is None:
        return _NO_SPEC_CTRL
    if value & ~allowed:
        return _SPEC_CTRL._replace(allowed=allowed)
    vcpu.msrs[index] = value
    return None


def _check_canonical(vcpu: WholeVcpu, value: int) -> Refusal | None:
    if is_canonical(value, address_width(vcpu)):
        return None
    return _CANONICAL if vcpu.kvm.msr_rules.canonical_by_host else _CANONICAL_GUEST


def write_canonical(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """__kvm_set_msr: bases and syscall targets."""
    refusal = _check_canonical(vcpu, value)
    if refusal is None:
        vcpu.msrs[index] = value
    return refusal


def write_segment_base(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """FS_BASE and GS_BASE: the bases of the segments, which SREGS has too."""
    refusal = _check_canonical(vcpu, value)
    if refusal is None:
        at = _SEGMENTS[index]
        images = vcpu.segments
        changed = value.to_bytes(8, "little") + images[at][8:]
        vcpu.segments = (*images[:at], changed, *images[at + 1 :])
    return refusal


def read_segment_base(vcpu: WholeVcpu, index: int) -> int:
    """The base of FS or GS."""
    return int.from_bytes(vcpu.segments[_SEGMENTS[index]][:8], "little")


def write_sysenter(vcpu: WholeVcpu, index: int, value: int) -> None:
    """__kvm_set_msr: made canonical, never refused."""
    vcpu.msrs[index] = canonical(value, address_width(vcpu))


def is_intel_compatible(vcpu: WholeVcpu) -> bool:
    """guest_cpuid_is_intel_compatible; before 6.10 guest_cpuid_is_intel."""
    return not vcpu.guest.is_amd if vcpu.kvm.msr_rules.intel_unless_amd else vcpu.guest.is_intel


def write_tsc_aux(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    """TSC_AUX: in __kvm_set_msr, before it in the vendors' modules."""
    if not vcpu.kvm.msr_rules.tsc_aux_is_common:
        if not vcpu.kvm.boot_has("RDTSCP"):
            return _NO_TSC_AUX
        if vcpu.kvm.is_vmx and value > U32:
            return _TSC_AUX_INTEL
        vcpu.msrs[index] = value
        return None
    if not reads(vcpu.kvm, index):
        return _NO_TSC_AUX
    if value > U32 and is_intel_compatible(vcpu):
        return _TSC_AUX_HIGH
    vcpu.msrs[index] = value & U32
    return None


def read_tsc_aux(vcpu: WholeVcpu, index: int) -> int | Refusal:
    """__kvm_get_msr."""
    has = reads(vcpu.kvm, index)
    if not vcpu.kvm.msr_rules.tsc_aux_is_common:
        has = vcpu.kvm.boot_has("RDTSCP")
    return vcpu.msrs.get(index, 0) if has else _NO_TSC_AUX


def _write_efer(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    allowed = vcpu.kvm.efer_known
    if value & ~allowed:
        return _EFER._replace(allowed=allowed)
    # The host is not asked what the guest's CPUID has; LMA follows paging.
    vcpu.efer = value & ~EFER_LMA | vcpu.efer & EFER_LMA
    return None


def _read_efer(vcpu: WholeVcpu, _index: int) -> int:
    return vcpu.efer


def _write_pred_cmd(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    kvm, rules = vcpu.kvm, vcpu.kvm.msr_rules
    has_ibpb = kvm.boot_has("AMD_IBPB") or kvm.boot_has("SPEC_CTRL")
    if not rules.pred_cmd_by_bit and not has_ibpb:
        return _NO_IBPB
    allowed = (_IBPB if has_ibpb else 0) | (_SBPB if rules.sbpb and kvm.boot_has("SBPB") else 0)
    return _PRED._replace(allowed=allowed) if value & ~allowed else None


def _write_flush_cmd(vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    if not vcpu.kvm.boot_has("FLUSH_L1D"):
        return _NO_FLUSH
    return _FLUSH if value & ~1 else None


def _write_hwcr(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    rules = vcpu.kvm.msr_rules
    allowed = rules.hwcr
    if rules.hwcr_cpuid_user_dis and vcpu.guest.has("GP_ON_USER_CPUID"):
        allowed |= _HWCR_CPUID_USER_DIS
    value &= ~_HWCR_DROPPED
    if value & ~allowed:
        return _HWCR._replace(allowed=allowed | _HWCR_DROPPED)
    if value or not rules.hwcr_keeps:
        vcpu.msrs[index] = value
    return None


def _write_misc_enable(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    before = vcpu.msrs.get(index, vcpu.kvm.msr_rules.misc_enable)
    changes = (before ^ value) & _MISC_MWAIT and not vcpu.has_quirk(_QUIRK_MWAIT)
    if changes and not vcpu.guest.has("XMM3"):
        return _NO_MWAIT
    vcpu.msrs[index] = value
    vcpu.cpuid_dirty = vcpu.cpuid_dirty or bool(changes)
    return None


def _write_tsc_adjust(vcpu: WholeVcpu, index: int, value: int) -> None:
    if vcpu.guest.has("TSC_ADJUST"):
        vcpu.msrs[index] = value


def _write_zero(_vcpu: WholeVcpu, _index: int, value: int) -> Refusal | None:
    return _ZERO if value else None


def _write_osvw(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.guest.has("OSVW"):
        return _NO_OSVW
    vcpu.msrs[index] = value
    return None


def _read_osvw(vcpu: WholeVcpu, index: int) -> int | Refusal:
    # svm_init_osvw: errata 383 and 415 count as fixed.
    return vcpu.msrs.get(index, 3 if index == OSVW_LENGTH else 0) if vcpu.guest.has("OSVW") else _NO_OSVW


#: Taken and dropped: NB_CFG, BU_CFG2, DC_CFG, TW_CFG, F15H_EX_CFG.
_IGNORED = (0xC001001F, 0xC001102A, 0xC0011022, 0xC0011023, 0xC001102C)
#: Read as 0: PLATFORM_ID, EBL_CR_POWERON, SYSCFG, TSEG_ADDR, TSEG_MASK, INT_PENDING_MSG, PERF_CTL, RAPL_POWER_UNIT,
#: PP0, PP1, PKG and DRAM energy.
_READ_ZERO = (
    *(0x17, 0x2A, 0xC0010010, 0xC0010112, 0xC0010113, 0xC0010055, 0x199),
    *(0x606, 0x639, 0x641, 0x611, 0x619),
)


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """The MSRs of kvm_set_msr_common and kvm_get_msr_common that no other group has."""
    found = {
        **{index: ignored() for index in _IGNORED},
        **{index: read_only() for index in _READ_ZERO},
        # UCODE_WRITE, PATCH_LOADER.
        0x79: write_only(),
        0xC0010020: write_only(),
        # FSB frequency, EBC_FREQUENCY_ID, PERF_STATUS; BBL_CR_CTL3, K7_CLK_CTL.
        0xCD: read_only(3),
        0x2C: read_only(1 << 24),
        0x198: read_only(_PERF_STATUS),
        0x11E: ignored(0xBE702111),
        0xC001001B: ignored(0x20000000),
        # FAM10H_MMIO_CONF_BASE.
        0xC0010058: read_only()._replace(write=_write_zero),
        # SMI_COUNT, SMBASE, POWER_CTL, VM_HSAVE_PA.
        0x34: stored(),
        0x9E: stored(0x30000),
        0x1FC: stored(),
        0xC0010117: ignored(),
        EFER: MsrRule(_write_efer, _read_efer, "set_efer (x86.c)"),
        HWCR: stored()._replace(write=_write_hwcr),
        MISC_ENABLE: stored(rules.misc_enable)._replace(write=_write_misc_enable),
        TSC: MsrRule(store, read_stored, "kvm_synchronize_tsc (x86.c)"),
        TSC_ADJUST: stored()._replace(write=_write_tsc_adjust),
        OSVW_LENGTH: MsrRule(_write_osvw, _read_osvw, COMMON),
        OSVW_STATUS: MsrRule(_write_osvw, _read_osvw, COMMON),
    }
    source = COMMON if rules.perf_capabilities_are_stuffed else "svm_set_msr (svm.c), vmx_set_msr (vmx.c)"
    found[PRED_CMD] = MsrRule(_write_pred_cmd, never_read, source)
    if rules.flush_cmd:
        found[FLUSH_CMD] = write_only(_write_flush_cmd)
    return found
