"""Recorded answers of x86 kernels: each of them is asked, and what is no answer is told."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inspector.capture.errors import InputError
from inspector.machine.answer import Answer, NotAsked
from inspector.machine.verify import verify
from inspector.machine.x86.host import shipped_cpu
from inspector.machine.x86.replay.records import hosted, replay
from inspector.machine.x86.replay.shapes import SHAPES
from layouts.kernels import UnknownReleaseError

VERDICTS = Path(__file__).parent / "verdicts"
Record = dict[str, Any]
AMX, SEQUENCES = "x86-amx-linux-7.2", "x86-amx-sequences-linux-7.2"
#: What of a record is an answer, by its kind.
ANSWERS = {
    "xgetbv": "xcr0",
    "prctl": "ret val",
    "amx": "sig code xinuse_before xinuse_after",
    "sigaltstack": "err",
    "kvmcaps": "xsave2 xsave xcrs guest_supp_err guest_supp",
    "vmcap": "xsave2",
    "kvmcpuid": "r",
    "setcpuid": "err",
    "setxcr0-before-cpuid": "7 e7 1 0 3 602e7",
    "msr": "xfd_ret xfd err_ret xfd_err",
    "xcr0sweep": "ok hist",
    "setmsr": "xfd xfd_now xfd_err xfd_err_now xss xss_now",
    "g_xsetbv": "res xcr0",
    "g_xsetbv_idx1": "res",
    "g_wrmsr": "xsetbv xfd rd xfd_now xfd_err rd2 xfd_err_now",
    "g_amx": "xsetbv wrmsr ldtilecfg xgetbv1 xinuse1 tilezero xinuse2 rd_err xfd_err host_xfd_err host_xfd "
    "tilezero_after_clear tilerelease xinuse3",
    "g_noosxsave": "xgetbv xsetbv tilezero",
    "getxsave2": "err size",
    "getxsave": "err",
    "setxsave": "err bv_after",
    "xfd-then-setxsave": "setmsr set bv_after same",
    "xcr0=7-then-setxsave": "setxcr bv set",
}
#: Bit 17 of XINUSE is predicted; those below were the recorder's own.
TILE = 1 << 17


@cache
def recorded(name: str, *, brief: bool = True) -> tuple[Record, ...]:
    """A recording; of XCR0's sweeps the three lowest bits."""
    lines = gzip.decompress((VERDICTS / f"{name}.jsonl.gz").read_bytes()).splitlines()
    found = [json.loads(line) for line in lines]
    for record in found if brief else ():
        if record["t"] == "xcr0sweep":
            record |= {"bits": [0, 1, 2], "ok": ["1", "3", "7"], "hist": {"0": 3, "22": 5}}
    return tuple(found)


def answers(records: Sequence[Record]) -> list[Answer | NotAsked]:
    return list(replay(hosted(records), records))


def wrong(records: Sequence[Record]) -> list[Answer]:
    return [answer for answer in answers(records) if isinstance(answer, Answer) and not answer.agrees]


def changed(value: Any, bit: int = 1) -> Any:
    """Another answer of the same form."""
    if isinstance(value, list):
        return [*value[:-1], changed(value[-1])]
    if isinstance(value, dict):
        return {**value, "0": value["0"] + 1}
    return f"{int(value, 16) ^ bit:x}" if isinstance(value, str) else value + 1


def passes(records: Sequence[Record]) -> Iterator[list[tuple[Record, Record]]]:
    """The records with an answer of each changed, those of a kind one after the other; with the ones that they were."""
    for nth in range(max(len(keys.split()) for keys in ANSWERS.values())):
        found = []
        for record in records:
            keys = [key for key in ANSWERS.get(record["t"], "").split() if key in record]
            if nth < len(keys):
                key = keys[nth]
                bit = TILE if key.startswith("xinuse_") else 1
                found.append(({**record, key: changed(record[key], bit)}, record))
            else:
                found.append((record, record))
        yield found


def test_a_recording_agrees() -> None:
    """As many answers as there are, each in its words; one bare CPU has AMX, the other has not."""
    for name, accepted, refused in ((AMX, 379, 285), ("x86-skylake_x-linux-6.12", 191, 465)):
        found = answers(recorded(name))
        assert {type(answer) for answer in found} == {Answer}
        assert wrong(recorded(name)) == []
        counts = Counter(answer.accepted for answer in found if isinstance(answer, Answer))
        assert (counts[True], counts[False]) == (accepted, refused)


def test_every_answer_of_a_record_is_asked() -> None:
    """One answer of each record is another: that one disagrees, and no other does."""
    # The first VM, which has no permission for tiles, is as the second.
    records = [
        each for each in recorded(AMX) if each["t"] in ("prctl", "amx", "kvmcaps") or each.get("ctx") != "noperm"
    ]
    assert wrong(records) == []
    assert {record["t"] for record in records} > ANSWERS.keys()
    for pairs in passes(records):
        # The unchanged image tells what the guest had put there: it is no answer.
        pairs = [
            (was, was) if was.get("case") == "asis" and now["bv_after"] != was["bv_after"] else (now, was)
            for now, was in pairs
        ]
        told = {answer.record for answer in wrong([now for now, _ in pairs])}
        missing = [now for now, was in pairs if now is not was and not any(_is_of(text, now) for text in told)]
        assert missing == []
        assert len(told) <= sum(now is not was for now, was in pairs)


def _is_of(text: str, record: Record) -> bool:
    return json.dumps(record, separators=(",", ":")).startswith(text.removesuffix("…"))


def test_what_the_unchanged_image_tells_is_seen_in_the_changed_ones() -> None:
    records = [{**each, "bv_after": "202"} if each.get("case") == "asis" else each for each in recorded(AMX)]
    assert {answer.kind for answer in wrong(records)} == {
        "setxsave",
        "xfd-then-setxsave",
        "xcr0=7-then-setxsave",
    }


def test_every_step_of_a_sequence_is_asked() -> None:
    records = [recorded(SEQUENCES)[0], *recorded(SEQUENCES)[100:140]]
    assert {record.get("ctx") for record in records} == {None, "noperm", "perm"}
    steps = sum(len(record.get("steps", ())) for record in records)
    found = answers(records)
    assert wrong(records) == []
    assert Counter(answer.accepted for answer in found if isinstance(answer, Answer)) == {True: 661, False: 1019}
    assert {answer.kind for answer in found} == {step[0] for record in records for step in record.get("steps", ())}
    assert all(answer.because for answer in found if isinstance(answer, Answer) and not answer.accepted)
    other = [
        {**record, "steps": [[*step[:-1], changed(step[-1])] for step in record["steps"]]}
        if "steps" in record
        else record
        for record in records
    ]
    # What a read that faulted left in its register is no answer.
    faulted = sum(
        step[0] in ("g_rdmsr", "g_xgetbv") and step[2] != 100 for record in records for step in record.get("steps", ())
    )
    assert len(wrong(other)) == steps - faulted


@pytest.mark.parametrize("kind", ["novel", "cap", "g_halt"])
def test_a_kind_that_is_not_known_is_told(kind: str) -> None:
    found = answers([recorded(AMX)[0], {"t": kind}])
    assert found == [NotAsked(kind, "records of kinds that the machine does not know", 1)]


def test_what_describes_the_host_is_no_answer() -> None:
    described = [record for record in recorded(AMX) if record["t"] not in ANSWERS]
    assert {record["t"] for record in described} == {"uname", "cpuid", "cpuinfo", "insmod", "kvm", "sregs", "child"}
    assert answers(described) == []


def lines(records: Iterable[Record]) -> list[bytes]:
    return [json.dumps(record).encode() for record in records]


UNAME = {"t": "uname", "release": "7.2.13"}


@pytest.mark.parametrize("given", [{"zz": 22}, {"7": "22"}, {"7": None}, {"-7": 0}])
def test_an_xcr0_that_is_none(given: Record) -> None:
    record = {"t": "setxcr0-before-cpuid", "ctx": "noperm", **given}
    with pytest.raises(InputError, match="setxcr0-before-cpuid"):
        verify("f", lines([UNAME, record]))


def test_an_accepted_xcr0_beside_the_swept_bits_is_asked() -> None:
    """AVX-512 without AVX."""
    sweep = {"t": "xcr0sweep", "ctx": "noperm", "bits": [0, 1], "ok": ["1", "3", "e3"]}
    supported = {"t": "setcpuid", "ctx": "noperm", "with": "supported", "err": 0}
    (answer,) = wrong([UNAME, supported, sweep])
    assert (answer.expected, answer.predicted, answer.accepted) == (True, False, True)
    assert answer.because.startswith("0xe3: ")


SILICON = "x86-silicon-linux-6.18"
BRAND: Record = {"t": "cpuid", "leaf": 0x80000002, "sub": 0, "r": [1, 0, 0, 0]}
LEAF: Record = {"t": "cpuid", "leaf": 0xD, "sub": 0, "r": [7, 832, 832, 0]}


@pytest.mark.parametrize(
    ("records", "emulated"),
    [
        ([UNAME, LEAF], True),
        ([UNAME, LEAF, BRAND], False),
        ([UNAME, LEAF, {**BRAND, "r": [0, 0, 0, 0]}], True),
        ([UNAME, {"t": "prog"}], False),
        ([UNAME, {"t": "ptrace"}], False),
        ([UNAME, {"t": "seq"}], True),
    ],
)
def test_whose_processor_it_is(records: list[Record], emulated: bool) -> None:
    """Emulators give no brand string; programs were recorded on silicon alone."""
    assert hosted(records).emulated is emulated


def test_the_cpu_of_the_records() -> None:
    assert hosted([UNAME, LEAF]).cpuid.leaves == {(0xD, 0): (7, 832, 832, 0)}
    assert hosted([UNAME]).cpuid.leaves == shipped_cpu("sapphire-rapids").leaves
    assert hosted([UNAME, LEAF], "zen5").cpuid.leaves == shipped_cpu("zen5").leaves
    with pytest.raises(UnknownReleaseError):
        hosted([LEAF])


def test_a_module_that_no_kernel_org_kernel_has() -> None:
    """What it offers is the host, leaf by leaf, and no answer; what it offers another process is none either."""
    module = {"t": "kvmmodule", "name": "kvm_pvm"}
    bare = [LEAF, {**LEAF, "sub": 2, "r": [256, 576, 0, 0]}, {**LEAF, "leaf": 7, "r": [0, 1, 2, 3]}]
    offered = {"t": "kvmcpuid", "ctx": "noperm", "leaf": 0xD, "sub": 0, "r": [3, 576, 576, 0]}
    other = {**offered, "ctx": "perm", "r": [1, 2, 3, 4]}
    records = [UNAME, *bare, module, offered, other]
    assert hosted(records).cpuid.leaves == {(7, 0): (0, 1, 2, 3), (0xD, 0): (3, 576, 576, 0)}
    cause = "what a module of KVM offers that no kernel.org kernel has: the host is what it shows"
    assert answers(records) == [NotAsked("kvmcpuid", cause, 1)] * 2
    for name in ("kvm_intel", "kvm_amd"):
        known = [UNAME, *bare, {**module, "name": name}, offered, other]
        assert hosted(known).cpuid.leaves[0xD, 2] == (256, 576, 0, 0)
        assert {type(answer) for answer in answers(known)} == {Answer}
    assert hosted([UNAME, module]).cpuid.leaves == shipped_cpu("sapphire-rapids").leaves


def test_programs_are_replayed_among_the_others() -> None:
    records = [each for each in recorded(SILICON) if each["t"] in ("uname", "cpuid")]
    programs = [next(each for each in recorded(SILICON) if each["t"] == kind) for kind in ("prog", "ptrace")]
    found = answers([*records, *programs])
    assert wrong([*records, *programs]) == []
    assert [answer.kind for answer in found].count("end") == 2
    assert {"start", "ptrace get"} <= {answer.kind for answer in found}


def test_a_changed_image_before_the_unchanged_one() -> None:
    """The image is then what the vCPU has, of which the record of a changed one tells nothing."""
    records = [each for each in recorded(AMX) if each.get("ctx") != "perm" and each.get("case", "asis") != "asis"]
    records = [each for each in recorded(AMX) if each["t"] in ("uname", "cpuid")] + records
    found = [answer for answer in answers(records) if answer.kind == "setxsave"]
    assert len(found) == 14
    assert [answer.expected[0] for answer in found] == [answer.predicted[0] for answer in found]  # type: ignore[index, union-attr]


def test_a_step_of_arch_prctl_that_is_none() -> None:
    record = {"t": "prctl", "ctx": "fresh", "op": "BAD", "ret": 0}
    (answer,) = wrong([UNAME, record])
    assert (answer.expected, answer.predicted, answer.accepted, answer.because) == (0, -22, True, "no such operation")
    (answer,) = answers([UNAME, {**record, "ret": -22}])
    assert isinstance(answer, Answer)
    assert not answer.accepted


@pytest.mark.parametrize("step", [[], [5], [["set_xcr0"]], "set_xcr0", ["novel", "7", 0], None])
def test_a_step_of_a_sequence_that_is_none(step: object) -> None:
    with pytest.raises(InputError, match="a step with its arguments and its answer"):
        verify("f", lines([UNAME, {"t": "seq", "ctx": "perm", "n": 0, "steps": [step]}]))


def test_a_sweep_of_at_most_16_bits() -> None:
    """2^16 answers; each bit once."""
    holds = SHAPES["xcr0sweep"]["bits"].holds
    assert [holds(list(range(count))) for count in (0, 16, 17)] == [True, True, False]
    assert not holds([1, 1])


# What a record leaves behind


def amx(*kinds: str) -> list[Record]:
    """The records of the process that may use tiles, up to the first of the last kind, and no kinds but these."""
    found = [each for each in recorded(AMX) if each["t"] in ("uname", "cpuid")]
    for each in recorded(AMX):
        if each.get("ctx") == "perm" and each["t"] in ("prctl", "kvmcaps", *kinds):
            found.append(each)
            if each["t"] == kinds[-1]:
                break
    return found


def test_xfd_err_is_zero_again() -> None:
    """TILEZERO with XFD armed raises #NM; the recorder clears both MSRs before it tries again."""
    setup = [each for each in amx("setcpuid", "g_amx") if each["t"] != "g_amx"]
    guest = next(each for each in recorded(AMX) if each["t"] == "g_amx" and each["tilezero"] == 7)
    state = {"t": "msr", "ctx": "perm", "xfd_ret": 1, "xfd": "0", "err_ret": 1, "xfd_err": "0"}
    found = [each for each in answers([*setup, {**guest, "ctx": "perm"}, state]) if each.kind == "msr"]
    assert [each.agrees for each in found if isinstance(each, Answer)] == [True]


def test_osxsave_is_set_again() -> None:
    setup = [each for each in amx("setcpuid", "g_noosxsave") if each["t"] != "setcpuid"]
    supported = {"t": "setcpuid", "ctx": "perm", "with": "supported", "err": 0}
    again = {"t": "g_xsetbv", "ctx": "perm", "val": "3", "res": 100, "xcr0": "3"}
    assert wrong([*setup[:-1], supported, setup[-1], again]) == []


def test_a_read_that_faulted_on_one_side() -> None:
    """Its value is no answer then: RDMSR executed here, and #GP is told to have been raised."""
    supported = {"t": "setcpuid", "ctx": "noperm", "with": "supported", "err": 0}
    record = {"t": "g_wrmsr", "ctx": "noperm", "xcr0": "3", "val": "0", "xsetbv": 100}
    record |= {"xfd": 100, "rd": 13, "xfd_now": "0", "xfd_err": 100, "rd2": 100, "xfd_err_now": "0"}
    uname, *leaves = [each for each in recorded(AMX) if each["t"] in ("uname", "cpuid")]
    (answer,) = wrong([uname, *leaves, supported, record])
    assert (answer.expected, answer.predicted, answer.accepted) == (13, 100, False)


def test_xcr0_of_avx_before_a_table() -> None:
    """KVM_SET_XCRS writes XCR0, of which no table shows AVX yet (kvm_set_xcr: guest_supported_xcr0)."""
    record = {"t": "xcr0=7-then-setxsave", "ctx": "noperm", "setxcr": 22, "bv": "0", "set": 0}
    (answer,) = answers([UNAME, record])
    assert isinstance(answer, Answer)
    assert (answer.expected, answer.predicted) == ([22, "0", 0], [22, "0", 0])
