"""The VM's interrupt controller, as far as vCPUs and ID registers follow it.

Source: Linux arch/arm64/kvm/vgic/vgic-init.c (kvm_vgic_create, kvm_vgic_map_resources, kvm_vgic_finalize_idregs),
vgic-v2.c, vgic-v3.c, vgic-kvm-device.c, vgic-its.c; sys_regs.c (kvm_finalize_sys_regs).
"""

from __future__ import annotations

import errno

from inspector.machine.arm64.arch import KvmArch
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import PFR0, PFR1_AARCH32

#: KVM_DEV_TYPE_ARM_VGIC_V2, _V3 and _ITS, as KVM_CREATE_DEVICE takes them: the GIC's version, 0 for an ITS.
DEVICES = {5: 2, 7: 3, 8: 0}
_ITS_NEEDS = 3
#: The GIC field of ID_AA64PFR0_EL1, and of ID_PFR1_EL1.
_FIELDS = {PFR0: of.PFR0_GIC, PFR1_AARCH32: of.PFR1_AARCH32_GIC}


def create(vm: KvmArch, device: int) -> Outcome:
    """KVM_CREATE_DEVICE of an interrupt controller."""
    rule = Rule("kvm_vgic_create (vgic/vgic-init.c)")
    version = DEVICES.get(device)
    can = version is not None and vm.host.gic == (version or _ITS_NEEDS)
    if not rule.check(f"the host's GICv{vm.host.gic} can do it", can):
        return rule.refuse(errno.ENODEV)
    if not version:
        return rule.ok()
    if not rule.check("the VM has no GIC yet", not vm.vgic):
        return rule.refuse(errno.EEXIST)
    if not rule.check("no vCPU has run", not any(vcpu.ran or vcpu.tried for vcpu in vm.vcpus.values())):
        return rule.refuse(errno.EBUSY)
    vm.vgic = version
    if vm.host.kernel.vgic_fields in ("created", "follows"):
        _follow(vm)
    return rule.ok()


def set_addresses(vm: KvmArch) -> Outcome:
    """KVM_SET_DEVICE_ATTR KVM_DEV_ARM_VGIC_GRP_ADDR, of all that needs one; the addresses are taken to be good ones."""
    rule = Rule("kvm_vgic_addr (vgic/vgic-kvm-device.c)")
    if not rule.check("they have no addresses yet", not vm.vgic_has_addresses):
        return rule.refuse(errno.EEXIST)
    vm.vgic_has_addresses = True
    return rule.ok()


def initialize(vm: KvmArch) -> Outcome:
    """KVM_SET_DEVICE_ATTR KVM_DEV_ARM_VGIC_CTRL_INIT; again is no error."""
    vm.vgic_initialized = True
    return Rule("vgic_init (vgic/vgic-init.c)").ok()


def map_resources(rule: Rule, vm: KvmArch) -> int:
    """What the first run asks of the VM's GIC: 0 or the errno; since 6.1 the VM is gone then."""
    if not vm.vgic:
        return 0
    if not rule.check("the GIC has addresses", vm.vgic_has_addresses):
        code = errno.ENXIO
    elif not rule.check("a GICv3 is initialized", vm.vgic_initialized or not vm.has_vgic):
        code = errno.EBUSY
    else:
        vm.vgic_initialized = True
        return 0
    # The VM is gone, or its GIC is taken down and has to be initialized again (kvm_vgic_destroy).
    vm.is_dead = vm.host.kernel.vgic_kills
    vm.vgic_initialized = vm.vgic_initialized and vm.is_dead
    return code


def finalize_id_registers(vm: KvmArch) -> None:
    """The first run: the GIC fields are cleared where there is no GICv3, or become what the VM has."""
    how = vm.host.kernel.vgic_fields
    if how == "follows" or (how and not vm.has_vgic):
        _follow(vm)


def _follow(vm: KvmArch) -> None:
    """ID_PFR1_EL1 shows the GIC only where there is AArch32."""
    for encoding, gic in _FIELDS.items():
        if encoding in vm.id_registers:
            shown = vm.has_vgic and (encoding == PFR0 or vm.host.has_aarch32)
            vm.id_registers[encoding] = gic.put(vm.id_registers[encoding], shown)
