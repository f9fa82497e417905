"""``kept:FILE:NAME``: what a store of ``inspector fleet add`` has of a name, as a capture.

That is its host and of its guest CPUID, feature MSRs and ID registers; the rest of a vCPU's state is not kept, and is
not in the capture. So a line of standard input, or a file that is gone, can still be looked at and moved.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from urllib.parse import quote

from inspector.capture.errors import InputError, UsageError
from inspector.capture.host import Cpuid, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.options import Options
from inspector.readers.synthesized import cpuid_area, msr_area, register_area
from layouts.files import fleet_store
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

SCHEME = "kept:"
_FORMAT = "fleet-store"
_FORM = f"{SCHEME}FILE:NAME, a store of inspector fleet add and a name in it"
_DIGEST_SIZE_BYTES = 16
_EMULATORS = {"tcg": "TCG", "bochs": "Bochs"}
_NEWEST = (
    "SELECT kernel, hosts.digest, hosts.facts, guests.digest, guests.facts FROM captures"
    " JOIN hosts ON hosts.id = host LEFT JOIN guests ON guests.id = guest"
    " WHERE name = ? ORDER BY time DESC, captures.id DESC LIMIT 1"
)


def digest_of(data: bytes) -> str:
    """The name of bytes, in hex, by which a store knows facts."""
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE_BYTES).hexdigest()


def word_of(store: str, name: str) -> str:
    """The word for a name in a store."""
    return f"{SCHEME}{store}:{name}"


def capture_of_kept(target: str, options: Options) -> Capture:
    """``kept:FILE:NAME``, the newest capture of that name. Raises UsageError and InputError."""
    path, name = _split(target)
    kernel, host, guest = _row(path, name)
    if "there" in host or "words" in host:
        raise UsageError(f"{target}: of this host only names of features are known, which are no capture")
    options.note(f"{target}: kept are its host and its guest's features; other state of a vCPU is not")
    origin = Origin(path, 0)
    if host["arch"] == "arm64":
        areas = [_registers((guest or host)["registers"], origin)]
        return Capture(target, _FORMAT, [Vcpu(0, name, "arm64", areas)], host=Host(kernel=kernel))
    return _x86(target, name, kernel, host, guest)


def _split(target: str) -> tuple[str, str]:
    """Path and name: both may have colons, and the path is the first that is there. Raises UsageError."""
    words = target.removeprefix(SCHEME)
    for at, sign in enumerate(words):
        if sign == ":" and words[at + 1 :] and os.path.isfile(words[:at]):
            return words[:at], words[at + 1 :]
    raise UsageError(f"{target}: expected {_FORM}")


def _row(path: str, name: str) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """The kernel, and the facts of host and guest. Raises InputError."""
    wanted = "a store of inspector fleet add"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)) as store:
            if store.execute("PRAGMA application_id").fetchone()[0] != fleet_store.APPLICATION_ID:
                raise InputError(path, wanted, "another SQLite file")
            version = store.execute("PRAGMA user_version").fetchone()[0]
            if version != fleet_store.VERSION:
                raise InputError(path, f"a store of version {fleet_store.VERSION}", str(version))
            found = store.execute(_NEWEST, (name,)).fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise InputError(path, wanted, str(error)) from None
    if found is None:
        raise InputError(path, f"a capture that is named {name}", "none")
    kernel, *rows = found
    host, guest = (document_of(path, rows[at], rows[at + 1]) if rows[at] else None for at in (0, 2))
    assert host is not None
    return kernel, host, guest


def document_of(path: str, name: str, facts: str) -> dict[str, Any]:
    """Facts as they were kept: they are known by their digest. Raises InputError for others."""
    if digest_of(facts.encode("utf-8", "surrogatepass")) != name:
        raise InputError(path, f"the facts that were kept as {name}", "others; the store is damaged")
    document: dict[str, Any] = json.loads(facts)
    return document


def _x86(target: str, name: str, kernel: str, facts: dict[str, Any], guest: dict[str, Any] | None) -> Capture:
    origin = Origin(target, 0)
    host = Host(_cpuid(facts["cpuid"]), kernel, _EMULATORS.get(facts["emulator"], ""))
    context: list[Area] = []
    supported = _cpuid(facts["supported"])
    if supported is not None:
        context.append(cpuid_area(supported, origin, "KVM_GET_SUPPORTED_CPUID", "supported_cpuid"))
    if facts["msrs"]:
        context.append(msr_area(dict(_known(facts["msrs"])), origin, "feature MSRs of the host"))
    table = _cpuid(guest["cpuid"] if guest is not None else facts["guest"])
    areas = [cpuid_area(table, origin, "CPUID")] if table is not None else []
    if guest is not None and guest["msrs"]:
        areas.append(msr_area(dict(_known(guest["msrs"])), origin, "feature MSRs"))
    return Capture(target, _FORMAT, [Vcpu(0, name, "x86", areas)], host=host, context=context)


def _cpuid(rows: Iterable[list[int]] | None) -> Cpuid | None:
    if rows is None:
        return None
    return Cpuid({(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in rows})


def _known(rows: Iterable[list[int]]) -> Iterator[tuple[int, tuple[int, int]]]:
    return ((index, (value, 0)) for index, value in rows)


def _registers(found: dict[str, str], origin: Origin) -> Area:
    """Registers by KVM id; where only is kept that one is there, no bit of it is known."""
    from inspector.machine.arm64.captured import is_fact

    values = {int(one, 16): int.from_bytes(bytes.fromhex(data), "little") for one, data in found.items()}
    masked = {one: (value, 0) if is_fact(one) else (0, -1) for one, value in values.items()}
    return register_area(masked, origin, "KVM registers")
