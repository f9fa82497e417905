"""Captured arm64 registers: the host that shows them, and the state to restore on another.

A capture holds what a guest saw, so it is a host's least: what KVM hides it does not tell, and what that VMM had
switched off is open (``anew.py``, with_left_out).
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.arm64.anew import under_another, with_left_out
from inspector.machine.arm64.caches import reset_clidr
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
from inspector.machine.arm64.vcpu import Vcpu
from layouts.arm64 import id_fields as of
from layouts.arm64.chips import core_of, cores
from layouts.arm64.ids import (
    AIDR,
    CLIDR,
    CTR,
    DEMUX,
    DFR0,
    FIRMWARE,
    FIRMWARE_BITMAP,
    IDS,
    MIDR,
    PFR0,
    PFR1,
    SVE_VLS,
    RegisterId,
    sysreg_id,
)
from layouts.arm64.kernels import Arm64Kernel, Limit
from layouts.light import NamedTuple
from layouts.vocabulary import mask_of

#: Registers of the host that are no ID registers to a VMM.
_OWN = {at: sysreg_id(at) for at in (AIDR, CLIDR)}


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


def is_fact(register_id: int) -> bool:
    """The register's value says what the host has: of others only that they are there does."""
    found = RegisterId(register_id)
    kinds = (FIRMWARE, FIRMWARE_BITMAP, DEMUX)
    return is_id(register_id) or register_id == SVE_VLS or found.coprocessor in kinds


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


def host_showing(state: State, kernel: Arm64Kernel, shown_by: Arm64Kernel | None = None) -> Host:
    """The host as its guest sees it: its ID registers are the limits.

    ``shown_by`` is the kernel under which the guest was captured. Another shows other fields of the same CPU
    (``anew.py``).
    """
    shown = _id_values(state.registers)
    shown |= {at: int.from_bytes(state.registers[rid], "little") for at, rid in _OWN.items() if rid in state.registers}
    midr = shown.get(MIDR, 0)
    host = Host(
        kernel,
        shown if shown_by is not None else _under(kernel, shown, state),
        of_core=_hidden_of_core(kernel, midr) | _hidden_once_shown(shown, shown_by),
        sve_vqs=state.vqs,
        features=state.features | POWER_OFF,
        registers={rid: data for rid, data in state.registers.items() if not is_id(rid)},
        name=state.name,
    )
    core = cores().get(core_of(midr))
    if shown_by is not None and shown_by.name != kernel.name:
        host = under_another(host, shown_by, core)
    return with_left_out(host, state.features, core)


def _under(kernel: Arm64Kernel, shown: Mapping[int, int], state: State) -> dict[int, int]:
    """What another kernel leaves of the values that guests saw: its own limits, and a CLIDR_EL1 that it makes up."""
    mte = of.PFR1_MTE.get(shown.get(PFR1, 0)) > 1
    found = {at: kernel.limits.get(at, Limit()).of(value, mte=mte) for at, value in shown.items()}
    if DFR0 in found:
        debug, version = of.DFR0_DEBUGVER.get(found[DFR0]), of.DFR0_PMUVER.get(found[DFR0])
        found[DFR0] = of.DFR0_DEBUGVER.put(found[DFR0], min(debug, kernel.debug_most or debug))
        if state.features & PMU_V3:
            found[DFR0] = of.DFR0_PMUVER.put(found[DFR0], min(version, kernel.pmuver_most))
    if CLIDR in found and kernel.virtual_caches:
        found[CLIDR] = reset_clidr(shown.get(CTR, 0), mte=mte)
    return found


def _hidden_of_core(kernel: Arm64Kernel, midr: int) -> dict[int, int]:
    """The registers with fields that KVM hides, as the kernel has them on the core that MIDR_EL1 names; else none."""
    core = cores().get(core_of(midr))
    if core is None:
        return {}
    return {at: sanitise(kernel.fields[at], [core.registers[at]]) for at in HIDDEN_FIELDS if at in core.registers}


def _hidden_once_shown(shown: Mapping[int, int], shown_by: Arm64Kernel | None) -> dict[int, int]:
    """The registers with such fields where the capture's kernel showed them as the hardware has them."""
    if shown_by is None:
        return {}
    hidden = {at: shown_by.limits.get(at, Limit()).hidden & bits.mask for at, bits in HIDDEN_FIELDS.items()}
    return {at: shown[at] for at in HIDDEN_FIELDS if at in shown and not hidden[at]}


def state_of_scratch(vcpu: ScratchVcpu, name: str) -> State:
    """A vCPU that things were tried on, as state: its ID registers, and its own."""
    answers = {register_id: vcpu.get(register_id) for register_id in vcpu.register_ids()}
    registers = {register_id: answer.image for register_id, answer in answers.items() if answer.accepted}
    vqs = int.from_bytes(registers.get(SVE_VLS, b""), "little")
    if not vqs and isinstance(vcpu, Vcpu):
        # As proposed a call of its own tells the lengths, and no register.
        vqs = vcpu.get_sve_vls().value
    return State(name, registers, vcpu.features, vqs)
