"""TDs and VMs of the x86 world: XFAM, the virtual CPUID, what the module keeps from KVM, and a guest's Linux."""

from __future__ import annotations

import errno

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import GP, UD
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.tdx import TdGuest, init_vm, virtual_cpuid
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.kernel import Linux
from layouts.x86.kernels import profile_for
from tests.machine.x86_vcpus import AMX_TABLE, CET_XSS, TILES, cpu_with_cet, held, vcpu_of

XFAM = 0x602E7 | CET_XSS
HOST = Host(cpu_with_cet(), profile_for("7.2"))
M32 = 0xFFFFFFFF


def td_of(xfam: int = XFAM) -> TdGuest:
    vm = Vm(Linux(HOST).spawn(), is_td=True)
    assert vm.tdx_init(xfam).accepted
    assert vm.create_vcpu(vm.process.leader).accepted
    guest = vm.guests[0]
    assert isinstance(guest, TdGuest)
    return guest


# KVM_TDX_INIT_VM and the virtual CPUID


@pytest.mark.parametrize(
    ("xfam", "taken"),
    [
        # XFAM_FIXED1 is added; KVM's own mask and XFAM_FIXED0 come first.
        (0, 3),
        (7, 7),
        (0x602E7, 0x602E7),
        (XFAM, XFAM),
        (1 << 63, None),
        (1 << 8, None),
        (1 << 10, None),
        # check_xfam: AVX-512 is three and needs AVX; CET and tiles are two each.
        (0xE7, 0xE7),
        (0xE3, None),
        (0x27, None),
        (0x67, None),
        (0xC7, None),
        (1 << 11, None),
        (1 << 12, None),
        (CET_XSS, CET_XSS | 3),
        (1 << 17, None),
        (1 << 18, None),
        (3 << 17, 3 << 17 | 3),
    ],
)
def test_xfam(xfam: int, taken: int | None) -> None:
    outcome = init_vm(HOST, xfam)
    assert (held(outcome), outcome.code) == ((True, 0) if taken is not None else (False, errno.EINVAL))
    assert outcome.value == (taken or 0)


def test_only_a_td_is_initialized_and_once() -> None:
    process = Linux(HOST).spawn()
    plain, td = Vm(process), Vm(process, is_td=True)
    assert td.create_vcpu(process.leader).code == errno.EIO
    for vm, code in ((plain, errno.EINVAL), (td, 0), (td, errno.EINVAL)):
        outcome = vm.tdx_init(7)
        assert (held(outcome), outcome.code, outcome.checks[-1].held) == (not code, code, not code)
    assert (plain.xfam, td.xfam) == (0, 7)


AVX512F, SHSTK_BIT, PKU_BITS, IBT_BIT, AMX_BITS = 1 << 16, 1 << 7, 3 << 3, 1 << 20, 1 << 22 | 1 << 24 | 1 << 25


@pytest.mark.parametrize(
    ("xfam", "gone", "sizes", "features", "components"),
    [
        (XFAM, (0, 0, 0, 0), (0x2B00, 0x2A00), 0x1F, {2, 5, 6, 7, 9, 11, 12, 17, 18}),
        (0x207, (0, AVX512F, SHSTK_BIT, IBT_BIT | AMX_BITS), (0xA88, 0x348), 0xF, {2, 9}),
        (3 | CET_XSS, (0, AVX512F, PKU_BITS, AMX_BITS), (0x240, 0x268), 0xF, {11, 12}),
    ],
)
def test_the_virtual_cpuid(
    xfam: int, gone: CpuidValues, sizes: tuple[int, int], features: int, components: set[int]
) -> None:
    everything = Host(Cpuid({**HOST.cpuid.leaves, (7, 0): (M32, M32, M32, M32)}), HOST.kernel)
    found = virtual_cpuid(everything, xfam)
    assert found.pop((7, 0)) == tuple(M32 & ~bits for bits in gone)
    assert found.pop((0xD, 0)) == (xfam & ~CET_XSS, sizes[0], sizes[0], 0)
    assert found.pop((0xD, 1)) == (features, sizes[1], xfam & CET_XSS, 0)
    assert found == {(0xD, number): HOST.cpuid.leaves[0xD, number] for number in components}


def test_a_cpu_without_leaf_7_or_xsaves() -> None:
    leaves: dict[tuple[int, int], CpuidValues] = {(0xD, 0): (7, 0x340, 0x340, 0), (0xD, 2): (0x100, 0x240, 0, 0)}
    found = virtual_cpuid(Host(Cpuid(leaves), HOST.kernel), 7)
    assert (found[7, 0], found[0xD, 1][0], found[0xD, 1][2:]) == ((0, 0, 0, 0), 0, (0, 0))


# A TD's vCPU


def test_a_new_td_vcpu() -> None:
    for xfam, passthrough in ((XFAM, True), (7, False)):
        guest = td_of(xfam)
        vcpu, state = guest.vcpu, guest.state
        assert (vcpu.xfam, vcpu.passthrough, vcpu.fpstate.is_confidential, vcpu.cr4_osxsave) == (
            xfam,
            passthrough,
            True,
            True,
        )
        assert (state.xcr0, state.xss, state.xfd, state.xfd_err, state.registers.in_use) == (1, 0, 0, 0, 0)
        assert vcpu.intercepts.exits_on(vcpu) == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda vcpu: vcpu.set_xcrs((0, 3)),
        lambda vcpu: vcpu.get_xsave(),
        lambda vcpu: vcpu.get_xsave2(),
        lambda vcpu: vcpu.set_xsave(bytes(4096)),
        lambda vcpu: vcpu.set_msr(MSR_XFD, 0),
        lambda vcpu: vcpu.get_msr(MSR_XFD),
    ],
)
def test_what_is_the_modules_kvm_does_not_touch(call: object) -> None:
    vcpu = td_of().vcpu
    outcome = call(vcpu)  # type: ignore[operator]
    assert not outcome.accepted
    assert outcome.because.startswith("not a TD: its ")
    assert outcome.value == 0
    plain = vcpu_of(table=AMX_TABLE)
    plain.xfam = 0
    assert plain.set_xcrs((0, 3)).accepted


@pytest.mark.parametrize(
    ("value", "index", "osxsave", "vector"),
    [
        (0x602E7, 0, True, -1),
        (7, 0, True, -1),
        (6, 0, True, GP),
        (7, 1, True, GP),
        (1 << 63 | 7, 0, True, GP),
        (0xF, 0, True, GP),
        (7, 0, False, UD),
    ],
)
def test_the_module_checks_xsetbv_against_xfam(value: int, index: int, osxsave: bool, vector: int) -> None:
    guest = td_of()
    guest.vcpu.cr4_osxsave = osxsave
    outcome = guest.xsetbv(value, index)
    assert (held(outcome), outcome.code) == ((True, 0) if vector < 0 else (False, vector))
    assert (outcome.evidence, outcome.source) == ("tdx-module", "XSETBV exit (TDX module)")
    guest.run.exit()
    assert guest.state.xcr0 == (value if vector < 0 else 1)


def test_a_component_that_xfam_lacks_is_not_in_xcr0() -> None:
    guest = td_of(7)
    assert guest.xsetbv(0x207).code == GP
    assert guest.xsetbv(7).accepted


@pytest.mark.parametrize(
    ("xfam", "index", "value", "vector"),
    [
        (XFAM, MSR_XFD, TILES, -1),
        (XFAM, MSR_XFD_ERR, TILES, -1),
        (7, MSR_XFD, 0, GP),
        (7, MSR_XFD_ERR, 0, GP),
        (XFAM, MSR_XSS, CET_XSS, -1),
        (XFAM, MSR_XSS, 1 << 8, GP),
        (XFAM, MSR_XSS, 2, GP),
        (7, MSR_XSS, CET_XSS, GP),
        (7, MSR_XSS, 0, -1),
    ],
)
def test_msrs_of_a_td(xfam: int, index: int, value: int, vector: int) -> None:
    guest = td_of(xfam)
    outcome = guest.wrmsr(index, value)
    assert (held(outcome), outcome.code) == ((True, 0) if vector < 0 else (False, vector))
    assert vector < 0 or outcome.evidence == "tdx-module"
    assert vector < 0 or outcome.source.startswith("is_msr_dynamic_bit_cleared")
    told = guest.rdmsr(index)
    assert (held(told), told.value) == (
        (False, 0) if vector == GP and index != MSR_XSS else (True, max(value, 0) if vector < 0 else 0)
    )


def test_an_exit_saves_with_the_tds_xfd_and_wipes_the_processor() -> None:
    guest = td_of()
    assert guest.xsetbv(0x602E7).accepted
    guest.run.begin()
    guest.vcpu.process.linux.schedule(guest.run.cpu, None)
    guest.run.enter()
    assert guest.run.cpu.current is guest.vcpu.thread
    assert guest.run.cpu.owner is guest.vcpu.fpstate
    assert guest.vcpu.thread.loaded, "switch_fpu_return comes before the entry (vcpu_enter_guest)"
    assert guest.execute(tiles.ldtilecfg).accepted
    assert guest.execute(lambda cpu: tiles.tilezero(cpu, 0)).accepted
    assert guest.wrmsr(MSR_XSS, CET_XSS).accepted
    assert guest.wrmsr(MSR_XFD, TILES).accepted
    processor, state = guest.run.processor, guest.state
    inside = (processor.xcr0, processor.xss, processor.xfd, processor.cr4_osxsave, guest.vcpu.in_guest)
    assert inside == (0x602E7, CET_XSS, TILES, True, True)
    assert guest.vcpu.thread.leave_guest is not None
    guest.run.exit()
    assert (state.xcr0, state.xss, state.xfd, state.xfd_err) == (0x602E7, CET_XSS, TILES, 0)
    assert state.registers.in_use >> 17 & 3 == 1, "the tiles are lost, their configuration is not"
    behind = (processor.xcr0, processor.xss, processor.cr4_osxsave, processor.xfd, processor.xfd_err)
    assert behind == (HOST.user_max, HOST.supervisor, True, 0, 0)
    assert processor.registers.in_use >> 17 == 0
    assert (guest.vcpu.fpstate.xfd, guest.run.cpu.xfd_state, guest.vcpu.thread.leave_guest) == (0, 0, None)
    assert guest.run.save().accepted
    assert not guest.vcpu.thread.loaded


def test_xfd_err_is_the_tds() -> None:
    guest = td_of()
    guest.run.begin()
    assert guest.xsetbv(0x602E7).accepted
    guest.execute(tiles.ldtilecfg)
    guest.wrmsr(MSR_XFD, TILES)
    assert guest.execute(lambda cpu: tiles.tilezero(cpu, 0)).name == "#NM"
    assert (guest.run.processor.xfd_err, guest.vcpu.xfd_err) == (TILES, 0)
    guest.run.exit()
    assert (guest.state.xfd_err, guest.run.processor.xfd_err) == (TILES, 0)
    assert guest.rdmsr(MSR_XFD_ERR).value == TILES


def test_a_td_moves_to_another_cpu() -> None:
    guest = td_of()
    first = guest.run
    first.begin()
    first.enter()
    guest.cpu_number = 1
    assert (guest.run.cpu.number, guest.vcpu.in_guest, guest.run is guest.run) == (1, False, True)


# A VM and its Linux


def test_vcpus_are_numbered_and_run_in_their_threads() -> None:
    process = Linux(HOST).spawn()
    vm = Vm(process)
    other = process.linux.clone(process.linux.cpu(0), process.leader)
    for thread in (process.leader, other):
        assert vm.create_vcpu(thread).accepted
    assert [(vcpu.number, vcpu.thread) for vcpu in vm.vcpus] == [(0, process.leader), (1, other)]
    process.allocation_fails = True
    assert vm.create_vcpu(other).code == errno.ENOMEM
    assert len(vm.vcpus) == 2


def test_closing_ends_every_run() -> None:
    process = Linux(HOST).spawn()
    vm = Vm(process)
    vm.create_vcpu(process.leader)
    vm.create_vcpu(process.leader)
    vm.guests[1].run.begin()
    vm.close()
    assert not any(vcpu.in_run for vcpu in vm.vcpus)
    assert process.leader.task_fpstate is None


@pytest.mark.parametrize(
    ("leaves", "leaf_7"),
    [
        ({(0xD, 0): (7, 0, 0, 0)}, HOST.cpuid.leaves[7, 0]),
        ({(0xD, 0): (7, 0, 0, 0), (7, 0): (0, 1 << 16, 8, 0)}, (0, 1 << 16, 8, 0)),
    ],
)
def test_a_guests_host_is_its_cpuid(leaves: dict[tuple[int, int], CpuidValues], leaf_7: CpuidValues) -> None:
    process = Linux(HOST).spawn()
    vm = Vm(process)
    vm.create_vcpu(process.leader)
    assert vm.vcpus[0].set_cpuid(leaves).accepted
    host = vm.guest_host(profile_for("6.1"))
    assert host.kernel is profile_for("6.1")
    assert host.cpuid.leaves[0xD, 0][0] == 7
    # Linux turns protection keys on where the CPU has them (booted).
    assert host.cpuid.leaves[7, 0] == (*leaf_7[:2], leaf_7[2] | (leaf_7[2] >> 3 & 1) << 4, leaf_7[3])


def test_a_guest_without_any_leaf_7() -> None:
    process = Linux(Host(Cpuid({(0xD, 0): (3, 0x240, 0x240, 0)}), HOST.kernel)).spawn()
    vm = Vm(process)
    vm.create_vcpu(process.leader)
    assert vm.guest_host(HOST.kernel).cpuid.leaves[7, 0] == (0, 0, 0, 0)


def test_a_tds_host_is_its_virtual_cpuid() -> None:
    vm = Vm(Linux(HOST).spawn(), is_td=True)
    vm.tdx_init(7)
    vm.create_vcpu(vm.process.leader)
    assert vm.guest_host(HOST.kernel).cpuid.leaves[0xD, 0] == (7, 0x340, 0x340, 0)


def test_the_guests_linux_comes_up() -> None:
    process = Linux(HOST).spawn()
    process.request_permission(18, guest=True)
    vm = Vm(process)
    vm.create_vcpu(process.leader)
    vcpu = vm.vcpus[0]
    components = {key: values for key, values in HOST.cpuid.leaves.items() if key[0] == 0xD and key[1] > 1}
    assert vcpu.set_cpuid({**AMX_TABLE, **components}).accepted
    vcpu.cr4_osxsave = True
    # A release without a profile: the one that answers for it is named.
    outcome = vm.boot(profile_for("6.5"), 1)
    assert held(outcome)
    assert outcome.checks[0].text == profile_for("6.5").note != ""
    assert vm.linux is not None
    assert (vm.linux.level, vcpu.xfd, vcpu.xcr0, [*vm.linux.cpus]) == ("guest", TILES, 0x602E7, [0])
    assert vm.guest_process is not None
    assert vm.linux.trace is process.linux.trace
