"""XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS (Intel SDM vol. 1, 13.7 to 13.12 and 13.14).

Memory is the ``image`` operand; the new contents are the outcome's image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.decode.placement import Place
from inspector.machine.outcome import GP, NM, UD, Check, Outcome, Rule
from inspector.machine.x86 import images
from inspector.machine.x86.registers import PKRU, TILEDATA, Registers
from layouts.x86.xsave import XCOMP_COMPACTED

if TYPE_CHECKING:
    from inspector.machine.x86.processor import Processor

#: CPUID(0xD,1).EAX bit of each instruction that is not part of plain XSAVE.
_FEATURE = {"xsaveopt": 0, "xsavec": 1, "xsaves": 3, "xrstors": 3}
_COMPACTED = ("xsavec", "xsaves")
_SAVE = "os_xsave, XSAVES (fpu/xstate.h); Intel SDM vol. 1, 13.14"
_RESTORE = "os_xrstor, XRSTORS (fpu/xstate.h); Intel SDM vol. 1, 13.14"
_NOTHING_LOST = (Check("XFD is 0 for all that is in use", True),)
_NOTHING_OFF = "XFD is 0 for all that the image has"
#: The answers of most context switches, made once.
_RESTORED = Outcome("ok", 0, (Check(_NOTHING_OFF, True),), _RESTORE)


def _begin(cpu: Processor, name: str) -> tuple[Rule, Outcome | None]:
    rule = Rule(f"Intel SDM vol. 2, {name.upper()}; vol. 1, 13.14")
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


def xsave(cpu: Processor, name: str, image: bytes, mask: int) -> Outcome:
    """One of the saving instructions. What XFD turns off counts as initial; none of them faults by XFD."""
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    requested = mask & (cpu.xcr0 | cpu.xss if name == "xsaves" else cpu.xcr0)
    live = cpu.registers
    in_use = live.in_use & ~cpu.xfd
    if name in _COMPACTED:
        xcomp = images.compacted_xcomp(requested)
        found = images.empty(0, xcomp)[:576]
        image = image[:512] + found[512:576] + image[576:]
        bv = in_use & requested
    else:
        xcomp = 0
        bv = images.xstate_bv(image.ljust(576, b"\0")) & ~requested | in_use & requested
    places = _places(cpu, xcomp)
    size = max((place.offset + place.size_bytes for place in places if requested >> place.component & 1), default=576)
    image = image.ljust(size, b"\0")
    shown = live.within(~cpu.xfd)
    # XSAVE writes what is initial too; the others leave those bytes as they were.
    written = requested if name == "xsave" else bv & requested
    return rule.ok(image=images.store(image, shown, written, bv, places))


def xrstor(cpu: Processor, name: str, image: bytes, mask: int) -> Outcome:
    """XRSTOR or XRSTORS."""
    rule, fault = _begin(cpu, name)
    if fault is not None:
        return fault
    supervisor = name == "xrstors"
    allowed = cpu.xcr0 | cpu.xss if supervisor else cpu.xcr0
    image = image.ljust(576, b"\0")
    bv, xcomp = images.xstate_bv(image), images.xcomp_bv(image)
    compacted = bool(xcomp & XCOMP_COMPACTED)
    if supervisor and not rule.check("XCOMP_BV[63] is 1", compacted):
        return rule.fault(GP)
    if not _header_is_valid(rule, image, bv, xcomp, allowed):
        return rule.fault(GP)
    requested = mask & allowed
    loads = requested & bv
    reads_mxcsr = (loads & 2) if compacted else requested & 6
    if not rule.check("MXCSR has no reserved bit", not (reads_mxcsr and images.mxcsr(image) >> 16)):
        return rule.fault(GP)
    if not rule.check(f"XFD is 0 for all that is loaded ({loads:#x})", not loads & cpu.xfd):
        cpu.xfd_err = loads & cpu.xfd
        return rule.fault(NM)
    _take(cpu, images.load(image, loads, _places(cpu, xcomp)), requested, loads)
    if not compacted and requested & 6:
        cpu.registers.mxcsr = images.mxcsr(image)
    return rule.ok()


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
    for number in range(64):
        if requested >> number & 1:
            live.clear(number)
    live.components |= loaded.components
    if requested >> TILEDATA & 1:
        live.used_tiles = loaded.used_tiles
    if loads & 2:
        live.mxcsr = loaded.mxcsr


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
        checks = (Check(f"XFD is 0 for all that is in use (lost: {size} bytes of components {lost:#x})", False),)
    bv = in_use & ~cpu.xfd
    saved = images.store(image, live, bv, bv, _places(cpu, images.xcomp_bv(image)))
    return Outcome("ok", 0, checks, _SAVE, lost, saved)


def restore(cpu: Processor, image: bytes, mask: int) -> Outcome:
    """XRSTORS by an operating system from its own buffer.

    ``mask`` is every component that the kernel has: what the buffer lacks becomes initial.
    A component that is in XSTATE_BV and turned off by XFD is #NM, with XFD_ERR set.
    """
    # PKRU is written apart from XRSTORS (switch_fpu_return, kvm_load_guest_pkru).
    bv = images.xstate_bv(image) & mask & ~(1 << PKRU)
    if bv & cpu.xfd:
        cpu.xfd_err = bv & cpu.xfd
        return Outcome("exception", NM, (Check(_NOTHING_OFF, False),), _RESTORE)
    kept = cpu.registers.components.get(PKRU)
    cpu.registers = images.load(image, bv, _places(cpu, images.xcomp_bv(image)))
    if kept is not None:
        cpu.registers.components[PKRU] = kept
    return _RESTORED
