"""Instructions by name, for programs and for guests."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.events import Words, below, number, word
from inspector.machine.x86.cpu.images import with_xstate_bv
from inspector.machine.x86.cpu.instructions import control, tiles, vectors, xsave
from inspector.machine.x86.cpu.processor import Instruction
from inspector.machine.x86.world.events.words import msr

_TILE = bytes(at & 0xFF for at in range(1024))
_ZMM = bytes(range(1, 65))
_ALL = (1 << 64) - 1
Memory = bytes
Parser = Callable[[Words, Memory], Instruction]


def _ldtilecfg(words: Words, _: Memory) -> Instruction:
    if not words:
        return tiles.ldtilecfg
    # Palette 0 releases whatever follows it; another one than 1 makes it a configuration that is not valid.
    config = bytes([below(words[0], 256)]) + tiles.FULL_TILECFG[1:]
    return lambda cpu: tiles.ldtilecfg(cpu, config)


def _tile(make: Callable[..., Instruction]) -> Parser:
    return lambda words, _: make(below(words[0] if words else "0", tiles.TILES))


def _register(make: Callable[..., Instruction], count: int) -> Parser:
    return lambda words, _: make(below(word(words, 0, "a register"), count))


def _value(make: Callable[..., Instruction], default: Words = ()) -> Parser:
    return lambda words, _: make(number(word(words or default, 0, "a value")))


def _kmovq(words: Words, _: Memory) -> Instruction:
    register, value = below(word(words, 0, "a register"), 8), number(words[1]) if len(words) > 1 else _ALL
    return lambda cpu: vectors.kmovq(cpu, register, value)


def _saves(name: str) -> Parser:
    def parse(words: Words, memory: Memory) -> Instruction:
        mask = number(words[0]) if words else _ALL
        return lambda cpu: xsave.xsave(cpu, name, memory, mask)

    return parse


def _restores(name: str) -> Parser:
    def parse(words: Words, memory: Memory) -> Instruction:
        if not memory:
            raise ValueError("no image was saved; xsave comes first")
        mask = number(words[0]) if words else _ALL
        image = with_xstate_bv(memory, number(words[1])) if len(words) > 1 else memory
        return lambda cpu: xsave.xrstor(cpu, name, image, mask)

    return parse


def _plain(instruction: Instruction) -> Parser:
    return lambda _words, _memory: instruction


#: Instructions that run natively. Those that save give the image that the restoring ones take.
INSTRUCTIONS: dict[str, Parser] = {
    "xgetbv": _value(lambda index: lambda cpu: control.xgetbv(cpu, index), ("0",)),
    "ldtilecfg": _ldtilecfg,
    "sttilecfg": _plain(tiles.sttilecfg),
    "tilerelease": _plain(tiles.tilerelease),
    "tilezero": _tile(lambda tile: lambda cpu: tiles.tilezero(cpu, tile)),
    "tileloadd": _tile(lambda tile: lambda cpu: tiles.tileloadd(cpu, tile, _TILE)),
    "tilestored": _tile(lambda tile: lambda cpu: tiles.tilestored(cpu, tile)),
    "movdqu": _register(lambda register: lambda cpu: vectors.movdqu(cpu, register, _ZMM), 16),
    "vmovdqu": _register(lambda register: lambda cpu: vectors.vmovdqu(cpu, register, _ZMM), 16),
    "vmovdqu64": _register(lambda register: lambda cpu: vectors.vmovdqu64(cpu, register, _ZMM), 32),
    "kmovq": _kmovq,
    "wrpkru": _value(lambda value: lambda cpu: vectors.wrpkru(cpu, value)),
    "rdpkru": _plain(vectors.rdpkru),
    "rdssp": _plain(vectors.rdssp),
    "incssp": _value(lambda count: lambda cpu: vectors.incssp(cpu, count), ("1",)),
    "xsave": _saves("xsave"),
    "xsaveopt": _saves("xsaveopt"),
    "xsavec": _saves("xsavec"),
    "xsaves": _saves("xsaves"),
    "xrstor": _restores("xrstor"),
    "xrstors": _restores("xrstors"),
}
#: Instructions that an operating system's processor may intercept.
CONTROL = ("xsetbv", "wrmsr", "rdmsr")


def parse(words: Words, memory: Memory) -> Instruction:
    """An instruction from words. Raises ValueError."""
    name = word(words, 0, "an instruction")
    if name not in INSTRUCTIONS:
        raise ValueError(f"no instruction {name}; there are {', '.join((*INSTRUCTIONS, *CONTROL))}")
    return INSTRUCTIONS[name](words[1:], memory)


def native_control(words: Words) -> Instruction | None:
    """XSETBV, WRMSR, RDMSR as a program executes them: on the bare processor. None for others."""
    name, rest = word(words, 0, "an instruction"), words[1:]
    if name == "xsetbv":
        value = number(word(rest, 0, "a value"))
        return lambda cpu: control.xsetbv(cpu, 0, value)
    if name == "wrmsr":
        index, value = msr(word(rest, 0, "an MSR")), number(word(rest, 1, "a value"))
        return lambda cpu: control.wrmsr(cpu, index, value)
    if name == "rdmsr":
        index = msr(word(rest, 0, "an MSR"))
        return lambda cpu: control.rdmsr(cpu, index)
    return None
