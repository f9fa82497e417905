"""The bits and fields in which a guest and a destination differ, and which of them are in the guest's way.

How two values go together is a table: ``layouts/x86/combine.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.leaves import as_shown
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import XSTATE_LEAF, Place, names_of, parts_of, rule_of
from layouts.light import NamedTuple
from layouts.x86.combine import FEATURE_MSRS, Combine
from layouts.x86.features import REGISTERS
from layouts.x86.xsave import BY_NUMBER

_VMX_MSRS = range(0x480, 0x492)
_VMX_BIT = 1 << 5
#: Leaves that describe what both have: the vendor's name, and the palette of tiles.
DESCRIBING = frozenset((0, 0x1D))


class Difference(NamedTuple):
    """A bit or field that differs.

    ``source`` is the guest's value, ``target`` what the destination can give at most, or what its VMM will give.
    ``known`` is False where nothing tells the destination's. ``blocks``: the rule does not hold, the guest cannot keep
    what it has.
    """

    place: Place
    rule: Combine
    source: int
    target: int
    blocks: bool
    known: bool = True

    @property
    def name(self) -> str:
        """What it is called: QEMU's name where it has one."""
        return names_of(self.place)[0]


def violates(rule: Combine, source: int, target: int) -> bool:
    """Whether a guest with ``source`` cannot keep it where there is ``target``."""
    if rule == "and":
        return bool(source & ~target)
    if rule == "or":
        return False
    if rule == "at_most":
        return source > target
    return rule == "equal" and source != target


def differences(guest: Guest, destination: Destination) -> tuple[Difference, ...]:
    """Every bit and field that differs, CPUID first, then XCR0 and XSS, then feature MSRs."""
    table = guest.table
    if not table:
        return tuple(in_msrs(guest.msrs, compared_msrs(table), destination))
    return (*in_table(guest, table, destination), *in_msrs(guest.msrs, compared_msrs(table), destination))


#: Registers of CPUID: by leaf and sub-leaf, those of REGISTERS by number.
Words = Mapping[tuple[int, int], Collection[int]]
_EVERY = range(len(REGISTERS))
_ZERO = (0, 0, 0, 0)


def in_table(
    guest: Guest,
    table: Mapping[tuple[int, int], CpuidValues],
    destination: Destination,
    words: Words | None = None,
) -> Iterator[Difference]:
    """What differs in a table of CPUID that the guest has or may have; ``words``: in these registers alone.

    XCR0 and XSS are looked at with any register of leaf 0xD.
    """
    yield from _cpuid(as_shown(table), destination, words)
    if words is None or any(leaf == XSTATE_LEAF for leaf, _ in words):
        of_names = guest.made is not None and guest.made.offer.cpuid is None
        yield from _xstate(table, destination, has_areas=destination.knows_areas and not of_names)


def _cpuid(
    table: Mapping[tuple[int, int], CpuidValues], destination: Destination, words: Words | None
) -> Iterator[Difference]:
    supported = destination.supported.leaves
    keys = table.keys() | supported.keys() if words is None else words
    for leaf, subleaf in sorted(keys):
        row = table.get((leaf, subleaf), _ZERO)
        for number in _EVERY if words is None else words[leaf, subleaf]:
            register = REGISTERS[number]
            parts = parts_of(leaf, subleaf, register)
            if not parts:
                continue
            shown, known = destination.shown(leaf, subleaf, register), destination.known(leaf, subleaf, register)
            if leaf in DESCRIBING and (not shown or (leaf, subleaf) not in table):
                continue
            if row[number] != shown or known != 0xFFFFFFFF:
                # What VMMs add is there for a guest that has it; it is nothing that the destination shows by itself.
                target = shown | row[number] & destination.word(leaf, subleaf, register)
                yield from _parts(parts, row[number], target, known)


def _parts(parts: tuple[tuple[Place, Combine, int], ...], source: int, target: int, known: int) -> Iterator[Difference]:
    looked_at = source ^ target | source & ~known
    for place, rule, mask in parts:
        if not looked_at & mask:
            continue
        mine, theirs = (source & mask) >> place.low, (target & mask) >> place.low
        is_known = not mask & ~known
        if is_known or (mine and rule != "ignore"):
            yield Difference(place, rule, mine, theirs, is_known and violates(rule, mine, theirs), is_known)


def _xstate(
    table: Mapping[tuple[int, int], CpuidValues], destination: Destination, *, has_areas: bool
) -> Iterator[Difference]:
    """Leaf 0xD: the components as bits of XCR0 and XSS, and where each lies in a standard image."""
    kvm = destination.kvm
    eax, _, _, edx = table.get((XSTATE_LEAF, 0), _ZERO)
    _, _, ecx, high = table.get((XSTATE_LEAF, 1), _ZERO)
    xcr0, xss = kvm.xcr0, kvm.xss
    for kind, mine, theirs in (("xcr0", eax | edx << 32, xcr0), ("xss", ecx | high << 32, xss)):
        for bit in _ones(mine ^ theirs):
            source = mine >> bit & 1
            place = Place(kind, XSTATE_LEAF, 0, "", bit, bit)
            yield Difference(place, "and", source, 1 - source, blocks=bool(source))
    host = destination.supported
    if not has_areas:
        return
    for number in BY_NUMBER:
        row, other = table.get((XSTATE_LEAF, number), _ZERO), host.get(XSTATE_LEAF, number) or _ZERO
        if number < 2 or not (eax & xcr0) >> number & 1 or not row[0] or not other[0]:
            continue
        for at, register in ((0, "eax"), (1, "ebx")):
            if row[at] != other[at]:
                place = Place("xstate", XSTATE_LEAF, number, register, high=31)
                yield Difference(place, "equal", row[at], other[at], blocks=True)


def in_msrs(msrs: Mapping[int, int], indexes: Iterable[int], destination: Destination) -> Iterator[Difference]:
    """What differs in feature MSRs, bit by bit."""
    for index in indexes:
        if index not in msrs or not destination.has_feature_msr(index):
            continue
        mine, theirs = msrs[index], destination.feature_msr(index)
        if theirs is None:
            if mine:
                yield Difference(Place("msr", index, high=63), "and", mine, 0, blocks=False, known=False)
            continue
        for bit in _ones(mine ^ theirs):
            place = Place("msr", index, 0, "", bit, bit)
            rule, source, target = msr_rule(index, bit), mine >> bit & 1, theirs >> bit & 1
            yield Difference(place, rule, source, target, violates(rule, source, target))


def _ones(word: int) -> Iterator[int]:
    """The numbers of the bits that are 1, the lowest first."""
    while word:
        yield (word ^ word - 1).bit_length() - 1
        word &= word - 1


def compared_msrs(table: Mapping[tuple[int, int], CpuidValues]) -> tuple[int, ...]:
    """The feature MSRs that count for a guest with this CPUID; those of VMX only where it has VMX."""
    row = table.get((1, 0))
    return (*FEATURE_MSRS, *(_VMX_MSRS if row is not None and row[2] & _VMX_BIT else ()))


def msr_rule(index: int, bit: int) -> Combine:
    """How a bit of a feature MSR goes together."""
    return _vmx_rule(index, bit) if index in _VMX_MSRS else rule_of(Place("msr", index, low=bit))


#: VMX_BASIC, VMCS_ENUM: numbers; CR0_FIXED0, CR4_FIXED0: bits that must be 1.
_VMX_NUMBERS, _VMX_MUST = (0x480, 0x48A), (0x486, 0x488)
_VMX_CONTROLS = frozenset((0x481, 0x482, 0x483, 0x484, 0x48B, *range(0x48D, 0x491)))


def _vmx_rule(index: int, bit: int) -> Combine:
    """Controls: the lower half says which must be 1, the upper which may be (Intel SDM vol. 3, appendix A)."""
    if index in _VMX_MUST or (index in _VMX_CONTROLS and bit < 32):
        return "or"
    return "ignore" if index in _VMX_NUMBERS and bit < 32 else "and"
