"""Steps that are one instruction: what it is, with its operands in memory as the recorder had them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inspector.decode.header import with_xcomp_bv, with_xstate_bv
from inspector.machine.outcome import UD, MemoryFaultError, Outcome, Rule
from inspector.machine.x86.cpu.instructions import control, tiles, vectors, x87, xsave
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.processor import Instruction, Processor
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR
from inspector.machine.x86.replay.programs import addresses, digest
from inspector.machine.x86.replay.programs.addresses import DATA, IMAGE, OPERAND, STORED, STORED_CONFIG
from layouts.light import partial
from layouts.x86.xsave import (
    EXTENDED_OFFSET,
    HEADER_OFFSET,
    HEADER_SIZE_BYTES,
    INITIAL_VALUES,
    LEGACY_AT,
    LEGACY_SIZE_BYTES,
)

Words = list[Any]
Parser = Callable[[Memory, Words], Instruction]
Move = Callable[[Processor, int, bytes], Outcome]
_X87 = (
    *("fninit", "emms", "fnop", "fwait", "fnclex", "fld1", "fldz", "fincstp", "fdecstp"),
    *("ffree %st(0)", "fstp %st(0)", "fdivrp %st,%st(1)"),
)
_EMPTY = LEGACY_AT["mxcsr"].put(bytes(addresses.IMAGE_SIZE_BYTES), INITIAL_MXCSR)

#: How many registers an instruction can name.
_ZMMS, _VECTORS, _MASKS, _MMXS = 32, 16, 8, 8


def _bytes(first: int, count: int, step: int = 1) -> bytes:
    return bytes((first + step * at) & 0xFF for at in range(count))


def _signed(stride: int) -> int:
    return stride - (1 << 64) if stride >> 63 and stride > 0 else stride


def _ldtilecfg(_: Memory, words: Words) -> Instruction:
    config = bytes.fromhex(words[0])
    return lambda cpu: tiles.ldtilecfg(cpu, config)


def _ldtilecfg_at(memory: Memory, words: Words) -> Instruction:
    address = addresses.address_of(words[0])
    addresses.prepare(memory, words[0], tiles.FULL_TILECFG)
    return lambda cpu: tiles.ldtilecfg_from(cpu, lambda size: memory.read(address, size))


def _sttilecfg(memory: Memory, words: Words) -> Instruction:
    address = addresses.address_of(words[0]) if words else STORED_CONFIG
    return lambda cpu: tiles.sttilecfg(cpu, lambda config: memory.write(address, config))


def _tileloadd(memory: Memory, words: Words) -> Instruction:
    tile, first, stride = words
    memory.write(DATA, _bytes(first, 1024, 3))
    return _load(memory, tile, DATA, stride)


def _tileloadd_zero(memory: Memory, words: Words) -> Instruction:
    memory.write(DATA, bytes(1024))
    return _load(memory, words[0] if words else 0, DATA, 64)


def _tileloadd_at(memory: Memory, words: Words) -> Instruction:
    tile, label, stride = words
    addresses.prepare(memory, label, tiles.FULL_TILECFG)
    return _load(memory, tile, addresses.address_of(label), stride)


def _load(memory: Memory, tile: int, base: int, stride: int) -> Instruction:
    stride = _signed(stride)
    return lambda cpu: tiles.tileloadd(cpu, tile, lambda row, size: memory.read(base + stride * row, size))


def _tilestored(memory: Memory, words: Words) -> Instruction:
    tile, stride = words
    memory.write(STORED, b"\xcc" * 1024)
    return _store(memory, tile, STORED, stride)


def _tilestored_at(memory: Memory, words: Words) -> Instruction:
    tile, label, stride = words
    addresses.prepare(memory, label, tiles.FULL_TILECFG)
    return _store(memory, tile, addresses.address_of(label), stride)


def _store(memory: Memory, tile: int, base: int, stride: int) -> Instruction:
    stride = _signed(stride)
    return lambda cpu: tiles.tilestored(cpu, tile, lambda row, data: memory.write(base + stride * row, data))


def _tilezero(_: Memory, words: Words) -> Instruction:
    tile = words[0]
    return lambda cpu: tiles.tilezero(cpu, tile)


def _product(name: str, _: Memory, words: Words) -> Instruction:
    return lambda cpu: tiles.tile_product(cpu, name, tuple(words))


def _save(name: str, memory: Memory, words: Words) -> Instruction:
    mask, address = int(words[0], 16), IMAGE
    if len(words) == 4:
        fill, bv, xcomp = (int(word, 16) for word in words[1:])
        image = with_xcomp_bv(with_xstate_bv(bytes([fill]) * EXTENDED_OFFSET, bv), xcomp, clear=True)
        memory.write(IMAGE, image.ljust(addresses.IMAGE_SIZE_BYTES, bytes([fill])))
    elif len(words) == 2:
        address = addresses.address_of(words[1])
    return lambda cpu: xsave.xsave_at(cpu, name, memory, address, mask)


def _save_header(name: str, memory: Memory, words: Words) -> Instruction:
    memory.write(IMAGE, b"\xcc" * addresses.IMAGE_SIZE_BYTES)
    return lambda cpu: xsave.xsave_at(cpu, name, memory, IMAGE, int(words[0], 16))


def _restore(name: str, memory: Memory, words: Words) -> Instruction:
    address = IMAGE
    if len(words) > 1:
        # The recorder cleared its buffer before it named an address.
        memory.write(IMAGE, bytes(addresses.IMAGE_SIZE_BYTES))
        address = addresses.address_of(words[1])
    return lambda cpu: xsave.xrstor_at(cpu, name, memory, address, int(words[0], 16))


def _xrstor(memory: Memory, image: bytes, mask: int, address: int = IMAGE) -> Instruction:
    memory.write(address, image)
    return lambda cpu: xsave.xrstor_at(cpu, "xrstor", memory, address, mask)


def _xrstor_img(memory: Memory, words: Words) -> Instruction:
    mask, xcomp, bv = (int(word, 16) for word in words[:3])
    image = digest.good_image(xcomp, bv)
    for offset, size, keep, add in words[3]:
        image = digest.changed(image, offset, size, int(keep, 16), int(add, 16))
    return _xrstor(memory, image, mask)


def _xrstor_img_at(memory: Memory, words: Words) -> Instruction:
    mask, xcomp, bv = (int(word, 16) for word in words[:3])
    mapped = words[3]
    return _xrstor(memory, digest.good_image(xcomp, bv)[:mapped], mask, addresses.GUARD - mapped)


def _xrstor_initial(mask: int, memory: Memory, _: Words) -> Instruction:
    return _xrstor(memory, _EMPTY, mask)


def _xrstor_zero(memory: Memory, words: Words) -> Instruction:
    mask = int(words[0], 16)
    image = with_xstate_bv(LEGACY_AT["fcw"].put(_EMPTY, INITIAL_VALUES["fcw"]), mask)
    return _xrstor(memory, image, mask)


def _register(words: Words, count: int) -> int:
    """The register that a step names. Raises ValueError for one that no instruction can name."""
    number = int(words[0])
    if not 0 <= number < count:
        raise ValueError(f"register {number} of {count}")
    return number


def _vector(move: Move, size: int, registers: int, memory: Memory, words: Words) -> Instruction:
    register, data = _register(words, registers), _bytes(words[1], 64)
    memory.write(OPERAND, data)
    return lambda cpu: move(cpu, register, data[:size])


def _zero(move: Move, size: int, registers: int, _: Memory, words: Words) -> Instruction:
    register = _register(words, registers)
    return lambda cpu: move(cpu, register, bytes(size))


def _kmovq(_: Memory, words: Words) -> Instruction:
    register = _register(words, _MASKS)
    return lambda cpu: vectors.kmovq(cpu, register, int(words[1], 16))


def _kxorq(_: Memory, words: Words) -> Instruction:
    register = _register(words, _MASKS)
    return lambda cpu: vectors.kmovq(cpu, register, 0)


def _wrpkru(_: Memory, words: Words) -> Instruction:
    return lambda cpu: vectors.wrpkru(cpu, int(words[0], 16), any(words[1:]))


def _stmxcsr(memory: Memory, _: Words) -> Instruction:
    def store(cpu: Processor) -> Outcome:
        memory.write(OPERAND, cpu.registers.mxcsr.to_bytes(4, "little"))
        return Rule("Intel SDM vol. 2, STMXCSR", cpu.host.evidence).ok()

    return store


def _xsave_x87(memory: Memory, _: Words) -> Instruction:
    return lambda cpu: xsave.xsave_at(cpu, "xsave", memory, IMAGE, 1)


def _simple(name: str, _memory: Memory, _words: Words) -> Instruction:
    return lambda cpu: x87.simple(cpu, name)


def _fxrstor(memory: Memory, words: Words) -> Instruction:
    image = digest.good_image(0, 0)
    for offset, size, value in words[0]:
        image = digest.changed(image, offset, size, 0, int(value, 16))
    memory.write(IMAGE, image)
    return lambda cpu: x87.fxrstor(cpu, image[:LEGACY_SIZE_BYTES])


def _fxsave(memory: Memory, _: Words) -> Instruction:
    memory.write(IMAGE, b"\xcc" * addresses.IMAGE_SIZE_BYTES)

    def save(cpu: Processor) -> Outcome:
        outcome = x87.fxsave(cpu, memory.read(IMAGE, LEGACY_SIZE_BYTES))
        memory.write(IMAGE, outcome.image)
        return outcome

    return save


def _load_from(label: str, memory: Memory, _: Words) -> Instruction:
    def load(_cpu: Processor) -> Outcome:
        rule = Rule("Intel SDM vol. 2, MOV", "manual")
        try:
            memory.read(addresses.address_of(label), 8)
        except MemoryFaultError as fault:
            return rule.fault_at(fault)
        return rule.ok()

    return load


def _ud2(_: Memory, _words: Words) -> Instruction:
    def undefined(_cpu: Processor) -> Outcome:
        rule = Rule("Intel SDM vol. 2, UD2", "manual")
        rule.check("an instruction", held=False)
        return rule.fault(UD)

    return undefined


def _plain(instruction: Instruction, _memory: Memory, _words: Words) -> Instruction:
    return instruction


INSTRUCTIONS: dict[str, Parser] = {
    "ldtilecfg": _ldtilecfg,
    "ldtilecfg_at": _ldtilecfg_at,
    "sttilecfg": _sttilecfg,
    "sttilecfg_at": _sttilecfg,
    "tilerelease": partial(_plain, tiles.tilerelease),
    "tilezero": _tilezero,
    "tileloadd": _tileloadd,
    "tileloaddt1": _tileloadd,
    "tileloadd_zero": _tileloadd_zero,
    "tileloadd_at": _tileloadd_at,
    "tileloaddt1_at": _tileloadd_at,
    "tilestored": _tilestored,
    "tilestored_at": _tilestored_at,
    **{name: partial(_product, name) for name in ("tdpbssd", "tdpbsud", "tdpbusd", "tdpbuud", "tdpbf16ps")},
    **{name: partial(_save, name) for name in ("xsave", "xsavec", "xsaveopt", "xsaves")},
    **{f"{name}_hdr": partial(_save_header, name) for name in ("xsave", "xsavec", "xsaveopt")},
    "xrstor": partial(_restore, "xrstor"),
    "xrstors": partial(_restore, "xrstors"),
    "xrstor_img": _xrstor_img,
    "xrstor_img_at": _xrstor_img_at,
    "xrstor_init": partial(_xrstor_initial, 0xE7),
    "xrstor_init_pkru": partial(_xrstor_initial, 0x200),
    "xrstor_zero": _xrstor_zero,
    "load_zmm": partial(_vector, vectors.vmovdqu64, 64, _ZMMS),
    "load_ymm": partial(_vector, vectors.vmovdqu, 32, _VECTORS),
    "load_vxmm": partial(_vector, vectors.vmovdqu, 16, _VECTORS),
    "load_xmm": partial(_vector, vectors.movdqu, 16, _VECTORS),
    "zero_zmm": partial(_zero, vectors.vmovdqu64, 64, _ZMMS),
    "zero_evymm": partial(_zero, vectors.vmovdqu64, 32, _ZMMS),
    "zero_evxmm": partial(_zero, vectors.vmovdqu64, 16, _ZMMS),
    "zero_ymm": partial(_zero, vectors.vmovdqu, 32, _VECTORS),
    "zero_vxmm": partial(_zero, vectors.vmovdqu, 16, _VECTORS),
    "zero_xmm": partial(_zero, vectors.movdqu, 16, _VECTORS),
    "vzeroupper": partial(_plain, vectors.vzeroupper),
    "vzeroall": partial(_plain, vectors.vzeroall),
    "kmovq": _kmovq,
    "kxorq": _kxorq,
    "ldmxcsr": lambda _, words: lambda cpu: vectors.ldmxcsr(cpu, int(words[0], 16)),
    "stmxcsr": _stmxcsr,
    "stmxcsr -64(%rsp)": _stmxcsr,
    "wrpkru": _wrpkru,
    "rdpkru": partial(_plain, vectors.rdpkru),
    "xgetbv": lambda _, words: lambda cpu: control.xgetbv(cpu, words[0]),
    **{name: partial(_simple, name) for name in _X87},
    "fldcw": lambda _, words: lambda cpu: x87.fldcw(cpu, int(words[0], 16)),
    "movq_mm": partial(_vector, x87.movq_mm, 8, _MMXS),
    "fxrstor": _fxrstor,
    "fxsave": _fxsave,
    "xsave_x87": _xsave_x87,
    "divps %xmm1,%xmm0": partial(_plain, lambda cpu: x87.divps(cpu, 4)),
    "ud2": _ud2,
    "load_unmapped": partial(_load_from, "unmapped"),
    "load_noncanonical": partial(_load_from, "noncanonical"),
}
#: Instructions whose value is the step's result.
READS = ("xgetbv", "rdpkru")
#: Steps that show memory: where, and how many bytes.
SHOWN = {
    "sttilecfg_bytes": (STORED_CONFIG, 64),
    "mxcsr": (OPERAND, 4),
    "header": (IMAGE + HEADER_OFFSET, HEADER_SIZE_BYTES),
    "fxsave_mmx": (IMAGE, 32),
}
DIGESTED = {
    "stored": (STORED, 1024),
    "mem_before_guard": (addresses.GUARD - 1024, 1024),
    "sw416": (IMAGE + LEGACY_AT["xmm"].end, LEGACY_SIZE_BYTES - LEGACY_AT["xmm"].end),
    "fxsave_image": (IMAGE, LEGACY_SIZE_BYTES),
}
