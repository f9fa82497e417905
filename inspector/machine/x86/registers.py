"""The extended registers of a vCPU as bytes by component, and images of them."""

from __future__ import annotations

from inspector.decode.placement import XsaveTable, standard_places
from layouts.x86.xsave import BY_NUMBER, HEADER_OFFSET

_SW_XCR0_OFFSET = 464
_MXCSR_OFFSET = 24
#: Offset in the legacy region and size of the components that live there.
TILEDATA = 18
LEGACY = {0: (0, 160), 1: (160, 256)}


class Registers:
    """Component bytes; a component that is not there is in its initial configuration (all zero)."""

    def __init__(self, components: dict[int, bytes] | None = None, used_tiles: int = 0xFF) -> None:
        self.components = dict(components or {})
        self.used_tiles = used_tiles if TILEDATA in self.components else 0

    def copy(self) -> Registers:
        """The same registers, to be changed on their own."""
        return Registers(self.components, self.used_tiles)

    def within(self, mask: int) -> Registers:
        """Only the components of a mask; the others are initial."""
        return Registers({n: data for n, data in self.components.items() if mask >> n & 1}, self.used_tiles)

    @property
    def in_use(self) -> int:
        """XINUSE: components that are not initial.

        What is zero counts as initial, except for tile data: a tile is in use from the load or
        restore that filled it until TILEZERO, LDTILECFG or TILERELEASE.
        """
        found = sum(1 << number for number, data in self.components.items() if number != TILEDATA and any(data))
        return found | (1 << TILEDATA if self.used_tiles else 0)

    def get(self, component: int) -> bytes:
        """The bytes of a component."""
        size = LEGACY[component][1] if component in LEGACY else BY_NUMBER[component].size_bytes
        return self.components.get(component, bytes(size))

    def write(self, component: int, offset: int, data: bytes) -> None:
        """Change some bytes of a component."""
        raw = bytearray(self.get(component))
        raw[offset : offset + len(data)] = data
        self.components[component] = bytes(raw)

    def clear(self, *components: int) -> None:
        """Back to the initial configuration."""
        for component in components:
            self.components.pop(component, None)
            if component == TILEDATA:
                self.used_tiles = 0


def with_xstate_bv(image: bytes, bv: int) -> bytes:
    """The image with another XSTATE_BV."""
    return image[:HEADER_OFFSET] + bv.to_bytes(8, "little") + image[HEADER_OFFSET + 8 :]


def standard_image(registers: Registers, mask: int, table: XsaveTable, size_bytes: int, sw_xcr0: int, bv: int) -> bytes:
    """A standard-format image: components of ``mask`` that are in ``bv``, zero elsewhere."""
    image = bytearray(size_bytes)
    image[0:2] = (0x37F).to_bytes(2, "little")
    image[_MXCSR_OFFSET : _MXCSR_OFFSET + 8] = (0x1F80 | 0xFFFF << 32).to_bytes(8, "little")
    image[_SW_XCR0_OFFSET : _SW_XCR0_OFFSET + 8] = sw_xcr0.to_bytes(8, "little")
    image[HEADER_OFFSET : HEADER_OFFSET + 8] = bv.to_bytes(8, "little")
    for component, (offset, size) in LEGACY.items():
        if bv >> component & 1 and component:
            image[offset : offset + size] = registers.get(component)
    for place in standard_places(table, mask | 3, 1 << 16):
        end = place.offset + place.size_bytes
        if bv >> place.component & 1 and end <= size_bytes:
            data = registers.get(place.component)[: place.size_bytes]
            image[place.offset : end] = data.ljust(place.size_bytes, b"\0")
    return bytes(image)


def components_of(image: bytes, bv: int, table: XsaveTable, mask: int) -> dict[int, bytes]:
    """The components of a standard image that ``bv`` says it holds."""
    found = {}
    for component, (offset, size) in LEGACY.items():
        if bv >> component & 1:
            found[component] = image[offset : offset + size] if component else bytes(size)
    for place in standard_places(table, mask | 3, 1 << 16):
        if bv >> place.component & 1:
            raw = image[place.offset : place.offset + place.size_bytes]
            found[place.component] = raw.ljust(place.size_bytes, b"\0")
    return found
