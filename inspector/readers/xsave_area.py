"""XSAVE images: which table places their components, and raw images as files."""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Bytes, Capture, Origin, Vcpu
from inspector.decode.placement import XsaveTable, guess_table, places, table_from_layout, xcomp_bv, xstate_bv
from inspector.readers.options import Options
from inspector.readers.source import Source
from layouts.x86.xsave import BY_NUMBER, EXTENDED_OFFSET, XCOMP_COMPACTED

#: A raw image larger than this is none (the largest component set known takes 12 KiB).
MAX_SIZE_BYTES = 1 << 16
#: KVM_GET_XSAVE always returns this many bytes, and KVM_GET_XSAVE2 at least.
KVM_XSAVE_SIZE_BYTES = 4096

_KNOWN = sum(1 << number for number in BY_NUMBER)
_MXCSR_KNOWN = 0x2FFFF


def looks_like_xsave(data: Bytes) -> bool:
    """A sound header, XSTATE_BV and MXCSR: enough to take a file for an XSAVE image."""
    if not EXTENDED_OFFSET <= len(data) <= MAX_SIZE_BYTES or any(data[528:576]):
        return False
    bv = xstate_bv(data) or 0
    xcomp = xcomp_bv(data)
    mxcsr = int.from_bytes(data[24:28], "little")
    if bv & ~_KNOWN or mxcsr & ~_MXCSR_KNOWN or not (bv or mxcsr):
        return False
    if xcomp:
        return bool(xcomp & XCOMP_COMPACTED) and not (xcomp & ~XCOMP_COMPACTED & ~_KNOWN) and not (bv & ~xcomp & ~3)
    return True


def choose_table(
    data: Bytes, declared_size_bytes: int, known: XsaveTable | None, options: Options
) -> tuple[XsaveTable, list[str]]:
    """The table for an image and what to tell the user about the choice.

    ``known`` is what came with the image (a note, CPUID) and wins over ``--layout``.
    """
    if known is not None:
        ignored = [f"--layout {options.layout} is not used: the capture has {known.origin}"] if options.layout else []
        return known, ignored
    if options.layout:
        return table_from_layout(options.layout), []
    table = guess_table(data, declared_size_bytes)
    return table, [f"layout {table.origin} (name one with --layout)"]


def missing_fault(area: Area, file: str) -> InputError | None:
    """What an image lacks: a component that it must hold ends behind its last byte.

    A 4096-byte image may be KVM_GET_XSAVE's: there, only components with data count.
    """
    data = area.data
    held = (xstate_bv(data) or 0) if len(data) == KVM_XSAVE_SIZE_BYTES else -1
    for place in places(data, area.declared_size_bytes, area.attributes["table"]):
        end = place.offset + place.size_bytes
        if held >> place.component & 1 and end > len(data):
            component = BY_NUMBER.get(place.component)
            name = component.name if component else f"component {place.component}"
            expected = f"{name} up to {end:#x}"
            return InputError(file, expected, "the end of the image", area.origin.offset + len(data))
    return None


def xsave_area(prefix: str, title: str, data: Bytes, origin: Origin, table: XsaveTable, declared: int) -> Area:
    """An XSAVE image as an area."""
    return Area("xsave", prefix, title, data, origin, declared_size_bytes=declared, attributes={"table": table})


def read_xsave(
    source: Source, options: Options, title: str = "XSAVE image", known: XsaveTable | None = None
) -> Capture:
    """A raw XSAVE image as a capture of one vCPU."""
    data = source.read_all(MAX_SIZE_BYTES)
    fault = source.fault
    notices: list[str] = []
    if len(data) < EXTENDED_OFFSET:
        expected = f"an XSAVE image (at least {EXTENDED_OFFSET} bytes)"
        fault = fault or InputError(source.name, expected, f"{len(data)} bytes", len(data))
        table = known or table_from_layout(options.layout or "sapphire-rapids")
    else:
        table, notices = choose_table(data, len(data), known, options)
    declared = max(len(data), EXTENDED_OFFSET)
    area = xsave_area("xsave", title, data, Origin(source.name, 0), table, declared)
    fault = fault or missing_fault(area, source.name)
    return Capture(
        source.name,
        "xsave",
        [Vcpu(0, "vcpu", "x86", [area])],
        faults=[fault] if fault else [],
        notices=notices,
    )
