"""Trace events of a log, held against what Linux and KVM on the host can have."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.calls import Call
from inspector.machine.outcome import Outcome
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.module import VMX, Kvm
from inspector.machine.x86.replay.calls import Replay
from inspector.machine.x86.replay.events import asked
from layouts.x86.kernels import profile_for

WHOSE = "it hangs on the VMM and on the guest's CPUID"
FPU = "x86_fpu_after_save"


def kvm(cpu: str = "sapphire-rapids") -> Kvm:
    return Kvm(Host(shipped_cpu(cpu), profile_for("6.18")), release="6.18", vendor=VMX)


def told(name: str, text: str, cpu: str = "sapphire-rapids", *, stands_in: bool = False) -> Outcome | str | None:
    return asked(kvm(cpu), Call(0, "", -1, name, text), stands_in=stands_in)


def buffer(bv: int, comp: int) -> str:
    return f"x86/fpu: 0xffff888103456780 load: 0 xfeatures: {bv:x} xcomp_bv: {comp:x}"


@pytest.mark.parametrize(
    ("cpu", "bv", "comp", "because"),
    [
        ("sapphire-rapids", 0x7, 1 << 63 | 0x2E7, ""),
        ("sapphire-rapids", 0, 0, ""),
        ("sapphire-rapids", 0x60000, 1 << 63 | 0x602E7, ""),
        # Without XSAVEC and XSAVES the buffer is the standard one, whose XCOMP_BV stays 0.
        ("haswell", 0x7, 0, ""),
        ("haswell", 0x7, 1 << 63 | 7, "XCOMP_BV[63] is set where the CPU has XSAVEC or XSAVES"),
        ("sapphire-rapids", 0x7, 0x7, "XCOMP_BV[63] is set where the CPU has XSAVEC or XSAVES"),
        # Component 19 is APX's, which this CPU lacks; 8 is PT's, which Linux leaves alone.
        ("sapphire-rapids", 1 << 19, 1 << 63 | 1 << 19 | 7, "only components that Linux uses here (0x61ee7)"),
        ("sapphire-rapids", 1 << 8, 0, "only components that Linux uses here (0x61ee7)"),
        ("sapphire-rapids", 0, 1 << 63 | 1 << 8, "only components that Linux uses here (0x61ee7)"),
        ("sapphire-rapids", 0x207, 1 << 63 | 7, "XSTATE_BV within XCOMP_BV"),
        ("sapphire-rapids", 0x207, 0, ""),
    ],
)
def test_a_buffer(cpu: str, bv: int, comp: int, because: str) -> None:
    found = told(FPU, buffer(bv, comp), cpu)
    assert isinstance(found, Outcome)
    assert (found.accepted, found.code) == (not because, errno.EINVAL if because else 0)
    assert not because or found.because == because
    assert found.source == "xstate_init_xcomp_bv, __fpstate_reset (fpu/xstate.c, fpu/core.c)"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("msr_write 1c4 = 0x40000", ""),
        ("msr_read 1c5 = 0x40000", ""),
        ("msr_write da0 = 0x1800", ""),
        ("msr_write 1c4 = 0x60000", "only bits that guests can have here (0x40000)"),
        ("msr_write 1c5 = 0x1", "only bits that guests can have here (0x40000)"),
        ("msr_write da0 = 0x1900", "only bits that guests can have here (0x1800)"),
    ],
)
def test_an_msr_of_extended_state(text: str, because: str) -> None:
    found = told("kvm_msr", text)
    assert isinstance(found, Outcome)
    assert (found.accepted, found.code) == (not because, errno.EINVAL if because else 0)
    assert found.because == (because or found.because)
    assert found.source == "kvm_set_msr_common, kvm_get_msr_common (x86.c)"


@pytest.mark.parametrize(("text", "accepted"), [("msr_write 1c4 = 0x0", True), ("msr_write 1c4 = 0x40000", False)])
def test_xfd_on_a_cpu_without_it(text: str, accepted: bool) -> None:
    found = told("kvm_msr", text, "ice-lake")
    assert isinstance(found, Outcome)
    assert found.accepted is accepted
    again = told("kvm_msr", text.replace("1c4", "1c5"), "ice-lake")
    assert isinstance(again, Outcome)
    assert again.accepted is accepted


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (FPU, "x86/fpu: load: 0", "its words are not those of a buffer"),
        ("kvm_msr", "msr_write 10 = 0x1", "an MSR that is not of extended state"),
        ("kvm_msr", "msr_swap 1c4 = 0x1", "an MSR that is not of extended state"),
        ("kvm_msr", "msr_write da0 = 0x100 (#GP)", WHOSE),
        ("kvm_cpuid", "func d", WHOSE),
        ("kvm_exit", "reason MSR_WRITE", WHOSE),
        ("sched_switch", "x", None),
    ],
)
def test_an_event_that_is_not_asked(name: str, text: str, why: str | None) -> None:
    assert told(name, text) == why


@pytest.mark.parametrize("name", [FPU, "kvm_msr", "kvm_exit"])
def test_a_guests_cpuid_is_not_the_hosts(name: str) -> None:
    text = "msr_write 1c4 = 0x1" if name == "kvm_msr" else buffer(7, 7)
    assert told(name, text, stands_in=True) == "it hangs on the host's own CPUID, which the log does not tell"
    assert told("sched_switch", text, stands_in=True) is None


def test_events_among_calls() -> None:
    """Each is compared at its place; what is not asked says why."""
    calls = [
        Call(0, "", -1, FPU, buffer(7, 1 << 63 | 7)),
        Call(9, "", -1, FPU, buffer(7, 7)),
        Call(20, "", -1, "kvm_exit", "reason"),
        Call(30, "", 3, "sched_switch", "x"),
    ]
    found = Replay(kvm(), lambda _: None).compare(calls)
    assert [(each.call.offset, each.agrees, each.why) for each in found] == [
        (0, True, ""),
        (9, False, ""),
        (20, None, WHOSE),
        (30, None, "the machine has no rule for it here"),
    ]
    assert [each.outcome is None for each in found] == [False, False, True, True]
    assert Replay(kvm(), lambda _: None, stands_in=True).compare(calls[:1])[0].agrees is None
