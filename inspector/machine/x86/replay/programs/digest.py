"""How recordings show images: XSTATE_BV and XCOMP_BV, small fields, and a digest of each region."""

from __future__ import annotations

import zlib

from inspector.decode.header import xcomp_bv, xstate_bv
from inspector.machine.x86.cpu.registers import TILE_SIZE_BYTES
from layouts.light import lru_cache
from layouts.members import Member
from layouts.x86.xsave import (
    EXTENDED_OFFSET,
    HEADER_AT,
    LEGACY_AT,
    LEGACY_SIZE_BYTES,
    PKRU,
    TILECFG,
    TILEDATA,
    XCOMP_COMPACTED,
)

Shown = dict[str, object]
#: The recorder's places: offset in a standard image and size by component, also of those that no CPU of it has.
_STANDARD = {
    1: LEGACY_AT["xmm"].offset,
    2: EXTENDED_OFFSET,
    5: 1088,
    6: 1152,
    7: 1664,
    9: 2688,
    TILECFG: 2752,
    TILEDATA: 2816,
}
_SIZES = (160, 256, 256, 64, 64, 64, 512, 1024, 128, 8, 8, 16, 24, 8, 48, 808, 8, 64, 8192)


@lru_cache(maxsize=4096)
def region(data: bytes) -> str:
    """``xx*`` for bytes that are all xx, else the CRC and the first 16 bytes."""
    if len(data) > 4 and data.count(data[:1]) == len(data):
        return f"{data[0]:02x}*"
    return f"{zlib.crc32(data):08x}:{data[:16].hex()}"


def number(image: bytes, member: Member) -> str:
    """A field as hexadecimal digits."""
    return f"{member.get(image):x}"


def places(xcomp: int) -> list[tuple[int, int]]:
    """Components and their offsets, as the recorder looks for them."""
    if not xcomp & XCOMP_COMPACTED:
        return list(_STANDARD.items())
    found, offset = [(1, _STANDARD[1])], EXTENDED_OFFSET
    for component in range(2, len(_SIZES)):
        if xcomp >> component & 1:
            if component >= TILECFG:
                offset = -(-offset // 64) * 64
            found.append((component, offset))
            offset += _SIZES[component]
    return found


def digest(image: bytes, *, everything: bool) -> Shown:
    """A whole image, or with ``everything`` false what is in XSTATE_BV."""
    bv, xcomp = xstate_bv(image), xcomp_bv(image)
    shown: Shown = {
        "bv": f"{bv:x}",
        "cb": f"{xcomp:x}",
        "mxcsr": number(image, LEGACY_AT["mxcsr"]),
        "mask": number(image, LEGACY_AT["mxcsr_mask"]),
    }
    if everything or bv & 1:
        shown |= {name: number(image, LEGACY_AT[name]) for name in ("fcw", "fsw", "ftw")}
        shown["st"] = region(image[LEGACY_AT["st"].slice])
    if everything:
        shown |= {
            "fop": number(image, LEGACY_AT["fop"]),
            "hdr": region(image[HEADER_AT["reserved"].slice]),
            "r416": region(image[LEGACY_AT["reserved416"].slice]),
            "sw464": region(image[LEGACY_AT["sw_xcr0"].offset : LEGACY_SIZE_BYTES]),
        }
    for component, offset in places(xcomp):
        if everything or bv >> component & 1:
            _show(shown, component, image[offset : offset + _SIZES[component]])
    return shown


def _show(shown: Shown, component: int, data: bytes) -> None:
    shown[str(component)] = data.hex() if component in (PKRU, TILECFG) else region(data)
    if component == TILEDATA:
        tiles = range(0, len(data), TILE_SIZE_BYTES)
        shown["t"] = [region(data[at : at + TILE_SIZE_BYTES]) for at in tiles]


@lru_cache(maxsize=256)
def good_image(xcomp: int, bv: int) -> bytes:
    """The recorder's good image of 16384 bytes: each byte tells where it is (the recordings' README)."""
    image = bytearray(16384)
    image[0:5] = bytes((0x7F, 2, 0, 0x28, 0xF5))
    LEGACY_AT["mxcsr"].store(image, 0x1FA0)
    LEGACY_AT["mxcsr_mask"].store(image, 0xFFFF)
    for k in range(8):
        slot = bytes((0x21 + 0x11 * k + j) & 0xFF for j in range(8))
        at = LEGACY_AT["st"].offset + 16 * k
        image[at : at + 10] = slot[:7] + bytes((slot[7] | 0x80, k, 0x40))
    image[LEGACY_AT["xmm"].slice] = bytes((0x10 + 3 * j) & 0xFF for j in range(256))
    HEADER_AT["xstate_bv"].store(image, bv)
    HEADER_AT["xcomp_bv"].store(image, xcomp)
    for component, offset in places(xcomp):
        if component > 1:
            image[offset : offset + _SIZES[component]] = _contents(component)
    return bytes(image)


def _contents(component: int) -> bytes:
    if component == PKRU:
        return (0x55555550).to_bytes(8, "little")
    if component == TILECFG:
        return bytes([1]) + bytes(15) + b"\x40\0" * 8 + bytes(16) + bytes([16] * 8) + bytes(8)
    return bytes((16 * component + 3 * j) & 0xFF for j in range(_SIZES[component]))


def changed(image: bytes, offset: int, size: int, keep: int, add: int) -> bytes:
    """The image with a field of ``size`` bytes changed: ``value & keep | add``. Raises ValueError for other sizes."""
    if size not in (1, 2, 4, 8) or offset > len(image):
        raise ValueError(f"a change of {size} bytes at {offset}")
    field = slice(offset, offset + size)
    value = int.from_bytes(image[field], "little") & keep | add
    return image[:offset] + (value & (1 << 8 * size) - 1).to_bytes(size, "little") + image[offset + size :]
