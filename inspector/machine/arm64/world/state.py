"""The state of an arm64 world as numbers: each host's VM and its vCPUs. Views make words of them."""

from __future__ import annotations

from typing import Literal, NamedTuple


class VcpuState(NamedTuple):
    """A vCPU.

    ``features`` are KVM_ARM_VCPU_* bits, ``vqs`` its vector lengths (bit vq-1), 0 without SVE. ``needs_final``: SVE is
    to be finalized before registers are listed. ``registers`` are those that differ from reset, by KVM register id:
    ID registers, what user space wrote, what the guest did.
    """

    number: int
    initialized: bool
    features: int
    needs_final: bool
    ran: bool
    vqs: int
    pmu_has_irq: bool
    pmu_initialized: bool
    registers: tuple[tuple[int, bytes], ...]


class VmState(NamedTuple):
    """A VM: bits of an IPA, capabilities, GIC (its version, whether it is initialized), memory by slot."""

    ipa_bits: int
    has_mte: bool
    writable_imp: bool
    gic: int
    gic_initialized: bool
    memory: tuple[tuple[int, int, int], ...]
    ran: bool
    is_dead: bool
    vcpus: tuple[VcpuState, ...]
    is_protected: bool = False


class NodeState(NamedTuple):
    """A host, and the VM on it, where there is one; ``others`` are further VMs."""

    name: str
    vm: VmState | None
    others: tuple[VmState, ...] = ()


class MachineState(NamedTuple):
    """The hosts, and what the VMM saved: how many registers, vector lengths (None: never asked)."""

    nodes: tuple[NodeState, ...]
    saved_registers: int
    saved_vqs: int | None
    architecture: Literal["arm64"] = "arm64"
