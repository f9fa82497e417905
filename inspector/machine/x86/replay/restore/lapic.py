"""Section ``lapic``: KVM_SET_LAPIC bit by bit, in each mode and across modes, with other vCPU ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.lapic import ID, LDR
from inspector.machine.x86.kvm.sregs import set_sregs
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.states import APIC_BASE, put, sregs_image
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.structures import STRUCTS, answer, encap, long_mode

_APIC_BASES = (0xFEE00000, 0xFEE00900, 0xFEE00D00)
_BSP = 0x100


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section."""
    sweeps = StructSweeps("lapic", STRUCTS)
    made = 0
    for record in records:
        vcpu = bench.vcpu
        match record["op"]:
            case "mk":
                bench.make(record)
            case "encap":
                yield encap("lapic", vcpu, record)
            case "state":
                outcome = long_mode(vcpu, apic_base=int(record["apic_base"], 16))
                yield answer("lapic.state", record["apic_base"], record["e"], outcome.code, outcome.because)
            case "lapicmode":
                yield from _across(vcpu, record)
            case "mk_vcpu_id":
                yield _other_id(bench, record, _APIC_BASES[made % 3])
                made += 1
            case _:
                yield from sweeps.replay(vcpu, record)


def _across(vcpu: WholeVcpu, record: Record) -> Iterator[Answer]:
    """A state saved in one mode, set in another."""
    lapic = vcpu.lapic
    assert lapic is not None
    long_mode(vcpu, apic_base=int(record["saved"], 16))
    saved = lapic.get()
    long_mode(vcpu, apic_base=int(record["restored"], 16))
    outcome = lapic.set(saved)
    got = lapic.get()
    text = f"{record['saved']} to {record['restored']}"
    words = {"id_set": (saved, ID), "id_got": (got, ID), "ldr_set": (saved, LDR), "ldr_got": (got, LDR)}
    mine = [f"{int.from_bytes(image[at : at + 4], 'little'):x}" for image, at in words.values()]
    same = int(saved[:0x390] == got[:0x390])
    expected = [record["e"], record["same"], *(record[name] for name in words)]
    yield answer("lapic.lapicmode", text, expected, [outcome.code, same, *mine], outcome.because)


def _other_id(bench: Bench, record: Record, apic_base: int) -> Answer:
    """A VM whose one vCPU has another id."""
    vcpu = bench.vcpu = WholeVcpu(bench.kvm, vcpu_id=record["id"])
    vcpu.set_cpuid2(bench.tables.named("sup"))
    before = vcpu.apic_base
    image = bytearray(sregs_image(vcpu, "reset"))
    put(image, APIC_BASE, before & _BSP | apic_base)
    outcome = set_sregs(vcpu, bytes(image))
    expected = [record["e"], record.get("ab"), record.get("sregs")]
    text = f"vCPU id {record['id']}, apic_base {apic_base:#x}"
    return answer("lapic.mk_vcpu_id", text, expected, [0, f"{before:x}", outcome.code], outcome.because)
