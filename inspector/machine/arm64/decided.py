"""What is in the way of an arm64 move: each field and feature, who decided it, its use, and the words against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inspector.machine.arm64 import sve
from inspector.machine.arm64.captured import State, is_id
from inspector.machine.arm64.host import FEATURES_OF_SWITCH, SVE, Host
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.machine.arm64.models.realize import refusal
from inspector.machine.arm64.models.request import IDENTITY
from layouts.arm64.evidence import USES
from layouts.arm64.ids import SVE_VLS, RegisterId, sysreg_id
from layouts.arm64.properties import FieldPlace, properties, property_of, text_in
from layouts.kernels import who_does
from layouts.light import NamedTuple

SILICON, KERNEL, VMM = "silicon", "kernel", "VMM"
_NO_USE = "no state of a vCPU shows its use"


class Asked(NamedTuple):
    """A field of an ID register, a vCPU feature or the vector lengths: the guest's value and the destination's.

    ``place`` is None for what is no field.
    """

    name: str
    where: str
    value: int
    host: int
    place: FieldPlace | None = None

    @property
    def path(self) -> str:
        """Where it is, as fields are called."""
        return f"id.{self.where}.{self.name}" if self.place is not None else self.where

    @classmethod
    def of(cls, made: Migration) -> Iterator[Asked]:
        """Everything in the way of a move, each once."""
        state, host = made.state, made.host
        missing = state.features & ~host.features
        for name, bits in FEATURES_OF_SWITCH.items():
            if missing & bits:
                yield cls(name, "KVM_ARM_VCPU_INIT", 1, 0)
        if state.features & SVE and not missing & SVE and not sve.check_vls(state.vqs, host.sve_vqs).accepted:
            yield cls("vector lengths", "KVM_REG_ARM64_SVE_VLS", state.vqs, host.sve_vqs)
        for step in made.steps:
            for field in step.fields:
                place = field.place
                yield cls(place.name, f"{place.register}", field.value, field.host, place)


def decided(made: Migration, asked: Asked, others: Mapping[str, Host]) -> tuple[str, str]:
    """Who decided, and in words. ``others`` are the same machine under other kernels, by release."""
    host, place = made.host, asked.place
    if place is None:
        return SILICON, f"{host.name} does not give guests this {'feature' if asked.value == 1 else 'set of lengths'}"
    if place.encoding in IDENTITY:
        if host.kernel.imp_ids:
            return VMM, "the VMM did not enable KVM_CAP_ARM_WRITABLE_IMP_ID_REGS (--imp-ids)"
        taking = [name for name, other in others.items() if other.kernel.imp_ids]
        let = f"; {who_does(taking, others, 'lets', 'let')} a VMM set it" if taking else ""
        return KERNEL, f"{host.kernel.name} shows every guest the host's{let}"
    taking = [name for name, other in others.items() if not refusal(other, made.state.features, place, asked.value)]
    if taking:
        return KERNEL, f"{who_does(taking, others, 'takes', 'take')} it; {host.kernel.name} does not"
    hardware = host.hardware(place.encoding)
    if hardware is not None and place.get(hardware) == asked.value:
        return (
            KERNEL,
            f"the CPU of {host.name} has {place.text(asked.value)}, and KVM shows {place.text(asked.host)} to guests",
        )
    return SILICON, f"the CPU of {host.name} has {place.text(asked.host)}, the guest {place.text(asked.value)}"


def noticed(state: State, asked: Asked) -> tuple[str, str]:
    """The evidence in the guest's state, empty where there is none; and that in words, or why there is none."""
    use = USES.get((asked.place.register, asked.place.name)) if asked.place is not None else None
    if use is None:
        return "", _NO_USE
    data = state.registers.get(sysreg_id(use.encoding))
    if data is None:
        return "", f"not known whether it is in use: {use.register} not captured"
    if int.from_bytes(data, "little") & use.mask:
        return f"{use.called} is set", f"{use.called} is set"
    return "", f"not in use now: {use.called} is 0"


def words_for(made: Migration, asked: Asked) -> str:
    """QEMU's property (of the proposal) that gives the guest what the destination has; empty where there is none."""
    place, host = asked.place, made.host
    if place is None:
        if asked.value == 1:
            return f"{asked.name}=off"
        lengths = sve.lengths_bytes(made.state.vqs & ~host.sve_vqs)
        return ",".join(f"sve{8 * length}=off" for length in lengths)
    entry = properties().get(property_of(place))
    if entry is None or place.encoding in IDENTITY:
        return ""
    limits = {one.encoding: host.limit(one.encoding, made.state.features) for one in entry.places}
    return f"{entry.name}={text_in(entry, limits)}"


def remedied(made: Migration, *, abi: str = "merged", writable_imp: bool = False) -> tuple[list[Asked], Migration]:
    """The move of a guest that has at most what the destination has, and all that was taken from it.

    What a feature was in the way of comes up when it is off: the move is asked until nothing more can be taken.
    """
    taken: list[Asked] = []
    while found := [one for one in Asked.of(made) if one not in taken and words_for(made, one)]:
        taken += found
        made = migrate(_lowered(made), made.host, abi=abi, writable_imp=writable_imp)
    return taken, made


def _lowered(made: Migration) -> State:
    """The guest's state with the destination's value in every field that is in the way."""
    state, host = made.state, made.host
    features, vqs = state.features & host.features, state.vqs & host.sve_vqs
    registers = dict(state.registers)
    if SVE_VLS in registers:
        registers[SVE_VLS] = vqs.to_bytes(len(registers[SVE_VLS]), "little")
    for step in made.failures:
        if not is_id(step.register_id):
            continue
        encoding = RegisterId(step.register_id).encoding
        limit, value = host.limit(encoding, features), int.from_bytes(registers[step.register_id], "little")
        if encoding in IDENTITY:
            continue
        for field in step.fields:
            value = field.place.put(value, field.place.get(limit))
        # Fields of AArch32 have no property of their own: QEMU derives them.
        value = value if step.fields else limit
        registers[step.register_id] = value.to_bytes(8, "little")
    return state._replace(registers=registers, features=features, vqs=vqs)
