"""What the guest does: its vCPU runs, executes one instruction, and stays in KVM_RUN or leaves it as it may."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.arm64 import instructions
from inspector.machine.arm64.host import EL1_32BIT
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.world.stage import Stage
from inspector.machine.arm64.world.words import register
from inspector.machine.events import Words, number, word
from inspector.machine.outcome import Outcome


def happen(stage: Stage, words: Words) -> Outcome:
    """An instruction of the guest's kernel. Raises ValueError for one that is none."""
    vcpu = stage.vcpu()
    name = word(words, 0, "an instruction")
    if name not in INSTRUCTIONS:
        raise ValueError(f"no instruction {name}; there are {', '.join(INSTRUCTIONS)}")
    if vcpu.features & EL1_32BIT:
        raise ValueError("the vCPU is in AArch32, which has none of these instructions")
    entered = vcpu.enter()
    return INSTRUCTIONS[name](vcpu, words[1:]) if entered.accepted else entered


def _encoding(words: Words) -> int:
    found, _ = register(word(words, 0, "a system register"))
    if not found.is_sysreg:
        raise ValueError(f"{words[0]} is no system register")
    return found.encoding


def _mrs(vcpu: Vcpu, words: Words) -> Outcome:
    return instructions.mrs(vcpu, _encoding(words))


def _msr(vcpu: Vcpu, words: Words) -> Outcome:
    return instructions.msr(vcpu, _encoding(words), number(word(words, 1, "a value")))


INSTRUCTIONS: dict[str, Callable[[Vcpu, Words], Outcome]] = {
    "mrs": _mrs,
    "msr": _msr,
    "fadd": lambda vcpu, _: instructions.fpsimd(vcpu),
    "rdvl": lambda vcpu, _: instructions.sve(vcpu),
    "smstart": lambda vcpu, _: instructions.sme(vcpu),
    "pacia": lambda vcpu, _: instructions.pointer_authentication(vcpu),
}
