"""The extended registers of a processor as bytes by component."""

from __future__ import annotations

from layouts.light import TYPE_CHECKING
from layouts.x86.xsave import BY_NUMBER, INITIAL_VALUES, LEGACY_AT, SSE, TILEDATA, X87

if TYPE_CHECKING:
    from typing import Self

TILE_SIZE_BYTES = 1024
#: PKRU is a register of 4 bytes in a component of 8.
PKRU_SIZE_BYTES = 4
INITIAL_MXCSR = INITIAL_VALUES["mxcsr"]
MXCSR_MASK = 0xFFFF
#: x87 after FNINIT: FCW is not zero.
INITIAL_X87 = LEGACY_AT["fcw"].put(bytes(BY_NUMBER[X87].size_bytes), INITIAL_VALUES["fcw"])
_ZERO: dict[int, bytes] = {}


def size_of(component: int) -> int:
    """Size in bytes of a component's registers."""
    return BY_NUMBER[component].size_bytes


def initial(component: int) -> bytes:
    """A component's initial configuration (Intel SDM vol. 1, 13.6)."""
    if component == 0:
        return INITIAL_X87
    if component not in _ZERO:
        _ZERO[component] = bytes(size_of(component))
    return _ZERO[component]


class Registers:
    """Component bytes, as silicon tracks them: a component that is there is in use, whatever it contains.

    A component that is not there is in its initial configuration. SSE is also in use while MXCSR differs from
    its initial value. Source: Intel SDM vol. 1, 13.6; measured on a 06_CFh (Emerald Rapids).
    """

    __slots__ = ("components", "mxcsr")

    def __init__(self, components: dict[int, bytes] | None = None, mxcsr: int = INITIAL_MXCSR) -> None:
        self.components = dict(components or {})
        self.mxcsr = mxcsr

    def copy(self) -> Self:
        """The same registers, to be changed on their own."""
        return self.within(-1)

    def within(self, mask: int) -> Self:
        """Only the components of a mask; the others are initial."""
        kept = {n: data for n, data in self.components.items() if mask >> n & 1}
        return type(self)(kept, self.mxcsr if mask >> SSE & 1 else INITIAL_MXCSR)

    @property
    def in_use(self) -> int:
        """XINUSE: what was written or loaded since it was last made initial."""
        found = 1 << SSE if self.mxcsr != INITIAL_MXCSR else 0
        for number in self.components:
            found |= 1 << number
        return found

    @property
    def changed(self) -> int:
        """Components whose contents are not initial, in use or not; MXCSR counts as SSE's."""
        found = 1 << SSE if self.mxcsr != INITIAL_MXCSR else 0
        for number, data in self.components.items():
            if data != initial(number):
                found |= 1 << number
        return found

    def get(self, component: int) -> bytes:
        """The bytes of a component."""
        return self.components.get(component) or initial(component)

    def write(self, component: int, offset: int, data: bytes) -> None:
        """Change some bytes of a component; it is in use from then on."""
        raw = bytearray(self.get(component))
        raw[offset : offset + len(data)] = data
        self.components[component] = bytes(raw)

    def write_tile(self, tile: int, data: bytes) -> None:
        """A tile's 1024 bytes."""
        self.write(TILEDATA, TILE_SIZE_BYTES * tile, data)

    def zero_tile(self, tile: int) -> None:
        """TILEZERO: tile data is in use afterwards."""
        self.write_tile(tile, bytes(TILE_SIZE_BYTES))

    def clear(self, *components: int) -> None:
        """Back to the initial configuration."""
        for component in components:
            self.components.pop(component, None)
            if component == SSE:
                self.mxcsr = INITIAL_MXCSR


class EmulatedRegisters(Registers):
    """As the emulator of the recorded answers tracks them: by contents, except for tiles.

    A tile is in use from the load or restore that filled it until TILEZERO, LDTILECFG or TILERELEASE.
    """

    __slots__ = ("used_tiles",)

    def __init__(self, components: dict[int, bytes] | None = None, mxcsr: int = INITIAL_MXCSR) -> None:
        super().__init__(components, mxcsr)
        self.used_tiles = 0xFF if TILEDATA in self.components else 0

    def within(self, mask: int) -> Self:
        """Only the components of a mask; the others are initial."""
        found = super().within(mask)
        found.used_tiles = self.used_tiles if TILEDATA in found.components else 0
        return found

    @property
    def in_use(self) -> int:
        """XINUSE: components whose contents are not initial, and tiles that are used."""
        return self.changed & ~(1 << TILEDATA) | (1 << TILEDATA if self.used_tiles else 0)

    def write_tile(self, tile: int, data: bytes) -> None:
        """The tile is in use."""
        super().write_tile(tile, data)
        self.used_tiles |= 1 << tile

    def zero_tile(self, tile: int) -> None:
        """TILEZERO: the tile is no longer in use."""
        super().write_tile(tile, bytes(TILE_SIZE_BYTES))
        self.used_tiles &= ~(1 << tile)

    def clear(self, *components: int) -> None:
        """Back to the initial configuration."""
        super().clear(*components)
        if TILEDATA in components:
            self.used_tiles = 0
