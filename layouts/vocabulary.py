"""The words in which layouts are declared."""

from __future__ import annotations

from collections.abc import Mapping

from layouts.declare import Struct
from layouts.light import NamedTuple


class Bits:
    """A named bit range of a register; nobody changes one.

    ``lsb`` counts from 0, ``width`` in bits; ``mask`` is the range over the register. ``values`` names the values of a
    multi-bit range; a single bit needs none.
    """

    __slots__ = ("lsb", "mask", "meaning", "name", "values", "width")

    def __init__(
        self, name: str, lsb: int, width: int = 1, meaning: str = "", values: Mapping[int, str] | None = None
    ) -> None:
        self.name = name
        self.lsb = lsb
        self.width = width
        self.mask = ((1 << width) - 1) << lsb
        self.meaning = meaning
        self.values: Mapping[int, str] = values if values is not None else {}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.key() == self.key()

    def __hash__(self) -> int:
        return hash((self.name, self.lsb, self.width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.key()}"

    def key(self) -> tuple[object, ...]:
        """All that tells one from another."""
        return self.name, self.lsb, self.width, self.meaning, self.values

    def get(self, value: int) -> int:
        """What a register holds there."""
        return value >> self.lsb & ((1 << self.width) - 1)

    def put(self, value: int, number: int) -> int:
        """A register with another number there; what of the number does not fit is left out."""
        return value & ~self.mask | (number << self.lsb) & self.mask


def mask_of(*ranges: Bits) -> int:
    """Some ranges of a register as one mask."""
    mask = 0
    for bits in ranges:
        mask |= bits.mask
    return mask


def without(value: int, *ranges: Bits) -> int:
    """A register with some of its ranges cleared."""
    return value & ~mask_of(*ranges)


class Register(NamedTuple):
    """A register made of named bit ranges.

    Bits that no range claims are reserved. ``source`` says where the meaning is from.
    """

    name: str
    title: str
    bits: tuple[Bits, ...]
    source: str

    @property
    def known_mask(self) -> int:
        """Every bit that some range claims."""
        return mask_of(*self.bits)

    def field(self, name: str) -> Bits:
        """A range by its name. Raises KeyError."""
        for bits in self.bits:
            if bits.name == name:
                return bits
        raise KeyError(f"{self.name}.{name}")


class Layout(NamedTuple):
    """A structure as it lies in memory or in a file.

    ``construct`` declares the bytes, ``registers`` the bit meaning of its members by their
    dotted name (array indices left out). Field paths start with ``prefix``; ``roots`` gives
    a member of the structure another first word (``{"reg": "regs"}``).
    """

    name: str
    title: str
    prefix: str
    construct: Struct
    source: str
    registers: Mapping[str, Register] = {}
    roots: Mapping[str, str] = {}
    #: Bytes after the declared ones belong to the structure (entries, nested data).
    open_ended: bool = False
    #: What files of it are called in folders of raw structures, ours first; keys of it in a VMM's JSON.
    file_names: tuple[str, ...] = ()
    json_keys: tuple[str, ...] = ()


class Component(NamedTuple):
    """One XSAVE state component.

    ``construct`` declares its bytes. ``size_bytes``, ``align64`` and ``xfd`` are what every
    known CPU enumerates in CPUID leaf 0xD; a captured table wins over them.

    ``feature`` is the bit of CPUID leaf 7 without which Linux leaves the component alone: sub-leaf, register (EAX 0
    to EDX 3), bit (xsave_cpuid_features, fpu/xstate.c); None: it asks for none. ``group`` names the components that
    are had together. ``touch`` is the instruction that uses it and little else, empty where none is simulated.
    """

    number: int
    name: str
    title: str
    size_bytes: int
    construct: Struct | None
    source: str
    supervisor: bool = False
    align64: bool = False
    xfd: bool = False
    registers: Mapping[str, Register] = {}
    feature: tuple[int, int, int] | None = None
    group: str = ""
    touch: str = ""


class Piece(NamedTuple):
    """Where one part of a register lies: ``offset + stride * n`` in a component's bytes."""

    component: int
    offset: int
    size_bytes: int
    stride: int


class View(NamedTuple):
    """Registers put together from the components that hold their parts.

    ``numbers`` are the registers that these pieces hold, low part first. A register that
    several views could build is taken from the last one whose components are in the image.
    """

    name: str
    title: str
    numbers: range
    pieces: tuple[Piece, ...]


class Signature(NamedTuple):
    """Who a CPU says that it is: CPUID leaf 0's vendor, leaf 1's display family, models and steppings."""

    vendor: str
    family: int
    models: frozenset[int]
    steppings: frozenset[int]


class CpuLayout(NamedTuple):
    """CPUID leaf 0xD of a CPU: ``leaf_0xd[subleaf] = (eax, ebx, ecx, edx)``, and the parts that have it.

    ``signature`` is None for a CPU that nobody has seen.
    """

    name: str
    title: str
    about: str
    source: str
    signature: Signature | None
    leaf_0xd: Mapping[int, tuple[int, int, int, int]]


def flag(name: str, bit: int, meaning: str = "") -> Bits:
    """A single bit."""
    return Bits(name, bit, 1, meaning)
