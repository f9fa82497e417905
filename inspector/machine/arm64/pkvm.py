"""VMs of a host in protected mode (pKVM), and protected VMs among them.

Source: see :mod:`layouts.arm64.pkvm`. What the hypervisor at EL2 shows a protected guest is not what user space reads:
its registers are isolated in no release that was read (Documentation/virt/kvm/arm/pkvm.rst).
"""

from __future__ import annotations

from inspector.machine.arm64.arch import KvmArch, VcpuArch
from inspector.machine.arm64.host import PTRAUTH_GENERIC, Host
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import AARCH32_IDS
from layouts.arm64.pkvm import ALLOWED, CONSTANT, FIELDS, FIELDS_SINCE_7_3, GENERIC, REFUSED, WHOLE, Shown
from layouts.kernels import release_numbers


def release_of(host: Host) -> tuple[int, int]:
    """Major and minor number of the release that was asked for."""
    return release_numbers(host.kernel.release) or (0, 0)


def allows(host: Host, capability: int, *, is_protected: bool) -> bool:
    """The host's mode lets a VM have a capability (kvm_pkvm_ext_allowed)."""
    if not host.pkvm or capability in GENERIC:
        return True
    if capability in REFUSED and release_of(host) >= REFUSED[capability]:
        return False
    return not is_protected or capability in ALLOWED


def fixes_memory(vm: KvmArch) -> bool:
    """Slots of a protected VM that has run neither go nor move."""
    return vm.protected and vm.ran


def mrs(vcpu: VcpuArch, encoding: int) -> int:
    """An ID register as a protected guest reads it (pvm_calc_id_reg)."""
    host = vcpu.host
    name = host.kernel.register_name(encoding)
    if encoding in AARCH32_IDS:
        return 0
    value = host.sanitised.get(encoding, host.limits.get(encoding, 0))
    if name == WHOLE:
        return value
    fields = FIELDS.get(name, ())
    if release_of(host) >= (7, 3):
        fields = (*fields, *FIELDS_SINCE_7_3.get(name, ()))
    has_pauth = bool(vcpu.features & PTRAUTH_GENERIC)
    shown = CONSTANT.get(name, 0)
    for field in fields:
        bits = id_register(name).field(field.field)
        shown = bits.put(shown, _cut(field, bits.get(value), 1 << bits.width - 1, has_pauth=has_pauth))
    return shown


def _cut(field: Shown, value: int, sign: int, *, has_pauth: bool) -> int:
    """A field's value (get_restricted_features); ``sign`` is its top bit."""
    if field.with_pauth and not has_pauth:
        return 0
    if field.signed and value & sign:
        # Less than any that the tables name.
        return value
    return min(value, field.most)
