"""Section ``mp``: KVM_SET_MP_STATE, and SREGS, SMM and a latched INIT after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.mp_state import get_mp_state, set_mp_state
from inspector.machine.x86.kvm.pending import VALID_SMM, VcpuEvents
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.structs import StructSweeps
from inspector.machine.x86.replay.restore.structures import STRUCTS, answer, long_mode


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of a section. The second vCPU is its VM's number 1."""
    sweeps = StructSweeps("mp", STRUCTS)
    for record in records:
        if record["op"] == "mk":
            vcpu = bench.make(record)
            if "second" in record["x"]:
                table = bench.tables.named(record["cpuid"])
                vcpu = bench.vcpu = WholeVcpu(bench.kvm, vcpu.vm, vcpu_id=1)
                vcpu.set_cpuid2(table)
        elif record["op"] == "mpseq":
            yield from _sequence(bench.vcpu, record)
        else:
            yield from sweeps.replay(bench.vcpu, record)


def _sequence(vcpu: WholeVcpu, record: Record) -> Iterator[Answer]:
    """A state, then SREGS, SMM, and INIT latched on the way out of it."""
    text = f"mp_state {record['mp']}"
    state = set_mp_state(vcpu, record["mp"])
    yield answer("mp.mpseq", text, record["e"], state.code, state.because, accepted=not record["e"])
    sregs = long_mode(vcpu)
    yield answer("mp.mpseq", f"{text}, SREGS", record["sregs"], sregs.code, sregs.because)
    yield answer("mp.mpseq", f"{text}, GET", [record["ge"], record["now"]], [0, get_mp_state(vcpu)])
    events = VcpuEvents.read(vcpu.pending.get())._replace(flags=VALID_SMM, smm=1)
    into = vcpu.pending.set(events.image())
    yield answer("mp.mpseq", f"{text}, SMM", record["smm"], into.code, into.because, accepted=not record["smm"])
    events = events._replace(smm=0, latched_init=1)
    out = vcpu.pending.set(events.image())
    yield answer("mp.mpseq", f"{text}, INIT", record["latch"], out.code, out.because, accepted=not record["latch"])
    yield answer("mp.mpseq", f"{text}, GET after INIT", record["now2"], get_mp_state(vcpu))
    vcpu.pending.set(events._replace(latched_init=0).image())
