"""Permission, alternate stacks, buffers and exceptions at the bounds of each check."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.outcome import GP, MF, PF, Outcome
from inspector.machine.world import Line
from inspector.machine.x86.cpu import images
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.exceptions import signal_of
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import MINSIGSTKSZ, SS_DISABLE, Cpu, Thread
from inspector.machine.x86.linux.trace import Costs, Trace
from layouts.x86.xsave import TILEDATA

from .using_linux import AMX, PLAIN, amx_process

# Permission


def test_each_mask_of_arch_prctl_is_its_own() -> None:
    process = amx_process()
    default, wanted = AMX.user_default, AMX.user_default | 1 << TILEDATA
    assert process.get_supported().value == AMX.user_max
    assert AMX.user_max & 7 == 7
    assert Linux(PLAIN).spawn().get_supported().value == 3
    assert Linux(PLAIN).spawn().request_permission(TILEDATA).code == errno.EOPNOTSUPP
    assert process.request_permission(TILEDATA, guest=True).accepted
    assert (process.get_permission().value, process.get_permission(guest=True).value) == (default, wanted)
    assert process.request_permission(TILEDATA).accepted
    assert (process.get_permission().value, process.get_permission(guest=True).value) == (wanted, wanted)


def test_what_is_permitted_is_permitted_again_after_the_first_vcpu() -> None:
    """The look without the lock comes first (xstate_request_perm)."""
    process = amx_process()
    assert process.request_permission(TILEDATA, guest=True).accepted
    Vcpu(process)
    outcome = process.request_permission(TILEDATA, guest=True)
    assert (outcome.accepted, outcome.because) == (True, "it is permitted already")
    assert all(check.held for check in outcome.checks)


@pytest.mark.parametrize("guest", [False, True])
def test_the_numbers_of_components(guest: bool) -> None:
    process = amx_process()
    most = AMX.kernel.xfeature_max
    for component in range(most + 2):
        code = errno.EINVAL if component >= most else 0 if component == TILEDATA else errno.EOPNOTSUPP
        assert process.request_permission(component, guest=guest).code == code, component


def test_permission_before_5_16() -> None:
    outcome = amx_process("5.10").get_supported()
    assert (outcome.code, outcome.checks[-1].held) == (errno.EINVAL, False)


def test_a_thread_that_is_not_there() -> None:
    process = amx_process()
    cpu = Cpu(process.linux.cpu(0).machine)
    assert (cpu.xfd_state, cpu.eager_xfd) == (0, 0)
    assert process.thread(0) is process.leader
    assert process.leader.name == "1"
    with pytest.raises(ValueError, match="process 1 has 1 threads"):
        process.thread(1)


def test_an_alternate_stack_at_its_bounds() -> None:
    process = amx_process()
    for size, code in ((MINSIGSTKSZ - 1, errno.ENOMEM), (MINSIGSTKSZ, 0)):
        assert process.sigaltstack(size).code == code
    assert process.leader.altstack_size_bytes == MINSIGSTKSZ
    assert process.sigaltstack(0, flags=SS_DISABLE).accepted
    assert process.leader.altstack_size_bytes == 0
    assert process.request_permission(TILEDATA).accepted
    needed = AMX.frame_without_state_bytes + AMX.standard_size_bytes(process.perm)
    for size, code in ((needed, errno.ENOMEM), (needed + 1, 0)):
        assert process.sigaltstack(size).code == code
    other = Thread(process, 1)
    process.threads.append(other)
    assert process.sigaltstack(needed + 2, other).accepted
    assert process.sigaltstack(0, other, SS_DISABLE).accepted
    assert (process.leader.altstack_size_bytes, other.altstack_size_bytes) == (needed + 1, 0)


def test_permission_needs_room_on_every_alternate_stack() -> None:
    wanted = AMX.frame_size_bytes(AMX.standard_size_bytes(AMX.user_default | 1 << TILEDATA))
    for size, code in ((wanted - 1, errno.ENOSPC), (wanted, 0)):
        process = amx_process()
        assert process.sigaltstack(size).accepted
        assert process.request_permission(TILEDATA).code == code
        # A guest's frames are on no host's stack.
        assert process.request_permission(TILEDATA, guest=True).accepted


# Buffers


def test_a_buffer_of_a_guest_and_the_larger_one() -> None:
    fpstate = Fpstate.of_guest(AMX)
    assert (fpstate.is_guest, fpstate.is_valloc, fpstate.xfd, fpstate.last_cpu) == (True, True, 0, -1)
    assert (fpstate.in_use, fpstate.xinuse) == (False, 0)
    assert not fpstate.is_confidential
    task = Fpstate.of_task(AMX)
    assert (task.is_guest, task.is_valloc, task.xfd) == (False, False, 1 << TILEDATA)
    grown = task.larger(AMX, 1 << TILEDATA)
    assert (grown.is_guest, grown.is_valloc, grown.xfd, grown.last_cpu) == (False, True, 0, -1)


@pytest.mark.parametrize("bv", [0, 1, 2, 4, 32])
def test_mxcsr_is_put_with_x87_sse_or_avx(bv: int) -> None:
    """copy_uabi_to_xstate: x87 is copied as 160 bytes, in which MXCSR and its mask are."""
    fpstate = Fpstate.of_task(AMX)
    given = (0x1FA0).to_bytes(4, "little") + (0xFFAA).to_bytes(4, "little")
    before = fpstate.image[24:32]
    fpstate.put(AMX, images.with_xstate_bv(bytes(24) + given + bytes(4064), bv), bv)
    assert fpstate.image[24:32] == (given if bv & 7 else before)
    assert fpstate.xstate_bv == bv


# Exceptions and what they cost


def test_an_exceptions_address_is_kept_of_a_page_fault_alone() -> None:
    for code, address in ((PF, 0x1234), (GP, 0), (MF, 0)):
        thread = amx_process().leader
        assert (thread.trap_nr, thread.error_code, thread.fault_address) == (0, 0, 0)
        outcome = signal_of(thread, Outcome("exception", code, (), "", value=0x1234, error_code=6))
        assert (thread.trap_nr, thread.error_code, thread.fault_address) == (code, 6, address)
        assert (outcome.verdict, outcome.error_code) == ("signal", 0)
        assert outcome.value == {PF: 1, GP: 0x80, MF: 3}[code]


def test_costs_begin_at_nothing() -> None:
    trace = Trace()
    assert trace.costs.words() == "0 VM exits; XFD: 0 WRMSR (eager switching: 0), 0 RDMSR; 0 bytes of buffers"
    costs = Costs()
    costs.checks = 2
    assert ", 0 RDMSR, 2 checks of XINUSE; 0 bytes" in costs.words()
    trace.add("host", 1, "7/2", "saved", ("os_xsave",))
    assert trace.take()[0] == (Line("host", 1, "7/2", "saved (os_xsave)", ("os_xsave",)),)
