"""KVM_SET_USER_MEMORY_REGION: the slots of a VM's memory.

Source: Linux virt/kvm/kvm_main.c (check_memory_region_flags, kvm_set_memory_region), arch/arm64/kvm/mmu.c
(kvm_arch_prepare_memory_region). The host's pages have 4 KiB; its own addresses are taken to be good ones.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.arch import KvmArch, Slot
from inspector.machine.arm64.capabilities import memory_slots
from inspector.machine.outcome import Outcome, Rule

_PAGE_BYTES, _U64 = 4096, 1 << 64
#: KVM_MEM_LOG_DIRTY_PAGES and KVM_MEM_READONLY; KVM_MEM_MAX_NR_PAGES.
LOG_DIRTY, READONLY = 1, 2
_MAX_PAGES = (1 << 31) - 1


def set_slot(vm: KvmArch, number: int, slot: Slot) -> Outcome:
    """Make, move or change a slot; with no bytes, delete it."""
    rule = Rule("kvm_set_memory_region (kvm_main.c), kvm_arch_prepare_memory_region (mmu.c)")
    most = memory_slots(vm.host)
    held = (
        rule.check("only the flags LOG_DIRTY_PAGES and READONLY", not slot.flags & ~(LOG_DIRTY | READONLY))
        and rule.check("size and address are multiples of a page", not (slot.base | slot.size_bytes) % _PAGE_BYTES)
        and rule.check(f"the slot's number is below {most}", number < most)
        and rule.check("the slot does not wrap around", slot.end < _U64)
        and rule.check(f"no more than {_MAX_PAGES} pages", slot.size_bytes // _PAGE_BYTES <= _MAX_PAGES)
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    old = vm.memory.get(number)
    if not slot.size_bytes:
        if not rule.check("the slot that goes is there", old is not None):
            return rule.refuse(errno.EINVAL)
        if vm.protected and not rule.check("the protected VM has not run", not pkvm.fixes_memory(vm)):
            return rule.refuse(errno.EPERM)
        del vm.memory[number]
        return rule.ok()
    same = old is None or (old.size_bytes == slot.size_bytes and not (old.flags ^ slot.flags) & READONLY)
    if not rule.check("a slot that is there keeps its size and READONLY", same):
        return rule.refuse(errno.EINVAL)
    if old is None or old.base != slot.base:
        others = (other for at, other in vm.memory.items() if at != number)
        free = all(slot.end <= other.base or other.end <= slot.base for other in others)
        if not rule.check("no other slot has these addresses", free):
            return rule.refuse(errno.EEXIST)
    if vm.protected and not _is_for_protected(rule, vm, slot, old):
        return rule.refuse(errno.EPERM)
    if not rule.check(f"within the guest's {vm.ipa_bits} bits of address", slot.end <= 1 << vm.ipa_bits):
        return rule.refuse(errno.EFAULT)
    vm.memory[number] = slot
    return rule.ok()


def _is_for_protected(rule: Rule, vm: KvmArch, slot: Slot, old: Slot | None) -> bool:
    """What a protected VM asks of a slot (kvm_arch_prepare_memory_region)."""
    moves = old is not None and old.base != slot.base
    return rule.check("a slot of a VM that has run stays where it is", not (moves and pkvm.fixes_memory(vm))) and (
        rule.check("neither LOG_DIRTY_PAGES nor READONLY", not slot.flags & (LOG_DIRTY | READONLY))
    )


def holds(vm: KvmArch, address: int) -> bool:
    """Some slot has this guest physical address."""
    return any(slot.base <= address < slot.end for slot in vm.memory.values())
