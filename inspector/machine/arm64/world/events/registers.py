"""KVM_GET_ONE_REG and KVM_SET_ONE_REG: of one register, and of all that a VMM saves and restores."""

from __future__ import annotations

from inspector.machine.arm64 import proposal
from inspector.machine.arm64.instructions import is_known
from inspector.machine.arm64.sve import VLS_SIZE_BYTES
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.world import unknown
from inspector.machine.arm64.world.events.kvm import lengths
from inspector.machine.arm64.world.stage import Saved, Stage, names_state
from inspector.machine.arm64.world.words import name_of, register, value_bytes
from inspector.machine.events import Words, number, word
from inspector.machine.outcome import Outcome, Rule
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import SVE_VLS, RegisterId
from layouts.vocabulary import Bits

_ALL = "all"
_SHOWN_DIGITS, _WORD_BYTES = 18, 8
_VMM = "kvm_arch_put_registers (QEMU target/arm/kvm.c)"


def get(stage: Stage, words: Words) -> Outcome:
    """A register, a field of an ID register, or ``all``: the VMM saves what the list has."""
    text = word(words, 0, "a register")
    if text == _ALL:
        return _save(stage)
    register_id, field = _named(stage, text)
    outcome = stage.vcpu().get(register_id)
    if not outcome.accepted:
        return outcome
    if not is_known(stage.vcpu(), register_id):
        rule = Rule(outcome.source)
        rule.checks += outcome.checks
        return rule.depends("a value that no rule knows")
    value = int.from_bytes(outcome.image, "little")
    if register_id == SVE_VLS:
        stage.saved.vqs = value
    if field is not None:
        return outcome._replace(value=field.get(value), image=b"")
    if register_id == SVE_VLS or len(outcome.image) <= _WORD_BYTES:
        return outcome._replace(value=value, image=b"")
    return outcome._replace(value=0)


def put(stage: Stage, words: Words) -> Outcome:
    """A register and its value, a field of an ID register, vector lengths, or all that was ``saved``."""
    text = word(words, 0, "a register")
    if names_state(text):
        return _restore(stage, stage.state_to_put(text))
    vcpu = stage.vcpu()
    register_id, field = _named(stage, text)
    if text.endswith("SVE_VLS"):
        return vcpu.set(register_id, lengths(stage, words[1:]).to_bytes(VLS_SIZE_BYTES, "little"))
    value = word(words, 1, "a value")
    if names_state(value):
        data = stage.state_to_put(value).registers.get(register_id)
        if data is None:
            raise ValueError(f"{text} was not {value}")
        return _write(vcpu, register_id, data)
    if field is None:
        return _write(vcpu, register_id, value_bytes(value, RegisterId(register_id).size_bytes))
    current = vcpu.get(register_id)
    if not current.accepted:
        return current
    wanted = field.put(int.from_bytes(current.image, "little"), number(value, field.width))
    return _write(vcpu, register_id, wanted.to_bytes(_WORD_BYTES, "little"), field)


def _write(vcpu: Vcpu, register_id: int, data: bytes, only: Bits | None = None) -> Outcome:
    """KVM_SET_ONE_REG; of a host that is known in part what the answer hangs on."""
    hangs_on = unknown.of_write(vcpu, register_id, int.from_bytes(data, "little"), only)
    return unknown.told(vcpu.set(register_id, data), hangs_on)


def _named(stage: Stage, text: str) -> tuple[int, Bits | None]:
    """The id that a register has in the interface, and the field that is meant. Raises ValueError."""
    register_id, name = register(text)
    field = None
    if name:
        try:
            field = id_register(name_of(register_id)).field(name)
        except KeyError:
            raise ValueError(f"no field {text}") from None
    is_number = text.startswith("0x")
    return (proposal.as_proposed(register_id) if stage.abi == "proposal" and not is_number else register_id), field


def _save(stage: Stage) -> Outcome:
    """KVM_GET_REG_LIST, and KVM_GET_ONE_REG of each; the value is how many were saved."""
    vcpu, saved = stage.vcpu(), Saved()
    listed = vcpu.reg_list()
    if not listed.accepted:
        return listed
    rule = Rule("kvm_arch_get_registers (QEMU target/arm/kvm.c)")
    rule.checks += listed.checks
    ids = [int.from_bytes(listed.image[at : at + 8], "little") for at in range(0, len(listed.image), 8)]
    answers = {register_id: vcpu.get(register_id) for register_id in ids}
    known = {one: answer for one, answer in answers.items() if answer.accepted and is_known(vcpu, one)}
    saved.registers = {register_id: answer.image for register_id, answer in known.items()}
    if len(known) < len(ids):
        rule.check(f"{len(ids) - len(known)} more hold values that no rule knows: they are left out", held=True)
    saved.features = vcpu.features
    lengths_saved = saved.registers.get(SVE_VLS)
    saved.vqs = int.from_bytes(lengths_saved, "little") if lengths_saved is not None else stage.saved.vqs
    stage.saved = saved
    return rule.ok(len(saved.registers))


def _restore(stage: Stage, state: Saved) -> Outcome:
    """KVM_SET_ONE_REG of each saved register by id, vector lengths left out. All are tried, as QEMU does."""
    vcpu, rule = stage.vcpu(), Rule(_VMM)
    wanted = {one: data for one, data in sorted(state.registers.items()) if one != SVE_VLS}
    open_ones = (unknown.of_write(vcpu, one, int.from_bytes(data, "little")) for one, data in wanted.items())
    hangs_on = [text for text in open_ones if text]
    refused = [
        _told(vcpu, register_id, data, outcome)
        for register_id, data in wanted.items()
        if not (outcome := vcpu.set(register_id, data)).accepted
    ]
    if not refused:
        return unknown.told(rule.ok(len(wanted)), _together(hangs_on))
    for text in refused[1:]:
        rule.check(text, held=False)
    rule.check(refused[0], held=False)
    return rule.short(len(wanted) - len(refused), len(wanted))


def _together(hangs_on: list[str]) -> str:
    """What an answer hangs on: the first field, and how many more there are."""
    if not hangs_on:
        return ""
    first, *more = hangs_on
    return f"{first} and {len(more)} field{'s' if len(more) > 1 else ''} more" if more else first


def _told(vcpu: Vcpu, register_id: int, data: bytes, outcome: Outcome) -> str:
    """A refused call in words."""
    value = f"{int.from_bytes(data, 'little'):#x}"
    shown = value if len(value) <= _SHOWN_DIGITS else f"{len(data)} bytes"
    host = vcpu.get(register_id)
    has = f", the register has {host.value:#x}" if host.accepted and len(value) <= _SHOWN_DIGITS else ""
    return f"KVM_SET_ONE_REG {name_of(register_id)} {shown}{has}: {outcome}"
