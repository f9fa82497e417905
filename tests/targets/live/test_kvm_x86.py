"""``kvm:`` and ``record`` on x86: on this machine's KVM where it opens, else that one line says why not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.machine.x86.live import LiveError, LiveKvm
from inspector.targets.live import kvm_x86
from inspector.targets.schemes import capture_of, host_of
from tests.support import field


@pytest.fixture
def kvm() -> Iterator[LiveKvm]:
    try:
        opened = LiveKvm()
        with opened.vcpu():
            pass
    except (LiveError, OSError) as error:
        pytest.skip(f"no KVM of x86 here: {error}")
    with opened:
        yield opened


def test_a_fresh_vcpu_is_a_capture(kvm: LiveKvm) -> None:
    found = capture_of("kvm:")
    vcpu = found.vcpus[0]
    # The reset state of SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up".
    assert field(vcpu, "regs.rip").value == 0xFFF0
    assert field(vcpu, "sregs.cr0").value == 0x60000010
    assert field(vcpu, "xcr.xcr0").value == 1
    assert {area.prefix for area in found.context} == {"supported_cpuid", "feature_msrs", "kvm"}
    assert {"kvm-cpuid2", "kvm-msrs", "kvm-xcrs", "xsave"} <= {area.layout for area in vcpu.areas}
    assert found.host.kernel == os.uname().release


def test_it_is_a_host_and_a_lab(kvm: LiveKvm, capsys: pytest.CaptureFixture[str]) -> None:
    host = host_of("kvm:", "x86")
    assert host.kvm_xcr0 & 3 == 3
    assert main(["sim", "new", "--host", "kvm:", "--event", "KVM_CREATE_VCPU"]) == 0
    assert capsys.readouterr().out


def test_a_recording_is_verified(kvm: LiveKvm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.jsonl"
    assert main(["record", "kvm:", "-o", str(path)]) == 0
    assert main(["record", "kvm:", "-o", str(path)]) == 2
    kinds = {json.loads(line)["t"] for line in path.read_text().splitlines()}
    assert {"uname", "kvmcaps", "kvmcpuid", "xcr0sweep", "setmsr", "setxsave"} <= kinds
    capsys.readouterr()
    # It may disagree: that is what recordings are for. It is read whole.
    assert main(["verify", "--json", str(path)]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["total"] > 4096


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ("show kvm:x", "expected kvm: and nothing after it", 2),
        ("show kvm:@6.12", "has a kernel of its own", 2),
        ("record sample:amx -o x", "expected kvm: and nothing after it", 2),
    ],
)
def test_words(words: str, said: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("kvm: of x86")
    assert main(words.split()) == code
    assert said in capsys.readouterr().err


def test_without_kvm_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> LiveKvm:
        return LiveKvm("/no/such/kvm", machine="x86_64")

    monkeypatch.setattr(kvm_x86, "LiveKvm", refused)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6.12", "y", "x86_64")))
    assert main(["show", "kvm:"]) == 3
    assert "expected the KVM of an x86 machine, found /no/such/kvm: No such file" in capsys.readouterr().err
    with pytest.raises(LiveError, match="this machine is riscv64"):
        LiveKvm(machine="riscv64")
