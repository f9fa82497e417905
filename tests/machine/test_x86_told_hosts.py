"""Hosts as programs tell of them: what an emulator says of itself, and words that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.machine.x86.models.offer import KVM, TCG
from inspector.readers.options import Options
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_offers import offer_named
from layouts.x86.models.cpuinfo import unknown_flags

PROPERTIES = {"fpu": True, "sse2": True, "x2apic": False, "vendor": "AuthenticAMD", "family": 15, "model": 107}
CAPABILITIES = """<domainCapabilities><domain>{domain}</domain><machine>pc-q35-7.2</machine><arch>x86_64</arch><cpu>
<mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
<feature policy='disable' name='x2apic'/></mode></cpu></domainCapabilities>"""
CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7003
stepping\t: 1
flags\t\t: fpu vme msr pae sse2 lm nx constant_tsc rep_good nopl cpuid extd_apicid quantum_leap svm brandnew
"""


@pytest.mark.parametrize(("brand", "accelerator"), [("QEMU TCG CPU version 2.5+", TCG), ("AMD EPYC 7763", KVM)])
def test_an_expansion_says_what_runs_guests(brand: str, accelerator: str, tmp_path: Path) -> None:
    path = tmp_path / "max.json"
    props = {**PROPERTIES, "model-id": brand}
    path.write_text(json.dumps({"return": {"model": {"name": "max", "props": props}}}))
    assert offer_named(str(path)).accelerator == accelerator
    host = destination_of(str(path), "", Options())
    assert bool(host.emulator) == (accelerator == TCG)


@pytest.mark.parametrize(("domain", "accelerator"), [("qemu", TCG), ("kvm", KVM)])
def test_domcapabilities_say_what_runs_guests(
    domain: str, accelerator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "caps.xml"
    path.write_text(CAPABILITIES.format(domain=domain))
    assert offer_named(str(path)).accelerator == accelerator
    main(["models", "check", "EPYC", "--host", str(path)])
    assert ("x2apic" in capsys.readouterr().out) == (accelerator == KVM), "QEMU turns it on for KVM alone"


def test_flags_that_nobody_knows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    said = f"{path}: flags that no known Linux has: brandnew, quantum_leap; nothing is concluded of them"
    main(["models", "check", "EPYC-Milan", "--host", str(path)])
    assert said in capsys.readouterr().err
    main(["migrate", "model:EPYC:EPYC", str(path)])
    assert said in capsys.readouterr().err
    assert unknown_flags(frozenset(("avx512_vnni", "ospke", "x2avic", "ssbd"))) == ()
