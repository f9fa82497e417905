"""KVM's ioctls on one vCPU of the x86 world: each check at its bound, and what a refused call leaves."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Rule
from inspector.machine.x86.cpu.instructions.control import (
    MSR_PL3_SSP,
    MSR_S_CET,
    MSR_U_CET,
    MSR_XFD,
    MSR_XFD_ERR,
    MSR_XSS,
)
from inspector.machine.x86.host import AMX_FEATURES, Host, shipped_cpu
from inspector.machine.x86.kvm.supported import named_cpuid, supported_leaf_7, xsave2_capability
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Process
from layouts.x86.kernels import profile_for
from tests.machine.x86_vcpus import (
    AMX_TABLE,
    CET_XSS,
    IBT,
    NO_CET,
    SHSTK,
    TILES,
    Leaves,
    cpu_with_cet,
    cpu_without_supervisor_state,
    held,
    vcpu_of,
)


def test_a_new_vcpu() -> None:
    vcpu = vcpu_of()
    registers = (vcpu.xcr0, vcpu.xss, vcpu.xfd, vcpu.xfd_err, vcpu.s_cet, vcpu.pkru, vcpu.xfam, vcpu.guest_xcr0)
    assert registers == (1, 0, 0, 0, 0, 0, 0, 0)
    states = (vcpu.ran, vcpu.passthrough, vcpu.wants_buffer, vcpu.in_run, vcpu.in_guest, vcpu.cr4_osxsave, vcpu.large)
    assert states == (False,) * 7
    assert vcpu.number == 0
    assert vcpu.process.guest_perm_locked
    allocated = vcpu.process.linux.trace.costs.allocated_bytes
    assert allocated == vcpu.fpstate.size_bytes
    Vcpu(vcpu.process, 1)
    assert vcpu.process.linux.trace.costs.allocated_bytes == 2 * allocated


# CPUID


@pytest.mark.parametrize(
    ("kernel", "leaf_7", "shstk", "ibt"),
    [
        ("7.2", SHSTK, True, False),
        ("7.2", IBT, False, True),
        ("7.2", NO_CET, False, False),
        ("6.17", (0, 0, SHSTK[2], IBT[3]), False, False),
    ],
)
def test_cet_is_the_guests_and_kvms(kernel: str, leaf_7: CpuidValues, shstk: bool, ibt: bool) -> None:
    vcpu = vcpu_of(kernel, {(7, 0): leaf_7})
    assert (vcpu.has_cet(2, 7), vcpu.has_cet(3, 20)) == (shstk, ibt)
    assert not vcpu_of(kernel).has_cet(2, 7)


@pytest.mark.parametrize(("bits", "code"), [(0, 0), (47, errno.EINVAL), (48, 0), (57, 0), (0x130, 0)])
def test_linear_addresses(bits: int, code: int) -> None:
    assert vcpu_of().set_cpuid({(0x80000008, 0): (bits << 8 | 0xFF, 9, 9, 9)}).code == code


def test_256_entries_and_no_more() -> None:
    for count, code in ((256, 0), (257, errno.E2BIG)):
        assert vcpu_of().set_cpuid({(0x40000000 + leaf, 0): (0, 0, 0, 0) for leaf in range(count)}).code == code


def test_a_buffer_grows_once_and_for_tiles_alone() -> None:
    vcpu = vcpu_of()
    first = vcpu.fpstate.size_bytes
    costs = vcpu.process.linux.trace.costs
    for table in ({}, {(0xD, 0): (0x202E7, 0, 0, 0)}):
        assert held(vcpu.set_cpuid(table))
        assert (vcpu.large, costs.allocated_bytes, vcpu.guest_xcr0) == (False, first, 0x202E7 if table else 0)
    for _ in range(2):
        assert held(vcpu.set_cpuid({(0xD, 0): (0x602E7, 0, 0, 0)}))
        assert (vcpu.large, costs.allocated_bytes) == (True, first + vcpu.fpstate.size_bytes)
    assert vcpu.set_cpuid({}).accepted
    assert (vcpu.guest_xcr0, vcpu.large) == (0, True)


def test_after_the_first_run_only_the_same_table() -> None:
    vcpu = vcpu_of(table=AMX_TABLE)
    vcpu.ran = True
    assert held(vcpu.set_cpuid(dict(AMX_TABLE)))
    assert vcpu.set_cpuid({}).code == errno.EINVAL
    assert vcpu.cpuid.leaves == AMX_TABLE


# MSRs

HOST, GUEST = False, True


@pytest.mark.parametrize(
    ("kernel", "cpuid", "leaf_d1", "guest", "value", "taken"),
    [
        # kvm_set_msr_common, MSR_IA32_XSS: XSAVES is bit 3 of CPUID(0xD,1).EAX.
        ("7.2", cpu_with_cet(), (8, 0, CET_XSS, 0), HOST, CET_XSS, True),
        ("7.2", cpu_with_cet(), (8, 0, CET_XSS, 0), GUEST, CET_XSS, True),
        ("7.2", cpu_with_cet(), (8, 0, CET_XSS, 0), GUEST, 0, True),
        ("7.2", cpu_with_cet(), (8, 0, CET_XSS, 0), GUEST, 1 << 10, False),
        ("7.2", cpu_with_cet(), (8, 0, 0, 0), HOST, CET_XSS, False),
        ("7.2", cpu_with_cet(), (0x17, 0, CET_XSS, 0), HOST, CET_XSS, False),
        ("7.2", cpu_with_cet(), (0x17, 0, CET_XSS, 0), HOST, 0, True),
        ("7.2", cpu_with_cet(), (0x17, 0, CET_XSS, 0), GUEST, 0, False),
        # What KVM does not list, the host does not set to 0 either (kvm_do_msr_access).
        ("7.2", cpu_without_supervisor_state(), (0x17, 0, 0, 0), HOST, 0, False),
        ("6.17", cpu_without_supervisor_state(), (0x17, 0, 0, 0), HOST, 0, True),
        ("6.17", cpu_with_cet(), (0x17, 0, 0, 0), HOST, 0, True),
        ("6.17", cpu_with_cet(), (0x17, 0, 0, 0), GUEST, 0, False),
    ],
)
def test_xss(kernel: str, cpuid: Cpuid, leaf_d1: CpuidValues, guest: bool, value: int, taken: bool) -> None:
    vcpu = vcpu_of(kernel, {(0xD, 1): leaf_d1}, cpuid=cpuid)
    assert vcpu.check_msr(Rule(""), MSR_XSS, value, guest=guest) is taken


@pytest.mark.parametrize(
    ("kernel", "leaf_7", "index", "guest", "value", "taken"),
    [
        # Where the guest lacks CET the host may write 0, where KVM has it.
        ("7.2", (0, 0, 0, 0), MSR_S_CET, HOST, 0, True),
        ("7.2", (0, 0, 0, 0), MSR_PL3_SSP, HOST, 0, True),
        ("7.2", (0, 0, 0, 0), MSR_S_CET, HOST, 1, False),
        ("7.2", (0, 0, 0, 0), MSR_U_CET, GUEST, 0, False),
        ("6.17", (0, 0, 0, 0), MSR_S_CET, HOST, 0, False),
        ("7.2", NO_CET, MSR_S_CET, HOST, 0, True),
        # SH_STK_EN is bit 0, ENDBR_EN bit 2.
        ("7.2", SHSTK, MSR_S_CET, HOST, 1, True),
        ("7.2", SHSTK, MSR_U_CET, GUEST, 0, True),
        ("7.2", SHSTK, MSR_S_CET, HOST, 4, False),
        ("7.2", IBT, MSR_S_CET, HOST, 4, True),
        ("7.2", IBT, MSR_S_CET, HOST, 0, True),
        ("7.2", IBT, MSR_S_CET, HOST, 1, False),
        ("7.2", IBT, MSR_PL3_SSP, HOST, 0, False),
        ("7.2", IBT, MSR_PL3_SSP, HOST, 8, False),
        ("7.2", SHSTK, MSR_PL3_SSP, HOST, 8, True),
    ],
)
def test_cet(kernel: str, leaf_7: CpuidValues, index: int, guest: bool, value: int, taken: bool) -> None:
    vcpu = vcpu_of(kernel, {(7, 0): leaf_7})
    assert vcpu.check_msr(Rule(""), index, value, guest=guest) is taken


@pytest.mark.parametrize(
    ("kernel", "table", "guest", "value", "taken"),
    [
        ("7.2", AMX_TABLE, GUEST, TILES, True),
        ("7.2", AMX_TABLE, GUEST, TILES | 4, False),
        ("7.2", {(0xD, 0): (0x602E7, 0, 0, 0), (0xD, 1): (0xF, 0, 0, 0)}, GUEST, TILES, False),
        ("7.2", {(0xD, 0): (0x602E7, 0, 0, 0), (0xD, 1): (0xF, 0, 0, 0)}, HOST, TILES, True),
        ("7.2", {(0xD, 0): (0x2E7, 0, 0, 0), (0xD, 1): (0x1F, 0, 0, 0)}, HOST, TILES, False),
        ("7.2", {(0xD, 0): (0x2E7, 0, 0, 0), (0xD, 1): (0x1F, 0, 0, 0)}, GUEST, 0, True),
        ("5.10", {}, HOST, 0, False),
    ],
)
def test_xfd(kernel: str, table: Leaves, guest: bool, value: int, taken: bool) -> None:
    vcpu = vcpu_of(kernel, table)
    assert vcpu.check_msr(Rule(""), MSR_XFD, value, guest=guest) is taken


def test_a_guest_that_lacks_xfd_does_not_keep_the_host_from_it() -> None:
    vcpu = vcpu_of(table={(0xD, 0): (0x602E7, 0, 0, 0), (0xD, 1): (0xF, 0, 0, 0)})
    assert held(vcpu.set_msr(MSR_XFD, TILES))


def test_what_is_written_is_read() -> None:
    vcpu = vcpu_of(table={**AMX_TABLE, (7, 0): (0, 0, SHSTK[2], IBT[3])})
    ssp = 0x7766554433221108
    for index, value in ((MSR_XFD_ERR, TILES), (MSR_XFD, 0), (MSR_XSS, CET_XSS), (MSR_S_CET, 4), (MSR_U_CET, 1)):
        assert held(vcpu.set_msr(index, value))
        assert (held(vcpu.get_msr(index)), vcpu.get_msr(index).value) == (True, value)
    # U_CET and PL3_SSP lie side by side in one component.
    assert vcpu.store_msr(Rule(""), MSR_PL3_SSP, ssp)
    assert (vcpu.get_msr(MSR_U_CET).value, vcpu.get_msr(MSR_PL3_SSP).value) == (1, ssp)
    assert vcpu.store_msr(Rule(""), MSR_U_CET, 2)
    assert (vcpu.get_msr(MSR_U_CET).value, vcpu.get_msr(MSR_PL3_SSP).value) == (2, ssp)
    assert vcpu.fpstate.xstate_bv >> 11 & 3 == 1


@pytest.mark.parametrize(
    ("kernel", "leaf_7", "index", "there"),
    [
        ("7.2", SHSTK, MSR_S_CET, True),
        ("7.2", IBT, MSR_PL3_SSP, True),
        ("7.2", NO_CET, MSR_S_CET, False),
        ("6.17", SHSTK, MSR_S_CET, False),
        ("5.10", SHSTK, MSR_XFD, False),
        ("5.10", SHSTK, MSR_XSS, True),
    ],
)
def test_msrs_that_are_not_there(kernel: str, leaf_7: CpuidValues, index: int, there: bool) -> None:
    outcome = vcpu_of(kernel, {(7, 0): leaf_7}).get_msr(index)
    assert (held(outcome), outcome.value, outcome.name) == (there, 0, "ok" if there else "0 of 1")


def test_xss_is_read_where_the_cpu_has_xsaves() -> None:
    for eax, there in ((8, True), (0xF7, False)):
        leaves: Leaves = {(0xD, 0): (7, 0x340, 0x340, 0), (0xD, 1): (eax, 0, 0, 0), (0xD, 2): (0x100, 0x240, 0, 0)}
        assert held(vcpu_of(cpuid=Cpuid(leaves)).get_msr(MSR_XSS)) is there


# XCR0 and images


def test_x87_is_always_there() -> None:
    vcpu = vcpu_of(table={})
    assert held(vcpu.set_xcrs((0, 1)))
    assert vcpu.set_xcrs((0, 3)).code == errno.EINVAL


def test_entries_for_other_registers_are_passed_over() -> None:
    vcpu = vcpu_of(table=AMX_TABLE)
    assert held(vcpu.set_xcrs((1, 7), (2, 9)))
    assert held(vcpu.set_xcrs((1, 7), (0, 0x207)))
    assert vcpu.xcr0 == 0x207
    assert vcpu.set_xcrs((0, 0x206)).code == errno.EINVAL
    assert vcpu.xcr0 == 0x207


@pytest.mark.parametrize("memory", [True, False])
def test_the_proposal_gives_room_on_demand_or_changes_nothing(memory: bool) -> None:
    vcpu = vcpu_of(table=AMX_TABLE, policy="rfc")
    assert vcpu.set_msr(MSR_XFD, TILES).accepted
    assert vcpu.set_xcrs((0, 0x602E7)).accepted
    assert (vcpu.large, vcpu.fpstate.is_virtual_xfd) == (False, True)
    vcpu.process.allocation_fails = not memory
    outcome = vcpu.set_msr(MSR_XFD, 0)
    assert outcome.code == (0 if memory else errno.EFAULT)
    assert (vcpu.large, vcpu.passthrough, vcpu.xfd) == (memory, memory, 0 if memory else TILES)
    assert vcpu.fpstate.is_virtual_xfd is not memory


@pytest.mark.parametrize(("memory", "xcr0"), [(True, 0x602E7), (False, 1)])
def test_the_proposal_gives_room_for_an_xcr0_too(memory: bool, xcr0: int) -> None:
    vcpu = vcpu_of(table=AMX_TABLE, policy="rfc")
    vcpu.process.allocation_fails = not memory
    assert vcpu.set_xcrs((0, 0x602E7)).code == (0 if memory else errno.EFAULT)
    assert (vcpu.xcr0, vcpu.large) == (xcr0, memory)


@pytest.mark.parametrize(
    ("kernel", "table", "code", "code2"),
    [("7.2", {}, 0, 0), ("7.2", AMX_TABLE, errno.EINVAL, 0), ("5.10", {}, 0, errno.EINVAL)],
)
def test_whether_the_state_fits(kernel: str, table: Leaves, code: int, code2: int) -> None:
    vcpu = vcpu_of(kernel, table)
    assert (vcpu.get_xsave().code, vcpu.get_xsave2().code) == (code, code2)
    assert held(vcpu.get_xsave()) is not bool(code)
    assert held(vcpu.get_xsave2()) is not bool(code2)


def image_of(vcpu: Vcpu, bv: int, *, mxcsr: int = 0x1F80) -> bytearray:
    image = bytearray(vcpu.user_image())
    image[24:28] = mxcsr.to_bytes(4, "little")
    image[512:520] = bv.to_bytes(8, "little")
    return image


@pytest.mark.parametrize(("bv", "taken"), [(0, True), (0x200, True), (1, False), (2, False), (4, False)])
def test_mxcsr_is_looked_at_where_it_is_taken(bv: int, taken: bool) -> None:
    vcpu = vcpu_of(table=AMX_TABLE)
    assert held(vcpu.set_xsave(bytes(image_of(vcpu, bv, mxcsr=0x10000)))) is taken
    assert held(vcpu.set_xsave(bytes(image_of(vcpu, bv, mxcsr=0xFFFF))))


def test_pkru_is_32_bits_of_its_component() -> None:
    vcpu = vcpu_of(table=AMX_TABLE)
    image = image_of(vcpu, 0x200)
    image[2688:2696] = (0xFF_1234_5678).to_bytes(8, "little")
    assert held(vcpu.set_xsave(bytes(image)))
    assert vcpu.pkru == 0x12345678
    assert vcpu.user_image()[2688:2696] == (0x12345678).to_bytes(8, "little")
    assert held(vcpu.set_xsave(bytes(image_of(vcpu, 0xE7))))
    assert vcpu.pkru == 0x12345678


# What exits


def test_what_leaves_the_guest() -> None:
    """XFD until it was non-zero, XFD_ERR's reads until CPUID has XFD; #NM once XFD is passed through."""
    vcpu = vcpu_of("6.17", policy="upstream")
    assert vcpu.intercepts.exits_on(vcpu) == ("RDMSR XFD", "WRMSR XFD", "RDMSR XFD_ERR", "WRMSR XFD_ERR")
    assert vcpu.set_cpuid(AMX_TABLE).accepted
    assert vcpu.intercepts.exits_on(vcpu) == ("RDMSR XFD", "WRMSR XFD", "WRMSR XFD_ERR")
    assert vcpu.set_msr(MSR_XFD, TILES).accepted
    assert vcpu.intercepts.exits_on(vcpu) == ("WRMSR XFD_ERR", "#NM")
    vcpu.fpstate.is_confidential = True
    assert vcpu.intercepts.exits_on(vcpu) == ()
    proposal = vcpu_of(table=AMX_TABLE, policy="rfc")
    assert proposal.set_xcrs((0, 0x602E7)).accepted
    assert proposal.intercepts.exits_on(proposal) == ("RDMSR XFD_ERR", "WRMSR XFD_ERR")


@pytest.mark.parametrize(("kernel", "defers"), [("6.17", False), ("6.18", True), ("7.2", True)])
def test_intercepts_follow_cpuid_at_once_until_6_17(kernel: str, defers: bool) -> None:
    vcpu = vcpu_of(kernel)
    intercepts = vcpu.intercepts
    assert (intercepts.reads_xfd_err, intercepts.requested) == (False, False)
    assert vcpu.set_cpuid(AMX_TABLE).accepted
    assert (intercepts.reads_xfd_err, intercepts.requested) == (not defers, defers)
    intercepts.before_entry(vcpu)
    assert (intercepts.reads_xfd_err, intercepts.requested) == (True, False)


def test_a_td_and_the_proposal_have_no_intercepts_of_kvms() -> None:
    proposal, confidential = vcpu_of(policy="rfc"), vcpu_of()
    confidential.fpstate.is_confidential = True
    for vcpu in (proposal, confidential):
        assert vcpu.set_cpuid(AMX_TABLE).accepted
        assert not vcpu.intercepts.requested


def test_how_many_msrs_were_read() -> None:
    """KVM_GET_MSRS of one entry that is not read: none of one."""
    outcome = vcpu_of().get_msr(MSR_S_CET)
    assert (outcome.verdict, outcome.code, outcome.value) == ("short", 1, 0)


# Tables by name, and the buffer that a VMM asks for


def process_of(kernel: str, perm: int = 0) -> Process:
    process = Linux(Host(shipped_cpu("sapphire-rapids"), profile_for(kernel))).spawn()
    process.guest_perm |= perm
    return process


def test_a_table_by_its_name() -> None:
    """Leaf 7 and leaf 0xD as KVM supports them, but for what the name takes away."""
    process = process_of("7.2", 1 << 18)
    seven = supported_leaf_7(process.host)
    assert len({*seven[:3]}) == 3
    assert named_cpuid(process, "supported")[7, 0] == seven
    assert named_cpuid(process, "no-amx")[7, 0] == (*seven[:3], seven[3] & ~AMX_FEATURES)
    with pytest.raises(ValueError, match="no CPUID none; there are supported, no-amx"):
        named_cpuid(process, "none")


@pytest.mark.parametrize(
    ("kernel", "perm", "size"), [("5.16", 1 << 18, 0), ("5.17", 0, 4096), ("5.17", 1 << 18, 11008), ("7.2", 0, 4096)]
)
def test_how_large_a_buffer_kvm_asks_for(kernel: str, perm: int, size: int) -> None:
    """KVM_CAP_XSAVE2 is of 5.17, and never below struct kvm_xsave."""
    assert xsave2_capability(process_of(kernel, perm)) == size
