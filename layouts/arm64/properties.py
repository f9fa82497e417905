"""Properties of named CPU models: what a word like ``feat_AES=pmull`` sets in which ID register field.

Derived from the kernel's register description (``data/idregs.json``). Two naming schemes for the same fields:
the proposal's (``feat_<FIELD>`` with named values, ``hw_prop_<FIELD>`` for implementation-defined
numbers, ``elN_mode``, fractional and composite ones) and its reviewer's (``SYSREG_<REG>_<FIELD>``
with a number). Source: the thread "named CPU models for ARM64 on KVM" (qemu-devel, May 2026).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layouts.arm64.features import FEATURES
from layouts.arm64.ids import AARCH32_IDS, AARCH64_IDS, AIDR, MIDR, REVIDR, encoding_of_op
from layouts.arm64.registers import MIDR as MIDR_EL1
from layouts.arm64.sysregs import id_registers
from layouts.light import TYPE_CHECKING, NamedTuple, cache
from layouts.vocabulary import Bits

if TYPE_CHECKING:
    from typing import Any

#: Kinds of a property: what its value looks like.
STRING, BOOLEAN, NUMERIC, FRACTIONAL, COMPOSITE = "string", "boolean", "numeric", "fractional", "composite"


class FieldPlace(Bits):
    """A field of an ID register: ``name`` is the field's, ``encoding`` the register's."""

    __slots__ = ("encoding", "register")

    def __init__(self, name: str, lsb: int, width: int, *, register: str, encoding: int) -> None:
        super().__init__(name, lsb, width)
        self.register = register
        self.encoding = encoding

    def text(self, value: int) -> str:
        """A value as Arm's manuals write it: who made the core and which in hexadecimal, as wide numbers are."""
        is_hex = self.width >= WIDE or (self.register, self.name) == _IMPLEMENTER
        return f"{value:#x}" if is_hex else f"{value}"

    def key(self) -> tuple[object, ...]:
        """See Bits.key."""
        return (*super().key(), self.register, self.encoding)

    @classmethod
    def whole(cls, register: str, encoding: int) -> FieldPlace:
        """All of a register."""
        return cls(register, 0, 64, register=register, encoding=encoding)


class Property(NamedTuple):
    """A property. ``places`` are the fields that it sets; ``values`` the names of what they get, a number each.

    Numeric properties have no names: any number that fits the field. ``sysreg`` is the reviewer's name of the
    (first) field.
    """

    name: str
    kind: str
    places: tuple[FieldPlace, ...]
    values: dict[str, tuple[int, ...]]

    @property
    def sysreg(self) -> str:
        """``SYSREG_<REG>_<FIELD>``."""
        place = self.places[0]
        return f"SYSREG_{place.register}_{place.name}"


#: Base and fraction of fractional properties, and the pairs that are valid.
_FRACTIONAL = {
    "feat_CSV2": (
        ("ID_AA64PFR0_EL1", "CSV2"),
        ("ID_AA64PFR1_EL1", "CSV2_frac"),
        ((0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)),
    ),
    "feat_RAS": (
        ("ID_AA64PFR0_EL1", "RAS"),
        ("ID_AA64PFR1_EL1", "RAS_frac"),
        ((0, 0), (1, 0), (1, 1), (2, 0), (3, 0)),
    ),
    "feat_MPAM": (
        ("ID_AA64PFR0_EL1", "MPAM"),
        ("ID_AA64PFR1_EL1", "MPAM_frac"),
        ((0, 0), (0, 1), (1, 0), (1, 1)),
    ),
    "feat_MTE": (
        ("ID_AA64PFR1_EL1", "MTE"),
        ("ID_AA64PFR1_EL1", "MTE_frac"),
        ((0, 0), (1, 0), (2, 0), (2, 15), (3, 0)),
    ),
}
_EL_MODES = {"off": (0,), "aarch64": (1,), "aarch32": (2,)}
#: Numbers of at least this many bits are shown in hexadecimal.
WIDE = 12
_IMPLEMENTER = ("MIDR_EL1", "Implementer")
#: Switches over many fields. The fields of ID_AA64ZFR0_EL1 go with SVE, these with pointer authentication.
SVE, PAUTH, PMU = "sve", "pauth", "pmu"
_PAUTH_FIELDS = (
    ("ID_AA64ISAR1_EL1", ("APA", "API", "GPA", "GPI")),
    ("ID_AA64ISAR2_EL1", ("APA3", "GPA3")),
)
_CACHE_REGISTERS = ("CTR_EL0", "DCZID_EL0")


def _places(register: dict[str, Any]) -> Iterator[FieldPlace]:
    """The fields of an ID register that have a name."""
    encoding = encoding_of_op(tuple(register["op"]))
    for field in register["fields"]:
        if field["name"]:
            yield FieldPlace(field["name"], field["lsb"], field["width"], register=register["name"], encoding=encoding)


@cache
def field_places() -> dict[tuple[str, str], FieldPlace]:
    """Every named field of the AArch64 ID registers, and of CTR_EL0, DCZID_EL0 and MIDR_EL1."""
    found = {}
    for register in id_registers().values():
        for place in _places(register):
            if place.encoding in AARCH64_IDS or place.register in _CACHE_REGISTERS:
                found[place.register, place.name] = place
    own = [FieldPlace(bits.name, bits.lsb, bits.width, register=MIDR_EL1.name, encoding=MIDR) for bits in MIDR_EL1.bits]
    own.append(FieldPlace("REVIDR", 0, 64, register="REVIDR_EL1", encoding=REVIDR))
    own.append(FieldPlace("AIDR", 0, 64, register="AIDR_EL1", encoding=AIDR))
    return found | {(place.register, place.name): place for place in own}


@cache
def aarch32_places() -> dict[tuple[str, str], FieldPlace]:
    """Every named field of the AArch32 ID registers. Only the reviewer's scheme names them."""
    places = (place for register in id_registers().values() for place in _places(register))
    return {(place.register, place.name): place for place in places if place.encoding in AARCH32_IDS}


def field_place(encoding: int, register: str, bits: Bits) -> FieldPlace:
    """The named field of a register that lies where ``bits`` do; one of their name where none does."""
    found = _by_bits().get((encoding, bits.mask))
    return found or FieldPlace(bits.name, bits.lsb, bits.width, register=register, encoding=encoding)


@cache
def _by_bits() -> dict[tuple[int, int], FieldPlace]:
    every = (*aarch32_places().values(), *field_places().values())
    return {(place.encoding, place.mask): place for place in every}


@cache
def properties() -> dict[str, Property]:
    """Every property of the proposal's scheme by name."""
    found = {name: _fractional(name) for name in _FRACTIONAL}
    taken = {place for entry in found.values() for place in entry.places}
    repeated: set[str] = set()
    seen: set[str] = set()
    for _, field in field_places():
        (repeated if field in seen else seen).add(field)
    for register in id_registers().values():
        for field in register["fields"]:
            place = field_places().get((register["name"], field["name"]))
            if place is not None and place not in taken:
                made = _single(place, field, is_repeated=field["name"] in repeated)
                found[made.name] = made
    for bits in MIDR_EL1.bits:
        name = f"cpu_{bits.name.lower()}"
        found[name] = Property(name, NUMERIC, (field_places()[MIDR_EL1.name, bits.name],), {})
    for name, key in (("cpu_revidr", ("REVIDR_EL1", "REVIDR")), ("cpu_aidr", ("AIDR_EL1", "AIDR"))):
        found[name] = Property(name, NUMERIC, (field_places()[key],), {})
    for name, places in _composites().items():
        found[name] = Property(name, COMPOSITE, places, {"off": (), "on": ()})
    return found


def _fractional(name: str) -> Property:
    base, fraction, pairs = _FRACTIONAL[name]
    places = (field_places()[base], field_places()[fraction])
    return Property(name, FRACTIONAL, places, {f"{one}.{two}": (one, two) for one, two in pairs})


def _composites() -> dict[str, tuple[FieldPlace, ...]]:
    places = field_places()
    zfr0 = tuple(place for (register, _), place in places.items() if register == "ID_AA64ZFR0_EL1")
    pauth = tuple(places[register, field] for register, fields in _PAUTH_FIELDS for field in fields)
    return {
        SVE: (places["ID_AA64PFR0_EL1", "SVE"], *zfr0),
        PAUTH: pauth,
        PMU: (places["ID_AA64DFR0_EL1", "PMUVer"],),
    }


def _single(place: FieldPlace, field: dict[str, object], *, is_repeated: bool) -> Property:
    register, name = place.register, place.name
    if register == "ID_AA64PFR0_EL1" and name in ("EL0", "EL1", "EL2", "EL3"):
        return Property(f"{name.lower()}_mode", STRING, (place,), dict(_EL_MODES))
    values: dict[str, str] = field.get("values") or {}  # type: ignore[assignment]
    short = register.removeprefix("ID_AA64").removesuffix("_EL1").removesuffix("_EL0")
    # The first instruction set register keeps the plain name of a field that several have.
    qualified = f"{short}_{name}" if is_repeated and not short.startswith("ISAR") and short != "DFR0" else name
    if place.width == 1:
        return Property(f"hw_prop_{qualified}", BOOLEAN, (place,), {"off": (0,), "on": (1,)})
    if not values or place.width > 4:
        return Property(f"hw_prop_{qualified}", NUMERIC, (place,), {})
    names: dict[str, tuple[int, ...]] = {_value_name(text): (int(number, 0),) for number, text in values.items()}
    prefix = "hw_prop" if register in _CACHE_REGISTERS else "feat"
    return Property(f"{prefix}_{qualified}", STRING, (place,), names)


def _value_name(text: str) -> str:
    """The kernel's name of a value in lower case; NI is ``off``, IMP is ``on``."""
    return {"NI": "off", "IMP": "on"}.get(text, text.lower())


@cache
def sysreg_properties() -> dict[str, FieldPlace]:
    """The reviewer's scheme: ``SYSREG_<REG>_<FIELD>``."""
    every = field_places() | aarch32_places()
    return {f"SYSREG_{register}_{field}": place for (register, field), place in every.items()}


@cache
def _property_names() -> dict[FieldPlace, str]:
    """The property of each field, of several the first."""
    alone = [entry for entry in properties().values() if entry.kind != COMPOSITE]
    return {place: entry.name for entry in reversed(alone) for place in entry.places}


def property_of(place: FieldPlace) -> str:
    """The proposal's property that sets a field on its own; the reviewer's name where there is none."""
    return _property_names().get(place) or f"SYSREG_{place.register}_{place.name}"


def text_in(entry: Property, registers: Mapping[int, int]) -> str:
    """What a property is in registers by encoding, by the name of its value."""
    return value_text(entry, numbers_in(entry, registers))


def numbers_in(entry: Property, registers: Mapping[int, int]) -> tuple[int, ...]:
    """What the fields of a property are in registers by encoding; a register that is not there is 0."""
    return tuple(place.get(registers.get(place.encoding, 0)) for place in entry.places)


class Assignment(NamedTuple):
    """A property with a value: the fields that it sets, a number each. ``text`` is the value as written."""

    name: str
    text: str
    fields: tuple[tuple[FieldPlace, int], ...]

    @property
    def is_sysreg(self) -> bool:
        """Named in the reviewer's scheme."""
        return self.name.startswith("SYSREG_")

    def __str__(self) -> str:
        return f"{self.name}={self.text}"


def assign(name: str, value: str | float) -> Assignment:
    """A property of either scheme with a value. Raises ValueError that says what was expected."""
    text = _text(value)
    if name in sysreg_properties():
        place = sysreg_properties()[name]
        return Assignment(name, text, ((place, _number(name, text, place)),))
    found = properties().get(name)
    if found is None or found.kind == COMPOSITE:
        raise ValueError(f"{name}: expected a property's name{_close(name)}")
    if found.kind == NUMERIC:
        return Assignment(name, text, ((found.places[0], _number(name, text, found.places[0])),))
    if text not in found.values:
        raise ValueError(f"{name}: expected {', '.join(found.values)}; found {text!r}")
    return Assignment(name, text, tuple(zip(found.places, found.values[text], strict=True)))


def _close(name: str) -> str:
    """The property that was meant: the same word in another case, Arm's name of a feature, or the nearest."""
    by_lower = {known.lower(): known for known in (*properties(), *sysreg_properties())}
    feature = "FEAT_" + name.partition("_")[2]
    if name.lower() in by_lower:
        return f"; did you mean {by_lower[name.lower()]}?"
    for (register, field), values in FEATURES.items():
        for value, text in values.items():
            place = field_places().get((register, field))
            if place is not None and text.lower() == feature.lower():
                return f" such as {_word(place, value)}"
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), by_lower, 1)
    meant = f"did you mean {by_lower[close[0]]}? " if close else ""
    return f"; {meant}inspector models expand has them all"


def _word(place: FieldPlace, value: int) -> str:
    """``NAME=VALUE`` of the property that sets a field to a value."""
    entry = properties().get(property_of(place))
    if entry is None or entry.places != (place,):
        return f"SYSREG_{place.register}_{place.name}={value}"
    return f"{entry.name}={value_text(entry, (value,))}"


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _number(name: str, text: str, place: FieldPlace) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << place.width:
        raise ValueError(f"{name}: expected a number of {place.width} bits; found {text!r}")
    return number


def value_text(entry: Property, numbers: tuple[int, ...]) -> str:
    """The name of a property's value; a number where there is no name for it."""
    if entry.kind == NUMERIC:
        return entry.places[0].text(numbers[0])
    known = next((text for text, value in entry.values.items() if value == numbers), None)
    return known if known is not None else ".".join(map(str, numbers))
