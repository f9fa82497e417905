"""What is written for a record of a recorded restore, and what is told where the machine answers otherwise."""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from inspector.machine.answer import Agreed
from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import sregs, xcrs, xsave
from inspector.machine.x86.kvm.pending import PendingEvents, VcpuEvents
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.kvm.xsave import get_fpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.batteries import dr_battery, nest_battery
from inspector.machine.x86.replay.restore.replay import sections
from inspector.machine.x86.replay.restore.structures import STRUCTS
from tests.machine.restores import MADE, NAMES, Record, answers, bench, told, wrong

AMD, OLD, INTEL = NAMES
TAKEN = Outcome("ok", 0, (), "")
LONG: Record = {"op": "state", "st": "long", "e": 0}
NO_EVENTS: Record = {"op": "base", "st": "kvm_vcpu_events", "state": "long", "hex": bytes(64).hex()}


def lost(images: list[bytes]) -> Callable[..., Outcome]:
    """A KVM that takes every structure and keeps nothing of it."""
    return lambda _vcpu, image, **_more: images.append(image) or TAKEN  # type: ignore[func-returns-value]


def after(section: str, *records: Record) -> WholeVcpu:
    made = bench(AMD)
    list(sections()[section](made, records))
    return made.vcpu


def words(image: bytes) -> list[int]:
    return [int.from_bytes(image[at : at + 8], "little") for at in (states.CR0, states.CR4, states.EFER)]


# SREGS


@pytest.mark.parametrize(
    ("word", "efer", "cr3"), [("cr0 cross product", 0x500, 0x1000), ("sregs2 pae pdptrs valid", 0, 0x8000)]
)
def test_the_state_that_a_vm_begins_in(word: str, efer: int, cr3: int) -> None:
    vcpu = after("sregs", {**MADE, "x": word})
    assert (vcpu.efer, vcpu.cr3) == (efer, cr3)


def test_control_registers_that_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[bytes] = []
    monkeypatch.setattr(sregs, "set_sregs", lost(images))
    crossed = {"op": "cr0x", "bits": [0, 31], "efer": "501", "cr4": "610", "cs_l": 1, "cs_db": 1, "s": "iiii"}
    found = wrong(answers(AMD, "sregs", [MADE, crossed]))
    assert "".join(each.predicted for each in found) == "xxxx"
    values = (0, 1, 1 << 31, 1 << 31 | 1)
    assert [words(image) for image in images[:4]] == [[value, 0x610, 0x501] for value in values]
    assert {(image[17], image[18], image[19]) for image in images[:4]} == {(1, 1, 1)}
    images.clear()
    pairs = {"op": "cr4pairs", "state": "long", "base": "610", "e": 0, "rows": ["i" * 34] * 2}
    found = wrong(answers(AMD, "sregs", [MADE, pairs]))
    assert "".join(each.predicted for each in found) == "x" * 68
    written = [words(image)[1] for image in images[1:]]
    flips = [{one, two} for one in range(2) for two in range(34)]
    assert written[::2] == [0x610 ^ sum(1 << bit for bit in bits) for bits in flips]


def test_pdptes_and_flags_with_their_last_bit() -> None:
    top = f"{1 << 63 | 0x1001:x}"
    made = {**MADE, "x": "sregs2 pae pdptrs valid"}
    asked: Record = {"op": "pdptr", "flags": 1, "n": 1, "v": top, "e": -1, "ge": 0, "gflags": 1, "g": ""}
    refused = {**asked, "flags": 1 << 63, "v": "1"}
    in_memory = {**asked, "op": "pdptmem"}
    found = wrong(answers(AMD, "sregs", [made, asked, refused, in_memory]))
    assert [each.predicted for each in found] == [[0, 0, 1, top], [errno.EINVAL, 0, 1, "0"], [0, 0, 1, "3001"]]


# XSAVE


def test_xcr0_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: Record = {"op": "xcr0sweep", "bits": [0, 9], "s": "i0i0", "one": "00iiiiiii0" + "i" * 54}
    assert after("xsave", MADE, swept).xcr0 == 1
    assert wrong(answers(AMD, "xsave", [MADE, swept])) == []
    monkeypatch.setattr(xcrs, "set_xcrs", lost([]))
    found = wrong(answers(AMD, "xsave", [MADE, swept]))
    assert "".join(each.predicted for each in found) == "x" * 66


def test_when_registers_are_filled() -> None:
    """Before XCR0 of x87 alone is set; with other values they are as at reset; with the FPU structure, after it."""
    filled = bytes(range(256))
    for record, held in (
        ({"st": "x", "xcr0": "1"}, filled),
        ({"st": "x", "xcr0": "7"}, bytes(256)),
        ({"st": "fpu"}, filled),
    ):
        assert get_fpu(after("xsave", MADE, {"op": "state", "e": 0, **record}))[152:408] == held


def test_a_header_of_three_digits() -> None:
    state = {"op": "state", "st": "x", "xcr0": "207", "e": 0}
    assert wrong(answers(AMD, "xsave", [MADE, state, {"op": "xsavefill", "bv": "207", "e": 0}])) == []


def test_images_of_each_header(monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[bytes] = []
    monkeypatch.setattr(xsave, "set_xsave", lost(images))
    base = bytes(range(256)) * 16
    records = [
        {"op": "base", "st": "kvm_xsave", "state": "", "hex": base.hex()},
        {"op": "xstate_bv", "bits": [1], "s": "i"},
    ]
    found = wrong(answers(AMD, "xsave", [MADE, *records]))
    assert images == [base[:512] + bytes((bv, *bytes(7))) + base[520:] for bv in (0, 2)] + [base]
    assert {each.record for each in found[1:]} == {"XSTATE_BV [0]", "XSTATE_BV [1]"}


def test_xsave2_that_a_kernel_does_not_have() -> None:
    (answer,) = wrong(answers(OLD, "xsave", [MADE, {"op": "xsave2", "cap": 4096, "e": 0, "hdr": ""}]))
    assert (answer.record, answer.predicted[:2]) == ("KVM_GET_XSAVE2", [0, errno.EINVAL])
    assert answer.because


# Local APIC


@pytest.mark.parametrize("vcpu_id", [0, 5])
def test_modes_of_vcpus_with_other_ids(vcpu_id: int) -> None:
    """In turn disabled, xAPIC and x2APIC; the boot processor stays the one it was (MSR_IA32_APICBASE_BSP)."""
    record: Record = {"op": "mk_vcpu_id", "id": vcpu_id, "e": -1, "ab": "", "sregs": 0}
    bases = [0xFEE00000, 0xFEE00900, 0xFEE00D00, 0xFEE00000]
    found = wrong(answers(AMD, "lapic", [record] * 4))
    assert [each.record for each in found] == [f"vCPU id {vcpu_id}, apic_base {base:#x}" for base in bases]
    boot = 0 if vcpu_id else 0x100
    assert after("lapic", record).apic_base == bases[0] | boot


def test_a_local_apic_that_is_refused() -> None:
    """With KVM_CAP_X2APIC_API an id of x2APIC has to be the vCPU's (kvm_apic_state_fixup)."""
    records = [{"op": "mk_vcpu_id", "id": 5, "e": 0}, {"op": "encap", "cap": 129, "a0": 3, "e": 0}]
    moved = {"op": "lapicmode", "saved": "fee00800", "restored": "fee00c00", "e": 0, "same": 1}
    moved |= dict.fromkeys(("id_set", "id_got", "ldr_set", "ldr_got"), "")
    answer = wrong(answers(AMD, "lapic", [*records, moved]))[-1]
    assert (answer.kind, answer.predicted[0]) == ("lapic.lapicmode", errno.EINVAL)
    assert answer.because


def test_a_local_apic_that_there_is_not() -> None:
    swept = {"op": "base", "st": "kvm_lapic_state", "state": "", "hex": bytes(1024).hex(), "set_e": 0, "same": 1}
    found = wrong(answers(AMD, "lapic", [{**MADE, "irq": 0}, swept]))
    assert [each.predicted[0] for each in found][-1] == errno.EINVAL
    assert "local APICs" in found[-1].because


# KVM_SET_VCPU_EVENTS


def test_exceptions_of_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[bytes] = []
    take = PendingEvents.set
    monkeypatch.setattr(PendingEvents, "set", lambda self, image: images.append(image) or take(self, image))  # type: ignore[func-returns-value]
    base = {**NO_EVENTS, "hex": VcpuEvents(payload=7, has_payload=1).image().hex()}
    grid: Record = {"op": "evgrid", "nr": [14], "rows": {"001": "x", "101": "i"}}
    found = answers(AMD, "events", [MADE, base, grid])
    given = [VcpuEvents.read(image) for image in images]
    rows = [each for each in given if each.has_error_code]
    assert [(each.injected, each.flags, each.vector, each.error_code) for each in rows] == [
        (row, flags, 14, 0x14) for row in (0, 1) for flags in range(64)
    ]
    assert {(each.payload, each.has_payload) for each in rows} == {(0x1234000, 0)}
    first = wrong(found)[1]
    assert first[:5] == ("events.evgrid", "001: flags 0x0, vector 14", "x", first.predicted, True)
    refused = [each for each in wrong(found) if each.predicted == "i"]
    assert refused
    assert all(each.because for each in refused)
    assert {(each.expected, each.accepted) for each in wrong(found)[1:]} == {("x", True), ("i", False)}
    (agreed,) = [each for each in found if isinstance(each, Agreed)]
    assert agreed.kind == "events.evgrid"
    grid["rows"] = {"000": "xx"}
    assert "zip()" in told([MADE, base, grid], "events")


def test_answers_about_events_and_smm() -> None:
    smm = {"op": "state", "st": "smm", "e": 0}
    vcpu = after("events", MADE, LONG)
    assert vcpu.efer == 0x500
    assert after("events", MADE, LONG, NO_EVENTS, smm).is_smm
    records: list[Record] = [
        {"op": "in_smm", "set_sregs": -1},
        {"op": "nested_in_smm", "ge": -1, "hdr": "", "set": -1},
        {"op": "evall", "flags": 0, "in": 0, "e": 22, "set": bytes(64).hex(), "got": ""},
    ]
    found = wrong(answers(AMD, "events", [MADE, LONG, NO_EVENTS, *records]))[1:]
    assert [(each.record, each.accepted) for each in found] == [
        ("KVM_SET_SREGS", True),
        ("get", True),
        ("set", False),
        ("flags 0x0, 0", False),
    ]
    assert found[2].because


def test_the_header_of_nested_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what is compared, whatever is behind it; where nothing can be read, zeroes."""
    vcpu = bench(AMD).make(MADE)
    read = STRUCTS["kvm_nested_state"].get
    image = bytes(range(1, 201))
    monkeypatch.setattr(type(vcpu.nested), "get", lambda _self, _size: (0, image))
    assert read(vcpu) == image[:128]
    record = {"op": "nested_in_smm", "ge": 0, "hdr": image[:128].hex(), "set": -1}
    assert [each.record for each in wrong(answers(AMD, "events", [MADE, record]))] == ["set"]
    monkeypatch.setattr(type(vcpu.nested), "get", lambda _self, _size: (errno.EINVAL, b""))
    assert read(vcpu) == bytes(128)


# The batteries of hide


def test_debug_registers_by_bit() -> None:
    base, images = b"\xff" * 128, list[bytes]()
    outcomes = iter([TAKEN, TAKEN] * 64 + [Outcome("errno", errno.EINVAL, (), ""), TAKEN] * 64)
    fake = SimpleNamespace(get=lambda: base, set=lambda image: images.append(image) or next(outcomes))
    assert dr_battery(cast("Any", SimpleNamespace(debugregs=fake))) == ("x" * 64, "i" * 64)
    flipped = [int.from_bytes(image, "little") ^ (1 << 1024) - 1 for image in images]
    assert flipped[::2] == [1 << 8 * 32 + bit for bit in range(128)]


def test_nested_state_as_it_is_and_without_flags() -> None:
    images: list[bytes] = []
    image = bytes(range(1, 201))
    for code, text in ((errno.EINVAL, "i--"), (0, "000")):
        fake = SimpleNamespace(
            get=lambda _size, code=code: (code, image), set=lambda given: images.append(given) or TAKEN
        )
        assert nest_battery(cast("Any", SimpleNamespace(nested=fake))) == text
    assert images == [image, bytes((0, 0, 3, 4, 128, 0, 0, 0)) + image[8:]]
