"""Rules that many MSRs share: kept as written, ignored, constant."""

from __future__ import annotations

from inspector.machine.x86.kvm.msrs.rule import MsrRule, Read, Refusal, Write, never_read, never_written
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

ALL_ONES = (1 << 64) - 1
U32 = 0xFFFFFFFF
#: KVM_X86_QUIRK_STUFF_FEATURE_MSRS.
STUFF_FEATURE_MSRS = 1 << 8
COMMON = "kvm_set_msr_common, kvm_get_msr_common (x86.c)"


def store(vcpu: WholeVcpu, index: int, value: int) -> None:
    """The value is kept."""
    vcpu.msrs[index] = value


def ignore(_vcpu: WholeVcpu, _index: int, _value: int) -> None:
    """The value is taken and dropped."""


def reader(reset: int = 0) -> Read:
    """What was kept, or the value at reset."""

    def read(vcpu: WholeVcpu, index: int) -> int:
        return vcpu.msrs.get(index, reset)

    return read


def constant(value: int) -> Read:
    """Always the same value."""

    def read(_vcpu: WholeVcpu, _index: int) -> int:
        return value

    return read


read_stored = reader()
read_zero = constant(0)


def stored(reset: int = 0, source: str = COMMON) -> MsrRule:
    """Kept as written."""
    return MsrRule(store, reader(reset), source)


def ignored(value: int = 0, source: str = COMMON) -> MsrRule:
    """Writes are taken and dropped; reads give a constant."""
    return MsrRule(ignore, constant(value), source)


def read_only(value: int = 0, source: str = COMMON) -> MsrRule:
    """A constant that has no case in the setter."""
    return MsrRule(never_written, constant(value), source)


def write_only(write: Write = ignore, source: str = COMMON) -> MsrRule:
    """Has no case in the getter."""
    return MsrRule(write, never_read, source)


def masked(allowed: int, text: str = "only bits {allowed:#x} are set in {value:#x}") -> Write:
    """Kept, where no other bit is set."""
    refusal = Refusal(text, allowed)

    def write(vcpu: WholeVcpu, index: int, value: int) -> Refusal | None:
        if value & ~allowed:
            return refusal
        vcpu.msrs[index] = value
        return None

    return write


def is_stuffed(vcpu: WholeVcpu) -> bool:
    """Feature MSRs begin as what KVM supports: the VMM has not turned that quirk off."""
    return not vcpu.kvm.msr_rules.stuffs_features or vcpu.has_quirk(STUFF_FEATURE_MSRS)


def is_canonical(value: int, width: int) -> bool:
    """__is_canonical_address: the bits from ``width`` - 1 on are equal."""
    return value >> (width - 1) in (0, (1 << (65 - width)) - 1)


def canonical(value: int, width: int) -> int:
    """__canonical_address: the value's low bits, sign-extended."""
    value &= (1 << width) - 1
    return value | (ALL_ONES ^ ((1 << width) - 1) if value >> (width - 1) else 0)


def address_width(vcpu: WholeVcpu) -> int:
    """The width of linear addresses in MSRs: the host's, before that by the guest's CR4.LA57."""
    if vcpu.kvm.msr_rules.canonical_by_host:
        return 57 if vcpu.kvm.has("LA57") else 48
    return 57 if vcpu.cr4 >> 12 & 1 else 48


def is_memory(vcpu: WholeVcpu, address: int, size_bytes: int) -> bool:
    """Each byte is in a memory slot of the VM, one of KVM's own among them (kvm_gfn_to_hva_cache_init)."""
    first, last = address >> 12, (address + size_bytes - 1) >> 12
    return all(vcpu.vm.has_page(page, vcpu.kvm) for page in range(first, last + 1))
