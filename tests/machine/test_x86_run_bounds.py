"""KVM_RUN of the x86 world: what is loaded and saved at each step, what is said of it, and what it costs."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.events import EventError
from inspector.machine.outcome import NM
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.cpu.instructions.control import (
    MSR_S_CET,
    MSR_XFD,
    MSR_XSS,
)
from inspector.machine.x86.kvm.run import Run
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.process import INITIAL_PKRU
from tests.machine.support import PERMITTED
from tests.machine.x86_vcpus import (
    CET_XSS,
    IBT,
    NO_CET,
    SHSTK,
    TILES,
    Leaves,
    after,
    guest_of,
    held,
    use_tiles,
    vcpu_of,
)

#: Tiles in use under an XFD that turns them off, then #NM, exits and a return.
LOSS = (
    *PERMITTED,
    "KVM_SET_XCRS 0x602e7",
    "KVM_RUN",
    "guest ldtilecfg",
    "guest tilezero 0",
    "guest wrmsr XFD 0x40000",
    "guest tilezero 0",
    "exit",
    "guest wrmsr XFD_ERR 0",
    "return",
    "KVM_SET_MSRS XFD_ERR 0x40000",
)


# What is said, and what it costs


def test_each_line_names_its_function() -> None:
    lines = [line for step in after(*LOSS).steps for line in step.log]
    assert {(line.level, line.cpu, line.task) for line in lines} == {("host", 0, "1")}
    assert [line.text for line in lines] == [
        "guest permission 0x602e7 (xstate_request_perm)",
        "vCPU 0: guest's buffer is now 10752 bytes (fpstate_realloc)",
        "vCPU 0: reads of XFD_ERR no longer exit (vmx_recalc_msr_intercepts)",
        "vCPU 0: XFD := 0x40000 (kvm_set_msr_common)",
        "vCPU 0: XFD is passed through, #NM is trapped (vmx_set_msr)",
        "vCPU 0: components 0x40000 are in use under XFD: the next XSAVES loses them",
        "vCPU 0: XFD_ERR = 0x40000 (vmx_handle_nm_fault_irqoff)",
        "vCPU 0: XFD_ERR of the CPU := 0 (vcpu_enter_guest)",
        "vCPU 0: #NM is queued to the guest (handle_exception_nmi)",
        "vCPU 0: XFD_ERR := 0x0 (kvm_set_msr_common)",
        "XSAVES leaves out components 0x40000, in use, because XFD has them: lost (save_fpregs_to_fpstate)",
        "vCPU 0: XFD_ERR := 0x40000 (kvm_set_msr_common)",
    ]


def test_the_proposal_names_no_functions() -> None:
    lines = [line for step in after(*LOSS, policy="rfc-option1").steps[1:] for line in step.log]
    assert {line.calls for line in lines} == {()}
    assert [line.text.removeprefix("vCPU 0: ") for line in lines] == [
        "guest's buffer is now 10752 bytes",
        "XFD is passed through",
        "components 0x40000 are in use under XFD: the next XSAVES loses them",
        "XFD of the CPU := 0, until the next entry: components 0x40000 are in use",
        "XFD of the CPU := 0, until the next entry: components 0x40000 are in use",
        "XFD_ERR := 0x0",
        "XFD_ERR := 0x40000",
    ]


@pytest.mark.parametrize(
    ("policy", "vm_exits", "rdmsr_xfd", "checks"), [("upstream", 3, 2, 0), ("rfc", 2, 2, 0), ("rfc-option1", 2, 2, 2)]
)
def test_costs(policy: str, vm_exits: int, rdmsr_xfd: int, checks: int) -> None:
    costs = after(*LOSS, policy=policy).costs
    assert (costs.vm_exits, costs.rdmsr_xfd, costs.checks) == (vm_exits, rdmsr_xfd, checks)


def test_a_fast_exit_reads_no_msr() -> None:
    found = after(*PERMITTED, "KVM_RUN", "exit fast", "exit fast")
    assert (found.costs.vm_exits, found.costs.rdmsr_xfd) == (2, 0)
    found.play(("exit", "exit fast"))
    assert found.costs.vm_exits == 3


# Entry and exit


@pytest.mark.parametrize(("leaf_7", "has_shstk"), [(SHSTK, True), (IBT, False), (NO_CET, False)])
def test_what_the_processor_has_inside_the_guest_and_behind_it(
    leaf_7: tuple[int, int, int, int], has_shstk: bool
) -> None:
    vcpu = guest_of(leaf_7=leaf_7).vcpu
    vcpu.xss, vcpu.s_cet, vcpu.pkru, vcpu.xfd_err = CET_XSS, 4, 0x87654321, TILES
    run = Run(vcpu)
    processor, host = run.processor, vcpu.host
    assert run.begin() is None
    assert run.enter() is None
    inside = (processor.xcr0, processor.xss, processor.cr4_osxsave, processor.cr4_cet, processor.msrs[MSR_S_CET])
    assert inside == (0x602E7, CET_XSS, True, has_shstk, 4)
    assert (processor.xfd_err, processor.registers.get(9)[:8]) == (TILES, (0x87654321).to_bytes(8, "little"))
    assert vcpu.thread.leave_guest is not None
    processor.msrs[MSR_S_CET] = 5
    processor.registers.components[9] = (0xFF12345678).to_bytes(8, "little")
    run.exit()
    behind = (processor.xcr0, processor.xss, processor.cr4_osxsave, processor.cr4_cet, processor.xfd_err)
    assert behind == (host.user_max, host.supervisor, True, False, 0)
    assert processor.registers.get(9) == INITIAL_PKRU.to_bytes(8, "little")
    assert (vcpu.s_cet, vcpu.pkru, vcpu.thread.leave_guest) == (5, 0x12345678, None)


def test_without_protection_keys_their_register_is_left_alone() -> None:
    leaves: Leaves = {(0xD, 0): (7, 0x340, 0x340, 0), (0xD, 1): (0xF, 0x340, 0, 0), (0xD, 2): (0x100, 0x240, 0, 0)}
    run = Run(vcpu_of(table=leaves, cpuid=Cpuid(leaves)))
    run.begin()
    run.enter()
    run.exit()
    assert 9 not in run.processor.registers.components


def test_without_supervisor_cet_its_msr_is_0() -> None:
    run = Run(guest_of().vcpu)
    run.begin()
    run.enter()
    del run.processor.msrs[MSR_S_CET]
    run.exit()
    assert run.vcpu.s_cet == 0


def test_a_run_from_begin_to_end() -> None:
    vcpu = guest_of().vcpu
    run, thread = Run(vcpu), vcpu.thread
    own = thread.fpstate
    assert run.begin() is None
    assert (thread.fpstate, thread.task_fpstate, thread.loaded) == (vcpu.fpstate, own, True)
    assert (vcpu.fpstate.in_use, vcpu.ran, vcpu.in_run) == (True, True, True)
    assert run.begin() is None
    assert held(run.end())
    assert (thread.fpstate, thread.task_fpstate, thread.loaded) == (own, None, True)
    assert (vcpu.fpstate.in_use, vcpu.in_run) == (False, False)


def test_registers_that_were_saved_are_loaded_once() -> None:
    """vcpu_enter_guest: switch_fpu_return where TIF_NEED_FPU_LOAD is set, nothing where the CPU has kept them."""
    vcpu = guest_of().vcpu
    run = Run(vcpu)
    run.begin()
    run.enter()
    assert held(run.save())
    assert not vcpu.thread.loaded
    assert run.save().accepted, "TIF_NEED_FPU_LOAD is set already"
    restores: list[object] = []
    run.linux.restore = lambda _cpu, fpstate: restores.append(fpstate)  # type: ignore[method-assign]
    vcpu.fpstate.last_cpu = 0
    assert run.enter() is None
    assert (vcpu.thread.loaded, restores) == (True, [])
    run.save()
    run.cpu.owner = None
    assert run.enter() is None
    assert (vcpu.thread.loaded, restores) == (True, [vcpu.fpstate])


def test_an_oops_leaves_the_threads_own_registers() -> None:
    guest = guest_of()
    vcpu, thread = guest.vcpu, guest.vcpu.thread
    use_tiles(guest)
    own = thread.fpstate
    assert vcpu.set_msr(MSR_XFD, TILES).accepted
    outcome = Run(vcpu).begin()
    assert outcome is not None
    assert (outcome.verdict, outcome.code, outcome.checks[-1].held) == ("host-oops", NM, False)
    assert outcome.because.endswith("(XFD & XSTATE_BV = 0x40000)")
    assert (thread.fpstate, thread.task_fpstate, thread.loaded, vcpu.fpstate.in_use) == (own, None, False, False)


def test_a_thread_runs_one_vcpu_at_a_time() -> None:
    found = after(*PERMITTED, "KVM_CREATE_VCPU", "KVM_RUN")
    with pytest.raises((EventError, ValueError), match="inside KVM_RUN"):
        found.happen("KVM_RUN vcpu=1")
    vcpu = guest_of().vcpu
    Run(vcpu).begin()
    with pytest.raises(ValueError, match="thread 1 is inside KVM_RUN of another vCPU; return comes first"):
        Run(Vcpu(vcpu.process, 1)).begin()


# The proposal


def test_the_proposal_grows_the_buffer_on_the_way_out() -> None:
    guest = guest_of(policy="rfc")
    vcpu = guest.vcpu
    guest.vcpu.fpstate.xfd = 0
    run = guest.run
    run.begin()
    vcpu.wants_buffer = True
    with pytest.raises(ValueError, match="for a larger buffer; return comes next"):
        guest.rdmsr(MSR_XSS)
    vcpu.process.allocation_fails = True
    assert run.end().code == errno.ENOMEM
    assert vcpu.wants_buffer
    vcpu.process.allocation_fails = True
    refused = run.begin()
    assert refused is not None
    assert (refused.code, refused.evidence, vcpu.in_run) == (errno.ENOMEM, "proposal", False)
    assert refused.source.startswith("the proposal for AMX in KVM of 2021: ")
    assert run.begin() is None
    assert (vcpu.wants_buffer, vcpu.passthrough, vcpu.fpstate.is_virtual_xfd) == (False, True, False)


@pytest.mark.parametrize(
    ("policy", "cleared"), [("rfc", TILES), ("rfc-option1", 0), ("rfc-option2", TILES), ("upstream", TILES)]
)
def test_option_1_clears_xfd_over_tiles_in_use(policy: str, cleared: int) -> None:
    guest = guest_of(policy=policy)
    vcpu, run = guest.vcpu, guest.run
    assert vcpu.set_msr(MSR_XFD, 0).accepted
    run.begin()
    use_tiles(guest)
    assert guest.wrmsr(MSR_XFD, TILES).accepted
    run.enter()
    run.processor.xfd_err = TILES
    run.exit()
    assert run.processor.xfd == cleared
    assert vcpu.xfd == TILES
    if policy != "upstream":
        assert (vcpu.xfd_err, run.processor.xfd_err, vcpu.fpstate.xinuse >> 18) == (TILES, 0, 1)
    # Nothing in use: it stays.
    run.enter()
    guest.execute(tiles.tilerelease)
    run.exit()
    assert run.processor.xfd == TILES
