"""What recorded restores, runs and sweeps of MSRs ask of the machine, and in what words it answers."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError
from inspector.machine.x86.kvm.msrs.access import read, write
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.replay.restore import msrs, run_cases
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import sections
from inspector.machine.x86.replay.restore.tables import Tables, find, with_register, without
from inspector.machine.x86.replay.restore.whole import Captured, RestoreReplay, captured_elsewhere, saved_of
from tests.machine.restores import (
    MADE,
    NAMES,
    PLAIN,
    Record,
    answers,
    bench,
    captured,
    ran,
    section,
    told,
    untold,
    wrong,
)

AMD, OLD, INTEL = NAMES

# Whole vCPUs


def restored(record: Record, **saved: Any) -> list[Answer]:
    """The answers of one restore of a captured vCPU, of which something is another."""
    files, _ = captured(0)
    replay = RestoreReplay(bench(AMD), "restore")
    replay.captured = Captured("xapic", saved_of(files, 0)._replace(**saved), 1)
    return [each for each in replay.answers(record) if isinstance(each, Answer)]


def test_a_restore_without_refused_msrs_has_no_list_of_them() -> None:
    record = {**captured(0)[1][0]}
    del record["badmsrs"], record["msrdiff"]
    steps = [[name, [] if name == "msrs" else code] for name, code in record["steps"]]
    found = restored({**record, "steps": steps}, msrs=())
    assert wrong(found) == []
    assert [each.accepted for each in found if each.record.endswith(": msrs")] == [True]


def test_time_is_not_compared_and_what_is_behind_it_is() -> None:
    """IA32_TSC (0x10) before an MSR that is not there."""
    record = {**captured(0)[1][0], "msrdiff": {"ffffffff": ["1", None]}}
    found = restored(record, msrs=((0x10, 1), (0xFFFFFFFF, 1)))
    assert [each.agrees for each in found if each.record.endswith("MSRs read back")] == [True]


def test_each_difference_of_a_restore_has_a_reason() -> None:
    record = captured(0)[1][0]
    steps = [[name, [7] if name == "msrs" else 1 + code] for name, code in record["steps"]]
    found = wrong(restored({**record, "steps": steps, "diff": {"fpu": [1]}, "msrdiff": {}, "cpuid_e": 1}))
    silent = [each for each in found if not each.because]
    # KVM_SET_LAPIC refuses nothing, and nobody compares struct kvm_fpu.
    told = [(each.record.rpartition(": ")[2], each.accepted) for each in silent]
    assert told == [("lapic", False), ("fpu read back", True)]
    assert len(found) == 1 + len(steps) + len(record["diff"]) + 2


def test_what_a_capture_and_its_restores_lack() -> None:
    files, restores = captured(0)
    del files["vcpu0.kvm_regs.bin"]
    with pytest.raises(RecordError, match=r"vcpu0\.kvm_regs\.bin has 0 bytes of 144"):
        saved_of(files, 0)
    records = section(AMD, "restore")
    at = next(at for at, each in enumerate(records) if each["op"] == "restore")
    records[at]["steps"].pop()
    assert "zip()" in told(records[: at + 1], "restore")
    assert answers(AMD, "foreign", restores[:1]) == [
        NotAsked("foreign.restore", "captures that are not there", 1),
    ]


def test_a_guest_that_did_not_run_before_its_capture() -> None:
    found = answers(AMD, "restore", [{"op": "noguest"}, {"op": "norun"}, {"op": "guest"}])
    assert found == [NotAsked(f"restore.{op}", "guest code before a capture", 1) for op in ("norun", "guest")]


@pytest.mark.parametrize(
    ("name", "khz", "has_apic", "expected"),
    [
        ("6.12-xapic", b"2100001", True, (2100001, 1)),
        ("6.12-noirq", b"", False, (0, 0)),
        ("6.12-split", None, True, (0, 2)),
    ],
)
def test_what_an_archive_tells_of_a_capture(
    name: str, khz: bytes | None, has_apic: bool, expected: tuple[int, int]
) -> None:
    files, _ = captured(0)
    del files["vcpu0.kvm_lapic_state.bin"]
    files |= {"vcpu0.kvm_lapic_state.bin": bytes(1024)} if has_apic else {}
    files |= {} if khz is None else {"khz": khz}
    found = captured_elsewhere(name, files)
    assert (found.name, found.saved.tsc_khz, found.irqchip) == (name, *expected)


# KVM_RUN


def predicted(word: str, name: str = AMD) -> dict[str, Any]:
    """What the machine says to a state of section ``run``."""
    (answer,) = wrong(answers(name, "run", [MADE, {**PLAIN, "w": word, "mp": 9}]))
    found: Any = answer.predicted
    return found


def test_the_handler_of_the_first_vector_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """#DE is vector 0: its handler is OUT to port 0x10."""
    monkeypatch.setitem(run_cases.EVENTS, "inject #DE", "injected=1 vector=0")
    found = predicted("inject #DE")
    assert [found[key] for key in ("set", "e", "exit", "port", "vector", "mp")] == [0, 0, 2, 16, 0, 0]


def test_a_dead_vm_tells_no_rip() -> None:
    """KVM_GET_MP_STATE and KVM_GET_REGS fail as well (kvm_vm_dead): the recorder's structure has zeroes."""
    assert predicted("smi pending") == {"set": 0, "e": errno.EIO, "exit": 0, "mp": 0}
    found = answers(AMD, "run", [MADE, {**PLAIN, "w": "cs.l=1 db=1"}])
    assert [each.kind for each in found if isinstance(each, NotAsked)] == ["run.run"]


def test_registers_that_a_word_changes() -> None:
    assert ran("cr0 wp off").cr0 == 0x80040033
    assert ran("cr4.pge smep umip").cr4 == 0x620 | 0x80
    # EFER.LMA is not taken from what is written (set_efer).
    assert ran("efer by msr: lme cleared while paging").efer == 0x400


def test_each_table_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two calls the first one's errno counts a hundred. No guest has 52 bits of linear addresses."""
    supported = bench(AMD).tables.supported
    osxsave, without_lm = run_cases.TABLES
    one = find(supported, 1)
    assert one is not None
    monkeypatch.setattr(bench(AMD), "tables", Tables(with_register(supported, 1, 0, 2, one.ecx & ~(1 << 26)), ()))
    assert predicted(osxsave)["set"] == 2200
    monkeypatch.setattr(bench(AMD), "tables", Tables(with_register(supported, 0x80000008, 0, 0, 52 << 8 | 40), ()))
    assert predicted(without_lm)["set"] == 22
    monkeypatch.setattr(bench(AMD), "tables", Tables(without(supported, 7), ()))
    assert predicted("SMEP/SMAP set, then CPUID min")["set"] == 0
    monkeypatch.setattr(bench(AMD), "tables", Tables(without(supported, 0x80000001), ()))
    entry = find(ran(without_lm).guest.entries, 0x80000001)
    assert entry is not None
    assert entry.values == (0, 0, 0, 0)


# Sweeps of MSRs


def test_the_base_of_what_cannot_be_read_or_is_time_is_0() -> None:
    vcpu = bench(AMD).vcpu
    write(vcpu, 0x10, 1 << 40)
    assert (msrs.Sweep(vcpu, 0x33).base, msrs.Sweep(vcpu, 0x33).readable) == (0, False)
    assert (msrs.Sweep(vcpu, 0x10).base, msrs.Sweep(vcpu, 0x10).readable) == (0, True)


def test_what_decides_a_value_is_told() -> None:
    """IA32_SYSENTER_CS takes everything, EFER no bit that is reserved."""
    vcpu = bench(AMD).vcpu
    refusal = write(vcpu, 0xC0000080, 1 << 63)
    assert isinstance(refusal, Refusal)
    assert msrs.Sweep(vcpu, 0xC0000080).told([1 << 63]) == [refusal.told(0xC0000080, 1 << 63)]
    assert msrs.Sweep(vcpu, 0x174).told([5]) == ["taken"]
    records = section(AMD, "msr1")
    at = next(at for at, each in enumerate(records) if each["op"] == "msr" and each["i"] == "174")
    chars = records[at]["t"]
    records[at]["t"] = "r" + chars[1:] if len(chars) > 1 else "r" + chars * (len(records[0]["t"]) - 1)
    assert [each.because for each in wrong(answers(AMD, "msr1", records))] == ["taken"]


def test_an_msr_that_nobody_can_read_has_no_base() -> None:
    records = section(AMD, "msr1")
    none = next(at for at, each in enumerate(records) if each["op"] == "msrnone")
    records[none]["v"].remove("33")
    extra = {"op": "msr", "i": "33", "g": 1, "b": "0", "t": "0", "c": "0", "s": "0"}
    found = wrong(answers(AMD, "msr1", [*records[:none], extra, *records[none:]]))
    assert ("msr1.msr", "33 b", "0", None, True, "") in found


def test_msrs_that_change_over_a_sweep() -> None:
    """One that could not be read has 0; one that only the machine saw is told; the emulator's are not asked."""
    vcpu = bench(AMD).vcpu
    refusal = read(vcpu, 0x33)
    before = {0xC0000081: refusal, 0xC0000082: 5}
    rows = [["c0000081", 0, "0", 1, "0"], ["c0000082", 1, "5", 1, "0"]]
    assert list(msrs._leaks("s", vcpu, before, {"v": rows})) == [Agreed("s.msrleak", 2, 0)]
    assert list(msrs._leaks("s", vcpu, before, {"v": rows[:1]})) == [
        Agreed("s.msrleak", 1, 0),
        Answer("s.msrleak", "c0000082", None, rows[1], accepted=True),
    ]
    rows[0] = ["6a4", 1, "0", 1, "1"]
    found = list(msrs._leaks("s", bench(INTEL).vcpu, {0xC0000082: 5}, {"v": rows}))
    assert found == [NotAsked("s.msrleak", msrs._LOST, 1), Agreed("s.msrleak", 1, 0)]


def test_sweeps_that_a_new_vm_cuts_off() -> None:
    records = section(AMD, "msr1")
    none = next(at for at, each in enumerate(records) if each["op"] == "msrnone")
    swept = sum(each["op"] == "msr" for each in records[:none])
    cut = records[: none + 1]
    count = swept + len(records[none]["v"])
    unfinished = NotAsked("msr1.msr", msrs_unfinished := "sweeps that the recording does not finish", count)
    assert answers(AMD, "msr1", cut) == [unfinished]
    assert answers(AMD, "msr1", [*cut, MADE]) == [unfinished]
    assert untold(answers(AMD, "msr1", [*cut, *cut[1:]])) == {"msr1.msr": (msrs_unfinished, count)}


def asked(made: Bench, named: str, *records: Record) -> list[Any]:
    """The answers of records on a bench as it is."""
    return list(sections()[named](made, records))


def test_a_table_once_more_after_a_run() -> None:
    """What a refused call leaves is not asked; a record without differences has none."""
    made = bench(AMD)
    asked(made, "msr2", {**MADE, "cpuid": "min"}, {"op": "run1"})
    assert made.vcpu.ran
    assert wrong(asked(made, "msr2", {"op": "setcpuid", "name": "again", "e": 0})) == []
    made.cpuid = "sup"
    assert wrong(asked(made, "msr2", {"op": "setcpuid", "name": "other", "e": errno.EINVAL})) == []


def test_feature_msrs_that_the_recorder_tries() -> None:
    """KVM's two lists, and its first sweep alone."""
    made = bench(AMD)
    records = made.sections["msr1"]
    none = next(at for at, each in enumerate(records) if each["op"] == "msrnone")
    tried = {each["i"] for each in records[:none] if each["op"] == "msr"} | set(records[none]["v"])
    lists = {row for each in made.facts["msrlist"] for row in each["v"]}
    features = {row[0] for each in made.facts["featmsrs"] for row in each["v"]}
    assert tried - lists - features
    assert {f"{index:x}" for index in msrs._probed(made)} == tried | lists | features


def test_msrs_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """LSTAR as often as asked; STAR to SYSCALL_MASK with one of them an index that is none."""
    calls: list[Any] = []
    set_msrs, get_msrs = msrs.access.set_msrs, msrs.access.get_msrs
    monkeypatch.setattr(msrs.access, "set_msrs", lambda vcpu, given: calls.append(given) or set_msrs(vcpu, given))
    monkeypatch.setattr(msrs.access, "get_msrs", lambda vcpu, given: calls.append(given) or get_msrs(vcpu, given))
    made = bench(AMD)
    records = [{"op": "multi", "call": call, "n": 2, "r": 2} for call in ("set", "get")]
    records += [{"op": "multibad", "call": "get", "bad": bad, "r": bad} for bad in (0, 3)]
    assert wrong(asked(made, "multi", *records)) == []
    assert calls == [
        [(0xC0000082, 0)] * 2,
        [0xC0000082] * 2,
        [0xFFFFFFFF, 0xC0000082, 0xC0000083, 0xC0000084],
        [0xC0000081, 0xC0000082, 0xC0000083, 0xFFFFFFFF],
    ]
    assert wrong(asked(made, "multi", {"op": "multires", "r": 0})) == [
        Answer("multi.multires", "padding", 0, 1, accepted=True)
    ]


# KVM_GET_ONE_REG


def test_values_of_registers_that_are_asked() -> None:
    """Time has none; what the emulator's XSAVES loses is not compared; every other register has its value."""
    records = section(INTEL, "misc")
    registers = {each["id"]: each for each in records if each["op"] == "onereg"}
    time, lost, kept = (registers[f"20300002{index:08x}"] for index in (0x10, 0x6A0, 0x174))
    time["b"] = "7"
    lost["b"] = kept["b"] = "77"
    found = wrong(answers(INTEL, "misc", records))
    assert [(each.kind, each.record, each.expected, each.predicted) for each in found] == [
        ("misc.onereg", "2030000200000174 get", [0, "77"], [0, "0"])
    ]
    kept["b"], kept["g"] = "0", errno.EINVAL
    (answer,) = wrong(answers(INTEL, "misc", records))
    assert (answer.expected, answer.predicted) == ([errno.EINVAL], [0])
    kept["g"] = 0
    del kept["b"]
    with pytest.raises(KeyError, match="b"):
        answers(INTEL, "misc", records)


def test_the_list_of_registers() -> None:
    records = section(INTEL, "misc")
    listed = next(each for each in records if each["op"] == "reglist")
    listed["cap70"] += 1
    (answer,) = wrong(answers(INTEL, "misc", records))
    assert (answer.kind, answer.record) == ("misc.reglist", "")
