"""``inspector lint``: each rule has a capture that breaks it, and one that almost does."""

import json
from copy import copy

import pytest

from inspector.capture.model import Capture, Vcpu
from inspector.capture.overlay import Overlay
from inspector.cli.main import main
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable
from inspector.lint.findings import Finding, codes_with_checks, findings
from inspector.readers.options import Options
from inspector.targets import samples
from inspector.targets.schemes import capture_of
from layouts.lint.rule import SEVERITIES
from layouts.lint.table import lint_rules
from tests.lint.cases import CASES, Case


def edited(case: Case, edits: str) -> Capture:
    capture = capture_of(f"sample:{case.sample}", Options())
    overlay = Overlay()
    vcpu = capture.vcpus[case.vcpu]
    for edit in edits.split():
        prefix, cut, size = edit.partition("<")
        if edit == "x2":
            capture.vcpus[:] = [vcpu, Vcpu(vcpu.index + 1, vcpu.name, vcpu.arch, [copy(area) for area in vcpu.areas])]
        elif edit.startswith("-"):
            vcpu.areas[:] = [area for area in vcpu.areas if area.prefix != edit[1:]]
        elif cut:
            for area in vcpu.areas:
                area.data = bytes(area.data[: int(size)]) if area.prefix == prefix else area.data
        else:
            set_in(vcpu, overlay, *edit.split("="))
    return capture


def set_in(vcpu: Vcpu, overlay: Overlay, path: str, value: str) -> None:
    for area in vcpu.areas:
        table = FieldTable(area)
        found = table.find(path)
        if found:
            set_field(overlay, table, found[0], value)
            return
    raise AssertionError(f"vCPU {vcpu.index} has no {path}")


def found(capture: Capture, case: Case) -> list[Finding]:
    return [finding for finding in findings(capture, case.vmm) if finding.rule.code == case.code]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_broken_state_is_found_and_a_near_miss_is_not(case: Case) -> None:
    broken = found(edited(case, case.breaks), case)
    assert broken
    assert all(finding.evidence and finding.path for finding in broken)
    assert not found(edited(case, case.near), case)


def test_every_rule_has_a_check_and_a_case() -> None:
    assert codes_with_checks() == set(lint_rules())
    assert {case.code for case in CASES} == set(lint_rules())


def test_rules_are_whole() -> None:
    for code, rule in lint_rules().items():
        assert code == rule.code
        assert rule.severity in SEVERITIES
        assert all((rule.title, rule.about, rule.happens, rule.remedy, rule.source)), code


#: Findings of shipped samples that are true: the sample, the code, and why.
KNOWN: dict[tuple[str, str], str] = {
    ("amx", "X0411"): "the vCPU was made without permission for tiles, and its CPUID still offers AMX",
    ("kvm-vcpus/rome-linux-6.12", "X0355"): "KVM lists MSR_KVM_ASYNC_PF_INT without irqchip, and refuses it",
}


@pytest.mark.parametrize("name", samples.names())
def test_shipped_samples_are_clean_or_the_finding_is_true(name: str) -> None:
    capture = capture_of(f"sample:{name}", Options())
    bad = {(name, f.rule.code) for f in findings(capture) if f.rule.severity == "error"}
    assert bad <= set(KNOWN), bad


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "sample:kvm-vcpus/sapphire-rapids-linux-7.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "lint"
    assert main(["explain", "x0102"]) == 0
    assert "validate_user_xstate_header" in capsys.readouterr().out
    assert main(["explain", "X9999"]) == 2
