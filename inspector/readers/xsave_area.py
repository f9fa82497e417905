"""XSAVE images: which table places their components, and raw images as files."""

from __future__ import annotations

import os

from inspector.capture.attributes import XsaveTable
from inspector.capture.errors import InputError
from inspector.capture.model import Area, Bytes, Capture, Origin, Vcpu
from inspector.decode.header import mxcsr, reserved, xcomp_bv, xstate_bv
from inspector.decode.placement import guess_table, places, table_from_cpuid, table_from_layout
from inspector.readers.options import Options
from inspector.readers.source import Source, open_source
from layouts.x86.xsave import BY_NUMBER, EXTENDED_OFFSET, HEADER_AT, LEGACY_AT, XCOMP_COMPACTED

#: A raw image larger than this is none (the largest component set known takes 12 KiB).
MAX_SIZE_BYTES = 1 << 16
#: KVM_GET_XSAVE always returns this many bytes, and KVM_GET_XSAVE2 at least.
KVM_XSAVE_SIZE_BYTES = 4096

_KNOWN = sum(1 << number for number in BY_NUMBER)
_MXCSR_KNOWN = 0x2FFFF


def looks_like_xsave(data: Bytes) -> bool:
    """A sound header, XSTATE_BV and MXCSR: enough to take a file for an XSAVE image."""
    if not EXTENDED_OFFSET <= len(data) <= MAX_SIZE_BYTES or header_fault(data, ""):
        return False
    return bool(xstate_bv(data) or mxcsr(data))


def header_fault(data: Bytes, file: str) -> InputError | None:
    """What no XSAVE instruction writes: reserved bits of MXCSR, unknown components, a torn header."""
    bv, xcomp = xstate_bv(data), xcomp_bv(data)
    control = mxcsr(data)
    compacted = xcomp & ~XCOMP_COMPACTED
    bv_at, xcomp_at = HEADER_AT["xstate_bv"].offset, HEADER_AT["xcomp_bv"].offset
    for wrong, offset, expected, found in (
        (control & ~_MXCSR_KNOWN, LEGACY_AT["mxcsr"].offset, f"MXCSR within {_MXCSR_KNOWN:#x}", control),
        (bv & ~_KNOWN, bv_at, f"XSTATE_BV within {_KNOWN:#x}", bv),
        (xcomp and not xcomp & XCOMP_COMPACTED, xcomp_at, "XCOMP_BV of 0 or with bit 63", xcomp),
        (compacted & ~_KNOWN, xcomp_at, f"XCOMP_BV within {_KNOWN:#x}", xcomp),
        (xcomp and bv & ~xcomp & ~3, bv_at, f"XSTATE_BV within XCOMP_BV {xcomp:#x}", bv),
    ):
        if wrong:
            return InputError(file, f"an XSAVE image: {expected}", f"{found:#x}", offset)
    rest = reserved(data)
    if any(rest):
        expected = "an XSAVE image: zero in the reserved bytes of its header"
        return InputError(file, expected, rest.hex(), HEADER_AT["reserved"].offset)
    return None


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
    held = xstate_bv(data) if len(data) == KVM_XSAVE_SIZE_BYTES else -1
    for place in places(data, area.declared_size_bytes, area.attributes["table"]):
        end = place.offset + place.size_bytes
        if held >> place.component & 1 and end > len(data):
            component = BY_NUMBER.get(place.component)
            name = component.name if component else f"component {place.component}"
            expected = f"{name} up to {end:#x}"
            return InputError(file, expected, "the end of the image", area.origin.offset + len(data))
    return None


def sibling_table(path: str) -> XsaveTable | None:
    """The table of the CPUID file that lies beside an image: ``X.kvm_cpuid2.bin`` for ``X.kvm_xsave2.bin``."""
    import re

    from inspector.readers.cpuid_table import cpuid_of

    folder, name = os.path.split(path)
    match = re.fullmatch(r"(.*)xsave2?(\..*)?", name)
    if not match or not os.path.isfile(path):
        return None
    for sibling in (f"{match[1]}cpuid2{match[2] or ''}", f"{match[1]}supported_cpuid{match[2] or ''}"):
        try:
            source = open_source(os.path.join(folder, sibling))
            try:
                data = source.read_all(MAX_SIZE_BYTES)
            finally:
                source.close()
        except InputError:
            continue
        cpuid = cpuid_of(data)
        table = table_from_cpuid(cpuid.xsave_table(), f"CPUID in {sibling}") if cpuid else None
        if table:
            return table
    return None


def xsave_area(prefix: str, title: str, data: Bytes, origin: Origin, table: XsaveTable, declared: int) -> Area:
    """An XSAVE image as an area."""
    return Area("xsave", prefix, title, data, origin, declared_size_bytes=declared, attributes={"table": table})


def read_xsave(source: Source, options: Options, title: str = "XSAVE image") -> Capture:
    """A raw XSAVE image as a capture of one vCPU."""
    data = source.read_all(MAX_SIZE_BYTES)
    fault = source.fault
    notices: list[str] = []
    if len(data) < EXTENDED_OFFSET:
        expected = f"an XSAVE image (at least {EXTENDED_OFFSET} bytes)"
        fault = fault or InputError(source.name, expected, f"{len(data)} bytes", len(data))
        table = table_from_layout(options.layout or "sapphire-rapids")
    else:
        table, notices = choose_table(data, len(data), sibling_table(source.name), options)
    declared = max(len(data), EXTENDED_OFFSET)
    area = xsave_area("xsave", title, data, Origin(source.name, 0), table, declared)
    fault = fault or header_fault(data, source.name) or missing_fault(area, source.name)
    return Capture(
        source.name,
        "xsave",
        [Vcpu(0, "vcpu", "x86", [area])],
        faults=[fault] if fault else [],
        notices=notices,
    )
