"""What a kernel upgrade alone changes for guests: inspector layouts kernels OLDER NEWER, and docs/kernels.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.kernel_changes import page, x86_changes
from inspector.machine.arm64.changes import changes
from inspector.targets.x86_cpus import cpu_named
from layouts.arm64.chips import cores
from layouts.arm64.kernels import kernels
from layouts.x86.kvm_caps import emulated_everywhere

PAGE = Path(__file__).parents[2] / "docs/kernels.md"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["layouts", "kernels", *words]) == 0
    return capsys.readouterr().out


def changed(older: str, newer: str, cpu: str) -> dict[str, tuple[str, str]]:
    found = x86_changes(older, newer, cpu_named(cpu))
    return {change.name.split(" (")[0]: (change.before, change.after) for _, change in found.rows}


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run docs/make_kernels.py"


def test_amx_comes_to_sapphire_rapids_and_not_to_milan() -> None:
    assert changed("5.10", "6.1", "sapphire-rapids")["AMX_TILE"] == ("", "shown")
    assert changed("5.10", "6.1", "sapphire-rapids")["XCR0"] == ("0x2e7", "0x602e7")
    assert "AMX_TILE" not in changed("5.10", "6.1", "milan")


def test_cet_comes_with_6_18_state_components_and_msrs() -> None:
    found = changed("6.17", "6.18", "sapphire-rapids")
    assert (found["SHSTK"], found["XSS"]) == (("", "shown"), ("0x0", "0x1800"))
    assert found["IA32_U_CET"] == ("", "listed")
    assert found["KVM_CAP_ONE_REG"] == ("", "0x1")


def test_a_guest_of_milan_loses_spec_ctrl() -> None:
    assert changed("6.1", "6.18", "milan")["SPEC_CTRL"] == ("shown", "")


def test_the_same_kernel_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "6.18", "6.18")
    assert out.count("nothing that is modelled") == 2


def test_text_and_json_of_one_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "6.1", "6.18", "--cpu", "milan")
    assert text.startswith("x86: Linux 6.1 to 6.18, EPYC-Milan-v")
    assert "    - SPEC_CTRL (CPUID.7.0.EDX[26])\n" in text
    assert "arm64" not in text
    found = json.loads(said(capsys, "6.1", "6.18", "--arch", "arm64", "--json"))
    assert (found["kind"], found["schema"], found["x86"], found["cpu"]) == ("kernels", 1, None, None)
    assert any(line.startswith("registers ") for line in found["arm64"])


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        ("6.12", "6.16", "KVM_GET_REG_LIST of every vCPU -> s1pie_visibility: PIRE0_EL1, PIR_EL1"),
        ("6.16", "6.17", "KVM_GET_REG_LIST of sctlr2_visibility, new: SCTLR2_EL1"),
        ("6.17", "6.18", "KVM_GET_REG_LIST of el2_visibility -> cnthv_visibility: CNTHV_CTL_EL2, CNTHV_CVAL_EL2"),
        ("6.17", "6.18", "fields of guests with EL2 ID_AA64DFR0_EL1: +DoubleLock, DebugVer at most 7 -> 10"),
        ("6.18", "6.19", "fields of guests with EL2 ID_AA64MMFR1_EL1: +XNX, +HAFDBS at most 1"),
        ("7.2", "7.3", "KVM_GET_REG_LIST of pmu_visibility, new: PMMIR_EL1"),
    ],
)
def test_what_vcpus_have_otherwise(older: str, newer: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"    {expected}\n" in said(capsys, older, newer, "--arch", "arm64")


def test_el2_is_new_where_it_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Linux 6.6 has entries of EL2 that no vCPU meets (KVM_VCPU_MAX_FEATURES is 7): only 6.16 lists them."""
    assert "_EL2" not in said(capsys, "6.1", "6.12", "--arch", "arm64")
    assert "el2_visibility, new: VPIDR_EL2, VMPIDR_EL2" in said(capsys, "6.12", "6.16", "--arch", "arm64")


def test_what_a_stable_update_changed(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "7.3", "7.3.4", "--arch", "arm64")
    assert "    drops_unmet: no -> yes\n" in out
    assert "## arm64: 7.3 before and since 7.3.4\n" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["6.1", "x"], "'x': expected a release"),
        (["6.1", "6.18", "--cpu", "milam"], "no such CPU or file"),
        (["6.1", "6.18", "--cpu", "milan", "--arch", "arm64"], "no arm64 CPU"),
        (["6.1", "--json"], "expected layouts kernels OLDER NEWER"),
    ],
)
def test_words_that_are_wrong(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "kernels", *words]) == 2
    assert why in capsys.readouterr().err


def test_what_kvm_emulates_everywhere() -> None:
    assert emulated_everywhere() == {"X2APIC", "TSC_ADJUST", "ARCH_CAPABILITIES"}


def test_guests_of_an_arm64_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    """MPAM goes with 6.12 where the core has it; the masks' ioctl comes, and EL0 may be anything."""
    out = said(capsys, "6.6", "6.12", "--cpu", "neoverse-v1")
    assert out.startswith("arm64: Linux 6.6 to 6.12, neoverse-v1\n  fields of ID registers")
    assert "    - ID_AA64PFR0_EL1.MPAM\n" in out
    assert "    ~ KVM_ARM_GET_REG_WRITABLE_MASKS: EINVAL -> ok\n" in out
    assert "MPAM" not in said(capsys, "6.6", "6.12", "--cpu", "cortex-a57", "--arch", "arm64")


SET = "KVM_SET_ONE_REG "
NEW_VERSION = SET + "KVM_REG_ARM_PSCI_VERSION "


@pytest.mark.parametrize(
    ("cpu", "older", "newer", "group", "changed"),
    [
        (
            "neoverse-v1", "5.10", "6.1", "call",
            {
                "KVM_RUN of a vCPU whose PMU is not initialized": ("ok", "EINVAL"),
                NEW_VERSION + "1.1": ("EINVAL", "ok"),
            },
        ),
        (
            "neoverse-v1", "6.1", "6.6", "call",
            {
                "KVM_ARM_VCPU_INIT of a second vCPU with other features": ("ok", "EINVAL"),
                SET + "CLIDR_EL1, another value": ("EINVAL", "ok"),
                SET + "ID_AA64PFR0_EL1 after KVM_RUN, another value": ("EINVAL", "EBUSY"),
            },
        ),
        (
            "neoverse-v1", "6.12", "6.16", "call",
            {
                "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS": ("EINVAL", "ok"),
                "the same with ARM_WRITABLE_IMP_ID_REGS": ("EINVAL", "ok"),
                SET + "ID_AA64PFR0_EL1, EL0 is 0": ("ok", "EINVAL"),
                NEW_VERSION + "1.3": ("EINVAL", "ok"),
            },
        ),
        ("max,mte=on", "5.10", "6.1", "call", {
            "KVM_ENABLE_CAP ARM_MTE": ("EINVAL", "ok"),
            "KVM_RUN of a vCPU whose PMU is not initialized": ("ok", "EINVAL"),
            NEW_VERSION + "1.1": ("EINVAL", "ok"),
        }),
        # What is not there is no change, and neither is what answers as before.
        (
            "neoverse-v1", "6.12", "6.16", "feature",
            {"feature bit 7": ("ENOENT", "EINVAL"), "feature bit 8": ("ENOENT", "ok")},
        ),
        ("cortex-a57", "7.2", "7.3", "feature", {"feature bit 9": ("ENOENT", "EINVAL")}),
        ("neoverse-v1", "7.2", "7.3", "capability", {"KVM_CAP_ARM_PMU_V3_STRICT": ("", "0x1")}),
        ("cortex-a57", "5.10", "6.1", "field", {"ID_AA64PFR0_EL1.CSV3": ("", "0x1")}),
    ],
)  # fmt: skip
def test_what_a_guest_has_otherwise(
    cpu: str, older: str, newer: str, group: str, changed: dict[str, tuple[str, str]]
) -> None:
    found = changes([cores()[cpu]], kernels()[older], kernels()[newer])
    assert {one.name: (one.before, one.after) for one in found if one.group == group} == changed


def test_guests_of_an_arm64_cpu_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "7.2", "7.3", "--cpu", "graviton4", "--json"))
    assert (found["kind"], found["cpu"], found["x86"]) == ("kernels", "graviton4", None)
    assert {"group": "feature", "name": "feature bit 9", "before": "ENOENT", "after": "EINVAL"} in found["arm64"]


def test_a_change_names_its_commit_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert "commit 6685f5d572c2 (KVM: arm64: Disable MPAM" in said(capsys, "6.6", "6.12", "--arch", "arm64")


def test_a_cpu_of_no_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "kernels", "6.6", "6.12", "--cpu", "neoverse-v9", "--arch", "arm64"]) == 2
    assert "neoverse-v" in capsys.readouterr().err
