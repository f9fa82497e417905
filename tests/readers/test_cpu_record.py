"""CPU records: what real machines show, register by register."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.capture.errors import InputError
from inspector.cli.main import main
from inspector.readers.open import open_capture
from inspector.targets.schemes import capture_of
from tests.shared import FIRECRACKER, needs
from tests.support import fields

RECORDS = {
    "graviton2": "ARM_NEOVERSE_N1",
    "graviton3": "ARM_NEOVERSE_V1",
    "graviton4": "ARM_NEOVERSE_V2",
    "epyc-milan": "AMD_MILAN",
    "epyc-genoa": "AMD_GENOA",
    "cascade-lake": "INTEL_CASCADELAKE",
    "ice-lake": "INTEL_ICELAKE",
    "sapphire-rapids": "INTEL_SAPPHIRE_RAPIDS",
    "granite-rapids": "INTEL_GRANITE_RAPIDS",
}
KERNELS = ("5.10", "6.1", "6.18")


@needs(FIRECRACKER)
@pytest.mark.parametrize("folder", RECORDS)
def test_records_have_what_the_machines_showed(folder: str) -> None:
    for kernel in KERNELS:
        (vcpu,) = capture_of(f"sample:{folder}/linux-{kernel}").vcpus
        found = {path: field.value for path, field in fields(vcpu).items() if not field.spec.is_structure}
        published = open_capture(str(FIRECRACKER / f"fingerprint_{RECORDS[folder]}_{kernel}host.json"))
        assert published.host.kernel == capture_of(f"sample:{folder}/linux-{kernel}").host.kernel
        wanted = {
            path: field.value for path, field in fields(published.vcpus[0]).items() if not field.spec.is_structure
        }
        assert found == wanted


def test_a_record_says_what_it_is_of() -> None:
    capture = capture_of("sample:graviton3/linux-6.18")
    assert capture.format == "cpu-record"
    assert capture.host.kernel == "6.18.30-61.116.amzn2023.aarch64"
    assert "AWS Graviton3 (Arm Neoverse V1), Firecracker 1.16" in capture.host.about
    found = fields(capture.vcpus[0])
    assert "Neoverse V1" in found["sysreg.MIDR_EL1"].text
    assert found["id.ID_AA64PFR0_EL1.GIC"].text == "IMP (FEAT_GICv3)"
    assert found["fw.PSCI_VERSION"].value == 0x10003


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "record.toml"
    path.write_text(text)
    return str(path)


def test_a_host_has_its_cpuid(tmp_path: Path) -> None:
    text = '# of a host\ncpu_record = 1\nview = "host"\n[cpuid]\n0xd.0 = [7, 0x340, 0x340, 0]\n[msr]\n0x48 = "0x1"\n'
    capture = open_capture(written(tmp_path, text))
    assert capture.host.cpuid is not None
    assert capture.host.cpuid.get(0xD) == (7, 0x340, 0x340, 0)
    assert [area.prefix for area in capture.vcpus[0].areas] == ["cpuid", "msr"]
    assert capture.vcpus[0].arch == "x86"
    guest = open_capture(written(tmp_path, text.replace("host", "guest")))
    assert guest.host.cpuid is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("cpu_record = 2", "a CPU record of version 1 or older"),
        ("cpu_record = true", "a CPU record of version 1 or older"),
        ("cpu_record = 1", "view: guest or host"),
        ('cpu_record = 1\nview = "guest"', "registers"),
        ('cpu_record = 1\nview = "guest"\nkernel = 6', "kernel: a text"),
        ("cpu_record = [", "TOML"),
        ("cpu_record = " + "[" * 60000, "TOML"),
        ("cpu_record = " + "9" * 9000, "TOML"),
        ('cpu_record = 1\nview = "guest"\nsysreg = 1', "sysreg: a table"),
        ('cpu_record = 1\nview = "guest"\n[sysreg]\nNOPE = 1', "sysreg: a register and its value"),
        ('cpu_record = 1\nview = "guest"\n[sysreg]\nMIDR_EL1 = "0x10000000000000000"', "sysreg: a register and"),
        ('cpu_record = 1\nview = "guest"\n[kvm]\n0x6020000000110000 = "0x100000000"', "kvm: a register and its"),
        ('cpu_record = 1\nview = "guest"\n[msr]\n0x100000000 = 1', "msr: an index of 32 bits"),
        ('cpu_record = 1\nview = "guest"\n[cpuid]\n1 = 1', "cpuid.1: a table"),
        ('cpu_record = 1\nview = "guest"\n[cpuid]\n1.0 = [1, 2, 3]', "cpuid: leaf.subleaf = "),
        ('cpu_record = 1\nview = "guest"\n[cpuid]\n1.0 = [1, 2, 3, 0x100000000]', "cpuid: leaf.subleaf = "),
    ],
)
def test_faults_of_records(text: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected " + wrong.replace("[", r"\[")):
        open_capture(written(tmp_path, text))


def test_records_are_named_hosts_and_guests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", "graviton3-v1", "--host", "sample:graviton3/linux-6.18", "sve=off"]) == 0
    capsys.readouterr()
    assert main(["migrate", "sample:graviton3/linux-6.18", "sample:graviton3/linux-6.18", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["migrate", "sample:graviton3/linux-6.18", "neoverse-n1"]) == 1
    assert "ID_AA64ISAR0_EL1.SHA2=2: SHA2 is at most 1 (found 2) (property feat_SHA2)" in capsys.readouterr().out
    assert main(["samples"]) == 0
    assert "sample:graviton3/linux-6.18 " in capsys.readouterr().out


def test_register_lists_of_real_kernels_as_records() -> None:
    capture = capture_of("sample:arm64-kvm/neoverse-v1-linux-7.2")
    found = fields(capture.vcpus[0])
    assert capture.host.kernel == "7.2.13+deb14-arm64"
    assert found["sve.z[31]"].bits == 2048
    assert found["sve.vls"].value == 3
    assert found["id.ID_AA64PFR0_EL1.SVE"].value == 1
    known = capture_of("sample:arm64-kvm/max-linux-7.2.13.regs")
    assert not found.keys() - fields(known.vcpus[0]).keys()


@pytest.mark.parametrize(
    "name", ["graviton4/linux-6.1", "epyc-genoa/linux-6.18", "zen5/cpuid-r.txt", "kvm-vcpus/rome-linux-6.12"]
)
def test_any_capture_becomes_a_record(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.toml"
    assert main(["convert", f"sample:{name}", "--to", "record", "-o", str(path)]) == 0
    again, was = open_capture(str(path)), capture_of(f"sample:{name}")
    assert again.host.kernel == was.host.kernel
    found, wanted = fields(again.vcpus[0]), fields(was.vcpus[0])
    assert len(found) > 100
    for place, field in found.items():
        if not place.endswith((".flags", ".padding", ".pad")):
            assert field.value == wanted[place].value, place
    capsys.readouterr()
    template = "sample:templates/graviton3-as-graviton2.json"
    assert main(["convert", template, "--to", "record", "-o", str(tmp_path / "x")]) == 2
    assert "no KVM registers, CPUID or MSRs were captured" in capsys.readouterr().err
