"""Section ``mce``: KVM_X86_SETUP_MCE and KVM_X86_SET_MCE. The MSRs after them are the section's ``msr`` records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.machine.answer import Answer, NotAsked, unknown
from inspector.machine.x86.kvm.mce import set_mce, setup_mce
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.structures import answer

#: What the recorder sets up before KVM_X86_SET_MCE.
_BEFORE = 0x100010A


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | NotAsked]:
    """The answers of a section."""
    for record in records:
        match record["op"]:
            case "mk":
                bench.make(record)
            case "setupmce":
                outcome = setup_mce(bench.vcpu, int(record["v"], 16))
                text = f"KVM_X86_SETUP_MCE {record['v']}"
                yield answer("mce.setupmce", text, record["e"], outcome.code, outcome.because, accepted=not record["e"])
            case "mcgcap":
                yield answer("mce.mcgcap", "IA32_MCG_CAP", [record["r"], record["v"]], [1, f"{bench.vcpu.mcg_cap:x}"])
            case "setmce":
                setup_mce(bench.vcpu, _BEFORE)
                outcome = set_mce(bench.vcpu, record["bank"], int(record["status"], 16))
                text = f"KVM_X86_SET_MCE bank {record['bank']} status {record['status']}"
                yield answer("mce.setmce", text, record["e"], outcome.code, outcome.because, accepted=not record["e"])
            case op:
                yield unknown(f"mce.{op}")
