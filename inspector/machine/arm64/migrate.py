"""A vCPU moves to another host: the calls that its VMM makes there, and which of them fails on which field.

The order is QEMU's (target/arm/kvm.c): init, vector lengths, finalize, then registers by id
(write_list_to_kvmstate). Registers that the destination's list lacks stop QEMU before the first
write (cpreg_vmstate_array_len in target/arm/machine.c).
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.arm64 import core, sve
from inspector.machine.arm64.captured import State, is_id
from inspector.machine.arm64.host import PMU_V3, PTRAUTH, SVE, Host
from inspector.machine.arm64.idregs import takes_hidden
from inspector.machine.arm64.models.partial import Open, PartialHost, open_features
from inspector.machine.arm64.models.realize import ScratchVcpu, hangs_on, places_of, refusal, scratch
from inspector.machine.arm64.models.request import IDENTITY
from inspector.machine.arm64.proposal import as_proposed
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome, Step
from layouts.arm64 import ids
from layouts.arm64.ids import CLIDR, MPIDR, RegisterId
from layouts.arm64.listed import condition
from layouts.arm64.properties import FieldPlace, property_of
from layouts.light import NamedTuple, cached_property, partial

_UNDECIDED = "depends-on"


#: Conditions of listed registers that are a feature of the vCPU.
_FEATURE_OF = {"sve": SVE, "ptrauth": PTRAUTH, "pmu": PMU_V3}


class FieldReason(NamedTuple):
    """A field that is in the way: the moving guest's value, the destination's, and why."""

    place: FieldPlace
    value: int
    host: int
    why: str

    @property
    def name(self) -> str:
        """The property that would change it."""
        return property_of(self.place)


class Call(Step):
    """A call on the destination. ``reasons`` finds the fields of a refused register, when they are asked for."""

    def __init__(
        self,
        event: str,
        outcome: Outcome,
        register_id: int = 0,
        reasons: Callable[[], tuple[FieldReason, ...]] = tuple,
    ) -> None:
        super().__init__(event, outcome)
        self.register_id = register_id
        self._reasons = reasons

    @cached_property
    def fields(self) -> tuple[FieldReason, ...]:
        """All fields of a refused register that are in the way."""
        return self._reasons()


class Migration(NamedTuple):
    """All steps. ``unknown`` are register ids that the destination does not have.

    ``open``: what the answer hangs on, where the destination is known in part.
    """

    state: State
    host: Host
    steps: tuple[Call, ...]
    unknown: tuple[int, ...]
    untried: int
    open: tuple[Open, ...] = ()

    @property
    def failures(self) -> tuple[Call, ...]:
        """Steps that the destination refuses; a VMM stops at the first."""
        return tuple(step for step in self.steps if step.outcome.verdict not in ("ok", _UNDECIDED))

    @property
    def undecided(self) -> tuple[Call, ...]:
        """Steps that hang on a field of the destination's hardware that guests do not see."""
        return tuple(step for step in self.steps if step.outcome.verdict == _UNDECIDED)

    @property
    def accepted(self) -> bool:
        """The vCPU arrives, for all that is known of the destination."""
        return self.possible and not self.undecided

    @property
    def possible(self) -> bool:
        """Nothing that is known of the destination is in the way."""
        return not self.failures and not self.unknown


def restore(state: State, host: Host) -> tuple[Step, ...]:
    """Put a captured vCPU's state on a host. Every register is tried, also after one that failed."""
    return migrate(state, host).steps


def migrate(state: State, host: Host, *, abi: str = "merged", writable_imp: bool = False) -> Migration:
    """Restore a vCPU's state on a host. Every register is tried, also after one that failed."""
    if isinstance(host, PartialHost):
        found = _hangs(state, host)
        assumed = host.assuming(found, state.features, state.vqs)
        left_out = host.open_features & state.features
        return _restore(state, assumed, abi, writable_imp=writable_imp, left_out=left_out)._replace(open=found)
    return _restore(state, host, abi, writable_imp=writable_imp, left_out=0)


def _hangs(state: State, host: PartialHost) -> tuple[Open, ...]:
    """What of a destination that is known in part decides about this state."""
    found = open_features(host, state.features, state.vqs)
    for register_id, data in sorted(state.registers.items()):
        encoding, number = RegisterId(register_id).encoding, int.from_bytes(data, "little")
        if not is_id(register_id) and encoding != CLIDR:
            continue
        if encoding in host.untold and number != host.limit(encoding, state.features):
            name = host.kernel.register_name(encoding)
            whole = FieldPlace.whole(name, encoding)
            found.append(Open(name, whole, number, host.limit(encoding, state.features)))
        for place in host.open_in(encoding):
            value = place.get(number)
            if hangs_on(host, state.features, place, value):
                likely = place.get(host.limit(encoding, state.features))
                why = refusal(host, state.features, place, value)
                found.append(Open(property_of(place), place, value, likely, why))
    return tuple(found)


def _restore(state: State, host: Host, abi: str, *, writable_imp: bool, left_out: int) -> Migration:
    """``left_out``: features that the host's own guest may have gone without, and their registers with them."""
    vcpu, writes = scratch(host, state.features, writable_imp=writable_imp, abi=abi)
    if not isinstance(vcpu, Vcpu):
        # A real KVM has the merged interface.
        abi = "merged"
    steps = [Call(write.event, write.outcome) for write in writes]
    if not steps[-1].outcome.accepted:
        return Migration(state, host, tuple(steps), (), len(state.registers))
    if state.features & SVE:
        steps += _set_lengths(vcpu, state.vqs, abi)
    unknown: list[int] = []
    untried = 0
    for register_id, data in sorted(state.registers.items()):
        if register_id == ids.SVE_VLS:
            continue
        kind = _kind(host, register_id, left_out)
        if kind == "unknown":
            unknown.append(register_id)
        elif kind == "any":
            untried += 1
        else:
            outcome = vcpu.set(as_proposed(register_id) if abi == "proposal" else register_id, data)
            reasons = tuple if outcome.accepted else partial(_fields, host, state.features, register_id, data)
            steps.append(Call("KVM_SET_ONE_REG", outcome, register_id, reasons))
    return Migration(state, host, tuple(steps), tuple(unknown), untried)


def _set_lengths(vcpu: ScratchVcpu, vqs: int, abi: str) -> list[Call]:
    """The vector lengths by the interface's call, which the merged one finalizes."""
    lengths = " ".join(map(str, sve.lengths_bytes(vqs)))
    if abi == "proposal":
        assert isinstance(vcpu, Vcpu)
        return [Call(f"KVM_ARM_VCPU_SET_SVE_VLS {lengths} bytes", vcpu.set_sve_vls(vqs), ids.SVE_VLS)]
    outcome = vcpu.set(ids.SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))
    return [
        Call(f"KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS {lengths} bytes", outcome, ids.SVE_VLS),
        Call("KVM_ARM_VCPU_FINALIZE SVE", vcpu.finalize(sve.FINALIZE)),
    ]


def _kind(host: Host, register_id: int, left_out: int) -> str:
    """``set`` when the machine knows its rules, ``any`` for plain state, ``unknown`` when the host's list lacks it."""
    found = RegisterId(register_id)
    if found.coprocessor == ids.SYSREG:
        encoding = found.encoding
        if encoding in host.kernel.registers or encoding == MPIDR:
            return "set"
        if is_id(register_id):
            return "unknown"
        of_feature = _FEATURE_OF.get(condition(host.kernel.name, register_id) or "", 0)
        is_there = register_id in host.registers or not _has_list(host) or of_feature & left_out
        return "any" if is_there else "unknown"
    if found.coprocessor == ids.FIRMWARE and found.encoding and register_id not in host.registers:
        # Which mitigations the destination has, a bare CPU does not say.
        return "any"
    if found.coprocessor in (ids.FIRMWARE, ids.FIRMWARE_BITMAP):
        return "set" if host.firmware(register_id) or found.encoding == 0 else "unknown"
    if found.coprocessor == ids.DEMUX:
        return "set" if host.kernel.virtual_caches or register_id in host.registers else "any"
    if found.coprocessor != ids.CORE:
        return "set" if found.coprocessor == ids.SVE else "unknown"
    return "set" if core.check_id(register_id, has_sve=False) == 0 else "any"


def _has_list(host: Host) -> bool:
    """The host's other system registers are known: it is a capture."""
    return any(RegisterId(register_id).coprocessor == ids.SYSREG for register_id in host.registers)


def _fields(host: Host, features: int, register_id: int, data: bytes) -> tuple[FieldReason, ...]:
    if not is_id(register_id):
        return ()
    encoding, value = RegisterId(register_id).encoding, int.from_bytes(data, "little")
    if encoding == CLIDR:
        return ()
    limit = host.limit(encoding, features)
    found = []
    for place in places_of(encoding):
        if takes_hidden(host, place, place.get(value)) is not False:
            continue
        why = refusal(host, features, place, place.get(value))
        if encoding in IDENTITY and place.get(value) != place.get(limit):
            why = why or "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is not enabled"
        if why:
            found.append(FieldReason(place, place.get(value), place.get(limit), why))
    return tuple(found)
