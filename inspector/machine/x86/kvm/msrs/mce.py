"""Machine check MSRs.

Source: Linux arch/x86/kvm/x86.c (from 7.3 on msrs.c), set_msr_mce, get_msr_mce, kvm_vcpu_ioctl_x86_setup_mce.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.msrs.access import MsrRule, Refusal, never_written
from inspector.machine.x86.kvm.msrs.values import ALL_ONES, read_only, stored
from layouts.x86.msr_rules import MsrRules

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

MCG_CAP, MCG_STATUS, MCG_CTL = 0x179, 0x17A, 0x17B
CTL2, CTL = 0x280, 0x400
MAX_BANKS = 32
CTL_P, CMCI_P, SER_P, LMCE_P = 1 << 8, 1 << 10, 1 << 24, 1 << 27
#: MCI_CTL2_CMCI_EN and the threshold.
_CTL2_BITS = 1 << 30 | 0x7FFF
_SOURCE = "set_msr_mce, get_msr_mce (x86.c)"

_NO_BANK = Refusal("MCG_CAP has the bank of {index:#x}")
_NO_CTL = Refusal("MCG_CAP has CTL_P, or {value:#x} is 0")
_ALL_OR_NONE = Refusal("{value:#x} is 0 or all ones")
_NO_CMCI = Refusal("MCG_CAP has CMCI_P, or {value:#x} is 0")
_CTL2 = Refusal("only bits {allowed:#x} are set in {value:#x}", _CTL2_BITS)
_BANK_CTL = Refusal("{value:#x} is 0 or all ones, bits 0 and 10 aside")


def supported(kvm: Kvm) -> int:
    """KVM_X86_GET_MCE_CAP_SUPPORTED."""
    later = (LMCE_P if kvm.is_vmx else 0) | (CMCI_P if kvm.is_vmx and kvm.msr_rules.mce_ctl2 else 0)
    return CTL_P | SER_P | later


def cap(vcpu: WholeVcpu) -> int:
    """The vCPU's MCG_CAP: 32 banks and nothing else until KVM_X86_SETUP_MCE."""
    return vcpu.msrs.get(MCG_CAP, MAX_BANKS)


def setup_mce(vcpu: WholeVcpu, value: int) -> Outcome:
    """KVM_X86_SETUP_MCE: banks and features; control registers to all ones."""
    rule = Rule("kvm_vcpu_ioctl_x86_setup_mce (x86.c)")
    banks, allowed = value & 0xFF, supported(vcpu.kvm) | 0xFF00FF
    if not (
        rule.check(f"1 to {MAX_BANKS} banks", 0 < banks <= MAX_BANKS)
        and rule.check(f"only bits {allowed:#x}, which KVM supports", not value & ~allowed)
    ):
        return rule.refuse(errno.EINVAL)
    # svm_setup_mce: AMD's bits 63:9 are reserved.
    vcpu.msrs[MCG_CAP] = value & 0x1FF if vcpu.kvm.is_svm else value
    if value & CTL_P:
        vcpu.msrs[MCG_CTL] = ALL_ONES
    for bank in range(banks):
        vcpu.msrs[CTL + 4 * bank] = ALL_ONES
        if value & CMCI_P:
            vcpu.msrs[CTL2 + bank] = 0
    if vcpu.lapic is not None:
        vcpu.lapic.after_mcg_cap()
    return rule.ok()


def set_mce(vcpu: WholeVcpu, bank: int, status: int) -> Outcome:
    """KVM_X86_SET_MCE: a machine check for the guest."""
    rule = Rule("kvm_vcpu_ioctl_x86_set_mce (x86.c)")
    banks = cap(vcpu) & 0xFF
    held = rule.check(f"the bank is one of the guest's {banks}", bank < banks) and rule.check(
        "the status is valid (MCi_STATUS.VAL)", status >> 63
    )
    return rule.ok() if held else rule.refuse(errno.EINVAL)


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
