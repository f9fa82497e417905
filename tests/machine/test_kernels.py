"""What the machines answer on kernels that lack something, and which kernel they say answers."""

from __future__ import annotations

import errno
import gzip
import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.kernels import rules_told
from inspector.machine.arm64.host import PMU_V3, PSCI_0_2
from inspector.machine.arm64.idregs import IdWrite, write
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.machine.x86.cpu.instructions.control import MSR_XFD
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.supported import named_cpuid, supported_leaf_0xd, xsave2_capability
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Process
from layouts.arm64 import kernels as arm64
from layouts.coming import COMING
from layouts.kernels import Kernel
from layouts.x86.kernels import profile_for
from tests.machine.support import host_named
from tests.machine.support import world as x86_world

#: What ``next`` is until a series is merged.
NEWEST = next(reversed(arm64.kernels()))
RECORDED = Path(__file__).parent / "verdicts/arm64-linux-7.2-max.jsonl.gz"
_ALIVE = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2")


def process_on(release: str) -> Process:
    return Linux(Host(shipped_cpu("sapphire-rapids"), profile_for(release))).spawn()


def test_5_10_has_no_dynamic_components() -> None:
    """No arch_prctl, no KVM_CAP_XSAVE2, no XFD and no tiles for guests; Linux itself leaves both alone."""
    process = process_on("5.10.223-1")
    for outcome in (process.get_supported(), process.get_permission(guest=True), process.request_permission(18)):
        assert outcome.code == errno.EINVAL
        assert outcome.because == "arch_prctl has it (from 5.16 on)"
    assert xsave2_capability(process) == 0
    leaves = supported_leaf_0xd(process)
    assert leaves[0][0] == 0x2E7
    assert leaves[1][0] == 0xF
    vcpu = Vcpu(process)
    assert vcpu.set_cpuid(named_cpuid(process, "amx")).accepted
    assert vcpu.set_xcrs((0, 0x602E7)).code == errno.EINVAL
    assert vcpu.set_xcrs((0, 0x2E7)).accepted
    assert not vcpu.set_msr(MSR_XFD, 0).accepted
    assert vcpu.get_xsave2().code == errno.EINVAL
    assert len(vcpu.get_xsave().image) == 4096


def test_a_guest_of_5_10_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its Linux, and the host's, come up without a write to XFD on a CPU that has it."""
    events = ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_SET_XCRS 0x2e7", "KVM_RUN", "guest boot")
    assert main(["sim", "new", "--kernel", "5.10", *(word for event in events for word in ("--event", event))]) == 0
    assert "XFD :=" not in capsys.readouterr().out


def test_a_guest_whose_release_has_no_profile_says_which_one_answers(capsys: pytest.CaptureFixture[str]) -> None:
    events = ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_RUN", "guest boot 6.14")
    words = [word for event in events for word in ("--event", event)]
    assert main(["sim", "new", "--explain", *words]) == 0
    assert "Linux 6.14 has no profile: Linux 6.12 answers for it" in capsys.readouterr().out


def test_recorded_answers_without_a_profile_say_which_one_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_bytes(gzip.decompress(RECORDED.read_bytes()).replace(b'"release":"7.2', b'"release":"6.20'))
    assert main(["models", "list", "--host", str(path)]) == 0
    assert "Linux 6.20 has no profile: Linux 6.19 answers for it" in capsys.readouterr().err


@pytest.mark.parametrize(("release", "keeps"), [("6.16", False), ("6.17", True), ("7.3", True)])
def test_supervisor_shadow_stacks_are_in_buffers_of_guests_only(release: str, keeps: bool) -> None:
    host = Host(shipped_cpu("sapphire-rapids"), profile_for(release))
    assert not host.kernel_default >> 12 & 1
    assert bool(host.guest_default >> 12 & 1) == keeps


def test_headings_say_which_kernel_answers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["sim", "new", "--kernel", "6.14.0-27-generic", "--event", "KVM_CREATE_VCPU"])
    out, err = capsys.readouterr()
    assert "sapphire-rapids, Linux 6.12 for 6.14, policy upstream" in out
    assert err == "inspector: Linux 6.14 has no profile: Linux 6.12 answers for it\n"
    main(["sim", "new", "--kernel", "6.14", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["kernel"], found["answers_for"]) == ("6.12", "6.14")
    main(["sim", "new", "--kernel", "6.12-rc3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["kernel"], found["answers_for"]) == ("6.12", None)


def test_arm64_headings_say_which_kernel_answers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "check", "host", "--host", "max@6.14"])
    out, err = capsys.readouterr()
    assert "max, kernel 6.12 for 6.14: usable" in out
    assert err == "inspector: Linux 6.14 has no profile: Linux 6.12 answers for it\n"
    main(["migrate", "neoverse-v1@6.12-rc3", "neoverse-v1", "--kernel", "Linux 7.3"])
    assert "to neoverse-v1, kernel 7.3, QEMU:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["sim", "new", "--kernel", "4.19"],
        ["sim", "new", "--kernel", "newest"],
        ["set", "sample:amx", "xcr.xcr0=7", "--kernel", "4.19"],
        ["models", "check", "host", "--host", "max@4.19"],
        ["models", "check", "host", "--host", "max", "--kernel", "oldest"],
        ["migrate", "max", "max@4.19"],
    ],
)
def test_an_unknown_kernel_is_bad_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "kernel '" in error
    assert error.count("\n") == 1


def test_profiles_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "kernels"]) == 0
    out = capsys.readouterr().out
    assert out.count("Linux 7.2.13 (Debian linux-source-7.2 7.2.13-1)") == 2
    assert main(["layouts", "kernels", "6.17.13"]) == 0
    out = capsys.readouterr().out
    assert "    supervisor_supported: 0xc00 -> 0x1c00\n" in out
    assert "    fields ID_AA64MMFR3_EL1: +SCTLRX\n" in out
    assert main(["layouts", "kernels", "5.10"]) == 0
    assert "the oldest profile" in capsys.readouterr().out


@pytest.mark.parametrize("release", ["", "4.19.0-27-arm64"])
def test_recorded_answers_of_no_known_kernel_are_no_host(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [{"t": "idreg", "cfg": "base", "reg": "3_0_0_4_0", "host": "11", "nib": [[0] * 16] * 16}]
    lines += [{"t": "uname", "release": release}] if release else []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["models", "check", "host", "--host", str(path)]) == 3
    error = capsys.readouterr().err
    assert f"(a uname or meta record), found {release or 'none'}" in error
    assert error.count("\n") == 1


def test_a_host_with_a_kernel_of_its_own_takes_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("kvm:@6.12", f"{RECORDED}@6.12"):
        assert main(["models", "check", "host", "--host", host]) == 2
        assert "has a kernel of its own" in capsys.readouterr().err


def test_6_6_lets_few_fields_be_written() -> None:
    """CSV2 and CSV3, and the PMU's version: the masks of most registers came with 6.7 (sys_reg_descs)."""
    host = host_named("neoverse-v1@6.6")

    def lowered(register: str, lsb: int) -> int:
        encoding = next(each.encoding for each in host.kernel.registers.values() if each.name == register)
        current = host.reset_value(encoding, PSCI_0_2 | PMU_V3)
        assert current >> lsb & 0xF, register
        asked = IdWrite(host, encoding, current & ~(0xF << lsb), PSCI_0_2 | PMU_V3, current)
        return write(asked).outcome.code

    assert lowered("ID_AA64PFR0_EL1", 56) == lowered("ID_AA64PFR0_EL1", 60) == lowered("ID_AA64DFR0_EL1", 8) == 0
    assert lowered("ID_AA64ISAR0_EL1", 4) == lowered("ID_AA64PFR0_EL1", 48) == errno.EINVAL
    assert not host.kernel.reports_masks


def test_what_is_not_merged_is_told_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """``next`` is the newest profile, and says what it lacks: in no line of it is a series taken for merged."""
    assert main(["layouts", "kernels", "next"]) == 0
    out = capsys.readouterr().out
    titles = [line for line in out.splitlines() if not line.startswith(" ")]
    assert len(titles) == len(COMING)
    assert all(line.endswith("(not merged)") for line in titles)
    main(["layouts", "kernels", "next", "--arch", "x86"])
    assert "arm64" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [("sim", "guest-xfd", "--kernel", "next"), ("models", "list", "--host", "max@next")])
def test_a_command_on_next_says_not_merged(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    main(list(words))
    told = capsys.readouterr()
    assert "not merged; Linux" in told.err
    assert arm64.profile_for("next").label.endswith(", next is not merged")


def test_what_is_coming_is_in_no_profile() -> None:
    """Where a release has it, the entry has to go."""
    newest = arm64.profile_for("next")
    pfr1 = next(at for at, register in newest.registers.items() if register.name == "ID_AA64PFR1_EL1")
    fields = {"SME": 24, "GCS": 44}
    assert all(newest.limits[pfr1].hidden >> lsb & 0xF == 0xF for lsb in fields.values())
    assert not profile_for("next").kvm_xcr0 >> 19 & 1


def test_next_is_what_a_release_is_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "kernels", "next", "7.3"]) == 2
    assert "next is no release" in capsys.readouterr().err
    main(["layouts", "kernels", NEWEST, "next"])
    told = capsys.readouterr().out
    assert told.count("nothing that is modelled") == 2
    assert told.count("(not merged)") == len(COMING)
    main(["layouts", "kernels", NEWEST, "next", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [found["newer"], found["x86"], len(found["not_merged"])] == ["next", [], len(COMING)]
    main(["layouts", "kernels", "7.2", "next", "--cpu", "neoverse-v1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["arm64"]
    assert all(not one["merged"] for one in found["not_merged"])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("new", "--host", "neoverse-v1", "--event", "KVM_CREATE_VM"), ""),
        (("arm64-life-cycle", "--event", "KVM_ARM_VCPU_INIT SME"), "SME for guests"),
        (("arm64-guest-sve", "--event", "guest smstart"), "SME for guests"),
        (("arm64-life-cycle", "--event", "KVM_GET_ONE_REG GCSCR_EL1"), "GCS for guests"),
        (("guest-xfd", "--host", "apx", "--event", "guest xsetbv 0x80007"), "APX for guests"),
        (("guest-xfd", "--event", "KVM_SET_CPUID2 fred"), "FRED for guests"),
    ],
)
def test_what_a_series_decides_is_open_on_next(
    words: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sim", *words, "--kernel", "next", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["not_merged"] == [one.name for one in COMING]
    last = found["events"][-1]
    assert last["verdict"] == ("depends-on" if name else "ok")
    assert last["because"].startswith(f"depends on {name}, not merged; Linux {NEWEST}: " if name else "")


@pytest.mark.parametrize(
    ("events", "last", "answer"),
    [
        (("KVM_CREATE_VM", "KVM_CREATE_VCPU"), "KVM_SET_ONE_REG SMCR_EL1 1", "ENOEXEC"),
        (_ALIVE, "KVM_SET_ONE_REG SMCR_EL1 1", "depends-on"),
        (_ALIVE, "KVM_SET_ONE_REG ID_AA64PFR1_EL1.SME 1", "depends-on"),
        ((*_ALIVE, "KVM_RUN"), "KVM_SET_ONE_REG ID_AA64PFR1_EL1.SME 1", "EBUSY"),
        (_ALIVE, "guest smstart", "SME trap"),
        ((*_ALIVE, "guest msr CPACR_EL1 0x3300000"), "guest smstart", "depends-on"),
        (_ALIVE, "guest mrs SVCR", "depends-on"),
        (_ALIVE, "KVM_SET_ONE_REG ZA 1", "depends-on"),
    ],
)
def test_what_is_refused_for_another_reason_stays_refused(events: tuple[str, ...], last: str, answer: str) -> None:
    world = Arm64World([host_named("max@next")])
    world.play(events)
    assert world.happen(last).outcome.name == answer


def test_a_processor_without_sme_has_none_whatever_is_merged() -> None:
    world = Arm64World([host_named("neoverse-v1@next")])
    world.play(_ALIVE)
    assert world.happen("guest smstart").outcome.because == "the processor has SME"
    with pytest.raises(EventError, match="there is no VM 1"):
        world.happen("KVM_SET_ONE_REG SMCR_EL1 1 vm=1")


def test_what_xcr0_lacks_besides_a_series_is_refused_on_next() -> None:
    found = x86_world("apx", "next")
    found.play(["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported"])
    assert [found.happen(f"KVM_SET_XCRS {value}").outcome.name for value in ("0x80000", "0x80001", "0x80007")] == [
        "EINVAL",
        "depends-on",
        "depends-on",
    ]


def test_changes_are_told_by_field_and_rules_with_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    main(["layouts", "kernels", "6.6", "6.12", "--arch", "arm64"])
    told = capsys.readouterr().out
    assert "registers ID_AA64PFR0_EL1: writable +RME, +DIT, +SEL2, +GIC, +EL3, +EL2, +EL1, +EL0" in told
    assert "registers ID_PFR0_EL1: sanitised -> writable all of it" in told
    assert "least_debug: 0 -> 6\n      DebugVer and CopDbg are at least this" in told
    main(["layouts", "kernels", "5.10", "6.1", "--arch", "arm64"])
    assert "fw.STD_BMAP: none -> 0x1 at reset of 0x1" in capsys.readouterr().out
    main(["layouts", "kernels", "6.19", "7.0", "--arch", "x86"])
    assert "AVX10_VERSION (CPUID.24.0.EBX[7:0]): 0x1 -> 0x2" in capsys.readouterr().out


def test_every_rule_of_the_profiles_is_told() -> None:
    rules = set(arm64.Arm64Kernel.field_names()) - set(Kernel.field_names()) - {"registers", "fields", "limits"}
    assert not rules - rules_told().keys()


def test_undo_on_next_keeps_what_is_open() -> None:
    world = Arm64World([host_named("neoverse-v1@next")])
    world.play(["KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT SME", "KVM_ARM_VCPU_INIT PSCI_0_2"])
    world.undo()
    assert [step.outcome.verdict for step in world.steps] == ["ok", "ok", "depends-on"]
    assert world.steps[2].before == world.steps[2].after


_TWO = ("KVM_CREATE_VCPU", "KVM_CREATE_VCPU")


@pytest.mark.parametrize(
    ("host", "events", "answer"),
    [
        ("apx", ("KVM_CREATE_VCPU", "KVM_SET_XCRS 0x80007"), "EINVAL"),
        ("apx", ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_SET_XCRS 0x80007"), "depends-on"),
        ("apx", ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_SET_XCRS 0x80006"), "EINVAL"),
        ("sapphire-rapids", ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "guest xsetbv 0x80007"), "#GP"),
        ("zen5", ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "guest xsetbv 0x80007"), "#GP"),
        # Another vCPU's CPUID is another's.
        ("apx", (*_TWO, "KVM_SET_CPUID2 supported vcpu=1", "KVM_SET_XCRS 0x80007 vcpu=1"), "depends-on"),
        ("apx", (*_TWO, "KVM_SET_CPUID2 supported", "KVM_SET_XCRS 0x80007 vcpu=1"), "EINVAL"),
    ],
)
def test_what_a_series_leaves_as_it_is_stays(host: str, events: tuple[str, ...], answer: str) -> None:
    """APX's bit of XCR0 needs a CPU with it and the guest's CPUID, as every bit does (__kvm_set_xcr)."""
    world = x86_world(host, "next")
    world.play(events)
    assert world.steps[-1].outcome.name == answer
