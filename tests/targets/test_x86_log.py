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
