"""Chips as they were seen from outside: for each field of an ID register the values that it may have.

Data: ``data/chips.toml``, and ``data/silicon.toml`` for the cores in them. A user's /proc/cpuinfo is a chip too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from layouts.arm64.hosts import BareHost, bare_hosts
from layouts.arm64.hwcaps import HIDEABLE, HWCAPS, POINTER_AUTHENTICATION
from layouts.arm64.ids import MIDR, encoding_of_op
from layouts.arm64.properties import FieldPlace, field_places
from layouts.arm64.sources import Source, source_named
from layouts.arm64.sysregs import id_registers
from layouts.by_name import ByName
from layouts.data import data_table
from layouts.light import TYPE_CHECKING, NamedTuple, cache

if TYPE_CHECKING:
    from typing import Any

_SVE = "ID_AA64PFR0_EL1", "SVE"
#: What a guest's registers do not tell of the chip: KVM or the VMM may have hidden it.
_HIDDEN_OF_GUESTS = frozenset(
    (
        _SVE,
        ("ID_AA64PFR1_EL1", "MTE"),
        ("ID_AA64PFR1_EL1", "MTE_frac"),
        ("ID_AA64DFR0_EL1", "PMUVer"),
        *(("ID_AA64ISAR1_EL1", name) for name in ("APA", "API", "GPA", "GPI")),
        *(("ID_AA64ISAR2_EL1", name) for name in ("APA3", "GPA3")),
    )
)
_PAUTH = (
    (("ID_AA64ISAR1_EL1", "APA"), ("ID_AA64ISAR1_EL1", "API"), ("ID_AA64ISAR2_EL1", "APA3")),
    (("ID_AA64ISAR1_EL1", "GPA"), ("ID_AA64ISAR1_EL1", "GPI"), ("ID_AA64ISAR2_EL1", "GPA3")),
)
_OWN_PMU = 15
#: Which exception levels have AArch32: no core has that as an option.
_LEVELS = ("EL0", "EL1")


class Bounds(NamedTuple):
    """The least and the most that a field may be, as the field counts: negative where it is signed."""

    least: int
    most: int


class Chip(NamedTuple):
    """A chip. ``likely`` is a host with the core's values, inside ``bounds``; ``open`` are fields that are not known.

    ``pauth`` and ``sve``: the chip has it, has it not, or None for unknown. ``tells_aarch32``: its AArch32 ID
    registers are known.
    """

    name: str
    title: str
    core: str
    likely: BareHost
    bounds: dict[FieldPlace, Bounds]
    pauth: bool | None
    sve: bool | None
    tells_aarch32: bool
    sources: tuple[Source, ...]

    def at(self, *, most: bool) -> BareHost:
        """The chip with every field that is not known at its least, or at its most."""
        registers = dict(self.likely.registers)
        for place, bound in self.bounds.items():
            value = bound.most if most else bound.least
            registers[place.encoding] = place.put(registers.get(place.encoding, 0), value)
        return self.likely._replace(registers=registers)


@cache
def _field_kinds() -> dict[tuple[str, str], tuple[bool, list[int]]]:
    """Of each named field whether it is signed, and the values that have names."""
    found = {}
    for register in id_registers().values():
        for field in register["fields"]:
            values = [int(number, 0) for number in (field.get("values") or {})]
            found[register["name"], field["name"]] = (bool(field.get("signed")), values)
    return found


def _any(place: FieldPlace) -> Bounds:
    """Everything that a field may be: its named values, or all numbers."""
    signed, values = _field_kinds().get((place.register, place.name), (False, []))
    values = values if values and place.width <= 4 else [0, (1 << place.width) - 1]
    if place.name == "PMUVer":  # 15 is a PMU of the maker's own, no version
        values = [value for value in values if value != _OWN_PMU]
    counted = [_counted(place, value) if signed else value for value in values]
    return Bounds(min(counted), max(counted))


def _counted(place: FieldPlace, value: int) -> int:
    """A field's bits as the number that it counts as."""
    signed, _ = _field_kinds().get((place.register, place.name), (False, []))
    return value - (1 << place.width) if signed and value >> place.width - 1 else value


class _Told:
    """What is told of a chip, piece by piece; every piece narrows the bounds."""

    def __init__(self) -> None:
        self.bounds = {
            place: _any(place)
            for (register, _), place in field_places().items()
            if register.startswith("ID_AA64") or register == "CTR_EL0"
        }
        self.other: dict[int, int] = {}

    def between(self, register: str, field: str, least: int | None, most: int | None) -> None:
        place = field_places()[register, field]
        known = self.bounds[place]
        self.bounds[place] = Bounds(
            known.least if least is None else max(known.least, least),
            known.most if most is None else min(known.most, most),
        )

    def value(self, register: str, field: str, value: int) -> None:
        place = field_places()[register, field]
        number = _counted(place, value)
        self.bounds[place] = Bounds(number, number)

    def registers(self, found: Mapping[str, str], encodings: Mapping[str, int]) -> None:
        """What a guest saw."""
        names = {register for register, _ in field_places()}
        for name in [*found, *(name for name in names if name.startswith("ID_AA64") and name not in found)]:
            number = int(found.get(name, "0"), 16)
            if name not in names:
                self.other[encodings[name]] = number
                continue
            for (register, field), place in field_places().items():
                hidden = (register, field) in _HIDDEN_OF_GUESTS or register == "ID_AA64ZFR0_EL1"
                if register != name or hidden:
                    continue
                if field == "CSV2":  # KVM shows 1 of whatever says "not affected"
                    self.between(register, field, place.get(number), None)
                else:
                    self.value(register, field, place.get(number))

    def one_algorithm(self) -> None:
        """A core authenticates pointers in one of three ways: where one is there, the others are not."""
        for names in _PAUTH:
            there = [name for name in names if self.bounds[field_places()[name]].least]
            for name in names if there else ():
                if name not in there:
                    self.value(*name, 0)

    def words(
        self,
        words: Collection[str],
        absent: Collection[str],
        *,
        all_shown: bool = True,
        of: Collection[str] | None = None,
    ) -> None:
        """The words of /proc/cpuinfo. Those that the kernel knows and did not print bound a field too.

        Not ``all_shown``: a hypervisor hides some. ``of``: only words of these registers are told.
        """
        last = max((number for number, cap in enumerate(HWCAPS) if cap.word in words), default=-1)
        for number, cap in enumerate(HWCAPS):
            if not cap.register or (of is not None and cap.register not in of):
                continue
            if cap.word in words:
                self.between(cap.register, cap.field, cap.value, None)
            elif (all_shown and number < last and not _is_hidden(cap.word, words)) or cap.word in absent:
                self.between(cap.register, cap.field, None, cap.value - 1)


def _is_hidden(word: str, words: Collection[str]) -> bool:
    return word in HIDEABLE or (word.startswith("sve") and "sve" not in words)


def _host(name: str, core: BareHost, told: _Told, midr: int) -> BareHost:
    """The core's values, inside the bounds."""
    registers = dict(core.registers) | told.other
    for place, (least, most) in told.bounds.items():
        value = _counted(place, place.get(registers.get(place.encoding, 0)))
        registers[place.encoding] = place.put(registers.get(place.encoding, 0), min(max(value, least), most))
    if midr:
        registers[MIDR] = midr
    return core._replace(name=name, registers=registers)


def chip_of_words(name: str, words: Collection[str], core: str = "", *, midr: int = 0) -> Chip:
    """A machine of which only /proc/cpuinfo is known. ``core``: what it is likely to be."""
    told = _Told()
    told.words(words, ())
    return _chip(name, "", core, told, words, (), midr, ())


def chip_of_shown(name: str, registers: Mapping[int, int]) -> Chip:
    """A machine of which only the ID registers that Linux shows programs are known (emulated MRS), by encoding.

    A field that is not 0 there is what the kernel has; one that is 0 may be hidden, and tells what a missing word of
    /proc/cpuinfo tells.
    """
    told, places = _Told(), field_places()
    seen = {name: _counted(place, place.get(registers.get(place.encoding, 0))) for name, place in places.items()}
    of = {register for (register, _), place in places.items() if place.encoding in registers}
    words = {cap.word for cap in HWCAPS if cap.register in of and seen[cap.register, cap.field] >= cap.value}
    pointer = [name for names in _PAUTH for name in names if seen[name]]
    words |= POINTER_AUTHENTICATION if pointer else frozenset()
    told.words(words, (), of=of)
    shown = ((cap.register, cap.field) for cap in HWCAPS if cap.register)
    for register, field in (*(name for name in shown if seen[name]), *pointer):
        told.value(register, field, places[register, field].get(registers[places[register, field].encoding]))
    told.one_algorithm()
    midr = registers.get(MIDR, 0)
    return _chip(name, "", core_of(midr), told, words, (), midr, ())


def _chip(
    name: str,
    title: str,
    core: str,
    told: _Told,
    words: Collection[str],
    absent: Collection[str],
    midr: int,
    named: Iterable[str],
) -> Chip:
    known = cores().get(core, BareHost(name, {}, (16,)))
    for level in _LEVELS:
        place = field_places()["ID_AA64PFR0_EL1", level]
        if place.encoding in known.registers:
            told.value(place.register, level, place.get(known.registers[place.encoding]))
    likely = _host(name, known, told, midr)
    has_pauth = True if words and set(words) >= POINTER_AUTHENTICATION else False if "paca" in absent else None
    if not likely.registers[field_places()[_SVE].encoding] & field_places()[_SVE].mask:
        likely = likely._replace(sve_vl_bytes=())
    bound = told.bounds[field_places()[_SVE]]
    has_sve = True if bound.least else None if bound.most else False
    unknown = {place: found for place, found in told.bounds.items() if found.least != found.most}
    found = tuple(map(source_named, named))
    return Chip(name, title, core, likely, unknown, has_pauth, has_sve, bool(told.other), found)


@cache
def _silicon() -> dict[str, Any]:
    return data_table("arm64/data/silicon.toml")  # type: ignore[no-any-return]


def _corrections(name: str) -> dict[str, int]:
    """What QEMU's core has otherwise than silicon: values by ``REGISTER.FIELD``."""
    found: dict[str, int] = {}
    for entry in _silicon()["correction"]:
        if entry["cpu"] == name.partition(",")[0]:
            found |= entry["fields"]
    return found


@cache
def cores() -> ByName[BareHost]:
    """Cores by name as silicon has them: QEMU's with their corrections, and those that QEMU has not."""
    return ByName(dict.fromkeys((*bare_hosts(), *_silicon()["core"])), _core)


def _core(name: str) -> BareHost:
    entry = _silicon()["core"].get(name)
    if entry is not None:
        encodings = {place.register: place.encoding for place in field_places().values()}
        registers = {encodings[register]: int(value, 16) for register, value in entry["registers"].items()}
        return BareHost(name, registers, tuple(entry["vl_bytes"]))
    host, corrections = bare_hosts()[name], _corrections(name)
    if not corrections:
        return host
    registers = dict(host.registers)
    for text, value in corrections.items():
        register, _, field = text.partition(".")
        place = field_places()[register, field]
        registers[place.encoding] = place.put(registers.get(place.encoding, 0), value)
    return host._replace(registers=registers)


def core_of(midr: int) -> str:
    """The core that an MIDR_EL1 says: its implementer and part; empty for one that is not known."""
    known = {_part(chip.likely.registers[MIDR]): chip.core for chip in chips().values()}
    known |= {_part(host.registers[MIDR]): name for name, host in cores().items() if "," not in name}
    return known.get(_part(midr), "")


def _part(midr: int) -> tuple[int, int]:
    return midr >> 24, midr >> 4 & 0xFFF


#: Before the name of a core as QEMU has it.
_QEMU = "qemu-"


@cache
def known_cores() -> ByName[BareHost]:
    """The cores to name as hosts: as silicon has them, and under ``qemu-NAME`` as QEMU has them where that differs."""
    corrected = (f"{_QEMU}{name}" for name in bare_hosts() if _corrections(name))
    return ByName((*bare_hosts(), *corrected), _known_core)


def _known_core(name: str) -> BareHost:
    if name in bare_hosts():
        return cores()[name]
    return bare_hosts()[name.removeprefix(_QEMU)]._replace(name=name)


@cache
def chips() -> ByName[Chip]:
    """The chips that ``data/chips.toml`` tells of, by name."""
    data = data_table("arm64/data/chips.toml")
    return ByName(data, lambda name: _parsed(name, data[name]))


def _parsed(name: str, entry: Mapping[str, Any]) -> Chip:
    encodings = {register["name"]: encoding_of_op(register["op"]) for register in id_registers().values()}
    told, words, absent = _Told(), entry["features"].split(), entry["absent"].split()
    if "registers" in entry:
        told.registers(entry["registers"], encodings)
    told.words(words, absent, all_shown="hypervisor" not in entry)
    for text, value in entry.get("fields", {}).items():
        register, _, field = text.partition(".")
        told.value(register, field, value)
    for text, value in entry.get("at_least", {}).items():
        register, _, field = text.partition(".")
        told.between(register, field, value, None)
    told.one_algorithm()
    return _chip(name, entry["title"], entry["core"], told, words, absent, entry["midr"], entry["sources"])
