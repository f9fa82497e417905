"""``inspector lint``: each rule has a capture that breaks it, and one that almost does."""

import json
import tarfile
from copy import copy
from pathlib import Path
from random import Random
from time import process_time

import pytest

from inspector.capture.model import Area, Capture, Vcpu
from inspector.capture.overlay import Overlay
from inspector.cli.lint import VMMS
from inspector.cli.main import main
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable
from inspector.export.lint import rules_page
from inspector.lint.findings import Finding, codes_with_checks, findings
from inspector.readers.options import Options
from inspector.targets import samples
from inspector.targets.schemes import capture_of
from layouts.arm64.ids import CORE_MEMBERS, SVE_FFR, SVE_VLS, RegisterId
from layouts.arm64.kvm_ids import id_of_name
from layouts.kvm_ids import explain
from layouts.lint.rule import SEVERITIES
from layouts.lint.table import lint_rules
from tests.lint.case import Case
from tests.lint.cases_arm64 import ARM64_CASES
from tests.lint.cases_x86 import X86_CASES
from tests.shared import FIRECRACKER, SHARED, needs

CASES = (*X86_CASES, *ARM64_CASES)


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
        elif edit[0] in "~+":
            list_edit(vcpu.areas[0], edit)
        else:
            set_in(vcpu, overlay, *edit.split("="))
    return capture


def list_edit(area: Area, edit: str) -> None:
    """A register left out of a list, or added to it."""
    ids = [RegisterId(number) for number in area.attributes["ids"]]
    name, _, value = edit[1:].partition("=")
    if edit[0] == "~":
        at = next(at for at, number in enumerate(ids) if explain(number).path == name)
        start = sum(number.size_bytes for number in ids[:at])
        area.data = bytes(area.data[:start]) + bytes(area.data[start + ids.pop(at).size_bytes :])
    else:
        added = RegisterId(int(name, 16)) if name.startswith("0x") else id_of_path(name)
        area.data = bytes(area.data) + int(value, 0).to_bytes(added.size_bytes, "little")
        ids.append(added)
    area.original = area.data
    area.declared_size_bytes = len(area.data)
    area.attributes = {**area.attributes, "ids": ids}


def id_of_path(path: str) -> RegisterId:
    known = {one.path.format(n=0): one.id() for one in CORE_MEMBERS} | {"sve.vls": SVE_VLS, "sve.ffr": SVE_FFR}
    return known[path] if path in known else RegisterId(id_of_name(path.removeprefix("sysreg.")) or 0)


def set_in(vcpu: Vcpu, overlay: Overlay, path: str, value: str) -> None:
    for area in vcpu.areas:
        table = FieldTable(area)
        found = table.find(path)
        if found:
            area.attributes.pop("synthesized", None)
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
    ("logs/refused-cpuid.strace.txt", "X0209"): "the log is of a program that tries EFER with bit 63",
    ("logs/refused-cpuid.strace.txt", "X0423"): "the log is of a program that tries CPUID without XSAVE",
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
    capsys.readouterr()
    assert main(["explain", "feat_sve2"]) == 0
    assert "ID_AA64ZFR0_EL1.SVEver" in capsys.readouterr().out
    assert main(["explain", "FEAT_SVE22"]) == 2
    assert "FEAT_SVE2" in capsys.readouterr().err


def test_the_page_is_current() -> None:
    page = (Path(__file__).parents[2] / "docs/lint.md").read_text("utf-8")
    assert page == "\n".join(rules_page(lint_rules())) + "\n", "inspector explain --markdown > docs/lint.md"


def test_each_group_has_its_module() -> None:
    """A code's first three letters say the group, and rules of one module are neighbours."""
    codes = list(lint_rules())
    assert codes == sorted(codes, key=lambda code: ("XA".index(code[0]), code))


RESTORED = SHARED / "restore/captures.tar.xz"
#: Findings of captures without irqchip, which are true: KVM lists MSR_KVM_ASYNC_PF_INT and refuses it.
WITHOUT_IRQCHIP = {"X0355"}


@needs(RESTORED)
def test_captures_of_real_kernels_are_clean(tmp_path: Path) -> None:
    with tarfile.open(RESTORED) as archive:
        archive.extractall(tmp_path, filter="data")
    for folder in sorted((tmp_path / "captures").iterdir()):
        bad = {one.rule.code for one in findings(capture_of(str(folder), Options())) if one.rule.severity == "error"}
        assert bad <= (WITHOUT_IRQCHIP if folder.name.endswith("noirq") else set()), folder.name


@needs(FIRECRACKER)
def test_fingerprints_are_clean() -> None:
    for path in sorted(FIRECRACKER.glob("fingerprint_*.json")):
        found = findings(capture_of(str(path), Options()))
        assert not [one for one in found if one.rule.severity == "error"], path.name


def test_a_folder_takes_a_tenth_of_a_second() -> None:
    capture = capture_of("sample:kvm-vcpus/milan-nested-linux-7.3", Options())
    taken = []
    for _ in range(3):
        start = process_time()
        list(findings(capture))
        taken.append(process_time() - start)
    assert min(taken) < 0.1


@pytest.mark.parametrize("name", ["amx", "kvm-vcpus/milan-nested-linux-7.3", "arm64-kvm/max-linux-7.2.13.regs"])
def test_damaged_captures_raise_nothing(name: str) -> None:
    chance = Random(name)
    for _ in range(15):
        capture = capture_of(f"sample:{name}", Options())
        for area in (area for vcpu in capture.vcpus for area in vcpu.areas):
            data = bytearray(area.data[: chance.choice((len(area.data), chance.randrange(len(area.data))))])
            for at in chance.sample(range(len(data)), min(40, len(data))):
                data[at] = chance.randrange(256)
            area.data = bytes(data)
        list(findings(capture, chance.choice(VMMS)))


@pytest.mark.parametrize("name", ["two-vcpus", "signal-frame", "arm64-grace-to-graviton3", "arm64-memory"])
def test_the_simulated_machines_state_is_whole(name: str) -> None:
    """A kernel's own buffer may be compacted, every listed register is there, and two hosts are two machines."""
    assert not [f for f in findings(capture_of(f"sim:{name}", Options())) if f.rule.severity in ("error", "warning")]
