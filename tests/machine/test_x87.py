"""The x87 stack: what instructions leave where it is full, empty or faults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.machine.x86.cpu.instructions import x87
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_X87
from layouts.x86.xsave import LEGACY_AT, LEGACY_SIZE_BYTES, SSE

from .using_processor import silicon as processor
from .using_processor import told

_IE, _ZE, _SF, _C1, _SUMMARY = 1, 4, 0x40, 0x200, 0x8080
_INVALID_UNMASKED, _DIVIDE_UNMASKED = 0x37E, 0x37B
_STACK = ("fld1", "fldz", "fstp %st(0)", "fincstp", "fdecstp", "ffree %st(0)", "emms", "fnop")


def x87_of(cpu: Processor) -> tuple[int, int, int]:
    """FCW, FSW and the abridged tag."""
    image = cpu.registers.get(0)
    return int.from_bytes(image[:2], "little"), int.from_bytes(image[2:4], "little"), image[4]


def top_register(cpu: Processor) -> bytes:
    return cpu.registers.get(0)[LEGACY_AT["st"].offset :][:10]


def slots(cpu: Processor) -> list[int]:
    """The first byte of each register, from the top of the stack."""
    return list(cpu.registers.get(0)[LEGACY_AT["st"].slice][::16])


def state(status: int = 0, tags: int = 0, control: int = 0x37F) -> Processor:
    """ST(n) begins with 0xA0 + n."""
    cpu = processor()
    image = bytearray(INITIAL_X87)
    image[0:2], image[2:4], image[4] = control.to_bytes(2, "little"), status.to_bytes(2, "little"), tags
    image[LEGACY_AT["st"].slice] = b"".join(bytes([0xA0 + n]) + bytes(15) for n in range(8))
    cpu.registers.components[0] = bytes(image)
    return cpu


def run(cpu: Processor, *names: str) -> list[str]:
    return [x87.simple(cpu, name).name for name in names]


def test_a_push_onto_a_full_stack_is_the_indefinite_value_where_it_is_masked() -> None:
    cpu = processor()
    run(cpu, *["fldz"] * 8)
    assert x87_of(cpu)[1:] == (0, 0xFF)
    assert run(cpu, "fld1") == ["ok"]
    assert x87_of(cpu)[1] & (_IE | _SF | _C1 | _SUMMARY) == _IE | _SF | _C1
    assert top_register(cpu) == bytes(7) + b"\xc0\xff\xff"


@pytest.mark.parametrize("full", [True, False])
def test_an_unmasked_stack_fault_changes_no_register_and_comes_with_the_next_instruction(full: bool) -> None:
    cpu = processor()
    run(cpu, *["fldz"] * (8 if full else 0))
    x87.fldcw(cpu, _INVALID_UNMASKED)
    before = cpu.registers.get(0)[LEGACY_AT["st"].slice], x87_of(cpu)[2]
    assert run(cpu, "fld1" if full else "fstp %st(0)") == ["ok"]
    assert (cpu.registers.get(0)[LEGACY_AT["st"].slice], x87_of(cpu)[2]) == before
    assert x87_of(cpu)[1] & (_IE | _SF | _SUMMARY) == _IE | _SF | _SUMMARY
    assert run(cpu, "fnop", "fwait", "fnclex", "fwait") == ["ok", "#MF", "ok", "ok"]


def test_a_pop_of_an_empty_stack_goes_on_where_it_is_masked() -> None:
    cpu = processor()
    assert run(cpu, "fstp %st(0)") == ["ok"]
    assert x87_of(cpu)[1:] == (_IE | _SF | 1 << 11, 0)


@pytest.mark.parametrize(("control", "pending"), [(0x37F, 0), (_DIVIDE_UNMASKED, _SUMMARY)])
def test_a_division_by_zero(control: int, pending: int) -> None:
    cpu = processor()
    x87.fldcw(cpu, control)
    assert run(cpu, "fld1", "fldz", "fdivrp %st,%st(1)") == ["ok"] * 3
    assert x87_of(cpu)[1] & (_ZE | _SUMMARY) == _ZE | pending
    assert int.from_bytes(cpu.registers.get(0)[6:8], "little") == (0x6F9 if pending else 0)


def test_an_instruction_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="no x87 instruction fsin; there are fninit, emms"):
        x87.simple(processor(), "fsin")


def test_fxrstor_refuses_reserved_bits_of_mxcsr() -> None:
    cpu = processor()
    image = bytearray(LEGACY_SIZE_BYTES)
    image[LEGACY_AT["mxcsr"].slice] = (1 << 16).to_bytes(4, "little")
    before = cpu.registers.get(0)
    assert x87.fxrstor(cpu, bytes(image)).name == "#GP"
    assert cpu.registers.get(0) == before


def test_a_packed_division_faults_where_mxcsr_does_not_mask_it() -> None:
    cpu = processor()
    assert x87.divps(cpu, _ZE).name == "ok"
    cpu.registers.mxcsr &= ~(_ZE << 7)
    assert x87.divps(cpu, _ZE).name == "#XM"


@given(st.lists(st.sampled_from(_STACK), max_size=24))
def test_what_fxsave_writes_fxrstor_takes_back(names: list[str]) -> None:
    """After any instructions: the image is the registers, and a second processor has them too."""
    cpu, other = processor(), processor()
    run(cpu, *names)
    image = x87.fxsave(cpu, bytes(LEGACY_SIZE_BYTES)).image
    assert x87.fxrstor(other, image).name == "ok"
    assert other.registers.get(0) == cpu.registers.get(0)
    assert x87.fxsave(other, bytes(LEGACY_SIZE_BYTES)).image == image


# The state that an instruction leaves

ST = [0xA0 + n for n in range(8)]
#: C0, C2 and C3 of FSW, which no instruction here changes, and C1.
_C0_C2_C3, _TOP5 = 0x4500, 5 << 11


@pytest.mark.parametrize(
    ("name", "status", "tags", "left"),
    [
        ("fincstp", _C0_C2_C3 | _TOP5, 0x21, (_C0_C2_C3 | 6 << 11, 0x21, ST[1:] + ST[:1])),
        ("fincstp", 7 << 11, 0, (0, 0, ST[1:] + ST[:1])),
        ("fdecstp", _C0_C2_C3 | _TOP5, 0x21, (_C0_C2_C3 | 4 << 11, 0x21, ST[7:] + ST[:7])),
        ("fdecstp", 0, 0, (7 << 11, 0, ST[7:] + ST[:7])),
        ("ffree %st(0)", _C0_C2_C3 | _TOP5, 0xFF, (_C0_C2_C3 | _TOP5, 0xDF, ST)),
        ("ffree %st(0)", _TOP5, 0x01, (_TOP5, 0x01, ST)),
        ("emms", _C0_C2_C3 | _TOP5, 0xFF, (_C0_C2_C3, 0, ST[3:] + ST[:3])),
        ("fninit", 0xFFFF & ~0x3800 | _TOP5, 0xFF, (0, 0, ST[3:] + ST[:3])),
        ("fnclex", 0xC7FF | _TOP5, 0x21, (0x4700 | _TOP5, 0x21, ST)),
        ("fnop", 0xC7FF | _TOP5, 0x21, (0xC7FF | _TOP5, 0x21, ST)),
        ("fldz", _C0_C2_C3 | _C1 | _TOP5, 0x20, (_C0_C2_C3 | 4 << 11, 0x30, [0, *ST[:7]])),
        ("fldz", 0, 0, (7 << 11, 0x80, [0, *ST[:7]])),
        ("fldz", _C0_C2_C3 | _TOP5, 0x10, (_C0_C2_C3 | _IE | _SF | _C1 | 4 << 11, 0x10, [0, *ST[:7]])),
        ("fstp %st(0)", _C0_C2_C3 | _C1 | _TOP5, 0x61, (_C0_C2_C3 | 6 << 11, 0x41, ST[1:] + ST[:1])),
        ("fstp %st(0)", _C0_C2_C3 | _TOP5, 0xDF, (_C0_C2_C3 | _IE | _SF | 6 << 11, 0xDF, [*ST[1:], 0])),
        ("fdivrp %st,%st(1)", _C0_C2_C3 | _TOP5, 0xFF, (_C0_C2_C3 | _TOP5, 0xFF, ST)),
    ],
)
def test_status_tags_and_registers(name: str, status: int, tags: int, left: tuple[int, int, list[int]]) -> None:
    cpu = state(status, tags)
    outcome = x87.simple(cpu, name)
    assert (told(outcome), outcome.source, outcome.evidence) == ("ok", "Intel SDM vol. 2; vol. 1, 8.1", "silicon")
    assert (*x87_of(cpu)[1:], slots(cpu)) == left
    assert len(cpu.registers.get(0)) == 160


def test_fninit_leaves_registers_alone() -> None:
    cpu = state(0x7F, 0xFF, 0x300)
    x87.simple(cpu, "fninit")
    assert cpu.registers.get(0)[:32] == INITIAL_X87[:32]


def test_a_division_by_zero_keeps_other_flags() -> None:
    """The significand alone decides; the opcode is kept where it faults."""
    for control, status, opcode in ((0x37F, _C0_C2_C3 | _ZE, 0), (0x37B, _C0_C2_C3 | _ZE | _SUMMARY, 0x6F9)):
        cpu = state(_C0_C2_C3, 0xFF, control)
        cpu.registers.write(0, 32, bytes(8) + b"\xff\x3f")
        cpu.registers.write(0, 8, b"\x11")
        assert x87.simple(cpu, "fdivrp %st,%st(1)").accepted
        image = cpu.registers.get(0)
        assert (x87_of(cpu)[1], int.from_bytes(image[6:8], "little"), image[8], len(image)) == (
            status,
            opcode,
            0x11,
            160,
        )


@pytest.mark.parametrize(
    ("status", "value", "left"),
    [
        (0, 0xFFFF, (0x1F7F, 0)),
        (0, 0, (0x40, 0)),
        *((1 << flag, 0x37F & ~(1 << flag), (0x37F & ~(1 << flag), 1 << flag | _SUMMARY)) for flag in range(6)),
        (0x40, 0x340, (0x340, 0x40)),
        (0x3F, 0x37F, (0x37F, 0x3F)),
    ],
)
def test_fldcw_and_what_it_unmasks(status: int, value: int, left: tuple[int, int]) -> None:
    cpu = state(status)
    outcome = x87.fldcw(cpu, value)
    assert (told(outcome), outcome.source, outcome.evidence) == ("ok", "Intel SDM vol. 2, FLDCW", "silicon")
    assert x87_of(cpu)[:2] == left


def test_mmx_writes_a_register_of_the_stack() -> None:
    """Every tag is valid, TOP is 0: the register's number is counted from there, not from the top."""
    cpu = state(_C0_C2_C3 | _TOP5, 0)
    outcome = x87.movq_mm(cpu, 2, bytes(range(1, 17)))
    assert (told(outcome), outcome.source, outcome.evidence) == ("ok", "Intel SDM vol. 1, 9.5; vol. 2, MOVQ", "silicon")
    registers = ST[3:] + ST[:3]
    assert (*x87_of(cpu)[1:], slots(cpu)) == (_C0_C2_C3, 0xFF, [*registers[:2], 1, *registers[3:]])
    assert cpu.registers.get(0)[64:80] == bytes(range(1, 9)) + b"\xff\xff" + bytes(6)


def test_what_looks_for_pending_exceptions() -> None:
    """Those that begin with FN do not, nor FXSAVE and FXRSTOR."""
    for name in (
        "fwait",
        "emms",
        "fld1",
        "fldz",
        "fincstp",
        "fdecstp",
        "ffree %st(0)",
        "fstp %st(0)",
        "fdivrp %st,%st(1)",
    ):
        cpu = state(0x80 | _IE, 0x12)
        before = cpu.registers.get(0)
        assert told(x87.simple(cpu, name)) == "#MF: no x87 exception is pending"
        assert told(x87.fldcw(cpu, 0x37F)) == "#MF: no x87 exception is pending"
        assert told(x87.movq_mm(cpu, 0, bytes(8))) == "#MF: no x87 exception is pending"
        assert cpu.registers.get(0) == before
    for name in ("fninit", "fnclex", "fnop"):
        assert x87.simple(state(0x80 | _IE), name).accepted


# What a processor holds of an image


@pytest.mark.parametrize(
    ("control", "status", "held"),
    [
        (0xFFFF, 0, (0x1F7F, 0)),
        (0, 0, (0x40, 0)),
        (0x37F, 0x80BF, (0x37F, 0x3F)),
        (0x340, 0x40, (0x340, 0x40)),
        (0x37F, 0x7F7F, (0x37F, 0x7F7F)),
        *((0x37F & ~(1 << flag), 0x4500 | 1 << flag, (0x37F & ~(1 << flag), 0xC580 | 1 << flag)) for flag in range(6)),
    ],
)
def test_masks_of_an_image(control: int, status: int, held: tuple[int, int]) -> None:
    image = control.to_bytes(2, "little") + status.to_bytes(2, "little") + b"\xff" * 156
    found = x87.masked(image)
    assert (int.from_bytes(found[:2], "little"), int.from_bytes(found[2:4], "little")) == held
    assert found[4:8] == b"\xff\0\xff\x07"
    assert found[8:32] == b"\xff" * 24
    assert found[32:] == (b"\xff" * 10 + bytes(6)) * 8
    assert x87.masked(image[:6] + b"\x34\x12" + image[8:])[6:8] == b"\x34\x02"


def test_fxsave_and_fxrstor_by_their_bytes() -> None:
    """x87, MXCSR with its mask, XMM; the last 96 bytes are software's."""
    cpu = state(_TOP5, 0x21)
    cpu.registers.components[SSE] = bytes(range(256))
    cpu.registers.mxcsr = 0x1FA0
    image = x87.fxsave(cpu, b"\xee" * LEGACY_SIZE_BYTES)
    assert (image.source, image.evidence, len(image.image)) == (
        "Intel SDM vol. 2, FXSAVE",
        "silicon",
        LEGACY_SIZE_BYTES,
    )
    assert image.image[:24] == cpu.registers.get(0)[:24]
    assert image.image[24:32] == b"\xa0\x1f\0\0\xff\xff\0\0"
    assert image.image[32:160] == cpu.registers.get(0)[32:]
    assert image.image[160:] == bytes(range(256)) + b"\xee" * 96
    other = processor()
    taken = x87.fxrstor(other, image.image)
    assert (told(taken), taken.source, taken.evidence) == ("ok", "Intel SDM vol. 2, FXRSTOR", "silicon")
    assert (other.registers.components, other.registers.mxcsr) == (cpu.registers.components, 0x1FA0)


@pytest.mark.parametrize("flag", range(6))
def test_flags_and_masks_of_mxcsr(flag: int) -> None:
    for masks in (0x1F80, 0x1F80 & ~(1 << flag + 7), 1 << flag + 7):
        cpu = processor()
        cpu.registers.mxcsr = masks
        outcome = x87.divps(cpu, 1 << flag)
        assert (outcome.name, cpu.registers.mxcsr) == ("ok" if masks >> flag + 7 & 1 else "#XM", masks | 1 << flag)
        assert (outcome.source, outcome.evidence) == ("Intel SDM vol. 1, 11.5.2", "silicon")
