"""Safe values of ID register fields: which of two is safe, and which a guest may have under a limit.

Source: Linux arch/arm64/kernel/cpufeature.c (arm64_ftr_safe_value, init_cpu_ftr_reg, update_cpu_ftr_reg);
arch/arm64/kvm/sys_regs.c (kvm_arm64_ftr_safe_value, arm64_check_features).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from layouts.arm64.kernels import FieldPolicy
from layouts.vocabulary import mask_of

U64 = (1 << 64) - 1


def safe_value(field: FieldPolicy, new: int, current: int) -> int:
    """The value of a field that is safe for both."""
    if field.policy == "exact":
        return field.safe_value
    if field.policy == "lower":
        return min(new, current)
    if field.policy == "higher_or_zero" and not (new and current):
        return 0
    return max(new, current)


def is_safe(field: FieldPolicy, new: int, limit: int) -> bool:
    """A guest may have ``new`` where the host's limit is ``limit``."""
    if field.policy == "lower":
        return new <= limit
    return new == limit or safe_value(field, new, limit) == new


def sanitise(fields: Sequence[FieldPolicy], values: Iterable[int]) -> int:
    """One register over all CPUs: fields that no entry names are zero, others the safe value of all."""
    found: int | None = None
    for value in values:
        if found is None:
            found = value & mask_of(*fields)
            continue
        for field in fields:
            current, new = field.get(found), field.get(value)
            if current != new:
                found = field.put(found, safe_value(field, new, current))
    return found or 0


#: Which values are safe, in words.
POLICY_WORDS = {
    "lower": "the host's or lower",
    "higher": "the host's or higher",
    "higher_or_zero": "0, the host's or higher",
    "exact": "the host's or the kernel's own",
}
_SAFE_WORDS = {"lower": "at most ", "higher": "at least ", "higher_or_zero": "0 or at least ", "exact": ""}


def unsafe_text(policy: FieldPolicy, value: int, limit: int) -> str:
    """What should have held of a field."""
    found, most = policy.get(value), policy.get(limit)
    other = f" or {policy.safe_value}" if policy.policy == "exact" and policy.safe_value != most else ""
    return f"{policy.name} is {_SAFE_WORDS[policy.policy]}{most}{other} (found {found})"
