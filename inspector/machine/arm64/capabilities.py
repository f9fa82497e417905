"""KVM_CHECK_EXTENSION, of a VM without a GIC and of /dev/kvm.

Source: Linux arch/arm64/kvm/arm.c (kvm_vm_ioctl_check_extension), reset.c (kvm_set_ipa_limit), mmu.c
(kvm_supports_cacheable_pfnmap), kernel/cpufeature.c (has_nv1).
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.arm64 import pkvm
from inspector.machine.arm64.arch import MAX_VCPUS
from inspector.machine.arm64.held import has_nv1
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, PTRAUTH, SVE, Host
from layouts.arm64 import id_fields as of
from layouts.arm64.capabilities import CAPABILITIES
from layouts.arm64.ids import CTR, DFR0, MMFR0, MMFR2, PFR0
from layouts.kernels import release_numbers
from layouts.vocabulary import Bits

#: ioctl's answer of an error, as user space's libc gives it.
_ERROR = -1
_PARANGE_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
_BITS_48, _LPA2 = 5, 1
_BY_NUMBER = {capability.number: capability for capability in CAPABILITIES}
#: Releases with more memory slots, and with stage 2 of 52 bits and small pages.
_MORE_SLOTS, _SLOTS = (5, 11), (512, 32767)
_LPA2_SINCE = (6, 8)


def check_extension(host: Host, number: int, *, of_vm: bool, online_cpus: int = 1, is_protected: bool = False) -> int:
    """What the ioctl returns for a KVM_CAP_* number; -1 is an error (EINVAL). ``is_protected``: of a protected VM."""
    if not pkvm.allows(host, number, is_protected=is_protected):
        return 0
    capability = _BY_NUMBER.get(number)
    if capability is None or _release(host) < capability.since:
        return 0
    if not capability.rule:
        return capability.value
    if capability.rule == "cpus":
        return min(online_cpus, MAX_VCPUS[host.gic]) if host.kernel.mte else online_cpus
    if capability.rule.endswith("of a VM") and not of_vm:
        return _ERROR
    return int(_RULES[capability.rule](host))


def _release(host: Host) -> tuple[int, int]:
    return release_numbers(host.kernel.answers_for or host.kernel.name) or (0, 0)


def _hardware(host: Host, encoding: int, bits: Bits) -> int:
    return bits.get(host.sanitised.get(encoding, host.limits.get(encoding, 0)))


def ipa_bits(host: Host) -> int:
    """Bits of an IPA: as many as PARange says, and no more than 48 where small pages cannot have 52."""
    parange = _hardware(host, MMFR0, of.MMFR0_PARANGE)
    lpa2 = _hardware(host, MMFR0, of.MMFR0_TGRAN4) == _LPA2 and _release(host) >= _LPA2_SINCE
    return _PARANGE_BITS[min(parange, len(_PARANGE_BITS) - 1 if lpa2 else _BITS_48)]


def memory_slots(host: Host) -> int:
    """KVM_USER_MEM_SLOTS."""
    return _SLOTS[_release(host) >= _MORE_SLOTS]


def has_capability(host: Host, number: int) -> bool:
    """The kernel knows the capability, whatever it then says of it."""
    capability = _BY_NUMBER.get(number)
    return capability is not None and _release(host) >= capability.since


def _cacheable(host: Host) -> bool:
    """Stage 2 forces write-back (FEAT_S2FWB), and instruction caches need no invalidation (CTR_EL0.DIC)."""
    return _hardware(host, MMFR2, of.MMFR2_FWB) > 0 and bool(_hardware(host, CTR, of.CTR_DIC))


_RULES: dict[str, Callable[[Host], int]] = {
    "memory slots": memory_slots,
    "vcpus": lambda host: MAX_VCPUS[host.gic],
    "32-bit EL1": lambda host: bool(host.features & EL1_32BIT),
    "breakpoints": lambda host: 1 + _hardware(host, DFR0, of.DFR0_BRPS),
    "watchpoints": lambda host: 1 + _hardware(host, DFR0, of.DFR0_WRPS),
    "PMU": lambda host: bool(host.features & PMU_V3),
    "of a VM": lambda _host: 0,
    "RAS": lambda host: _hardware(host, PFR0, of.PFR0_RAS) > 0,
    "IPA bits": ipa_bits,
    "SVE": lambda host: bool(host.features & SVE),
    "pointer authentication": lambda host: bool(host.features & PTRAUTH),
    "MTE": lambda host: bool(host.with_mte),
    "EL2": lambda host: bool(host.features & HAS_EL2),
    "E2H0": lambda host: bool(host.features & HAS_EL2) and has_nv1(host),
    "cacheable, of a VM": _cacheable,
}
