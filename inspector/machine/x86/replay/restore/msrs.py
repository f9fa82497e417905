"""Recorded sweeps of KVM_SET_MSRS and KVM_GET_MSRS: the sections msr1, msr2, mce and multi, and the lists of host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError, unknown
from inspector.machine.x86.kvm.cpuid_ioctls import entries_of
from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.msrs.access import read, write
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.msrs.table import table_of
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record, is_processors
from inspector.machine.x86.replay.restore.cpuid import differences
from inspector.machine.x86.replay.restore.sregs import STRUCTS
from inspector.machine.x86.replay.restore.states import set_state
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.sweeps import BASE, OTHER, REFUSED_MSR, SAME, TIME, UNREAD, compare, shortened

Found = Iterator[Answer | Agreed | NotAsked]
Section = Callable[[Bench, Sequence[Record]], Iterator[Answer | Agreed | NotAsked] | Iterator[Answer]]
#: MSRs that KVM keeps in the FPU's state; what Bochs' XSAVES keeps of them is not what was written.
XSTATE_MANAGED = frozenset((0x6A0, *range(0x6A4, 0x6A8)))
#: MSRs that count time: writes are not compared.
VOLATILE = frozenset((0x10, 0x40000020, 0x839, 0x40000010))
#: What the recorder writes to an MSR that cannot be read, to see whether it is there at all.
_DEAD = (0, 1, (1 << 64) - 1, 2, 0x8001, 0xFEE00900, 0x10)
_NOT_TRIED = -1
_LOST = "values of MSRs in the FPU's state: the emulator's XSAVES does not keep them"
_ACCEPTED = str.maketrans({BASE: SAME, OTHER: SAME})


class Sweep:
    """One MSR's sweep as the recorder makes it: after each accepted write the base value is written again."""

    def __init__(self, vcpu: WholeVcpu, index: int) -> None:
        self.vcpu, self.index = vcpu, index
        found = read(vcpu, index)
        self.readable = not isinstance(found, Refusal)
        self.base = 0 if isinstance(found, Refusal) else found
        self.compared = index not in VOLATILE
        self.is_lost = is_lost(vcpu, index)
        if not self.compared:
            self.base = 0
        self.others: list[list[str]] = []
        self.stuck = 0
        self.because: list[str] = []

    def sweep(self, values: Sequence[int]) -> str:
        """The characters for values, one each."""
        return "".join([self.one(value) for value in values])

    def one(self, value: int) -> str:
        """A value's character."""
        vcpu, index = self.vcpu, self.index
        if write(vcpu, index, value) is not None:
            return REFUSED_MSR
        if not self.compared:
            return TIME
        got = read(vcpu, index)
        if isinstance(got, Refusal):
            return UNREAD
        if got != self.base:
            write(vcpu, index, self.base)
            self.stuck += read(vcpu, index) != self.base
        if got == value:
            return SAME
        if got == self.base:
            return BASE
        self.others.append([f"{value:x}", f"{got:x}"])
        return OTHER

    def told(self, values: Sequence[int]) -> list[str]:
        """What decides each value now, for those that disagree."""
        found = []
        for value in values:
            refusal = write(self.vcpu, self.index, value)
            found.append("taken" if refusal is None else refusal.told(self.index, value))
            if self.readable:
                write(self.vcpu, self.index, self.base)
        return found


class Batch:
    """The sweeps of one VM between two events: records ``msr``, then ``msrnone`` and ``msrleak``."""

    def __init__(self, bench: Bench, typical: Sequence[int]) -> None:
        self.bench = bench
        self.typical = typical
        self.records: list[Record] = []

    def replay(self, section: str, none: Record, leak: Record) -> Found:
        """All answers, in the order in which the recorder asked."""
        vcpu = self.bench.vcpu
        dead = {int(text, 16) for text in none["v"]}
        swept = {int(record["i"], 16): record for record in self.records}
        if len(swept) != len(self.records) or not dead.isdisjoint(swept):
            raise RecordError(f"section {section}: one sweep has an MSR twice")
        before = {index: read(vcpu, index) for index in (*dead, *swept)}
        agreed = 0
        for index in sorted({*dead, *swept}):
            is_dead = _is_dead(vcpu, index)
            if index in dead:
                agreed += is_dead
                if not is_dead:
                    yield Answer(f"{section}.msrnone", f"{index:x}", "none", "an answer", accepted=False)
                continue
            if is_dead:
                yield Answer(
                    f"{section}.msrnone", f"{index:x}", "an answer", "none", accepted=True, because="KVM lacks the MSR"
                )
            yield from self._swept(section, index, swept[index])
        if agreed:
            yield Agreed(f"{section}.msrnone", 0, agreed)
        yield from _leaks(section, vcpu, before, leak)

    def unfinished(self, section: str, none: Record | None) -> Found:
        """Without the two records at its end nobody knows in which order the recorder asked."""
        if left := len(self.records) + (len(none["v"]) if none else 0):
            yield NotAsked(f"{section}.msr", "sweeps that the recording does not finish", left)

    def _swept(self, section: str, index: int, record: Record) -> Found:
        sweep = Sweep(self.bench.vcpu, index)
        kind, name = f"{section}.msr", f"{index:x}"
        base = "v" if not sweep.compared else f"{sweep.base:x}"
        yield Answer(kind, f"{name} g", record["g"], int(sweep.readable), record["g"] == 1)
        if "b" in record and not sweep.is_lost:
            yield Answer(kind, f"{name} b", record["b"], base if sweep.readable else None, accepted=True)
        bits = [1 << bit for bit in range(64)]
        parts = [("t", self.typical), ("c", [sweep.base]), ("s", bits), ("f", [sweep.base ^ bit for bit in bits])]
        for key, values in parts:
            if key in record:
                predicted, recorded = sweep.sweep(values), record[key]
                if sweep.is_lost:
                    recorded, predicted = (text.translate(_ACCEPTED) for text in (recorded, predicted))
                if recorded == shortened(predicted):
                    refused = predicted.count(REFUSED_MSR)
                    yield Agreed(kind, len(predicted) - refused, refused)
                else:
                    yield from compare(kind, f"{name} {key}", recorded, predicted, sweep.told(values))
        if sweep.is_lost:
            yield NotAsked(kind, _LOST, 2)
            return
        yield Answer(kind, f"{name} x", record.get("x", []), sweep.others, accepted=True)
        yield Answer(kind, f"{name} rf", record.get("rf", 0), sweep.stuck, accepted=True)


def is_lost(vcpu: WholeVcpu, index: int) -> bool:
    """The emulator does not keep the MSR's value: only whether it is taken is asked."""
    return index in XSTATE_MANAGED and vcpu.kvm.processor.emulator == "bochs"


def _is_dead(vcpu: WholeVcpu, index: int) -> bool:
    if not isinstance(read(vcpu, index), Refusal):
        return False
    return all(write(vcpu, index, value) is not None for value in _DEAD)


def _leaks(section: str, vcpu: WholeVcpu, before: Mapping[int, int | Refusal], leak: Record) -> Found:
    found = []
    for index in sorted(before):
        if index in VOLATILE or is_lost(vcpu, index):
            continue
        mine = [*_read_as(before[index]), *_read_as(read(vcpu, index))]
        if mine[:2] != mine[2:]:
            found.append([f"{index:x}", *mine])
    rows = leak["v"]
    recorded = [row for row in rows if not is_lost(vcpu, int(row[0], 16))]
    if len(rows) > len(recorded):
        yield NotAsked(f"{section}.msrleak", _LOST, len(rows) - len(recorded))
    kind = f"{section}.msrleak"
    agreed = sum(row in found for row in recorded)
    if agreed:
        yield Agreed(kind, agreed, 0)
    for row in recorded:
        if row not in found:
            mine_too = next((each for each in found if each[0] == row[0]), None)
            yield Answer(kind, row[0], row, mine_too, accepted=True)
    for row in found:
        if not any(each[0] == row[0] for each in recorded):
            yield Answer(kind, str(row[0]), None, row, accepted=True)


def _read_as(found: int | Refusal) -> list[object]:
    return [0, "0"] if isinstance(found, Refusal) else [1, f"{found:x}"]


def sweeps(section: str, others: Section | None = None) -> Section:
    """The replay of a section of sweeps; ``others`` has its records of other kinds."""
    events = others or _events_of(section)

    def replay(bench: Bench, records: Sequence[Record]) -> Found:
        typical = [int(text, 16) for text in _typical(bench)]
        batch = Batch(bench, typical)
        pending: Record | None = None
        for record in records:
            op = record["op"]
            if op == "msr":
                batch.records.append(record)
            elif op == "msrnone" and pending is None:
                pending = record
            elif op == "msrleak" and pending is not None:
                yield from batch.replay(section, pending, record)
                batch, pending = Batch(bench, typical), None
            elif op != "msrvals":
                if op == "mk":
                    yield from batch.unfinished(section, pending)
                    batch, pending = Batch(bench, typical), None
                yield from events(bench, [record])
        yield from batch.unfinished(section, pending)

    return replay


def _events_of(section: str) -> Section:
    """What happens to the VM of a section between its sweeps."""

    def replay(bench: Bench, records: Sequence[Record]) -> Found:
        for record in records:
            if record["op"] in _EVENTS:
                yield from _EVENTS[record["op"]](bench, section, record)
            else:
                yield unknown(f"{section}.{record['op']}")

    return replay


def _typical(bench: Bench) -> Sequence[str]:
    for records in bench.sections.values():
        for record in records:
            if record["op"] == "msrvals":
                return list(record["t"])
    return []


def _make(bench: Bench, _section: str, record: Record) -> Found:
    bench.make(record)
    # The capability has no argument in the record: 1 where it is what the VM is for.
    bench.enforces = str(record.get("x")).startswith("enforce")
    yield from ()


def _enable(bench: Bench, section: str, record: Record) -> Found:
    if record["e"] == _NOT_TRIED:
        return
    outcome = enable_vcpu_cap(bench.vcpu, record["cap"], int(bench.enforces))
    expected = record["e"]
    yield Answer(f"{section}.encap", f"cap {record['cap']}", expected, outcome.code, not expected, outcome.because)


def _run(bench: Bench, section: str, _record: Record) -> Found:
    set_state(bench.vcpu, "long")
    bench.vcpu.ran = True
    yield NotAsked(f"{section}.run1", "guest code before a table", 1)


def _again(bench: Bench, section: str, record: Record) -> Found:
    """The vCPU's table once more."""
    table = bench.tables.named(bench.cpuid)
    outcome = bench.vcpu.set_cpuid2(table)
    expected = [record["e"], record.get("diff", [])]
    mine = [outcome.code, differences(table, entries_of(bench.vcpu)) if outcome.accepted else []]
    yield Answer(f"{section}.setcpuid", record["name"], expected, mine, not record["e"], outcome.because)


def _base(bench: Bench, section: str, record: Record) -> Found:
    yield from StructSweeps(section, STRUCTS).replay(bench.vcpu, record)


_EVENTS: dict[str, Callable[[Bench, str, Record], Found]] = {
    "mk": _make,
    "encap": _enable,
    "run1": _run,
    "setcpuid": _again,
    "base": _base,
}


#: The kinds of records of section ``host`` that are replayed here.
LISTS = ("msrlist", "featmsrs", "featmsr_others")


def host_lists(bench: Bench, records: Sequence[Record]) -> Found:
    """The index lists, feature MSRs and MCE capabilities of the section host."""
    table = table_of(bench.kvm)
    vcpu = WholeVcpu(bench.kvm)
    for record in records:
        kind = f"host.{record['op']}"
        match record["op"]:
            case "msrlist":
                yield from _same(kind, record["v"], [f"{index:x}" for index in table.indexes])
            case "featmsrs":
                rows = []
                for index in table.features:
                    found = access.read_feature(vcpu, index)
                    rows.append([f"{index:x}", 1, f"{0 if isinstance(found, Refusal) else found:x}"])
                facts = [row for row in record["v"] if row in rows and is_processors(int(row[0], 16))]
                yield from _same(kind, *([row for row in side if row not in facts] for side in (record["v"], rows)))
                if facts:
                    yield NotAsked(kind, "the processor's own MSRs: the host is what they are here", len(facts))
            case "featmsr_others":
                others: list[object] = []
                for index in _probed(bench):
                    value = access.read_feature(vcpu, index)
                    if not isinstance(value, Refusal):
                        others.append([f"{index:x}", f"{value:x}"])
                yield from _same(kind, record["ok"], others)


def _same(kind: str, recorded: Sequence[object], mine: Sequence[object]) -> Found:
    for each in recorded:
        if each in mine:
            yield Agreed(kind, 1, 0)
        else:
            yield Answer(kind, str(each), each, None, accepted=True)
    for each in mine:
        if each not in recorded:
            yield Answer(kind, str(each), None, each, accepted=False)
    if list(recorded) != list(mine) and set(map(str, recorded)) == set(map(str, mine)):
        yield Answer(kind, "order", recorded, mine, accepted=True)


def _probed(bench: Bench) -> list[int]:
    """The indexes that the recorder tried: what KVM lists, and those of its first sweep."""
    found = {*table_of(bench.kvm).indexes, *table_of(bench.kvm).features}
    for record in bench.sections.get("msr1", ()):
        if record["op"] == "msr":
            found.add(int(record["i"], 16))
        elif record["op"] == "msrnone":
            found.update(int(text, 16) for text in record["v"])
            break
    return sorted(found)


def multi(bench: Bench, records: Sequence[Record]) -> Found:
    """Calls with many entries: counts."""
    for record in records:
        match record["op"]:
            case "mk":
                bench.make(record)
            case "multi":
                count = record["n"]
                yield _count("multi.multi", record, bench, [0xC0000082] * count)
            case "multibad":
                indexes = [0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084]
                indexes[record["bad"]] = 0xFFFFFFFF
                yield _count("multi.multibad", record, bench, indexes)
            case "multires":
                yield Answer("multi.multires", "padding", record["r"], 1, accepted=True)
            case op:
                yield unknown(f"multi.{op}")


def _count(kind: str, record: Record, bench: Bench, indexes: Sequence[int]) -> Answer:
    if record["call"] == "set":
        outcome = access.set_msrs(bench.vcpu, [(index, 0) for index in indexes])
    else:
        outcome = access.get_msrs(bench.vcpu, indexes)[0]
    mine = -outcome.code if outcome.verdict == "errno" else outcome.value
    return Answer(kind, f"{record['call']} of {len(indexes)}", record["r"], mine, record["r"] >= 0, outcome.because)
