"""KVM's MSRs on one host: the rule of each index, and what KVM lists.

Source: Linux arch/x86/kvm/x86.c, svm/svm.c, vmx/vmx.c: svm_set_msr and vmx_set_msr go before kvm_set_msr_common.
"""

from __future__ import annotations

from functools import lru_cache

from inspector.machine.x86.kvm.msrs import (
    apic,
    common,
    features,
    hyperv,
    lists,
    mce,
    memory_types,
    paravirtual,
    pmu,
    svm,
    vmx,
    xstate,
)
from inspector.machine.x86.kvm.msrs.rule import MsrRule
from layouts.light import TYPE_CHECKING
from layouts.x86.msr_rules import MsrRules, rules_for

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

_GROUPS = (pmu, common, memory_types, mce, apic, paravirtual, hyperv, features, xstate)


class MsrTable:
    """The rules by index, and the lists, of KVM on a host.

    ``zeroes``: MSRs of which the host may read and write 0 where a guest lacks them. ``frozen``: feature MSRs that
    keep their value once the vCPU ran. ``ignores``: ignore_msrs=1.
    """

    def __init__(self, kvm: Kvm) -> None:
        self.kvm = kvm
        self.rules: MsrRules = rules_for(kvm.release)
        self.by_index: dict[int, MsrRule] = {}
        for group in (*_GROUPS, svm if kvm.is_svm else vmx):
            self.by_index.update(group.rules(kvm, self.rules))
        self.saved = lists.saved(kvm, self.rules)
        self.emulated = lists.emulated(kvm)
        self.features = lists.features(kvm, self.rules)
        self.ignores = kvm.is_on("ignore_msrs")
        listed = {"": (), "saved": self.saved, "listed": (*self.saved, *self.emulated)}
        self.zeroes = frozenset(listed[self.rules.unsupported_is_zero])
        self.frozen = lists.frozen(self.rules)

    @property
    def indexes(self) -> tuple[int, ...]:
        """KVM_GET_MSR_INDEX_LIST."""
        return (*self.saved, *self.emulated)

    def is_frozen(self, vcpu: WholeVcpu) -> bool:
        """Feature MSRs keep their value: the vCPU ran, or is in guest mode."""
        return vcpu.ran or (self.rules.frozen_in_guest_mode and vcpu.is_guest_mode)

    def feature(self, index: int) -> int | None:
        """A feature MSR's value; None where it is none of this host's."""
        return features.value_of(self.kvm, self.rules, index) if index in self.features else None


@lru_cache(maxsize=256)
def table_of(kvm: Kvm) -> MsrTable:
    """KVM's MSRs on a host, made once; of the hosts that were asked about last, as a screen or a fleet asks many."""
    return MsrTable(kvm)
