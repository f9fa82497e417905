"""Sections of deep recordings of KVM/arm64: what a record hangs on those before it for, and what is left unsaid."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection

import pytest

from inspector.capture.errors import InputError
from inspector.machine.arm64.replay import causes
from tests.machine.cut import BASE, PC, PFR0, VM, Record, answers, asked, changed, first, header, section

NESTED, OLD, MTE = "arm72-max-nested.jsonl.xz", "arm510-max.jsonl.xz", "arm612-max-mte.jsonl.xz"
MPIDR, PFR1_AARCH32 = "603000000013c005", "603000000013c009"
#: ID registers that the cut sections keep.
KEPT = {"3_0_0_0_5": MPIDR, "3_0_0_1_1": PFR1_AARCH32, "3_0_0_4_0": PFR0}
STORE = {"op": "run", "i": 0, "guest": "mmio", "e": 0, "exit": 6}
AT_START = [{"op": "mem", "e": 0}, {"op": "set", "i": 0, "id": PC, "v": "0000000100000000", "e": 0}]


def only(records: list[Record], ids: Collection[str]) -> list[Record]:
    """Of the records those of these registers, and those of none."""
    found = [record for record in records if record.get("id", PC) in (PC, *ids)]
    return [
        {**record, "r": {name: value for name, value in record["r"].items() if name in KEPT}}
        if record["op"] == "guest_mrs"
        else record
        for record in found
    ]


def several(name: str) -> list[Record]:
    """A sweep of three registers, and the section that writes them all at once."""
    sweep = [first(name, f'{{"op":"idr","s":"base","r":"{register}"') for register in KEPT]
    return [*header(name), BASE, *sweep, *only(section(name, '{"op":"mk","s":"multi_base"'), KEPT.values())]


@pytest.mark.parametrize("name", [NESTED, OLD])
def test_what_a_list_of_differences_leaves_out_counts(name: str) -> None:
    """Of each register: what the other vCPU reads, what another init and a run leave, what it is after four writes."""
    by_kind = asked(name, *several(name)).by_kind
    kinds = ("vcpu1diff", "reinitdiff", "rundiff", "changed_after_run", "guest_mrs")
    assert {kind: by_kind[kind] for kind in kinds} == {kind: [3, 3] for kind in kinds}
    assert all(agree == total for agree, total in by_kind.values())


LISTED = [(NESTED, "vcpu1diff"), (OLD, "rundiff"), (NESTED, "changed_after_run"), (OLD, "reinitdiff")]


@pytest.mark.parametrize(("name", "kind"), LISTED)
def test_a_difference_is_asked(name: str, kind: str) -> None:
    """With another value, and where it is not listed."""
    records = several(name)
    at = next(at for at, record in enumerate(records) if record["op"] == kind)
    for other in answers(records[at], {"id", "set", "want"}):
        found = asked(name, *records[:at], other, *records[at + 1 :])
        (answer,) = found.disagreements
        shown = {"op": kind, "id": MPIDR} if kind == "changed_after_run" else other
        assert (answer.kind, json.loads(answer.record)) == (kind, shown), other
        assert answer.accepted != bool(other.get("e"))
        assert found.by_kind[kind] == [2, 3]
    (found_1,) = asked(name, *records[:at], *records[at + 1 :]).disagreements
    assert found_1.kind == kind
    assert found_1.accepted
    left_out = f'{records[at]["id"]}, not listed: {{"op":"{kind}","s":"multi_base"}}'
    assert kind == "changed_after_run" or found_1.record == left_out


@pytest.mark.parametrize("key", ["get", "guest_mrs", "run", "init", "mem", "vcpu", "set"])
def test_what_such_a_section_says_is_asked(key: str) -> None:
    """Each record of a kind; a value that vCPU 0 showed is what the other vCPU is compared with."""
    records = several(NESTED)
    places = [at for at, record in enumerate(records) if record["op"] == key]
    note = next(at for at, record in enumerate(records) if record["op"] == "note")
    assert places
    for at in {*places[:2], *places[-2:]}:
        for other in answers(records[at], {"i", "id", "s", "f", "guest"} | ({"v"} if key == "set" else set())):
            with contextlib.suppress(InputError):
                found = asked(NESTED, *records[:at], other, *records[at + 1 :]).disagreements
                kinds = {answer.kind for answer in found}
                assert key in kinds, other
                if key == "get":
                    compared = at < note and other["id"] != MPIDR
                    assert kinds == ({"get", "vcpu1diff"} if compared else {"get"})
                where, _, shown = found[0].record.partition(": ")
                assert key != "guest_mrs" or json.loads(shown) == {"op": key, "s": "multi_base"}
                assert key != "guest_mrs" or (where in KEPT and found[0].accepted)


def test_a_run_of_which_the_guests_reads_are_missing() -> None:
    """What it left is compared all the same; a register that was not written before counts against nothing else."""
    records = [record for record in several(NESTED) if record["op"] != "guest_mrs"]
    assert asked(NESTED, *records).by_kind["rundiff"] == [3, 3]
    ran = next(at for at, record in enumerate(records) if record["op"] == "run")
    without = [record for record in records[ran:] if (record.get("i"), record.get("id")) != (0, PFR0)]
    (answer,) = asked(NESTED, *records[:ran], *without).disagreements
    assert (answer.kind, answer.expected) == ("changed_after_run", None)


@pytest.mark.parametrize("behind", [0, 1])
def test_a_change_that_follows_no_write_is_said(behind: int) -> None:
    records = several(NESTED)
    at = next(at for at, record in enumerate(records) if record["op"] == "changed_after_run")
    one = records[at]
    wrong = [*records[: at + 1], one, *records[at + 1 :]] if behind else [*records[:at], {**one, "id": PFR0}]
    with pytest.raises(InputError, match="behind no write to that register through vCPU 1"):
        asked(NESTED, *wrong)


AR = section(NESTED, '{"op":"mk","s":"ar_base"')
RAN = AR[: next(at for at, record in enumerate(AR) if record["op"] == "ar")]


@pytest.mark.parametrize("register", ["c000", "c005", "c006", "c008", "c00a", "c00b", "c03a", "c801", "d801", "c020"])
def test_after_a_run_every_write_is_asked(register: str) -> None:
    """64 flipped bits, the value, 0 and all ones, what it was and what it is then: nothing is undone."""
    record = first(NESTED, f'{{"op":"ar","s":"ar_base","id":"603000000013{register}"')
    before = asked(NESTED, *header(NESTED), *RAN)
    found = asked(NESTED, *header(NESTED), *RAN, record)
    assert found.disagreements == []
    assert found.by_kind["ar"] == [1 + 64 + 3 + 1] * 2
    taken = sum(letter in "0wx" for letter in record["flip"]) + [
        record[name] for name in ("same", "zero", "ones")
    ].count(0)
    assert found.by_answer["accepted"][1] - before.by_answer["accepted"][1] == taken + 2
    for other in answers(record, {"s", "id", "b"}):
        (answer,) = asked(NESTED, *header(NESTED), *RAN, other).disagreements
        (key,) = (key for key in record if record[key] != other[key])
        where, _, shown = answer.record.partition(": ")
        assert where.partition("[")[0] == key
        assert json.loads(shown) == {name: record[name] for name in ("op", "s", "id", "b")}
        assert (answer.kind, bool(answer.because)) == ("ar", key != "now")
    first_of_all = asked(NESTED, *header(NESTED), *RAN, changed(record, ("b",), "15")).disagreements[0]
    assert (first_of_all.record[:7], first_of_all.expected, first_of_all.accepted) == ("value: ", 0x15, True)


def test_an_older_kernel_takes_writes_after_a_run() -> None:
    """Linux 5.10 has no check of it: CSV2 and CSV3 stay writable."""
    section_ = section(OLD, '{"op":"mk","s":"ar_base"')
    ran = section_[: next(at for at, record in enumerate(section_) if record["op"] == "ar")]
    record = first(OLD, '{"op":"ar","s":"ar_base","id":"603000000013c020"')
    assert asked(OLD, *header(OLD), *ran, record).disagreements == []
    for other in answers(record, {"s", "id", "b"}):
        assert asked(OLD, *header(OLD), *ran, other).disagreements[0].kind == "ar"


@pytest.mark.parametrize("lengths", ["sve_vq1", "sve_vq3", "sve_vq16", "sve_off", "sve_mixed"])
def test_what_the_guest_of_vectors_leaves(lengths: str) -> None:
    """Every register that is read afterwards, each of which another value would make disagree."""
    records = [*header(NESTED), *section(NESTED, f'{{"op":"vm","s":"{lengths}"')]
    found = asked(NESTED, *records)
    assert found.disagreements == []
    reads = [at for at, record in enumerate(records) if record["op"] == "get" and not record["e"]]
    assert found.not_asked == {}
    for at in reads:
        value = records[at]["v"]
        records[at] = {**records[at], "v": f"{int(value[0], 16) ^ 1:x}{value[1:]}"}
    found = asked(NESTED, *records)
    assert [answer.kind for answer in found.disagreements] == ["get"] * min(len(reads), 100)
    assert found.total - found.agree == len(reads)


def test_registers_of_the_guest_of_vectors() -> None:
    """X6, X7 and X9 as its MOVs leave them; PFALSE and PTRUE write whole registers."""
    p4, p11, lengths = "6050000000150480", "6050000000150560", "606000000015ffff"
    vcpu = [*VM[:2], {**VM[2], "f": 20}, {"op": "set", "i": 0, "id": lengths, "v": "07" + "00" * 63, "e": 0}]
    before = [*vcpu, {"op": "fin", "i": 0, "f": 4, "e": 0}, {"op": "set", "i": 0, "id": p4, "v": "ff" * 32, "e": 0}]
    moved = {9: 0x33_0000, 7: 5, 6: 31 * 11 + 1, 1: 0x1FF, 0: 0x200_0000}
    values = {f"60300000001000{2 * number:02x}": value.to_bytes(8, "little").hex() for number, value in moved.items()}
    values |= {p4: "00" * 32, p11: "ff" * 4 + "00" * 28}
    reads = [{"op": "get", "i": 0, "id": register_id, "e": 0, "v": value} for register_id, value in values.items()]
    records = [*header(NESTED), *before, *AT_START, {**STORE, "guest": "sve"}, *reads]
    assert asked("f", *records).disagreements == []


def test_a_store_that_was_completed_is_not_made_again() -> None:
    """The second run goes on behind it, to a branch to itself, until the recorder's alarm: EINTR."""
    again = {**STORE, "e": 4, "exit": -1}
    assert asked("f", *header(NESTED), *VM, *AT_START, STORE, again).disagreements == []
    (found,) = asked("f", *header(NESTED), *VM, *AT_START, STORE, STORE).disagreements
    assert (found.expected, found.predicted, found.accepted) == ([0, 6], [4, -1], True)
    (found,) = asked("f", *header(NESTED), *VM, *AT_START, again).disagreements
    assert (found.expected, found.predicted, found.accepted) == ([4, -1], [0, 6], False)
    assert asked("f", *header(NESTED), *VM, *AT_START, STORE, AT_START[1], STORE).disagreements == []


def test_what_the_stores_guest_leaves() -> None:
    """X0 is the device, PC the store."""
    reads = [
        {"op": "get", "i": 0, "id": "6030000000100000", "e": 0, "v": "0000000200000000"},
        {"op": "get", "i": 0, "id": PC, "e": 0, "v": "0400000100000000"},
    ]
    assert asked("f", *header(NESTED), *VM, *AT_START, STORE, *reads).disagreements == []


def test_what_an_unknown_guest_leaves_is_not_asked() -> None:
    """X0 to X30, PC and PSTATE, until they are written again, of this VM."""
    ran = [*header(NESTED), *VM, *AT_START, {**STORE, "guest": "mine"}]
    reads = [
        {"op": "get", "i": 0, "id": f"60300000001000{word:02x}", "e": 0, "v": "77" * 8} for word in range(0, 68, 2)
    ]
    found = asked("f", *ran, *reads)
    assert found.not_asked == {causes.GUEST_CODE: {"get": 33}}, "all but SP"
    assert [answer.record[:48] for answer in found.disagreements] == [
        '{"op":"get","i":0,"id":"603000000010003e","e":0,'
    ]
    written = {"op": "set", "i": 0, "id": PC, "v": "7777777777777777", "e": 0}
    assert asked("f", *ran, written, reads[32]).unasked == 0
    assert asked("f", *ran, {**VM[2]}, reads[1]).unasked == 0, "another init"
    assert asked("f", *ran, *VM, reads[1]).unasked == 0, "another VM"
    assert asked("f", *ran, BASE, reads[1]).unasked == 0, "another VM"


def test_a_run_that_failed_changes_nothing() -> None:
    failed = {**STORE, "guest": "mine", "e": 8}
    del failed["exit"]
    read = {"op": "get", "i": 0, "id": PC, "e": 0, "v": "00" * 8}
    assert asked("f", *header(NESTED), *VM, failed, read).unasked == 0


def test_a_vcpu_that_was_not_made_has_no_file() -> None:
    """Calls on it are EBADF."""
    calls = [
        {"op": "vcpu", "i": 0, "e": 17},
        {"op": "init", "i": 1, "f": 4, "e": 9},
        {"op": "fin", "i": 1, "f": 4, "e": 9},
        {"op": "get", "i": 1, "id": PC, "e": 9},
        {"op": "set", "i": 1, "id": PC, "v": "00" * 8, "e": 9},
    ]
    found = asked("f", *header(NESTED), *VM, *calls)
    assert found.disagreements == []
    (answer,) = asked("f", *header(NESTED), *VM, {**calls[1], "e": 22}).disagreements
    assert (answer.predicted, answer.because) == (9, "the vCPU was created")


def test_the_recording_goes_on_with_what_the_kernel_made() -> None:
    """Whatever the machine said of it: the next calls are asked of that vCPU."""
    (found,) = asked("f", *header(NESTED), VM[0], {"op": "vcpu", "i": 511, "e": 22}).disagreements
    assert (found.predicted, found.accepted) == (0, False)
    made = {**BASE, "f": 2 | 4 | 128}
    found_ = asked("f", *header(NESTED), made, {"op": "init", "i": 0, "f": 4, "e": 0})
    assert [answer.kind for answer in found_.disagreements] == ["mk"]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        (NESTED, {**BASE, "fl": 1, "e": 22, "at": 1}),
        (OLD, {**BASE, "fl": 2, "e": 22, "at": 2}),
        (NESTED, {**BASE, "f": 2 | 4 | 128, "e": 22, "at": 4}),
        (MTE, {**BASE, "fl": 1}),
        (NESTED, {**BASE, "fl": 2}),
        (NESTED, {**BASE, "f": 20}),
    ],
)
def test_which_call_of_several_fails(name: str, record: Record) -> None:
    """KVM_CAP_ARM_MTE, KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, KVM_CREATE_VCPU, KVM_ARM_VCPU_INIT, _FINALIZE."""
    assert asked(name, *header(name), record).disagreements == []
    (found,) = asked(name, *header(name), {**record, "e": 1, "at": 3}).disagreements
    assert (found.expected, found.predicted, found.accepted) == ([1, 3], [record["e"], record["at"]], False)


def test_vectors_are_there_once_their_lengths_are_final() -> None:
    z0 = {"op": "get", "i": 0, "id": "6080000000150000", "e": 0, "v": "00" * 256}
    assert asked("f", *header(NESTED), {**BASE, "f": 20}, z0).disagreements == []
    assert asked("f", *header(NESTED), {**BASE, "f": 20, "fl": 4}, {**z0, "e": 1}).disagreements == []


def test_a_sweep_says_how_many_registers_it_had() -> None:
    """So a record that is missing is noticed; another section's sweep begins anew."""
    swept = [first(NESTED, f'{{"op":"idr","s":"base","r":"{register}"') for register in KEPT]
    end = {"op": "leakn", "s": "base", "n": 0, "of": 3}
    assert asked("f", *header(NESTED), BASE, *swept, end).disagreements == []
    (found,) = asked("f", *header(NESTED), BASE, *swept[1:], end).disagreements
    assert (found.kind, found.expected, found.predicted, found.accepted) == ("leakn", [0, 3], [0, 2], True)
    assert asked("f", *header(NESTED), BASE, *swept, end, BASE, *swept, end).disagreements == []
    left = {"op": "leak", "s": "base", "id": PFR0, "was": "0", "now": "11"}
    (found,) = asked("f", *header(NESTED), BASE, left).disagreements
    assert (found.kind, found.expected, found.predicted) == ("leak", 0x11, int(swept[2]["b"], 16))
    assert found.accepted


def test_a_clock_goes_on_from_what_is_written() -> None:
    """Its own value is the host's; what is read a moment after a write is a little more, or it disagrees."""
    record = first(NESTED, '{"op":"sysw","s":"sysw_base","id":"603000000013df02"')
    found = asked("f", *header(NESTED), BASE, record)
    assert found.disagreements == []
    clock = first(NESTED, '{"op":"sysw"', '"id":"603000000013df01"')
    found = asked("f", *header(NESTED), BASE, clock)
    assert (found.disagreements, found.not_asked) == ([], {causes.CLOCK: {"sysw": 1}})
    assert found.by_kind["sysw"] == [8, 8]
    value, code, read = clock["w"][1]
    for more, count in ((0, 0), ((1 << 30) - 1, 0), (1 << 30, 1)):
        later = changed(clock, ("w", 1), [value, code, f"{(int(value, 16) + more) % (1 << 64):x}"])
        assert len(asked("f", *header(NESTED), BASE, later).disagreements) == count, (more, read)
