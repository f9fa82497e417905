"""Recorded ioctls on a vCPU or a VM: what is asked with each, and what is told where an answer is another."""

from __future__ import annotations

import pytest

from inspector.machine.answer import Agreed, Answer, NotAsked
from inspector.machine.x86.kvm.msrs.access import read
from inspector.machine.x86.replay.restore import hidden_msrs, hide
from tests.machine.restores import NAMES, Record, answers, bench, wrong

AMD, OLD, INTEL = NAMES
MADE: Record = {"op": "mk", "irq": 1, "cpuid": "sup", "x": ""}
STAR, PAT = 0xC0000081, 0x277


def told(name: str, named: str, *records: Record) -> list[tuple[object, ...]]:
    """What disagrees, with whether a check is named."""
    return [
        (each.record, each.expected, each.predicted, each.accepted, bool(each.because))
        for each in wrong(answers(name, named, records))
    ]


# Batteries


def test_a_register_that_reads_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hide, "_same_registers", lambda *_: False)
    assert set(hide.sregs_battery(bench(AMD).fresh(1, "sup"))["cr3"]) == {"x", "i"}


@pytest.mark.parametrize(
    ("cpuid", "refused", "code"), [("sup-7.0.ebx.20", 22, 0), ("", 22, 0), ("sup+80000008.0.eax.15", 0, 22)]
)
def test_a_table_that_one_side_takes_has_no_battery(cpuid: str, refused: int, code: int) -> None:
    records: list[Record] = [{"op": "bat", "cpuid": cpuid, "set_e": refused, "cr4": "0"}]
    (answer,) = hide.replay(bench(AMD), records)
    assert isinstance(answer, Answer)
    assert (answer.kind, answer.expected, answer.predicted) == ("hide.set_e", refused, code)
    assert answer.accepted is (refused == 0)
    assert bool(answer.because) is (cpuid != "")


def test_a_battery_that_is_another_tells_its_characters() -> None:
    records: list[Record] = [dict(each) for each in bench(AMD).sections["hide"] if each["op"] in ("batvals", "bat")][:2]
    same: Record = {"op": "batsame", "v": ["sup-7.0.ebx.20"]}
    (answer,) = [each for each in wrong(answers(AMD, "hide", [*records, same])) if each.kind == "hide.cr4"]
    assert len(answer.because) == 64
    assert answer.because[21] == "i"


def msrs(name: str, values: list[str], row: dict[str, list[str]]) -> list[Answer | Agreed | NotAsked]:
    """The answers of MSRs of the supported table alone."""
    records: list[Record] = [{"op": "batvals", "q": values}, {"op": "bat", "cpuid": "sup", "msr": row}]
    return list(hidden_msrs.replay(bench(name), records))


def test_values_of_an_msr_are_hexadecimal() -> None:
    """Every byte of IA32_PAT is a memory type: 6 is write-back, 5 write-protected."""
    assert msrs(AMD, ["606", "505"], {f"{PAT:x}": ["0", "7040600070406"]}) == [Agreed("hide.msr", 5, 0)]


def test_an_msr_that_takes_its_own_value_alone() -> None:
    """IA32_VMX_BASIC is restored to what KVM offers; 0 and 1 are no revision of its VMCS (vmx_restore_vmx_basic)."""
    base = f"{read(bench(INTEL).fresh(1, 'sup'), 0x480):x}"
    assert msrs(INTEL, ["0", "1"], {"480": ["0rr0", base]}) == [Agreed("hide.msr", 3, 2)]


def test_an_msr_that_cannot_be_read() -> None:
    """IA32_PRED_CMD takes 0 anywhere, IBPB where the host has it (kvm_set_msr_common); unread, its own value is 0."""
    assert msrs(AMD, ["0", "1"], {"49": ["rgrg", "0"]}) == [Agreed("hide.msr", 3, 2)]


def test_an_msr_has_its_value_again() -> None:
    vcpu = bench(AMD).fresh(1, "sup")
    hidden_msrs.battery(vcpu, {STAR: ("", "")}, (5,), {STAR: 7})
    assert read(vcpu, STAR) == 0


def test_values_that_an_emulator_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_msrs, "is_lost", lambda *_: True)
    found = msrs(AMD, ["0"], {f"{STAR:x}": ["0", "0"], f"{PAT:x}": ["0", "0"]})
    assert found[0] == Agreed("hide.msr", 0, 0)
    assert [each.answers for each in found if isinstance(each, NotAsked)] == [2]


# KVM_SET_MP_STATE, KVM_SET_IRQCHIP


def test_each_step_after_an_mp_state_tells_its_check() -> None:
    """A vCPU that waits for SIPI does not enter SMM before 6.17 (kvm_vcpu_ioctl_x86_set_vcpu_events)."""
    sequence = {"op": "mpseq", "mp": 2, "e": 22, "sregs": 22, "ge": 0, "now": 0, "smm": 0, "latch": 22, "now2": 7}
    assert told(AMD, "mp", MADE, sequence) == [
        ("mp_state 2", 22, 0, False, True),
        ("mp_state 2, SREGS", 22, 0, True, True),
        ("mp_state 2, GET", [0, 0], [0, 2], True, False),
        ("mp_state 2, SMM", 0, 22, True, True),
        ("mp_state 2, INIT", 22, 0, False, True),
        ("mp_state 2, GET after INIT", 7, 0, True, False),
    ]


def test_a_chip_that_there_is_not() -> None:
    assert told(AMD, "misc", MADE, {"op": "irqchip", "id": 3, "ge": 0, "e": 0, "hex": "00"}) == [
        ("chip 3", [0, 0], [22, 22], True, True),
        ("chip 3 fresh", "00", "", True, False),
    ]
