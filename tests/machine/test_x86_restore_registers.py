"""Control registers and XSAVE images of recorded restores: each value of a record is the one that is set."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from inspector.machine.answer import Answer
from inspector.machine.x86.kvm import sregs
from inspector.machine.x86.kvm.xsave import get_fpu
from inspector.machine.x86.replay.restore import states
from inspector.machine.x86.replay.restore.xsave import fill_fpu, filled_image, set_xcr0
from tests.machine.restores import NAMES, Record, answers, bench, wrong

AMD, OLD, INTEL = NAMES
MADE: Record = {"op": "mk", "irq": 1, "cpuid": "sup", "x": "sregs2 pae pdptrs valid"}
PAE = 5


def predicted(section: str, record: Record, made: Record = MADE) -> Any:
    """What a record of unlikely answers should have had."""
    (answer,) = wrong(answers(AMD, section, [made, record]))
    assert answer.because
    return answer.predicted


@pytest.mark.parametrize("value", [0x1001, 0x11001, 0x20])
def test_a_pdpte_that_is_given_and_one_in_memory(value: int) -> None:
    """With KVM_SREGS2_FLAGS_PDPTRS_VALID the four come from the structure, else from memory."""
    asked = {"op": "pdptr", "flags": 1, "n": 1, "v": f"{value:x}", "e": -1, "ge": 0, "gflags": 1, "g": ""}
    assert predicted("sregs", asked) == [0, 0, 1, f"{value:x}"]
    assert predicted("sregs", {**asked, "flags": 0}) == [0, 0, 1, "0"]
    code = errno.EINVAL if value == 0x20 else 0
    in_memory = {"op": "pdptmem", "v": "10001" if not code else "1001", "e": -1, "ge": 0, "gflags": 1, "g": ""}
    assert predicted("sregs", in_memory) == [0, 0, 1, in_memory["v"]]


def flipped(base: int, one: int, two: int) -> int:
    return base ^ 1 << one if one == two else base ^ (1 << one | 1 << two)


@pytest.mark.parametrize("base", [0x620, 0x10])
def test_each_pair_of_cr4_bits_is_flipped(base: int) -> None:
    state = "long" if base == 0x620 else "prot"
    vcpu = bench(AMD).make(MADE)
    image = bytearray(states.sregs_image(vcpu, state))
    rows = []
    for one in range(PAE + 1):
        rows.append("")
        for two in range(34):
            states.put(image, states.CR4, flipped(base, one, two))
            rows[-1] += "0" if sregs.set_sregs(vcpu, bytes(image)).accepted else "i"
    # In long mode PAE is never off.
    assert state == "prot" or set(rows[PAE]) == {"i"}
    record = {"op": "cr4pairs", "state": state, "base": f"{base:x}", "e": 0, "rows": rows}
    assert wrong(answers(AMD, "sregs", [MADE, record])) == []
    other = {**record, "rows": ["x" * 34]}
    found = wrong(answers(AMD, "sregs", [MADE, other]))
    assert (len(found), found[0].record) == (34, f"CR4 in {state}: bits 0 and [0]")


@pytest.mark.parametrize(("efer", "cr4", "last"), [("500", "620", "0"), ("500", "600", "i"), ("0", "620", "i")])
def test_long_mode_needs_paging_pae_and_lma(efer: str, cr4: str, last: str) -> None:
    """kvm_is_valid_sregs: CR0 of PE and PG in turn, with a 64-bit code segment."""
    made = {**MADE, "x": "cr0 cross product"}
    record = {"op": "cr0x", "bits": [0, 31], "efer": efer, "cr4": cr4, "cs_l": 1, "cs_db": 0, "s": "xxxx"}
    found = wrong(answers(AMD, "sregs", [made, record]))
    assert {each.kind for each in found} == {"sregs.cr0x"}
    assert [each.predicted for each in found] == ["i", "i", "i", last]
    assert all(each.because for each in found)


def test_an_msr_by_bit_has_its_reason() -> None:
    found = wrong(answers(AMD, "sregs", [MADE, {"op": "mtrrmask", "msr": ["200"], "s0": "x" * 64}]))
    assert {each.kind for each in found} == {"sregs.mtrrmask"}
    assert any(each.because for each in found)


# XSAVE


def test_registers_are_filled_as_the_recorder_does() -> None:
    """XMM registers count upwards, the upper halves down, where AVX is in XSTATE_BV."""
    vcpu = bench(AMD).make({**MADE, "x": ""})
    assert set_xcr0(vcpu, 7)[0] == "0"
    plain, with_avx = filled_image(vcpu, 3), filled_image(vcpu, 7)
    assert [image[512:576] for image in (plain, with_avx)] == [bytes([bv]) + bytes(63) for bv in (3, 7)]
    assert (plain[576:832], with_avx[576:832]) == (bytes(256), bytes(range(256))[::-1])
    assert (len(plain), len(with_avx), plain[160:416]) == (4096, 4096, bytes(range(256)))
    fill_fpu(vcpu)
    got = get_fpu(vcpu)
    assert (len(got), got[128:132], got[152:408]) == (416, b"\x7f\3\0\0", bytes(range(256)))


def test_a_header_by_its_digits() -> None:
    """Component 4 is in no XCR0 here."""
    for bv, code in (("7", 0), ("10", errno.EINVAL)):
        record = {"op": "xsavefill", "bv": bv, "e": -1}
        (answer,) = wrong(answers(AMD, "xsave", [MADE, {"op": "state", "st": "x", "xcr0": "7", "e": 0}, record]))
        assert isinstance(answer, Answer)
        assert answer.predicted == code
    (answer,) = wrong(answers(AMD, "xsave", [MADE, {"op": "state", "st": "x", "xcr0": "10", "e": 0}]))
    assert (answer.predicted, answer.record) == (errno.EINVAL, "XCR0 0x10")


def test_more_registers_than_there_are() -> None:
    assert predicted("xsave", {"op": "xcrs_nr", "nr": 17, "e": 0}) == errno.EINVAL
    assert predicted("xsave", {"op": "xcrs_nr", "nr": -1, "e": 0}) == errno.EINVAL
    assert predicted("xsave", {"op": "xcrs_nr", "nr": 16, "e": 7}) == 0
