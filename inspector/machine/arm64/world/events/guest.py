"""What the guest does: its vCPU runs, executes one instruction, and stays in KVM_RUN or leaves it as it may."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.arm64 import instructions, vectors
from inspector.machine.arm64.host import EL1_32BIT
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.world.stage import Stage
from inspector.machine.arm64.world.words import register
from inspector.machine.events import Words, digits, number, word
from inspector.machine.outcome import Outcome

_Z_LAST, _P_LAST = 31, 15


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


def _element(words: Words, letter: str) -> tuple[str, str]:
    """A vector or predicate with its elements: ``z5.b``. Raises ValueError."""
    name, _, element = word(words, 0, f"a register with its elements, as {letter}1.b").lower().partition(".")
    last, at = _Z_LAST if letter == "z" else _P_LAST, digits(name[1:])
    if name[:1] != letter or not 0 <= at <= last or element not in vectors.ELEMENT_BYTES:
        raise ValueError(f"no register {words[0]}; {letter}0.b to {letter}{last}.b, and .h, .s, .d")
    return f"{letter}{at}", element


def _index(vcpu: Vcpu, words: Words) -> Outcome:
    """Register, first element, step."""
    name, element = _element(words, "z")
    return vectors.index(
        vcpu, name, element, number(word(words, 1, "the first element")), number(word(words, 2, "a step"))
    )


def _ptrue(vcpu: Vcpu, words: Words) -> Outcome:
    """Register, and a pattern as vl8, pow2, mul3; else all."""
    name, element = _element(words, "p")
    pattern = words[1].lower() if len(words) > 1 else "all"
    vectors.pattern_count(pattern, 1)
    return vectors.ptrue(vcpu, name, element, pattern)


INSTRUCTIONS: dict[str, Callable[[Vcpu, Words], Outcome]] = {
    "mrs": _mrs,
    "msr": _msr,
    "fadd": lambda vcpu, _: instructions.fpsimd(vcpu),
    "index": _index,
    "ptrue": _ptrue,
    "rdvl": lambda vcpu, _: instructions.sve(vcpu),
    "smstart": lambda vcpu, _: instructions.sme(vcpu),
    "pacia": lambda vcpu, _: instructions.pointer_authentication(vcpu),
}
