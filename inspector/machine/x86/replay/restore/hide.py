"""Section ``hide``: one battery of checks for each table, most of which lack or add one feature.

A recording has the whole battery of the supported table, and of the others what differs from it. Each character that
is recorded is an answer, and so is each key that a table has in common with the supported one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from inspector.decode.header import with_xstate_bv
from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm import sregs, xsave
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.batteries import dr_battery, nest_battery
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.memo import Memo
from inspector.machine.x86.replay.restore.sweeps import NOT_TRIED, OTHER, SAME, char_of, compare, expand, masks
from inspector.machine.x86.replay.restore.xsave import XCR0_BITS, set_xcr0
from layouts.light import partial

#: A battery: its keys, and the character of every value tried.
Battery = Mapping[str, str]
Part = Callable[[WholeVcpu], Battery]
#: Of the first subsets of XCR0 alone is it asked whether they are the same; the others are shorter.
_LIGHT = 256
#: Keys of a record that are no battery of this module; the MSRs are those of ``hidden_msrs``.
_OTHER_KEYS = frozenset(("op", "cpuid", "set_e", "msr"))
_SWEPT = (("cr4", states.CR4), ("efer", states.EFER), ("cr3", states.CR3), ("apic", states.APIC_BASE))


def sregs_battery(vcpu: WholeVcpu) -> Battery:
    """Long mode with one bit flipped."""
    base = states.sregs_image(vcpu, "long")
    found: dict[str, list[str]] = {name: [] for name, _ in _SWEPT}
    code = sregs.set_sregs(vcpu, base).code
    for bit in range(64):
        for name, offset in _SWEPT:
            image = bytearray(base)
            image[offset + bit // 8] ^= 1 << bit % 8
            outcome = sregs.set_sregs(vcpu, bytes(image))
            char = char_of(outcome)
            if char == SAME:
                char = SAME if _same_registers(sregs.get_sregs(vcpu), bytes(image)) else OTHER
                sregs.set_sregs(vcpu, base)
            found[name].append(char)
    return {"e": str(code), **{name: "".join(chars) for name, chars in found.items()}}


def _same_registers(got: bytes, written: bytes) -> bool:
    return all(got[offset : offset + 8] == written[offset : offset + 8] for _, offset in _SWEPT)


def xcr_battery(vcpu: WholeVcpu) -> Battery:
    """Every subset of XCR0's bits that has x87."""
    found = [set_xcr0(vcpu, value)[0] if value & 1 else NOT_TRIED for value in masks(XCR0_BITS)]
    return {"xcr": "".join(found)}


def xbv_battery(vcpu: WholeVcpu) -> Battery:
    """Images with one bit of XSTATE_BV."""
    base = xsave.get_xsave(vcpu)
    found = []
    for bit in range(64):
        outcome = xsave.set_xsave(vcpu, with_xstate_bv(base, 1 << bit))
        found.append(char_of(outcome))
        if outcome.accepted:
            xsave.set_xsave(vcpu, base)
    return {"xbv": "".join(found)}


def debug_battery(vcpu: WholeVcpu) -> Battery:
    """Debug registers with one bit flipped."""
    dr6, dr7 = dr_battery(vcpu)
    return {"dr6": dr6, "dr7": dr7}


def nested_battery(vcpu: WholeVcpu) -> Battery:
    """Nested state, in long mode as the first part leaves the vCPU."""
    states.set_state(vcpu, "long")
    return {"nest": nest_battery(vcpu)}


PARTS: tuple[Part, ...] = (sregs_battery, xcr_battery, xbv_battery, debug_battery, nested_battery)


class Batteries:
    """The batteries of a recording."""

    def __init__(self, bench: Bench, parts: Sequence[Part] = PARTS) -> None:
        self.bench = bench
        self.memos = [Memo(part) for part in parts]
        self.reference: Battery = {}
        #: What the supported table's record has: what is the same is recorded of no other.
        self.recorded: frozenset[str] = frozenset()

    def of(self, name: str) -> Battery:
        """The battery of a table, by its recorded name."""
        named = name.removesuffix(" again")
        table, fresh = self.bench.table_of(named), partial(self.bench.fresh, 1, named)
        made: dict[str, str] = {}
        for memo in self.memos:
            made.update(memo.of(table, fresh))
        return made

    def answers(self, record: Record) -> Iterator[Answer | Agreed | NotAsked]:
        """The answers of one ``bat`` record."""
        name = record["cpuid"]
        if "set_e" in record:
            refused = record["set_e"]
            vcpu = self.bench.fresh(1, "")
            outcome = vcpu.set_cpuid2(self.bench.tables.named(name)) if name else None
            code = outcome.code if outcome else 0
            why = outcome.because if outcome else ""
            yield Answer("hide.set_e", f"{name}: KVM_SET_CPUID2", refused, code, not refused, why)
            if refused or code:
                return
        made = self.of(name)
        if not self.reference:
            self.reference, self.recorded = made, frozenset(record)
        for key in record.keys() - made.keys() - _OTHER_KEYS:
            yield unknown(f"hide.{key}")
        for key, mine in made.items():
            yield from self._key(record, key, mine)

    def _key(self, record: Record, key: str, mine: str) -> Iterator[Answer | Agreed | NotAsked]:
        name = record["cpuid"]
        if key in record:
            recorded = expand(str(record[key]), len(mine))
            yield from compare(f"hide.{key}", f"{name or 'no table'}: {key}", recorded, mine, "hide")
            return
        if key not in self.recorded:
            yield NotAsked(f"hide.{key}", "batteries that the supported table's record lacks", 1)
            return
        theirs = self.reference[key]
        same = mine[:_LIGHT] == theirs[:_LIGHT]
        yield Answer(
            f"hide.{key}",
            f"{name}: {key} as with the supported table",
            expected=True,
            predicted=same,
            accepted=True,
            because=mine,
        )

    def same(self, names: Sequence[str]) -> Iterator[Answer | Agreed | NotAsked]:
        """The tables whose battery is the supported one's."""
        for name in names:
            made = self.of(name)
            for key, mine in made.items():
                yield from self._key({"cpuid": name}, key, mine)


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    batteries = Batteries(bench)
    for record in records:
        if record["op"] == "bat":
            yield from batteries.answers(record)
        elif record["op"] == "batsame":
            yield from batteries.same(record["v"])
        elif record["op"] not in ("mk", "batvals"):
            yield unknown(f"hide.{record['op']}")
