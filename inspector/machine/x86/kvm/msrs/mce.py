"""Machine check MSRs.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), set_msr_mce, get_msr_mce, kvm_vcpu_ioctl_x86_setup_mce.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.rule import MsrRule, Refusal, never_written
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, read_only, stored
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

MCG_CAP, MCG_STATUS, MCG_CTL = 0x179, 0x17A, 0x17B
CTL2, CTL = 0x280, 0x400
MAX_BANKS = 32
CTL_P, CMCI_P = 1 << 8, 1 << 10
#: MCI_CTL2_CMCI_EN and the threshold.
_CTL2_BITS = 1 << 30 | 0x7FFF
_SOURCE = "set_msr_mce, get_msr_mce (x86.c)"

_NO_BANK = Refusal("MCG_CAP has the bank of {index:#x}")
_NO_CTL = Refusal("MCG_CAP has CTL_P, or {value:#x} is 0")
_ALL_OR_NONE = Refusal("{value:#x} is 0 or all ones")
_NO_CMCI = Refusal("MCG_CAP has CMCI_P, or {value:#x} is 0")
_CTL2 = Refusal("only bits {allowed:#x} are set in {value:#x}", _CTL2_BITS)
_BANK_CTL = Refusal("{value:#x} is 0 or all ones, bits 0 and 10 aside")


def cap(vcpu: WholeVcpu) -> int:
    """The vCPU's MCG_CAP; AMD's bits 63:9 are reserved (svm_setup_mce)."""
    return vcpu.mcg_cap & 0x1FF if vcpu.kvm.is_svm else vcpu.mcg_cap


def after_setup(vcpu: WholeVcpu) -> None:
    """KVM_X86_SETUP_MCE: control registers begin with all ones."""
    if vcpu.mcg_cap & CTL_P:
        vcpu.msrs[MCG_CTL] = ALL_ONES
    for bank in range(vcpu.mcg_cap & 0xFF):
        vcpu.msrs[CTL + 4 * bank] = ALL_ONES
        if vcpu.mcg_cap & CMCI_P:
            vcpu.msrs[CTL2 + bank] = 0


def _read_cap(vcpu: WholeVcpu, _index: int) -> int:
    return cap(vcpu)


def _write_ctl(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if value and not cap(vcpu) & CTL_P:
        return _NO_CTL
    if value not in (0, ALL_ONES):
        return _ALL_OR_NONE
    vcpu.msrs[index] = value
    return None


def _write_ctl2(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    has = cap(vcpu)
    if index - CTL2 >= has & 0xFF:
        return _NO_BANK
    if value and not has & CMCI_P:
        return _NO_CMCI
    if value & ~_CTL2_BITS:
        return _CTL2
    vcpu.msrs[index] = value
    return None


def _read_ctl2(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return vcpu.msrs.get(index, 0) if index - CTL2 < cap(vcpu) & 0xFF else _NO_BANK


def _write_bank(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
    if (index - CTL) >> 2 >= cap(vcpu) & 0xFF:
        return _NO_BANK
    if not index & 3 and value and value | 0x401 != ALL_ONES:
        return _BANK_CTL
    vcpu.msrs[index] = value
    return None


def _read_bank(vcpu: WholeVcpu, index: int) -> int | Refusal:
    return vcpu.msrs.get(index, 0) if (index - CTL) >> 2 < cap(vcpu) & 0xFF else _NO_BANK


def rules(_kvm: Kvm, rules: MsrRules) -> dict[int, MsrRule]:
    """Machine check: global, and four MSRs a bank."""
    found = {
        # P5_MC_ADDR, P5_MC_TYPE.
        0: read_only(0, _SOURCE),
        1: read_only(0, _SOURCE),
        MCG_CAP: MsrRule(never_written, _read_cap, _SOURCE),
        MCG_STATUS: stored(0, _SOURCE),
        MCG_CTL: stored(0, _SOURCE)._replace(write=_write_ctl),
        **{index: MsrRule(_write_bank, _read_bank, _SOURCE) for index in range(CTL, CTL + 4 * MAX_BANKS)},
    }
    if rules.mce_ctl2:
        found.update({index: MsrRule(_write_ctl2, _read_ctl2, _SOURCE) for index in range(CTL2, CTL2 + MAX_BANKS)})
    return found
