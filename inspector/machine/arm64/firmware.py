"""Firmware registers: the PSCI version, mitigations, and bitmaps of hypercall services.

Source: Linux arch/arm64/kvm/hypercalls.c: kvm_arm_get_fw_reg, kvm_arm_set_fw_reg, kvm_arm_set_fw_reg_bmap.
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.ids import PSCI_VERSION, WORKAROUND_1, WORKAROUND_2, WORKAROUND_3, RegisterId

_U64, _LEVEL, _ENABLED = 8, 0xF, 1 << 4
#: KVM_REG_ARM_SMCCC_ARCHWORKAROUND_2: what user space may write, and the level that the host then needs.
_AVAILABLE, _NOT_REQUIRED = 2, 3
_NEEDED = {0: 0, 1: 0, _AVAILABLE: _NOT_REQUIRED, _NOT_REQUIRED: _NOT_REQUIRED}


def register_ids(host: Host) -> list[int]:
    """The PSCI version, three mitigations, and the kernel's bitmaps."""
    return [PSCI_VERSION, WORKAROUND_1, WORKAROUND_2, WORKAROUND_3, *host.kernel.bitmaps]


def value_of(vcpu: VcpuArch, register_id: int) -> int | None:
    """What a register holds; None when the kernel has no such register."""
    vm = vcpu.vm
    if register_id == PSCI_VERSION:
        if not vcpu.features & PSCI_0_2:
            return 1
        return vm.psci_version or vm.host.kernel.psci_versions[-1]
    if register_id in vm.bitmaps:
        return vm.bitmaps[register_id]
    found = vm.host.firmware(register_id)
    return found[0] if found is not None else None


def get(vcpu: VcpuArch, register_id: int) -> Outcome:
    """KVM_GET_ONE_REG."""
    rule = Rule("kvm_arm_get_fw_reg (hypercalls.c)")
    value = value_of(vcpu, register_id)
    if not rule.check("a firmware register of this kernel", value is not None):
        return rule.refuse(errno.ENOENT)
    assert value is not None
    return rule.ok(value, value.to_bytes(8, "little"))


def put(vcpu: VcpuArch, register_id: int, value: int | None) -> Outcome:
    """KVM_SET_ONE_REG; None: a pointer that cannot be read."""
    rule = Rule("kvm_arm_set_fw_reg (hypercalls.c)")
    if not rule.check("a register of 8 bytes", RegisterId(register_id).size_bytes == _U64):
        return rule.refuse(errno.ENOENT)
    if value is None:
        rule.check("the pointer can be read", held=False)
        return rule.refuse(errno.EFAULT)
    vm = vcpu.vm
    if register_id == PSCI_VERSION:
        return _version(rule, vcpu, value)
    known = vm.host.firmware(register_id)
    if not rule.check("a firmware register of this kernel", known is not None):
        return rule.refuse(errno.ENOENT)
    assert known is not None
    if register_id in vm.host.kernel.bitmaps:
        return _bitmap(rule, vcpu, register_id, value, known[1])
    most = known[0] & _LEVEL
    held = _workaround_2(rule, value, most) if register_id == WORKAROUND_2 else _level(rule, value, most)
    return rule.ok() if held else rule.refuse(errno.EINVAL)


def _version(rule: Rule, vcpu: VcpuArch, value: int) -> Outcome:
    wants = vcpu.features & PSCI_0_2
    versions = vcpu.host.kernel.psci_versions
    held = rule.check("a PSCI version of this kernel", value in versions) and rule.check(
        "0.1 without the PSCI_0_2 feature, later ones with it", bool(wants) != (value == versions[0])
    )
    if not held:
        return rule.refuse(errno.EINVAL)
    vcpu.vm.psci_version = value
    return rule.ok()


def _level(rule: Rule, value: int, most: int) -> bool:
    return rule.check(f"no better level than the host's ({most})", value & ~_LEVEL == 0 and value <= most)


def _workaround_2(rule: Rule, value: int, most: int) -> bool:
    """Levels 0 and 1 are as not available, 2 and 3 as not required: only that much of the host is needed."""
    level = value & _LEVEL
    return (
        rule.check("a level, and whether it is enabled", not value & ~(_LEVEL | _ENABLED))
        and rule.check("enabled only where it is available", not value & _ENABLED or level == _AVAILABLE)
        and rule.check("a level that there is", level in _NEEDED)
        and rule.check(f"no better level than the host's ({most})", _NEEDED[level] <= most)
    )


def _bitmap(rule: Rule, vcpu: VcpuArch, register_id: int, value: int, allowed: int) -> Outcome:
    vm = vcpu.vm
    if not rule.check(f"no bit outside the kernel's features ({allowed:#x})", not value & ~allowed):
        return rule.refuse(errno.EINVAL)
    current = value_of(vcpu, register_id)
    if not rule.check("the VM has not run, or the value is the current one", not vm.ran or value == current):
        return rule.refuse(errno.EBUSY)
    vm.bitmaps[register_id] = value
    return rule.ok()
