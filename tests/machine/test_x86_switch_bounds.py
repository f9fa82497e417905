"""Context switches, XFD and PKRU of a Linux on processors: what is written, what it costs, what the trace says."""

from __future__ import annotations

from functools import partial

import pytest

from inspector.machine.outcome import GP, UD, Outcome, Rule
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.bare_metal import BareMetal
from inspector.machine.x86.cpu.instructions import control, tiles
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR
from inspector.machine.x86.cpu.processor import Instruction, Processor
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import INITIAL_PKRU, Cpu, Thread
from layouts.x86 import call_chains
from layouts.x86.kernels import policies, profile_for
from layouts.x86.xsave import DYNAMIC, PKRU, TILECFG, TILEDATA, XTILE

from .using_linux import AMX, PLAIN, running

XFD = 1 << TILEDATA
OTHER_PKRU = 0x55555550
use_a_tile = partial(tiles.tilezero, tile=0)


class Machine:
    """Not the processor itself, as a guest's kernel has it: writes of some MSRs fault."""

    def __init__(self, host: Host, number: int, *refused: int) -> None:
        self.number = number
        self.processor = BareMetal(host, number)
        self.refused = refused
        self.written: list[tuple[int, int]] = []

    def execute(self, instruction: Instruction, *, user: bool = False) -> Outcome:
        return self.processor.execute(instruction, user=user)

    def xsetbv(self, value: int) -> Outcome:
        return self.processor.xsetbv(value)

    def wrmsr(self, index: int, value: int) -> Outcome:
        self.written.append((index, value))
        return Rule("").fault(GP) if index in self.refused else self.processor.wrmsr(index, value)

    def rdmsr(self, index: int) -> Outcome:
        return Rule("").fault(GP) if index in self.refused else self.processor.rdmsr(index)


def with_tiles(linux: Linux, cpu: Cpu) -> Thread:
    """A process with tile data in use."""
    thread = linux.spawn().leader
    assert thread.process.request_permission(TILEDATA).accepted
    for instruction in (tiles.ldtilecfg, use_a_tile):
        assert linux.run(cpu, thread, instruction).accepted
    return thread


def processor_of(cpu: Cpu) -> Processor:
    assert isinstance(cpu.machine, Processor)
    return cpu.machine


def lines(linux: Linux) -> list[tuple[str, int, str, str]]:
    """The trace without the chains of callers."""
    return [(line.level, line.cpu, line.task, line.text) for line in linux.trace.take()[0]]


# What the trace says


def test_a_guests_cpu_says_that_it_comes_up() -> None:
    """fpu__init_cpu_xstate; of the host nobody asks."""
    for level, said in (("guest", [("guest", 2, "boot", "XFD := 0x40000 (fpu__init_cpu_xstate)")]), ("host", [])):
        linux = Linux(AMX, level=level)
        linux.cpu(2)
        assert lines(linux) == said
    assert Linux(AMX).level == "host"
    assert Linux(AMX).cpu(3).number == 3


def test_a_line_names_the_cpu_and_the_task() -> None:
    linux, cpu, thread = running()
    linux.log(None, "nobody")
    linux.log(None, "here", ("f", "g"), linux.cpu(1))
    linux.log(thread, "where it runs")
    linux.log(thread, "elsewhere", cpu=linux.cpu(1))
    linux.log(linux.spawn().leader, "nowhere yet")
    found = linux.trace.take()[0]
    assert [(line.cpu, line.task, line.text) for line in found] == [
        (0, "boot", "nobody"),
        (1, "boot", "here (f)"),
        (0, "1", "where it runs"),
        (1, "1", "elsewhere"),
        (0, "2", "nowhere yet"),
    ]
    assert [line.calls for line in found[:2]] == [(), ("f", "g")]
    linux.schedule(linux.cpu(1), thread)
    linux.log(thread, "moved")
    assert (cpu.number, lines(linux)) == (0, [("host", 1, "1", "moved")])


def test_the_first_use_of_a_tile() -> None:
    """handle_xfd_event; the host's buffers alone are memory that is counted."""
    for level in ("host", "guest"):
        linux = Linux(AMX, level=level)
        threads = [with_tiles(linux, linux.cpu(1)) for _ in range(2)]
        size = threads[0].fpstate.size_bytes
        found = [line for line in linux.trace.take()[0] if line.calls not in (call_chains.PERMISSION, call_chains.BOOT)]
        assert [(line.level, line.cpu, line.task, line.text, line.calls) for line in found] == [
            told
            for task in "12"
            for told in (
                (level, 1, task, "XFD_ERR = 0x40000 (handle_xfd_event)", call_chains.XFD_EVENT),
                (level, 1, task, f"task's buffer is now {size} bytes (fpstate_realloc)", call_chains.TASK_BUFFER),
            )
        ]
        assert linux.trace.costs.allocated_bytes == (2 * size if level == "host" else 0)
        assert size == AMX.kernel_size_bytes(AMX.kernel_default | XFD)


def test_state_that_xsaves_leaves_out() -> None:
    linux = Linux(AMX)
    cpu = linux.cpu(1)
    thread = with_tiles(linux, cpu)
    linux.trace.take()
    assert linux.write_xfd(cpu, XFD) is None
    assert linux.save(cpu, thread.fpstate).accepted
    (line,) = linux.trace.take()[0]
    assert (line.cpu, line.task, line.calls) == (1, "1", call_chains.SAVE)
    assert line.text.startswith("XSAVES leaves out components 0x40000, in use")


# What switches write, and what they cost


def test_what_a_switch_writes_of_xfd() -> None:
    """Linux writes it before a task's registers are loaded; eager switching would write it for each task."""
    linux = Linux(AMX)
    cpu, costs = linux.cpu(0), linux.trace.costs
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd) == (0, 0)
    thread, other = with_tiles(linux, cpu), linux.spawn().leader
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd) == (1, 1)
    linux.kernel_thread(cpu)
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd) == (1, 3)
    assert (cpu.current, thread.loaded, linux.is_valid_on(cpu, thread.fpstate)) == (thread, False, True)
    linux.to_user(cpu, thread)
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd) == (1, 3)
    linux.to_user(cpu, other)
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd, processor_of(cpu).xfd) == (2, 4, XFD)
    linux.to_user(cpu, thread)
    assert (costs.wrmsr_xfd, costs.eager_wrmsr_xfd, processor_of(cpu).xfd) == (3, 5, 0)
    assert linux.registers(thread).in_use & XFD


def test_a_cpu_without_a_task_has_no_kernel_thread_to_come_back_from() -> None:
    linux = Linux(AMX)
    assert linux.kernel_thread(linux.cpu(0)) is None
    assert linux.cpu(0).current is None


def test_a_processor_without_xfd_is_not_written() -> None:
    linux = Linux(PLAIN)
    cpu = linux.cpu(0)
    assert linux.to_user(cpu, linux.spawn().leader) is None
    assert (linux.trace.costs.wrmsr_xfd, linux.trace.costs.eager_wrmsr_xfd) == (0, 0)
    assert processor_of(cpu).registers.components == {}


def test_whose_registers_are_valid_where() -> None:
    """fpregs_state_valid: the owner's, and where they were last."""
    linux, cpu, thread = running()
    elsewhere = linux.cpu(1)
    assert linux.is_valid_on(cpu, thread.fpstate)
    assert not linux.is_valid_on(elsewhere, thread.fpstate)
    elsewhere.owner = thread.fpstate
    assert not linux.is_valid_on(elsewhere, thread.fpstate)
    cpu.owner = None
    assert not linux.is_valid_on(cpu, thread.fpstate)


def test_a_thread_that_goes_to_another_cpu() -> None:
    """It is saved where it was, which has nobody then; what comes back later finds its own registers."""
    linux = Linux(AMX)
    cpu, elsewhere = linux.cpu(0), linux.cpu(1)
    thread = with_tiles(linux, cpu)
    linux.write_pkru(cpu, OTHER_PKRU)
    assert linux.to_user(elsewhere, thread) is None
    assert (cpu.current, elsewhere.current, thread.cpu) == (None, thread, elsewhere)
    assert (linux.pkru(thread), linux.registers(thread).in_use & XFD) == (OTHER_PKRU, XFD)
    assert processor_of(cpu).registers.get(PKRU) == INITIAL_PKRU.to_bytes(8, "little")
    waiting = linux.spawn().leader
    linux.schedule(cpu, waiting)
    linux.schedule(cpu, None)
    linux.schedule(elsewhere, waiting)
    assert (elsewhere.current, waiting.cpu) == (waiting, elsewhere)


def test_a_thread_that_another_has_replaced_goes_without_touching_it() -> None:
    linux, cpu, thread = running()
    linux.schedule(cpu, linux.spawn().leader)
    second = cpu.current
    linux.write_pkru(cpu, OTHER_PKRU)
    linux.schedule(linux.cpu(1), thread)
    assert (cpu.current, linux.pkru(thread)) == (second, INITIAL_PKRU)
    assert second is not None
    assert linux.pkru(second) == OTHER_PKRU


# PKRU


def test_pkru_goes_with_the_task() -> None:
    """x86_pkru_load: 8 bytes in a component of 8, of which the register has 4; a kernel thread has the default."""
    assert processor_of(Linux(AMX).cpu(0)).registers.get(PKRU) == INITIAL_PKRU.to_bytes(8, "little")
    linux, cpu, thread = running()
    other = linux.spawn().leader
    registers = processor_of(cpu).registers
    assert registers.get(PKRU) == INITIAL_PKRU.to_bytes(8, "little")
    linux.write_pkru(cpu, OTHER_PKRU)
    assert registers.get(PKRU) == OTHER_PKRU.to_bytes(8, "little")
    for following, pkru in ((other, INITIAL_PKRU), (thread, OTHER_PKRU), (None, INITIAL_PKRU), (thread, OTHER_PKRU)):
        linux.schedule(cpu, following)
        assert registers.get(PKRU) == pkru.to_bytes(8, "little")
        assert (linux.pkru(thread), linux.pkru(other)) == (OTHER_PKRU, INITIAL_PKRU)


def test_what_lies_behind_pkru_is_not_pkru() -> None:
    linux, cpu, thread = running()
    processor_of(cpu).registers.components[PKRU] = OTHER_PKRU.to_bytes(4, "little") + b"\xff" * 4
    assert linux.pkru(thread) == OTHER_PKRU
    linux.schedule(cpu, None)
    assert linux.pkru(thread) == OTHER_PKRU


def test_a_processor_without_keys_keeps_none() -> None:
    linux = Linux(PLAIN)
    cpu, thread = linux.cpu(0), linux.spawn().leader
    linux.to_user(cpu, thread)
    linux.write_pkru(cpu, OTHER_PKRU)
    linux.schedule(cpu, None)
    assert (processor_of(cpu).registers.components, linux.pkru(thread)) == ({}, INITIAL_PKRU)


def test_a_handler_starts_with_initial_state() -> None:
    """fpu__clear_user_states: PKRU's default; what is the supervisor's stays."""
    linux = Linux(AMX)
    cpu = linux.cpu(0)
    thread = with_tiles(linux, cpu)
    processor = processor_of(cpu)
    processor.registers.components[16] = bytes(8)
    processor.xss = 1 << 16
    linux.write_pkru(cpu, OTHER_PKRU)
    linux.clear_user_states(cpu, thread)
    assert processor.registers.components == {16: bytes(8), PKRU: INITIAL_PKRU.to_bytes(8, "little")}


# Tasks


def test_what_a_new_thread_inherits() -> None:
    """fpu_clone: what the registers hold of the default buffer; not PASID (XFEATURE_MASK_PASID)."""
    linux, cpu, thread = running()
    assert linux.run(cpu, thread, tiles.ldtilecfg).accepted
    processor = processor_of(cpu)
    processor.registers.components[10] = b"\1".ljust(8, b"\0")
    assert processor.xss >> 10 & 1
    child = linux.clone(cpu, thread)
    assert child.fpstate.xstate_bv & (1 << TILECFG | 1 << 10) == 1 << TILECFG
    assert processor.registers.in_use >> 10 & 1


def test_exec_starts_anew() -> None:
    """fpu_flush_thread, fpstate_reset: the thread that calls is the first and only one, and nothing is permitted."""
    linux = Linux(AMX)
    cpu = linux.cpu(0)
    second = linux.clone(cpu, with_tiles(linux, cpu))
    process = second.process
    process.guest_perm_locked = True
    second.altstack_size_bytes = 65536
    assert (second.number, second.name) == (1, "1/1")
    assert linux.run(cpu, second, tiles.ldtilecfg).accepted
    linux.write_pkru(cpu, OTHER_PKRU)
    linux.exec(cpu, second)
    assert linux.registers(second).in_use & XTILE == 0
    assert (process.threads, second.number, second.altstack_size_bytes) == ([second], 0, 0)
    assert (process.perm, process.guest_perm, process.guest_perm_locked) == (AMX.user_default, AMX.user_default, False)
    assert (second.loaded, second.fpstate.xfd, linux.pkru(second)) == (True, XFD, INITIAL_PKRU)


def test_a_new_kernel_of_any_policy_has_xfd_of_the_buffer() -> None:
    """While the kernel has a buffer's registers: its XFD; options 1 and 2 of the proposal differ for guests alone."""
    filled = Fpstate.of_guest(AMX).larger(AMX, DYNAMIC)
    filled.image = images.with_xstate_bv(filled.image, XFD)
    filled.xfd = filled.xinuse = XFD
    for name, guest_xfd in (("upstream", XFD), ("rfc", XFD), ("rfc-option1", 0)):
        for is_guest in (True, False):
            linux = Linux(AMX, policy=policies()[name])
            cpu = linux.cpu(0)
            filled.is_guest = is_guest
            outcome = linux.restore(cpu, filled)
            expected = guest_xfd if is_guest else XFD
            assert processor_of(cpu).xfd == expected
            # XRSTORS of what XFD turns off is #NM.
            assert (outcome is None) is (expected == 0)
            assert linux.trace.costs.checks == 0


def test_option_2_clears_xfd_around_what_is_in_use() -> None:
    linux = Linux(AMX, policy=policies()["rfc-option2"])
    cpu, costs = linux.cpu(0), linux.trace.costs
    fpstate = Fpstate.of_guest(AMX).larger(AMX, DYNAMIC)
    fpstate.xfd = XFD
    assert linux.restore(cpu, fpstate) is None
    assert (costs.checks, costs.wrmsr_xfd, processor_of(cpu).xfd) == (1, 0, XFD)
    fpstate.image = images.with_xstate_bv(fpstate.image, XFD | 1)
    assert linux.restore(cpu, fpstate) is None
    assert (costs.checks, costs.wrmsr_xfd, processor_of(cpu).xfd) == (2, 2, XFD)
    fpstate.xinuse = XFD
    assert linux.save(cpu, fpstate).accepted
    assert (costs.checks, costs.wrmsr_xfd, processor_of(cpu).xfd) == (3, 4, XFD)
    assert fpstate.xstate_bv & XFD
    fpstate.is_guest = False
    assert linux.save(cpu, fpstate).accepted
    assert (costs.checks, fpstate.xstate_bv & XFD) == (3, 0)


# A machine that refuses, as a vCPU may


@pytest.mark.parametrize("release", ["7.2", "5.10"])
def test_a_cpu_comes_up_in_this_order(release: str) -> None:
    """XFD before XCR0 (fpu__init_cpu_xstate), from 5.16 on."""
    host = Host(shipped_cpu("sapphire-rapids"), profile_for(release))
    machine = Machine(host, 0)
    linux = Linux(host, lambda number: machine, level="guest")
    assert linux.bring_up(0).accepted
    written = [(MSR_XFD, XFD)] if release == "7.2" else []
    assert (machine.written, machine.processor.xcr0) == (written, host.user_max)
    assert (linux.cpu(0).xfd_state, linux.cpu(0).eager_xfd) == ((XFD, XFD) if written else (0, 0))
    refusing = Machine(host, 0, MSR_XFD)
    outcome = Linux(host, lambda number: refusing).bring_up(0)
    assert (outcome.code, refusing.processor.xcr0) == ((GP, 1) if written else (0, host.user_max))


def test_a_task_of_a_machine_that_is_no_processor() -> None:
    """XFD is written by WRMSR and counted by nobody; what is loaded is restored after it."""
    machine = Machine(AMX, 0)
    linux = Linux(AMX, lambda number: machine, level="guest")
    cpu = linux.cpu(0)
    thread = with_tiles(linux, cpu)
    assert linux.to_user(cpu, linux.spawn().leader) is None
    assert machine.processor.registers.in_use & XFD == 0
    assert linux.to_user(cpu, thread) is None
    assert machine.processor.registers.in_use & XFD
    assert [value for index, value in machine.written if index == MSR_XFD] == [XFD, 0, XFD, 0]
    assert (MSR_XFD_ERR, 0) in machine.written
    assert (linux.trace.costs.wrmsr_xfd, linux.trace.costs.eager_wrmsr_xfd) == (0, 0)
    machine.refused = (MSR_XFD,)
    wrong = linux.run(cpu, linux.spawn().leader, tiles.ldtilecfg)
    assert (wrong.verdict, wrong.code) == ("exception", GP)


def test_an_exception_of_a_program() -> None:
    """At CPL 3, and a signal; the checks are those of both tries where XFD was in the way."""
    linux, cpu, thread = running()
    assert linux.run(cpu, thread, lambda p: control.xsetbv(p, 0, 7)).verdict == "signal"
    assert thread.process.request_permission(TILEDATA).accepted
    assert linux.run(cpu, thread, tiles.ldtilecfg).accepted
    user: list[bool] = []

    def instruction(processor: Processor) -> Outcome:
        user.append(processor.user)
        first = use_a_tile(processor)
        return first if processor.xfd else Rule("", "manual").fault(UD)

    outcome = linux.run(cpu, thread, instruction)
    assert (outcome.verdict, user, thread.trap_nr) == ("signal", [True, True], UD)
    assert (outcome.source, outcome.evidence) == (
        "handle_xfd_event, __xfd_enable_feature (traps.c, fpu/xstate.c)",
        "kernel",
    )
    texts = [check.text for check in outcome.checks]
    assert texts[0] == "CR4.OSXSAVE is set and XCR0[18:17] = 11"
    assert "the process has permission for component 18" in texts


def test_nm_without_a_component() -> None:
    """die: XFD_ERR is read and cleared."""
    linux, cpu, thread = running()
    outcome = linux.run(cpu, thread, lambda p: Rule("").fault(7))
    assert (outcome.verdict, outcome.code, outcome.value) == ("signal", 11, 0x80)
    processor_of(cpu).xfd_err = 1 << TILECFG
    linux.run(cpu, thread, lambda p: Rule("").fault(7))
    assert processor_of(cpu).xfd_err == 0
