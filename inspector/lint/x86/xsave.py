"""X01xx: the XSAVE image against XCR0, XSS, CPUID and itself."""

from __future__ import annotations

from collections.abc import Iterator

from inspector.capture.model import Area
from inspector.decode.notes import notes_of
from inspector.decode.placement import table_from_cpuid
from inspector.lint.registry import Hit, check
from inspector.lint.state import State
from layouts.x86.xsave import AVX, AVX512, BY_NUMBER, MPX, PKRU, SSE, TILECFG, TILEDATA, X87, XCOMP_COMPACTED, XTILE

#: x87 and SSE are always saved; PKRU is the vCPU's, whatever XCR0 is (copy_xstate_to_uabi_buf).
_ALWAYS = 1 << PKRU | 1 << X87 | 1 << SSE
_X87, _SSE, _AVX = 1 << X87, 1 << SSE, 1 << AVX
#: struct kvm_xsave: u32 region[1024].
_KVM_XSAVE_BYTES = 4096

#: What MXCSR may hold where the image does not say (MXCSR_MASK 0 means this, Intel SDM vol. 1, 11.6.6).
_DEFAULT_MXCSR_MASK = 0xFFBF
#: Palette 1 (CPUID leaf 0x1D, sub-leaf 1): tiles, rows, bytes a row.
_TILES_OF_PALETTE, _ROWS, _COLUMN_BYTES = 8, 16, 64


def names_of(mask: int) -> str:
    """Components by name."""
    numbers = [number for number in range(mask.bit_length()) if mask >> number & 1]
    return ", ".join(BY_NUMBER[number].name if number in BY_NUMBER else f"component {number}" for number in numbers)


def image_areas(state: State) -> Iterator[Area]:
    """The vCPU's XSAVE images."""
    return (area for area in state.areas("xsave") if not area.attributes.get("xstate_bv_unmaintained"))


def images(state: State) -> Iterator[str]:
    """The prefixes of the vCPU's XSAVE images."""
    return (area.prefix for area in image_areas(state))


def offered(state: State) -> int | None:
    """The bits of XCR0 that the guest's CPUID offers; None without leaf 0xD."""
    values = state.cpuid.get(0xD)
    return values[0] | values[3] << 32 if values else None


@check("X0101")
def in_use_but_disabled(state: State) -> Iterator[Hit]:
    """XSTATE_BV against XCR0 and XSS."""
    xcr0, xss = state.number("xcr.xcr0"), state.number("msr.IA32_XSS") or 0
    for prefix in images(state):
        in_use = state.number(f"{prefix}.header.xstate_bv")
        if xcr0 is None or in_use is None:
            continue
        beyond = in_use & ~(xcr0 | xss | _ALWAYS)
        if beyond:
            evidence = f"XSTATE_BV {in_use:#x} has {names_of(beyond)}, XCR0 is {xcr0:#x}"
            yield Hit(f"{prefix}.header.xstate_bv", evidence)


@check("X0102")
def header_not_zero(state: State) -> Iterator[Hit]:
    """XCOMP_BV and the reserved bytes of an image in the standard format."""
    for prefix in images(state):
        xcomp_bv = state.number(f"{prefix}.header.xcomp_bv")
        if xcomp_bv and not xcomp_bv & XCOMP_COMPACTED:
            yield Hit(f"{prefix}.header.xcomp_bv", f"XCOMP_BV is {xcomp_bv:#x} without bit 63")
        if state.number(f"{prefix}.header.reserved"):
            yield Hit(f"{prefix}.header.reserved", "not all of its 48 bytes are zero")


@check("X0103")
def mxcsr_reserved(state: State) -> Iterator[Hit]:
    """MXCSR of images against their mask."""
    for prefix in images(state):
        mxcsr = state.number(f"{prefix}.legacy.mxcsr")
        mask = state.number(f"{prefix}.legacy.mxcsr_mask") or _DEFAULT_MXCSR_MASK
        if mxcsr is not None and mxcsr & ~mask:
            yield Hit(f"{prefix}.legacy.mxcsr", f"MXCSR {mxcsr:#x} has bits outside {mask:#x}")


@check("X0104")
def compacted(state: State) -> Iterator[Hit]:
    """XCOMP_BV bit 63; a kernel's own buffer may have it."""
    for area in image_areas(state):
        path = f"{area.prefix}.header.xcomp_bv"
        xcomp_bv = state.number(path) or 0
        if xcomp_bv & XCOMP_COMPACTED and not area.attributes.get("kernel_buffer"):
            yield Hit(path, f"XCOMP_BV is {xcomp_bv:#x}")


def _xcr0(state: State) -> Iterator[int]:
    value = state.number("xcr.xcr0")
    if value is not None:
        yield value


@check("X0105")
def xcr0_without_x87(state: State) -> Iterator[Hit]:
    """XCR0[0]."""
    return (Hit("xcr.xcr0", f"XCR0 is {value:#x}") for value in _xcr0(state) if not value & _X87)


@check("X0106")
def xcr0_avx_without_sse(state: State) -> Iterator[Hit]:
    """XCR0[2] needs XCR0[1]."""
    return (Hit("xcr.xcr0", f"XCR0 is {value:#x}") for value in _xcr0(state) if value & _AVX and not value & _SSE)


@check("X0107")
def xcr0_part_of_avx512(state: State) -> Iterator[Hit]:
    """XCR0[7:5] together, with XCR0[2]."""
    for value in _xcr0(state):
        if value & AVX512 and (value & AVX512 != AVX512 or not value & _AVX):
            yield Hit("xcr.xcr0", f"XCR0 {value:#x} has {names_of(value & (AVX512 | _AVX))}")


@check("X0108")
def xcr0_part_of_tiles(state: State) -> Iterator[Hit]:
    """XCR0[18:17] together."""
    return (Hit("xcr.xcr0", f"XCR0 is {value:#x}") for value in _xcr0(state) if value & XTILE not in (0, XTILE))


@check("X0109")
def xcr0_part_of_mpx(state: State) -> Iterator[Hit]:
    """XCR0[4:3] together."""
    return (Hit("xcr.xcr0", f"XCR0 is {value:#x}") for value in _xcr0(state) if value & MPX not in (0, MPX))


@check("X0110")
def xcr0_beyond_cpuid(state: State) -> Iterator[Hit]:
    """XCR0 against CPUID leaf 0xD."""
    mask = offered(state)
    for value in _xcr0(state) if mask is not None else ():
        if value & ~((mask or 0) | _X87):
            beyond = names_of(value & ~((mask or 0) | _X87))
            yield Hit("xcr.xcr0", f"XCR0 {value:#x} has {beyond}, CPUID leaf 0xD offers {mask:#x}")


def _ends(state: State, area: Area) -> dict[int, int]:
    """Where components end in the standard format: by the guest's CPUID, else as the image's layout was found."""
    table = table_from_cpuid(state.cpuid.xsave_table(), "the guest's CPUID") or area.attributes["table"]
    return {room.component: room.offset + room.size_bytes for room in table.rooms if room.offset}


def _beyond_end(state: State, area: Area, mask: int) -> dict[int, int]:
    """Of the components in a mask those that the image does not hold whole, with the byte at which they end."""
    if (state.number(f"{area.prefix}.header.xcomp_bv") or 0) & XCOMP_COMPACTED:
        return {}
    ends = _ends(state, area)
    return {number: end for number, end in ends.items() if mask >> number & 1 and end > len(area.data)}


@check("X0111")
def cut(state: State) -> Iterator[Hit]:
    """A component in use of which the image does not hold all."""
    for area in image_areas(state):
        in_use = state.number(f"{area.prefix}.header.xstate_bv") or 0
        for number, end in _beyond_end(state, area, in_use).items():
            name = names_of(1 << number)
            yield Hit(f"{area.prefix}.header.xstate_bv", f"{name} ends at byte {end}, the image at {len(area.data)}")


@check("X0112")
def too_short(state: State) -> Iterator[Hit]:
    """A struct kvm_xsave, and nothing longer, for an XCR0 with more."""
    areas = list(image_areas(state))
    for value in _xcr0(state):
        if areas and all(len(area.data) == _KVM_XSAVE_BYTES for area in areas):
            beyond = _beyond_end(state, areas[0], value)
            if beyond:
                evidence = f"XCR0 {value:#x} needs {max(beyond.values())} bytes"
                yield Hit(f"{areas[0].prefix}.header.xstate_bv", f"{evidence}, the image has {_KVM_XSAVE_BYTES}")


@check("X0113")
def tiles_while_disabled(state: State) -> Iterator[Hit]:
    """XSTATE_BV against IA32_XFD."""
    xfd = state.number("msr.IA32_XFD")
    for prefix in images(state) if xfd else ():
        in_use = (state.number(f"{prefix}.header.xstate_bv") or 0) & (xfd or 0)
        if in_use:
            yield Hit(f"{prefix}.header.xstate_bv", f"{names_of(in_use)} in use, IA32_XFD is {xfd:#x}")


@check("X0114")
def bad_tilecfg(state: State) -> Iterator[Hit]:
    """TILECFG as LDTILECFG checks it."""
    for prefix in images(state):
        base = f"{prefix}.xtilecfg"
        palette = state.number(f"{base}.palette_id")
        if palette is None or not (state.number(f"{prefix}.header.xstate_bv") or 0) >> TILECFG & 1:
            continue
        if palette > 1:
            yield Hit(f"{base}.palette_id", f"palette {palette}")
        for tile in range(_TILES_OF_PALETTE if palette == 1 else 0):
            rows, columns = state.number(f"{base}.rows[{tile}]") or 0, state.number(f"{base}.colsb[{tile}]") or 0
            if rows > _ROWS or columns > _COLUMN_BYTES or bool(rows) != bool(columns):
                yield Hit(f"{base}.rows[{tile}]", f"tile {tile} has {rows} rows of {columns} bytes")


@check("X0115")
def tiles_without_configuration(state: State) -> Iterator[Hit]:
    """TILEDATA in use, TILECFG not."""
    for prefix in images(state):
        in_use = state.number(f"{prefix}.header.xstate_bv") or 0
        if in_use & XTILE == 1 << TILEDATA:
            yield Hit(f"{prefix}.header.xstate_bv", f"XSTATE_BV is {in_use:#x}")


@check("X0116")
def keys_without_pkru(state: State) -> Iterator[Hit]:
    """XSTATE_BV[9] against CR4.PKE."""
    if state.bit("sregs.cr4.PKE"):
        for prefix in images(state):
            in_use = state.number(f"{prefix}.header.xstate_bv")
            if in_use is not None and not in_use >> PKRU & 1:
                yield Hit(f"{prefix}.header.xstate_bv", f"XSTATE_BV is {in_use:#x}, CR4.PKE is 1")


@check("X0117")
def in_use_but_not_offered(state: State) -> Iterator[Hit]:
    """XSTATE_BV against CPUID leaf 0xD."""
    mask = offered(state)
    if mask is None or not state.has("kvm-sregs"):
        return
    supervisor = state.leaf(0xD, 1)[2]
    for prefix in images(state):
        in_use = state.number(f"{prefix}.header.xstate_bv") or 0
        beyond = in_use & ~(mask | supervisor | _X87 | _SSE)
        if beyond:
            evidence = f"XSTATE_BV {in_use:#x} has {names_of(beyond)}, CPUID leaf 0xD offers {mask:#x}"
            yield Hit(f"{prefix}.header.xstate_bv", evidence)


@check("X0118")
def fpu_and_image(state: State) -> Iterator[Hit]:
    """What struct kvm_fpu and the image both hold, where the image says that it is in use."""
    for prefix in images(state) if state.has("kvm-fpu") else ():
        in_use = state.number(f"{prefix}.header.xstate_bv") or 0
        paths = [("fpu.fcw", "legacy.fcw"), ("fpu.fsw", "legacy.fsw")] if in_use & _X87 else []
        paths += [(f"fpu.xmm[{n}]", f"xmm[{n}]") for n in range(16)] if in_use & _SSE else []
        for path, other in paths:
            values = state.numbers(path, f"{prefix}.{other}")
            if values is not None and values[0] != values[1]:
                yield Hit(path, f"{path} {values[0]:#x}, {prefix}.{other} {values[1]:#x}")
                break


@check("X0119")
def fpu_alone(state: State) -> Iterator[Hit]:
    """Struct kvm_fpu without an image."""
    for value in _xcr0(state):
        if state.has("kvm-fpu") and not any(state.areas("xsave")) and value & ~(_X87 | _SSE):
            yield Hit("xcr.xcr0", f"XCR0 {value:#x} has {names_of(value & ~(_X87 | _SSE))}, there is no XSAVE image")


@check("X0120")
def two_images(state: State) -> Iterator[Hit]:
    """XSTATE_BV of the answers of KVM_GET_XSAVE and KVM_GET_XSAVE2."""
    values = state.numbers("kvm_xsave.header.xstate_bv", "xsave.header.xstate_bv")
    if values is not None and values[0] != values[1]:
        yield Hit("kvm_xsave.header.xstate_bv", f"XSTATE_BV {values[0]:#x} there, {values[1]:#x} in xsave")


@check("X0121")
def switched_off(state: State) -> Iterator[Hit]:
    """XCR0 against CR4.OSXSAVE."""
    for value in _xcr0(state):
        if value != _X87 and state.bit("sregs.cr4.OSXSAVE") == 0:
            yield Hit("xcr.xcr0", f"XCR0 is {value:#x}, CR4.OSXSAVE is 0")


@check("X0122")
def stale_pkru(state: State) -> Iterator[Hit]:
    """What decode says of PKRU in cores."""
    for prefix in images(state):
        path = f"{prefix}.pkru.pkru"
        if path in notes_of(state.capture, state.vcpu):
            yield Hit(path, f"PKRU is {state.hex(path)}")
