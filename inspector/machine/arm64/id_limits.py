"""What a value of an ID register is held against: the limit, the fields that user space writes, their safe values.

Source: Linux arch/arm64/kvm/sys_regs.c: arm64_check_features, kvm_arm64_ftr_safe_value, vm_feature_id_regs' masks.
"""

from __future__ import annotations

from inspector.machine.arm64.host import CheckedFields, Host
from inspector.machine.arm64.policy import POLICY_WORDS, is_safe
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import DFR0, DFR0_AARCH32
from layouts.arm64.kernels import FieldPolicy
from layouts.arm64.properties import FieldPlace
from layouts.light import NamedTuple


class Limit(NamedTuple):
    """What a value is held against: the limit, the bits of writable fields, by bit its field, the other bits in hex."""

    value: int
    is_raz: bool
    mask: int
    by_bit: dict[int, FieldPolicy]
    fixed: str


def limit_of(host: Host, encoding: int, features: int) -> Limit:
    """The same for every write to a register by guests with the same features: worked out once for a host."""
    found = host.id_limits.get((encoding, features))
    if not isinstance(found, Limit):
        value, is_raz = host.limit(encoding, features), host.reads_as_zero(encoding, features)
        mask, by_bit = _checked(host, encoding)
        found = host.id_limits[encoding, features] = Limit(value, is_raz, mask, by_bit, f"{value & ~mask:#x}")
    return found


def writable_fields(host: Host, encoding: int) -> tuple[FieldPolicy, ...]:
    """The fields that user space may change: those whose bits are all in the writable mask; once for a host."""
    found = host.writable.get(encoding)
    if found is None:
        mask = host.mask(encoding)
        fields = host.kernel.fields.get(encoding, ())
        found = tuple(_as_kvm(encoding, policy) for policy in fields if policy.mask & ~mask == 0)
        host.writable[encoding] = found
    return found


_LOWER_IS_SAFE = {
    (DFR0, of.DFR0_DEBUGVER.name),
    (DFR0, of.DFR0_PMUVER.name),
    (DFR0_AARCH32, of.DFR0_AARCH32_PERFMON.name),
}


def _as_kvm(encoding: int, policy: FieldPolicy) -> FieldPolicy:
    """KVM's own safe values of the debug and PMU versions (kvm_arm64_ftr_safe_value)."""
    return policy.with_policy("lower") if (encoding, policy.name) in _LOWER_IS_SAFE else policy


def _checked(host: Host, encoding: int) -> CheckedFields:
    """The bits of writable fields, and by bit its field; worked out once for a host."""
    found = host.checked.get(encoding)
    if found is None:
        mask = 0
        by_bit: dict[int, FieldPolicy] = {}
        for policy in writable_fields(host, encoding):
            mask |= policy.mask
            by_bit |= dict.fromkeys(range(policy.lsb, policy.lsb + policy.width), policy)
        found = host.checked[encoding] = (mask, by_bit)
    return found


def checked_mask(host: Host, encoding: int) -> int:
    """The bits that fields decide; all others must be the limit's."""
    return _checked(host, encoding)[0]


def unsafe_field(host: Host, encoding: int, value: int, limit: int) -> FieldPolicy | None:
    """The first writable field whose value is not safe under the limit, in the kernel's order."""
    mask, by_bit = _checked(host, encoding)
    return first_unsafe(by_bit, (value ^ limit) & mask, value, limit)


def first_unsafe(by_bit: dict[int, FieldPolicy], difference: int, value: int, limit: int) -> FieldPolicy | None:
    """The same of the bits in which the value differs, with each bit's field."""
    while difference:
        policy = by_bit[difference.bit_length() - 1]
        if not is_safe(policy, policy.get(value), policy.get(limit)):
            return policy
        # The kernel's tables are in this order too: the most significant field first.
        difference &= (1 << policy.lsb) - 1
    return None


def policy_words(host: Host, place: FieldPlace) -> str:
    """How the kernel decides on a field: whether user space may write it, and which values are safe."""
    for policy in writable_fields(host, place.encoding):
        if policy.mask & place.mask:
            signed = ", signed" if policy.signed else ""
            safe = f" ({policy.safe_value})" if policy.policy == "exact" else ""
            return f"writable, safe is {POLICY_WORDS[policy.policy]}{safe}{signed}"
    return "not writable"
