"""The documents on AMX, played: the proposal and its options, what they cost, who calls whom, and why."""

from __future__ import annotations

import pytest

from inspector.export.machine_state import changes_of
from inspector.machine.events import EventError
from inspector.machine.x86.world.gates import walk
from tests.machine.support import PERMITTED, events_of, policy_of, vcpu_of, world


@pytest.mark.parametrize("hazard", ["preempt", "softirq"])
@pytest.mark.parametrize(
    ("policy", "left"),
    [("rfc", "0x20200"), ("upstream", "0x20200"), ("rfc-option1", "0x60200"), ("rfc-option2", "0x60200")],
)
def test_both_hazards_lose_tiles_unless_an_option_keeps_them(hazard: str, policy: str, left: str) -> None:
    found = world(policy=policy_of(policy))
    for event in events_of(f"rfc-{hazard}"):
        found.happen(event)
    saved = next(step for step in found.steps if step.event == hazard)
    assert changes_of(saved)["vCPU 0 XSTATE_BV"][1] == left
    lost = [check.text for check in saved.outcome.checks if not check.held]
    assert bool(lost) == (left == "0x20200")
    assert all("lost: 8192 bytes of components 0x40000" in text for text in lost)


def test_the_proposal_gives_room_on_demand() -> None:
    found = world(policy=policy_of("rfc"))
    for event in events_of("rfc-on-demand"):
        found.happen(event)
    sizes = [number for number, step in enumerate(found.steps, 1) if "vCPU 0 state size" in changes_of(step)]
    assert sizes == [2, 8]
    assert "passed through" in changes_of(found.steps[7])["vCPU 0 XFD"][1]


def test_without_memory_the_vmm_hears_of_it_and_calls_again() -> None:
    found = world(policy=policy_of("rfc"))
    for event in (
        "arch_prctl REQ_XCOMP_GUEST_PERM 18",
        "KVM_CREATE_VCPU",
        "KVM_SET_CPUID2 supported",
        "fail_allocation",
    ):
        found.happen(event)
    assert found.happen("guest xsetbv 0x602e7").outcome.name == "ENOMEM"
    assert vcpu_of(found).wants_buffer
    assert vcpu_of(found).user_size_bytes == 4096
    assert found.happen("KVM_RUN").outcome.accepted
    assert vcpu_of(found).user_size_bytes == 11008
    assert vcpu_of(found).xcr0 == 0x602E7


def test_the_exit_to_the_vmm_is_a_moment_of_its_own() -> None:
    """Between the guest's write and the reallocation nothing but KVM_RUN's return can happen."""
    found = world(policy=policy_of("rfc"))
    for event in (*PERMITTED, "KVM_RUN", "guest xsetbv 0x602e7"):
        found.happen(event)
    assert vcpu_of(found).buffer_size_bytes == 2560
    with pytest.raises(EventError, match="on its way to the VMM"):
        found.happen("guest ldtilecfg")
    assert found.happen("return").outcome.accepted
    assert vcpu_of(found).buffer_size_bytes == 10752


def test_the_processor_keeps_the_hosts_xfd_until_passthrough() -> None:
    found = world(policy=policy_of("rfc"))
    for event in (*PERMITTED, "KVM_RUN", "guest wrmsr XFD 0x40000", "guest wrmsr XFD 0", "exit"):
        found.happen(event)
        cpu = found.state().cpus[0]
        assert (cpu.xfd, cpu.cached_xfd) == (0x40000, 0x40000), event
    assert found.costs.wrmsr_xfd == found.costs.rdmsr_xfd == 0


def test_the_options_differ_in_what_they_do_and_in_what_they_cost() -> None:
    """Option 1 writes XFD at each exit over tiles, whether or not anybody saves; option 2 looks at each save."""
    costs = {}
    for policy in ("rfc", "rfc-option1", "rfc-option2"):
        found = world(policy=policy_of(policy))
        for event in events_of("rfc-preempt")[:10]:
            found.happen(event)
        before = found.costs.wrmsr_xfd
        for event in ("exit", "guest xgetbv 0", "exit"):
            found.happen(event)
        costs[policy] = (found.costs.wrmsr_xfd - before, found.state().cpus[0].xfd)
    assert costs == {"rfc": (0, 0x40000), "rfc-option1": (3, 0), "rfc-option2": (0, 0x40000)}


@pytest.mark.parametrize("policy", ["rfc", "rfc-option1", "rfc-option2"])
def test_the_proposal_names_no_function_of_the_merged_code(policy: str) -> None:
    found = world(policy=policy_of(policy))
    for event in (*PERMITTED, "KVM_RUN", "guest xsetbv 0x602e7", "return", "guest wrmsr XFD 0x40000",
                  "guest ldtilecfg", "guest tileloadd 0"):  # fmt: skip
        found.happen(event)
    said = [line for step in found.steps for line in step.log if line.text.startswith("vCPU")]
    assert said
    assert not [line.text for line in said if line.calls or "XFD_ERR" in line.text or "#NM" in line.text]


def test_a_fast_exit_saves_no_msr() -> None:
    found = world()
    for event in (*PERMITTED, "KVM_RUN", "guest wrmsr XFD 0x40000", "guest xgetbv 0"):
        found.happen(event)
    before = (found.costs.vm_exits, found.costs.rdmsr_xfd)
    found.happen("exit fast")
    assert (found.costs.vm_exits, found.costs.rdmsr_xfd) == (before[0] + 1, before[1])
    found.happen("exit")
    assert (found.costs.vm_exits, found.costs.rdmsr_xfd) == (before[0] + 2, before[1] + 1)


def test_a_kernel_thread_costs_nothing_unless_switching_is_eager() -> None:
    """User, kernel thread, user: no WRMSR of XFD, twice one if each switch wrote it."""
    found = world()
    for event in ("arch_prctl REQ_XCOMP_PERM 18", "process ldtilecfg", "process tileloadd 0"):
        found.happen(event)
    lazy, eager = found.costs.wrmsr_xfd, found.costs.eager_wrmsr_xfd
    found.happen("kernel_thread")
    assert (found.costs.wrmsr_xfd, found.costs.eager_wrmsr_xfd) == (lazy, eager + 2)
    assert found.happen("process tilestored 0").outcome.image == bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("kernel", "event", "function"),
    [("6.1", 3, "vmx_vcpu_after_set_cpuid"), ("6.12", 3, "vmx_vcpu_after_set_cpuid"),
     ("7.2", 4, "vmx_recalc_msr_intercepts")],
)  # fmt: skip
def test_reads_of_xfd_err_open_where_and_when_the_kernel_does_it(kernel: str, event: int, function: str) -> None:
    found = world(kernel=kernel)
    for words in (*PERMITTED, "KVM_RUN", "return", "KVM_SET_CPUID2 supported", "KVM_RUN"):
        found.happen(words)
    opened = [
        (number, line) for number, step in enumerate(found.steps, 1) for line in step.log if "XFD_ERR" in line.text
    ]
    assert [(number, line.calls[0]) for number, line in opened] == [(event, function)]


def test_what_xfd_drops_is_said_when_it_is_at_stake_and_when_it_goes() -> None:
    found = world()
    for event in events_of("xfd-drops-tiles"):
        found.happen(event)
    said = [line.text for line in found.steps[7].log]
    assert any("the next XSAVES loses them" in text for text in said)
    assert any("XSAVES leaves out components 0x40000, in use" in text for text in said)


def test_lines_know_their_callers() -> None:
    found = world("sapphire-rapids", "6.1")
    for event in events_of("transcript-vm-boot"):
        found.happen(event)
    by_text = {line.text: line.calls for step in found.steps for line in step.log}
    calls = by_text["vCPU 0: guest's buffer is now 10752 bytes (fpstate_realloc)"]
    assert calls[:2] == ("fpstate_realloc", "__xfd_enable_feature")
    assert "kvm_vcpu_ioctl_set_cpuid2" in calls
    assert "__msr_io" in by_text["vCPU 0: XFD := 0x0 (kvm_set_msr_common)"]
    assert "kvm_emulate_wrmsr" in by_text["vCPU 0: XFD := 0x40000 (kvm_set_msr_common)"]


def test_why_is_from_the_state_that_is_there() -> None:
    """XFD was cleared behind the guest's kernel: the instruction works, and its tiles have no room."""
    found = world()
    events = events_of("transcript-vm-boot")
    for event in (*events, "guest wrmsr XFD 0", "guest process ldtilecfg", "guest process tileloadd 0"):
        found.happen(event)
    assert found.steps[-1].outcome.accepted
    outcome = walk(found, 18)
    assert outcome.accepted
    failed = [check.text for check in outcome.checks if not check.held]
    assert failed == [
        "not in the way now: the program asked the guest's kernel for permission (ARCH_REQ_XCOMP_PERM)",
        "the buffer has room for it; without, the next context switch loses it",
    ]


def test_why_names_the_reason_of_an_exception() -> None:
    found = world()
    for event in (*PERMITTED, "guest xsetbv 0x602e7"):
        found.happen(event)
    assert walk(found, 18).because.startswith("an instruction on it gives #UD: ")


def test_why_ends_in_a_verdict_of_its_own() -> None:
    found = world()
    found.happen("KVM_CREATE_VCPU")
    outcome = walk(found, 18)
    assert (outcome.verdict, outcome.name, outcome.accepted) == ("blocked", "blocked", False)
    assert outcome.because.startswith("the VMM's process may give it to guests")
