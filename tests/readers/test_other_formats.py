"""Fingerprints, templates, snapshots, register lists, QMP and CPUID text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.errors import InputError, InspectorError
from inspector.readers.open import open_capture
from tests.readers.support import REGISTER_TEXT, XSAVE, cloud_hypervisor_state
from tests.shared import FIRECRACKER, needs
from tests.support import fields, opened

FINGERPRINTS = sorted(path.name for path in FIRECRACKER.glob("fingerprint_*"))


def write(tmp_path: Path, value: Any) -> str:
    path = tmp_path / "f"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return str(path)


@needs(FIRECRACKER)
@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprint_holds_every_register(name: str) -> None:
    config = json.loads((FIRECRACKER / name).read_bytes())["guest_cpu_config"]
    capture = open_capture(str(FIRECRACKER / name))
    (vcpu,) = capture.vcpus
    found = fields(vcpu)
    for row in config.get("cpuid_modifiers") or []:
        leaf, sub = int(row["leaf"], 0), int(row["subleaf"], 0)
        for modifier in row["modifiers"]:
            field = found[f"cpuid.{leaf:x}.{sub:x}.{modifier['register']}"]
            assert field.value == int(modifier["bitmap"], 2)
    values = sorted(field.value for path, field in found.items() if path.startswith("msr.") and field.bits == 64)
    wanted = sorted(int(row["bitmap"], 2) for row in config.get("msr_modifiers") or [])
    assert values == wanted
    registers = config.get("reg_modifiers") or []
    whole = [f for p, f in found.items() if not p.startswith(("id.", "cpuid.", "msr.")) and not f.spec.is_structure]
    assert sorted(f.value for f in whole) == sorted(int(row["bitmap"], 2) for row in registers)
    assert not any(path.startswith("reg.") for path in found)
    assert capture.host.kernel


def bitmap(value: int, bits: int, kept: int = 0) -> str:
    """A bitmap of a template: the bits of ``kept`` are the host's."""
    return "0b" + "".join("x" if kept >> n & 1 else str(value >> n & 1) for n in reversed(range(bits)))


FINGERPRINT = {
    "firecracker_version": "1.16.0",
    "kernel_version": "6.18.30",
    "microcode_version": "0x2b000661",
    "guest_cpu_config": {
        "kvm_capabilities": [],
        "cpuid_modifiers": [
            {
                "leaf": "0xd",
                "subleaf": "0x1",
                "flags": 1,
                "modifiers": [{"register": "eax", "bitmap": bitmap(0x1F, 32)}, {"register": "ecx", "bitmap": "0b0"}],
            }
        ],
        "msr_modifiers": [{"addr": "0x277", "bitmap": bitmap(0x7040600070406, 64)}],
    },
}


def test_a_fingerprint_of_x86(tmp_path: Path) -> None:
    capture = open_capture(write(tmp_path, FINGERPRINT))
    assert capture.format == "firecracker-fingerprint"
    assert capture.host.kernel == "6.18.30"
    found = fields(capture.vcpus[0])
    assert found["cpuid.d.1.eax"].value == 0x1F
    assert found["cpuid.d.1.ecx"].value == 0
    assert found["cpuid.d.1.ebx"].value is None
    assert found["msr.IA32_PAT"].value == 0x7040600070406


def test_template_bits_that_are_kept_have_no_value() -> None:
    found = fields(opened("templates/graviton3-as-graviton2.json").vcpus[0])
    kept = found["id.ID_AA64ISAR1_EL1.XS"]
    assert kept.value is None
    assert "keeps the host's bit: 0bxxxx" in kept.text
    assert found["id.ID_AA64ISAR1_EL1.I8MM"].value == 0


@needs(FIRECRACKER)
def test_templates_of_other_people() -> None:
    templates = [path for path in FIRECRACKER.glob("*.json") if not path.name.startswith(("fingerprint", "schema"))]
    for path in templates:
        if json.loads(path.read_text()).keys() & {"cpuid_modifiers", "msr_modifiers", "reg_modifiers"}:
            capture = open_capture(str(path))
            assert capture.format == "firecracker-template"
            assert any(field.value is None for field in fields(capture.vcpus[0]).values())


def test_cloud_hypervisor_snapshot(tmp_path: Path) -> None:
    capture = open_capture(write(tmp_path, cloud_hypervisor_state()))
    assert [vcpu.name for vcpu in capture.vcpus] == ["vcpu 0", "vcpu 1"]
    found = fields(capture.vcpus[0])
    assert found["regs.rip"].value == 0x1234
    assert found["sregs.cs.type"].value == 11
    assert found["sregs.cr4.OSXSAVE" if "sregs.cr4.OSXSAVE" in found else "sregs.cr4"].value
    assert found["xcr.xcr0"].value == 0x602E7
    assert found["msr.IA32_XFD"].text == "xtiledata"
    assert found["xsave.legacy.sw_xcr0"].value == 0x602E7
    assert "hyperv_synic" in " ".join(capture.notices)


def test_cloud_hypervisor_arm64(tmp_path: Path) -> None:
    state = {
        "core_regs": {"regs": {}},
        "sys_regs": [{"id": 0x603000000013C020, "addr": 0x11}],
        "extended_regs": [{"id": 0x6080000000150000, "data": [5] + [0] * 255}],
    }
    capture = open_capture(write(tmp_path, {"Kvm": state}))
    found = fields(capture.vcpus[0])
    assert found["id.ID_AA64PFR0_EL1.EL1"].value == 1
    assert found["sve.z[0]"].value == 5


def test_crosvm_cbor_and_json(tmp_path: Path) -> None:
    import cbor2

    state = {
        "vcpu_id": 3,
        "regs": {"rax": 5},
        "sregs": {"cr0": 1},
        "debug_regs": {"dr7": 0x400},
        "xcrs": {0: 7},
        "msrs": {0x277: 6},
        "xsave": XSAVE[:4096],
    }
    for number, data in enumerate((cbor2.dumps(state), cbor2.dumps({"vcpus": [state]}))):
        (tmp_path / str(number)).mkdir()
        found = fields(open_capture(write(tmp_path / str(number), data)).vcpus[0])
        assert found["regs.rax"].value == 5
        assert found["xcr.xcr0"].value == 7
        assert found["msr.IA32_PAT"].value == 6
        assert found["debugregs.dr7"].value == 0x400


def test_firecracker_state_finds_images(tmp_path: Path) -> None:
    data = (0x0710198486640000).to_bytes(8, "little") + bytes(777) + XSAVE[:4096] + bytes(100) + XSAVE[:4096]
    capture = open_capture(write(tmp_path, data))
    assert len(capture.vcpus) == 2
    assert "by their content" in capture.notices[0]
    assert fields(capture.vcpus[1])["xsave.zmm[0]"].value


def test_register_list_text_and_json(tmp_path: Path) -> None:
    found = fields(open_capture(write(tmp_path, REGISTER_TEXT.encode())).vcpus[0])
    assert found["sysreg.ID_AA64PFR0_EL1"].value == 0x1101011021111111
    assert found["id.ID_AA64PFR0_EL1.RAS"].value == 2
    assert found["core.pc"].value == 0xFFFF800080001000
    assert found["id.ID_AA64ISAR0_EL1.AES"].text == "PMULL (FEAT_PMULL)"
    assert found["demux.CCSIDR[0]"].value == 0x701FE00A
    assert found["fw.PSCI_VERSION"].value == 0x10001
    assert "KVM_REG_ARM_TIMER_CNT" in found["sysreg.CNTV_CVAL_EL0"].spec.title
    values = {"0x603000000013c020": "0x1101011021111111", "0x6030000000100040": 16}
    found = fields(open_capture(write(tmp_path, values)).vcpus[0])
    assert found["core.pc"].value == 16


def test_register_list_with_a_torn_line(tmp_path: Path) -> None:
    capture = open_capture(write(tmp_path, (REGISTER_TEXT + "0x60300000\n").encode()))
    assert "a register id and a value" in str(capture.faults[0])
    assert fields(capture.vcpus[0])["core.pc"].value


def test_qmp_model_and_definitions(tmp_path: Path) -> None:
    found = fields(opened("qemu-arm64-max/cpu-model-expansion.max.full.json").vcpus[0])
    assert found["props.sve256"].text == "on"
    assert found["props.pauth-qarma5"].value == 0
    rows = [{"name": "max", "typename": "max-cpu", "unavailable-features": ["a", "b"], "static": False}]
    capture = open_capture(write(tmp_path, {"return": rows}))
    assert fields(capture.vcpus[0])["definition.unavailable-features"].text == "a, b"


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[1, 2",
        b'{"a": 1}',
        b"[" * 100_000,
        {"cpuid_modifiers": 7},
        {"cpuid_modifiers": [{"leaf": "0x1", "subleaf": "zz", "modifiers": []}]},
        {"reg_modifiers": [{"addr": "0x60", "bitmap": "0b12"}]},
        {"msr_modifiers": [{"addr": -1, "bitmap": "0b1"}]},
        {"0x60": "wide"},
        {"return": {"model": {"props": 3}}},
        {"snapshots": {"cpu-manager": {"snapshots": {"0": {"snapshot_data": {"state": "{{{"}}}}}},
        {"Kvm": 5},
    ],
)
def test_bad_json_is_one_line(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(InputError) as caught:
        open_capture(write(tmp_path, bad))
    assert "\n" not in str(caught.value)


KEYS = [
    *("guest_cpu_config", "cpuid_modifiers", "msr_modifiers", "reg_modifiers", "leaf", "subleaf", "modifiers"),
    *("register", "bitmap", "addr", "snapshots", "cpu-manager", "snapshot_data", "state", "Kvm", "regs", "sregs"),
    *("xsave", "region", "xcrs", "msrs", "cpuid", "return", "model", "props", "name", "0x603000000013c020"),
    *("vcpus", "debug_regs", "sys_regs"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.text(max_size=8) | st.just("0b1x0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=5))
def test_any_json(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    try:
        capture = open_capture(write(tmp_path_factory.mktemp("json"), value))
        for vcpu in capture.vcpus:
            fields(vcpu)
    except InspectorError as error:
        assert "\n" not in str(error)  # noqa: PT017
