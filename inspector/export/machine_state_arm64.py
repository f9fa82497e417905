"""The state of a simulated arm64 machine in words, by name."""

from __future__ import annotations

from inspector.machine.arm64.sve import lengths_bytes
from inspector.machine.arm64.world.state import MachineState, VcpuState, VmState
from inspector.machine.arm64.world.words import FEATURE_NAMES, name_of
from layouts.arm64.ids import AIDR, CTR, IDS, RegisterId

_SHOWN_BYTES = 8
#: System registers that are told each: what says which CPU it is. Of all others as many.
_TOLD, _MOST_OTHERS = frozenset((*IDS, CTR, AIDR)), 8


def words_of_machine(state: MachineState) -> dict[str, str]:
    """A state by name; with several hosts each name begins with the host's number, of further VMs with theirs."""
    found: dict[str, str] = {}
    for number, node in enumerate(state.nodes):
        prefix = f"host {number} " if len(state.nodes) > 1 else ""
        if node.vm is not None:
            found |= {f"{prefix}{name}": words for name, words in _vm_words(node.vm).items()}
        for other, vm in enumerate(node.others, 1):
            found |= {f"{prefix}vm {other} {name}": words for name, words in _vm_words(vm).items()}
    if state.saved_registers:
        found["saved"] = f"{state.saved_registers} registers"
    if state.saved_vqs is not None:
        found["saved vector lengths"] = _lengths(state.saved_vqs)
    return found


def _vm_words(vm: VmState) -> dict[str, str]:
    found = {"VM": f"IPA of {vm.ipa_bits} bits" + (", given up" if vm.is_dead else ", has run" if vm.ran else "")}
    if vm.is_protected:
        found["VM type"] = "protected"
    capabilities = [
        name for name, has in (("ARM_MTE", vm.has_mte), ("ARM_WRITABLE_IMP_ID_REGS", vm.writable_imp)) if has
    ]
    if capabilities:
        found["VM capabilities"] = ", ".join(capabilities)
    if vm.gic:
        found["VM GIC"] = f"GICv{vm.gic}{'' if vm.gic_initialized else ', not initialized'}"
    for number, base, size in vm.memory:
        found[f"memory slot {number}"] = f"{base:#x} to {base + size - 1:#x}"
    for vcpu in vm.vcpus:
        found |= {f"vCPU {vcpu.number}{name}": words for name, words in _vcpu_words(vcpu).items()}
    return found


def _vcpu_words(vcpu: VcpuState) -> dict[str, str]:
    if not vcpu.initialized:
        return {"": "created"}
    stage = "SVE to be finalized" if vcpu.needs_final else "has run" if vcpu.ran else "ready"
    found = {"": f"initialized, {stage}", " features": features_words(vcpu.features)}
    if vcpu.vqs:
        found[" vector lengths"] = _lengths(vcpu.vqs)
    if vcpu.pmu_has_irq or vcpu.pmu_initialized:
        found[" PMU"] = "initialized" if vcpu.pmu_initialized else "has an interrupt, not initialized"
    others = [one for one, _ in vcpu.registers if RegisterId(one).is_sysreg and RegisterId(one).encoding not in _TOLD]
    for register_id, data in vcpu.registers:
        if len(others) <= _MOST_OTHERS or register_id not in others:
            found[f" {name_of(register_id)}"] = _value(data)
    if len(others) > _MOST_OTHERS:
        found[" other registers"] = f"{len(others)} not as reset leaves them"
    return found


def features_words(features: int) -> str:
    """KVM_ARM_VCPU_* bits by name."""
    return ", ".join(name for bit, name in enumerate(FEATURE_NAMES) if features >> bit & 1) or "none"


def _lengths(vqs: int) -> str:
    return f"{', '.join(map(str, lengths_bytes(vqs)))} bytes" if vqs else "none"


def _value(data: bytes) -> str:
    return f"{int.from_bytes(data, 'little'):#x}" if len(data) <= _SHOWN_BYTES else f"{data[:16].hex()}..."
