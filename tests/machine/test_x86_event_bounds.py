"""Words of events at their bounds: which registers and values they name, whom an event is about."""

from __future__ import annotations

import pytest

from inspector.machine.events import EventError
from inspector.machine.x86.world.offers import offers
from inspector.machine.x86.world.restore import restore, restore_events
from inspector.machine.x86.world.stage import Captured
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import XTILE
from tests.machine.support import PERMITTED, policy_of, vcpu_of, world

TASK = "arch_prctl REQ_XCOMP_PERM 18"
SSE, AVX, OPMASK, ZMM, HI16, PKRU = (1 << number for number in (1, 2, 5, 6, 7, 9))
TWO = (*PERMITTED, "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported vcpu=1")
IN_RUN = "inside KVM_RUN; return comes first"


def after(*events: str, policy: str = "upstream", cpu: str = "sapphire-rapids") -> World:
    found = world(cpu, policy=policy_of(policy))
    found.play(events)
    assert len(found.steps) == len(events)
    return found


def last(*events: str) -> tuple[str, int]:
    outcome = after(*events).steps[-1].outcome
    return outcome.name, outcome.value


@pytest.mark.parametrize(
    ("instructions", "name", "in_use", "changed"),
    [
        ("ldtilecfg", "ok", 1 << 17, 1 << 17),
        ("ldtilecfg 1", "ok", 1 << 17, 1 << 17),
        ("ldtilecfg; ldtilecfg 0", "ok", 0, 0),
        ("ldtilecfg; ldtilecfg 2", "SIGSEGV", 1 << 17, 1 << 17),
        ("ldtilecfg 255", "SIGSEGV", 0, 0),
        ("ldtilecfg; tilezero", "ok", XTILE, 1 << 17),
        ("ldtilecfg; tilezero 7", "ok", XTILE, 1 << 17),
        ("ldtilecfg; tileloadd", "ok", XTILE, XTILE),
        ("ldtilecfg; tilestored 7", "ok", 1 << 17, 1 << 17),
        ("ldtilecfg; sttilecfg; tilerelease", "ok", 0, 0),
        ("movdqu 15", "ok", SSE, SSE),
        ("vmovdqu 15", "ok", SSE | AVX, SSE | AVX),
        ("vmovdqu64 15", "ok", SSE | AVX | ZMM, SSE | AVX | ZMM),
        ("vmovdqu64 31", "ok", HI16, HI16),
        ("kmovq 7", "ok", OPMASK, OPMASK),
        ("kmovq 7 0", "ok", OPMASK, 0),
        ("kmovq 0 0x5", "ok", OPMASK, OPMASK),
        ("movdqu 0; kmovq 1; xsave; vmovdqu64 16; xrstor", "ok", SSE | OPMASK, SSE | OPMASK),
        ("movdqu 0; kmovq 1; xsave 2; xrstor 0x22", "ok", SSE, SSE),
        ("movdqu 0; xsave; vmovdqu64 16; xrstor 2", "ok", SSE | HI16, SSE | HI16),
        ("movdqu 0; kmovq 1; xsave; xrstor -; xrstor 0x22 0x20", "ok", OPMASK, OPMASK),
        ("vmovdqu 0; xsavec; xrstor 6 4", "ok", AVX, AVX),
        ("movdqu 0; xsaveopt; xrstor 0xffff 1", "ok", 1, 1),
        ("xsaves", "SIGSEGV", 0, 0),
        ("movdqu 0; xsave; xrstors", "SIGSEGV", SSE, SSE),
        ("xsetbv 7", "SIGSEGV", 0, 0),
        ("wrmsr XFD 0", "SIGSEGV", 0, 0),
        ("rdmsr XFD", "SIGSEGV", 0, 0),
        ("xgetbv 2", "SIGSEGV", 0, 0),
    ],
)
def test_instructions_of_a_program(instructions: str, name: str, in_use: int, changed: int) -> None:
    events = [f"process {one}" for one in instructions.split("; ") if not one.endswith(" -")]
    found = after(TASK, *events)
    task = found.state().process.tasks[0]
    assert found.steps[-1].outcome.name == name
    assert (task.in_use & ~PKRU, task.changed & ~PKRU) == (in_use, changed)


@pytest.mark.parametrize(
    ("event", "value"),
    [
        ("process xgetbv", 0x602E7),
        ("process xgetbv 0", 0x602E7),
        ("process xgetbv 1", 1 << 9),
        ("process wrpkru 0x1c", 0),
        ("process rdpkru", 0x55555554),
        ("process rdssp", 0),
    ],
)
def test_values_that_a_program_reads(event: str, value: int) -> None:
    assert last(event) == ("ok", value)
    assert last("process wrpkru 0x1c", "process rdpkru") == ("ok", 0x1C)


@pytest.mark.parametrize(
    ("events", "value"),
    [
        (("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "guest xgetbv"), 1),
        ((*PERMITTED, "guest xsetbv 7", "guest xgetbv"), 7),
        ((*PERMITTED, "guest xsetbv 7", "guest movdqu 0", "guest xgetbv 1"), 2),
        ((*PERMITTED, "guest wrmsr XFD 0x40000", "guest rdmsr XFD"), 0x40000),
        ((*PERMITTED, "KVM_SET_MSRS XFD 0x40000 XFD_ERR 0", "KVM_GET_MSRS XFD"), 0x40000),
        ((*PERMITTED, "KVM_SET_MSRS XFD 0x40000 XFD_ERR 0x40000"), 2),
        ((*PERMITTED, "KVM_SET_XCRS 1:3 0:7", "KVM_GET_XCRS"), 7),
        ((*PERMITTED, "KVM_SET_XCRS flags=0 7", "KVM_GET_XCRS"), 7),
        (("KVM_GET_SUPPORTED_CPUID",), 0x2E7),
        (("KVM_CHECK_EXTENSION KVM_CAP_XSAVE2",), 4096),
        (("KVM_CHECK_EXTENSION XSAVE2",), 4096),
        ((PERMITTED[0], "KVM_CHECK_EXTENSION XSAVE2"), 11008),
        (("clone",), 1),
        (("clone", "clone"), 2),
    ],
)
def test_values_of_calls(events: tuple[str, ...], value: int) -> None:
    assert last(*events) == ("ok", value)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (("process ldtilecfg 256",), "256 is not below 256"),
        (("process tilezero 8",), "8 is not below 8"),
        (("process movdqu 16",), "16 is not below 16"),
        (("process movdqu",), "a register is missing"),
        (("process vmovdqu 16",), "16 is not below 16"),
        (("process vmovdqu64 32",), "32 is not below 32"),
        (("process kmovq 8",), "8 is not below 8"),
        (("process kmovq",), "a register is missing"),
        (("process wrpkru",), "a value is missing"),
        (("process xrstor",), "no image was saved; xsave comes first"),
        (("process fnop",), "no instruction fnop; there are xgetbv, ldtilecfg"),
        (("process",), "an instruction is missing"),
        (("process rdmsr",), "an MSR is missing"),
        (("process wrmsr XFD",), "a value is missing"),
        (("process xsetbv",), "a value is missing"),
        ((*PERMITTED, "guest xrstor"), "no image was saved; xsave comes first"),
        ((*PERMITTED, "guest"), "an instruction is missing"),
        ((*PERMITTED, "guest xsetbv"), "a value is missing"),
        ((*PERMITTED, "KVM_SET_MSRS XFD"), "a value is missing"),
        ((*PERMITTED, "KVM_SET_XCRS 0x100000000:1"), "0x100000000 is not below 4294967296"),
        ((*PERMITTED, "KVM_SET_XSAVE captured"), "nothing was captured; --from names a capture"),
        (("KVM_CREATE_VM", "KVM_CREATE_VM"), "there is a VM already"),
        (("KVM_TDX_INIT_VM 7",), "there is no VM; KVM_CREATE_VM tdx comes first"),
        (("KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM"), "XFAM is missing"),
        (("KVM_RUN",), "there is no vCPU; KVM_CREATE_VCPU comes first"),
        (("KVM_CREATE_VM", "KVM_RUN"), "there is no vCPU; KVM_CREATE_VCPU comes first"),
        ((*PERMITTED, "KVM_RUN vcpu=1"), "there are 1 vCPUs; KVM_CREATE_VCPU makes one more"),
        ((*PERMITTED, "KVM_RUN", "KVM_RUN"), f"the vCPU is {IN_RUN}"),
        ((*PERMITTED, "KVM_RUN", "process movdqu 0"), f"thread 1 is {IN_RUN}"),
        ((*PERMITTED, "exit"), "the vCPU is not inside KVM_RUN; KVM_RUN comes first"),
        (("KVM_CHECK_EXTENSION",), "a capability is missing"),
        (("KVM_FOO",), "no such event"),
        (("gest xsetbv 7",), "did you mean guest"),
        (("",), "no such event"),
        ((*PERMITTED, "guest schedule"), "the guest has no Linux; guest boot starts one"),
    ],
)
def test_words_that_are_none(events: tuple[str, ...], why: str) -> None:
    found = after(*events[:-1])
    with pytest.raises(EventError) as error:
        found.happen(events[-1])
    assert why in error.value.why


# Whom an event is about


def test_events_on_another_cpu_vcpu_and_thread() -> None:
    found = after("clone", "schedule thread=1 cpu=2", "schedule cpu=1")
    assert [thread.cpu.number for thread in found.process.threads if thread.cpu] == [1, 2]
    found = after("clone", "KVM_CREATE_VCPU", "schedule vcpu=0 thread=1 cpu=2")
    assert found.process.threads[1].cpu is found.host_linux.cpus[2]
    found = after("clone", "sigaltstack 8192 thread=1")
    assert [thread.altstack_size_bytes for thread in found.process.threads] == [0, 8192]
    found = after(*TWO, "KVM_RUN vcpu=1 cpu=3", "exit vcpu=1 cpu=5", "return vcpu=1")
    assert [cpu.number for cpu in found.state().cpus] == [0, 3]
    found = after(*TWO, "KVM_SET_XCRS 7 vcpu=1")
    assert [vcpu_of(found, number).xcr0 for number in (0, 1)] == [1, 7]
    assert found.vcpu_state(2) is None
    assert found.vcpu_state() == found.vcpu_state(0)
    for events, cpus in ((("KVM_CREATE_VCPU", "guest movdqu 0"), [0]), (("schedule cpu=2", "process movdqu 0"), [2])):
        assert [cpu.number for cpu in after(*events).state().cpus] == cpus
    assert (found.vcpu_count, world().vcpu_count) == (2, 0)


def test_a_guests_linux() -> None:
    """Of a profile, on all vCPUs that there are; each level has its own memory."""
    booted = (*TWO, "guest boot 6.12", "guest process movdqu 0", "guest process xsave")
    found = after(*booted, "guest process xrstor", "guest process movdqu 1 vcpu=1")
    assert found.vm is not None
    assert found.vm.linux is not None
    assert (found.vm.linux.host.kernel.name, sorted(found.vm.linux.cpus)) == ("6.12", [0, 1])
    assert after(*PERMITTED, "guest boot").state().guest is not None
    again = after(*booted)
    with pytest.raises(EventError, match="no image was saved"):
        again.happen("process xrstor")
    again.happen("guest fork")
    assert again.vm is not None
    assert again.vm.guest_process is not None
    assert again.vm.guest_process.number == 2
    bare = after(*PERMITTED, "guest xsetbv 7", "guest movdqu 0", "guest xsave", "guest xrstor")
    assert bare.steps[-1].outcome.accepted
    refused = after(*PERMITTED, "guest xsetbv 7", "guest xsave", "guest wrmsr XFD 0")
    refused.happen("guest xrstor")
    assert refused.steps[-1].outcome.accepted


def test_what_a_refused_save_leaves_of_the_memory() -> None:
    found = after("process movdqu 0", "process xsave", "process xsaves", "process xrstor")
    assert [step.outcome.name for step in found.steps[1:]] == ["ok", "SIGSEGV", "ok"]
    assert after("process movdqu 0", "process xsave", "process sttilecfg", "process xrstor").steps[-1].outcome.accepted


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ("exit", "vcpu_enter_guest, fpu_sync_guest_vmexit_xfd_state (x86.c, fpu/core.c)"),
        ("exit fast", "EXIT_FASTPATH_REENTER_GUEST, vcpu_enter_guest (x86.c)"),
        ("preempt", "switch_fpu, XSAVES of the outgoing task (fpu/sched.h)"),
        ("softirq", "kernel_fpu_begin_mask, XSAVES of the current task (fpu/core.c)"),
        ("return", "fpu_swap_kvm_fpstate (fpu/core.c)"),
    ],
)
def test_what_interrupts_a_run(event: str, source: str) -> None:
    used = (*PERMITTED, "guest xsetbv 0x602e7", "KVM_RUN", "guest ldtilecfg", "guest tilezero 0")
    outcome = after(*used, event).steps[-1].outcome
    assert (outcome.name, outcome.value, outcome.image, outcome.source) == ("ok", 0, b"", source)
    lost = after(*used, "guest wrmsr XFD 0x40000", event)
    assert lost.steps[-1].outcome.value == 0
    assert vcpu_of(lost).in_use & XTILE == (XTILE if event.startswith("exit") else 1 << 17)


def test_the_proposals_options_say_when_xfd_is_cleared() -> None:
    for policy, when in (("rfc-option1", "at VM exit"), ("rfc-option2", "around XSAVES and XRSTORS")):
        for event in ("preempt", "softirq", "return"):
            outcome = after(*PERMITTED, "KVM_RUN", event, policy=policy).steps[-1].outcome
            assert [(check.text, check.held) for check in outcome.checks] == [
                (f"XFD is cleared {when} where tiles are in use", True)
            ]


def test_another_task_takes_the_cpu() -> None:
    found = after(*PERMITTED, "KVM_RUN", "preempt")
    (cpu,) = found.host_linux.cpus.values()
    assert cpu.current is not None
    assert (cpu.current.process.number, cpu.current is found.process.leader) == (0, False)
    assert found.bystander(cpu) is cpu.current


def test_an_injected_failure_is_nobodys_rule() -> None:
    outcome = after("fail_allocation").steps[-1].outcome
    assert (outcome.source, outcome.evidence) == ("injected", "assumed")


def test_images_that_are_put() -> None:
    """The vCPU's own: as it is, with another XSTATE_BV, cut to 4096 bytes."""
    tiles = (*PERMITTED, "guest xsetbv 0x602e7", "guest ldtilecfg", "guest tileloadd 2")
    for event, saved in (("KVM_SET_XSAVE", XTILE), ("KVM_SET_XSAVE 0x20000", 1 << 17), ("KVM_SET_XSAVE cut", XTILE)):
        found = after(*tiles, event)
        assert vcpu_of(found).saved & XTILE == saved
        assert vcpu_of(found).changed & XTILE == (1 << 17 if event.endswith("cut") else saved)


def test_a_world_without_xfd_has_no_costs_to_tell() -> None:
    assert world("haswell").cost_words() == ""
    assert world().cost_words().startswith("0 VM exits")


# What is offered next


@pytest.mark.parametrize(
    ("events", "steps"),
    [
        ((*PERMITTED, "guest xsetbv 7"), None),
        ((*PERMITTED, "guest xsetbv 0x20007"), ("guest xsetbv 0x60007",)),
        ((*PERMITTED, "guest xsetbv 5"), ("guest xsetbv 0x7",)),
        ((*PERMITTED, "guest vcpu=0 xsetbv cpu=0 5"), ("guest xsetbv 0x7 vcpu=0 cpu=0",)),
        ((*PERMITTED, "guest wrmsr XFD 1"), None),
        ((*PERMITTED, "guest tilezero 0"), ("guest xsetbv 0x60001", "guest tilezero 0")),
        ((*PERMITTED, "guest xsetbv 7", "guest tilezero 0"), ("guest xsetbv 0x60007", "guest tilezero 0")),
        # Without tiles in its CPUID there is nothing that a guest could set.
        (("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "guest tilezero 0"), None),
        (("process ldtilecfg", "process tilezero 0"), ("arch_prctl REQ_XCOMP_PERM 18", "process tilezero 0")),
    ],
)
def test_what_comes_next(events: tuple[str, ...], steps: tuple[str, ...] | None) -> None:
    found = after(*events)
    offered = offers(found.steps[-1], found.vcpu_state())
    assert (offered[0].steps if offered else None) == steps


def test_what_comes_next_without_a_vcpu() -> None:
    found = after(*PERMITTED, "guest tilezero 0")
    assert offers(found.steps[-1], None) == []


# A capture that is put back


def test_the_order_of_a_restore() -> None:
    """kvm_arch_put_registers: permission where tiles are wanted, CPUID, XSAVE, XCRS, MSRs; what nobody saw is left."""
    amx = {(0xD, 0): (0x602E7, 0, 0, 0)}
    image = bytes(512) + XTILE.to_bytes(8, "little") + bytes(56)
    permission = "arch_prctl REQ_XCOMP_GUEST_PERM 18"
    for captured, events in (
        (Captured({}, b"", None, None, None), ["KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_RUN"]),
        (
            Captured(amx, b"", 7, 0x40000, 0, 0),
            [permission, "KVM_CREATE_VCPU", "KVM_SET_CPUID2 captured", "KVM_SET_XCRS 0x7",
             "KVM_SET_MSRS XFD 0x40000 XFD_ERR 0x0", "KVM_RUN"],
        ),
        (
            Captured({}, image, None, None, None, 0x800),
            [permission, "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_SET_XSAVE captured",
             "KVM_SET_MSRS XSS 0x800", "KVM_RUN"],
        ),
        (
            Captured({(1, 0): (0, 0, 0, 0)}, image, None, None, None),
            ["KVM_CREATE_VCPU", "KVM_SET_CPUID2 captured", "KVM_SET_XSAVE captured", "KVM_RUN"],
        ),
        (
            Captured({(0xD, 0): (7, 0, 0, 0)}, b"", None, None, None),
            ["KVM_CREATE_VCPU", "KVM_SET_CPUID2 captured", "KVM_RUN"],
        ),
    ):  # fmt: skip
        assert list(restore_events(captured)) == events
    steps = restore(Captured({}, image[:576], 0x602E7, None, None), world().host)
    assert [step.outcome.name for step in steps] == ["ok"] * 6
    short = World(world().host, captured=Captured({}, image[:576], None, None, None))
    short.play(restore_events(short.what_was_captured())[:-1])
    assert (vcpu_of(short).saved, vcpu_of(short).changed & XTILE) == (XTILE, 0)
