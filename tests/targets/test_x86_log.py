"""The calls of a log beside what the machine would have answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.capture.errors import UsageError
from inspector.cli.main import main
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_log import compared

SAMPLE = "sample:logs/refused-cpuid.strace.txt"


def test_every_refusal_is_the_machines_too() -> None:
    found = compared(SAMPLE, "", "6.18", NO_OPTIONS)
    asked = [(one.call.name, one.outcome.name) for one in found.calls if one.outcome is not None]
    assert found.first is None
    assert asked[7:10] == [
        ("KVM_SET_CPUID2", "EINVAL"),
        ("KVM_SET_CPUID2", "EPERM"),
        ("ARCH_REQ_XCOMP_GUEST_PERM", "EOPNOTSUPP"),
    ]
    assert next(one.why for one in found.calls if one.call.name == "KVM_SET_XCRS")


def test_the_first_divergence_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    # A host with AMX: its Linux knows the component that the log's refused.
    assert main(["sim", "--from-log", SAMPLE, "--host", "sapphire-rapids", "--kernel", "6.18"]) == 1
    text = capsys.readouterr().out
    assert "First divergence: call 11, ARCH_REQ_XCOMP_GUEST_PERM" in text
    assert "\n>  11  " in text
    assert main(["sim", "--from-log", SAMPLE, "--host", "sapphire-rapids", "--kernel", "6.18", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["first_divergence"]) == ("calls", 11)
    assert found["calls"][8]["machine"]["name"] == found["calls"][8]["error"] == "EINVAL"


def test_a_second_vcpu_of_an_id(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "ioctl(3, KVM_CREATE_VM, 0) = 4\nioctl(4, KVM_CREATE_VCPU, 0) = 5\n"
        "ioctl(4, KVM_CREATE_VCPU, 0) = -1 EEXIST (File exists)\n"
        "ioctl(3, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2) = 11008\n"
    )
    found = compared(str(log), "zen5", "6.18", NO_OPTIONS)
    assert [one.agrees for one in found.calls] == [True, True, True, False]


def test_what_has_no_calls_or_no_host(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no calls of KVM"):
        compared("sample:logs/vmcs.dmesg.txt", "", "", NO_OPTIONS)
    log = tmp_path / "log"
    log.write_text("ioctl(3, KVM_CREATE_VM, 0) = 4\n")
    with pytest.raises(UsageError, match="--host"):
        compared(str(log), "", "", NO_OPTIONS)
    assert main(["sim", "new", "--from-log", str(log)]) == 2
    assert main(["sim"]) == 2


def test_events_are_held_against_a_host() -> None:
    found = compared("sample:logs/trace.txt", "sapphire-rapids", "6.18", NO_OPTIONS)
    asked = {
        (one.call.name, one.call.text.split(" = ")[0]): one.agrees for one in found.calls if one.outcome is not None
    }
    assert found.first is None
    assert asked["kvm_msr", "msr_write 1c4"] is True
    assert len([name for name, _ in asked if name.startswith("x86_fpu_")]) == 2
    whys = {one.call.name: one.why for one in found.calls if one.outcome is None}
    assert "VMM" in whys["kvm_cpuid"]
    assert "VMM" in whys["kvm_exit"]
    # The guest's CPUID of the trace is not the host's: nothing is held against it.
    assert all(one.outcome is None for one in compared("sample:logs/trace.txt", "", "6.18", NO_OPTIONS).calls)


def test_a_guests_fault_is_not_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x 1 [0] 1.0: kvm_msr: msr_write da0 = 0x100 (#GP)\nx 1 [0] 1.0: kvm_msr: msr_write da0 = 0x100\n")
    assert [one.agrees for one in compared(str(log), "sapphire-rapids", "6.18", NO_OPTIONS).calls] == [None, False]


def test_a_host_without_the_component_cannot_have_had_the_event() -> None:
    found = compared("sample:logs/trace.txt", "zen5", "6.18", NO_OPTIONS)
    diverge = [(one.call.name, one.outcome.because) for one in found.calls if one.agrees is False and one.outcome]
    assert [name for name, _ in diverge] == ["kvm_msr", "x86_fpu_regs_deactivated"]
    assert diverge[0][1] == "only bits that guests can have here (0x0)"
    assert "only components that Linux uses here" in diverge[1][1]


def test_a_buffer_that_is_none(tmp_path: Path) -> None:
    log = tmp_path / "log"
    head = "x 1 [0] 1.0: x86_fpu_after_save: x86/fpu: 0xffff888103456780 load: 0"
    log.write_text(f"{head} xfeatures: 7 xcomp_bv: 8000000000000003\n{head} xfeatures: 3 xcomp_bv: 3\n")
    found = compared(str(log), "sapphire-rapids", "6.18", NO_OPTIONS)
    assert [one.outcome.because for one in found.calls if one.outcome] == [
        "XSTATE_BV within XCOMP_BV",
        "XCOMP_BV[63] is set where the CPU has XSAVEC or XSAVES",
    ]
