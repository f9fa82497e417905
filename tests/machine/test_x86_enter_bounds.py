"""KVM_RUN on AMD over the state that a VMM set: what it says before the guest runs, by release."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.x86.kvm.enter import RunAnswer, run
from tests.machine.first_steps import CS, LMA, MEMORY, gate, segment, vcpu_of

EXIT_SHUTDOWN, EXIT_FAIL_ENTRY, EXIT_INTR, EXIT_INTERNAL = 8, 9, 10, 17
PG = 1 << 31
M64 = (1 << 64) - 1


# What KVM_RUN says before the guest runs


def told(answer: RunAnswer) -> tuple[int, ...]:
    return answer.code, answer.exit_reason, answer.suberror, answer.words, answer.hardware, answer.vector, answer.rip


def test_a_vcpu_that_waits_or_that_has_faulted_three_times() -> None:
    vcpu = vcpu_of()
    vcpu.mp_state = 3
    assert told(run(vcpu)) == (errno.EINTR, EXIT_INTR, 0, 0, 0, -1, 0x1000)
    vcpu = vcpu_of()
    vcpu.pending.triple_fault = True
    assert told(run(vcpu)) == (0, EXIT_SHUTDOWN, 0, 0, 0, -1, 0x1000)


@pytest.mark.parametrize(("release", "words"), [("5.15", 0), ("5.16", 6), ("6.1", 6)])
def test_the_smis_code_is_not_in_memory(release: str, words: int) -> None:
    vcpu = vcpu_of(release)
    vcpu.pending.smi_pending = True
    assert told(run(vcpu)) == (0, EXIT_INTERNAL, 1, words, 0, -1, 0x8000)


@pytest.mark.parametrize(("release", "dies"), [("6.1", False), ("6.2", True), ("6.12", True)])
def test_the_vm_is_dead_of_an_smi_from_6_2_on(release: str, dies: bool) -> None:
    vcpu = vcpu_of(release)
    vcpu.pending.smi_pending = True
    assert (run(vcpu).code == errno.EIO) is dies


@pytest.mark.parametrize(
    ("cr0", "efer", "base", "rip", "at"),
    [
        # The reset vector, in real mode; then code outside memory, in real mode and not in long mode.
        (0, 0, 0, 0xFFF0, 0xFFF0),
        (1, 0, 0, 0xFFF0, None),
        (0, 0, MEMORY - 0x10, 0xF, None),
        (0, 0, MEMORY - 0x10, 0x10, -1),
        (0, 0, 0, MEMORY, -1),
        (1, 0, 0, MEMORY, None),
        (0, LMA, 0, MEMORY, None),
        (2, 0, 0, MEMORY, -1),
    ],
)
def test_code_that_is_not_in_memory(cr0: int, efer: int, base: int, rip: int, at: int | None) -> None:
    vcpu = vcpu_of(rip=rip)
    vcpu.cr0, vcpu.efer = cr0, efer
    segment(vcpu, CS, base=base)
    expected = (0, 0, 0, 0, 0, -1, rip) if at is None else (0, EXIT_INTERNAL, 1, 6, 0, -1, at)
    assert told(run(vcpu)) == expected


@pytest.mark.parametrize(
    ("release", "hardware"), [("6.12", 0xFFFFFFFF), ("6.19", 0xFFFFFFFF), ("7.0", M64), ("7.3", M64)]
)
def test_an_entry_that_fails_tells_all_bits(release: str, hardware: int) -> None:
    """SVM_EXIT_ERR is -1: of 32 bits until 7.0."""
    vcpu = vcpu_of(release)
    segment(vcpu, CS, db=1)
    assert told(run(vcpu)) == (0, EXIT_FAIL_ENTRY, 0, 0, hardware, -1, -1)
    vcpu.efer = 0
    assert run(vcpu).enters
    vcpu = vcpu_of(release)
    vcpu.pending.injected, vcpu.pending.vector = True, 31
    assert told(run(vcpu)) == (0, EXIT_FAIL_ENTRY, 0, 0, hardware, -1, -1)
    vcpu.pending.vector = 30
    assert run(vcpu).vector == 30


@pytest.mark.parametrize(("efer", "rflags", "shuts_down"), [(LMA, 1 << 17, True), (0, 1 << 17, False), (LMA, 2, False)])
def test_virtual_8086_mode_is_not_for_long_mode(efer: int, rflags: int, shuts_down: bool) -> None:
    vcpu = vcpu_of(rflags=rflags)
    vcpu.efer = efer
    answer = run(vcpu)
    assert (answer.exit_reason == EXIT_SHUTDOWN) is shuts_down
    if shuts_down:
        # The VMCB is lost: INIT.
        assert (answer.rip, vcpu.regs.rip, vcpu.cr0, vcpu.efer) == (0xFFF0, 0xFFF0, 0x10, 0)


@pytest.mark.parametrize(
    ("pending", "release", "vector"),
    [
        ({}, "6.12", -1),
        ({"injected": True, "vector": 0}, "6.12", 0),
        ({"injected": True, "vector": 14, "nmi_pending": True}, "6.12", 14),
        # svm_complete_interrupts: of software, from 6.0 on for interrupts.
        ({"injected": True, "vector": 3}, "6.12", -1),
        ({"injected": True, "vector": 4}, "6.12", -1),
        ({"injected": True, "vector": 5}, "6.12", 5),
        ({"nmi_injected": True}, "6.12", 2),
        ({"nmi_pending": True}, "6.12", 2),
        ({"nmi_queued": True}, "6.12", 2),
        ({"interrupt_injected": True, "interrupt_vector": 0x31}, "6.12", 0x31),
        ({"interrupt_injected": True, "interrupt_vector": 0x31, "interrupt_soft": True}, "6.0", -1),
        ({"interrupt_injected": True, "interrupt_vector": 0x31, "interrupt_soft": True}, "5.19", 0x31),
    ],
)
def test_which_event_is_injected(pending: dict[str, int], release: str, vector: int) -> None:
    vcpu = vcpu_of(release)
    for name, value in pending.items():
        setattr(vcpu.pending, name, value)
    gate(vcpu, max(vector, 0), 0x10_0000_9000)
    answer = run(vcpu)
    assert answer.enters
    assert (answer.vector, answer.rip) == ((-1, 0x1000) if vector < 0 else (vector, 0x10_0000_9002))
    assert ("is not injected again" in answer.because) is (vector < 0 and bool(pending))


@pytest.mark.parametrize(("release", "rip"), [("6.5", 0x1000), ("6.6", 0xFFF0), ("7.2", 0xFFF0)])
def test_shadow_paging_needs_page_tables_until_6_6(release: str, rip: int) -> None:
    """mmu_check_root; from 6.6 on the root is a page of zeroes."""
    vcpu = vcpu_of(release, npt="N")
    vcpu.cr0, vcpu.cr3 = PG | 1, 1 << 30
    assert told(run(vcpu)) == (0, EXIT_SHUTDOWN, 0, 0, 0, -1, rip)


@pytest.mark.parametrize(
    ("release", "vector", "is_told"),
    [
        ("6.13", None, False),
        ("6.14", None, True),
        ("6.19", None, True),
        ("7.0", None, False),
        ("6.13", 14, False),
        ("7.0", 14, True),
        ("7.2", 0, True),
    ],
)
def test_page_tables_outside_memory(release: str, vector: int | None, is_told: bool) -> None:
    """Nothing is emulated while an event is delivered from 6.14 on; from 7.0 on a second fault is asked that first."""
    vcpu = vcpu_of(release)
    vcpu.cr0, vcpu.cr3 = PG | 1, 1 << 30
    if vector is not None:
        vcpu.pending.injected, vcpu.pending.vector = True, vector
    expected = (0, EXIT_INTERNAL, 3, 5) if is_told else (errno.EINTR, EXIT_INTR, 0, 0)
    assert told(run(vcpu)) == (*expected, 0, -1, 0x1000)
