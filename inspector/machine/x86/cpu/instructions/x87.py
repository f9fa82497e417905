"""x87, MMX and FXSAVE, as far as they touch state (Intel SDM vol. 1, 8.1, 9.5 and 10.5; vol. 2).

Registers are kept as FXSAVE writes them: FCW, FSW, the abridged tag, ST0 to ST7 from the top of the stack.
"""

from __future__ import annotations

from inspector.machine.outcome import GP, MF, XM, Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_X87, MXCSR_MASK
from layouts.x86.xsave import LEGACY_AT, LEGACY_SIZE_BYTES, SSE

#: Bits of FCW that exist, and those that are always set.
_FCW_BITS, _FCW_SET = 0x1F3F, 0x40
_FOP_BITS, _FOP_FDIVRP = 0x7FF, 0x6F9
_ST, _MXCSR, _XMM = (LEGACY_AT[name] for name in ("st", "mxcsr", "xmm"))
_SLOT = 16
_ONE = (1 << 63).to_bytes(8, "little") + (0x3FFF).to_bytes(2, "little") + bytes(6)
_INDEFINITE = (3 << 62).to_bytes(8, "little") + b"\xff\xff" + bytes(6)
_IE, _ZE, _SF, _ES, _C1, _BUSY = 1, 4, 0x40, 0x80, 0x200, 0x8000
_EXCEPTIONS, _TOP = 0x3F, 0x3800
_MMX_EXPONENT = b"\xff\xff"


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def masked(x87: bytes) -> bytes:
    """The component as a processor holds it: FCW's reserved bits, ES and B by what is pending."""
    control = _word(x87, 0) & _FCW_BITS | _FCW_SET
    status = _summed(_word(x87, 2), control)
    found = bytearray(x87)
    found[0:2], found[2:4], found[5] = control.to_bytes(2, "little"), status.to_bytes(2, "little"), 0
    found[6:8] = (_word(x87, 6) & _FOP_BITS).to_bytes(2, "little")
    for at in range(_ST.offset, _ST.end, _SLOT):
        found[at + 10 : at + _SLOT] = bytes(6)
    return bytes(found)


def _summed(status: int, control: int) -> int:
    """FSW with ES and B by what is pending: a flag that is set and not masked."""
    return status | _ES | _BUSY if status & _EXCEPTIONS & ~control else status & ~(_ES | _BUSY)


class _Stack:
    """The x87 registers of a processor, taken apart; :meth:`put` puts them back, which sets XINUSE[0]."""

    def __init__(self, cpu: Processor) -> None:
        self.cpu = cpu
        raw = cpu.registers.get(0)
        self.head = bytearray(raw[: _ST.offset])
        self.control, self.status = _word(raw, 0), _word(raw, 2)
        self.tags = raw[4]
        self.st = [raw[at : at + _SLOT] for at in range(_ST.offset, _ST.end, _SLOT)]

    @property
    def top(self) -> int:
        return (self.status & _TOP) >> 11

    def turn(self, by: int) -> None:
        """TOP moves; the registers stay where they are."""
        self.status = self.status & ~_TOP | (self.top + by & 7) << 11
        self.st = self.st[by:] + self.st[:by]

    def put(self) -> None:
        self.head[0:2], self.head[2:4] = self.control.to_bytes(2, "little"), self.status.to_bytes(2, "little")
        self.head[4] = self.tags
        self.cpu.registers.components[0] = bytes(self.head) + b"".join(self.st)


def _push(stack: _Stack, value: bytes) -> None:
    """Onto a register in use: stack overflow, the indefinite value where it is masked."""
    stack.status &= ~_C1
    if stack.tags >> (stack.top - 1 & 7) & 1:
        stack.status |= _IE | _SF | _C1
        if not stack.control & _IE:
            stack.status |= _ES | _BUSY
            return
        value = _INDEFINITE
    stack.turn(-1)
    stack.st[0] = value
    stack.tags |= 1 << stack.top


def _pop(stack: _Stack) -> None:
    """FSTP ST(0): an empty register is a stack underflow."""
    stack.status &= ~_C1
    if not stack.tags >> stack.top & 1:
        stack.status |= _IE | _SF
        if not stack.control & _IE:
            stack.status |= _ES | _BUSY
            return
        stack.st[0] = _INDEFINITE
    stack.tags &= ~(1 << stack.top)
    stack.turn(1)


def simple(cpu: Processor, name: str) -> Outcome:
    """An instruction without operand but ST registers: ``fld1``, ``fninit``, ``emms`` ... Raises ValueError."""
    rule = Rule("Intel SDM vol. 2; vol. 1, 8.1", cpu.host.evidence)
    stack = _Stack(cpu)
    if name not in _UNCHECKED and _is_pending(stack, rule):
        return rule.fault(MF)
    if name not in _OPERATIONS:
        raise ValueError(f"no x87 instruction {name}; there are {', '.join(_OPERATIONS)}")
    _OPERATIONS[name](stack)
    stack.put()
    return rule.ok()


def _is_pending(stack: _Stack, rule: Rule) -> bool:
    return not rule.check("no x87 exception is pending", not stack.status & _ES)


def _emms(stack: _Stack) -> None:
    stack.turn(-stack.top)
    stack.tags = 0


def _fninit(stack: _Stack) -> None:
    """The registers keep what they hold; TOP is 0."""
    stack.turn(-stack.top)
    stack.head = bytearray(INITIAL_X87[: _ST.offset])
    stack.control, stack.status, stack.tags = _word(INITIAL_X87, 0), 0, 0


def _fnclex(stack: _Stack) -> None:
    stack.status &= ~0x80FF


def _ffree(stack: _Stack) -> None:
    stack.tags &= ~(1 << stack.top)


def _fdivrp(stack: _Stack) -> None:
    """DE F9, which the GNU assembler calls so: ST(1) / ST(0). Only an unmasked division by zero is known here."""
    if not any(stack.st[0][:8]):
        stack.status |= _ZE
        if not stack.control & _ZE:
            stack.status |= _ES | _BUSY
            stack.head[6:8] = _FOP_FDIVRP.to_bytes(2, "little")


def _nothing(_: _Stack) -> None:
    """FNOP, FWAIT."""


_OPERATIONS = {
    "fninit": _fninit,
    "emms": _emms,
    "fnop": _nothing,
    "fwait": _nothing,
    "fnclex": _fnclex,
    "fld1": lambda stack: _push(stack, _ONE),
    "fldz": lambda stack: _push(stack, bytes(_SLOT)),
    "fincstp": lambda stack: stack.turn(1),
    "fdecstp": lambda stack: stack.turn(-1),
    "ffree %st(0)": _ffree,
    "fstp %st(0)": _pop,
    "fdivrp %st,%st(1)": _fdivrp,
}
#: Instructions that do not look for pending exceptions.
_UNCHECKED = ("fninit", "fnclex", "fnop")


def fldcw(cpu: Processor, value: int) -> Outcome:
    """FLDCW: a flag that it unmasks is pending from then on."""
    rule = Rule("Intel SDM vol. 2, FLDCW", cpu.host.evidence)
    stack = _Stack(cpu)
    if _is_pending(stack, rule):
        return rule.fault(MF)
    stack.control = value & _FCW_BITS | _FCW_SET
    stack.status = _summed(stack.status, stack.control)
    stack.put()
    return rule.ok()


def movq_mm(cpu: Processor, register: int, data: bytes) -> Outcome:
    """MOVQ of an MMX register from memory: every tag valid, TOP 0, the exponent all ones."""
    rule = Rule("Intel SDM vol. 1, 9.5; vol. 2, MOVQ", cpu.host.evidence)
    stack = _Stack(cpu)
    if _is_pending(stack, rule):
        return rule.fault(MF)
    stack.turn(-stack.top)
    stack.tags = 0xFF
    stack.st[register] = data[:8] + _MMX_EXPONENT + bytes(6)
    stack.put()
    return rule.ok()


def fxrstor(cpu: Processor, image: bytes) -> Outcome:
    """FXRSTOR of 512 bytes: x87, XMM and MXCSR."""
    rule = Rule("Intel SDM vol. 2, FXRSTOR", cpu.host.evidence)
    mxcsr = _MXCSR.get(image)
    if not rule.check("MXCSR has no reserved bit", not mxcsr & ~MXCSR_MASK):
        return rule.fault(GP)
    live = cpu.registers
    live.components[0] = masked(images.x87_of(image))
    live.components[SSE] = image[_XMM.slice]
    live.mxcsr = mxcsr
    return rule.ok()


def fxsave(cpu: Processor, image: bytes) -> Outcome:
    """FXSAVE: the new image; bytes 416 to 511 stay."""
    live = cpu.registers
    x87 = live.get(0)
    mxcsr = live.mxcsr.to_bytes(4, "little") + MXCSR_MASK.to_bytes(4, "little")
    found = x87[: _MXCSR.offset] + mxcsr + x87[_ST.slice] + live.get(SSE) + image[_XMM.end : LEGACY_SIZE_BYTES]
    return Rule("Intel SDM vol. 2, FXSAVE", cpu.host.evidence).ok(image=found)


def divps(cpu: Processor, mask: int) -> Outcome:
    """A packed division by zero: its flag in MXCSR, #XM if it is not masked."""
    rule = Rule("Intel SDM vol. 1, 11.5.2", cpu.host.evidence)
    live = cpu.registers
    live.mxcsr |= mask
    if not rule.check("MXCSR masks what happened", not mask & ~(live.mxcsr >> 7)):
        return rule.fault(XM)
    return rule.ok()
