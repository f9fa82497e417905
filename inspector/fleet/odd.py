"""The host that differs from its siblings, and in what: the same CPU, another microcode, kernel, parameter or switch.

Siblings are hosts with the same family, model and stepping (x86) or MIDR_EL1 (arm64); what most are is the norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from inspector.fleet.facts import X86, Document, cpuid_of_rows
from inspector.fleet.hosts import Fleet
from inspector.machine.x86.migrate.places import Place, names_of, parts_of
from layouts.arm64.ids import MIDR, RegisterId, sysreg_id
from layouts.arm64.kernels import kernels
from layouts.arm64.properties import field_places
from layouts.x86.features import REGISTERS
from layouts.x86.msrs import MSR_NAMES

#: Fewer are no siblings: nobody could say which of two is odd.
_LEAST = 3


class Difference(NamedTuple):
    """Where a host is otherwise: the place and its name, the norm's value and its own as text."""

    where: str
    name: str
    norm: str
    value: str


class Odd(NamedTuple):
    """A host, by number, that is not as its siblings: ``captures`` like it, of ``siblings`` in all.

    ``norm`` is the number of the host that most siblings are.
    """

    host: int
    captures: int
    siblings: int
    norm: int
    differences: tuple[Difference, ...]


def odd(fleet: Fleet) -> list[Odd]:
    """Every host that is otherwise than most of its siblings, the rarest first."""
    families: dict[object, list[int]] = {}
    for number, kept in enumerate(fleet.hosts):
        families.setdefault(_family(kept.facts), []).append(number)
    found = []
    for hosts in families.values():
        count = sum(fleet.hosts[one].captures for one in hosts)
        norm = max(hosts, key=lambda one: (fleet.hosts[one].captures, -one))
        most = fleet.hosts[norm].captures
        if count < _LEAST or len(hosts) < 2:
            continue
        for one in hosts:
            kept = fleet.hosts[one]
            if one != norm and kept.captures < most:
                differing = tuple(_differences(fleet.hosts[norm].facts, kept.facts))
                found.append(Odd(one, kept.captures, count, norm, differing))
    return sorted(found, key=lambda one: (one.captures, -one.siblings, fleet.hosts[one.host].name))


def _family(facts: Document) -> object:
    if "there" in facts:
        return X86, "names", tuple(facts["signature"] or ())
    if facts["arch"] == X86:
        tables = (cpuid_of_rows(facts[key]) for key in ("cpuid", "supported", "guest"))
        kind = tuple(facts[key] is not None for key in ("cpuid", "supported", "guest"))
        return X86, kind, next((table.signature() for table in tables if table is not None), None)
    return facts["arch"], facts.get("midr"), facts.get("registers", {}).get(f"{sysreg_id(MIDR):x}")


def _differences(norm: Document, other: Document) -> Iterator[Difference]:
    if norm["kernel"] != other["kernel"]:
        yield Difference("kernel", "Linux", norm["kernel"] or "not told", other["kernel"] or "not told")
    if "there" in norm:
        yield from _of_names(norm, other)
    elif norm["arch"] == X86:
        for key in ("cpuid", "supported", "guest"):
            yield from _of_tables(norm[key] or [], other[key] or [])
        yield from _of_msrs(dict(norm["msrs"]), dict(other["msrs"]))
    elif "words" in norm:
        words, mine = set(norm["words"]), set(other["words"])
        yield from (_there(word, word, there=word in mine) for word in sorted(words ^ mine))
    else:
        yield from _of_registers(norm["registers"], other["registers"])


def _there(where: str, name: str, *, there: bool) -> Difference:
    return Difference(where, name, *(("not there", "there") if there else ("there", "not there")))


def _of_names(norm: Document, other: Document) -> Iterator[Difference]:
    told = [
        {**dict.fromkeys(facts["there"], "there"), **dict.fromkeys(facts["not_there"], "not there")}
        for facts in (norm, other)
    ]
    for name in sorted(told[0].keys() | told[1].keys()):
        one, two = (found.get(name, "not told") for found in told)
        if one != two:
            yield Difference(name, name, one, two)


def _of_tables(norm: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> Iterator[Difference]:
    """CPUID: the bits and fields of feature words, whole registers of others."""
    tables = [{(row[0], row[1]): row[2:] for row in rows} for rows in (norm, other)]
    for key in sorted(tables[0].keys() | tables[1].keys()):
        one, two = (table.get(key, (0, 0, 0, 0)) for table in tables)
        for at, register in enumerate(REGISTERS):
            differs = one[at] ^ two[at]
            for place, _, mask in parts_of(*key, register):
                if differs & mask:
                    values = ((word[at] & mask) >> place.low for word in (one, two))
                    yield Difference(str(place), names_of(place)[0], *map(hex, values))
                    differs &= ~mask
            if differs:
                where = f"CPUID.{key[0]:X}.{key[1]:X}.{register.upper()}"
                yield Difference(where, where, hex(one[at]), hex(two[at]))


def _of_msrs(norm: dict[int, int], other: dict[int, int]) -> Iterator[Difference]:
    for index in sorted(norm.keys() | other.keys()):
        one, two = norm.get(index), other.get(index)
        if one is None or two is None:
            if one != two:
                name = MSR_NAMES.get(index, f"MSR {index:#x}")
                yield Difference(f"MSR.{index:X}", name, *(_hex(value) for value in (one, two)))
            continue
        for bit in range(64):
            if (one ^ two) >> bit & 1:
                place = Place("msr", index, 0, "", bit, bit)
                yield Difference(str(place), names_of(place)[0], str(one >> bit & 1), str(two >> bit & 1))


def _hex(value: int | None) -> str:
    return "not captured" if value is None else hex(value)


def _of_registers(norm: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """Registers of arm64: the fields of ID registers, whole registers of others."""
    places: dict[int, list[Any]] = {}
    for place in field_places().values():
        places.setdefault(sysreg_id(place.encoding), []).append(place)
    name_of = [*kernels().values()][-1].register_name
    for key in sorted(norm.keys() | other.keys()):
        if norm.get(key) == other.get(key):
            continue
        register_id = RegisterId(int(key, 16))
        name = name_of(register_id.encoding) if register_id.is_sysreg else f"register {register_id:#x}"
        if key not in norm or key not in other:
            yield _there(name, name, there=key in other)
            continue
        one, two = (int.from_bytes(bytes.fromhex(found[key]), "little") for found in (norm, other))
        differs = [place for place in places.get(register_id, ()) if place.get(one) != place.get(two)]
        for place in differs:
            yield Difference(f"id.{place.register}.{place.name}", place.name, hex(place.get(one)), hex(place.get(two)))
        if not differs:
            yield Difference(name, name, hex(one), hex(two))
