"""Recorded answers of KVM/arm64 in their first form, cut to one record: whatever answer is another disagrees."""

from __future__ import annotations

import contextlib

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import text_of
from inspector.machine.arm64.replay import causes
from tests.machine.cut import Record, answers, asked, changed, first, of_kind

MAX, OLD, A57 = (f"arm64-linux-{name}.jsonl.gz" for name in ("7.2-max", "6.1-max", "7.2-cortex-a57"))
SEQUENCES, OLDER_SEQUENCES = (f"arm64-sequences-linux-{name}.jsonl.gz" for name in ("7.2-max", "6.12-neoverse-v1"))
#: A record by which the file is one of arm64; KVM_ARM_VCPU_POWER_OFF is accepted.
FEAT = {"t": "feat", "bit": 0, "err": 0}
RAN = {"t": "run", "exit": 6}
#: What was asked, by the kind of record, and what one recorder wrote twice.
QUESTIONS = {
    "idreg": {"cfg", "reg"},
    "idw": {"cfg", "reg", "w"},
    "cap": {"n"},
    "mask": {"reg"},
    "feat": {"bit", "bits"},
    "reg": {"cfg", "id"},
    "reglist": {"cfg"},
    "badid": {"id"},
    "sveid": {"id"},
    "vlmax": {"vq"},
    "impcap": {"ret"},
    "sve_prefin": {"n"},
    "vls": {"when"},
    "vmwide": {"wrote"},
}
#: Answers of several calls, and values: what says why.
BECAUSE = {
    "cap": "KVM_CHECK_EXTENSION",
    "mask": "kvm_vm_ioctl_get_reg_writable_masks",
    "maskbad": "the range and reserved words are 0",
    "sve_prefin": "kvm_arm_vcpu_is_finalized",
    "vls_vq17": "no vq above the host's largest (16)",
    "vls_set_def": "set_sve_vls",
    **dict.fromkeys(("z5rw", "p3rw", "ffrrw"), "set_sve_reg"),
}
BECAUSE_OF = {
    ("vlmax", "zfr0"): "get_id_reg",
    ("vlmax", "z0"): "set_sve_reg",
    ("midr", "get"): "get_id_reg",
    ("midr", "v"): "get_id_reg",
}
#: Errnos that count alone: accepted or refused as the kernel said.
ERRNOS = {
    ("vls_vq17", "err"),
    ("vls_vq17", "vq512"),
    ("midr", "setsame"),
    ("midr", "setdiff"),
    ("feat", "err"),
    ("badid", "get"),
    ("badid", "set"),
    ("masks", "err"),
}
#: A recording, the record, what comes before it, and how many answers the kernel accepted and refused.
Cut = tuple[str, Record, list[Record], int, int]
CUTS: dict[str, Cut] = {
    "a capability": (MAX, first(MAX, '{"t":"cap"', '"vm":52'), [], 1, 0),
    "no capability": (MAX, first(MAX, '{"t":"cap"', '"vm":0'), [], 0, 1),
    "no masks": (OLD, first(OLD, '{"t":"masks"'), [], 0, 1),
    "a mask": (MAX, first(MAX, '{"t":"mask"'), [], 1, 0),
    "wrong words of masks": (MAX, first(MAX, '{"t":"maskbad"'), [], 0, 1),
    "no feature": (MAX, first(MAX, '{"t":"feat","bit":11'), [], 0, 1),
    "32 bits": (MAX, first(MAX, '{"t":"feat","bit":1,'), [], 1, 0),
    "pointer authentication": (MAX, first(MAX, '{"t":"feat","bits"'), [], 1, 0),
    "half of it": (MAX, first(MAX, '{"t":"feat","bit":5'), [], 0, 1),
    "how many registers": (MAX, first(MAX, '{"t":"reglist","cfg":"base"'), [], 2, 0),
    "how many registers with SVE": (MAX, first(MAX, '{"t":"reglist","cfg":"sve"'), [], 2, 0),
    "a register": (MAX, first(MAX, '{"t":"reg","cfg":"base","id":"603000000013c020"'), [], 1, 0),
    "a vector": (MAX, first(MAX, '{"t":"reg","cfg":"sve","id":"6080000000150000"'), [], 1, 0),
    "a register that is not there": (
        MAX,
        {"t": "reg", "cfg": "base", "id": "603000000013ffff", "err": 2, "le": ""},
        [],
        0,
        1,
    ),
    "a bad id": (MAX, first(MAX, '{"t":"badid"'), [], 0, 2),
    "no SVE to finalize": (MAX, first(MAX, '{"t":"finalize_nosve"'), [], 0, 1),
    "SVE": (MAX, first(MAX, '{"t":"sve"'), [], 1, 0),
    "lengths": (MAX, first(MAX, '{"t":"vls"'), [], 1, 0),
    "before the lengths": (MAX, first(MAX, '{"t":"sve_prefin"'), [], 0, 1),
    "a run before the lengths": (MAX, first(MAX, '{"t":"run_prefin"'), [], 0, 1),
    "lengths that there are not": (MAX, first(MAX, '{"t":"vls_vq17"'), [], 0, 2),
    "lengths, set and final": (MAX, first(MAX, '{"t":"vls_set_def"'), [], 1, 0),
    "Z5": (MAX, first(MAX, '{"t":"z5rw"'), [], 1, 0),
    "P3": (MAX, first(MAX, '{"t":"p3rw"'), [], 1, 0),
    "FFR": (MAX, first(MAX, '{"t":"ffrrw"'), [], 1, 0),
    "an id of no vector": (MAX, first(MAX, '{"t":"sveid"'), [], 0, 2),
    "a longest length": (MAX, first(MAX, '{"t":"vlmax","vq":3'), [], 7, 0),
    "a longest length, Z0 alone": (
        MAX,
        {"t": "vlmax", "vq": 1, "set": 0, "z0": "5a" * 16 + "00" * 240},
        [],
        2,
        0,
    ),
    "the implementation's registers": (MAX, first(MAX, '{"t":"impcap"'), [], 1, 0),
    "what another vCPU reads": (MAX, first(MAX, '{"t":"vmwide"'), [], 1, 0),
    "a run": (MAX, RAN, [], 1, 0),
    "after a run": (MAX, first(MAX, '{"t":"afterrun"'), [RAN], 0, 3),
    "after a run of an older kernel": (OLD, first(OLD, '{"t":"afterrun"'), [RAN], 3, 0),
    "MIDR": (MAX, first(MAX, '{"t":"midr"'), [], 2, 1),
    "a register's digits": (MAX, first(MAX, '{"t":"idreg","cfg":"base","reg":"3_0_0_4_0"'), [], 28, 229),
    "a register that is not writable": (OLD, first(OLD, '{"t":"idreg","cfg":"base","reg":"3_0_0_0_0"'), [], 17, 240),
    "an implementation's digits": (MAX, first(MAX, '{"t":"idreg","cfg":"imp","reg":"3_0_0_0_0"'), [], 137, 120),
    "MPIDR": (MAX, first(MAX, '{"t":"idreg","cfg":"base","reg":"3_0_0_0_5"'), [], 257, 0),
    "no ID register": (
        MAX,
        {"t": "idreg", "cfg": "base", "reg": "3_0_0_0_1", "host": "0" * 16, "nib": [[2] * 16] * 16},
        [],
        1,
        256,
    ),
    "a value that is kept": (MAX, first(MAX, '{"t":"idw","cfg":"base","reg":"3_0_0_4_0"', '"err":0'), [], 1, 0),
    "a value that is refused": (MAX, first(MAX, '{"t":"idw","cfg":"base","reg":"3_0_0_4_0"', '"err":22'), [], 0, 1),
    "a value that is changed": (MAX, first(MAX, '{"t":"idw","cfg":"pmu"', '"w":"000000000f00000a"'), [], 1, 0),
}  # fmt: skip


def kinds(record: Record, before: list[Record]) -> set[str]:
    return {one["t"] for one in (FEAT, *before, record)}


@pytest.mark.parametrize("name", CUTS)
def test_whatever_answer_is_another_disagrees(name: str) -> None:
    """At its record alone, as an answer that the kernel gave: accepted or refused."""
    recording, record, before, accepted, refused = CUTS[name]
    header = [first(recording, '{"t":"uname"'), FEAT, *before]
    agreement = asked(recording, *header, record)
    assert agreement.disagreements == []
    assert agreement.not_asked == {}
    assert agreement.by_answer == {
        "accepted": [accepted + 1 + len(before)] * 2,
        "refused": [refused] * 2,
    }
    assert set(agreement.by_kind) == kinds(record, before)
    others = list(answers(record, QUESTIONS.get(record["t"], set())))
    assert others
    for other in others:
        with contextlib.suppress(InputError):
            found = asked(recording, *header, other)
            assert found.disagreements, other
            assert {answer.kind for answer in found.disagreements} == {record["t"]}, other
            answer = found.disagreements[0]
            assert record["t"] == "idreg" or answer.record == text_of(other)
            (key,) = (key for key in record if record[key] != other[key])
            because = BECAUSE_OF.get((record["t"], key), BECAUSE.get(record["t"], answer.because))
            assert answer.because == because
            assert (record["t"], key) not in ERRNOS or answer.accepted == (not other[key])


def test_masks_that_are_not_listed_are_0() -> None:
    """192 entries: those of a list and, with KVM_ARM_GET_REG_WRITABLE_MASKS itself, the others."""
    listed = of_kind(MAX, "masks", "mask")
    header = [first(MAX, '{"t":"uname"'), FEAT]
    agreement = asked(MAX, *header, *listed)
    assert agreement.disagreements == []
    assert agreement.by_kind == {
        "feat": [1, 1],
        "masks": [1 + 192 - len(listed) + 1] * 2,
        "mask": [len(listed) - 1] * 2,
    }
    assert agreement.by_answer["refused"] == [0, 0]
    (found,) = asked(MAX, *header, *(one for one in listed if one.get("reg") != "3_0_0_4_0")).disagreements
    assert (found.kind, found.expected, found.accepted) == ("masks", "0" * 16, True)
    assert found.predicted == first(MAX, '{"t":"mask","reg":"3_0_0_4_0"')["mask"]
    assert found.because == "3_0_0_4_0 is not listed"
    (found,) = asked(MAX, *header, {"t": "masks", "err": 22}).disagreements
    assert (found.expected, found.predicted, found.accepted) == (22, 0, False)


def _hist(taken: int) -> list[Record]:
    return [{"t": "vls_hist", "err": 0, "n": taken}, {"t": "vls_hist", "err": 22, "n": 65536 - taken}]


def test_every_set_of_lengths_is_asked() -> None:
    """65,536 of them, and how many got which errno."""
    header, sets = [first(MAX, '{"t":"uname"'), FEAT], of_kind(MAX, "vls_ok", "vls_hist")
    agreement = asked(MAX, *header, *sets)
    assert agreement.disagreements == []
    assert agreement.by_answer == {"accepted": [17, 17], "refused": [65520, 65520]}
    assert agreement.by_kind == {"feat": [1, 1], "vls": [65536, 65536]}
    fewer = [one for one in sets if one.get("vqs") != "7"]
    (found,) = asked(MAX, *header, *fewer, *_hist(15)).disagreements
    assert found == ("vls", "vqs 7", False, True, False, "at least one vector length")
    more = [*sets, {"t": "vls_ok", "vqs": "5"}, *_hist(17)]
    agreement = asked(MAX, *header, *more)
    (found,) = agreement.disagreements
    assert found[:5] == ("vls", "vqs 5", True, False, True)
    assert "none hidden" in found.because
    assert agreement.by_answer == {"accepted": [17, 18], "refused": [65519, 65519]}
    for hist in ({"err": 1, "n": 1}, {"err": 22, "n": 65519}, {"err": 0, "n": 15}):
        (found,) = asked(MAX, *header, *sets, {"t": "vls_hist", **hist}).disagreements
        assert found[:2] == ("vls", "vls_hist")
        assert found.expected == {0: 16, 22: 65520} | {hist["err"]: hist["n"]}
        assert found.predicted == {0: 16, 22: 65520}
        assert (found.accepted, "at least one" in found.because) == (False, True)
    assert len(asked(MAX, *header, *sets[:-2]).disagreements) == 1, "sets without their count"
    assert len(asked(MAX, *header, *sets[-1:]).disagreements) == 17, "the count without sets"


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([{"t": "tea"}], "a record of the unknown kind 'tea'"),
        ([{"t": "leak", "n": 1}], "a record of the unknown kind 'leak'"),
        (
            [first(MAX, '{"t":"afterrun"'), RAN],
            "writes after a run that was not recorded",
        ),
        ([{"t": "vls_ok", "vqs": "1ffff"}], '"vqs": up to 4 hexadecimal digits'),
        ([{"t": "seq", "n": 0, "steps": [["get", 0, "603000000013c020", 0, ""]]}], "vCPU 0 was not created"),
        ([{"t": "seq", "n": 0, "steps": [["halt", 0]]}], "a step with its arguments and its answer"),
        ([{"t": "seq", "n": 0, "steps": [[]]}], "a step with its arguments and its answer"),
        ([{"t": "seq", "n": 0, "steps": ["nop"]}], "a step with its arguments and its answer"),
        ([{"t": "seq", "n": 0, "steps": [[7]]}], "a step with its arguments and its answer"),
        ([{"t": "seq", "n": 0, "steps": [["run", 0, 0]]}], "a step with its arguments and its answer"),
    ],
)
def test_what_is_not_understood_is_said(records: list[Record], told: str) -> None:
    with pytest.raises(InputError) as error:
        asked(MAX, first(MAX, '{"t":"uname"'), FEAT, *records)
    assert told in str(error.value)


def test_what_describes_the_recording_is_no_answer() -> None:
    found = asked(MAX, first(MAX, '{"t":"uname"'), FEAT, {"t": "api", "v": 12}, {"t": "cpuinfo", "l": "processor : 0"})
    assert (found.total, found.unasked) == (1, 0)


def test_on_a_host_that_the_file_shows_what_repeats_it_is_not_asked() -> None:
    """Whatever the values are: nothing of them can disagree, so nothing of them agrees."""
    records = [first(MAX, f'{{"t":"{kind}"') for kind in ("cap", "masks", "reg", "sve", "vls", "midr")]
    records += [first(MAX, '{"t":"mask","reg":"3_0_0_4_0"')]
    records += [first(MAX, '{"t":"idreg","cfg":"base","reg":"3_0_0_4_0"'), RAN, first(MAX, '{"t":"afterrun"')]
    asked_of_all = asked("f", first(MAX, '{"t":"uname"'), FEAT, *records)
    assert asked_of_all.disagreements == []
    assert asked_of_all.not_asked == {
        causes.RECALLED: dict.fromkeys(("feat", "cap", "mask", "reg", "sve", "vls", "midr", "idreg"), 1)
        | {"masks": 191},
        # Every value of MPAM but the one that guests see.
        causes.HIDDEN: {"idreg": 15},
    }
    assert asked_of_all.by_kind == {"run": [1, 1], "masks": [1, 1], "idreg": [241, 241], "afterrun": [3, 3]}


#: Sequences in which every operation is accepted, and refused with each errno that was recorded.
PLAYED = [(SEQUENCES, n) for n in (263, 111, 216, 0)] + [(OLDER_SEQUENCES, n) for n in (2, 180, 220, 33, 7)]


@pytest.mark.parametrize(("name", "number"), PLAYED)
def test_each_step_of_a_sequence_is_asked(name: str, number: int) -> None:
    """A step with another answer disagrees, and it alone: what follows hangs on what the machine did."""
    header, record = first(name, '{"t":"uname"'), first(name, f'{{"t":"seq","n":{number},')
    asked_of_all = asked(name, header, record)
    assert asked_of_all.disagreements == []
    steps = [step for step in record["steps"] if step[0] != "nop"]
    timed = sum(step[0] == "run" and step[3] == -4 for step in steps)
    assert asked_of_all.not_asked == ({causes.TIMER: {"seq run": timed}} if timed else {})
    assert asked_of_all.total == len(steps) - timed
    accepted, refused = {"list": 7, "run": 6}, {"run": -22}
    tried: set[object] = set()
    for at, step in enumerate(record["steps"]):
        result = {"get": 3, "get_vls": 2, "list": 2}.get(step[0], len(step) - 1)
        key = step[0], step[result]
        if step[0] == "nop" or key in tried or step[-1] == -4:
            continue
        tried.add(key)
        good = accepted.get(step[0], 0)
        other = changed(record, ("steps", at, result), refused.get(step[0], 22) if step[result] == good else good)
        found = asked(name, header, other)
        (answer,) = found.disagreements
        assert answer.kind == f"seq {step[0]}"
        assert answer.record.startswith(f"{number} step {at}: [")
        assert (answer.expected, answer.predicted) == (other["steps"][at][1:], step[1:])
        assert answer.accepted == (step[result] != good)
        assert found.by_answer["accepted"][1] == asked_of_all.by_answer["accepted"][1] + (1 if answer.accepted else -1)
