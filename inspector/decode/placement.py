"""Where the components of an XSAVE image lie.

In order of trust: an NT_X86_XSAVE_LAYOUT note, CPUID captured with the image, a layout the
user names, a guess that says it is one. The compacted format needs only sizes and
alignment: its offsets follow from XCOMP_BV (Intel SDM vol. 1, 13.4.3).
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.capture.attributes import Room, XsaveTable
from inspector.capture.model import Bytes
from inspector.decode.header import sw_xcr0, xcomp_bv, xstate_bv
from layouts.light import NamedTuple, cache, lru_cache
from layouts.x86.xsave import BY_NUMBER, EXTENDED_OFFSET, XCOMP_COMPACTED

#: No component ends behind this: the largest set known takes 12 KiB.
_MAX_IMAGE_BYTES = 1 << 16


class Place(NamedTuple):
    """A component at its offset in one image."""

    component: int
    offset: int
    size_bytes: int


def table_from_cpuid(leaf_0xd: Mapping[int, tuple[int, int, int, int]], origin: str) -> XsaveTable | None:
    """The table that CPUID leaf 0xD gives, or None when the leaf has no component."""
    rooms = tuple(
        Room(subleaf, eax, 0 if ecx & 1 else ebx, bool(ecx & 2))
        for subleaf, (eax, ebx, ecx, _) in sorted(leaf_0xd.items())
        if 2 <= subleaf < 63 and 0 < eax <= _MAX_IMAGE_BYTES and (ecx & 1 or ebx <= _MAX_IMAGE_BYTES)
    )
    return XsaveTable(rooms, origin) if rooms else None


def table_from_note(entries: list[tuple[int, int, int]], origin: str) -> XsaveTable:
    """The table of an NT_X86_XSAVE_LAYOUT note: ``(component, size, offset)`` entries."""
    rooms = []
    for component, size, offset in sorted(entries):
        known = BY_NUMBER.get(component)
        rooms.append(Room(component, size, offset, bool(known and known.align64)))
    return XsaveTable(tuple(rooms), origin)


@cache
def table_from_layout(name: str) -> XsaveTable:
    """The table of a shipped CPU layout. Raises KeyError for an unknown name."""
    from layouts.x86.cpus import cpu_layouts

    layout = cpu_layouts()[name]
    table = table_from_cpuid(layout.leaf_0xd, f"layout {name}")
    assert table is not None, name
    return table._replace(layout=name)


def places(data: Bytes, declared_size_bytes: int, table: XsaveTable) -> tuple[Place, ...]:
    """Where each extended component of this image lies, by offset.

    Of a standard image the components that fit in its declared size, and, where Linux noted
    the XCR0 mask in the software area, that the mask has.
    """
    xcomp = xcomp_bv(data)
    if xcomp & XCOMP_COMPACTED:
        return compacted_places(table, xcomp & ~XCOMP_COMPACTED)
    mask = sw_xcr0(data)
    return standard_places(table, mask if mask & 3 == 3 else 0, declared_size_bytes)


@lru_cache(maxsize=256)
def standard_places(table: XsaveTable, mask: int, size_bytes: int = 0) -> tuple[Place, ...]:
    """Standard-format places; a ``mask`` of 0 means every component that fits into ``size_bytes``."""
    found = [
        Place(room.component, room.offset, room.size_bytes)
        for room in table.rooms
        if room.offset >= EXTENDED_OFFSET
        and (not mask or mask >> room.component & 1)
        and (mask or room.offset + room.size_bytes <= size_bytes)
    ]
    return tuple(sorted(found, key=lambda place: place.offset))


@lru_cache(maxsize=256)
def compacted_places(table: XsaveTable, mask: int) -> tuple[Place, ...]:
    """Compacted-format places of the components in ``mask`` (XCOMP_BV without bit 63).

    Stops at a component whose size nobody knows: nothing behind it can be placed.
    """
    found = []
    offset = EXTENDED_OFFSET
    for component in range(2, 63):
        if not mask >> component & 1:
            continue
        known = BY_NUMBER.get(component)
        room = table.room(component) or (Room(component, known.size_bytes, 0, known.align64) if known else None)
        if room is None:
            break
        if room.align64:
            offset = -(-offset // 64) * 64
        found.append(Place(component, offset, room.size_bytes))
        offset += room.size_bytes
    return tuple(found)


def guess_table(data: Bytes, declared_size_bytes: int) -> XsaveTable:
    """A shipped layout that fits the image, labelled as a guess.

    A layout fits when it has every component that the image says it holds and no byte
    outside its components is set. Of those that fit, one whose size is exactly the image's
    comes first, then the one that explains the most components.
    """
    from layouts.x86.cpus import cpu_layouts

    held = (xstate_bv(data) | sw_xcr0(data)) & ~3
    best: list[tuple[tuple[int, int, int], str]] = []
    for order, name in enumerate(cpu_layouts()):
        table = table_from_layout(name)
        placed = places(data, declared_size_bytes, table)
        numbers = sum(1 << place.component for place in placed)
        end = max((place.offset + place.size_bytes for place in placed), default=EXTENDED_OFFSET)
        missing = (held & ~numbers).bit_count()
        stray = 0 if _quiet_outside(data, placed) else 1
        best.append(((missing + stray, int(end != declared_size_bytes), order), name))
    best.sort()
    (score, name), *_ = best
    chosen = places(data, declared_size_bytes, table_from_layout(name))
    same = [other for key, other in best[1:] if key[:2] == score[:2]]
    unlike = [other for other in same if places(data, declared_size_bytes, table_from_layout(other)) != chosen]
    doubt = f"; {unlike[0]} fits as well" if unlike else ""
    if score[0]:
        doubt = "; no shipped layout explains every byte"
    return XsaveTable(table_from_layout(name).rooms, f"guess: {name}{doubt}", guessed=True, layout=name)


def _quiet_outside(data: Bytes, placed: tuple[Place, ...]) -> bool:
    """No byte behind the header is set outside the placed components."""
    at = EXTENDED_OFFSET
    for place in placed:
        if any(data[at : place.offset]):
            return False
        at = max(at, place.offset + place.size_bytes)
    return not any(data[at:])
