"""Files of recorded answers: their records, whether these are well formed, and what they were recorded on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from inspector.capture.errors import InputError
from inspector.machine.shapes import ANY_TEXT, Shape, misfit
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: Kinds of x86 records that are programs.
PROGRAMS = frozenset(("prog", "ptrace"))
#: Before records of another file that name the host: they are not replayed.
BORROWED_HOST = "borrowed-host"


def records(file: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of a file, one JSON object a line. Raises InputError naming the line."""
    import json

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {number}", "one JSON object", str(error)) from error
        if not isinstance(found, dict) or not (isinstance(found.get("t"), str) or isinstance(found.get("op"), str)):
            expected = 'an object with a kind "t" or "op"'
            raise InputError(f"{file}: line {number}", expected, line[:40].decode("utf-8", "replace"))
        yield found


def check_shapes(file: str, found: Iterable[Mapping[str, Any]], key: str, shapes: Mapping[str, Shape]) -> None:
    """Every record is as its kind's records are. Raises InputError naming the record; other kinds pass."""
    of_any: Shape = {key: ANY_TEXT}
    for number, record in enumerate(found, 1):
        kind = record.get(key)
        wrong = misfit(record, shapes.get(kind, {})) if isinstance(kind, str) else misfit(record, of_any)
        if wrong is not None:
            raise InputError(f"{file}: record {number}, {record.get(key, 'of no kind')}", *wrong)


def names_host(found: Iterable[Mapping[str, Any]]) -> bool:
    """Records of x86 programs need a host, its kernel or its CPUID; so do restores, and they have a section of it."""
    found = list(found)
    if is_restore(found):
        return any(record.get("op") == "section" and record.get("name") == "host" for record in found)
    kinds = {record.get("t") for record in found}
    return bool(kinds & {"uname", "cpuid", "meta"}) or not kinds & PROGRAMS


def with_host(found: list[dict[str, Any]], host: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with those that name their host: before them all, of restores behind what ran them."""
    if not is_restore(found):
        return [*host, *found]
    starts = [nth for nth, record in enumerate(host) if (record.get("op"), record.get("name")) == ("section", "host")]
    at = starts[0] if starts else len(host)
    end = next((nth for nth in range(at, len(host)) if host[nth].get("op") == "end"), len(host))
    return [found[0], {"op": BORROWED_HOST}, *host[at:end], {"op": "end", "name": "host"}, *found[1:]]


def is_restore(found: Sequence[Mapping[str, Any]]) -> bool:
    """A recording of KVM/x86's restore ioctls: it begins with what ran it."""
    return bool(found) and found[0].get("op") == "runner"


def is_deep(found: list[dict[str, Any]]) -> bool:
    """A deep recording of KVM/arm64: its records have their kind as ``op``."""
    return bool(found) and not isinstance(found[0].get("t"), str)


def is_arm64(found: list[dict[str, Any]]) -> bool:
    """Records of KVM/arm64: its kinds, or sequences in which vCPUs are made."""
    if is_deep(found):
        return True
    for record in found:
        if record.get("t") in ("idreg", "idw", "reglist", "feat"):
            return True
        if record.get("t") == "seq":
            steps = record.get("steps")
            return isinstance(steps, list) and any(
                step[:1] in (["create_vcpu"], ["init"]) for step in steps if isinstance(step, list)
            )
    return False
