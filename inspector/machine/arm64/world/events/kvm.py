"""Ioctls of /dev/kvm, of a VM, of its devices and of a vCPU."""

from __future__ import annotations

import errno
from collections.abc import Callable

from inspector.machine.arm64 import ipa, memory, vgic
from inspector.machine.arm64.arch import Slot
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.host import POWER_OFF
from inspector.machine.arm64.sve import FINALIZE
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.arm64.world import unknown
from inspector.machine.arm64.world.stage import Stage, names_state
from inspector.machine.arm64.world.words import capability, feature_bits, vector_lengths
from inspector.machine.events import Words, below, number, word
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.ids import PC
from layouts.arm64.pkvm import PROTECTED_TYPE

_API_VERSION = 12
_U32 = 1 << 32
_PROTECTED = "protected"
_DEVICES = {"vgic-v2": 5, "vgic-v3": 7, "its": 8}


def _open(_stage: Stage, _: Words) -> Outcome:
    return Rule("kvm_dev_ioctl (kvm_main.c)").ok()


def _api_version(_stage: Stage, _: Words) -> Outcome:
    return Rule("kvm_dev_ioctl (kvm_main.c)").ok(_API_VERSION)


def _check_extension(stage: Stage, words: Words) -> Outcome:
    """Of /dev/kvm, or with ``vm`` behind it of the VM."""
    asked, of_vm = capability(word(words, 0, "a capability")), "vm" in words[1:]
    is_protected = of_vm and stage.vm().protected
    rule = Rule("kvm_vm_ioctl_check_extension (arm.c)")
    found = check_extension(stage.node().host, asked, of_vm=of_vm, is_protected=is_protected)
    if not rule.check("the capability can be asked for here", found >= 0):
        return rule.refuse(errno.EINVAL)
    return rule.ok(found)


def _create_vm(stage: Stage, words: Words) -> Outcome:
    """The type is the bits of an IPA (0 or nothing: 40), ``protected`` its bit 31. The VM is ``vm=N`` or the next."""
    node = stage.node()
    at = stage.at.get("vm", len(node.vms))
    if at > len(node.vms):
        raise ValueError(f"the next VM of this host is vm={len(node.vms)}")
    if at in node.vms:
        raise ValueError("this host has the VM already")
    vm_type = sum(PROTECTED_TYPE if text == _PROTECTED else number(text) for text in words[:2])
    outcome, vm = ipa.create(node.host, vm_type, abi=stage.abi)
    if vm is not None:
        node.vms[at] = vm
    return outcome


def _enable_cap(stage: Stage, words: Words) -> Outcome:
    return stage.vm().enable_cap(capability(word(words, 0, "a capability")))


def _set_memory(stage: Stage, words: Words) -> Outcome:
    """Slot, address, size, KVM_MEM_* flags."""
    slot = below(word(words, 0, "a slot"), _U32)
    base, size = number(word(words, 1, "an address")), number(word(words, 2, "a size"))
    flags = below(words[3], _U32) if len(words) > 3 else 0
    return memory.set_slot(stage.vm(), slot, Slot(base, size, flags))


def _create_device(stage: Stage, words: Words) -> Outcome:
    name = word(words, 0, "a device")
    if name not in _DEVICES:
        raise ValueError(f"no device {name}; there are {', '.join(_DEVICES)}")
    return vgic.create(stage.vm(), _DEVICES[name])


def _set_device_attr(stage: Stage, words: Words) -> Outcome:
    name = word(words, 0, "an attribute")
    if name not in _ATTRIBUTES:
        raise ValueError(f"no attribute {name}; there are {', '.join(_ATTRIBUTES)}")
    return _ATTRIBUTES[name](stage)


def _with_gic(stage: Stage) -> Vm:
    """The VM, if it has a GIC whose attribute could be set. Raises ValueError."""
    vm = stage.vm()
    if not vm.vgic:
        raise ValueError("the VM has no GIC; KVM_CREATE_DEVICE vgic-v3 comes first")
    return vm


_ATTRIBUTES: dict[str, Callable[[Stage], Outcome]] = {
    "VGIC_ADDR": lambda stage: vgic.set_addresses(_with_gic(stage)),
    "VGIC_CTRL_INIT": lambda stage: vgic.initialize(_with_gic(stage)),
    "PMU_V3_IRQ": lambda stage: stage.vcpu().set_pmu_irq(),
    "PMU_V3_INIT": lambda stage: stage.vcpu().init_pmu(),
}


def _create_vcpu(stage: Stage, words: Words) -> Outcome:
    """Its number, else the next one."""
    vm = stage.vm()
    return vm.create_vcpu(below(words[0], _U32) if words else len(vm.vcpus))


def _preferred_target(stage: Stage, _: Words) -> Outcome:
    """The value is KVM_ARM_TARGET_*; 5 is the generic one."""
    return Rule("kvm_vcpu_preferred_target (guest.c)").ok(stage.vm().host.target)


def _init(stage: Stage, words: Words) -> Outcome:
    """Features by name, or those that were saved; ``target=N``."""
    vcpu, target = stage.vcpu(), None
    if words and words[0].startswith("target="):
        target, words = below(words[0].removeprefix("target="), _U32), words[1:]
    if words and names_state(words[0]):
        features = stage.state_to_put(words[0]).features | feature_bits(words[1:])
    else:
        features = feature_bits(words)
    outcome = vcpu.init(features, target)
    if outcome.accepted:
        vcpu.powered_off = bool(features & POWER_OFF)
        return unknown.told(outcome, unknown.of_features(vcpu, features))
    return outcome


def _finalize(stage: Stage, words: Words) -> Outcome:
    text = word(words, 0, "a feature")
    return stage.vcpu().finalize(FINALIZE if text == "SVE" else below(text, _U32))


def _reg_list(stage: Stage, _: Words) -> Outcome:
    """The value is how many there are."""
    return stage.vcpu().reg_list()._replace(image=b"")


def _writable_masks(stage: Stage, _: Words) -> Outcome:
    return stage.vm().writable_masks()


def _get_sve_vls(stage: Stage, _: Words) -> Outcome:
    """The set, which the VMM keeps beside the registers."""
    outcome = stage.vcpu().get_sve_vls()
    if outcome.accepted:
        stage.saved.vqs = outcome.value
    return outcome._replace(image=b"")


def _set_sve_vls(stage: Stage, words: Words) -> Outcome:
    return stage.vcpu().set_sve_vls(lengths(stage, words))


def lengths(stage: Stage, words: Words) -> int:
    """Vector lengths in bytes, a set as 0x3, or those that were saved. Raises ValueError."""
    if words and names_state(words[0]):
        vqs = stage.state_to_put(words[0]).vqs
        if vqs is None:
            raise ValueError("no vector lengths were saved")
        return vqs
    return vector_lengths(words)


def _run(stage: Stage, _: Words) -> Outcome:
    """Until the guest's first access to a device; the value is KVM_EXIT_MMIO."""
    vcpu = stage.vcpu()
    entered = vcpu.enter()
    if not entered.accepted:
        return entered
    rule = Rule("kvm_arch_vcpu_ioctl_run (arm.c), kvm_handle_guest_abort (mmu.c)")
    rule.checks += entered.checks
    held = rule.check("the vCPU is powered on, else KVM_RUN waits for a signal", not vcpu.powered_off)
    if not held or not _has_memory(rule, vcpu):
        return rule.refuse(errno.EINTR)
    vcpu.mmio_pending = True
    return rule.ok(MMIO)


def _has_memory(rule: Rule, vcpu: Vcpu) -> bool:
    """An abort of an instruction is the guest's own: without memory it takes them until a signal ends KVM_RUN."""
    pc = int.from_bytes(vcpu.values.get(PC, b""), "little")
    return rule.check(f"a memory slot has the guest's PC ({pc:#x})", memory.holds(vcpu.vm, pc))


KVM_EVENTS: dict[str, Callable[[Stage, Words], Outcome]] = {
    "open": _open,
    "KVM_GET_API_VERSION": _api_version,
    "KVM_CHECK_EXTENSION": _check_extension,
    "KVM_CREATE_VM": _create_vm,
    "KVM_ENABLE_CAP": _enable_cap,
    "KVM_SET_USER_MEMORY_REGION": _set_memory,
    "KVM_CREATE_DEVICE": _create_device,
    "KVM_SET_DEVICE_ATTR": _set_device_attr,
    "KVM_ARM_PREFERRED_TARGET": _preferred_target,
    "KVM_ARM_GET_REG_WRITABLE_MASKS": _writable_masks,
    "KVM_CREATE_VCPU": _create_vcpu,
    "KVM_ARM_VCPU_INIT": _init,
    "KVM_ARM_VCPU_FINALIZE": _finalize,
    "KVM_ARM_VCPU_GET_SVE_VLS": _get_sve_vls,
    "KVM_ARM_VCPU_SET_SVE_VLS": _set_sve_vls,
    "KVM_GET_REG_LIST": _reg_list,
    "KVM_RUN": _run,
}
