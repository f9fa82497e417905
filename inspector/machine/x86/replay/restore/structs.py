"""Sweeps over the bytes of a KVM structure: one written bit or value, one answer.

As the recorder makes them (src/probe.c: sbase, sbits, sval): each value is written over a base; after it the base is
written again, and ``rf`` counts how often that did not bring it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.sweeps import (
    ACCEPTED,
    BASE,
    OTHER,
    SAME,
    char_of_errno,
    expand,
)

Record = Mapping[str, Any]
_MOST_WORDS = 10
_OPS = ("base", "bits", "vals")


class Struct(NamedTuple):
    """A structure of KVM's interface: its size in bytes, how it is read and written.

    ``clear``: what the recorder does before it writes the base again. ``unread``: the errno of reading it.
    """

    size_bytes: int
    get: Callable[[WholeVcpu], bytes]
    put: Callable[[WholeVcpu, bytes], Outcome]
    clear: Callable[[WholeVcpu], object] | None = None
    unread: Callable[[WholeVcpu], int] = lambda _vcpu: 0


class StructSweeps:
    """The records ``base``, ``bits`` and ``vals`` of a section: ``structs`` by their recorded names."""

    def __init__(self, section: str, structs: Mapping[str, Struct]) -> None:
        self.section = section
        self.structs = structs
        self.base = b""

    def replay(self, vcpu: WholeVcpu, record: Record) -> Iterator[Answer | Agreed | NotAsked]:
        """The answers of one record."""
        if record["op"] not in _OPS:
            yield unknown(f"{self.section}.{record['op']}")
            return
        struct = self.structs[record["st"]]
        if record["op"] == "base":
            yield from self._base(vcpu, struct, record)
        elif record["op"] == "bits":
            offset = record["off"]
            count = min(8, struct.size_bytes - offset) * 8
            yield from self._sweep(vcpu, struct, record, offset, 0, list(range(count)))
        else:
            values = [int(value, 16) for value in record["v"]]
            yield from self._sweep(vcpu, struct, record, record["off"], record["width"], values)

    def _base(self, vcpu: WholeVcpu, struct: Struct, record: Record) -> Iterator[Answer]:
        kind, text = f"{self.section}.base", f"{record['st']} {record['state']}"
        recorded = bytes.fromhex(record["hex"])
        got = struct.get(vcpu)
        expected, mine = [record.get("e", 0), recorded.hex()], [struct.unread(vcpu), got.hex()]
        yield Answer(kind, text, expected, mine, not expected[0], "as read from the vCPU")
        self.base = recorded
        if "set_e" in record:
            outcome = struct.put(vcpu, recorded)
            same = int(struct.get(vcpu) == recorded)
            expected = [record["set_e"], record["same"]]
            yield Answer(kind, text, expected, [outcome.code, same], not record["set_e"], outcome.because)

    def _sweep(
        self, vcpu: WholeVcpu, struct: Struct, record: Record, offset: int, width: int, values: list[int]
    ) -> Iterator[Answer | Agreed]:
        kind = f"{self.section}.{record['op']}"
        recorded = expand(record["s"], len(values))
        differences = {key if isinstance(key, int) else int(key, 16): words for key, words in record.get("x", ())}
        accepted = refused = unrestored = 0
        for value, expected in zip(values, recorded, strict=True):
            written = self._written(offset, width, value)
            outcome = struct.put(vcpu, written)
            found, words = self._found(vcpu, struct, outcome, written)
            if found != BASE and self._restore(vcpu, struct):
                unrestored += 1
            if found == expected and (found != OTHER or words == differences.get(value)):
                if expected in ACCEPTED:
                    accepted += 1
                else:
                    refused += 1
                continue
            text = f"{record['st']} {offset}: {value:#x}" if width else f"{record['st']} {offset}: bit {value}"
            given = [expected, differences.get(value)] if expected == found else expected
            mine = [found, words] if expected == found else found
            yield Answer(kind, text, given, mine, expected in ACCEPTED, outcome.because)
        if accepted or refused:
            yield Agreed(kind, accepted, refused)
        if unrestored or record.get("rf"):
            text = f"{record['st']} {offset}: times that the base did not come back"
            yield Answer(
                kind, text, record.get("rf", 0), unrestored, accepted=True, because="the base is written again"
            )

    def _written(self, offset: int, width: int, value: int) -> bytes:
        written = bytearray(self.base)
        if width:
            written[offset : offset + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        else:
            written[offset + (value >> 3)] ^= 1 << (value & 7)
        return bytes(written)

    def _found(self, vcpu: WholeVcpu, struct: Struct, outcome: Outcome, written: bytes) -> tuple[str, Any]:
        if not outcome.accepted:
            return char_of_errno(outcome.code), None
        got = struct.get(vcpu)
        if got == written:
            return SAME, None
        return (BASE, None) if got == self.base else (OTHER, different_words(written, got))

    def _restore(self, vcpu: WholeVcpu, struct: Struct) -> bool:
        if struct.clear is not None:
            struct.clear(vcpu)
        outcome = struct.put(vcpu, self.base)
        return not outcome.accepted or struct.get(vcpu) != self.base


def different_words(written: bytes, got: bytes, most: int = _MOST_WORDS) -> list[Any]:
    """The 8-byte words that differ, as recorded: offset, written, read back; the first ten."""
    found: list[Any] = []
    for offset in range(0, len(written), 8):
        mine, theirs = written[offset : offset + 8], got[offset : offset + 8]
        if mine != theirs:
            found.append([offset, f"{int.from_bytes(mine, 'little'):x}", f"{int.from_bytes(theirs, 'little'):x}"])
            if len(found) >= most:
                found.append("more")
                break
    return found
