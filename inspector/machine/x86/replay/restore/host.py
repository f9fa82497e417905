"""Section ``host``: what KVM offers to guests, from the host's bare facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.x86.kvm.hyperv_cpuid import hyperv_cpuid
from inspector.machine.x86.kvm.supported_cpuid import emulated_cpuid, supported_cpuid
from inspector.machine.x86.replay.restore import caps
from inspector.machine.x86.replay.restore.bench import Bench, Record, entry_texts
from inspector.machine.x86.replay.restore.msrs import LISTS, host_lists

#: What describes the host, and what other modules replay.
_ELSEWHERE = frozenset(("meta", "file", "param", "rawcpuid", "mk", *caps.KINDS, *LISTS))


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    yield from host_lists(bench, records)
    for record in records:
        if record["op"] == "supcpuid":
            yield from _entries(record, entry_texts(supported_cpuid(bench.kvm)), "__do_cpuid_func (cpuid.c)")
        elif record["op"] == "hvcpuid":
            of_vcpu = record["name"] == "hv_vcpu"
            # KVM_CAP_SYS_HYPERV_CPUID: /dev/kvm is asked from 5.11 on.
            has = of_vcpu or bench.kvm.since(5, 11)
            made = entry_texts(hyperv_cpuid(bench.kvm, of_vcpu=of_vcpu)) if has else []
            yield from _entries(record, made, "kvm_get_hv_cpuid (hyperv.c)")
        elif record["op"] == "emucpuid":
            yield from _entries(record, entry_texts(emulated_cpuid(bench.kvm)), "cpuid_func_emulated (cpuid.c)")
        elif record["op"] not in _ELSEWHERE:
            yield unknown(f"host.{record['op']}")
    yield from caps.replay(bench, records)


def _entries(record: Record, predicted: list[list[object]], why: str) -> Iterator[Answer]:
    """Every entry is an answer, by its leaf and sub-leaf; so is one that only one side has."""
    kind = f"host.{record['op']}"
    mine = {(row[0], row[1]): row for row in predicted}
    theirs = {(row[0], row[1]): row for row in record["ent"]}
    for key in [*theirs, *(key for key in mine if key not in theirs)]:
        text = f"{record['name']} {key[0]}.{key[1]}"
        yield Answer(kind, text, theirs.get(key), mine.get(key), accepted=True, because=why)
    order, my_order = ([(row[0], row[1]) for row in rows] for rows in (record["ent"], predicted))
    if order != my_order and set(order) == set(my_order):
        yield Answer(kind, f"{record['name']}, in order", order, my_order, accepted=True, because=why)
