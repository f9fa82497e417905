"""Section ``run``: KVM_RUN after odd states. The guest's code is OUT to port 0x11."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.machine.answer import Answer, NotAsked, unknown
from inspector.machine.x86.kvm.enable_cap import enable_vm_cap
from inspector.machine.x86.kvm.enter import EXIT_FAIL_ENTRY, UNKNOWN_RIP, RunAnswer, run
from inspector.machine.x86.kvm.mp_state import SIPI_RECEIVED, get_mp_state, set_mp_state
from inspector.machine.x86.kvm.msrs.access import set_msr
from inspector.machine.x86.kvm.pending import CAP_TRIPLE_FAULT_EVENT, VcpuEvents
from inspector.machine.x86.kvm.segments import SEGMENTS
from inspector.machine.x86.kvm.sregs import set_sregs
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import run_cases
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.guest_memory import own_memory
from inspector.machine.x86.replay.restore.states import put, set_state, sregs_image
from inspector.machine.x86.replay.restore.tables import Table, find, with_register

_CODE, _STACK = 0x10000, 0x20000
_PORT, _HANDLERS_PORT, _EXIT_IO = 0x11, 0x10, 2
_SEGMENT = {
    name: (offset, width)
    for name, offset, width in (
        *(("base", 0, 8), ("limit", 8, 4), ("selector", 12, 2), ("type", 14, 1), ("present", 15, 1), ("dpl", 16, 1)),
        *(("db", 17, 1), ("s", 18, 1), ("l", 19, 1), ("g", 20, 1), ("avl", 21, 1), ("unusable", 22, 1)),
    )
}
_SREGS = {
    **{
        f"{name}.{field}": (24 * nth + at, size)
        for nth, name in enumerate(SEGMENTS)
        for field, (at, size) in _SEGMENT.items()
    },
    **{
        f"{name}.{field}": (at + more, size)
        for name, at in (("gdt", 192), ("idt", 208))
        for field, more, size in (("base", 0, 8), ("limit", 8, 2))
    },
    **{
        name: (at, 8)
        for name, at in zip(("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base"), range(224, 280, 8), strict=True)
    },
}
_REGS = {"rsp": (48, 8), "rip": (128, 8), "rflags": (136, 8)}
_DEBUGREGS = {"db0": (0, 8), "dr6": (32, 8), "dr7": (40, 8)}
_CHANGE = re.compile(r"([\w.]+)([|&]?)=(~?)(\w+)")
#: What no rule can tell: the guest executes what lies at 0.
_GUESTS_OWN = f"mp_state {SIPI_RECEIVED}"


#: States in which nothing is set by an ioctl, with what the recorder counts; of the nested one it is no errno.
_ALONE = {"plain long mode": 0, "nested state guest mode flag without vmcb": 99}


def replay(bench: Bench, records: Sequence[Record]) -> Iterator[Answer | NotAsked]:
    """The answers of a section."""
    for record in records:
        if record["op"] == "mk":
            vcpu = bench.make(record)
            set_state(vcpu, "long")
            _code(vcpu)
        elif record["op"] != "run":
            yield unknown(f"run.{record['op']}")
        elif not bench.kvm.is_svm or bench.kvm.is_pvm:
            yield NotAsked("run.run", "KVM_RUN on kvm-intel and kvm-pvm", 1)
        elif record["w"] == _GUESTS_OWN:
            yield NotAsked("run.run", "code at address 0, which the recorder left there", 1)
        else:
            yield from _answers(bench, record)


def _code(vcpu: WholeVcpu) -> None:
    own_memory(vcpu.vm)[_CODE : _CODE + 3] = b"\xe6\x11\xf4"
    image = bytearray(144)
    for at, value in ((48, _STACK), (128, _CODE), (136, 2)):
        put(image, at, value)
    vcpu.regs.set(bytes(image))


def _answers(bench: Bench, record: Record) -> Iterator[Answer | NotAsked]:
    set_code = _set(bench, record["w"])
    found = run(bench.vcpu)
    mine = _told(bench.vcpu, found, set_code)
    expected = {key: value for key, value in record.items() if key not in ("op", "w")}
    if found.rip == UNKNOWN_RIP and "rip" in expected:
        del expected["rip"]
        yield NotAsked("run.run", "RIP after a failed VMRUN, and of code that is not there", 1)
    accepted = found.exit_reason != EXIT_FAIL_ENTRY and not expected["e"]
    yield Answer("run.run", record["w"], expected, mine, accepted, found.because)


def _told(vcpu: WholeVcpu, found: RunAnswer, set_code: int) -> dict[str, object]:
    """The answer as the recorder writes it."""
    mine: dict[str, object] = {"set": set_code, "e": found.code, "exit": found.exit_reason}
    if found.enters:
        mine["exit"] = _EXIT_IO
        mine["port"] = _PORT if found.vector < 0 else _HANDLERS_PORT
        if found.vector >= 0:
            mine["vector"] = found.vector
    if found.suberror:
        mine |= {"suberror": found.suberror, "ndata": found.words}
    if found.hardware:
        mine["hw"] = f"{found.hardware:x}"
    if found.rip != UNKNOWN_RIP:
        mine["rip"] = f"{found.rip:x}"
    return mine | {"mp": get_mp_state(vcpu)}


def _set(bench: Bench, word: str) -> int:
    """Put the vCPU in the state that the recorder names; the errno of its last ioctl, as it counts them."""
    vcpu = bench.vcpu
    if word in run_cases.SREGS:
        return _set_sregs(bench, word)
    if word in run_cases.REGS:
        return vcpu.regs.set(_changed(vcpu.regs.get(), run_cases.REGS[word], _REGS)).code
    if word in run_cases.DEBUGREGS:
        return vcpu.debugregs.set(_changed(vcpu.debugregs.get(), run_cases.DEBUGREGS[word], _DEBUGREGS)).code
    if word in run_cases.EVENTS:
        return _set_events(vcpu, word)
    if word in run_cases.EFER:
        return int(set_msr(vcpu, 0xC0000080, run_cases.EFER[word]).accepted)
    if word.startswith("mp_state "):
        return set_mp_state(vcpu, int(word.split()[1])).code
    return _set_tables(bench, word)


def _set_events(vcpu: WholeVcpu, word: str) -> int:
    if "triple fault" in word:
        enable_vm_cap(vcpu.kvm, vcpu.vm, CAP_TRIPLE_FAULT_EVENT, 1)
    fields = {name: int(value, 0) for name, _, _, value in _CHANGE.findall(run_cases.EVENTS[word])}
    events = VcpuEvents.read(vcpu.pending.get())._replace(**{"flags": 0, **fields})
    return vcpu.pending.set(events.image()).code


def _set_sregs(bench: Bench, word: str) -> int:
    vcpu = bench.vcpu
    if "pdpte" in word:
        entry = 0x3007 if "reserved" in word else 0x3001
        paging = _changed(sregs_image(vcpu, "long"), run_cases.SREGS[word], _SREGS)
        put(own_memory(vcpu.vm), 0x8000, entry)
        return set_sregs(vcpu, paging).code
    if word.startswith("SMEP"):
        smep = "cr4|=0x100000" if vcpu.guest.in_table("SMEP") else ""
        code = set_sregs(vcpu, _changed(sregs_image(vcpu, "long"), smep, _SREGS)).code
        vcpu.set_cpuid2(bench.tables.named("min"))
        return code
    return set_sregs(vcpu, _changed(sregs_image(vcpu, "long"), run_cases.SREGS[word], _SREGS)).code


def _set_tables(bench: Bench, word: str) -> int:
    vcpu, sup = bench.vcpu, bench.tables.named("sup")
    if word in run_cases.TABLES:
        changes, leaf, register, bits = run_cases.TABLES[word]
        code = set_sregs(vcpu, _changed(sregs_image(vcpu, "long"), changes, _SREGS)).code
        if "xcr0=7" in word:
            vcpu.set_xcrs((0, 7))
        return code * 100 + vcpu.set_cpuid2(_masked(sup, leaf, register, ~bits)).code
    if word == "no CPUID at all, long mode":
        bench.vcpu = bench.fresh(1, "")
        set_state(bench.vcpu, "long")
        _code(bench.vcpu)
        return 0
    if word == "phys width 32, cr3 in memory":
        return vcpu.set_cpuid2(_masked(sup, 0x80000008, 0, ~0xFF, 32)).code
    return _ALONE[word]


def _masked(table: Table, leaf: int, register: int, keep: int, more: int = 0) -> Table:
    """The table with some bits of a register alone, and more; a leaf that it lacks has zeroes."""
    entry = find(table, leaf)
    value = entry.values[register] if entry else 0
    return with_register(table, leaf, 0, register, value & keep | more)


def _changed(image: bytes, changes: str, fields: dict[str, tuple[int, int]]) -> bytes:
    """An image with changes of fields."""
    found = bytearray(image)
    for name, operator, inverted, text in _CHANGE.findall(changes):
        at, size = fields[name]
        before = int.from_bytes(found[at : at + size], "little")
        value = ~int(text, 0) if inverted else int(text, 0)
        after = before | value if operator == "|" else before & value if operator == "&" else value
        found[at : at + size] = after.to_bytes(size, "little")
    return bytes(found)
