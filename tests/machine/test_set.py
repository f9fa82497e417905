"""``inspector set``, and what else of the machine is a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main


def answers(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    code = main(["set", *words, "--json"])
    found = json.loads(capsys.readouterr().out)
    return code, {event["event"]: event["name"] for event in found["restore"]["events"]}


@pytest.mark.parametrize(
    ("edit", "event", "name"),
    [
        ("xcr.xcr0=0x40007", "KVM_SET_XCRS 0x40007", "EINVAL"),
        ("msr.IA32_XFD=0x40000", "KVM_RUN", "host-oops"),
        ("msr.IA32_XFD=0x20000", "KVM_SET_MSRS XFD 0x20000 XFD_ERR 0x0", "0 of 2"),
        ("xsave.header.xstate_bv=0x80002", "KVM_SET_XSAVE captured", "EINVAL"),
        ("xsave.header.xcomp_bv=0x1", "KVM_SET_XSAVE captured", "EINVAL"),
        ("xsave.legacy.mxcsr=0x10000", "KVM_SET_XSAVE captured", "EINVAL"),
    ],
)
def test_an_edit_meets_the_kernel(edit: str, event: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answers(capsys, "sample:amx", edit)
    assert code == 1
    assert {key: value for key, value in found.items() if value != "ok"} == {event: name}


def test_an_edit_that_is_fine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "edited.vcpu"
    code, found = answers(capsys, "sample:amx", "xsave.xtiledata.tmm[3]=0", "xcr.xcr0=0x602e7", "-o", str(path))
    assert code == 0
    assert set(found.values()) == {"ok"}
    assert main(["show", str(path), "--field", "xsave.xtiledata.tmm[3]", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert int(shown["vcpus"][0]["fields"][0]["value"], 16) == 0
    assert main(["set", "sample:amx", "xcr.xcr0=7", "-o", str(path)]) == 2


def test_another_host_says_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answers(capsys, "sample:amx", "xcr.xcr0=0x602e7", "--host", "ice-lake")
    assert code == 1
    assert found["KVM_SET_CPUID2 captured"] == "EPERM"


def test_an_arm64_capture_is_only_edited(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["set", "sample:qemu-arm64-max/migration-stream.gz", "sysreg.TCR_EL1=0x1", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["edits"][0]["after"] == "0x1"
    assert found["restore"] is None


@pytest.mark.parametrize(
    "words",
    [["set", "sample:amx", "xcr.xcr0"], ["set", "sample:amx", "nothing=1"], ["set", "sample:amx", "xcr.xcr0=many"],
     ["set", "sample:amx", "xcr.xcr0=1", "-o", "edited.bin"], ["set", "sample:amx", "xcr.xcr0=1", "--host", "z80"],
     ["sim", "new", "--host", "sample:arm64-threads"]],
)  # fmt: skip
def test_bad_usage_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (1, 2, 3)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("inspector: sample:amx: not")]
    assert len(lines) == 1


def test_a_host_from_cpuid_text(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sim", "new", "--host", "sample:zen5/cpuid-r.txt", "--event", "KVM_GET_SUPPORTED_CPUID", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["events"][0]["value"] == "0xe7"


def test_why_names_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    main(["sim", "no-amx-in-guest", "--why", "18"])
    assert "closed  nobody asked for ARCH_REQ_XCOMP_GUEST_PERM 18" in capsys.readouterr().out
    main(["sim", "transcript-vm-sigill", "--why", "18"])
    assert "closed  nobody asked the guest's kernel for ARCH_REQ_XCOMP_PERM 18" in capsys.readouterr().out
    main(["sim", "transcript-vm-amx", "--why", "18"])
    assert capsys.readouterr().out.rstrip().endswith("guest kernel: ok; nothing is in its way")


def test_the_machine_is_a_capture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "machine.vcpu"
    assert main(["sim", "two-buffers", "--save", str(path)]) == 0
    capsys.readouterr()
    assert main(["show", str(path), "--json"]) == 0
    vcpus = json.loads(capsys.readouterr().out)["vcpus"]
    assert [vcpu["name"] for vcpu in vcpus] == ["vcpu0", "task 1", "guest task 1", "guest task 1/1"]
    fields = [{field["path"]: field for field in vcpu["fields"]} for vcpu in vcpus]
    assert fields[0]["fpstate.size"]["value"] == "0x2a00"
    assert fields[1]["fpstate.size"]["value"] == "0xa00"
    # The guest's first task was switched out: its tiles are in its own buffer, in the guest's memory.
    assert fields[2]["fpstate_image.xtiledata.tmm[0]"]["bytes"] == (bytes(range(256)) * 4).hex()
    assert main(["sim", "two-buffers", "--save", str(path)]) == 2
