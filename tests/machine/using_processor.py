"""A processor with any components and features, and what an instruction of it comes to."""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_cpu
from layouts.x86.kernels import profile_for

#: User components: x87 to AVX, MPX, AVX-512, PKRU, AMX, APX. Supervisor ones: PASID, CET.
EVERYTHING = 0xE02FF
SUPERVISOR = 0x1C00
#: CPUID(0xD,1).EAX: XSAVEOPT, XSAVEC, XGETBV of 1, XSAVES, XFD.
XSAVE_FEATURES = 0x1F
SHSTK, IBT = (2, 7), (3, 20)


def processor(
    *features: tuple[int, int], xcr0: int = EVERYTHING, xss: int = SUPERVISOR, has: int = XSAVE_FEATURES
) -> Processor:
    """``features``: register and bit of leaf 7. Where components lie is Sapphire Rapids'."""
    seven = [0, 0, 0, 0]
    for register, bit in features:
        seven[register] |= 1 << bit
    leaves: dict[tuple[int, int], CpuidValues] = dict(shipped_cpu("sapphire-rapids").leaves)
    leaves |= {(7, 0): (seven[0], seven[1], seven[2], seven[3]), (7, 1): (0, 0, 0, 0)}
    leaves |= {(0xD, 0): (xcr0, 11008, 11008, 0), (0xD, 1): (has, 0, xss, 0)}
    return Processor(Host(Cpuid(leaves), profile_for("7.2")))


def silicon(*, emulated: bool = False) -> Processor:
    """Sapphire Rapids with everything in XCR0 that it has."""
    cpu = Processor(Host(shipped_cpu("sapphire-rapids"), profile_for("7.2"), emulated=emulated))
    cpu.xcr0 = cpu.host.cpu_xcr0
    return cpu


def told(outcome: Outcome) -> str:
    """``ok``, or the exception and why: what did not hold."""
    assert all(check.held for check in (outcome.checks if outcome.accepted else outcome.checks[:-1]))
    return outcome.name if outcome.accepted else f"{outcome.name}: {outcome.because}"
