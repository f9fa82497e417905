"""KVM's MSRs on one host: the rule of each index, and what KVM lists.

Source: Linux arch/x86/kvm/x86.c, svm/svm.c, vmx/vmx.c: svm_set_msr and vmx_set_msr go before kvm_set_msr_common.
"""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs import features, lists
from inspector.machine.x86.kvm.msrs.rule import MsrRule
from layouts.light import TYPE_CHECKING, cached_property, import_module, lru_cache
from layouts.x86.msr_rules import MsrRules, rules_for

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.module import Kvm
    from inspector.machine.x86.kvm.whole import WholeVcpu

_EVERY = (range(1 << 32),)
#: Modules beside this one with rules, and where their MSRs lie, of all releases together: a module is imported when one
#: of them is asked for. Where two have an MSR the first decides; the vendor's goes before them all.
GROUPS = {
    "xstate": (range(0x1C4, 0x1C6), range(0x6A0, 0x6A9), range(0xDA0, 0xDA1)),
    "features": _EVERY,
    "hyperv": (range(0x40000000, 0x40000119),),
    "paravirtual": (range(0x11, 0x13), range(0x4B564D00, 0x4B564D08)),
    "apic": (range(0x1B, 0x1C), range(0x6E0, 0x6E1), range(0x800, 0x900)),
    "mce": (range(2), range(0x179, 0x17C), range(0x280, 0x2A0), range(0x400, 0x480)),
    "memory_types": (range(0xFE, 0xFF), range(0x200, 0x300)),
    "common": _EVERY,
    "pmu": (
        *(range(0xC1, 0xC9), range(0x186, 0x18E), range(0x309, 0x30C), range(0x38D, 0x391), range(0x3F1, 0x3F3)),
        *(range(0x4C1, 0x4C9), range(0x600, 0x601), range(0xC0000300, 0xC0000304)),
        *(range(0xC0010000, 0xC0010008), range(0xC0010200, 0xC001020C)),
    ),
}


class _ByIndex(dict[int, MsrRule]):
    """The rules that were asked for, by index."""

    def __init__(self, kvm: Kvm, rules: MsrRules) -> None:
        self._kvm, self._msr_rules = kvm, rules
        self._of_group: dict[str, dict[int, MsrRule]] = {}

    def __missing__(self, index: int) -> MsrRule | None:
        """The rule of an index; None where this KVM has no such MSR."""
        for name, ranges in (("svm" if self._kvm.is_svm else "vmx", _EVERY), *GROUPS.items()):
            if any(index in one for one in ranges):
                rule = self._group(name).get(index)
                if rule is not None:
                    self[index] = rule
                    return rule
        return None

    def _group(self, name: str) -> dict[int, MsrRule]:
        found = self._of_group.get(name)
        if found is None:
            module = import_module(f"{__package__}.{name}")
            found = self._of_group[name] = module.rules(self._kvm, self._msr_rules)
        return found


class MsrTable:
    """The rule of each MSR, and the lists, of KVM on a host.

    ``frozen``: feature MSRs that keep their value once the vCPU ran. ``ignores``: ignore_msrs=1.
    """

    def __init__(self, kvm: Kvm) -> None:
        self.kvm = kvm
        self.rules: MsrRules = rules_for(kvm.release)
        self._by_index = _ByIndex(kvm, self.rules)
        self._zero: dict[int, bool] = {}
        self.ignores = kvm.is_on("ignore_msrs")
        self.frozen = lists.frozen(self.rules)

    @cached_property
    def saved(self) -> tuple[int, ...]:
        """msrs_to_save."""
        return lists.saved(self.kvm, self.rules)

    @cached_property
    def emulated(self) -> tuple[int, ...]:
        """emulated_msrs."""
        return lists.emulated(self.kvm)

    @cached_property
    def features(self) -> tuple[int, ...]:
        """msr_based_features."""
        return lists.features(self.kvm, self.rules)

    def is_zero(self, index: int) -> bool:
        """The host may read and write 0 where a guest lacks the MSR."""
        found = self._zero.get(index)
        if found is None:
            which = self.rules.unsupported_is_zero
            found = which != "" and lists.is_saved(self.kvm, self.rules, index)
            found = found or (which == "listed" and lists.is_emulated(self.kvm, index))
            self._zero[index] = found
        return found

    @property
    def indexes(self) -> tuple[int, ...]:
        """KVM_GET_MSR_INDEX_LIST."""
        return (*self.saved, *self.emulated)

    def is_frozen(self, vcpu: WholeVcpu) -> bool:
        """Feature MSRs keep their value: the vCPU ran, or is in guest mode."""
        return vcpu.ran or (self.rules.frozen_in_guest_mode and vcpu.is_guest_mode)

    def rule(self, index: int) -> MsrRule | None:
        """The rule of an index; None where this KVM has no such MSR."""
        return self._by_index[index]

    def feature(self, index: int) -> int | None:
        """A feature MSR's value; None where it is none of this host's."""
        return features.value_of(self.kvm, self.rules, index) if index in self.features else None


@lru_cache(maxsize=256)
def table_of(kvm: Kvm) -> MsrTable:
    """KVM's MSRs on a host, made once; of the hosts that were asked about last, as a screen or a fleet asks many."""
    return MsrTable(kvm)
