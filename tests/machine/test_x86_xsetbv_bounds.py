"""XSETBV, XGETBV, WRMSR and RDMSR at the bounds of each check (Intel SDM vol. 2; vol. 1, 13.3; vol. 4)."""

from __future__ import annotations

import pytest

from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.bare_metal import BareMetal
from inspector.machine.x86.cpu.instructions import control
from inspector.machine.x86.cpu.instructions.control import MSR_S_CET, MSR_U_CET, MSR_XFD, MSR_XFD_ERR, MSR_XSS, MSRS
from inspector.machine.x86.cpu.processor import Processor
from layouts.x86.xsave import CET_U, SSE, TILEDATA

from .using_processor import EVERYTHING, IBT, SHSTK, processor, told

PL0_SSP, PL3_SSP = MSRS["PL0_SSP"], MSRS["PL3_SSP"]
TOP = 0xFFFF8000 << 32
ANY_SHSTK = "#GP: the CPU has shadow stacks"
AVX512_WHOLE = "#GP: AVX-512: all three, and AVX"
MPX_WHOLE = "#GP: BNDREGS and BNDCSR both or none"
AMX_WHOLE = "#GP: XTILECFG and XTILEDATA both or none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "#GP: bit 0 (x87) is set"),
        (2, "#GP: bit 0 (x87) is set"),
        (1, "ok"),
        (3, "ok"),
        (5, "#GP: AVX has SSE with it"),
        (7, "ok"),
        (1 | 1 << 8, f"#GP: no bit outside what the CPU enumerates ({EVERYTHING:#x})"),
        (1 | 1 << 63, f"#GP: no bit outside what the CPU enumerates ({EVERYTHING:#x})"),
        (0x09, MPX_WHOLE),
        (0x11, MPX_WHOLE),
        (0x19, "ok"),
        *((7 | part, AVX512_WHOLE) for part in (0x20, 0x40, 0x80, 0x60, 0xA0, 0xC0)),
        (0xE3, AVX512_WHOLE),
        (0xE7, "ok"),
        (0x20001, AMX_WHOLE),
        (0x40001, AMX_WHOLE),
        (0x60001, "ok"),
        (0x201, "ok"),
        (0x80001, "ok"),
        (0x80019, "#GP: not APX and MPX"),
        (0xE02E7, "ok"),
    ],
)
def test_values_of_xcr0(value: int, expected: str) -> None:
    cpu = processor()
    assert told(control.xsetbv(cpu, 0, value)) == expected
    assert cpu.xcr0 == (value if expected == "ok" else 1)


def test_where_xsetbv_and_xgetbv_are_executed() -> None:
    cpu = processor()
    cpu.user = True
    assert told(control.xsetbv(cpu, 0, 7)) == "#GP: in the kernel (CPL 0)"
    assert told(control.xgetbv(cpu, 0)) == "ok"
    cpu.user, cpu.cr4_osxsave = False, False
    assert told(control.xsetbv(cpu, 0, 7)) == "#UD: CR4.OSXSAVE is set"
    assert told(control.xgetbv(cpu, 0)) == "#UD: CR4.OSXSAVE is set"
    cpu.cr4_osxsave = True
    assert told(control.xsetbv(cpu, 1, 7)) == "#GP: the register is XCR0"
    assert (control.xsetbv(cpu, 0, 7).evidence, control.xgetbv(cpu, 0).evidence) == ("manual", "silicon")


def test_xgetbv_of_1_is_what_is_in_use() -> None:
    for has, expected in ((1 << 2, "ok"), (~(1 << 2) & 0x1F, "#GP: XCR0, or XCR0 & XINUSE where the CPU has it")):
        cpu = processor(has=has)
        cpu.xcr0 = 7
        cpu.registers.write(SSE, 0, b"")
        cpu.registers.write(TILEDATA, 0, b"")
        assert control.xgetbv(cpu, 0).value == 7
        outcome = control.xgetbv(cpu, 1)
        assert (told(outcome), outcome.value) == (expected, 1 << SSE if expected == "ok" else 0)
        assert not control.xgetbv(cpu, 2).accepted


@pytest.mark.parametrize(
    ("index", "value", "features", "expected"),
    [
        *((index, 0, (), "#GP: the CPU has shadow stacks or IBT") for index in (MSR_U_CET, MSR_S_CET)),
        *((MSR_U_CET, 1 << bit, (SHSTK, IBT), "#GP: no reserved bit") for bit in range(6, 10)),
        *((MSR_S_CET, 1 << bit, (SHSTK, IBT), "ok") for bit in (0, 1, 2, 5, 10, 11, 12, 63)),
        *((MSR_U_CET, 1 << bit, (SHSTK,), "ok") for bit in (0, 1)),
        *((MSR_U_CET, 1 << bit, (SHSTK,), "#GP: IBT bits only with IBT") for bit in (2, 5, 10, 12, 63)),
        *((MSR_U_CET, 1 << bit, (IBT,), "#GP: shadow stack bits only with shadow stacks") for bit in (0, 1)),
        *((MSR_U_CET, 1 << bit, (IBT,), "ok") for bit in (2, 5, 10, 11)),
        (MSR_U_CET, 3 << 10, (IBT,), "#GP: SUPPRESS and TRACKER not both"),
        (MSR_U_CET, 7 << 10, (IBT,), "#GP: SUPPRESS and TRACKER not both"),
        *((index, 8, (IBT,), ANY_SHSTK) for index in range(PL0_SSP, PL3_SSP + 1)),
        *((index, 8, (SHSTK,), "ok") for index in range(PL0_SSP, PL3_SSP + 1)),
        *((PL3_SSP, value, (SHSTK,), "#GP: a multiple of 4") for value in (1, 2, 0x1003)),
        *((PL3_SSP, value, (SHSTK,), "ok") for value in (0, 4, (1 << 47) - 4, TOP, (1 << 64) - 4)),
        *(
            (PL3_SSP, value, (SHSTK,), "#GP: a canonical address")
            for value in (1 << 47, 1 << 48, TOP - 4, 1 << 63, TOP ^ 1 << 62, 0x7FFF << 48)
        ),
    ],
)
def test_cet_msrs(index: int, value: int, features: tuple[tuple[int, int], ...], expected: str) -> None:
    cpu = processor(*features)
    assert told(control.wrmsr(cpu, index, value)) == expected
    assert control.read(cpu, index) == (value if expected == "ok" else 0)


@pytest.mark.parametrize(
    ("has", "value", "xfd", "xss"),
    [
        (0x1F, 1 << 18, "ok", "#GP: only supervisor components of the CPU (0x1c00)"),
        (
            0x1F,
            1 << 17,
            "#GP: only components that can be disabled (0x40000)",
            "#GP: only supervisor components of the CPU (0x1c00)",
        ),
        (0x1F, 0x1800, "#GP: only components that can be disabled (0x40000)", "ok"),
        (0x0F, 0, "#GP: the CPU has XFD", "ok"),
        (0x17, 0, "ok", "#GP: the CPU has XSAVES"),
    ],
)
def test_xfd_and_xss(has: int, value: int, xfd: str, xss: str) -> None:
    """XFD_ERR takes what XFD takes; each MSR is its own."""
    for index, expected in ((MSR_XFD, xfd), (MSR_XFD_ERR, xfd), (MSR_XSS, xss)):
        cpu = processor(has=has)
        assert told(control.wrmsr(cpu, index, value)) == expected
        there = expected == "ok" or "only" in expected
        assert told(control.rdmsr(cpu, index)) == ("ok" if there else "#GP: the CPU has this MSR")
        values = {at: control.read(cpu, at) for at in MSRS.values()}
        assert values == {at: value if at == index and expected == "ok" else 0 for at in values}
        assert (cpu.xfd, cpu.xfd_err, cpu.xss) == tuple(values[at] for at in (MSR_XFD, MSR_XFD_ERR, MSR_XSS))


def test_cet_msrs_are_state_or_on_their_own() -> None:
    """PL3_SSP and U_CET are component 11, the others of PL 12; S_CET is no state."""
    written = {index: 0x1104 * (number + 1) for number, index in enumerate(range(PL0_SSP, PL3_SSP + 1))}
    written |= {MSR_U_CET: 0xFEDCBA9876543001, MSR_S_CET: 1}
    cpu = processor(SHSTK, IBT)
    for index, value in written.items():
        assert control.wrmsr(cpu, index, value).accepted
    assert {index: control.rdmsr(cpu, index).value for index in written} == written
    assert cpu.registers.get(CET_U)[:16] == written[MSR_U_CET].to_bytes(8, "little") + written[PL3_SSP].to_bytes(
        8, "little"
    )
    assert cpu.registers.get(CET_U + 1) == b"".join(written[PL0_SSP + n].to_bytes(8, "little") for n in range(3))
    assert (cpu.msrs, cpu.registers.in_use) == ({MSR_S_CET: 1}, 3 << CET_U)


@pytest.mark.parametrize(
    ("features", "there"),
    [((), ()), ((IBT,), (MSR_U_CET, MSR_S_CET)), ((SHSTK,), (MSR_U_CET, MSR_S_CET, PL0_SSP, PL3_SSP))],
)
def test_which_cet_msrs_are_there(features: tuple[tuple[int, int], ...], there: tuple[int, ...]) -> None:
    cpu = processor(*features)
    for index in (MSR_U_CET, MSR_S_CET, PL0_SSP, PL3_SSP):
        assert control.rdmsr(cpu, index).accepted is (index in there)
        assert control.wrmsr(cpu, index, 0).accepted is (index in there)


def test_msrs_of_user_mode() -> None:
    cpu = processor()
    cpu.user = True
    assert told(control.wrmsr(cpu, MSR_XSS, 0)) == "#GP: in the kernel (CPL 0)"
    assert told(control.rdmsr(cpu, MSR_XSS)) == "#GP: in the kernel (CPL 0)"
    for outcome in (control.wrmsr(cpu, MSR_XSS, 0), control.rdmsr(cpu, MSR_XSS)):
        assert (outcome.source[:17], outcome.evidence) == ("Intel SDM vol. 2,", "manual")


# The processor itself


def test_a_processor_after_reset() -> None:
    for features, pke in (((), False), (((2, 3),), True), (((2, 4),), True), (((2, 5), (3, 3), (3, 4)), False)):
        cpu = processor(*features)
        assert cpu.cr4_pke is pke
    assert (cpu.number, cpu.xcr0, cpu.xss, cpu.xfd, cpu.xfd_err) == (0, 1, 0, 0, 0)
    assert (cpu.cr4_osxsave, cpu.cr4_cet, cpu.user, cpu.restored_from) == (True, False, False, None)
    assert (cpu.registers.in_use, BareMetal(cpu.host, 3).number) == (0, 3)


def test_an_instruction_has_its_privilege_level() -> None:
    levels: list[bool] = []

    def instruction(cpu: Processor) -> Outcome:
        levels.append(cpu.user)
        return Rule("").ok()

    cpu = processor()
    cpu.execute(instruction)
    cpu.execute(instruction, user=True)
    assert (levels, cpu.user) == ([False, True], False)


def test_what_xfd_blocks() -> None:
    cpu = processor()
    cpu.xfd = 1 << TILEDATA | 1 << 5
    assert cpu.use(17)
    assert cpu.xfd_err == 0
    assert not cpu.use(TILEDATA)
    assert cpu.xfd_err == 1 << TILEDATA


def test_bare_metal_writes_its_own_registers() -> None:
    cpu = BareMetal(processor().host)
    assert cpu.xsetbv(7).accepted
    assert cpu.wrmsr(MSR_XFD, 1 << TILEDATA).accepted
    assert (cpu.xcr0, cpu.rdmsr(MSR_XFD).value) == (7, 1 << TILEDATA)
