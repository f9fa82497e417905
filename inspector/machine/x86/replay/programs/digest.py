"""How recordings show images: XSTATE_BV and XCOMP_BV, small fields, and a digest of each region."""

from __future__ import annotations

import zlib
from functools import lru_cache

from inspector.machine.x86.cpu.registers import TILE_SIZE_BYTES, TILECFG, TILEDATA
from layouts.x86.xsave import EXTENDED_OFFSET, XCOMP_COMPACTED

Shown = dict[str, object]
#: The recorder's places: offset in a standard image and size by component, also of those that no CPU of it has.
_STANDARD = {1: 160, 2: 576, 5: 1088, 6: 1152, 7: 1664, 9: 2688, TILECFG: 2752, TILEDATA: 2816}
_SIZES = (160, 256, 256, 64, 64, 64, 512, 1024, 128, 8, 8, 16, 24, 8, 48, 808, 8, 64, 8192)
_PKRU = 9


@lru_cache(maxsize=4096)
def region(data: bytes) -> str:
    """``xx*`` for bytes that are all xx, else the CRC and the first 16 bytes."""
    if len(data) > 4 and data.count(data[:1]) == len(data):
        return f"{data[0]:02x}*"
    return f"{zlib.crc32(data):08x}:{data[:16].hex()}"


def number(image: bytes, offset: int, size: int) -> str:
    """A field as hexadecimal digits."""
    return f"{int.from_bytes(image[offset : offset + size], 'little'):x}"


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
    bv, xcomp = (int.from_bytes(image[at : at + 8], "little") for at in (512, 520))
    shown: Shown = {
        "bv": f"{bv:x}",
        "cb": f"{xcomp:x}",
        "mxcsr": number(image, 24, 4),
        "mask": number(image, 28, 4),
    }
    if everything or bv & 1:
        shown |= {"fcw": number(image, 0, 2), "fsw": number(image, 2, 2), "ftw": number(image, 4, 1)}
        shown["st"] = region(image[32:160])
    if everything:
        shown |= {
            "fop": number(image, 6, 2),
            "hdr": region(image[528:576]),
            "r416": region(image[416:464]),
            "sw464": region(image[464:512]),
        }
    for component, offset in places(xcomp):
        if everything or bv >> component & 1:
            _show(shown, component, image[offset : offset + _SIZES[component]])
    return shown


def _show(shown: Shown, component: int, data: bytes) -> None:
    shown[str(component)] = data.hex() if component in (_PKRU, TILECFG) else region(data)
    if component == TILEDATA:
        tiles = range(0, len(data), TILE_SIZE_BYTES)
        shown["t"] = [region(data[at : at + TILE_SIZE_BYTES]) for at in tiles]


@lru_cache(maxsize=256)
def good_image(xcomp: int, bv: int) -> bytes:
    """The recorder's good image of 16384 bytes: each byte tells where it is (the recordings' README)."""
    image = bytearray(16384)
    image[0:5] = bytes((0x7F, 2, 0, 0x28, 0xF5))
    image[24:32] = (0x1FA0).to_bytes(4, "little") + b"\xff\xff\0\0"
    for k in range(8):
        slot = bytes((0x21 + 0x11 * k + j) & 0xFF for j in range(8))
        image[32 + 16 * k : 42 + 16 * k] = slot[:7] + bytes((slot[7] | 0x80, k, 0x40))
    image[160:416] = bytes((0x10 + 3 * j) & 0xFF for j in range(256))
    image[512:528] = bv.to_bytes(8, "little") + xcomp.to_bytes(8, "little")
    for component, offset in places(xcomp):
        if component > 1:
            image[offset : offset + _SIZES[component]] = _contents(component)
    return bytes(image)


def _contents(component: int) -> bytes:
    if component == _PKRU:
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
