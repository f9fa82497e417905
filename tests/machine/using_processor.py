"""A processor with any components and features, and what an instruction of it comes to."""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import tiles, xsave
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, EmulatedRegisters, initial
from inspector.machine.x86.host import Host, shipped_cpu
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import AVX, PKRU, SSE, TILECFG, TILEDATA, X87, XTILE

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


def value_of(component: int) -> bytes:
    """What a test writes into a component: legal, and not initial."""
    if component == TILECFG:
        return tiles.FULL_TILECFG
    if component == X87:
        return b"\x7f\x02" + bytes(2) + b"\x11" + bytes(155)
    return bytes([0x10 + component]) * (4 if component == PKRU else len(initial(component)))


def using(*components: int, emulated: bool = False, mxcsr: int = INITIAL_MXCSR) -> Processor:
    """Sapphire Rapids with these components in use, and all of them in XCR0."""
    cpu = silicon(emulated=emulated)
    for component in components:
        cpu.registers.write(component, 0, value_of(component))
    if isinstance(cpu.registers, EmulatedRegisters) and TILEDATA in components:
        cpu.registers.used_tiles = 0xFF
    cpu.registers.mxcsr = mxcsr
    return cpu


def standard_at(cpu: Processor, component: int) -> slice:
    """Where a component lies in a standard image."""
    (place,) = (one for one in cpu.host.user_places(cpu.host.cpu_xcr0) if one.component == component)
    return slice(place.offset, place.offset + place.size_bytes)


def image_of(cpu: Processor, bv: int, *, compacted: int = 0, mxcsr: int = 0x1FA0) -> bytes:
    """An image with these components in XSTATE_BV; ``compacted``: those that it has room for."""
    xcomp = images.compacted_xcomp(compacted) if compacted else 0
    places = cpu.host.compacted_places(compacted) if compacted else cpu.host.user_places(cpu.host.cpu_xcr0)
    image = images.empty(max((place.offset + place.size_bytes for place in places), default=576), xcomp)
    source = using(*(n for n in (X87, SSE, AVX, PKRU, TILECFG, TILEDATA) if bv >> n & 1), mxcsr=mxcsr)
    return images.store(image, source.registers, bv, bv, places, with_mxcsr=2)


def restored(name: str = "xrstor", address: int | None = 0x1000, mask: int = -1, *, user: bool = False) -> Processor:
    """All that a test writes was restored from an image at an address."""
    cpu = using()
    cpu.user = user
    image = image_of(cpu, 7 | 1 << PKRU | XTILE, compacted=cpu.xcr0 if name == "xrstors" else 0)
    assert xsave.xrstor(cpu, name, image, mask, address).accepted
    return cpu
