"""The extended registers of a processor as bytes by component."""

from __future__ import annotations

from layouts.x86.xsave import BY_NUMBER

SSE, PKRU, TILECFG, TILEDATA = 1, 9, 17, 18
TILE_SIZE_BYTES = 1024
#: Offset in the legacy region and size of the components that live there. MXCSR (24..31) is apart.
LEGACY = {0: (0, 160), 1: (160, 256)}
INITIAL_MXCSR = 0x1F80
MXCSR_OFFSET, MXCSR_MASK = 24, 0xFFFF
#: x87 after FNINIT: FCW 0x37f, the rest zero.
INITIAL_X87 = (0x37F).to_bytes(2, "little") + bytes(158)
_ZERO: dict[int, bytes] = {}


def size_of(component: int) -> int:
    """Size in bytes of a component's registers."""
    return LEGACY[component][1] if component in LEGACY else BY_NUMBER[component].size_bytes


def initial(component: int) -> bytes:
    """A component's initial configuration (Intel SDM vol. 1, 13.6)."""
    if component == 0:
        return INITIAL_X87
    if component not in _ZERO:
        _ZERO[component] = bytes(size_of(component))
    return _ZERO[component]


class Registers:
    """Component bytes; a component that is not there is in its initial configuration."""

    __slots__ = ("components", "mxcsr", "used_tiles")

    def __init__(
        self, components: dict[int, bytes] | None = None, used_tiles: int = 0xFF, mxcsr: int = INITIAL_MXCSR
    ) -> None:
        self.components = dict(components or {})
        self.used_tiles = used_tiles if TILEDATA in self.components else 0
        self.mxcsr = mxcsr

    def copy(self) -> Registers:
        """The same registers, to be changed on their own."""
        return Registers(self.components, self.used_tiles, self.mxcsr)

    def within(self, mask: int) -> Registers:
        """Only the components of a mask; the others are initial."""
        kept = {n: data for n, data in self.components.items() if mask >> n & 1}
        return Registers(kept, self.used_tiles, self.mxcsr if mask >> SSE & 1 else INITIAL_MXCSR)

    @property
    def in_use(self) -> int:
        """XINUSE: components that are not initial.

        What has its initial value counts as initial, except for tile data: a tile is in use from
        the load or restore that filled it until TILEZERO, LDTILECFG or TILERELEASE.
        """
        found = 1 << TILEDATA if self.used_tiles else 0
        if self.mxcsr != INITIAL_MXCSR:
            found |= 1 << SSE
        for number, data in self.components.items():
            if number != TILEDATA and data != initial(number):
                found |= 1 << number
        return found

    def get(self, component: int) -> bytes:
        """The bytes of a component."""
        return self.components.get(component) or initial(component)

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
            elif component == SSE:
                self.mxcsr = INITIAL_MXCSR
