"""Use apart from contents, and who says that an effect is so."""

from __future__ import annotations

import pytest

from inspector.cli.main import main
from inspector.export.evidence import source_of
from inspector.export.machine_state import use_sentence, words_of
from inspector.machine.x86.world.matrix import component_rows
from tests.machine.support import PERMITTED, vcpu_of, world

TILED = (*PERMITTED, "guest xsetbv 0x602e7", "KVM_RUN", "guest ldtilecfg")


def test_use_is_told_apart_from_contents() -> None:
    found = world()
    for event in TILED:
        found.happen(event)
    for event, use in [
        ("guest xgetbv 1", "no"),
        ("guest tilezero 0", "initial"),
        ("guest tileloadd 0", "yes"),
        ("guest ldtilecfg", "no"),
    ]:
        found.happen(event)
        assert vcpu_of(found).use(18) == use, event
        row = next(row for row in component_rows(found) if row.number == 18)
        assert row.use == use, event


@pytest.mark.parametrize("mask", ["0x200", "0x60000", "-"])
def test_xinuse_hangs_on_no_mask(mask: str) -> None:
    """What an XSAVE is asked for does not change what is in use."""
    found = world()
    for event in (*TILED, "guest tilezero 0"):
        found.happen(event)
    before = vcpu_of(found).in_use
    found.happen("guest xsavec" if mask == "-" else f"guest xsavec {mask}")
    assert vcpu_of(found).in_use == before == 0x60200


def test_a_context_switch_keeps_initial_contents_in_use() -> None:
    found = world()
    for event in (*TILED, "guest tilezero 0", "preempt"):
        found.happen(event)
    vcpu = vcpu_of(found)
    assert (vcpu.in_processor, vcpu.saved, vcpu.use(18)) == (False, 0x60200, "initial")
    assert words_of(found.state())["vCPU 0 XINUSE"] == "0x60200 (0x40200 with initial contents)"


def test_pkru_of_a_vcpu_in_memory_is_kvms() -> None:
    found = world()
    for event in (*PERMITTED, "guest xsetbv 0x602e7"):
        found.happen(event)
    assert vcpu_of(found).use(9) == "initial"
    found.happen("guest wrpkru 4")
    assert vcpu_of(found).use(9) == "yes"


def test_a_bit_over_initial_contents_is_said_to_be_normal() -> None:
    assert "normal" in use_sentence(18, "initial", "silicon")
    assert "not measured on AMD" in use_sentence(9, "yes", "unmeasured")


def test_each_outcome_says_who_says_so() -> None:
    found = world()
    for event in (*TILED, "guest wrmsr XFD 0x40000", "guest tileloadd 0", "guest wrmsr XFD 0"):
        found.happen(event)
    evidence = {step.event: step.outcome.evidence for step in found.steps}
    assert evidence["KVM_CREATE_VCPU"] == "kernel"
    assert evidence["guest ldtilecfg"] == "silicon"
    assert evidence["guest tileloadd 0"] == "silicon"
    assert evidence["guest wrmsr XFD 0x40000"] == "kernel", "it exits"
    assert evidence["guest wrmsr XFD 0"] == "manual", "it does not"
    assert source_of(found.steps[5].outcome) == "silicon (Emerald Rapids recordings): Intel SDM vol. 2, LDTILECFG"


def test_the_handler_of_an_exception_is_the_kernels() -> None:
    found = world()
    for event in ("process ldtilecfg", "process tilezero 0"):
        found.happen(event)
    outcome = found.steps[-1].outcome
    assert (outcome.name, outcome.evidence) == ("SIGILL", "kernel")


def test_what_nobody_measured_on_amd_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sim", "new", "--host", "zen5", "--event", "process vmovdqu 1", "--event", "process xsavec", "--why", "2"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.count("source  not measured on AMD; as on Intel: Intel SDM vol. 2, ") == 2
    found = world("zen5")
    for event in ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_RUN", "preempt"):
        found.happen(event)
    assert found.steps[-1].outcome.evidence == "unmeasured", "what is saved hangs on how the processor tracks use"
    assert found.steps[0].outcome.evidence == "kernel"


def test_explain_tells_the_checks_of_what_was_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "guest-xfd", "--explain"]) == 1
    told = capsys.readouterr().out
    assert told.count("       source  ") == 12
    assert "source  kernel: kvm_arch_vcpu_create (x86.c)" in told
