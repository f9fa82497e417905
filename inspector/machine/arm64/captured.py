"""Captured arm64 registers: the host that shows them, and the state to restore on another.

A capture holds what a guest saw, so it is a host's least: what KVM hides, and what that
VMM had switched off, it does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from inspector.machine.arm64.host import (
    FIELDS_OF_FEATURE,
    PMU_V3,
    POWER_OFF,
    PSCI_0_2,
    PTRAUTH,
    PTRAUTH_ADDRESS,
    SVE,
    Host,
)
from inspector.machine.arm64.idregs import HIDDEN_FIELDS
from inspector.machine.arm64.models.realize import ScratchVcpu
from inspector.machine.arm64.policy import sanitise
from layouts.arm64 import id_fields as of
from layouts.arm64.chips import core_of, cores
from layouts.arm64.ids import CTR, DFR0, IDS, MIDR, PFR0, SVE_VLS, RegisterId
from layouts.arm64.kernels import Arm64Kernel
from layouts.vocabulary import mask_of


class State(NamedTuple):
    """A vCPU's registers by KVM register id, little-endian, its features and vector lengths (bit vq-1)."""

    name: str
    registers: dict[int, bytes]
    features: int
    vqs: int


def is_id(register_id: int) -> bool:
    """An ID register, CTR_EL0 or another that says which CPU it is."""
    found = RegisterId(register_id)
    return found.is_sysreg and (found.encoding in IDS or found.encoding == CTR)


def _id_values(registers: Mapping[int, bytes]) -> dict[int, int]:
    """The ID registers among registers, by encoding."""
    return {RegisterId(rid).encoding: int.from_bytes(data, "little") for rid, data in registers.items() if is_id(rid)}


def state_of(name: str, registers: Mapping[int, bytes]) -> State:
    """The state that registers are, with the features that its ID registers show."""
    value = _id_values(registers)
    features = PSCI_0_2
    if of.PFR0_SVE.get(value.get(PFR0, 0)):
        features |= SVE
    if any(
        value.get(register, 0) & mask_of(*fields) for register, fields in FIELDS_OF_FEATURE[PTRAUTH_ADDRESS].items()
    ):
        features |= PTRAUTH
    if of.DFR0_PMUVER.get(value.get(DFR0, 0)) not in (0, 15):
        features |= PMU_V3
    vqs = int.from_bytes(registers.get(SVE_VLS, b""), "little")
    if features & SVE and not vqs:
        vqs = 1
    return State(name, dict(registers), features, vqs)


def host_showing(state: State, kernel: Arm64Kernel) -> Host:
    """The host as its guest sees it: its ID registers are the limits."""
    limits = _id_values(state.registers)
    return Host(
        kernel,
        limits,
        of_core=_hidden_of_core(kernel, limits.get(MIDR, 0)),
        sve_vqs=state.vqs,
        features=state.features | POWER_OFF,
        registers={rid: data for rid, data in state.registers.items() if not is_id(rid)},
        name=state.name,
    )


def _hidden_of_core(kernel: Arm64Kernel, midr: int) -> dict[int, int]:
    """The registers with fields that KVM hides, as the kernel has them on the core that MIDR_EL1 names; else none."""
    core = cores().get(core_of(midr))
    if core is None:
        return {}
    return {at: sanitise(kernel.fields[at], [core.registers[at]]) for at in HIDDEN_FIELDS if at in core.registers}


def state_of_scratch(vcpu: ScratchVcpu, name: str) -> State:
    """A vCPU that things were tried on, as state: its ID registers, and its own."""
    answers = {register_id: vcpu.get(register_id) for register_id in vcpu.register_ids()}
    registers = {register_id: answer.image for register_id, answer in answers.items() if answer.accepted}
    return State(name, registers, vcpu.features, int.from_bytes(registers.get(SVE_VLS, b""), "little"))
