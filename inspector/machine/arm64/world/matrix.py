"""The table that the lab of an arm64 world shows: one row a feature that guests have or have not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspector.machine.arm64 import instructions
from inspector.machine.arm64.arch import VcpuArch
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, PTRAUTH, SVE, Host
from inspector.machine.arm64.vcpu import RUN, Vcpu
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import encoding_of_op
from layouts.arm64.sysregs import encodings


class Feature(NamedTuple):
    """A feature: the vCPU feature bits that ask for it (0: none, or a capability), its ID field, what uses it.

    Where no bits say so, ``host`` says whether KVM can give it on a host, and ``vcpu`` whether a vCPU has it.
    """

    name: str
    bits: int
    field: tuple[str, str]
    instruction: str = ""
    touch: Callable[[Vcpu], Outcome] | None = None
    host: Callable[[Host], bool] | None = None
    vcpu: Callable[[VcpuArch], bool] | None = None

    def is_on(self, host: Host) -> bool:
        """KVM can give it on a host."""
        return self.host(host) if self.host is not None else host.features & self.bits == self.bits

    def is_of(self, vcpu: VcpuArch) -> bool:
        """A vCPU has it."""
        return self.vcpu(vcpu) if self.vcpu is not None else vcpu.features & self.bits == self.bits


class FeatureRow(NamedTuple):
    """A feature now: whether KVM can give it here, the vCPU has it (None: not there yet), what the guest is shown.

    ``shown`` is the ID register's field, None before the vCPU is initialized; ``touch`` what its instruction gives.
    """

    feature: Feature
    host: bool
    vcpu: bool | None
    shown: int | None
    touch: Outcome | None


FEATURES = (
    # All that KVM runs on have it.
    Feature("FP, SIMD", 0, ("ID_AA64PFR0_EL1", "FP"), "fadd", instructions.fpsimd),
    Feature("SVE", SVE, ("ID_AA64PFR0_EL1", "SVE"), "rdvl", instructions.sve),
    Feature(
        "SME", 0, ("ID_AA64PFR1_EL1", "SME"), "smstart", instructions.sme, lambda _host: False, lambda _vcpu: False
    ),
    Feature("PAuth", PTRAUTH, ("ID_AA64ISAR1_EL1", "APA"), "pacia", instructions.pointer_authentication),
    Feature(
        "MTE",
        0,
        ("ID_AA64PFR1_EL1", "MTE"),
        host=lambda host: bool(host.with_mte),
        vcpu=lambda vcpu: bool(vcpu.vm.mte),
    ),
    Feature("PMU", PMU_V3, ("ID_AA64DFR0_EL1", "PMUVer")),
    Feature("AArch32", EL1_32BIT, ("ID_AA64PFR0_EL1", "EL1")),
    Feature("EL2", HAS_EL2, ("ID_AA64PFR0_EL1", "EL2")),
)


def feature_rows(
    world: Arm64World, host_number: int = 0, vcpu_number: int = 0, vm_number: int = 0
) -> tuple[FeatureRow, ...]:
    """A row a feature, of a vCPU of a VM on one of the hosts."""
    node = world.nodes[host_number]
    vm = node.vms.get(vm_number)
    vcpu = vm.vcpus.get(vcpu_number) if vm is not None else None
    return tuple(_row(feature, node.host, vcpu) for feature in FEATURES)


def _row(feature: Feature, host: Host, vcpu: Vcpu | None) -> FeatureRow:
    can = feature.is_on(host)
    if vcpu is None or not vcpu.initialized:
        return FeatureRow(feature, can, None, None, None)
    return FeatureRow(feature, can, feature.is_of(vcpu), _shown(feature, vcpu), touched(feature, vcpu))


def _shown(feature: Feature, vcpu: Vcpu) -> int:
    register, name = feature.field
    return id_register(register).field(name).get(vcpu.id_value(encoding_of_op(encodings()[register])))


def touched(feature: Feature, vcpu: Vcpu) -> Outcome | None:
    """What the feature's instruction would give in the guest's kernel; None where it has none, or in AArch32.

    Where the guest cannot run yet, what KVM_RUN answers.
    """
    if feature.touch is None or vcpu.features & EL1_32BIT:
        return None
    rule = Rule(RUN)
    code = vcpu.unready(rule)
    if code:
        return rule.refuse(code)
    return feature.touch(vcpu)
