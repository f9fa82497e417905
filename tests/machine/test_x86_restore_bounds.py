"""Recorded restores of x86 vCPUs: each answer is asked, and what is not understood is told.

``verdicts/about.md`` tells what the recordings ``x86-restores-*`` are.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from inspector.machine.answer import NotAsked
from inspector.machine.verify import Agreement, verify
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import replay
from tests.machine.restores import NAMES, Record, answers, bench, recorded, wrong

#: By section and recording: how many answers are accepted, how many refused, how many not asked.
COUNTS = {
    "host": ((526, 372, 1), (350, 433, 1), (546, 365, 19)),
    "cpuid": ((283, 269, 0), (170, 8, 0), (151, 6, 0)),
    "arun": ((10, 34, 1), (44, 0, 1), (10, 34, 1)),
    "xsave": ((503, 773, 0), (538, 230, 0), (338, 690, 0)),
    "dbg": ((1052, 132, 0), (1052, 132, 0), (1052, 132, 0)),
    "mp": ((280, 416, 0), (100, 72, 0), (37, 135, 0)),
    "misc": ((182, 3894, 0), (138, 3931, 0), (782, 3413, 0)),
    "multi": ((15, 0, 0), (15, 0, 0), (15, 0, 0)),
    "restore": ((494, 30, 21), (162, 10, 7), (168, 12, 7)),
    "msr1": ((2195, 1373, 0), (1947, 1195, 0), (2295, 1775, 8)),
    "events": ((4805, 2939, 0), (906, 404, 0), (1036, 274, 0)),
    "nested": ((185, 251, 0), (181, 201, 0), (199, 233, 0)),
    "lapic": ((1363, 66, 0), (991, 34, 0), (991, 34, 0)),
    "mce": ((1266, 1904, 0), (1266, 1904, 0), (1266, 1904, 0)),
    "msr2": ((1442, 784, 1), (1232, 491, 1), (1729, 872, 1)),
    "sregs": ((2484, 1505, 0), (412, 217, 0), (240, 389, 0)),
    "hide": ((1390, 6871, 0), (1390, 6871, 0), (1280, 7403, 14)),
    "run": ((88, 11, 3), (5, 1, 1), (0, 0, 1)),
}
#: Kinds whose answers no check decides, or not always: a disagreement has no reason to tell.
WITHOUT_REASON = {
    "host": "msrlist featmsr_others tsckhz api supcpuid_small hverr mcecap",
    "misc": "tscctl clock guest_debug irqchip",
    "multi": "multires",
    "nested": "capnested getnested",
    "lapic": "base bits vals lapicmode",
    "mce": "mcgcap msr msrleak",
    "msr1": "msr msrleak",
    "msr2": "msr msrleak",
    "xsave": "base bits xsave2",
    "mp": "base bits mpseq",
    "events": "base nested_in_smm",
}
SECTIONS = tuple(COUNTS)
#: What of a record is an answer, by its kind, that is one wherever the kind is.
ANSWERS = {
    "api": "version mmap",
    "hverr": "sys vcpu",
    "xcomp_guest_supp": "e v",
    "sysattr": "v",
    "mcecap": "e v",
    "tsckhz": "vcpu_e vm_e vm",
    "supcpuid_small": "e nent",
    "emucpuid": "ent",
    "msrlist": "v",
    "featmsr_others": "ok",
    "getcpuid_fresh": "e nent nent_as_returned_for_300",
    "cpuid": "ent",
    "setcpuid": "e diff",
    "cpuidbits": "s",
    "cpuidbits_new": "s",
    "arcpuidbits": "s",
    "cpuid_d0": "s",
    "cpuid_del": "v",
    "cpuid_80000008": "s",
    "setcpuid1": "e ge gnent",
    "setcpuid_null": "e",
    "getcpuid_n": "e out",
    "runtime": "e ge diff",
    "runtime_set": "e diff",
    "sregs_osxsave": "e",
    "misc": "e",
    "xcr0sweep": "s one",
    "xcrs_nr": "e",
    "xcrs_case": "e ge nr v",
    "state": "e",
    "xsavefill": "e",
    "base": "e set_e same",
    "bits": "s rf",
    "vals": "s rf",
    "xstate_bv": "s",
    "xsave2": "cap e hdr",
    "mpseq": "e sregs ge now smm latch now2",
    "tscctl": "cap60",
    "settsckhz": "e eq_req eq_host",
    "clock": "ge flags cap",
    "setclock_flags": "s",
    "setclock": "e",
    "kvmclock_ctrl": "e",
    "guest_debug": "bit enable_and_bit",
    "guest_debug_pending": "db bp",
    "reglist": "e cap70",
    "onereg": "g b s",
    "irqchip": "ge e hex",
    "pit2": "create get set",
    "interrupt": "e nmi smi",
    "multi": "r",
    "multibad": "r",
    "multires": "r",
    "restore": "cpuid_e",
    "msr": "g b t c s f rf",
    "msrleak": "v",
    "encap": "e",
    "setupmce": "e",
    "mcgcap": "r v",
    "setmce": "e",
    "cr4pairs": "e rows",
    "cr0x": "s",
    "mtrrmask": "s0 s1 s2",
    "pdptr": "e ge gflags g",
    "pdptmem": "e ge gflags g",
    "evall": "e got",
    "in_smm": "set_sregs",
    "nested_in_smm": "ge hdr set",
    "getnested": "ge hdr size",
    "capnested": "size",
    "efer_svme": "e",
    "nest": "e ge got",
    "nestf": "e",
    "nestv": "e",
    "lapicmode": "e same id_set id_got ldr_set ldr_got",
    "mk_vcpu_id": "e ab sregs",
    "bat": "e cr4 efer cr3 apic xcr xbv dr6 dr7 nest set_e",
    "run": "set e exit port rip mp hw vector suberror ndata",
}
#: Answers that nobody compares: no table was set; the guest's RIP is not known; time, and what the emulator loses.
NOT_COMPARED = {"restore": 1, "run": 1, "onereg": 9}
#: Answers within a table of a record: the section, the kind, and the way to the first of them.
WITHIN = (
    ("host", "supcpuid", "ent", 1, 5),
    ("host", "hvcpuid", "ent", 0, 3),
    ("host", "featmsrs", "v", -1, 2),
    ("host", "caps", "v", "55"),
    ("host", "caps", "v", "errno"),
    ("cpuid", "setcpuid", "diff", 0, 4),
    ("cpuid", "cpuidbits", "x", 0, 1, 0, 4),
    ("xsave", "bits", "x", 0, 1, 0, 2),
    ("misc", "encaps", "v", "190"),
    ("misc", "encaps", "v", "121"),
    ("restore", "restore", "steps", 0, 1),
    ("restore", "restore", "steps", 6, 1),
    ("restore", "restore", "diff", "xsave", 0, 2),
    ("restore", "restore", "diff", "sregs", -1),
    ("restore", "restore", "badmsrs", 0),
    ("restore", "restore", "msrdiff", "ffffffff", 0),
    ("msr1", "msr", "x", 0, 1),
    ("msr2", "msrleak", "v", 0, 4),
    ("events", "evgrid", "rows", "101"),
    ("sregs", "bits", "x", 0, 1, 0, 2),
)


def agreed(name: str, section: str) -> Agreement:
    agreement = Agreement(name)
    for answer in answers(name, section, bench(name).sections[section]):
        agreement.add(answer)
    return agreement


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_agrees(name: str, section: str) -> None:
    found = agreed(name, section)
    assert found.disagreements == []
    accepted, refused, unasked = COUNTS[section][NAMES.index(name)]
    assert found.by_answer == {"accepted": [accepted, accepted], "refused": [refused, refused]}
    assert found.unasked == unasked
    assert "records of kinds that the machine does not know" not in found.not_asked


def changed(value: Any) -> Any:
    """Another answer of the same form."""
    if isinstance(value, list):
        return [*value[:-1], changed(value[-1])] if value else [["1", 1, "1", 1, "0"]]
    if isinstance(value, str):
        return value[:-1] + ("0" if value.endswith("1") else "1")
    return "0" if value is None else value + 1


def changed_at(record: Record, way: Sequence[str | int]) -> Record:
    """The record with the answer at the end of a way changed."""
    found = copy.deepcopy(record)
    within: Any = found
    for key in way[:-1]:
        within = within[key]
    within[way[-1]] = changed(within[way[-1]])
    return found


def has(record: Any, way: Sequence[str | int]) -> bool:
    try:
        for key in way:
            record = record[key]
    except (KeyError, IndexError):
        return False
    return True


def passes(records: Sequence[Record]) -> Iterator[tuple[list[Record], Counter[str]]]:
    """The records with an answer of each changed, those of a kind in turn; and how many of each kind are others."""
    for nth in range(max(len(keys.split()) for keys in ANSWERS.values())):
        found, counts = [], Counter[str]()
        for record in records:
            keys = [key for key in ANSWERS.get(record["op"], "").split() if key in record]
            if nth < len(keys):
                record = changed_at(record, [keys[nth]])
                counts[record["op"]] += 1
            found.append(record)
        if counts:
            yield found, counts


@pytest.mark.parametrize("section", SECTIONS)
def test_every_answer_of_a_record_is_asked(section: str) -> None:
    """One answer of each record is another: as many of the kind disagree, and no other kind does."""
    name = "intel-linux-7.2" if section == "misc" else "amd-linux-5.10"
    # Of the batteries two, which are the longest.
    for records, counts in passes(bench(name).sections[section][: 4 if section == "hide" else None]):
        found = wrong(answers(name, section, records))
        # A battery's answers are of the kind of their key.
        told = Counter("bat" if section == "hide" else answer.kind.removeprefix(f"{section}.") for answer in found)
        assert told.keys() - {"msrnone"} == counts.keys()
        silent = {answer.kind.removeprefix(f"{section}.") for answer in found if not answer.because}
        assert silent <= set(WITHOUT_REASON.get(section, "").split())
        assert all(told[kind] >= count - NOT_COMPARED.get(kind, 0) for kind, count in counts.items())


@pytest.mark.parametrize("way", WITHIN, ids=lambda way: " ".join(map(str, way)))
def test_every_answer_within_a_table_is_asked(way: Sequence[Any]) -> None:
    section, kind, *way = way
    for name in NAMES:
        records = bench(name).sections[section]
        at = next((at for at, record in enumerate(records) if record["op"] == kind and has(record, way)), -1)
        if at >= 0:
            other = [*records[:at], changed_at(records[at], way), *records[at + 1 :]]
            assert {answer.kind for answer in wrong(answers(name, section, other))} == {f"{section}.{kind}"}
            return
    raise AssertionError("no recording has it")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_kind_that_is_not_known_is_told(section: str) -> None:
    told = answers(NAMES[0], section, [{"op": "novel"}])
    assert NotAsked(f"{section}.novel", "records of kinds that the machine does not know", 1) in told
    assert sum(isinstance(answer, NotAsked) for answer in told) == 1


def test_what_is_in_no_known_section_is_told() -> None:
    records = [*recorded(NAMES[1])[:20], {"op": "end", "name": "host"}, {"op": "novel"}, {"op": "dmesg", "m": "x"}]
    records += [{"op": "section", "name": "of tomorrow"}, {"op": "mk"}, {"op": "mk"}, {"op": "end"}, {"op": "done"}]
    agreement = Agreement("f")
    for answer in replay(Bench("f", records)):
        agreement.add(answer)
    cause = "sections that the machine does not replay yet"
    assert agreement.not_asked[cause] == {"no section.novel": 1, "of tomorrow.mk": 2}


def test_a_whole_recording_agrees() -> None:
    found = verify(NAMES[1], [json.dumps(record).encode() for record in recorded(NAMES[1])])
    accepted, refused, unasked = (sum(counts[1][nth] for counts in COUNTS.values()) for nth in range(3))
    assert found.by_answer == {"accepted": [accepted, accepted], "refused": [refused, refused]}
    assert (found.total, found.unasked) == (accepted + refused, unasked)
    assert found.host == "amd, kernel 5.10, from bare CPUID"
