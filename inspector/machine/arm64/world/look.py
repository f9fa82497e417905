"""What there is to see of a stage: its state as numbers."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.machine.arm64 import core, demux, held
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.vm import Vm
from inspector.machine.arm64.world.stage import Node, Stage
from inspector.machine.arm64.world.state import MachineState, NodeState, VcpuState, VmState
from layouts.arm64.ids import CLIDR, DEMUX, MPIDR, SVE_FFR, SVE_P0, SVE_STEP, SVE_Z0, RegisterId, sysreg_id

_FIRST = {"z": SVE_Z0, "p": SVE_P0}


def state_of(stage: Stage) -> MachineState:
    """The hosts, their VMs and vCPUs."""
    nodes = tuple(_node_state(node) for node in stage.nodes)
    return MachineState(nodes, len(stage.saved.registers), stage.saved.vqs)


def _node_state(node: Node) -> NodeState:
    found = [_vm_state(vm) for vm in node.vms.values()]
    return NodeState(node.host.name, found[0] if found else None, tuple(found[1:]))


def _vm_state(vm: Vm) -> VmState:
    return VmState(
        ipa_bits=vm.ipa_bits,
        has_mte=bool(vm.mte),
        writable_imp=vm.writable_imp,
        gic=vm.vgic,
        gic_initialized=vm.vgic_initialized,
        memory=tuple((number, slot.base, slot.size_bytes) for number, slot in sorted(vm.memory.items())),
        ran=vm.ran,
        is_dead=vm.is_dead,
        vcpus=tuple(_vcpu_state(vcpu) for _, vcpu in sorted(vm.vcpus.items())),
        is_protected=vm.protected,
    )


def _vcpu_state(vcpu: VcpuArch) -> VcpuState:
    return VcpuState(
        number=vcpu.number,
        initialized=vcpu.initialized,
        features=vcpu.features,
        needs_final=not vcpu.is_final,
        ran=vcpu.ran,
        vqs=vcpu.host.sve_vqs & (1 << vcpu.vq) - 1,
        pmu_has_irq=vcpu.pmu_has_irq,
        pmu_initialized=vcpu.pmu_created,
        registers=tuple(_changed(vcpu)) if vcpu.initialized else (),
    )


def _changed(vcpu: VcpuArch) -> Iterator[tuple[int, bytes]]:
    """Registers that are not as reset leaves them."""
    reset, vm = core.reset_values(vcpu.features), vcpu.vm
    own = {sysreg_id(MPIDR), sysreg_id(CLIDR)}
    for encoding in vm.id_registers:
        value = vcpu.id_value(encoding)
        if encoding != CLIDR and value != vm.host.reset_value(encoding, vcpu.id_features):
            yield sysreg_id(encoding), value.to_bytes(8, "little")
    for register_id, data in sorted(vcpu.values.items()):
        if register_id not in own and data != (reset.get(register_id) or _at_reset(vcpu, register_id)):
            yield register_id, data
    for name, data in vcpu.sve.items():
        if any(data):
            yield (SVE_FFR if name == "ffr" else _FIRST[name[0]] + int(name[1:]) * SVE_STEP), data


def _at_reset(vcpu: VcpuArch, register_id: int) -> bytes:
    """What reset leaves in a system register or tells of a cache, else zero."""
    found = RegisterId(register_id)
    value = 0
    if found.is_sysreg:
        value = held.reset_value(vcpu, found.encoding) or 0
    if found.coprocessor == DEMUX:
        value = demux.default(vcpu.host, register_id)
    return value.to_bytes(found.size_bytes, "little")
