"""Host and guest kernels, CPUs, threads, TDs: the documents' transcripts and the ledger of one vCPU."""

from __future__ import annotations

import pytest

from inspector.export.timeline import stamp_of
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.world.world import World
from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from layouts.scenario import Scenario
from layouts.x86.transcripts import TRANSCRIPTS


def played(name: str, **other: str) -> World:
    scenario = scenario_of(name)._replace(**other)
    world = world_of(scenario)
    for event in scenario.events:
        world.happen(event)
    return world


def run(*events: str, host: str = "sapphire-rapids") -> World:
    world = world_of(scenario_of("new")._replace(host=host))
    for event in events:
        world.happen(event)
    return world


@pytest.mark.parametrize("scenario", TRANSCRIPTS, ids=lambda scenario: scenario.name)
def test_transcripts_are_reproduced_line_by_line(scenario: Scenario) -> None:
    """The document's lines, in its order, on its CPUs, with its values."""
    world = played(scenario.name)
    lines = [(number, line) for number, step in enumerate(world.steps, 1) for line in step.log]
    for entry in scenario.log:
        at = next(
            position
            for position, (number, line) in enumerate(lines)
            if (number, line.level, line.cpu) == (entry.event, entry.level, entry.cpu)
            and line.text.startswith(entry.text)
        )
        assert stamp_of(lines[at][1], scenario.log, entry.event) == entry.stamp
        del lines[: at + 1]


def test_the_host_of_a_td_sees_neither_xfd_nor_nm() -> None:
    world = played("transcript-tdx")
    host = [line.text for step in world.steps for line in step.log if line.level == "host"]
    assert host == [
        "guest permission 0x602e7 (xstate_request_perm)",
        "vCPU 0: guest's buffer is now 10752 bytes (fpstate_realloc)",
    ]
    assert world.vm is not None
    assert world.vcpu is not None
    assert world.vcpu.fpstate.xstate_bv == 0


#: The step, then XFD in the processor, cached, in the guest's buffer, XFD_ERR in the processor, the guest's.
LEDGER = (
    ("KVM_CREATE_VCPU", 0x40000, 0x40000, 0, 0, 0),
    ("KVM_SET_CPUID2 supported", 0x40000, 0x40000, 0, 0, 0),
    ("KVM_RUN", 0, 0, 0, 0, 0),
    ("guest wrmsr XFD 0x40000", 0x40000, 0x40000, 0x40000, 0, 0),
    ("guest xsetbv 0x602e7", 0x40000, 0x40000, 0x40000, 0, 0),
    ("guest ldtilecfg", 0x40000, 0x40000, 0x40000, 0, 0),
    ("guest tileloadd 0", 0x40000, 0x40000, 0x40000, 0, 0x40000),
    ("guest xgetbv 0", 0x40000, 0x40000, 0x40000, 0x40000, 0x40000),
    ("guest wrmsr XFD_ERR 0", 0x40000, 0x40000, 0x40000, 0, 0),
    ("guest wrmsr XFD 0", 0, 0x40000, 0x40000, 0, 0),
    ("exit", 0, 0, 0, 0, 0),
    ("guest tileloadd 0", 0, 0, 0, 0, 0),
    ("preempt", 0x40000, 0x40000, 0, 0, 0),
    ("guest xgetbv 0", 0, 0, 0, 0, 0),
    ("return", 0x40000, 0x40000, 0, 0, 0),
)


def test_the_ledger_of_one_vcpu_on_one_cpu() -> None:
    world = run("arch_prctl REQ_XCOMP_GUEST_PERM 18")
    for event, *expected in LEDGER:
        world.happen(event)
        cpu = world.host_linux.cpu(0)
        assert isinstance(cpu.machine, Processor)
        vcpu = world.vcpu
        assert vcpu is not None
        found = [cpu.machine.xfd, cpu.xfd_state, vcpu.fpstate.xfd, cpu.machine.xfd_err, vcpu.xfd_err]
        assert found == expected, event
    assert world.vcpu is not None
    assert world.vcpu.fpstate.xstate_bv & 0x60000 == 0x60000


def test_two_reallocations_are_two_kernels() -> None:
    world = played("two-buffers")
    grown = [
        (number, line.level)
        for number, step in enumerate(world.steps, 1)
        for line in step.log
        if "fpstate_realloc" in line.text
    ]
    assert grown == [(3, "host"), (8, "guest"), (11, "guest")]


def test_tiles_go_with_their_threads() -> None:
    world = run(
        "arch_prctl REQ_XCOMP_PERM 18",
        "process ldtilecfg",
        "process tileloadd 0",
        "clone",
        "process ldtilecfg thread=1",
        "process tilestored 0 thread=1",
        "process tilestored 0",
    )
    mine, theirs = world.steps[-1].outcome.image, world.steps[-2].outcome.image
    assert mine == bytes(range(256)) * 4
    assert theirs == bytes(1024)


def test_a_thread_that_moves_to_another_cpu_keeps_its_tiles() -> None:
    world = run("arch_prctl REQ_XCOMP_PERM 18", "process ldtilecfg", "process tileloadd 0")
    assert world.happen("process tilestored 0 cpu=7").outcome.image == bytes(range(256)) * 4
    assert world.host_linux.cpus[7].xfd_state == 0
    assert world.happen("fork cpu=7").outcome.accepted
    outcome = world.happen("process tilestored 0").outcome
    assert outcome.accepted
    assert not any(outcome.image)


def test_a_vcpu_that_moves_keeps_its_tiles() -> None:
    world = run(
        "arch_prctl REQ_XCOMP_GUEST_PERM 18",
        "KVM_CREATE_VCPU",
        "KVM_SET_CPUID2 supported",
        "KVM_RUN cpu=1",
        "guest xsetbv 0x602e7",
        "guest ldtilecfg",
        "guest tileloadd 2",
    )
    assert world.happen("guest tilestored 2 cpu=3").outcome.image == bytes(range(256)) * 4
    assert world.happen("return").outcome.accepted
    assert world.vcpu is not None
    assert world.vcpu.fpstate.xstate_bv == 0x60200


def test_an_exit_of_a_td_under_xfd_loses_its_tiles() -> None:
    world = played("transcript-tdx")
    world.happen("guest wrmsr XFD 0x40000")
    world.happen("exit")
    world.happen("guest wrmsr XFD 0")
    assert not any(world.happen("guest tilestored 0").outcome.image)


@pytest.mark.parametrize(
    ("xfam", "name"),
    [("0x602e7", "ok"), ("0x2e7", "ok"), ("0x61ae7", "ok"), ("0x202e7", "EINVAL"), ("0x802e7", "EINVAL"),
     ("0xa7", "EINVAL"), ("0xaf", "EINVAL"), ("0xae7", "EINVAL"), ("0", "ok")],
)  # fmt: skip
def test_xfam_is_checked_by_kvm_and_the_module(xfam: str, name: str) -> None:
    world = run("KVM_CREATE_VM tdx")
    assert world.happen(f"KVM_TDX_INIT_VM {xfam}").outcome.name == name


def test_a_td_needs_a_kernel_with_tdx_and_its_initialization() -> None:
    world = world_of(scenario_of("new")._replace(kernel="6.12"))
    assert world.happen("KVM_CREATE_VM tdx").outcome.name == "EINVAL"
    world = run("KVM_CREATE_VM tdx")
    assert world.happen("KVM_CREATE_VCPU").outcome.name == "EIO"


def test_msrs_are_set_until_one_is_refused() -> None:
    world = run("arch_prctl REQ_XCOMP_GUEST_PERM 18", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported")
    outcome = world.happen("KVM_SET_MSRS XFD_ERR 0x40000 XFD 0x20000 XSS 0").outcome
    assert (outcome.verdict, outcome.name) == ("short", "1 of 3")
    assert "dynamic components" in outcome.because
    assert world.vcpu is not None
    assert (world.vcpu.xfd_err, world.vcpu.xfd) == (0x40000, 0)


def test_signal_frames_say_what_they_hold() -> None:
    world = played("signal-frame")
    small, large = world.steps[1].outcome.image, world.steps[5].outcome.image
    for frame, size, mask in ((small, 2816, 0x202E7), (large, 11008, 0x602E7)):
        assert int.from_bytes(frame[464:468], "little") == 0x46505853
        assert int.from_bytes(frame[472:480], "little") == mask
        assert int.from_bytes(frame[480:484], "little") == size
        assert int.from_bytes(frame[size : size + 4], "little") == 0x46505845
    # As measured: nothing in use, then tiles in use.
    assert int.from_bytes(small[512:520], "little") == 0x203
    assert int.from_bytes(large[512:520], "little") == 0x60203


def test_a_core_of_any_task_has_the_size_of_everything() -> None:
    note = run("core").steps[0].outcome.image
    assert len(note) == 11008
    assert int.from_bytes(note[464:472], "little") == 0x602E7
    assert len(run("core", host="zen5").steps[0].outcome.image) == 2440


@pytest.mark.parametrize(
    ("events", "name"),
    [
        (("process xsetbv 7",), "SIGSEGV"),
        (("process wrmsr XFD 0",), "SIGSEGV"),
        (("process xsaves",), "SIGSEGV"),
        (("process incssp 1",), "SIGILL"),
        (("process ldtilecfg 7",), "SIGSEGV"),
        (("process wrpkru 0x100000000",), "SIGSEGV"),
        (("process tilezero 3",), "SIGILL"),
        (("process vmovdqu64 31", "process xsavec", "process xrstor"), "ok"),
        (("process xsavec", "process xrstor 0xffff 0x8000000000000000"), "SIGSEGV"),
        (("process xsaveopt 7", "process xrstor 7 2"), "ok"),
    ],
)
def test_programs_get_the_kernels_signal(events: tuple[str, ...], name: str) -> None:
    assert run(*events).steps[-1].outcome.name == name


def test_registers_are_read_back() -> None:
    world = run(
        "arch_prctl REQ_XCOMP_GUEST_PERM 18",
        "KVM_CREATE_VCPU",
        "KVM_SET_CPUID2 supported",
        "KVM_SET_XCRS 0x602e7",
        "KVM_SET_MSRS XFD 0x40000 U_CET 1 PL3_SSP 0x1000 S_CET 2 XSS 0x1800",
    )
    assert world.steps[-1].outcome.value == 5
    expected = {"XFD": 0x40000, "XFD_ERR": 0, "U_CET": 1, "PL3_SSP": 0x1000, "S_CET": 2, "XSS": 0x1800}
    assert {name: world.happen(f"KVM_GET_MSRS {name}").outcome.value for name in expected} == expected
    assert world.happen("KVM_GET_XCRS").outcome.value == 0x602E7
    assert run("KVM_CREATE_VCPU", host="zen2").happen("KVM_GET_MSRS XFD").outcome.name == "0 of 1"
