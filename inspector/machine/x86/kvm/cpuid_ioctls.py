"""KVM_SET_CPUID2, KVM_SET_CPUID, KVM_GET_CPUID2, and the bits of the table that follow the vCPU's state.

Source: Linux arch/x86/kvm/cpuid.c.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from inspector.capture.host import Cpuid
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.kvm.control_bits import CR4_OSXSAVE, CR4_PKE
from inspector.machine.x86.kvm.guest_cpuid import Entry, GuestCpuid
from layouts.light import TYPE_CHECKING
from layouts.x86.features import FEATURES

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.state import VcpuState

KVM_MAX_CPUID_ENTRIES = 256
APIC_BASE_ENABLE = 1 << 11
MISC_ENABLE, MISC_ENABLE_MWAIT = 0x1A0, 1 << 18
QUIRK_MISC_ENABLE_NO_MWAIT = 1 << 4
_CAP_DISABLE_EXITS, _DISABLE_EXITS_HLT = 143, 2
_PV_UNHALT = 1 << 7
_KVM_SIGNATURE = (0x4B4D564B, 0x564B4D56, 0x4D)
_LINEAR_BITS = (0, 48, 57)


def set_cpuid2(vcpu: VcpuState, entries: Iterable[Entry]) -> Outcome:
    """KVM_SET_CPUID2."""
    rule = Rule("kvm_vcpu_ioctl_set_cpuid2, kvm_set_cpuid (cpuid.c)")
    table = tuple(entries)
    if not rule.check(f"at most {KVM_MAX_CPUID_ENTRIES} entries", len(table) <= KVM_MAX_CPUID_ENTRIES):
        return rule.refuse(errno.E2BIG)
    return _set(vcpu, rule, table)


def set_cpuid(vcpu: VcpuState, rows: Iterable[tuple[int, int, int, int, int]]) -> Outcome:
    """KVM_SET_CPUID: rows of a leaf and four registers, without sub-leaves."""
    rule = Rule("kvm_vcpu_ioctl_set_cpuid, kvm_set_cpuid (cpuid.c)")
    table = tuple(Entry(leaf, 0, 0, *values) for leaf, *values in rows)
    if not rule.check(f"at most {KVM_MAX_CPUID_ENTRIES} entries", len(table) <= KVM_MAX_CPUID_ENTRIES):
        return rule.refuse(errno.E2BIG)
    return _set(vcpu, rule, table)


def get_cpuid2(vcpu: VcpuState, count: int) -> Outcome:
    """KVM_GET_CPUID2 with room for ``count`` entries: ``value`` is nent as it comes back."""
    rule = Rule("kvm_vcpu_ioctl_get_cpuid2 (cpuid.c)")
    refresh(vcpu)
    there = len(vcpu.guest.entries)
    if not rule.check(f"room for the {there} entries", count >= there):
        return rule.refuse(errno.E2BIG)
    # nent is written back on success from 6.2 on.
    return rule.ok(there if vcpu.kvm.since(6, 2) else count)


def entries_of(vcpu: VcpuState) -> tuple[Entry, ...]:
    """The entries that KVM_GET_CPUID2 gives."""
    refresh(vcpu)
    return vcpu.guest.entries


def refresh(vcpu: VcpuState) -> None:
    """Bring the entries up to date with the vCPU's state, where that changed (cpuid_dynamic_bits_dirty)."""
    if vcpu.cpuid_dirty:
        vcpu.cpuid_dirty = False
        vcpu.guest.replace(at_run_time(vcpu, vcpu.guest.entries))


def _set(vcpu: VcpuState, rule: Rule, table: tuple[Entry, ...]) -> Outcome:
    """kvm_set_cpuid."""
    kvm = vcpu.kvm
    # From 6.14 to 6.18.2 what was pending for the old entries went to the new ones alone.
    if not kvm.since(6, 14) or kvm.since(6, 18, 3):
        refresh(vcpu)
    if is_fixed(vcpu):
        vcpu.cpuid_dirty = False
        same = at_run_time(vcpu, table) == vcpu.guest.entries
        return rule.ok() if _check_equal(rule, same=same) else rule.refuse(errno.EINVAL)
    code = check_cpuid(vcpu, rule, GuestCpuid(kvm, table))
    if code:
        return rule.refuse(code)
    vcpu.cpuid_dirty = False
    vcpu.guest = GuestCpuid(kvm, at_run_time(vcpu, table))
    after_set_cpuid(vcpu)
    return rule.ok()


def is_fixed(vcpu: VcpuState) -> bool:
    """The vCPU has run, or from 7.0 on is in guest mode: its CPUID cannot change (kvm_can_set_cpuid_and_feature_msrs).

    5.10 lets it change.
    """
    kvm = vcpu.kvm
    return (vcpu.ran and kvm.since(5, 16)) or (vcpu.is_guest_mode and kvm.since(7, 0))


def _check_equal(rule: Rule, *, same: bool) -> bool:
    return rule.check("after the first run: the table is the one that was set (kvm_cpuid_check_equal)", same)


def check_cpuid(vcpu: VcpuState, rule: Rule, table: GuestCpuid) -> int:
    """kvm_check_cpuid: an errno, 0 for none."""
    widths = table.find(0x80000008)
    bits = widths.eax >> 8 & 0xFF if widths else 0
    if not rule.check(f"linear addresses of 48 or 57 bits, or none said: {bits}", bits in _LINEAR_BITS):
        return errno.EINVAL
    state = table.find(0xD, 0)
    wanted = (state.eax | state.edx << 32 if state else 0) & vcpu.kernel.user_dynamic & ~vcpu.fpstate.xfeatures
    if not wanted:
        return 0
    permitted = vcpu.process.guest_perm & wanted == wanted
    if not rule.check(f"the process has guest permission for components {wanted:#x}", permitted):
        return errno.EPERM
    if not rule.check("memory for the larger buffer is there (fpstate_realloc)", vcpu.process.allocate()):
        return errno.EFAULT
    vcpu.grow()
    return 0


def at_run_time(vcpu: VcpuState, table: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """kvm_update_cpuid_runtime: OSXSAVE, APIC, MWAIT, OSPKE, the sizes of leaf 0xD, PV_UNHALT."""
    found = list(table)
    look = GuestCpuid(vcpu.kvm, table)

    def put(entry: Entry, **registers: int) -> None:
        # One entry can be found as two, where its sub-leaf is not significant.
        at = table.index(entry)
        found[at] = found[at]._replace(**registers)

    if one := look.find(1):
        put(one, **_leaf_1(vcpu, one))
    if (seven := look.find(7, 0)) and (vcpu.kvm.since(6, 14) or vcpu.kvm.boot_has("PKU")):
        put(seven, ecx=_with_bit(seven.ecx, "OSPKE", vcpu.cr4 & CR4_PKE))
    host = vcpu.host
    if state := look.find(0xD, 0):
        put(state, ebx=host.standard_size_bytes(vcpu.xcr0))
    compact = look.find(0xD, 1)
    if compact and compact.eax & 0xA:
        xss = vcpu.xss if vcpu.kvm.since(6, 18) else 0
        put(compact, ebx=host.compacted_size_bytes(vcpu.xcr0 | xss))
    sgx = look.find(0x12, 1)
    if sgx and vcpu.kvm.since(5, 13) and not vcpu.kvm.since(6, 4):
        allowed = guest_xcr0(vcpu, look)
        put(sgx, ecx=sgx.ecx & allowed & 0xFFFFFFFF | 3, edx=sgx.edx & allowed >> 32)
    features = pv_features_entry(look)
    if features and vcpu.vm.caps.get(_CAP_DISABLE_EXITS, 0) & _DISABLE_EXITS_HLT:
        put(features, eax=features.eax & ~_PV_UNHALT)
    return tuple(found)


def _leaf_1(vcpu: VcpuState, entry: Entry) -> dict[str, int]:
    ecx = entry.ecx
    if vcpu.kvm.since(6, 14) or vcpu.kvm.boot_has("XSAVE"):
        ecx = _with_bit(ecx, "OSXSAVE", vcpu.cr4 & CR4_OSXSAVE)
    if not vcpu.has_quirk(QUIRK_MISC_ENABLE_NO_MWAIT):
        ecx = _with_bit(ecx, "MWAIT", vcpu.msrs.get(MISC_ENABLE, 0) & MISC_ENABLE_MWAIT)
    return {"ecx": ecx, "edx": _with_bit(entry.edx, "APIC", vcpu.apic_base & APIC_BASE_ENABLE)}


def _with_bit(value: int, feature: str, on: object) -> int:
    mask = 1 << FEATURES[feature].bit
    return value | mask if on else value & ~mask


def pv_features_entry(table: GuestCpuid) -> Entry | None:
    """kvm_find_kvm_cpuid_features: the leaf after KVM's signature; 5.10 takes 0x40000001 whatever is before it."""
    if not table.kvm.since(5, 17):
        return table.find(0x40000001)
    for base in range(0x40000000, 0x40010000, 0x100):
        entry = table.find(base)
        if entry and (entry.ebx, entry.ecx, entry.edx) == _KVM_SIGNATURE:
            return table.find(base | 1)
    return None


def guest_xcr0(vcpu: VcpuState, table: GuestCpuid) -> int:
    """cpuid_get_supported_xcr0."""
    values = table.leaf(0xD, 0)
    return (values[0] | values[3] << 32) & vcpu.kvm.xcr0 if values else 0


def after_set_cpuid(vcpu: VcpuState) -> None:
    """kvm_vcpu_after_set_cpuid: what KVM remembers of the table."""
    table = vcpu.guest
    # By leaf and sub-leaf; the first of several entries stands.
    vcpu.cpuid = Cpuid({entry[:2]: entry[3:] for entry in reversed(table.entries)})
    vcpu.guest_xcr0 = guest_xcr0(vcpu, table)
    features = pv_features_entry(table)
    if features is not None:
        table.leaf(features.leaf)
    if features or vcpu.kvm.since(6, 14):
        vcpu.pv_features = features.eax if features else 0
    vcpu.intercepts.after_set_cpuid(vcpu)
    if vcpu.lapic is not None:
        vcpu.lapic.after_cpuid()
