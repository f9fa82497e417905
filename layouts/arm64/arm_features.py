"""Architecture features (FEAT_*) of a set of ID registers, by Arm's own conditions.

A feature may hang on several fields, and one field on several features. Data: ``data/features.tsv``, facts from Arm's
AARCHMRS. Features that need registers which a guest's ID space does not have (PMMIR_EL1, external debug) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from layouts.arm64.properties import FieldPlace, field_places, properties, property_of, value_text
from layouts.arm64.sysregs import id_registers
from layouts.data import data_text
from layouts.light import NamedTuple, cache

_TERM = r"(\w+)\.(\w+)(>=|=|<)(\d+)"
#: What Arm calls fields that Linux spells otherwise (AARCHMRS; Linux arch/arm64/tools/sysreg).
ARM_SPELLING = {
    ("ID_AA64ISAR0_EL1", "ATOMIC"): "Atomic",
    ("ID_AA64MMFR0_EL1", "ASIDBITS"): "ASIDBits",
    ("ID_AA64MMFR0_EL1", "BIGEND"): "BigEnd",
    ("ID_AA64MMFR0_EL1", "BIGENDEL0"): "BigEndEL0",
    ("ID_AA64MMFR0_EL1", "EXS"): "ExS",
    ("ID_AA64MMFR0_EL1", "PARANGE"): "PARange",
    ("ID_AA64MMFR0_EL1", "TGRAN16"): "TGran16",
    ("ID_AA64MMFR0_EL1", "TGRAN16_2"): "TGran16_2",
    ("ID_AA64MMFR0_EL1", "TGRAN4"): "TGran4",
    ("ID_AA64MMFR0_EL1", "TGRAN4_2"): "TGran4_2",
    ("ID_AA64MMFR0_EL1", "TGRAN64"): "TGran64",
    ("ID_AA64MMFR0_EL1", "TGRAN64_2"): "TGran64_2",
}


class Term(NamedTuple):
    """One comparison of a field with a number."""

    place: FieldPlace
    is_signed: bool
    comparison: str
    number: int

    def holds(self, registers: Mapping[int, int]) -> bool:
        """It holds for these registers, by encoding; one that is not there is 0."""
        width, value = self.place.width, self.place.get(registers.get(self.place.encoding, 0))
        if self.is_signed and value >> width - 1:
            value -= 1 << width
        if self.comparison == "=":
            return value == self.number
        return value >= self.number if self.comparison == ">=" else value < self.number


class Condition(NamedTuple):
    """When a feature is there: one of the alternatives, with all of its terms. ``guard``: only with this feature."""

    feature: str
    guard: str
    alternatives: tuple[tuple[Term, ...], ...]

    def holds(self, registers: Mapping[int, int]) -> bool:
        """The fields say that it is there, whatever the guard."""
        return any(all(term.holds(registers) for term in terms) for terms in self.alternatives)


@cache
def conditions() -> tuple[Condition, ...]:
    """Every condition, in the order of features' names."""
    text = data_text("arm64/data/features.tsv")
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            feature, guard, condition = line.split("\t")
            terms = (tuple(_term(term) for term in part.split(" & ")) for part in condition.split(" | "))
            found.append(Condition(feature, guard, tuple(terms)))
    return tuple(found)


@cache
def feature_names() -> tuple[str, ...]:
    """Every feature that ID registers show, in Arm's order."""
    return tuple(dict.fromkeys(condition.feature for condition in conditions()))


@cache
def _signed() -> frozenset[tuple[str, str]]:
    registers = id_registers().values()
    return frozenset(
        (one["name"], field["name"]) for one in registers for field in one["fields"] if field.get("signed")
    )


def _term(text: str) -> Term:
    import re

    found = re.fullmatch(_TERM, text)
    assert found is not None, text
    register, field, comparison, number = found.groups()
    is_signed = (register, field) in _signed() and comparison != "<"
    return Term(field_places()[register, field], is_signed, comparison, int(number))


def features_in(registers: Mapping[int, int]) -> list[str]:
    """The features that ID registers show, by encoding, in the order of their names."""
    found: dict[str, bool] = {}
    for condition in conditions():
        found[condition.feature] = found.get(condition.feature, False) or condition.holds(registers)
    there = {
        condition.feature
        for condition in conditions()
        if condition.holds(registers) and (not condition.guard or found.get(condition.guard, False))
    }
    return sorted(there, key=str.lower)


def feature_named(name: str) -> str | None:
    """A feature as Arm spells it, from any case; None where Arm has none such."""
    return next((one.feature for one in conditions() if one.feature.lower() == name.lower()), None)


@cache
def places_of(text: str, *, exact: bool = False) -> frozenset[tuple[str, str]]:
    """The fields, by register and name, that show features with a text in their name, or with just that name."""
    wanted = text.lower()
    return frozenset(
        (term.place.register, term.place.name)
        for one in conditions()
        if (wanted == one.feature.lower() if exact else wanted in one.feature.lower())
        for terms in one.alternatives
        for term in terms
    )


def shown_at(place: FieldPlace, number: int) -> list[str]:
    """The features that a value of a field is the least to show, alone or with other fields."""
    found = [
        one.feature
        for one in conditions()
        for terms in one.alternatives
        for term in terms
        if term.place == place and term.number == number and term.comparison != "<"
    ]
    return list(dict.fromkeys(found))


def feature_words(name: str, value: str) -> tuple[str, ...]:
    """A feature as a property: ``on`` is the least value of each of its fields that shows it, ``off`` the one below.

    Raises ValueError for another value, a name that Arm has not, and a feature that fields show in several ways.
    """
    feature = feature_named(name)
    if feature is None:
        raise ValueError(f"{name}: expected the name of a feature (inspector models find {name})")
    if value not in ("on", "off"):
        raise ValueError(f"{name}: expected on or off; found {value!r}")
    ways = [terms for one in conditions() if one.feature == feature for terms in one.alternatives]
    if len(ways) > 1:
        choices = "; or ".join(" ".join(_word(term.place, term.number) for term in terms) for terms in ways)
        raise ValueError(f"{name}: several fields may show it: {choices}")
    terms = [term for term in ways[0] if term.comparison != "<"]
    if value == "on":
        return tuple(_word(term.place, term.number) for term in terms)
    below = [term for term in terms if term.comparison == ">="]
    return tuple(_word(term.place, term.number - 1 & (1 << term.place.width) - 1) for term in below)


class Match(NamedTuple):
    """A property for a word: ``NAME=VALUE``, the field, and what says it."""

    word: str
    place: FieldPlace
    says: str


def find(text: str) -> list[Match]:
    """Properties by Arm's name of a feature or field, by Linux's name of a value, or by a part of these."""
    wanted = text.lower()
    found = []
    for condition in conditions():
        if wanted in condition.feature.lower():
            terms = {(term.place, term.number) for terms in condition.alternatives for term in terms}
            for place, number in sorted(terms, key=lambda term: (term[0].encoding, term[0].name, term[1])):
                found.append(Match(_word(place, number), place, condition.feature))
    for entry in properties().values():
        for place in entry.places if len(entry.places) <= 2 else ():
            arm = ARM_SPELLING.get((place.register, place.name), place.name)
            if wanted in f"{place.register}.{arm} {entry.name}".lower():
                values = ",".join(entry.values) or f"0..{(1 << place.width) - 1}"
                spelled = f"Arm's {arm}" if arm != place.name else f"{place.name}"
                found.append(Match(f"{entry.name}={values}", place, spelled))
            elif any(wanted == value for value in entry.values):
                found.append(Match(f"{entry.name}={text.lower()}", place, "Linux's name of a value"))
    return found


def _word(place: FieldPlace, number: int) -> str:
    entry = properties().get(property_of(place))
    if entry is None or entry.places != (place,):
        return f"SYSREG_{place.register}_{place.name}={number}"
    return f"{entry.name}={value_text(entry, (number,))}"
