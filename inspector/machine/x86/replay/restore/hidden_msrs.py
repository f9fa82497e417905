"""The MSRs of the section ``hide``: one battery for each table, each feature hidden or added in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.msrs.access import read, write
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.memo import Memo
from inspector.machine.x86.replay.restore.msrs import VOLATILE, is_lost
from inspector.machine.x86.replay.restore.states import set_state
from inspector.machine.x86.replay.restore.sweeps import BASE, OTHER, REFUSED_MSR, SAME, TIME, UNREAD
from layouts.light import partial

Found = Iterator[Answer | Agreed | NotAsked]
_KIND = "hide.msr"
#: Index -> characters of the reading and of the values, and the base value.
Battery = Mapping[int, tuple[str, str]]


def replay(bench: Bench, records: Sequence[Record]) -> Found:
    """The MSRs of every table: a record has what differs from the supported table's."""
    values = next(([int(text, 16) for text in record["q"]] for record in records if record["op"] == "batvals"), [])
    reference = next((record for record in records if record["op"] == "bat"), None)
    if reference is None:
        return
    recorded = {int(index, 16): (row[0], row[1]) for index, row in reference["msr"].items()}
    supported = _base_values(bench.fresh(1, reference["cpuid"]), recorded)

    def of_vcpu(vcpu: WholeVcpu) -> dict[int, tuple[str, str]]:
        set_state(vcpu, "long")
        return battery(vcpu, recorded, values, supported)

    memo = Memo(of_vcpu)
    for name, differing in _tables(records):
        named = name.removesuffix(" again")
        mine = memo.of(bench.table_of(named), partial(bench.fresh, 1, named))
        yield from _compare(bench.vcpu, name, {**recorded, **differing}, mine)


def _tables(records: Sequence[Record]) -> Iterator[tuple[str, Battery]]:
    """The tables that KVM took, with the answers in which each differs."""
    for record in records:
        if record["op"] == "bat" and not record.get("set_e"):
            yield record["cpuid"], {int(index, 16): (row[0], row[1]) for index, row in record.get("msr", {}).items()}
        elif record["op"] == "batsame":
            for name in record["v"]:
                yield name, {}


def _base_values(vcpu: WholeVcpu, indexes: Battery) -> dict[int, int]:
    found = {}
    for index in indexes:
        value = read(vcpu, index)
        found[index] = 0 if index in VOLATILE or isinstance(value, Refusal) else value
    return found


def battery(
    vcpu: WholeVcpu, indexes: Battery, values: Sequence[int], supported: Mapping[int, int]
) -> dict[int, tuple[str, str]]:
    """Each MSR is read, then set to the values and to what it has with the supported table."""
    found = {}
    for index in sorted(indexes):
        got = read(vcpu, index)
        base = 0 if isinstance(got, Refusal) or index in VOLATILE else got
        text = REFUSED_MSR if isinstance(got, Refusal) else SAME
        for value in (*values, supported[index]):
            text += _one(vcpu, index, value, base)
        found[index] = (text, f"{base:x}")
    return found


def _one(vcpu: WholeVcpu, index: int, value: int, base: int) -> str:
    if write(vcpu, index, value) is not None:
        return REFUSED_MSR
    if index in VOLATILE:
        return TIME
    got = read(vcpu, index)
    if isinstance(got, Refusal):
        return UNREAD
    if got != base:
        write(vcpu, index, base)
    return SAME if got == value else BASE if got == base else OTHER


def _compare(vcpu: WholeVcpu, name: str, recorded: Battery, mine: Battery) -> Found:
    accepted = refused = lost = 0
    for index, (theirs, base) in recorded.items():
        text, my_base = mine[index]
        if is_lost(vcpu, index):
            lost += 1
            continue
        if len(theirs) == 1:
            theirs *= len(text)
        for at, (kernel, machine) in enumerate(zip(theirs, text, strict=True)):
            if kernel != machine:
                where = f"{name or 'no CPUID'} {index:x} [{at}]"
                yield Answer(_KIND, where, kernel, machine, kernel != REFUSED_MSR)
            elif kernel == REFUSED_MSR:
                refused += 1
            else:
                accepted += 1
        if base != my_base:
            yield Answer(_KIND, f"{name or 'no CPUID'} {index:x} base", base, my_base, accepted=True)
        else:
            accepted += 1
    yield Agreed(_KIND, accepted, refused)
    if lost:
        yield NotAsked(_KIND, "values of MSRs in the FPU's state: the emulator's XSAVES does not keep them", lost)
