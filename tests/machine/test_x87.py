"""The x87 stack: what instructions leave where it is full, empty or faults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.machine.x86.cpu.instructions import x87
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_cpu
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import LEGACY_AT, LEGACY_SIZE_BYTES

_IE, _ZE, _SF, _C1, _SUMMARY = 1, 4, 0x40, 0x200, 0x8080
_INVALID_UNMASKED, _DIVIDE_UNMASKED = 0x37E, 0x37B
_STACK = ("fld1", "fldz", "fstp %st(0)", "fincstp", "fdecstp", "ffree %st(0)", "emms", "fnop")


def processor() -> Processor:
    return Processor(Host(shipped_cpu("sapphire-rapids"), profile_for("6.12")))


def x87_of(cpu: Processor) -> tuple[int, int, int]:
    """FCW, FSW and the abridged tag."""
    image = cpu.registers.get(0)
    return int.from_bytes(image[:2], "little"), int.from_bytes(image[2:4], "little"), image[4]


def top_register(cpu: Processor) -> bytes:
    return cpu.registers.get(0)[LEGACY_AT["st"].offset :][:10]


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
