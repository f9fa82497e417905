"""Vector, mask and key registers: which bytes are written, when it is #UD (Intel SDM vol. 2; vol. 1, 13.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import vectors
from inspector.machine.x86.cpu.instructions.control import MSR_S_CET, MSR_U_CET
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87, EmulatedRegisters, Registers, initial
from layouts.x86.xsave import AVX, CET_U, HI16_ZMM, OPMASK, PKRU, SSE, TILECFG, TILEDATA, X87, ZMM_HI256

from .using_processor import IBT, SHSTK, processor, silicon, told

DATA = bytes(range(1, 65))
ALL_ONES = (1 << 64) - 1


def written(cpu: Processor) -> dict[int, bytes]:
    """Components that are in use, without what is zero behind the last byte that is not."""
    return {number: data.rstrip(b"\0") for number, data in cpu.registers.components.items()}


@pytest.mark.parametrize(
    ("name", "register", "data", "expected"),
    [
        ("movdqu", 0, DATA, {SSE: DATA[:16]}),
        ("movdqu", 15, DATA, {SSE: bytes(240) + DATA[:16]}),
        ("vmovdqu", 2, DATA, {SSE: bytes(32) + DATA[:16], AVX: bytes(32) + DATA[16:32]}),
        ("vmovdqu", 2, DATA[:16], {SSE: bytes(32) + DATA[:16]}),
        ("vmovdqu64", 3, DATA[:16], {SSE: bytes(48) + DATA[:16]}),
        ("vmovdqu64", 3, DATA[:17], {SSE: bytes(48) + DATA[:16], AVX: bytes(48) + DATA[16:17]}),
        ("vmovdqu64", 3, DATA[:32], {SSE: bytes(48) + DATA[:16], AVX: bytes(48) + DATA[16:32]}),
        (
            "vmovdqu64", 15, DATA,
            {SSE: bytes(240) + DATA[:16], AVX: bytes(240) + DATA[16:32], ZMM_HI256: bytes(480) + DATA[32:]},
        ),
        ("vmovdqu64", 16, DATA, {HI16_ZMM: DATA}),
        ("vmovdqu64", 31, DATA, {HI16_ZMM: bytes(960) + DATA}),
        ("vmovdqu64", 17, DATA[:16], {HI16_ZMM: bytes(64) + DATA[:16]}),
    ],
)  # fmt: skip
def test_which_bytes_a_move_writes(name: str, register: int, data: bytes, expected: dict[int, bytes]) -> None:
    cpu = silicon()
    assert getattr(vectors, name)(cpu, register, data).accepted
    assert written(cpu) == expected
    assert all(len(data) == len(initial(number)) for number, data in cpu.registers.components.items())


@pytest.mark.parametrize(("size", "kept"), [(16, 16), (32, 32), (64, 64)])
def test_what_lies_behind_a_short_move(size: int, kept: int) -> None:
    """VEX and EVEX writes zero the rest of the register, where it is in use; MOVDQU leaves it."""
    cpu = silicon()
    for register in (4, 5):
        vectors.vmovdqu64(cpu, register, b"\xff" * 64)
    vectors.vmovdqu64(cpu, 4, DATA[:size])
    found = cpu.registers
    halves = found.get(SSE)[64:80] + found.get(AVX)[64:80] + found.get(ZMM_HI256)[128:160]
    assert halves == DATA[:kept] + bytes(64 - kept)
    assert found.get(ZMM_HI256)[160:192] == b"\xff" * 32
    vectors.vmovdqu64(cpu, 16, b"\xff" * 64)
    vectors.vmovdqu64(cpu, 16, DATA[:size])
    assert found.get(HI16_ZMM)[:64] == DATA[:size] + bytes(64 - size)
    vectors.movdqu(cpu, 5, bytes(16))
    assert found.get(AVX)[80:96] == b"\xff" * 16


AVX_STATE, AVX512_STATE = 0x6, 0xE6
NEEDS: dict[str, tuple[int, Callable[[Processor], Outcome]]] = {
    "movdqu": (0, lambda cpu: vectors.movdqu(cpu, 0, DATA)),
    "ldmxcsr": (0, lambda cpu: vectors.ldmxcsr(cpu, 0)),
    "vmovdqu": (AVX_STATE, lambda cpu: vectors.vmovdqu(cpu, 0, DATA)),
    "vzeroupper": (AVX_STATE, vectors.vzeroupper),
    "vzeroall": (AVX_STATE, vectors.vzeroall),
    "vmovdqu64": (AVX512_STATE, lambda cpu: vectors.vmovdqu64(cpu, 0, DATA)),
    "kmovq": (AVX512_STATE, lambda cpu: vectors.kmovq(cpu, 0, 1)),
}


@pytest.mark.parametrize("name", list(NEEDS))
def test_what_must_be_on(name: str) -> None:
    """CR4.OSXSAVE and the bits of XCR0; all others do not matter."""
    needed, instruction = NEEDS[name]
    cpu = silicon()
    cpu.xcr0 = 1 | needed
    assert told(instruction(cpu)) == "ok"
    for bit in (2, 4, 0x20, 0x40, 0x80):
        cpu.xcr0 = 0x602E7 & ~bit
        before = cpu.registers.copy().components
        outcome = instruction(cpu)
        assert outcome.name == ("#UD" if needed & bit else "ok")
        assert outcome.accepted or cpu.registers.components == before
    cpu.xcr0, cpu.cr4_osxsave = 0x602E7, False
    assert instruction(cpu).name == ("#UD" if needed else "ok")
    assert instruction(cpu).evidence == "silicon"
    assert instruction(cpu).source.startswith("Intel SDM vol. 2")


def test_zeroing() -> None:
    """VZEROUPPER makes YMM and ZMM above XMM initial, VZEROALL XMM too; ZMM16 to 31, masks and MXCSR stay."""
    cpu = silicon()
    vectors.vmovdqu64(cpu, 1, DATA)
    vectors.vmovdqu64(cpu, 16, DATA)
    vectors.kmovq(cpu, 1, 1)
    vectors.ldmxcsr(cpu, 0x1FA0)
    assert vectors.vzeroupper(cpu).accepted
    assert set(cpu.registers.components) == {SSE, HI16_ZMM, OPMASK}
    assert vectors.vzeroall(cpu).accepted
    assert (set(cpu.registers.components), cpu.registers.mxcsr) == ({HI16_ZMM, OPMASK}, 0x1FA0)
    assert vectors.vzeroall(cpu).accepted


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "ok"), (0x1F80, "ok"), (0xFFFF, "ok"), (1 << 16, "#GP"), (1 << 31, "#GP")]
)
def test_ldmxcsr(value: int, expected: str) -> None:
    cpu = silicon()
    assert vectors.ldmxcsr(cpu, value).name == expected
    in_use = {SSE: bytes(256)} if expected == "ok" else {}
    assert (cpu.registers.mxcsr, cpu.registers.components) == (value if in_use else INITIAL_MXCSR, in_use)


def test_mask_registers() -> None:
    cpu = silicon()
    assert vectors.kmovq(cpu, 0, 1 << 63).accepted
    assert vectors.kmovq(cpu, 7, 0x0102030405060708).accepted
    assert cpu.registers.get(OPMASK) == (1 << 63).to_bytes(8, "little") + bytes(48) + bytes([8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize(
    ("value", "high", "expected"),
    [(0, 0, "ok"), ((1 << 32) - 1, 0, "ok"), (1 << 32, 0, "#GP"), (0, 1, "#GP"), (0, 1 << 31, "#GP")],
)
def test_protection_keys(value: int, high: int, expected: str) -> None:
    """CR4.PKE alone; XCR0[9] does not matter. RDPKRU reads the four bytes of the register."""
    cpu = silicon()
    cpu.xcr0 = 1
    assert vectors.wrpkru(cpu, value, high).name == expected
    assert cpu.registers.components == ({PKRU: value.to_bytes(8, "little")} if expected == "ok" else {})
    assert vectors.rdpkru(cpu).value == (value if expected == "ok" else 0)
    cpu.registers.components[PKRU] = b"\1\2\3\4\xff\xff\xff\xff"
    assert vectors.rdpkru(cpu).value == 0x04030201
    assert vectors.wrpkru(cpu, 5).accepted
    cpu.cr4_pke = False
    for outcome in (vectors.wrpkru(cpu, value, high), vectors.rdpkru(cpu)):
        assert (told(outcome), outcome.evidence) == ("#UD: CR4.PKE is set", "silicon")
        assert outcome.source.startswith("Intel SDM vol. 2, ")


@pytest.mark.parametrize("user", [True, False])
def test_shadow_stack_pointers(user: bool) -> None:
    """SH_STK_EN of U_CET at CPL 3, of S_CET else; RDSSPQ without it is a NOP, INCSSPQ #UD."""
    cpu = processor(SHSTK, IBT)
    mine, other = (MSR_U_CET, MSR_S_CET) if user else (MSR_S_CET, MSR_U_CET)
    cpu.user = user

    def turn(cr4: bool, on: int, of_the_other: int) -> None:
        cpu.cr4_cet = cr4
        for index, value in ((mine, on), (other, of_the_other)):
            if index == MSR_U_CET:
                cpu.registers.write(CET_U, 0, value.to_bytes(8, "little"))
            else:
                cpu.msrs[index] = value

    cpu.registers.write(CET_U, 8, (0x1000).to_bytes(8, "little"))
    for cr4, on, of_the_other in ((True, 0, 1), (False, 1, 1), (True, 2, 3), (False, 0, 0)):
        turn(cr4, on, of_the_other)
        assert (told(vectors.rdssp(cpu)), vectors.rdssp(cpu).value) == ("ok", 0)
        assert told(vectors.incssp(cpu, 1)) == "#UD: CR4.CET is set and the mode's SH_STK_EN"
    turn(True, 1, 0)
    for count, pointer in ((1, 0x1008), (255, 0x1800), (256, 0x1800), (257, 0x1808)):
        assert (vectors.incssp(cpu, count).value, vectors.rdssp(cpu).value) == (pointer, pointer)
    assert {vectors.rdssp(cpu).evidence, vectors.incssp(cpu, 0).evidence} == {"manual"}
    cpu.registers.write(CET_U, 8, ALL_ONES.to_bytes(8, "little"))
    assert (vectors.incssp(cpu, 2).value, vectors.rdssp(cpu).value) == (15, 15)
    assert len(cpu.registers.get(CET_U)) == 16


# What is in use


def test_registers_keep_what_was_written() -> None:
    """Silicon: what was written is in use, whatever it is; MXCSR is SSE's."""
    registers = Registers()
    assert (registers.in_use, registers.changed, registers.get(X87), registers.get(AVX)) == (
        0,
        0,
        INITIAL_X87,
        bytes(256),
    )
    registers.write(AVX, 8, b"\0")
    registers.write(X87, 0, b"\1")
    assert (registers.in_use, registers.changed) == (1 << AVX | 1, 1)
    assert registers.get(X87) == b"\1" + INITIAL_X87[1:]
    registers.mxcsr = 0
    assert (registers.in_use, registers.changed) == (1 << AVX | 3, 3)
    copy = registers.copy()
    assert (copy.components, copy.mxcsr) == (registers.components, 0)
    copy.clear(X87)
    assert (copy.in_use, registers.in_use, copy.mxcsr) == (1 << AVX | 2, 1 << AVX | 3, 0)
    copy.clear(SSE, AVX)
    assert (copy.in_use, copy.mxcsr) == (0, INITIAL_MXCSR)
    for mask, in_use, mxcsr in (
        (1, 1, INITIAL_MXCSR),
        (2, 2, 0),
        (4, 4, INITIAL_MXCSR),
        (6, 6, 0),
        (8, 0, INITIAL_MXCSR),
    ):
        within = registers.within(mask)
        assert (within.in_use, within.mxcsr) == (in_use, mxcsr)


def test_the_emulator_tracks_contents_and_tiles() -> None:
    registers = EmulatedRegisters(mxcsr=0)
    assert (registers.in_use, registers.used_tiles, registers.mxcsr) == (1 << SSE, 0, 0)
    registers.write(AVX, 0, b"\0")
    assert registers.in_use == 1 << SSE
    registers.write_tile(1, bytes(1024))
    registers.write_tile(2, b"\1" * 1024)
    assert (registers.in_use, registers.used_tiles) == (1 << SSE | 1 << TILEDATA, 6)
    assert registers.within(~0).used_tiles == 6
    assert registers.within(1 << SSE).used_tiles == 0
    registers.clear(TILECFG)
    registers.zero_tile(2)
    assert (registers.used_tiles, any(registers.get(TILEDATA))) == (2, False)
    registers.zero_tile(1)
    assert registers.in_use == 1 << SSE
    registers.write_tile(7, bytes(1024))
    registers.clear(TILECFG, TILEDATA)
    assert (registers.used_tiles, registers.in_use) == (0, 1 << SSE)
    assert EmulatedRegisters({TILEDATA: bytes(8192)}).used_tiles == 0xFF


def test_which_registers_a_processor_has() -> None:
    assert type(silicon(emulated=True).registers) is EmulatedRegisters
    assert type(silicon().registers) is Registers
