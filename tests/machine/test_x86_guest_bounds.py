"""Instructions of a guest inside KVM_RUN: which KVM checks, which exit, what is told of them."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.outcome import GP, NM, UD, Rule
from inspector.machine.x86.cpu.instructions import control, tiles
from inspector.machine.x86.cpu.instructions.control import (
    MSR_PL3_SSP,
    MSR_S_CET,
    MSR_XFD,
    MSR_XFD_ERR,
    MSR_XSS,
)
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.run import Run
from tests.machine.x86_vcpus import (
    AMX_TABLE,
    CET_XSS,
    IBT,
    NO_CET,
    SHSTK,
    TILES,
    Leaves,
    guest_of,
    held,
    use_tiles,
    vcpu_of,
)


@pytest.mark.parametrize(
    ("value", "index", "osxsave", "vector"),
    [(7, 0, True, -1), (6, 0, True, GP), (7, 1, True, GP), (1 << 63 | 7, 0, True, GP), (7, 0, False, UD)],
)
def test_xsetbv_is_checked_by_kvm(value: int, index: int, osxsave: bool, vector: int) -> None:
    guest = guest_of()
    guest.vcpu.cr4_osxsave = osxsave
    outcome = guest.xsetbv(value, index)
    assert (held(outcome), outcome.code) == ((True, 0) if vector < 0 else (False, vector))
    assert guest.vcpu.xcr0 == (value if vector < 0 else 0x602E7)


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("by_xcr0", [True, False])
def test_a_guest_of_the_proposal_asks_for_room_as_its_run_ends(by_xcr0: bool, is_alone: bool) -> None:
    """Tiles come with XCR0 or with XFD; KVM_RUN fails without memory, and the write stays."""
    vcpu = vcpu_of(table=AMX_TABLE, policy="rfc")
    vcpu.cr4_osxsave = True
    if not by_xcr0:
        vcpu.xcr0, vcpu.fpstate.xfd = 0x602E7, TILES
    guest = Guest(vcpu)
    if not is_alone:
        guest.run.begin()
    vcpu.process.allocation_fails = True
    outcome = guest.xsetbv(0x602E7) if by_xcr0 else guest.wrmsr(MSR_XFD, 0)
    assert outcome.code == (errno.ENOMEM if is_alone else 0)
    assert any(check.text == "memory for the larger buffer is there" for check in outcome.checks) is is_alone
    assert all(check.held for check in outcome.checks[:-1])
    assert outcome.checks[-1].held is not is_alone
    assert outcome.checks[0].text in ("CR4.OSXSAVE is set", "the guest's CPUID has XFD")
    assert (vcpu.wants_buffer, vcpu.large, vcpu.xcr0, vcpu.xfd) == (True, False, 0x602E7, 0)


def test_a_write_that_got_room_is_told_as_the_write() -> None:
    vcpu = vcpu_of(table=AMX_TABLE, policy="rfc")
    vcpu.xcr0, vcpu.fpstate.xfd = 0x602E7, TILES
    outcome = Guest(vcpu).wrmsr(MSR_XFD, 0)
    assert (vcpu.large, outcome.source) == (True, "kvm_set_msr_common, vmx_set_msr (x86.c, vmx.c)")


def test_only_xfds_exception_is_trapped() -> None:
    guest = guest_of()
    assert guest.execute(tiles.ldtilecfg).accepted
    assert guest.wrmsr(MSR_XFD, TILES).accepted
    outcome = guest.execute(lambda cpu: tiles.tilezero(cpu, 0))
    assert (outcome.verdict, outcome.code, guest.vcpu.xfd_err) == ("exception", NM, TILES)
    guest.vcpu.xfd_err = 0
    outcome = guest.execute(lambda cpu: tiles.tilezero(cpu, 9))
    assert (outcome.verdict, outcome.code, guest.vcpu.xfd_err) == ("exception", UD, 0)
    lines, executed = guest.vcpu.process.linux.trace.take()
    assert sum("#NM is queued" in line.text for line in lines) == 1
    assert [one.exited for one in executed] == [False, True, True, False]
    # A value or an errno of 7 is no exception.
    seven = guest.execute(lambda _: Rule("").short(0, NM))
    assert (seven.code, guest.vcpu.xfd_err) == (NM, 0)


def test_code_of_the_guests_kernel_unless_it_is_said() -> None:
    guest = guest_of()
    seen: list[bool] = []

    def look(processor: object) -> object:
        seen.append(processor.user)  # type: ignore[attr-defined]
        return Rule("").ok()

    for user in (False, True):
        guest.execute(look, user=user)  # type: ignore[arg-type]
    guest.execute(look)  # type: ignore[arg-type]
    assert seen == [False, True, False]


@pytest.mark.parametrize(
    ("table", "index", "value"),
    [
        ({}, MSR_XFD, None),
        ({}, MSR_XFD_ERR, None),
        (AMX_TABLE, MSR_XFD, TILES),
        (AMX_TABLE, MSR_XFD_ERR, 0x20000),
        (AMX_TABLE, MSR_XSS, CET_XSS),
        ({}, MSR_XSS, CET_XSS),
        (AMX_TABLE, MSR_S_CET, None),
        (AMX_TABLE | {(7, 0): NO_CET}, MSR_PL3_SSP, None),
        (AMX_TABLE | {(7, 0): SHSTK}, MSR_S_CET, 5),
        (AMX_TABLE | {(7, 0): IBT}, MSR_S_CET, 5),
    ],
)
@pytest.mark.parametrize("passthrough", [True, False])
def test_rdmsr(table: Leaves, index: int, value: int | None, passthrough: bool) -> None:
    vcpu = vcpu_of(table=table)
    vcpu.xss, vcpu.fpstate.xfd, vcpu.xfd_err, vcpu.s_cet = CET_XSS, TILES, 0x20000, 5
    vcpu.passthrough = passthrough
    if passthrough and index == MSR_XFD:
        value = TILES
    outcome = Guest(vcpu).rdmsr(index)
    assert held(outcome) is (value is not None)
    assert all(check.held for check in outcome.checks) is (value is not None)
    assert (outcome.code, outcome.value) == ((GP, 0) if value is None else (0, value))


@pytest.mark.parametrize(
    ("kernel", "table", "index", "exits"),
    [
        ("6.17", AMX_TABLE, MSR_XFD_ERR, False),
        ("6.17", {}, MSR_XFD_ERR, True),
        ("6.17", AMX_TABLE, MSR_XFD, True),
        ("6.17", AMX_TABLE, MSR_XSS, True),
    ],
)
def test_reads_that_exit(kernel: str, table: Leaves, index: int, exits: bool) -> None:
    guest = Guest(vcpu_of(kernel, table))
    guest.run.begin()
    guest.rdmsr(index)
    assert guest.vcpu.process.linux.trace.costs.vm_exits == int(exits)
    assert guest.vcpu.in_guest is not exits


def test_a_write_that_is_refused_is_not_told_as_a_loss() -> None:
    guest = guest_of()
    use_tiles(guest)
    guest.run.begin()
    for index, value, told in ((MSR_XFD, TILES | 4, False), (MSR_XFD_ERR, TILES, False), (MSR_XFD, TILES, True)):
        guest.vcpu.process.linux.trace.take()
        guest.wrmsr(index, value)
        lines, _ = guest.vcpu.process.linux.trace.take()
        assert any("the next XSAVES loses them" in line.text for line in lines) is told


def test_a_guest_moves_to_another_cpu() -> None:
    guest = guest_of()
    assert guest.cpu_number == 0
    first = guest.run
    first.begin()
    first.enter()
    guest.cpu_number = 1
    assert guest.run is not first
    assert (guest.run.cpu.number, guest.vcpu.in_guest) == (1, False)
    assert guest.run is guest.run


def test_an_emulators_guest_gets_back_only_a_large_buffer() -> None:
    """The emulator of the recorded answers loads the initial state where the buffer has the default size."""
    for policy_large in (True, False):
        vcpu = vcpu_of(table=AMX_TABLE if policy_large else {(0xD, 0): (0x2E7, 0, 0, 0)})
        vcpu.host.emulated = True
        run = Run(vcpu)
        run.begin()
        run.processor.registers.write(2, 0, b"\1" * 16)
        run.end()
        run.begin()
        assert bool(run.processor.registers.get(2)[0]) is policy_large
        vcpu.host.emulated = False
        run.end()


def test_xgetbv_reads_the_guests_xcr0() -> None:
    guest = guest_of()
    assert guest.execute(lambda cpu: control.xgetbv(cpu, 0)).value == 0x602E7


@pytest.mark.parametrize(("is_alone", "rdmsr"), [(True, 0), (False, 1)])
def test_what_ends_a_run_of_one_instruction_costs_nothing(is_alone: bool, rdmsr: int) -> None:
    """Nobody would have left the guest; fpu_sync_guest_vmexit_xfd_state reads XFD at a real exit."""
    guest = guest_of()
    guest.vcpu.passthrough = True
    if not is_alone:
        guest.run.begin()
    assert guest.execute(tiles.tilerelease).accepted
    if not is_alone:
        guest.run.exit()
    costs = guest.vcpu.process.linux.trace.costs
    assert (costs.vm_exits, costs.rdmsr_xfd) == (rdmsr, rdmsr)
