"""``kvm:`` and ``record`` on x86: on this machine's KVM where it opens, else that one line says why not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.cli.main import main
from inspector.machine.verify import verify
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.assumed import kvm_on
from inspector.machine.x86.live import LiveError, LiveKvm
from inspector.targets.live import kvm_x86, recorder_restore
from inspector.targets.schemes import capture_of, host_of
from layouts.x86.kernels import profile_for
from tests.support import field
from tests.targets.live.played_kvm import PlayedKvm


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


def test_what_a_module_of_others_hides_is_taken_from_the_file() -> None:
    # CPUID of the CPU has XSAVES and CET; the module offers neither. Every other answer follows from what it offers.
    seven, d0, d1 = (0, 0, 1 << 7, 1 << 20), (7, 576, 576, 0), (15, 576, 0x1800, 0)
    bare = {(0, 0): (28, 0x68747541, 0x444D4163, 0x69746E65), (7, 0): seven, (0xD, 0): d0, (0xD, 1): d1}
    offered = {(7, 0): (0, 0, 0, 0), (0xD, 0): d0, (0xD, 1): (0, 0, 0, 0)}
    records: list[dict[str, Any]] = [{"t": "uname", "release": "6.18.3"}]
    records += [{"t": "cpuid", "leaf": leaf, "sub": sub, "r": list(row)} for (leaf, sub), row in bare.items()]
    xfd = {"xfd": 1, "xfd_now": "0", "xfd_err": 1, "xfd_err_now": "0"}
    kvm = [
        *(
            {"t": "kvmcpuid", "ctx": "noperm", "leaf": leaf, "sub": sub, "r": list(row)}
            for (leaf, sub), row in offered.items()
        ),
        {"t": "setcpuid", "ctx": "noperm", "with": "supported", "err": 0},
        # KVM_GET_MSR_INDEX_LIST has no XSS there, so that not even 0 can be written (kvm_do_msr_access, x86.c of 6.18).
        {"t": "setmsr", "ctx": "noperm", "val": "0", **xfd, "xss": 0, "xss_now": "0"},
    ]

    def lines(module: str) -> list[bytes]:
        told = {"t": "kvmmodule", "name": module}
        return [json.dumps(record).encode() for record in [*records, told, *kvm]]

    others = verify("others", lines("kvm_others"))
    assert (others.agree, others.unasked) == (others.total, len(offered))
    own = verify("own", lines("kvm_amd"))
    assert (own.unasked, own.agree < own.total) == (0, True)


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


def test_restore_records_of_a_played_kvm_agree_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpuid = host_of("sample:zen5/cpuid-r.txt", "x86").cpuid
    system = os.uname_result(("Linux", "x", "6.18.15", "#1 SMP", "x86_64"))
    kvm = kvm_on(Host(cpuid, profile_for(system.release)))
    monkeypatch.setattr(os, "uname", lambda: system)
    monkeypatch.setattr(kvm_x86, "LiveKvm", PlayedKvm(kvm).open)
    monkeypatch.setattr(recorder_restore, "own_cpuid", lambda: kvm.raw)
    monkeypatch.setattr(recorder_restore, "modules_of_kvm", lambda: ["kvm_amd"])
    monkeypatch.setattr(recorder_restore, "_parameters", lambda name: kvm.parameters if name == "kvm_amd" else {})
    monkeypatch.setattr(recorder_restore, "_text", lambda path: "processor : 0" if path == "/proc/cpuinfo" else "")
    path = tmp_path / "restore.jsonl"
    assert main(["record", "kvm:", "--restore", "-o", str(path)]) == 0
    capsys.readouterr()
    assert main(["verify", "--json", str(path)]) == 0, capsys.readouterr().out
    found = json.loads(capsys.readouterr().out)
    kinds = {"msrlist", "featmsrs", "supcpuid", "emucpuid", "hvcpuid", "caps", "sysattr", "mcecap", "tsckhz", "api"}
    assert {f"host.{kind}" for kind in kinds} <= set(found["by_kind"])
    assert found["total"] > 700


def test_restore_records_are_read_whole(kvm: LiveKvm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "restore.jsonl"
    assert main(["record", "kvm:", "--restore", "-o", str(path)]) == 0
    meta = next(line for line in path.read_text().splitlines() if '"op":"meta"' in line)
    assert set(json.loads(meta)) == {"op", "release", "version", "machine"}
    capsys.readouterr()
    assert main(["verify", "--json", str(path)]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["total"] > 600
