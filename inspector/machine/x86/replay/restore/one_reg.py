"""Section ``misc``: KVM_GET_REG_LIST, KVM_GET_ONE_REG and KVM_SET_ONE_REG over the MSRs of the index list."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.capabilities import check_extension
from inspector.machine.x86.kvm.one_reg import get_one_reg, reg_list, register_id, set_one_reg
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.msrs import VOLATILE, is_lost
from inspector.machine.x86.replay.restore.sweeps import char_of_errno, compare, expand

_MSR, _KVM = 2, 3
_ONE_REG = 70
_MOST_LISTED = 900
_ROOM = 2000
#: What the recorder asks beside the list: KVM's registers, other sizes, architectures, types and reserved bits.
_OTHERS = (
    *(register_id(_KVM, 0), register_id(_KVM, 1), register_id(_MSR, 0x6A4), 0x2020000200000010, 0x2040000200000010),
    *(0x1030000200000010, 0x2030000100000010, 0x2030000400000010, 0x2030010200000010, 0x2030000000000000),
)
_TRIED = (0, 1, (1 << 64) - 1, 0x8001, 0x800000000000)


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | Agreed | NotAsked]:
    """The answers of ``reglist`` and of the ``onereg`` records; a register without one gives EINVAL for everything."""
    vcpu = bench.vcpu
    record = next(found for found in records if found["op"] == "reglist")
    outcome, listed = reg_list(vcpu, _ROOM)
    mine = [outcome.code, check_extension(bench.kvm).get(_ONE_REG, 0), [f"{register:x}" for register in listed]]
    accepted = not record["e"]
    yield Answer("misc.reglist", "", [record["e"], record["cap70"], record["v"]], mine, accepted, outcome.because)
    recorded: dict[int, list[Record]] = {}
    for found in records:
        if found["op"] == "onereg":
            recorded.setdefault(int(found["id"], 16), []).append(found)
    indexes = [int(index, 16) for index in bench.facts["msrlist"][0]["v"][:_MOST_LISTED]]
    asked = [register_id(_MSR, index) for index in indexes] + list(_OTHERS)
    asked += [int(register, 16) for register in record["v"]]
    for register in asked:
        answers = recorded.get(register)
        yield from _register(vcpu, register, answers.pop(0) if answers else None)
    if left := sum(map(len, recorded.values())):
        yield NotAsked("misc.onereg", "registers that the recorder does not ask for", left)


def _register(vcpu: WholeVcpu, register: int, record: Record | None) -> Iterator[Answer | Agreed]:
    """GET, then six values, each followed by what was there."""
    name = f"{register:x}"
    got = get_one_reg(vcpu, register)
    expected: list[object] = [errno.EINVAL if record is None else record["g"]]
    mine: list[object] = [got.code]
    if record is not None and got.accepted and not record["g"] and _is_kept(vcpu, register & 0xFFFFFFFF):
        expected.append(record["b"])
        mine.append(f"{got.value:x}")
    yield Answer("misc.onereg", f"{name} get", expected, mine, not expected[0], got.because)
    outcomes = []
    for value in (got.value, *_TRIED):
        outcomes.append(set_one_reg(vcpu, register, value))
        if got.accepted:
            set_one_reg(vcpu, register, got.value)
    chars = "".join(char_of_errno(outcome.code) for outcome in outcomes)
    sweep = expand("i" if record is None else record["s"], len(chars))
    yield from compare("misc.onereg", f"{name} set", sweep, chars, [outcome.because for outcome in outcomes])


def _is_kept(vcpu: WholeVcpu, index: int) -> bool:
    """Neither time, nor one of the MSRs that Bochs' XSAVES loses."""
    return index not in VOLATILE and not is_lost(vcpu, index)
