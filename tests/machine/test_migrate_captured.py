"""Moves to a host of which a capture alone is known: what its guest saw, and what another kernel shows of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.register_list import register_list
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.captured import State, host_showing, state_of, state_of_scratch
from inspector.machine.arm64.migrate import migrate
from inspector.targets import schemes
from inspector.targets.arm64_host import captured_state
from inspector.targets.arm64_host import guest_of as guest_on
from layouts.arm64.chips import cores
from layouts.arm64.ids import MIDR, PFR0, RegisterId, sysreg_id
from layouts.arm64.kernels import kernels
from tests.machine.support import host_named


def test_hidden_fields_are_those_of_the_core_that_the_midr_names() -> None:
    """KVM takes and ignores MPAM at the hardware's value (set_id_aa64pfr0_el1); guests of 6.1 see it."""
    for name in ("graviton3", "graviton4"):
        made = migrate(guest_of_sample(f"sample:{name}/linux-6.1"), host_named(f"sample:{name}/linux-6.18"))
        assert made.accepted, [(step.event, str(step.outcome)) for step in made.failures]
    guest = guest_of_sample("sample:graviton3/linux-6.1")
    pfr0 = sysreg_id(0xC020)
    guest.registers[pfr0] = with_field(guest.registers[pfr0], 40, 2)
    refused = migrate(guest, host_named("sample:graviton3/linux-6.18"))
    assert [(step.register_id, step.outcome.name) for step in refused.failures] == [(pfr0, "EINVAL")]
    assert [field.name for field in refused.failures[0].fields] == ["feat_MPAM"]


def test_hidden_fields_of_an_unknown_core_leave_it_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest = guest_of_sample("sample:graviton3/linux-6.1")
    shown = guest_of_sample("sample:graviton3/linux-6.18")
    unknown = (0x41 << 24 | 0xFFF << 4).to_bytes(8, "little")
    for state in (guest, shown):
        state.registers[sysreg_id(0xC000)] = unknown
    made = migrate(guest, host_showing(shown, kernels()["6.18"]))
    assert not made.accepted
    assert made.possible
    assert [step.register_id & 0xFFFF for step in made.undecided] == [0xC020, 0xC03A]
    assert not any(step.fields for step in made.undecided)
    for name, state in (("guest", guest), ("shown", shown)):
        (tmp_path / f"{name}.regs").write_text(register_list(state))
    words = [str(tmp_path / "guest.regs"), str(tmp_path / "shown.regs"), "--kernel", "6.18"]
    assert main(["migrate", *words]) == 1
    out = capsys.readouterr().out
    assert "not known, it hangs on what nobody tells" in out
    assert "EINVAL" not in out
    assert main(["migrate", *words, "--json"]) == 1
    assert [step["call"] for step in json.loads(capsys.readouterr().out)["undecided"]] == [
        f"KVM_SET_ONE_REG sysreg.{name}" for name in ("ID_AA64PFR0_EL1", "ID_AA64MMFR2_EL1")
    ]


def guest_of_sample(target: str) -> State:
    state = captured_state(schemes.capture_of(target).vcpus[0], target)
    assert state is not None
    return state


def with_field(data: bytes, lsb: int, value: int) -> bytes:
    return (int.from_bytes(data, "little") & ~(0xF << lsb) | value << lsb).to_bytes(8, "little")


def moved(capsys: pytest.CaptureFixture[str], source: str, kernel: str) -> str:
    """Graviton3 under one kernel to the same machine under another; ``source`` is the release of the capture."""
    sample = f"sample:graviton3/linux-{source}"
    main(["migrate", sample, f"{sample}@{kernel}"])
    return capsys.readouterr().out


@pytest.mark.parametrize("kernel", ["6.1", "6.6", "6.12", "6.18", "7.2"])
def test_a_host_shows_what_its_own_kernel_shows(kernel: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Linux 6.1 and 6.6 show MPAM (cpufeature.c alone hides it from programs); 6.12 hides it, and takes it back."""
    assert "the vCPU arrives" in moved(capsys, "6.1", kernel)


def test_a_hidden_field_that_an_older_kernel_shows_is_the_cores(capsys: pytest.CaptureFixture[str]) -> None:
    """Under 6.18 the guest saw no MPAM; 6.6 shows the core's, and ID_AA64PFR0_EL1 is not writable there."""
    out = moved(capsys, "6.18", "6.6")
    assert "ID_AA64PFR0_EL1.MPAM=0: not writable; the host has 1 (found 0)" in out


def test_a_hidden_field_of_an_unknown_core_is_open() -> None:
    """Nobody knows whether that host has MPAM: the answer depends on it, and other refusals stay."""
    known = kernels()
    shown = {sysreg_id(PFR0): 0x1_1112.to_bytes(8, "little")}
    host = host_showing(state_of("captured", shown), known["6.6"], known["6.18"])
    found = {}
    for name, value in (("same", 0x1_1112), ("MPAM", 0x100_0001_1112), ("EL0", 0x1_1111)):
        found[name] = migrate(state_of("guest", {sysreg_id(PFR0): value.to_bytes(8, "little")}), host)
    assert [made.possible for made in found.values()] == [True, True, False]
    for name in ("same", "MPAM"):
        assert "feat_MPAM" in [entry.name for entry in found[name].open]
    # What is against it if that host is as it looks.
    why = {entry.name: entry.why for entry in found["MPAM"].open}["feat_MPAM"]
    assert why == "not writable; the host has 0 (found 1)"
    assert found["EL0"].failures[0].outcome.name == "EINVAL"


#: Kernels between which much changed in what guests see and may be given.
_APART = ("6.1", "6.6", "7.2")


@pytest.mark.parametrize("midr", [0, 0x41_0F_FFF_0], ids=["known", "unknown"])
@pytest.mark.parametrize("name", ["neoverse-v1", "max,mte=on"])
def test_a_capture_under_another_kernel_is_never_wrong(name: str, midr: int) -> None:
    """A host that was captured under one kernel, on another: each register as on the CPU itself, or open."""
    core = cores()[name]
    core = core._replace(registers={**core.registers, MIDR: midr or core.registers[MIDR]})
    real = {release: from_bare(kernels()[release], [core], mte=True) for release in _APART}
    guests = {release: state_of_scratch(guest_on(host), release) for release, host in real.items()}
    for was, now in itertools.permutations(_APART, 2):
        shown = host_showing(guests[was], kernels()[now], kernels()[was])
        for guest in guests.values():
            made = migrate(guest, shown)
            is_open = {entry.place.encoding for entry in made.open if entry.place is not None}
            truth = {step.register_id: step.outcome.accepted for step in migrate(guest, real[now]).steps}
            told = {step.register_id: step.outcome for step in made.steps if step.register_id}
            for register_id, outcome in told.items():
                if RegisterId(register_id).encoding not in is_open and outcome.verdict != "depends-on":
                    assert outcome.accepted == truth[register_id], (was, now, guest.name, hex(register_id), outcome)


def test_an_invariant_of_the_hardware_is_known_where_the_capture_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """CLIDR_EL1 under 6.1 is the CPU's own, as the guest saw it."""
    assert "CLIDR" not in moved(capsys, "6.1", "6.1")
