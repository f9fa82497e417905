"""The states that recorded restores put a vCPU in before they ask: by the recorder's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inspector.machine.answer import Answer, NotAsked
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.verify import verify
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.replay.restore import misc
from inspector.machine.x86.replay.restore.bench import Bench
from inspector.machine.x86.replay.restore.replay import replay
from inspector.machine.x86.replay.restore.tables import find
from tests.machine.restores import MADE, NAMES, PLAIN, answers, bench, ran, recorded, wrong

AMD, OLD, INTEL = NAMES


def entry(vcpu: WholeVcpu, leaf: int) -> Entry:
    found = find(vcpu.guest.entries, leaf)
    assert found is not None
    return found


def supported(leaf: int) -> Entry:
    found = find(bench(AMD).tables.supported, leaf)
    assert found is not None
    return found


def test_code_and_stack_of_the_guest() -> None:
    """OUT to port 0x11 and HLT, in 2 MiB."""
    vcpu = ran("plain long mode")
    memory = vcpu.vm.memory
    assert (memory[0xFFFF:0x10004], len(memory)) == (b"\0\xe6\x11\xf4\0", 0x200000)
    regs = vcpu.regs.get()
    assert [int.from_bytes(regs[at : at + 8], "little") for at in (48, 128, 136)] == [0x20000, 0x10000, 2]
    assert len(regs) == 144
    assert vcpu.efer == 0x500


@pytest.mark.parametrize(
    ("word", "entry"),
    [("PAE paging, pdpte reserved bit", 0x3007), ("PAE paging, pdpte ok", 0x3001), ("plain long mode", 0x3001)],
)
def test_a_pdpte_in_memory(word: str, entry: int) -> None:
    assert int.from_bytes(ran(word).vm.memory[0x8000:0x8008], "little") == entry


def test_smep_and_a_table_without_it() -> None:
    vcpu = ran("SMEP/SMAP set, then CPUID min")
    assert vcpu.cr4 == 0x620 | 1 << 20
    assert [each.leaf for each in vcpu.guest.entries] == [0, 1, 0x80000000, 0x80000001]


def test_xcr0_and_a_table_without_xsave() -> None:
    vcpu = ran("osxsave in cr4, xcr0=7, then CPUID without XSAVE")
    assert (vcpu.cr4, vcpu.xcr0) == (0x620 | 1 << 18, 7)
    assert entry(vcpu, 1).ecx | 1 << 27 == supported(1).ecx & ~(1 << 26 | 1 << 28) | 1 << 27
    assert len(vcpu.guest.entries) == len(bench(AMD).tables.supported)


def test_a_table_without_long_mode() -> None:
    vcpu = ran("sregs long mode, then CPUID without LM")
    assert entry(vcpu, 0x80000001).edx == supported(0x80000001).edx & ~(1 << 29)
    assert len(vcpu.guest.entries) == len(bench(AMD).tables.supported)


def test_a_narrow_guest() -> None:
    vcpu = ran("phys width 32, cr3 in memory")
    assert entry(vcpu, 0x80000008).eax == supported(0x80000008).eax & ~0xFF | 32
    assert len(vcpu.guest.entries) == len(bench(AMD).tables.supported)


def test_no_table_at_all() -> None:
    vcpu = ran("no CPUID at all, long mode")
    assert (vcpu.guest.entries, vcpu.vm.irqchip, vcpu.efer) == ((), 1, 0x500)


def test_what_kvm_run_is_not_asked() -> None:
    found = answers(INTEL, "run", [MADE, PLAIN, PLAIN])
    cause = "KVM_RUN on kvm-intel and kvm-pvm"
    assert found == [NotAsked("run.run", cause, 1), NotAsked("run.run", cause, 1)]
    found = answers(AMD, "run", [MADE, {**PLAIN, "w": "mp_state 4"}])
    assert found == [NotAsked("run.run", "code at address 0, which the recorder left there", 1)]


# Frequencies

HOST_KHZ = 2_100_000


@pytest.mark.parametrize(
    ("word", "asked"),
    [
        ("0", 0),
        ("same", HOST_KHZ),
        ("x2", 4_200_000),
        ("/2", 1_050_000),
        ("1", 1),
        ("2^31", 0x80000000),
        ("2^32-1", 0xFFFFFFFF),
        ("2^32", 0x100000000),
        ("+10%", 2_310_000),
        ("-10%", 1_890_000),
        ("+250ppm", 2_100_525),
        ("-249ppm", 2_099_478),
    ],
)
def test_a_frequency_by_its_word(word: str, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def taken(_vcpu: object, khz: int) -> Outcome:
        calls.append(khz)
        return Rule("").ok()

    monkeypatch.setattr(misc.clock, "set_tsc_khz", taken)
    record = {"op": "settsckhz", "fd": "vcpu", "w": word, "e": 0, "eq_req": 1, "eq_host": 1}
    (answer,) = answers(AMD, "misc", [{**MADE, "x": ""}, record])
    # Afterwards the recorder sets the host's again.
    assert calls == [asked, HOST_KHZ]
    assert isinstance(answer, Answer)
    assert answer.record == f"vcpu {word}"
    # The vCPU has the host's, to which what was asked is compared as an int.
    assert answer.predicted == [0, int(asked & 0xFFFFFFFF == HOST_KHZ), 1]


# Sections


def test_a_section_of_its_own() -> None:
    """Each has its replay: restores of other hosts' captures, and machine checks beside sweeps of MSRs."""
    host = [{"op": "section", "name": "host"}, *bench(AMD).sections["host"], {"op": "end"}]
    foreign = [{"op": "section", "name": "foreign"}, {"op": "foreign", "from": "x"}, {"op": "restore"}, {"op": "end"}]
    found = list(replay(Bench("f", [*host, *foreign])))
    assert found[-1] == NotAsked("foreign.restore", "captures that are not there", 1)
    names: list[str] = []

    def captured(name: str) -> None:
        names.append(name)

    assert list(replay(Bench("f", [*host, *foreign]), captured)) == found
    assert names == ["x"]
    sweep = {"op": "msr", "i": "10", "g": 1}
    assert answers(AMD, "mce", [sweep]) == [NotAsked("mce.msr", "sweeps that the recording does not finish", 1)]


def test_a_borrowed_host_has_no_answers_of_the_file() -> None:
    """The sections behind it are the file's."""
    lines = [json.dumps(record).encode() for record in recorded(OLD)]
    names = [json.loads(line).get("name") for line in lines]
    dbg, end = names.index("dbg"), len(names) - 1 - names[::-1].index("dbg")
    file = [lines[0], *lines[dbg : end + 1]]
    borrowing = verify("f", file, host=lines)
    assert {kind.split(".")[0] for kind in borrowing.by_kind} == {"dbg"}
    assert borrowing.agree == borrowing.total > 100
    assert borrowing.host == "amd, kernel 5.10, from bare CPUID"


def test_a_machine_check_by_its_words() -> None:
    made: list[Any] = [{**MADE, "x": "mce"}, {"op": "setmce", "bank": 10, "status": "8000000000000000", "e": 0}]
    (answer,) = wrong(answers(AMD, "mce", made))
    assert (answer.expected, answer.predicted, answer.accepted) == (0, 22, True)
    made[1] = {"op": "setmce", "bank": 0, "status": "8000000000000000", "e": 22}
    (answer,) = wrong(answers(AMD, "mce", made))
    assert (answer.expected, answer.predicted, answer.accepted) == (22, 0, False)
