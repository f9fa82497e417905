"""Recorded sweeps of KVM_SET_MSRS and KVM_GET_MSRS: the sections msr1, msr2, mce and multi, and the lists of host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.msrs.access import read, write
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.msrs.table import table_of
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.states import set_state
from inspector.machine.x86.replay.restore.sweeps import BASE, OTHER, REFUSED_MSR, SAME, TIME, UNREAD, compare, shortened

Found = Iterator[Answer | Agreed | NotAsked]
Section = Callable[[Bench, Sequence[Record]], Iterator[Answer | Agreed | NotAsked] | Iterator[Answer]]
#: MSRs that count time: writes are not compared.
#: MSRs that KVM keeps in the FPU's state; what Bochs' XSAVES keeps of them is not what was written.
XSTATE_MANAGED = frozenset((0x6A0, *range(0x6A4, 0x6A8)))
VOLATILE = frozenset((0x10, 0x40000020, 0x839, 0x40000010))
#: What the recorder writes to an MSR that cannot be read, to see whether it is there at all.
_DEAD = (0, 1, (1 << 64) - 1, 2, 0x8001, 0xFEE00900, 0x10)
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
        if self.readable and got != self.base:
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
    rows = [row for row in leak["v"] if int(row[0], 16) in before]
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

    def replay(bench: Bench, records: Sequence[Record]) -> Found:
        typical = [int(text, 16) for text in _typical(bench)]
        batch = Batch(bench, typical)
        pending: Record | None = None
        for record in records:
            op = record["op"]
            if op == "msr":
                batch.records.append(record)
            elif op == "msrnone":
                pending = record
            elif op == "msrleak" and pending is not None:
                yield from batch.replay(section, pending, record)
                batch, pending = Batch(bench, typical), None
            elif others is not None:
                yield from others(bench, [record])
            elif op in _EVENTS:
                _EVENTS[op](bench, record)

    return replay


def _typical(bench: Bench) -> Sequence[str]:
    for records in bench.sections.values():
        for record in records:
            if record["op"] == "msrvals":
                return list(record["t"])
    return []


def _make(bench: Bench, record: Record) -> None:
    bench.make(record)
    # The capability has no argument in the record: 1 where it is what the VM is for.
    bench.enforces = str(record.get("x", "")).startswith("enforce")


def _enable(bench: Bench, record: Record) -> None:
    if not record["e"]:
        enable_vcpu_cap(bench.vcpu, record["cap"], int(bench.enforces))


def _run(bench: Bench, _record: Record) -> None:
    set_state(bench.vcpu, "long")
    bench.vcpu.ran = True


def _again(bench: Bench, _record: Record) -> None:
    bench.vcpu.set_cpuid2(bench.vcpu.guest.entries)


_EVENTS: dict[str, Callable[[Bench, Record], None]] = {
    "mk": _make,
    "encap": _enable,
    "run1": _run,
    "setcpuid": _again,
}


def bits(vcpu: WholeVcpu, record: Record) -> Found:
    """The record ``mtrrmask``: each bit alone, one after another."""
    for nth, text in enumerate(record["msr"]):
        index = int(text, 16)
        refusals = [write(vcpu, index, 1 << bit) for bit in range(64)]
        mine = "".join(SAME if refusal is None else REFUSED_MSR for refusal in refusals)
        told = [refusal.told(index, 1 << bit) if refusal else "" for bit, refusal in enumerate(refusals)]
        yield from compare("sregs.mtrrmask", f"{text} s", record[f"s{nth}"], mine, told)


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
                yield from _same(kind, record["v"], rows)
            case "featmsr_others":
                others: list[object] = []
                probed = _probed(bench)
                if not probed:
                    yield NotAsked(kind, "indexes of MSRs that another part of the recording names", len(record["ok"]))
                    continue
                for index in probed:
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
    if list(recorded) != list(mine) and sorted(map(str, recorded)) == sorted(map(str, mine)):
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


def _count(kind: str, record: Record, bench: Bench, indexes: Sequence[int]) -> Answer:
    if record["call"] == "set":
        outcome = access.set_msrs(bench.vcpu, [(index, 0) for index in indexes])
    else:
        outcome = access.get_msrs(bench.vcpu, indexes)[0]
    mine = -outcome.code if outcome.verdict == "errno" else outcome.value
    return Answer(kind, f"{record['call']} of {len(indexes)}", record["r"], mine, record["r"] >= 0, outcome.because)
