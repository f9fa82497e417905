"""X0240 to X0259: segment registers against the mode and against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from inspector.lint.x86.control import is_canonical, is_long

_ACCESSED, _READABLE, _CODE = 1, 2, 8
_CONFORMING = 4
_STACKS = (3, 7)
_LDT, _TSS16, _TSS = 2, 3, 11
_IN_LDT = 4
_DATA = ("ds", "es", "fs", "gs")
_PARTS = ("selector", "base", "limit", "type", "present", "dpl", "db", "s", "l", "g", "unusable")


class _Segment(NamedTuple):
    """struct kvm_segment. ``name`` as in SREGS."""

    name: str
    selector: int
    base: int
    limit: int
    type: int
    present: int
    dpl: int
    db: int
    s: int
    l: int  # noqa: E741 - the manual's name
    g: int
    unusable: int

    def hit(self, part: str, evidence: str) -> Hit:
        """A finding on a part of it."""
        return Hit(f"sregs.{self.name}.{part}", evidence)


def _segment(state: State, name: str) -> _Segment | None:
    parts = state.numbers(*(f"sregs.{name}.{part}" for part in _PARTS))
    return _Segment(name, *parts) if parts is not None else None


def _usable(state: State, *names: str) -> Iterator[_Segment]:
    """Usable segments, in protected mode outside virtual-8086 mode."""
    if state.bit("sregs.cr0.PE") and not state.bit("regs.rflags.VM"):
        for name in names:
            found = _segment(state, name)
            if found is not None and not found.unusable:
                yield found


@check("X0240")
def code(state: State) -> Iterator[Hit]:
    """CS."""
    if state.bit("sregs.cr0.PE") and not state.bit("regs.rflags.VM"):
        cs = _segment(state, "cs")
        if cs is not None and (cs.unusable or not cs.present or not cs.s or not cs.type & _ACCESSED):
            yield cs.hit("type", f"type {cs.type}, present {cs.present}, s {cs.s}, unusable {cs.unusable}")
        elif cs is not None and not cs.type & _CODE and cs.type != _STACKS[0]:
            yield cs.hit("type", f"type {cs.type} is data")


@check("X0241")
def code_of_two_sizes(state: State) -> Iterator[Hit]:
    """CS.L and CS.D."""
    for cs in _usable(state, "cs"):
        if is_long(state) and cs.l and cs.db:
            yield cs.hit("db", "L and D are 1")


@check("X0242")
def privileges(state: State) -> Iterator[Hit]:
    """CS.DPL against SS.DPL."""
    cs, ss = _segment(state, "cs"), _segment(state, "ss")
    if cs is None or ss is None or not any(_usable(state, "cs")) or not cs.type & _CODE:
        return
    if cs.type & _CONFORMING:
        if cs.dpl > ss.dpl:
            yield cs.hit("dpl", f"conforming CS of DPL {cs.dpl}, SS of DPL {ss.dpl}")
    elif cs.dpl != ss.dpl:
        yield cs.hit("dpl", f"CS of DPL {cs.dpl}, SS of DPL {ss.dpl}")


@check("X0243")
def stack(state: State) -> Iterator[Hit]:
    """SS."""
    for ss in _usable(state, "ss"):
        if ss.type not in _STACKS or not ss.present or not ss.s:
            yield ss.hit("type", f"type {ss.type}, present {ss.present}, s {ss.s}")


@check("X0244")
def data(state: State) -> Iterator[Hit]:
    """DS, ES, FS and GS."""
    for one in _usable(state, *_DATA):
        readable = one.type & _ACCESSED and (not one.type & _CODE or one.type & _READABLE)
        if not readable or not one.present or not one.s:
            yield one.hit("type", f"type {one.type}, present {one.present}, s {one.s}")


@check("X0245")
def task(state: State) -> Iterator[Hit]:
    """TR."""
    tr = _segment(state, "tr")
    if tr is None or not state.bit("sregs.cr0.PE"):
        return
    allowed = (_TSS,) if is_long(state) else (_TSS16, _TSS)
    if tr.unusable or not tr.present or tr.s or tr.type not in allowed:
        yield tr.hit("type", f"type {tr.type}, present {tr.present}, s {tr.s}, unusable {tr.unusable}")


@check("X0246")
def local_table(state: State) -> Iterator[Hit]:
    """LDTR."""
    for ldt in _usable(state, "ldt"):
        if ldt.type != _LDT or not ldt.present or ldt.s:
            yield ldt.hit("type", f"type {ldt.type}, present {ldt.present}, s {ldt.s}")


@check("X0247")
def granularity(state: State) -> Iterator[Hit]:
    """Limits against G."""
    for one in _usable(state, "cs", "ss", *_DATA, "tr", "ldt"):
        if (one.g and one.limit & 0xFFF != 0xFFF) or (not one.g and one.limit >> 20):
            yield one.hit("limit", f"limit {one.limit:#x} with G={one.g}")


@check("X0248")
def bases(state: State) -> Iterator[Hit]:
    """Bases that are no addresses."""
    for one in _usable(state, "fs", "gs", "tr", "ldt"):
        if not is_canonical(one.base, state):
            yield one.hit("base", f"base {one.base:#x} is not canonical")
    for one in _usable(state, "cs", "ss", "ds", "es"):
        if one.base >> 32:
            yield one.hit("base", f"base {one.base:#x} has more than 32 bits")
    for name in ("gdt", "idt"):
        base = state.number(f"sregs.{name}.base")
        if base is not None and not is_canonical(base, state):
            yield Hit(f"sregs.{name}.base", f"base {base:#x} is not canonical")


@check("X0249")
def virtual_8086(state: State) -> Iterator[Hit]:
    """Segments in virtual-8086 mode."""
    for name in ("cs", "ss", *_DATA) if state.bit("regs.rflags.VM") else ():
        one = _segment(state, name)
        if one is None:
            continue
        rights = (one.type, one.s, one.dpl, one.present)
        if one.base != one.selector << 4 or one.limit != 0xFFFF or rights != (3, 1, 3, 1):
            yield one.hit("base", f"selector {one.selector:#x}, base {one.base:#x}, limit {one.limit:#x}")


@check("X0250")
def selectors(state: State) -> Iterator[Hit]:
    """TI of TR and LDTR."""
    for one in _usable(state, "tr", "ldt"):
        if one.selector & _IN_LDT:
            yield one.hit("selector", f"selector {one.selector:#x}")


@check("X0251")
def usable_but_absent(state: State) -> Iterator[Hit]:
    """Present against unusable."""
    for one in _usable(state, *_DATA, "ss"):
        if not one.present:
            yield one.hit("present", "present 0, unusable 0")
