"""MSRs that kvm-amd has of its own.

Source: Linux arch/x86/kvm/svm/svm.c, svm_set_msr, svm_get_msr, svm_set_vm_cr.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs import common, features
from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal, never_written
from inspector.machine.x86.kvm.msrs.values import (
    U32,
    ignore,
    masked,
    read_stored,
    store,
    stored,
    write_only,
)
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

STAR, LSTAR, CSTAR, SYSCALL_MASK = 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084
SYSENTER_CS, TSC_RATIO, VIRT_SPEC_CTRL = 0x174, 0xC0000104, 0xC001011F
VM_CR, IGNNE, HSAVE_PA = 0xC0010114, 0xC0010115, 0xC0010117
DEBUGCTL, LAST_BRANCHES, IC_CFG = 0x1D9, range(0x1DB, 0x1DF), 0xC0011021
_SVM_DISABLE, _SVM_LOCK = 1 << 4, 1 << 3
_VM_CR_BITS = 0x1F
_SVME = 1 << 12
_RATIO_RESET, _RATIO_RESERVED = 1 << 32, 0xFFFFFF << 40
_SSBD = 1 << 2
#: CPUID.1.EAX: the family and its extension.
_FAMILY_MASK, _FAMILY_15H = 0xFF << 20 | 0xF << 8, 6 << 20 | 0xF << 8
_SOURCE = "svm_set_msr, svm_get_msr (svm.c)"

_RATIO_KEPT = Refusal("TSC scaling is offered to the guest, or {value:#x} is 0 or the present ratio")
_RATIO = Refusal("bits 63:40 of {value:#x} are 0")
_VM_CR_VALUE = Refusal("only bits {allowed:#x} are set in {value:#x}", _VM_CR_BITS)
_SVME_ON = Refusal("SVM is not turned off while EFER.SVME is on")
_DE_CFG = Refusal("only bits that KVM supports of DE_CFG ({allowed:#x}) are set in {value:#x}")
_NO_LBR = Refusal("LBR virtualization is on (lbrv=1, and the CPU has it)", unsupported=True)
_LBR_SET = Refusal("the MSR can be written: {index:#x} is for reading only", unsupported=True)
_DEBUGCTL = Refusal("no reserved bit is set in {value:#x}")
_NO_FAMILY = Refusal("the guest's CPUID has a family and a model", unsupported=True)


def _has_lbrv(vcpu: WholeVcpu) -> bool:
    """Last branches are virtualized: by the CPU alone up to 5.10."""
    kvm = vcpu.kvm
    return kvm.boot_has("LBRV") and (not kvm.msr_rules.tsc_ratio or kvm.is_on("lbrv"))


def _write_debugctl(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not _has_lbrv(vcpu):
        return None
    rules = vcpu.kvm.msr_rules
    value &= ~rules.debugctl_drops
    if value & rules.debugctl_reserved:
        return _DEBUGCTL
    vcpu.msrs[index] = value
    return None


def _write_last_branch(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if not vcpu.kvm.msr_rules.lbr_writes:
        return _LBR_SET
    if not _has_lbrv(vcpu):
        return _NO_LBR
    vcpu.msrs[index] = value
    return None


def _write_vm_cr(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value & ~_VM_CR_BITS:
        return _VM_CR_VALUE
    before = vcpu.msrs.get(index, 0)
    changes = _VM_CR_BITS & ~(_SVM_LOCK | _SVM_DISABLE if before & _SVM_DISABLE else 0)
    # Kept even where it is then refused.
    vcpu.msrs[index] = before & ~changes | value & changes
    return _SVME_ON if vcpu.msrs[index] & _SVM_DISABLE and vcpu.efer & _SVME else None


def _write_hsave(vcpu: WholeVcpu, index: int, value: int) -> None:
    vcpu.msrs[index] = value & ~0xFFF


def _write_ratio(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    kvm = vcpu.kvm
    if not (kvm.has("TSCRATEMSR") and vcpu.guest.in_table("TSCRATEMSR")):
        return None if value in (0, vcpu.msrs.get(index, _RATIO_RESET)) else _RATIO_KEPT
    if value & _RATIO_RESERVED:
        return _RATIO
    vcpu.msrs[index] = value
    return None


def _write_de_cfg(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    allowed = features.de_cfg(vcpu.kvm)
    if value & ~allowed:
        return _DE_CFG._replace(allowed=allowed)
    vcpu.msrs[index] = value
    return None


def _read_ic_cfg(vcpu: WholeVcpu, _index: int) -> int | Refusal:
    leaf = vcpu.guest.leaf(1)
    if leaf is None:
        return _NO_FAMILY
    is_15h = leaf[0] & _FAMILY_MASK == _FAMILY_15H
    model = leaf[0] >> 12 & 0xF0 | leaf[0] >> 4 & 0xF
    return 0x1E if is_15h and 2 <= model < 0x20 else 0


def _sysenter(rules: MsrRules) -> MsrRule:
    """ESP and EIP: halves from 6.1 on, 32 bits before."""

    def write(vcpu: WholeVcpu, index: int, value: int) -> None:
        common.write_sysenter(vcpu, index, value)
        if rules.sysenter_halves and not common.is_intel_compatible(vcpu):
            vcpu.msrs[index] &= U32

    def read(vcpu: WholeVcpu, index: int) -> int:
        found = vcpu.msrs.get(index, 0)
        return found if not rules.sysenter_halves or common.is_intel_compatible(vcpu) else found & U32

    return MsrRule(write, read, _SOURCE)


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """What svm_set_msr has before kvm_set_msr_common."""
    kept = MsrRule(store, read_stored, _SOURCE)
    base = MsrRule(common.write_canonical, read_stored, "__kvm_set_msr (x86.c)")
    segment_base = MsrRule(common.write_segment_base, common.read_segment_base, "__kvm_set_msr (x86.c)")
    sysenter = _sysenter(rules)
    found = {
        **dict.fromkeys((STAR, SYSCALL_MASK, SYSENTER_CS), kept),
        **dict.fromkeys((LSTAR, CSTAR, common.KERNEL_GS_BASE), base),
        **dict.fromkeys((common.SYSENTER_ESP, common.SYSENTER_EIP), sysenter),
        common.TSC_AUX: MsrRule(
            common.write_tsc_aux, common.read_tsc_aux, "__kvm_set_msr (x86.c), svm_set_msr (svm.c)"
        ),
        common.SPEC_CTRL: MsrRule(common.write_spec_ctrl, read_stored, "kvm_spec_ctrl_test_value (x86.c)"),
        VIRT_SPEC_CTRL: MsrRule(masked(_SSBD), read_stored, _SOURCE),
        DEBUGCTL: MsrRule(_write_debugctl, read_stored, _SOURCE),
        **{index: MsrRule(_write_last_branch, read_stored, _SOURCE) for index in LAST_BRANCHES},
        HSAVE_PA: MsrRule(_write_hsave, read_stored, _SOURCE),
        VM_CR: MsrRule(_write_vm_cr, read_stored, "svm_set_vm_cr (svm.c)"),
        IGNNE: write_only(ignore, _SOURCE),
        IC_CFG: MsrRule(never_written, _read_ic_cfg, _SOURCE),
        features.DE_CFG: MsrRule(_write_de_cfg, read_stored, _SOURCE),
    }
    if rules.svm_bases:
        found.update(dict.fromkeys((common.FS_BASE, common.GS_BASE), segment_base))
    if rules.tsc_ratio:
        found[TSC_RATIO] = stored(_RATIO_RESET, _SOURCE)._replace(write=_write_ratio)
    return found
