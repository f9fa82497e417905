"""A vCPU on its way to another host: which call fails, on which field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.register_list import register_list
from inspector.machine.arm64.captured import host_showing, state_of
from inspector.machine.arm64.host import PSCI_0_2, SVE
from inspector.machine.arm64.migrate import migrate, restore
from inspector.machine.arm64.models.realize import ScratchVcpu, ask
from inspector.machine.arm64.models.request import parse_words, request
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Step
from inspector.machine.x86.host import shipped_host
from inspector.machine.x86.world.restore import restore as restore_x86
from inspector.readers.open import open_capture
from inspector.readers.options import Options
from inspector.targets import schemes, x86_restore
from inspector.targets.arm64_host import capture_of, registers_of
from layouts.arm64 import ids
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import sysreg_id
from layouts.arm64.kernels import kernels
from layouts.x86 import kernels as x86
from tests.machine.arm64 import VERDICTS
from tests.machine.arm64_bounds import rid
from tests.machine.arm64_moves import guest_of
from tests.machine.support import host_named


@pytest.mark.parametrize("kernel", sorted(kernels()))
@pytest.mark.parametrize("name", sorted(bare_hosts()))
def test_to_its_own_host(name: str, kernel: str) -> None:
    made = migrate(guest_of(f"{name}@{kernel}"), host_named(f"{name}@{kernel}"))
    assert made.accepted, [(step.event, str(step.outcome)) for step in made.failures]


def test_a_named_model_goes_where_the_host_model_cannot() -> None:
    destination = host_named("max")
    assert not migrate(guest_of("neoverse-v1"), destination, writable_imp=True).accepted
    assert migrate(guest_of("neoverse-v1", model="neoverse-v1-v1"), destination, writable_imp=True).accepted
    failures = migrate(guest_of("neoverse-v1", model="neoverse-v1-v1"), destination).failures
    assert [step.register_id & 0xFFFF for step in failures] == [0xC000]


def test_the_field_is_named() -> None:
    made = migrate(guest_of("qemu-neoverse-n2", "sve=off", "pauth=off"), host_named("neoverse-n1"))
    steps = {step.register_id: step for step in made.failures}
    isar0 = steps[sysreg_id(0xC030)]
    assert isar0.outcome.name == "EINVAL"
    assert {"feat_RNDR", "feat_TLB", "feat_SHA2"} <= {field.name for field in isar0.fields}
    reason = next(field for field in isar0.fields if field.name == "feat_SHA2")
    assert (reason.value, reason.host, reason.why) == (2, 1, "SHA2 is at most 1 (found 2)")


def test_sve_where_there_is_less() -> None:
    guest = guest_of("neoverse-v1")
    made = migrate(guest, host_named("neoverse-n2"))
    assert made.failures[0].event == "KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS 16 32 bytes"
    assert made.failures[0].outcome.name == "EINVAL"
    none = migrate(guest, host_named("neoverse-n1"))
    assert [step.outcome.name for step in none.failures] == ["EINVAL"]
    assert none.failures[0].event.startswith("KVM_ARM_VCPU_INIT")
    # Nothing is tried on a vCPU that is not there.
    assert (none.steps[-1], none.untried) == (none.failures[0], len(guest.registers))


def test_the_calls_of_a_move() -> None:
    """Init, lengths, finalize, registers by id; only SET_ONE_REG has a register, and only a refusal fields."""
    guest = guest_of("neoverse-v1")
    plain, z0 = rid("TTBR0_EL1"), ids.SVE_Z0
    guest.registers.update({plain: bytes(8), rid("TTBR1_EL1"): bytes(8), z0: bytes(256)})
    made = migrate(guest, host_named("neoverse-v1"), writable_imp=True)
    assert made.accepted
    events = [(step.event, step.register_id) for step in made.steps]
    assert events[0] == ("KVM_ENABLE_CAP KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", 0)
    lengths = events.index(("KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS 16 32 bytes", ids.SVE_VLS))
    assert events[lengths + 1] == ("KVM_ARM_VCPU_FINALIZE SVE", 0)
    assert {event for event, _ in events[lengths + 2 :]} == {"KVM_SET_ONE_REG"}
    tried = [register_id for _, register_id in events[lengths + 2 :]]
    assert tried == sorted(tried)
    assert z0 in tried
    assert made.untried == len(guest.registers) - 1 - len(tried)
    assert made.untried >= 2
    other = migrate(guest, host_named("neoverse-n2"), writable_imp=True)
    assert not any(step.fields for step in other.steps if step.outcome.accepted)
    assert sysreg_id(ids.MIDR) in {step.register_id for step in other.steps if step.outcome.accepted}


def test_the_proposals_interface() -> None:
    made = migrate(guest_of("neoverse-v1"), host_named("neoverse-v1"), abi="proposal")
    assert made.accepted
    calls = [step.event for step in made.steps]
    assert ("KVM_ARM_VCPU_SET_SVE_VLS 16 32 bytes", ids.SVE_VLS) in [
        (step.event, step.register_id) for step in made.steps
    ]
    assert "KVM_ARM_VCPU_FINALIZE SVE" not in calls


def test_registers_that_the_destination_lacks_are_named() -> None:
    old, new = 0x6030_0000_0013_C080, 0x6030_0000_0013_C083
    source = state_of("source", {old: bytes(8), new: bytes(8)})
    destination = host_showing(state_of("destination", {old: bytes(8)}), kernels()["7.2"])
    made = migrate(source, destination)
    assert made.unknown == (new,)
    assert not made.accepted


def test_state_as_list_and_capture_is_the_same_state(tmp_path: Path) -> None:
    guest = guest_of("neoverse-v1")
    assert registers_of(capture_of(guest).vcpus[0]) == dict(sorted(guest.registers.items()))
    path = tmp_path / "guest.regs"
    path.write_text(register_list(guest))

    found = registers_of(open_capture(str(path), Options()).vcpus[0])
    assert found == dict(sorted(guest.registers.items()))
    again = state_of("again", found)
    assert again.features & ~PSCI_0_2 == guest.features & ~PSCI_0_2
    assert again.vqs == guest.vqs
    assert again.features & SVE


def test_migrate_from_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guest.regs"
    path.write_text(register_list(guest_of("neoverse-v1")))
    assert main(["migrate", str(path), "neoverse-v1"]) == 0
    assert "the vCPU arrives" in capsys.readouterr().out
    assert main(["migrate", str(path), "neoverse-n1", "--json"]) == 1
    assert '"verdict": "EINVAL"' in capsys.readouterr().out


def test_migrate_a_captured_guest(capsys: pytest.CaptureFixture[str]) -> None:
    source = "sample:graviton3/linux-6.18"
    assert main(["migrate", source, "neoverse-n1"]) == 1
    out = capsys.readouterr().out
    assert "ID_AA64ISAR0_EL1.SHA2=2: SHA2 is at most 1 (found 2) (property feat_SHA2)" in out
    assert "MIDR_EL1.PartNum=0xd40" in out


def test_every_field_has_its_origin_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """The same words and shape as of x86: who decided, whether the guest can notice, QEMU's words, all at once."""
    words = ["migrate", "sample:graviton3/linux-6.18", "neoverse-n1@6.12"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "\n  3 fields by kernel\n    Variant (MIDR_EL1): 6.12 shows every guest the host's; Linux 6.16 to" in out
    assert "    RNDR (ID_AA64ISAR0_EL1): the CPU of neoverse-n1 has 0, the guest 1; no state of a vCPU" in out
    assert "\n      -cpu ...,feat_RNDR=off\n" in out
    assert "fw.PSCI_VERSION: EINVAL; this does not hold: a PSCI version of this kernel\n    taken by Linux 6.16" in out
    assert "\n  a guest that starts without 24 fields: still in the way: KVM_SET_ONE_REG sysreg.MIDR_EL1" in out
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["arch"], found["vmm"], found["arrives"], found["verdict"]) == ("arm64", "qemu", False, "refused")
    assert found["refused_by"] == "register list"
    assert [entry["held"] for entry in found["compared"]] == [False]
    bits = {bit["where"]: bit for bit in found["bits"]}
    midr, rndr = bits["id.MIDR_EL1.PartNum"], bits["id.ID_AA64ISAR0_EL1.RNDR"]
    assert (midr["by"], midr["rule"], midr["remedies"]) == ("kernel", "equal", {"qemu": ""})
    assert (rndr["by"], rndr["rule"], rndr["remedies"]) == ("silicon", "at_most", {"qemu": "-cpu ...,feat_RNDR=off"})
    assert (rndr["source"], rndr["target"], rndr["blocks"], rndr["noticed"]) == ("0x1", "0x0", True, None)
    refused = {step["call"]: step for step in found["steps"] if not step["accepted"]}
    assert set(refused) == {failure["call"] for failure in found["failures"]}
    psci = refused["KVM_SET_ONE_REG fw.PSCI_VERSION"]
    assert (psci["errno"], psci["kernels"][0], psci["then"]["does"]) == (22, "6.16", "abort")
    assert found["together"]["arrives"] is False
    assert len(found["together"]["bits"]) == 24


def test_all_remedies_together_are_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "sample:graviton3/linux-6.18", "neoverse-n1@7.2", "--imp-ids", "--json"]) == 1
    together = json.loads(capsys.readouterr().out)["together"]
    assert (together["arrives"], together["verdict"], together["still"]) == (True, "arrives", [])
    assert "feat_SHA2=sha256" in together["remedies"]["qemu"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["migrate", "sample:amx", "neoverse-n1"], "neoverse-n1 is an arm64 CPU, and an x86 model was asked for"),
        (["migrate", "neoverse-n1", "nothing"], "nothing: no such CPU or file; inspector layouts list has them all"),
        (["migrate", "nothing", "neoverse-n1"], "nothing: no such CPU or file"),
        (["migrate", "neoverse-n1", "sample:amx"], "expected an arm64 vCPU with ID registers"),
        (
            ["migrate", "neoverse-n1", f"{VERDICTS}/x86-amx-linux-7.2.jsonl.gz"],
            "expected an arm64 kernel's answers, with ID registers, found none",
        ),
        (["models", "check", "neoverse-v1", "--host", "max", "sve100=on"], "sve100: expected a vector length of 128"),
        (["models", "list", "--arch", "arm64", "--to", "libvirt"], "--host names the host"),
        (["models", "check", "nope", "--host", "max"], "nope: no such model or file"),
    ],
)
def test_wrong_targets(words: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (2, 3)
    assert wrong in capsys.readouterr().err


CCSIDR = 0x6020_0000_0011_0000


def test_cache_sizes_are_made_up_and_may_be_anything_with_long_enough_lines() -> None:
    host = host_named("a64fx")
    vcpu, _ = ask(request(None, parse_words([]), host), host)
    assert vcpu.get(CCSIDR).image == bytes([4, 0, 0, 0])
    assert vcpu.set(CCSIDR, bytes([5, 1, 2, 3])).accepted
    assert vcpu.get(CCSIDR).image == bytes([5, 1, 2, 3])
    assert vcpu.get(CCSIDR | 2).image == bytes([4, 0, 0, 0])
    assert vcpu.set(CCSIDR, bytes([3, 0, 0, 0])).because == "a line has at least 256 bytes"
    for wrong in (CCSIDR | 14, CCSIDR | 0x100, CCSIDR + (1 << 52)):
        assert vcpu.get(wrong).name == vcpu.set(wrong, bytes(8)).name == "ENOENT"


def test_cache_sizes_of_old_kernels_are_the_hardwares() -> None:
    kernel = kernels()["6.1"]
    host = host_showing(state_of("captured", {CCSIDR: bytes([0x1A, 0xE0, 0x1F, 0x70])}), kernel)
    vcpu, _ = ask(request(None, parse_words([]), host), host)
    assert vcpu.get(CCSIDR).image == bytes([0x1A, 0xE0, 0x1F, 0x70])
    assert vcpu.set(CCSIDR, bytes([0x1A, 0xE0, 0x1F, 0x70])).accepted
    assert vcpu.set(CCSIDR, bytes(4)).name == "EINVAL"
    assert vcpu.get(CCSIDR | 1).name == "ENOENT"


def test_unlike_cpus_are_one_host() -> None:
    little, big, both = host_named("cortex-a55"), host_named("cortex-a76"), host_named("cortex-a55+cortex-a76")
    for encoding in (0xC030, 0xC038):
        shared = both.limit(encoding, 0)
        for lsb in range(0, 64, 4):
            values = {host.limit(encoding, 0) >> lsb & 15 for host in (little, big)}
            assert shared >> lsb & 15 in values
    assert migrate(guest_of("cortex-a55+cortex-a76"), both).accepted


OLD, NEW = "sample:arm64-kvm/max-linux-6.12.107.regs", "sample:arm64-kvm/max-linux-7.2.13.regs"


def test_a_register_that_the_new_kernel_hides_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", OLD, f"{NEW}@7.2"]) == 1
    assert "3 registers less: sysreg.TCR2_EL1 (0x603000000013c103), sysreg.PIRE0_EL1" in capsys.readouterr().out
    assert main(["migrate", NEW, f"{OLD}@6.12"]) == 1
    out = capsys.readouterr().out
    assert "1 register less: fw.VENDOR_HYP_BMAP_2 (0x6030000000160003)" in out
    assert "fw.PSCI_VERSION: EINVAL; this does not hold: a PSCI version of this kernel" in out
    assert main(["migrate", NEW, f"{NEW}@7.2"]) == 0


def captured_vcpu() -> ScratchVcpu:
    host = host_named(f"{NEW}@7.2")
    return ask(request(None, parse_words([]), host), host)[0]


WORKAROUND_2 = 0x6030_0000_0014_0002


@pytest.mark.parametrize(
    ("value", "because"),
    [
        (0, ""),
        (1, ""),
        (2, "no better level than the host's (0)"),
        (3, "no better level than the host's (0)"),
        (4, "a level that there is"),
        (0x10, "enabled only where it is available"),
        (0x20, "a level, and whether it is enabled"),
    ],
)
def test_levels_of_the_second_workaround(value: int, because: str) -> None:
    outcome = captured_vcpu().set(WORKAROUND_2, value.to_bytes(8, "little"))
    assert outcome.accepted is not bool(because)
    assert outcome.accepted or outcome.because == because


def test_only_the_os_lock_can_be_written() -> None:
    vcpu, oslsr = captured_vcpu(), 0x6030_0000_0013_808C
    assert vcpu.get(oslsr).value & ~2 == 8
    assert vcpu.set(oslsr, (10).to_bytes(8, "little")).accepted
    assert vcpu.set(oslsr, (9).to_bytes(8, "little")).because == "only OSLSR_EL1.OSLK changes"


def test_ids_with_bits_between_size_and_coprocessor_are_none() -> None:
    vcpu = captured_vcpu()
    for wrong in (0x6031_0000_0013_C020, 0x6030_0001_0013_C020, 0x6130_0000_0013_C020):
        assert vcpu.get(wrong).name == vcpu.set(wrong, bytes(8)).name == "EINVAL"


@pytest.mark.parametrize("name", [f"{OLD}@6.12", f"{NEW}@7.2"])
def test_the_register_list_is_the_real_kernels(name: str) -> None:
    host = host_named(name)
    vcpu, _ = ask(request(None, parse_words([]), host), host)
    assert isinstance(vcpu, Vcpu)
    listed = {int(line.split()[0], 16) for line in sample_lines(name) if line.startswith("0x")}
    assert set(vcpu.register_ids()) == listed


def sample_lines(name: str) -> list[str]:
    path = Path(__file__).parents[2] / "samples" / name.removeprefix("sample:").rpartition("@")[0]
    return path.read_text().splitlines()


def test_a_destination_that_is_known_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "sample:graviton2/linux-6.18", "altra", "--imp-ids"]) == 1
    assert "CTR_EL0.DIC=1: DIC is at most 0 (found 1)" in capsys.readouterr().out
    assert main(["migrate", "sample:graviton3/linux-6.18", "grace", "--imp-ids"]) == 1
    assert "ID_AA64PFR0_EL1.EL0=2: EL0 is at most 1 (found 2)" in capsys.readouterr().out
    made = migrate(guest_of("graviton2", model="neoverse-n1-v1"), host_named("altra"), writable_imp=True)
    assert made.accepted
    assert {"hw_prop_CWG", "feat_PARANGE"} <= {entry.name for entry in made.open}
    assert not any(entry.why for entry in made.open)


def test_a_restore_is_steps_on_both_machines() -> None:
    """The same question, the same type of answer: events in words and their outcomes."""
    captured = x86_restore.captured_state(schemes.capture_of("sample:amx").vcpus[0])
    assert captured is not None
    for steps in (
        restore(guest_of("neoverse-v1"), host_named("neoverse-v1")),
        restore_x86(captured, shipped_host("sapphire-rapids", x86.profile_for("7.2"))),
    ):
        assert all(isinstance(step, Step) and step.event for step in steps)
        assert [str(step.outcome) for step in steps if not step.outcome.accepted] == []
        assert len(steps) > 3
