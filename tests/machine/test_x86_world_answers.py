"""What the world of the x86 machine answers where an event is refused, or asked for where it has no place."""

from __future__ import annotations

import signal

import pytest

from inspector.machine.events import EventError
from inspector.machine.outcome import NM, Rule
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.world.lanes import path_of
from inspector.machine.x86.world.toggle import xcr0_toggled, xcr0_whole
from inspector.machine.x86.world.touch import guest_touch
from inspector.machine.x86.world.world import World
from tests.machine.support import PERMITTED, policy_of, vcpu_of, world

PERMIT = "arch_prctl REQ_XCOMP_GUEST_PERM 18"
TD = ("KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM 0x602e7", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported")
#: A TD without AMX: nothing of it has XFD.
PLAIN_TD = ("KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM 0x7", "KVM_CREATE_VCPU")
#: Under the proposal: XFD virtual, tiles in XCR0, no room yet.
PROPOSAL = (PERMIT, "KVM_CREATE_VCPU", "KVM_SET_CPUID2 amx", "KVM_SET_MSRS XFD 0x40000", "KVM_SET_XCRS 0x602e7")


def after(*events: str, policy: str = "upstream") -> World:
    found = world(policy=policy_of(policy))
    found.play(events)
    return found


@pytest.mark.parametrize(
    ("events", "value"),
    [
        # fpu_xstate_prctl: what the CPU has, what the process may use, what its guests may.
        (("arch_prctl GET_XCOMP_SUPP",), 0x602E7),
        (("arch_prctl ARCH_GET_XCOMP_PERM",), 0x202E7),
        ((PERMIT, "arch_prctl GET_XCOMP_GUEST_PERM"), 0x602E7),
        ((PERMIT, "arch_prctl GET_XCOMP_PERM"), 0x202E7),
        (("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "KVM_SET_XCRS 1:7"), 0),
        ((*TD, "guest rdmsr XSS"), 0),
        ((*PLAIN_TD, "guest wrmsr XSS 0"), 0),
        ((*PLAIN_TD, "guest xsetbv 7"), 0),
        (("PTRACE_SETREGSET",), 0),
    ],
)
def test_answers(events: tuple[str, ...], value: int) -> None:
    outcome = after(*events).steps[-1].outcome
    assert (outcome.verdict, outcome.value) == ("ok", value)


@pytest.mark.parametrize(
    ("events", "name", "because"),
    [
        # kvm_vcpu_ioctl_x86_get_xsave, kvm_vcpu_ioctl_x86_get_xcrs and their like (x86.c): guest_state_protected.
        ((*TD, "KVM_GET_XSAVE2"), "EINVAL", "its state is protected"),
        ((*TD, "KVM_GET_XCRS"), "EINVAL", "its state is protected"),
        ((*TD, "KVM_SET_XCRS 3"), "EINVAL", "its state is protected"),
        ((*TD, "KVM_SET_XSAVE"), "EINVAL", "its state is protected"),
        # tdx_set_msr and tdx_get_msr return 1: __msr_io stops and the ioctl says how many it did.
        ((*TD, "KVM_SET_MSRS XFD 0"), "0 of 1", "the TDX module's"),
        ((*TD, "KVM_GET_MSRS XFD"), "0 of 1", "the TDX module's"),
        ((*TD, "guest wrmsr XSS 0x100"), "#GP", "XSS within XFAM (0x0)"),
        ((*PLAIN_TD, "guest wrmsr XFD 0"), "#GP", "XFAM has a component with XFD"),
        ((*PERMITTED, "KVM_SET_XCRS flags=1"), "EINVAL", "no flags"),
        # CR4.OSXSAVE comes first, in a guest that has no CPUID yet (SDM vol. 2, XSETBV, XGETBV).
        (("KVM_CREATE_VCPU", "guest xsetbv 7"), "#UD", "CR4.OSXSAVE is set"),
        (("KVM_CREATE_VCPU", "guest xgetbv 0"), "#UD", "CR4.OSXSAVE is set"),
        (("KVM_CREATE_VCPU", "guest vmovdqu 0"), "#UD", "CR4.OSXSAVE is set"),
        (("PTRACE_SETREGSET 0x3 600",), "EFAULT", "11008 bytes"),
        ((PERMIT, "KVM_CREATE_VCPU", "fail_allocation", "KVM_SET_CPUID2 amx"), "EFAULT", "fpstate_realloc"),
    ],
)
def test_refusals(events: tuple[str, ...], name: str, because: str) -> None:
    outcome = after(*events).steps[-1].outcome
    assert outcome.name == name
    assert because in outcome.because


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (("arch_prctl FOO",), "no operation FOO; there are GET_XCOMP_SUPP, "),
        ((*PERMITTED, "KVM_SET_XCRS flags=0"), "a value is missing"),
        ((*PERMITTED, "KVM_SET_XCRS flags=0x100000000"), "0x100000000 is not below 4294967296"),
        (("KVM_CREATE_VCPU", "KVM_SET_CPUID2 nosuch"), "no CPUID nosuch; there are supported, "),
        ((*PERMITTED, "guest rdmsr FOO"), "no MSR FOO; there are XFD, "),
        ((*PERMITTED, "guest process tileloadd 0"), "guest boot starts one"),
    ],
)
def test_words_that_are_none(events: tuple[str, ...], why: str) -> None:
    found = after(*events[:-1])
    before = len(found.steps)
    with pytest.raises(EventError, match=why.replace("(", "\\(")):
        found.happen(events[-1])
    assert len(found.steps) == before


@pytest.mark.parametrize(
    ("events", "name"),
    [
        # An ioctl gets the room at once, a WRMSR on the way out of KVM_RUN; without memory neither does.
        (("fail_allocation", "KVM_SET_MSRS XFD 0"), "EFAULT"),
        (("fail_allocation", "KVM_RUN", "guest wrmsr XFD 0", "return"), "ENOMEM"),
        (("KVM_RUN", "guest wrmsr XFD 0", "return"), "ok"),
        (("KVM_RUN", "guest wrmsr XFD 0", "return", "KVM_RUN"), "ok"),
    ],
)
def test_the_proposals_room_on_demand(events: tuple[str, ...], name: str) -> None:
    found = after(*PROPOSAL, *events, policy="rfc")
    assert found.steps[-1].outcome.name == name
    state = vcpu_of(found)
    # What was refused left XFD as it was; what was given left it cleared, and the buffer larger.
    assert bool(found.costs.allocated_bytes > 2560) is (name == "ok")
    assert state.xfd == (0x40000 if name == "EFAULT" else 0)


def test_a_program_that_another_thread_replaces_ends_every_run() -> None:
    """exec kills the threads that are inside KVM_RUN (de_thread): the host's registers are back."""
    found = after(*PERMITTED, "clone", "KVM_RUN", "exec thread=1")
    assert found.vm is None
    assert not found.process.leader.loaded or found.process.leader.task_fpstate is None


def test_no_xfd_behind_a_device_that_is_not_available_kills_the_task() -> None:
    """handle_xfd_event returns false where XFD_ERR is 0, and exc_device_not_available dies: oops_end with SIGSEGV."""
    linux = Linux(world().host)
    process = linux.spawn()

    def faults(_: Processor) -> object:
        rule = Rule("any instruction")
        rule.check("something else than XFD", held=False)
        return rule.fault(NM)

    outcome = linux.run(linux.cpu(0), process.leader, faults)  # type: ignore[arg-type]
    assert (outcome.verdict, outcome.code) == ("signal", signal.SIGSEGV)
    assert outcome.because == "XFD_ERR names a component: the #NM is XFD's"
    assert not process.leader.fpstate.xfeatures >> 18 & 1


@pytest.mark.parametrize(
    ("xcr0", "component", "toggled"),
    [
        # Intel SDM vol. 1, 13.3: AVX needs SSE, AVX-512 is three bits and needs AVX, tiles are two.
        (0x3, 2, 0x7),
        (0x3, 5, 0xE7),
        (0xE7, 6, 0x7),
        (0xE7, 2, 0x3),
        (0x7, 18, 0x60007),
        (0x60007, 17, 0x7),
        (0x7, 9, 0x207),
        (0x207, 9, 0x7),
        (0, 9, 0x200),
    ],
)
def test_a_component_goes_with_its_set(xcr0: int, component: int, toggled: int) -> None:
    assert xcr0_toggled(xcr0, component) == toggled


@pytest.mark.parametrize(("part", "whole"), [(0x1, 0x1), (0x23, 0xE7), (0x40001, 0x60001), (0x87, 0xE7)])
def test_what_an_xcr0_lacks_of_its_sets(part: int, whole: int) -> None:
    assert xcr0_whole(part) == whole


@pytest.mark.parametrize(
    ("events", "name"),
    [
        # The TD's own registers decide, inside a run and between two.
        ((*TD, "guest xsetbv 0x602e7", "guest ldtilecfg"), "ok"),
        ((*TD, "guest xsetbv 0x602e7"), "#UD"),
        ((*TD, "guest xsetbv 0x602e7", "guest wrmsr XFD 0x40000"), "#NM"),
        ((*TD, "KVM_RUN", "guest xsetbv 0x602e7", "guest wrmsr XFD 0x40000"), "#NM"),
        ((*PLAIN_TD, "guest xsetbv 7"), "#UD"),
    ],
)
def test_tiles_in_a_td(events: tuple[str, ...], name: str) -> None:
    found = after(*events)
    assert found.vm is not None
    assert guest_touch(found.vm, found.vm.vcpus[0], 18).word == name


def test_a_run_that_is_refused_comes_to_no_vcpu() -> None:
    found = after(*PROPOSAL, "fail_allocation", "KVM_RUN", "guest wrmsr XFD 0", "return", policy="rfc")
    assert path_of(found.steps[-1]).lanes == ["vCPU", "host kernel"]
