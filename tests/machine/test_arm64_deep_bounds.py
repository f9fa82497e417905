"""Deep recordings of KVM/arm64: what is not understood is said, what describes the recording is no answer."""

from __future__ import annotations

import pytest

from inspector.capture.errors import InputError
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.deep import lists, sweeps
from inspector.machine.arm64.replay.deep.count import code_of, letter
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from tests.machine.cut import BASE, PC, PFR0, VM, Record, asked, changed, first, header, section

NESTED = "arm72-max-nested.jsonl.xz"
IDMAP_SHOWN = '{"op":"idmap","what":"","hi":"6030000000130000"}'
IDMAP = {"op": "idmap", "what": "", "hi": "6030000000130000", "call": "get", "runs": []}


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([{"op": "tea"}], "a record of the unknown kind 'tea'"),
        ([{"op": "get", "i": 0, "id": PC, "e": 0, "v": "0"}], '"v": bytes'),
        ([{"op": "list", "i": 0, "n": 1, "ids": [], "e": 0}], "vCPU 0, which was not"),
        ([BASE, {"op": "ccsidr", "i": 0, "get": 0, "b": "0", "same": "0", "flip": "0" * 32}], "without 'rnd'"),
        ([BASE, {"op": "ccsidr", "i": 0, "get": 2}], "without 'set0'"),
        ([BASE, {"op": "gicdev", "type": 7, "e": 0, "dist": 0, "redist": 0}], "without 'init'"),
        ([{"op": "mrs_el0", "reg": "3_0_0_4_0"}], "without 'v'"),
        ([{"op": "mrs_el0", "reg": "3_0_0_16_0", "v": "0"}], '"reg": a register as op0_op1'),
        ([BASE, {"op": "badbits", "base": PFR0, "or_bit": "28..51,56..59", "get": "n" * 31}], "and 31 answers"),
        ([BASE, {**IDMAP, "runs": [["0", "1", "n"], ["3", "3", "n"]]}], "no answer for 2"),
        ([BASE, {**IDMAP, "runs": [["1", "0", "n"]]}], "no answer for 1"),
        ([BASE, {**IDMAP, "hi": PFR0}], "whose low 16 bits are 0"),
        ([BASE, {"op": "badcoproc", "size": 2, "lo": "0000", "get": "n" * 4096}], '"size"'),
        ([BASE, {"op": "gicinit", "dist": 0, "redist": 0, "init": 0}], "was not made"),
        ([{"op": "masks", "e": 0, "guard": 1, "m": {"3_2_0_0_0": "0"}}], "one of 192 registers"),
        ([{"op": "caps", "vm": {"300": 1}, "sys": {}}], "a number below 300"),
        ([BASE, {**first(NESTED, '{"op":"idr"'), "rf": 1}], '"rf": a number from 0 to 0'),
        ([BASE, {**first(NESTED, '{"op":"pair"'), "first": ""}], "two registers have answers to the first write"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said(records: list[Record], told: str) -> None:
    with pytest.raises(InputError) as error:
        asked("f", *header(NESTED), *records)
    assert told in str(error.value)


def test_what_describes_the_recording_is_no_answer() -> None:
    kinds = ("file", "dmesg", "time", "note", "api", "okf", "cfg", "fatal")
    found = asked("f", *header(NESTED), VM[0], *({"op": kind} for kind in kinds))
    assert (found.total, found.unasked, found.host) == (1, 0, "max, kernel 7.2, from bare registers")


def test_each_single_feature_has_a_fresh_vcpu() -> None:
    """After one that was taken; one that was refused leaves the vCPU as it was."""
    bits = [{"op": "initbit", "bit": bit, "e": errno} for bit, errno in ((3, 0), (7, 0), (30, 2), (3, 0))]
    assert asked("f", *header(NESTED), *VM[:2], *bits).disagreements == []


def test_a_list_that_lacks_an_id() -> None:
    """The number differs, and what is behind the gap."""
    record = section(NESTED, '{"op":"mk","s":"dump_base"')[1]
    (found,) = asked("f", *header(NESTED), BASE, {**record, "ids": record["ids"][:-1]}).disagreements
    assert (found.expected, found.predicted, found.accepted) == ([262, 261], [262, 262], True)
    assert found.record.startswith("number of ids: ")


def test_online_cpus_are_the_headers() -> None:
    """KVM_CAP_NR_VCPUS is how many CPUs are online."""
    host, meta = header(NESTED)
    caps = {"op": "caps", "vm": {"9": 3}, "sys": {"9": 3}}
    expected = [answer.record[:5] for answer in asked("f", {**host, "smp": "3"}, meta, caps).disagreements]
    assert not [record for record in expected if record.startswith(("vm 9:", "sys 9:"))]
    del host["smp"]
    alone = changed(changed(caps, ("vm", "9"), 1), ("sys", "9"), 1)
    assert not [answer for answer in asked("f", host, meta, alone).disagreements if " 9:" in answer.record[:7]]


def test_dczid_of_a_cpu_that_nobody_read_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another register that is no answer."""
    monkeypatch.setattr(lists.el0, "mrs", lambda *_: None)
    records = [first(NESTED, f'{{"op":"mrs_el0","reg":"3_{register}"') for register in ("3_0_0_7", "0_0_4_0")]
    found = asked("f", *header(NESTED), *records)
    assert found.not_asked == {causes.EL0: {"mrs_el0": 1}}
    assert [(answer.predicted, answer.accepted) for answer in found.disagreements] == [(None, True)]


@pytest.mark.parametrize(("cpu", "release", "target"), [("cortex-a57", "5.10.1", 2), ("cortex-a57", "7.2.13", 5)])
def test_the_preferred_target_is_the_cpus_or_generic(cpu: str, release: str, target: int) -> None:
    """KVM_ARM_TARGET_CORTEX_A57, KVM_ARM_TARGET_GENERIC_V8 (kvm_target_cpu, kvm_vcpu_preferred_target)."""
    host, meta = {"op": "host", "cpu": cpu, "mte": "off"}, {"op": "meta", "release": release}
    assert asked("f", host, meta, {"op": "pref", "t": target}).disagreements == []


def test_a_map_of_ids_is_asked_id_by_id() -> None:
    """MIDR_EL1 can be read, and not made 0; its neighbours are not there."""
    for call, answer in (("get", "0"), ("set0", "i")):
        runs = [["c000", "c000", answer], ["c001", "c003", "n"]]
        assert asked("f", *header(NESTED), BASE, {**IDMAP, "call": call, "runs": runs}).disagreements == []
    (found,) = asked("f", *header(NESTED), BASE, {**IDMAP, "runs": [["c000", "c003", "n"]]}).disagreements
    assert found[:5] == ("idmap", f"c000: {IDMAP_SHOWN}", "n", "0", False)
    (found,) = asked("f", *header(NESTED), BASE, {**IDMAP, "runs": [["c001", "c001", "0"]]}).disagreements
    assert found[:5] == ("idmap", f"c001: {IDMAP_SHOWN}", "0", "n", True)
    (found,) = asked("f", *header(NESTED), BASE, {**IDMAP, "runs": [["c001", "c001", "?"]]}).disagreements
    assert found[2:5] == ("?", "n", False)
    assert asked("f", *header(NESTED), BASE, IDMAP).total == 1, "no runs"


def test_an_errno_without_a_letter() -> None:
    assert (letter(22), letter(0), letter(3), code_of("0"), code_of("b")) == ("i", "0", "?", 0, 16)
    assert code_of("?") < 0


GIC = {"op": "gicdev", "type": 7, "e": 0, "dist": 0, "redist": 0, "init": 0}
INIT = {"op": "init", "i": 0, "f": 4, "e": 0}


def test_a_controller_that_was_not_made_has_no_addresses() -> None:
    """The recorder writes -1 then; nothing can be set up of it."""
    none = {"op": "gicdev", "type": 5, "e": 19, "dist": -1, "redist": -1, "init": -1}
    assert asked("f", *header(NESTED), *VM, none).disagreements == []
    (called, found) = asked("f", *header(NESTED), *VM, {**GIC, "type": 5}).disagreements
    assert (called.predicted, found.predicted) == (19, [-1, -1, -1])
    with pytest.raises(InputError, match="that was not made"):
        asked("f", *header(NESTED), *VM, none, {"op": "gicinit", "dist": 0, "redist": 0, "init": 0})


@pytest.mark.parametrize("name", ["ar_el2", "ar_all_el2"])
def test_a_guest_with_el2_runs_with_its_controller(name: str) -> None:
    """And not before: EAGAIN, and EINVAL without its PMU (kvm_vcpu_run_pid_change)."""
    records = section(NESTED, f'{{"op":"mk","s":"{name}"')
    ran = records[: next(at for at, record in enumerate(records) if record["op"] == "ar")]
    assert asked("f", *header(NESTED), *ran).disagreements == []
    assert {record["e"] for record in ran if record["op"] == "run"} >= {0, 11}


@pytest.mark.parametrize(("step", "name"), [(3, "create_vcpu"), (4, "init"), (5, "finalize")])
def test_what_the_kernel_made_is_asked_on(step: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine said of it: a vCPU that was made is there, one that was not has no file."""
    monkeypatch.setattr(Vm if step == 3 else Vcpu, name, lambda *_: Outcome("errno", 5, (), ""))
    made = {**BASE, "f": 20}
    (found,) = asked("f", *header(NESTED), {**made, "e": 5, "at": 0}).disagreements
    assert found.predicted == [5, step]
    assert asked("f", *header(NESTED), {**made, "e": 5, "at": step}).disagreements == []
    if step == 3:
        on_it = {"op": "get", "i": 0, "id": PC, "e": 8}
        for records in ([{**BASE, "fl": 0}], VM[:2]):
            found_ = asked("f", *header(NESTED), *records, on_it).disagreements
            assert [answer.kind for answer in found_] == [records[-1]["op"]]
        refused = {"op": "vcpu", "i": 0, "e": 5}
        assert asked("f", *header(NESTED), VM[0], refused, {**INIT, "e": 9}).disagreements == []


def test_a_read_of_what_is_not_there() -> None:
    """An errno is asked of every register, a value of none that was not made."""
    clock = {"op": "get", "i": 0, "id": "603000000013df01", "e": 22}
    assert len(asked("f", *header(NESTED), BASE, clock).disagreements) == 1
    (found,) = asked("f", *header(NESTED), BASE, {"op": "get", "i": 1, "id": PC, "e": 0, "v": "00" * 8}).disagreements
    assert found.predicted == "EBADF"
    with pytest.raises(InputError, match="without 'v'"):
        asked("f", *header(NESTED), BASE, {"op": "get", "i": 0, "id": PC, "e": 0})


def test_the_guest_of_vectors_stops_without_them() -> None:
    """At CPACR_EL1 it goes on, at ZCR_EL1 it does not."""
    run = {"op": "run", "i": 0, "guest": "sve", "e": 0, "exit": 6}
    (found,) = asked("f", *header(NESTED), *VM, {"op": "mem", "e": 0}, run).disagreements
    assert found.predicted[1] == -1
    assert found.because


CACHE = first(NESTED, '{"op":"ccsidr","i":0')


@pytest.mark.parametrize("record", [first(NESTED, '{"op":"bmap"'), CACHE])
def test_the_value_at_first_is_hexadecimal(record: Record) -> None:
    found = asked("f", *header(NESTED), BASE, {**record, "b": "1f"}).disagreements[0]
    assert (found.record[:5], found.expected, found.accepted) == ("value", 0x1F, True)


@pytest.mark.parametrize(("read", "found"), [(int(CACHE["b"], 16), "w"), (5, "x")])
def test_a_cache_that_keeps_no_value_has_letters(read: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel does so: what is written is kept, or refused (set_ccsidr)."""
    monkeypatch.setattr(sweeps, "_put", lambda *_: (0, read, ""))
    other = [["1", 0, f"{read:x}"]] * 12
    same = "0" if found == "w" else "x"
    kept = {**CACHE, "same": same, "flip": found * 32, "rnd": other}
    assert asked("f", *header(NESTED), BASE, kept).disagreements == []


OF_LENGTHS = [*VM[:2], {"op": "init", "i": 0, "f": 20, "e": 0}]


def test_sets_of_lengths_by_errno() -> None:
    """All 65,536 have an answer; which of them was refused otherwise the recorder does not say."""
    record = first(NESTED, '{"op":"vlsall"')
    other = {"0": 16, "7": 1, "22": 65519}
    (found,) = asked("f", *header(NESTED), *OF_LENGTHS, {**record, "hist": other}).disagreements
    assert found[2:5] == (other, record["hist"], False)


def test_one_length_alone() -> None:
    """Each bit is a set: beyond the host's largest, or without the shorter ones (set_sve_vls)."""
    record = first(NESTED, '{"op":"vlsbit"')
    records = [*header(NESTED), *OF_LENGTHS, {**record, "alone": "0" * 512}]
    reasons = {answer.record.partition(":")[0]: answer.because for answer in asked("f", *records).disagreements}
    assert reasons["alone[15]"].startswith("up to the largest, exactly the host's")
    assert reasons["alone[16]"].startswith("no vq above the host's largest (16)")
