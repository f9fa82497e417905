"""Recorded restores that lack something, or have something else: it is told, at its place, and never passed over."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from inspector.machine.answer import Answer, NotAsked
from inspector.machine.x86.replay.restore.replay import sections
from tests.machine.restores import NAMES, Record, answers, bench, captured, section, told, untold, wrong

AMD, OLD, INTEL = NAMES


# Sweeps of MSRs

UNFINISHED = "sweeps that the recording does not finish"


def batch() -> list[Record]:
    """A VM and its sweeps."""
    found = section(AMD, "msr1")
    ends = [at for at, record in enumerate(found) if record["op"] == "msrleak"]
    return found[: ends[0] + 1]


def test_sweeps_without_an_end_are_not_asked() -> None:
    records = batch()
    swept, dead = sum(record["op"] == "msr" for record in records), len(records[-2]["v"])
    assert min(swept, dead) > 1
    for cut, count in ((-2, swept), (-1, swept + dead)):
        found = answers(AMD, "msr1", records[:cut])
        assert found == [NotAsked("msr1.msr", UNFINISHED, count)]
        # The next VM has its own.
        found = answers(AMD, "msr1", [*records[:cut], *records[1:]])
        assert found[0] == NotAsked("msr1.msr", UNFINISHED, count)
        assert found[1:] == answers(AMD, "msr1", records)
    assert untold(answers(AMD, "msr1", records)) == {}


def test_an_end_without_its_sweeps_is_not_known() -> None:
    records = batch()
    none, leak = records[-2:]
    unknown = "records of kinds that the machine does not know"
    found = answers(AMD, "msr1", [*records[:-2], none, none, leak, leak])
    assert untold(found) == {"msr1.msrnone": (unknown, 1), "msr1.msrleak": (unknown, 1)}


def test_a_sweep_of_an_msr_twice() -> None:
    records = batch()
    again = [*records[:3], records[2], *records[3:]]
    assert told(again, "msr1").endswith("section msr1: one sweep has an MSR twice")
    dead = [*records[:-2], {"op": "msrnone", "v": [records[2]["i"]]}, records[-1]]
    assert told(dead, "msr1").endswith("section msr1: one sweep has an MSR twice")


def test_an_msr_that_is_there_on_one_side() -> None:
    """0x174 is KVM's on every host; 0x33 is on none."""
    records = batch()
    records[-2]["v"] += ["174"]
    records[2:-2] = [{"op": "msr", "i": "33", "g": 1, "b": "0", "t": "0", "c": "0", "s": "0"}]
    records[-2]["v"].remove("33")
    found = wrong(answers(AMD, "msr1", records))
    assert ("msr1.msrnone", "174", "none", "an answer", False, "") in found
    assert ("msr1.msrnone", "33", "an answer", "none", True, "KVM lacks the MSR") in found
    assert ("msr1.msr", "33 g", 1, 0, True, "") in found


def test_an_msr_that_changed_over_the_sweep() -> None:
    """What only one side saw, and what both saw with other values."""
    records = section(AMD, "msr2")
    (at,) = [at for at, record in enumerate(records) if record["op"] == "msrleak" and record["v"]][:1]
    row = records[at]["v"][0]
    assert row[0] == "40000081"
    for rows, expected, mine in (([], None, row), ([[*row[:4], "5"]], [*row[:4], "5"], row)):
        rest = records[at]["v"][1:]
        other = [*records[:at], {"op": "msrleak", "v": [*rows, *rest]}, *records[at + 1 :]]
        found = {
            (answer.record, str(answer.expected), str(answer.predicted))
            for answer in wrong(answers(AMD, "msr2", other))
        }
        assert found >= {("40000081", str(expected), str(mine))}
    beside = [*records[:at], {"op": "msrleak", "v": [*records[at]["v"], ["999", 1, "0", 1, "1"]]}, *records[at + 1 :]]
    assert wrong(answers(AMD, "msr2", beside)) == [
        Answer("msr2.msrleak", "999", ["999", 1, "0", 1, "1"], None, accepted=True)
    ]


# Lists and tables of the host


def host_with(op: str, key: str, change: Callable[[Any], Any], **where: Any) -> list[Record]:
    records = section(AMD, "host")
    record = next(
        each for each in records if each["op"] == op and all(each[name] == one for name, one in where.items())
    )
    record[key] = change(record[key])
    return records


@pytest.mark.parametrize(
    ("records", "kind", "text"),
    [
        (lambda: host_with("msrlist", "v", lambda v: [*v, v[0]]), "host.msrlist", "order"),
        (lambda: host_with("msrlist", "v", lambda v: v[::-1]), "host.msrlist", "order"),
        (lambda: host_with("msrlist", "v", lambda v: v[1:]), "host.msrlist", "174"),
        (lambda: host_with("msrlist", "v", lambda v: [*v, "999"]), "host.msrlist", "999"),
        (lambda: host_with("supcpuid", "ent", lambda v: v[::-1]), "host.supcpuid", "sup, in order"),
        (lambda: host_with("supcpuid", "ent", lambda v: [*v, v[0]]), "host.supcpuid", "sup, in order"),
        (lambda: host_with("supcpuid", "ent", lambda v: v[1:]), "host.supcpuid", "sup 0.0"),
        (lambda: host_with("hvcpuid", "ent", lambda _: [], name="hv_vcpu"), "host.hvcpuid", "hv_vcpu 40000000.0"),
        (lambda: host_with("caps", "v", lambda v: {**v, "301": 1}, fd="vm"), "host.caps", "vm 301"),
        (lambda: host_with("caps", "v", lambda v: {**v, "7": 2}, fd="sys"), "host.caps", "sys 7"),
        (lambda: host_with("caps", "v", lambda _: {}, fd="vcpu"), "host.caps", "KVM_CHECK_EXTENSION on a vCPU"),
    ],
)
def test_a_list_or_table_that_is_another(records: Callable[[], list[Record]], kind: str, text: str) -> None:
    found = wrong(answers(AMD, "host", records()))
    assert (kind, text) == (found[0].kind, found[0].record)
    # What lists the kernel's own lists has no rule to name.
    assert bool(found[0].because) is (kind != "host.msrlist")


def test_another_order_is_told_whole() -> None:
    records = section(AMD, "host")
    lists = next(each for each in records if each["op"] == "msrlist")
    mine, lists["v"] = lists["v"], lists["v"][::-1]
    assert wrong(answers(AMD, "host", records)) == [Answer("host.msrlist", "order", lists["v"], mine, accepted=True)]
    lists["v"] = [*mine, "999"]
    assert wrong(answers(AMD, "host", records)) == [Answer("host.msrlist", "999", "999", None, accepted=True)]
    lists["v"] = mine[1:]
    assert wrong(answers(AMD, "host", records)) == [Answer("host.msrlist", mine[0], None, mine[0], accepted=False)]
    lists["v"] = mine
    table = next(each for each in records if each["op"] == "supcpuid")
    rows, table["ent"] = table["ent"], table["ent"][::-1]
    (answer,) = wrong(answers(AMD, "host", records))
    keys = [(row[0], row[1]) for row in rows]
    assert (answer.expected, answer.predicted, answer.accepted) == (keys[::-1], keys, True)
    assert answer.because == "__do_cpuid_func (cpuid.c)"


def test_calls_with_many_msrs() -> None:
    """Fewer than 256 at once (MAX_IO_MSRS); what is behind the first that is refused is not done."""
    made = {"op": "mk", "irq": 1, "cpuid": "sup", "x": ""}
    calls = [{"op": "multi", "call": call, "n": 256, "r": -errno.E2BIG} for call in ("set", "get")]
    calls += [{"op": "multibad", "call": call, "bad": bad, "r": bad} for call in ("set", "get") for bad in range(4)]
    found = answers(AMD, "multi", [made, *calls])
    assert wrong(found) == []
    assert [each.accepted for each in found if isinstance(each, Answer)] == [False] * 2 + [True] * 8
    assert [each.record for each in found if isinstance(each, Answer)][:3] == ["set of 256", "get of 256", "set of 4"]


def test_no_hyperv_table_of_the_system_before_5_11() -> None:
    records = section(OLD, "host")
    assert [len(each["ent"]) for each in records if each["op"] == "hvcpuid" and each["name"] == "hv_sys"] == [0]
    for each in records:
        if each["op"] == "hvcpuid":
            each["ent"] = next(other["ent"] for other in records if other.get("name") == "hv_vcpu")
    assert wrong(answers(OLD, "host", records))[0].record == "hv_sys 40000000.0"


def test_an_attribute_of_dev_kvm_that_was_not_recorded() -> None:
    records = [each for each in section(AMD, "host") if each["op"] != "sysattr"]
    assert {(each.accepted, each.because) for each in wrong(answers(AMD, "host", records))} == {
        (True, "__kvm_x86_dev_get_attr (x86.c)")
    }
    found = [(each.kind, each.record, each.expected, each.predicted) for each in wrong(answers(AMD, "host", records))]
    assert found == [("host.sysattr", "(0, 0)", None, "207"), ("host.sysattr", "(1, 0)", None, "0")]
    records = [*section(AMD, "host"), {"op": "sysattr", "group": 9, "attr": 9, "v": "5"}]
    (answer,) = wrong(answers(AMD, "host", records))
    assert (answer.kind, answer.record, answer.expected, answer.predicted) == ("host.sysattr", "(9, 9)", "5", None)
    assert (answer.accepted, answer.because) == (True, "__kvm_x86_dev_get_attr (x86.c)")


def test_feature_msrs_that_the_host_is_made_of_are_no_answers() -> None:
    """IA32_ARCH_CAPABILITIES and those of VMX; what KVM would not show of them is one."""
    records = [each for each in section(INTEL, "host") if each["op"] == "featmsrs"]
    cause = "the processor's own MSRs: the host is what they are here"
    assert untold(answers(INTEL, "host", records))["host.featmsrs"] == (cause, 19)
    for row in records[0]["v"]:
        if row[0] == "10a":
            row[2] = "8000000000000000"
    found = answers(INTEL, "host", records)
    assert untold(found)["host.featmsrs"] == (cause, 18)
    assert {answer.record.split("'")[1] for answer in wrong(found) if answer.kind == "host.featmsrs"} == {"10a"}


def test_other_feature_msrs() -> None:
    """What the system's descriptor says of any index that the recording tries."""
    (record,) = [each for each in section(AMD, "host") if each["op"] == "featmsr_others"]
    found = wrong(answers(AMD, "host", [{**record, "ok": [*record["ok"], ["999", "2"]]}]))
    told = [each for each in found if each.kind == "host.featmsr_others"]
    assert told == [Answer("host.featmsr_others", "['999', '2']", ["999", "2"], None, accepted=True)]


# Batteries


def test_a_battery_that_the_first_record_lacks() -> None:
    """Nobody knows what the other tables' would be the same as."""
    records = [each for each in section(AMD, "hide") if each["op"] in ("batvals", "bat")][:3]
    first, other = records[1:]
    assert not {"cr3", "dr6"} & other.keys()
    del first["cr3"]
    found = answers(AMD, "hide", [records[0], first, other])
    lacking = [each for each in found if isinstance(each, NotAsked)]
    assert lacking == [NotAsked("hide.cr3", "batteries that the supported table's record lacks", 1)] * 2
    assert wrong(found) == []


def test_a_battery_of_another_kind() -> None:
    first = {**next(each for each in section(AMD, "hide") if each["op"] == "bat"), "cr8": "0"}
    found = answers(AMD, "hide", [*section(AMD, "hide")[:2], first])
    assert untold(found) == {"hide.cr8": ("records of kinds that the machine does not know", 1)}


def test_a_battery_that_is_said_to_be_the_same() -> None:
    records = section(AMD, "hide")
    first = next(each for each in records if each["op"] == "bat")
    same = {"op": "batsame", "v": ["sup-7.0.ebx.20"]}
    found = wrong(answers(AMD, "hide", [*records[:2], first, same]))
    assert [(each.kind, each.record, each.expected, each.predicted) for each in found if each.kind == "hide.cr4"] == [
        ("hide.cr4", "sup-7.0.ebx.20: cr4 as with the supported table", True, False)
    ]


# Whole vCPUs


def restores() -> list[Record]:
    """A capture and its first restore."""
    records = section(AMD, "restore")
    return records[: next(at for at, each in enumerate(records) if each["op"] == "restore") + 1]


def test_a_structure_that_nobody_compares() -> None:
    records = restores()
    records[-1]["diff"]["fpu"] = [[0, "0", "1"], 1]
    (answer,) = wrong(answers(AMD, "restore", records))
    assert (answer.record.rpartition(": ")[2], answer.predicted) == ("fpu read back", None)


def test_calls_in_another_order() -> None:
    records = restores()
    steps = records[-1]["steps"]
    steps[2], steps[3] = steps[3], steps[2]
    assert "regs where the order has nested" in told(records, "restore")


def test_a_capture_that_is_cut() -> None:
    records = restores()
    blob = next(each for each in records if each["op"] == "blob")
    blob["size"] += 1
    assert "vcpu0.kvm_regs.bin has 144 bytes of 145" in told(records, "restore")


def test_a_restore_of_nothing() -> None:
    assert "expected records as the recorder writes them" in told(restores()[-1:], "restore")


@pytest.mark.parametrize(
    ("nth", "name", "khz"), [(0, "6.12-xapic", b"2100000\n"), (1, "6.12-split", b"0"), (2, "6.12", b"")]
)
def test_what_was_captured_elsewhere(nth: int, name: str, khz: bytes) -> None:
    """The frequency is a file of the capture; its name says that the interrupt controller is split."""
    files, restores = captured(nth)
    found = list(
        sections(lambda asked: {**files, "khz": khz or b"0"} if asked == name else None)["foreign"](
            bench(AMD), [{"op": "foreign", "from": name}, *restores]
        )
    )
    assert {each.kind for each in found} == {"foreign.restore", "foreign.run"}
    assert wrong(found) == []
    assert {step for each in found if isinstance(each, Answer) for step in [each.record.split(", ")[0]]} == {name}


def test_what_was_captured_elsewhere_and_is_not_there() -> None:
    _, restores = captured(0)
    asked = [{"op": "foreign", "from": "another"}, restores[0], {"op": "novel"}]
    assert list(sections()["foreign"](bench(AMD), asked)) == [
        NotAsked("foreign.restore", "captures that are not there", 1),
        NotAsked("foreign.novel", "records of kinds that the machine does not know", 1),
    ]


# One thing beside the others


def test_a_register_that_the_recorder_does_not_ask_for() -> None:
    records = section(INTEL, "misc")
    at = next(at for at, each in enumerate(records) if each["op"] == "onereg")
    extra = {"op": "onereg", "id": "2030000200000999", "g": 0, "b": "0", "s": "0"}
    found = answers(INTEL, "misc", [*records[:at], extra, extra, *records[at:]])
    assert untold(found) == {"misc.onereg": ("registers that the recorder does not ask for", 2)}
    alone = answers(INTEL, "misc", [extra])
    assert untold(alone) == {"misc.onereg": ("records of kinds that the machine does not know", 1)}


def test_a_capability_beyond_those_that_are_tried() -> None:
    records = section(AMD, "misc")
    record = next(each for each in records if each["op"] == "encaps")
    record["v"]["300"] = "0000"
    found = wrong(answers(AMD, "misc", records))
    assert {(each.kind, each.record) for each in found} == {
        ("misc.encaps", f"vcpu cap 300 [{nth}]") for nth in range(4)
    }
    assert all(each.because for each in found)
    record["args0"] = [0]
    assert "KVM_ENABLE_CAP with args[0] [0]" in told(records, "misc")


@pytest.mark.parametrize(
    ("named", "record", "why"),
    [
        ("run", {"op": "run", "w": "plain mode", "set": 0, "e": 0}, "plain mode"),
        ("arun", {"op": "setcpuid", "name": "sup2", "e": 0}, "no CPUID table 'sup2' after a run"),
        ("cpuid", {"op": "setcpuid", "name": "sup2", "e": 0}, "no CPUID table 'sup2'"),
        ("lapic", {"op": "lapicmode", "saved": "0", "restored": "0", "e": 0, "same": 1}, "AssertionError"),
        ("dbg", {"op": "vals", "st": "kvm_regs", "off": 0, "width": 8, "v": ["0", "1", "2"], "s": "00"}, "ValueError"),
        ("dbg", {"op": "bits", "st": "kvm_regs", "off": 0, "s": "0" * 63}, "ValueError"),
        ("dbg", {"op": "bits", "st": "kvm_fpu", "off": 0, "s": "0"}, "kvm_fpu"),
    ],
)
def test_a_record_that_is_none(named: str, record: Record, why: str) -> None:
    irqchip = 0 if named == "lapic" else 1
    base = {"op": "base", "st": "kvm_regs", "state": "reset", "e": 0, "hex": "00" * 144} if named == "dbg" else {}
    records = [{"op": "mk", "irq": irqchip, "cpuid": "sup", "x": ""}, *([base] if base else []), record]
    error = told(records, named)
    assert error.startswith("f: expected records as the recorder writes them, found ")
    assert why in error


def test_a_structure_that_cannot_be_read() -> None:
    """KVM_GET_LAPIC without KVM's local APICs."""
    made = {"op": "mk", "irq": 0, "cpuid": "sup", "x": ""}
    base = {"op": "base", "st": "kvm_lapic_state", "state": "apic", "hex": "00" * 1024}
    assert wrong(answers(AMD, "lapic", [made, {**base, "e": errno.EINVAL}])) == []
    (answer,) = wrong(answers(AMD, "lapic", [made, {**base, "e": 0}]))
    assert answer.kind == "lapic.base"


@pytest.mark.parametrize("named", ["sregs", "xsave", "dbg", "mp", "events", "lapic", "nested"])
def test_a_structure_that_reads_as_another(named: str) -> None:
    records = section(OLD, named)
    at = next(at for at, each in enumerate(records) if each["op"] == "base")
    hexadecimal = records[at]["hex"]
    records[at]["hex"] = hexadecimal[:-1] + f"{int(hexadecimal[-1], 16) ^ 1:x}"
    first = wrong(answers(OLD, named, records[: at + 1]))[0]
    assert first.kind == f"{named}.base"
