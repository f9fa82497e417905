"""What would help: a change is applied, and the question asked again. Nothing is told that was not tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from inspector.capture.host import CpuidValues
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.leaves import leaf_in
from inspector.machine.x86.kvm.msrs.access import never_takes
from inspector.machine.x86.migrate.bits import Difference, Words, in_msrs, in_table
from inspector.machine.x86.migrate.calls import Call, as_set, restored
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.places import XSTATE_LEAF
from inspector.machine.x86.migrate.start import arriving
from layouts.light import TYPE_CHECKING
from layouts.x86.features import REGISTERS
from layouts.x86.xsave import BY_NUMBER

if TYPE_CHECKING:
    from inspector.machine.x86.migrate.verdict import Migration


#: Features that bring the components which Linux has with XSAVE: XSAVE itself, AVX, AVX-512 (QEMU target/i386/cpu.c,
#: x86_ext_save_areas).
_BROUGHT_BY = {
    **dict.fromkeys((0, 1), (1, 0, "ecx", 26)),
    2: (1, 0, "ecx", 28),
    **dict.fromkeys((5, 6, 7), (7, 0, "ebx", 16)),
}
#: The width of linear addresses follows LA57: 57 bits, else 48 (QEMU target/i386/cpu.c, cpu_x86_cpuid).
_LA57, _LINEAR_WIDTH, _WIDTH_WITHOUT_LA57 = (7, 0, "ecx", 16), (0x80000008, 0, "eax", 8), 48

_ZERO = (0, 0, 0, 0)
#: Rows of CPUID by leaf and sub-leaf; None for one that goes.
_Rows = dict[tuple[int, int], CpuidValues | None]


def features_of(bit: Difference) -> tuple[tuple[int, int, str, int], ...]:
    """The CPUID bits that bring a component of XCR0 or XSS or a width; the bit itself for a feature."""
    place = bit.place
    if place.kind == "cpuid":
        is_feature = place.high == place.low and bit.rule == "and"
        return (place.key,) if is_feature else (_LA57,) if place.key == _LINEAR_WIDTH else ()
    if place.kind == "msr":
        return ()
    number = place.subleaf if place.kind == "xstate" else place.low
    if number in _BROUGHT_BY:
        return (_BROUGHT_BY[number],)
    component = BY_NUMBER.get(number)
    if component is None or not component.feature:
        return ()
    subleaf, register, at = component.feature
    # OSPKE follows CR4; the feature is the bit before it.
    at = 3 if (subleaf, register, at) == (0, 2, 4) else at
    return ((7, subleaf, REGISTERS[register], at),)


def helps(made: Migration, bit: Difference) -> bool:
    """The change for one bit is applied and asked about, once: it is out of the way, and no other came into it."""
    kept = made.again.helps
    if bit not in kept:
        before = made.again.places_of(made.bits) - {bit.place}
        kept[bit] = all(other.place in before for other in _after(made, bit) if other.blocks)
    return kept[bit]


def _after(made: Migration, bit: Difference) -> Iterable[Difference]:
    """What differs after the change; only what it touches is asked about: nothing else can have come into the way."""
    table = made.again.table_of(made.guest)
    if bit.place.kind == "msr":
        index = bit.place.at
        return in_msrs({index: made.guest.msrs[index] & ~bit.place.mask}, (index,), made.destination)
    rows = _changed_rows(table, bit)
    if rows is None:
        return (bit,)
    return in_table(made.guest, _with_rows(table, rows), made.destination, _touched(table, rows, bit))


def _touched(table: Mapping[tuple[int, int], CpuidValues], rows: _Rows, bit: Difference) -> Words:
    """The registers of CPUID that a change makes others, and those of the features that it is for."""
    found: dict[tuple[int, int], set[int]] = {}
    for key, row in rows.items():
        before, after = table.get(key, _ZERO), row or _ZERO
        found[key] = {number for number in range(len(REGISTERS)) if before[number] != after[number]}
    for leaf, subleaf, register, _ in features_of(bit):
        found.setdefault((leaf, subleaf), set()).add(REGISTERS.index(register))
    return found


def without(guest: Guest, bits: Iterable[Difference]) -> Guest:
    """The guest as it would be, had it started without the bits that a switch takes."""
    table = dict(guest.table)
    off: dict[int, int] = {}
    for bit in bits:
        if bit.place.kind == "msr":
            off[bit.place.at] = off.get(bit.place.at, 0) | bit.place.mask
        else:
            _put_rows(table, _changed_rows(table, bit) or {})
    msrs = tuple((index, value & ~off.get(index, 0)) for index, value in guest.saved.msrs)
    return guest._replace(saved=guest.saved._replace(msrs=msrs)).with_table(table)


def _with_rows(table: Mapping[tuple[int, int], CpuidValues], rows: _Rows) -> Mapping[tuple[int, int], CpuidValues]:
    if not rows:
        return table
    found = dict(table)
    _put_rows(found, rows)
    return found


def _put_rows(table: dict[tuple[int, int], CpuidValues], rows: _Rows) -> None:
    for key, row in rows.items():
        if row is None:
            table.pop(key, None)
        else:
            table[key] = row


def _changed_rows(table: Mapping[tuple[int, int], CpuidValues], bit: Difference) -> _Rows | None:
    """The rows of CPUID of a guest that starts without a bit, where they are other; None where no switch takes it."""
    keys, place = features_of(bit), bit.place
    if not keys:
        return None
    rows: _Rows = {}

    def clear(key: tuple[int, int], register: int, mask: int, value: int = 0) -> None:
        row = rows.get(key) or table.get(key)
        if row is not None:
            words = list(row)
            words[register] = words[register] & ~mask | value
            rows[key] = (words[0], words[1], words[2], words[3])

    for leaf, subleaf, register, at in keys:
        clear((leaf_in(table, leaf), subleaf), REGISTERS.index(register), 1 << at)
    if _LA57 in keys:
        clear(_LINEAR_WIDTH[:2], 0, 0xFF00, _WIDTH_WITHOUT_LA57 << 8)
    if place.kind in ("xcr0", "xss", "xstate"):
        number = place.subleaf if place.kind == "xstate" else place.low
        for subleaf, at in ((0, 0), (1, 2)):
            clear((XSTATE_LEAF, subleaf), at, 1 << number)
        rows[XSTATE_LEAF, number] = None
    return rows


def kernels_that_take(made: Migration, call: Call) -> tuple[str, ...]:
    """The releases that would take a refused call on this CPU: each is asked with the same vCPU."""
    if call.accepted:
        return ()
    here = made.destination.kernel.name
    return tuple(name for name in made.destination.on_kernels if name != here and _takes(made, call, name))


def _takes(made: Migration, call: Call, kernel: str) -> bool:
    """Another kernel takes the call, or of a list of MSRs those that are refused here."""
    wanted = {index for index, _ in call.refused}
    again = made.again.on_kernel.get(kernel)
    if again is None:
        host = Destination(made.destination.name, made.destination.on_kernels[kernel], is_raw=made.destination.is_raw)
        if _never_taken(made.guest, host, wanted):
            return False
        last = next(one.step for one in reversed(made.calls) if not one.accepted)
        again = restored(made.guest, host, made.vmm, _arriving(made, host), until=last, give_up=wanted)
        if any(index in wanted for one in again.calls for index, _ in one.refused):
            return False
        made.again.on_kernel[kernel] = again
    step = call.step.removesuffix("2")
    other = next(one for one in again.calls if one.step.removesuffix("2") == step)
    return not wanted & {index for index, _ in other.refused} if wanted else other.accepted


def _arriving(made: Migration, host: Destination) -> Sequence[Entry]:
    """The guest's CPUID on another kernel: what its VMM sends, or what QEMU makes of its line there."""
    line = made.made
    if line is not None:
        from inspector.machine.x86.models.realize import realize

        line = realize(line.request, host.offer)
    table = made.again.table_of(made.guest)
    return arriving(made.guest, made.vmm, in_table(made.guest, table, host), line)


def _never_taken(guest: Guest, host: Destination, wanted: Collection[int]) -> bool:
    """One of these MSRs is refused there whatever the calls before it did, and is set: none of them has to be made."""
    never = (index for index, value in guest.saved.msrs if index in wanted and never_takes(host.kvm, index, value))
    first = next(never, None)
    if first is None:
        return False
    tried = {index for index, _ in as_set(guest, host)[0].saved.msrs}
    return first in tried or any(index in tried for index in never)
