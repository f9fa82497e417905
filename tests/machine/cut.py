"""Recordings cut to a few records, one answer of which can be changed."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from inspector.machine.verify import Agreement, verify

VERDICTS = Path(__file__).parent / "verdicts"
Record = dict[str, Any]
Key = str | int
#: Letters and signs of deep recordings, and what a changed answer becomes.
_LETTERS = frozenset("0pnBefbiowx?-")
_OTHER = {"0": "i", "n": "i", "+": "~", "~": "+"}
_SIGNED = re.compile("[0-9a-f]+(?:[+~]|![0-9a-f]+|-.)")

#: Registers as deep recordings have them, a VM made at once, and one in steps.
PC, PFR0 = "6030000000100040", "603000000013c020"
BASE: Record = {"op": "mk", "s": "base", "f": 4, "fl": 0, "e": 0, "at": 0}
VM: list[Record] = [
    {"op": "vm", "s": "feat", "e": 0},
    {"op": "vcpu", "i": 0, "e": 0},
    {"op": "init", "i": 0, "f": 4, "e": 0},
]


@cache
def _lines(name: str) -> list[bytes]:
    path = VERDICTS / name
    data = path.read_bytes()
    return (lzma.decompress(data) if path.suffix == ".xz" else gzip.decompress(data)).splitlines()


def first(name: str, start: str, holding: str = "") -> Record:
    """The first record whose line begins so, and holds that."""
    for line in _lines(name):
        if line.startswith(start.encode()) and holding.encode() in line:
            found: Record = json.loads(line)
            return found
    raise LookupError(f"{name} has no record that begins {start} and holds {holding}")


def of_kind(name: str, *kinds: str) -> list[Record]:
    """The records of some kinds."""
    found = [
        json.loads(line)
        for line in _lines(name)
        if line.startswith(tuple(f'{{"t":"{kind}"'.encode() for kind in kinds))
    ]
    return [record for record in found if record["t"] in kinds]


def header(name: str) -> list[Record]:
    """What a deep recording was made on."""
    return [first(name, '{"op": "host"'), first(name, '{"op":"meta"')]


def section(name: str, start: str) -> list[Record]:
    """The records from the first that begins so up to the next fresh VM."""
    found: list[Record] = []
    for line in _lines(name):
        if found and line.startswith((b'{"op":"vm"', b'{"op":"mk"')):
            break
        if found or line.startswith(start.encode()):
            found.append(json.loads(line))
    return found


def asked(file: str, *records: Record) -> Agreement:
    """What ``inspector verify`` counts of these."""
    return verify(file, [json.dumps(record).encode() for record in records])


def changed(record: Record, place: Sequence[Key], value: object) -> Record:
    """The record with another value in one place."""
    found = copy.deepcopy(record)
    inner: Any = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


def answers(record: Record, questions: Collection[str] = ()) -> Iterator[Record]:
    """The record with one answer changed, whichever it is: of many alike the first and the last."""
    for key, value in record.items():
        if key != ("op" if "op" in record else "t") and key not in questions:
            for place, other in _others(value, (key,)):
                yield changed(record, place, other)


def _others(value: Any, place: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], object]]:
    """Each answer below, and another that it might have been."""
    if isinstance(value, dict):
        for key in sorted({min(value, default=""), max(value, default="")} & value.keys()):
            yield from _others(value[key], (*place, key))
    elif isinstance(value, list):
        # Of a row what was written, what came of it and what was read are three.
        for at in sorted({0, 1 if len(place) > 1 else 0, len(value) - 1}) if value else ():
            yield from _others(value[at], (*place, at))
    elif isinstance(value, int):
        yield place, 0 if value else 22
        yield place, value + 1
    elif _SIGNED.fullmatch(value):
        yield place, value[:-1] + _OTHER.get(value[-1], "n" if "-" in value else "0")
    elif set(value) <= _LETTERS and (not value.isdecimal() or len(value) == 64 or place == ("same",)):
        for letter in sorted(set(value) - {"-"}):
            yield place, value.replace(letter, _OTHER.get(letter, "0"), 1)
    else:
        for at in sorted({0, len(value) - 1}) if value else ():
            yield place, f"{value[:at]}{int(value[at], 16) ^ 1:x}{value[at + 1 :]}"
