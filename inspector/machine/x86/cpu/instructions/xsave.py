"""XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS (Intel SDM vol. 1, 13.7 to 13.12 and 13.14).

Memory is the ``image`` operand; the new contents are the outcome's image.
"""

from __future__ import annotations

from inspector.decode.placement import Place
from inspector.machine.outcome import GP, NM, UD, Check, Evidence, MemoryFaultError, Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions.tiles import is_valid
from inspector.machine.x86.cpu.instructions.x87 import masked
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, PKRU_SIZE_BYTES, EmulatedRegisters, Registers
from layouts.x86.xsave import (
    EXTENDED_OFFSET,
    HEADER_AT,
    HEADER_OFFSET,
    HEADER_SIZE_BYTES,
    PKRU,
    SSE,
    TILECFG,
    TILEDATA,
    XCOMP_COMPACTED,
)

#: CPUID(0xD,1).EAX bit of each instruction that is not part of plain XSAVE.
_FEATURE = {"xsaveopt": 0, "xsavec": 1, "xsaves": 3, "xrstors": 3}
_COMPACTED = ("xsavec", "xsaves")
_XCOMP_BV = HEADER_AT["xcomp_bv"]
_SAVE = "os_xsave, XSAVES (fpu/xstate.h); Intel SDM vol. 1, 13.14"
_RESTORE = "os_xrstor, XRSTORS (fpu/xstate.h); Intel SDM vol. 1, 13.14"
_NOTHING_LOST = (Check("XFD is 0 for all that is in use", held=True),)
_NOTHING_OFF = "XFD is 0 for all that the image has"
#: The answers of most context switches, made once.
_RESTORED = Outcome("ok", 0, (Check(_NOTHING_OFF, held=True),), _RESTORE)


def _begin(cpu: Processor, name: str) -> tuple[Rule, Outcome | None]:
    rule = Rule(f"Intel SDM vol. 2, {name.upper()}; vol. 1, 13.14", cpu.host.evidence)
    if not rule.check("CR4.OSXSAVE is set", cpu.cr4_osxsave):
        return rule, rule.fault(UD)
    bit = _FEATURE.get(name)
    if bit is not None and not rule.check(f"the CPU has {name.upper()}", cpu.host.has(0xD, 1, 0, bit)):
        return rule, rule.fault(UD)
    if name in ("xsaves", "xrstors") and not rule.check("in the kernel (CPL 0)", not cpu.user):
        return rule, rule.fault(GP)
    return rule, None


def _places(cpu: Processor, xcomp: int) -> tuple[Place, ...]:
    if xcomp & XCOMP_COMPACTED:
        return cpu.host.compacted_places(xcomp & ~XCOMP_COMPACTED)
    return cpu.host.user_places(cpu.host.cpu_xcr0)


def xsave(cpu: Processor, name: str, image: bytes, mask: int, address: int | None = None) -> Outcome:
    """One of the saving instructions. What XFD turns off counts as initial; none of them faults by XFD.

    ``address``: where the image lies; XSAVEOPT leaves out what was not modified since XRSTOR from there.
    """
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    requested = mask & (cpu.xcr0 | cpu.xss if name == "xsaves" else cpu.xcr0)
    live = cpu.registers
    in_use = live.in_use & ~cpu.xfd
    image = image.ljust(EXTENDED_OFFSET, b"\0")
    if name in _COMPACTED:
        xcomp = images.compacted_xcomp(requested)
        image = images.with_xcomp_bv(image, xcomp, clear=cpu.host.emulated)
        bv = in_use & requested
    else:
        xcomp = 0
        if SSE not in live.components and not cpu.host.emulated:
            # MXCSR alone counts for XGETBV, XSAVEC and XSAVES only (Intel SDM vol. 1, 13.7 and 13.10).
            in_use &= ~(1 << SSE)
        bv = images.xstate_bv(image) & ~requested | in_use & requested
    image = image.ljust(_end(cpu, xcomp, requested), b"\0")
    shown = live.within(~cpu.xfd)
    # XSAVE writes what is initial too; the others leave those bytes as they were.
    written = requested if name == "xsave" else bv & requested
    if name == "xsaveopt" and address is not None and cpu.restored_from == (cpu.user, address):
        written &= ~_unmodified(cpu)
    with_mxcsr = written & 2 if name in _COMPACTED else requested & 6
    return rule.ok(image=images.store(image, shown, written, bv, _places(cpu, xcomp), with_mxcsr=with_mxcsr))


def _end(cpu: Processor, xcomp: int, requested: int) -> int:
    """The bytes that an image with these components takes."""
    places = _places(cpu, xcomp)
    wanted = [place.offset + place.size_bytes for place in places if requested >> place.component & 1]
    return max(wanted, default=EXTENDED_OFFSET)


def _unmodified(cpu: Processor) -> int:
    """What nobody wrote since XRSTOR. TILECFG is always written: measured on a 06_CFh."""
    live = cpu.registers.components
    kept = sum(1 << n for n, data in cpu.unmodified.items() if live.get(n) is data)
    return kept & ~(1 << TILECFG)


def xsave_at(cpu: Processor, name: str, memory: Memory, address: int, mask: int) -> Outcome:
    """A saving instruction, into memory. Its fault is at the last byte that it would write."""
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    if not _is_aligned(rule, address):
        return rule.fault(GP)
    requested = mask & (cpu.xcr0 | cpu.xss if name == "xsaves" else cpu.xcr0)
    size = _end(cpu, images.compacted_xcomp(requested) if name in _COMPACTED else 0, requested)
    try:
        memory.check(address, size, writes=True, last_first=True)
    except MemoryFaultError as error:
        return rule.fault_at(error)
    outcome = xsave(cpu, name, memory.read(address, size), mask, address)
    memory.write(address, outcome.image)
    return outcome


def xrstor_at(cpu: Processor, name: str, memory: Memory, address: int, mask: int) -> Outcome:
    """A restoring instruction, from memory: the header is read first, then the last byte of what is asked for."""
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    if not _is_aligned(rule, address):
        return rule.fault(GP)
    try:
        memory.check(address + _XCOMP_BV.offset, _XCOMP_BV.size_bytes, writes=False)
        header = bytes(HEADER_OFFSET) + memory.read(address + HEADER_OFFSET, HEADER_SIZE_BYTES)
        xcomp = images.xcomp_bv(header)
        if not _header_is_valid(rule, header, images.xstate_bv(header), xcomp, cpu.xcr0):
            return rule.fault(GP)
        requested = mask & cpu.xcr0
        if xcomp & XCOMP_COMPACTED:
            requested &= xcomp
        size = _end(cpu, xcomp, requested)
        memory.check(address, size, writes=False, last_first=True)
    except MemoryFaultError as error:
        return rule.fault_at(error)
    return xrstor(cpu, name, memory.read(address, size), mask, address)


def _is_aligned(rule: Rule, address: int) -> bool:
    return rule.check("the area is at a multiple of 64", not address & 63)


def xrstor(cpu: Processor, name: str, image: bytes, mask: int, address: int | None = None) -> Outcome:
    """XRSTOR or XRSTORS.

    #GP by the header, #NM by XFD, #GP by MXCSR. A compacted image with a bad MXCSR has then made initial what it
    lacks, PKRU apart, and loaded x87 and XMM; the other faults change nothing. Measured on a 06_CFh.
    """
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    supervisor = name == "xrstors"
    allowed = cpu.xcr0 | cpu.xss if supervisor else cpu.xcr0
    image = image.ljust(EXTENDED_OFFSET, b"\0")
    bv, xcomp = images.xstate_bv(image), images.xcomp_bv(image)
    compacted = bool(xcomp & XCOMP_COMPACTED)
    if supervisor and not rule.check("XCOMP_BV[63] is 1", compacted):
        return rule.fault(GP)
    if not _header_is_valid(rule, image, bv, xcomp, allowed):
        return rule.fault(GP)
    requested = mask & allowed
    loads = requested & bv
    reads_mxcsr = (loads & 2) if compacted else requested & 6
    checks = [
        (f"XFD is 0 for all that is loaded ({loads:#x})", not loads & cpu.xfd, NM),
        ("MXCSR has no reserved bit", not (reads_mxcsr and images.mxcsr(image) >> 16), GP),
    ]
    loaded = images.load(image, loads, _places(cpu, xcomp))
    for text, held, vector in reversed(checks) if cpu.host.emulated else checks:
        if not rule.check(text, held):
            if vector == NM:
                cpu.xfd_err = loads & cpu.xfd
            elif compacted and not cpu.host.emulated:
                _take_partly(cpu, loaded, requested, loads)
            return rule.fault(vector)
    _take(cpu, loaded, requested, loads)
    if not compacted and requested & 6:
        cpu.registers.mxcsr = images.mxcsr(image)
    live = cpu.registers.components
    cpu.restored_from = (cpu.user, address) if address is not None and not compacted else None
    cpu.unmodified = (
        {n: live.get(n) for n in range(requested.bit_length()) if requested >> n & 1} if cpu.restored_from else {}
    )
    return rule.ok()


def _take_partly(cpu: Processor, loaded: Registers, requested: int, loads: int) -> None:
    live = cpu.registers
    lacking = requested & ~loads & ~(1 << PKRU)
    for number in range(lacking.bit_length()):
        if lacking >> number & 1:
            live.clear(number)
    for number in (0, SSE):
        if loads >> number & 1:
            live.components[number] = loaded.components[number]


def _header_is_valid(rule: Rule, image: bytes, bv: int, xcomp: int, allowed: int) -> bool:
    if xcomp & XCOMP_COMPACTED:
        held = xcomp & ~XCOMP_COMPACTED
        return (
            rule.check(f"XCOMP_BV within the enabled components ({allowed:#x})", not held & ~allowed)
            and rule.check("XSTATE_BV within XCOMP_BV", not bv & ~held)
            and rule.check("the header's reserved bytes are 0", not any(images.reserved(image)))
        )
    return rule.check(f"XSTATE_BV within XCR0 ({allowed:#x})", not bv & ~allowed) and rule.check(
        "bytes 8 to 23 of the header are 0", not xcomp and not any(images.reserved(image)[:8])
    )


def _take(cpu: Processor, loaded: Registers, requested: int, loads: int) -> None:
    """Loaded components as they are, the other requested ones initial, the rest untouched."""
    live = cpu.registers
    for number in range(requested.bit_length()):
        if requested >> number & 1:
            live.clear(number)
    live.components |= _as_loaded(cpu, loaded.components)
    if isinstance(live, EmulatedRegisters) and loads >> TILEDATA & 1:
        live.used_tiles = 0xFF
    if loads & 2:
        live.mxcsr = loaded.mxcsr


def _as_loaded(cpu: Processor, components: dict[int, bytes]) -> dict[int, bytes]:
    """What a processor makes of an image: masks of x87, and no configuration of tiles that is not legal."""
    if cpu.host.emulated:
        return components
    config = components.get(TILECFG)
    if config is not None and not (config[0] and is_valid(config)):
        components = {n: data for n, data in components.items() if n != TILECFG}
    if 0 in components:
        components = {**components, 0: masked(components[0])}
    pkru = components.get(PKRU)
    if pkru is not None and any(pkru[PKRU_SIZE_BYTES:]):
        components = {**components, PKRU: pkru[:PKRU_SIZE_BYTES] + bytes(len(pkru) - PKRU_SIZE_BYTES)}
    return components


def save(cpu: Processor, image: bytes, mask: int) -> Outcome:
    """XSAVES by an operating system into its own buffer, in whatever format the buffer is.

    Components of ``mask`` that are in use are written. What XFD turns off is not: its XSTATE_BV
    bit becomes 0, and the check says which components were lost. PKRU is what the registers hold.
    """
    live = cpu.registers
    in_use = live.in_use & mask
    lost = in_use & cpu.xfd
    checks = _NOTHING_LOST
    if lost:
        size = sum(len(data) for number, data in live.components.items() if lost >> number & 1)
        checks = (Check(f"XFD is 0 for all that is in use (lost: {size} bytes of components {lost:#x})", held=False),)
    bv = in_use & ~cpu.xfd
    saved = images.store(image, live, bv, bv, _places(cpu, images.xcomp_bv(image)))
    # What XSTATE_BV says hangs on how the processor tracks use.
    evidence: Evidence = "unmeasured" if cpu.host.evidence == "unmeasured" else "kernel"
    return Outcome("ok", 0, checks, _SAVE, lost, saved, evidence=evidence)


def restore(cpu: Processor, image: bytes, mask: int) -> Outcome:
    """XRSTORS by an operating system from its own buffer.

    ``mask`` is every component that the kernel has: what the buffer lacks becomes initial.
    A component that is in XSTATE_BV and turned off by XFD is #NM, with XFD_ERR set.
    """
    # PKRU is written apart from XRSTORS (switch_fpu_return, kvm_load_guest_pkru).
    bv = images.xstate_bv(image) & mask & ~(1 << PKRU)
    if bv & cpu.xfd:
        cpu.xfd_err = bv & cpu.xfd
        return Outcome("exception", NM, (Check(_NOTHING_OFF, held=False),), _RESTORE)
    kept = cpu.registers.components.get(PKRU)
    xcomp = images.xcomp_bv(image)
    loaded = images.load(image, bv, _places(cpu, xcomp), type(cpu.registers))
    loaded.components = _as_loaded(cpu, loaded.components)
    if xcomp & XCOMP_COMPACTED and not bv & 2:
        loaded.mxcsr = INITIAL_MXCSR
    cpu.registers, cpu.restored_from = loaded, None
    if kept is not None:
        cpu.registers.components[PKRU] = kept
    return _RESTORED
