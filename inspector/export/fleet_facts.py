"""The facts of a host or a guest as people read them: CPUID and MSRs, ID registers, or names of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from inspector.fleet.facts import X86, Document
from inspector.machine.arm64.captured import is_fact
from inspector.machine.x86.migrate.places import names_of, parts_of
from layouts.arm64.ids import RegisterId
from layouts.arm64.kernels import kernels
from layouts.arm64.properties import FieldPlace, field_places
from layouts.x86.features import REGISTERS
from layouts.x86.msrs import MSR_NAMES

_TABLES = {
    "cpuid": "CPUID of the CPU",
    "supported": "KVM_GET_SUPPORTED_CPUID",
    "guest": "CPUID of a guest",
}


class Fact(NamedTuple):
    """A line: what it is, its value as text, and more about the value; a heading has no value."""

    name: str
    value: str = ""
    more: tuple[str, ...] = ()


def facts_of(document: Document) -> list[Fact]:
    """Everything that is known of a host or a guest."""
    made = _x86(document) if document["arch"] == X86 else _arm64(document)
    kernel = [Fact("kernel", f"Linux {document['kernel']}" if document["kernel"] else "not told")]
    return [*kernel, *made]


def _x86(document: Document) -> Iterator[Fact]:
    if "there" in document:
        vendor = " ".join(map(str, document["signature"] or ("not told",)))
        yield Fact("vendor, family, model, stepping", vendor)
        yield from (Fact(name, "there") for name in document["there"])
        yield from (Fact(name, "not there") for name in document["not_there"])
        return
    tables = [name for name in ("cpuid", "supported", "guest") if name in document]
    for key in tables or ["cpuid"]:
        if document.get(key):
            yield Fact(_TABLES[key] if "supported" in document else _TABLES["guest"])
            yield from (_cpuid(row) for row in document[key])
    if document["msrs"]:
        yield Fact("MSRs")
        yield from (Fact(MSR_NAMES.get(index, f"MSR {index:#x}"), f"{value:#x}") for index, value in document["msrs"])
    others = document.get("other_msrs", ())
    if others:
        yield Fact("MSRs that it has besides", "", ())
        yield from (Fact(MSR_NAMES.get(index, f"MSR {index:#x}"), "there") for index in others)


def _cpuid(row: Iterable[int]) -> Fact:
    leaf, subleaf, *values = row
    words = " ".join(f"{register} {value:08x}" for register, value in zip(REGISTERS, values, strict=True))
    names = [
        f"{names_of(place)[0]} ({place})" if place.high == place.low else f"{names_of(place)[0]} ({place}) {number:#x}"
        for register, value in zip(REGISTERS, values, strict=True)
        for place, _, mask in parts_of(leaf, subleaf, register)
        if (number := (value & mask) >> place.low)
    ]
    return Fact(f"{leaf:#x}.{subleaf:x}", words, tuple(names))


def _arm64(document: Document) -> Iterator[Fact]:
    if "words" in document:
        yield Fact("MIDR_EL1", f"{document['midr']:#x}")
        yield from (Fact(word, "there") for word in document["words"])
        return
    places: dict[int, list[FieldPlace]] = {}
    for place in field_places().values():
        places.setdefault(place.encoding, []).append(place)
    name_of = [*kernels().values()][-1].register_name
    for key, data in document["registers"].items():
        register_id, value = RegisterId(int(key, 16)), int.from_bytes(bytes.fromhex(data), "little")
        name = name_of(register_id.encoding) if register_id.is_sysreg else f"register {register_id:#x}"
        if not is_fact(register_id):
            yield Fact(name, "there")
            continue
        fields = places.get(register_id.encoding, []) if register_id.is_sysreg else []
        yield Fact(name, f"{value:#x}", tuple(f"{place.name} {place.get(value):#x}" for place in fields))
