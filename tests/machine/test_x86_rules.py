"""What must hold after any sequence of events, and the answers that users ask for."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.capture.host import Cpuid
from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import control, tiles, vectors
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.host import OSPKE, PKU, Host, shipped_cpu
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.supported import supported_leaf_0xd, supported_leaf_7
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Process
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import kernels, profile_for
from layouts.x86.xsave import DYNAMIC, TILEDATA, XTILE

#: EBX, ECX, EDX of leaf 0.
INTEL = (0x756E6547, 0x6C65746E, 0x49656E69)
AMX = Host(shipped_cpu("sapphire-rapids"), profile_for("7.2"))


def supported(process: Process) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    return {(0xD, sub): values for sub, values in supported_leaf_0xd(process).items()}


def amx_vcpu() -> Vcpu:
    process = Linux(AMX).spawn()
    assert process.request_permission(TILEDATA, guest=True).accepted
    vcpu = Vcpu(process)
    assert vcpu.set_cpuid(supported(process)).accepted
    vcpu.cr4_osxsave = True
    return vcpu


def test_permission_after_the_first_vcpu_is_ebusy() -> None:
    process = Linux(AMX).spawn()
    Vcpu(process)
    outcome = process.request_permission(TILEDATA, guest=True)
    assert (outcome.verdict, outcome.code) == ("errno", errno.EBUSY)
    assert "no vCPU" in outcome.because


def test_cpuid_without_permission_is_eperm() -> None:
    process = Linux(AMX).spawn()
    leaves = supported(process)
    eax, ebx, ecx, edx = leaves[0xD, 0]
    leaves[0xD, 0] = (eax | XTILE, ebx, ecx, edx)
    vcpu = Vcpu(process)
    assert vcpu.set_cpuid(leaves).code == errno.EPERM
    assert not vcpu.large


def test_6_1_offers_tile_configuration_without_permission_and_later_kernels_do_not() -> None:
    offered = {}
    for kernel in kernels().values():
        process = Linux(Host(shipped_cpu("sapphire-rapids"), kernel)).spawn()
        offered[kernel.name] = supported_leaf_0xd(process)[0][0] & XTILE
        vcpu = Vcpu(process)
        assert vcpu.set_cpuid(supported(process)).accepted
        assert vcpu.set_xcrs((0, 0x202E7)).code == errno.EINVAL
    assert offered.pop("6.1") == 0x20000
    assert set(offered.values()) == {0}


def test_a_snapshot_of_amx_state_does_not_fit_get_xsave() -> None:
    vcpu = amx_vcpu()
    outcome = vcpu.get_xsave()
    assert (outcome.code, str(outcome)) == (errno.EINVAL, "EINVAL; this does not hold: the state fits in 4096 bytes")
    assert len(vcpu.get_xsave2().image) == 11008


def test_tiles_survive_a_run_unless_the_guest_turns_them_off() -> None:
    vcpu = amx_vcpu()
    guest = Guest(vcpu)
    assert guest.xsetbv(AMX.user_max).accepted
    assert guest.execute(tiles.ldtilecfg).accepted
    tile = bytes(range(256)) * 4
    assert guest.execute(lambda cpu: tiles.tileloadd(cpu, 1, tile)).accepted
    assert vcpu.get_xsave2().image[2816 + 1024 : 2816 + 2048] == tile
    assert guest.wrmsr(MSR_XFD, DYNAMIC).accepted
    assert vcpu.get_xsave2().image[512:520] == (0x20200).to_bytes(8, "little")
    outcome = guest.execute(lambda cpu: tiles.tilezero(cpu, 0))
    assert str(outcome) == "#NM; this does not hold: XFD[18] is 0"
    assert vcpu.xfd_err == DYNAMIC


def test_set_msrs_of_xfd_over_live_tiles_takes_the_host_down() -> None:
    vcpu = amx_vcpu()
    guest = Guest(vcpu)
    guest.xsetbv(AMX.user_max)
    guest.execute(tiles.ldtilecfg)
    guest.execute(lambda cpu: tiles.tileloadd(cpu, 1, bytes(range(256)) * 4))
    assert vcpu.set_msr(MSR_XFD, DYNAMIC).accepted
    outcome = guest.execute(lambda cpu: control.xgetbv(cpu, 0))
    assert (outcome.verdict, outcome.code) == ("host-oops", 7)
    assert "the guest's XFD is 0 for all that the image has (XFD & XSTATE_BV = 0x40000)" in outcome.because
    # KVM_SET_XSAVE with XFD[18] = 1 loses the data instead.
    assert vcpu.set_xsave(vcpu.user_image()).accepted
    assert guest.execute(lambda cpu: control.xgetbv(cpu, 0)).accepted


def test_a_process_without_permission_dies_of_sigill() -> None:
    process = Linux(AMX).spawn()
    linux = process.linux
    cpu, thread = linux.cpu(0), process.leader
    assert linux.run(cpu, thread, tiles.ldtilecfg).accepted
    outcome = linux.run(cpu, thread, lambda p: tiles.tilezero(p, 0))
    assert (outcome.verdict, outcome.code) == ("signal", signal.SIGILL)
    assert process.request_permission(TILEDATA).accepted
    assert linux.run(cpu, thread, lambda p: tiles.tilezero(p, 0)).accepted
    child = linux.fork(cpu, thread)
    assert child.perm & DYNAMIC
    linux.exec(cpu, child.leader)
    assert not child.perm & DYNAMIC


@pytest.mark.parametrize("size", [2047, 4096, 11951, 11952])
def test_alternate_stacks_bound_the_permission(size: int) -> None:
    process = Linux(AMX).spawn()
    assert process.sigaltstack(size).code == (errno.ENOMEM if size < 2048 else 0)
    expected = errno.ENOSPC if 2048 <= size < 11952 else 0
    assert process.request_permission(TILEDATA).code == expected


VALUES = st.one_of(
    st.sampled_from([0, 1, 3, 7, 0xE7, 0x207, 0x2E7, 0x20000, 0x40000, 0x60000, 0x60007, 0x600E7, 0x602E7, 1 << 63]),
    st.integers(0, (1 << 64) - 1),
)
MSRS = st.sampled_from([MSR_XFD, MSR_XFD_ERR, MSR_XSS])
EVENTS = st.one_of(
    st.tuples(st.just("set_cpuid"), st.integers(0, 0xFFFFF)),
    st.tuples(st.sampled_from(["set_xcrs", "xsetbv", "set_bv"]), VALUES),
    st.tuples(st.sampled_from(["set_msr", "wrmsr"]), MSRS, VALUES),
    st.tuples(st.just("request"), st.integers(0, 70), st.booleans()),
    st.tuples(st.sampled_from(["ldtilecfg", "tilerelease"])),
    st.tuples(st.sampled_from(["tilezero", "tileloadd"]), st.integers(0, 7)),
    st.tuples(st.just("vmovdqu64"), st.integers(0, 31)),
)


def happen(vcpu: Vcpu, event: tuple[Any, ...]) -> Outcome:
    guest = Guest(vcpu)
    name, *words = event
    if name == "set_cpuid":
        leaves = supported(vcpu.process)
        leaves[0xD, 0] = (words[0], *leaves[0xD, 0][1:])
        return vcpu.set_cpuid(leaves)
    if name == "set_bv":
        image = bytearray(vcpu.user_image())
        image[512:520] = words[0].to_bytes(8, "little")
        return vcpu.set_xsave(bytes(image))
    if name == "request":
        return vcpu.process.request_permission(words[0], guest=words[1])
    if name == "set_xcrs":
        return vcpu.set_xcrs((0, words[0]))
    if name == "set_msr":
        return vcpu.set_msr(*words)
    if name == "xsetbv":
        return guest.xsetbv(words[0])
    if name == "tileloadd":
        return guest.execute(lambda cpu: tiles.tileloadd(cpu, words[0], bytes(range(256)) * 4))
    if name == "vmovdqu64":
        return guest.execute(lambda cpu: vectors.vmovdqu64(cpu, words[0], bytes(range(64))))
    if name == "wrmsr":
        return guest.wrmsr(*words)
    if name == "tilezero":
        return guest.execute(lambda cpu: tiles.tilezero(cpu, words[0]))
    return guest.execute({"ldtilecfg": tiles.ldtilecfg, "tilerelease": tiles.tilerelease}[name])


def controls(vcpu: Vcpu) -> tuple[object, ...]:
    return vcpu.xcr0, vcpu.xss, vcpu.xfd, vcpu.large, vcpu.process.perm, vcpu.process.guest_perm, vcpu.cpuid.leaves


def check_invariants(vcpu: Vcpu) -> None:
    xcr0, host = vcpu.xcr0, vcpu.host
    assert xcr0 & 1
    assert not xcr0 & ~(host.kvm_xcr0 | 3)
    assert xcr0 & 0xE0 in (0, 0xE0)
    assert xcr0 & XTILE in (0, XTILE)
    assert not xcr0 & 4 or xcr0 & 2
    assert not vcpu.xfd & ~host.xfd_capable
    assert not vcpu.fpstate.xstate_bv & ~(vcpu.fpstate.xfeatures | 3)
    image = (vcpu.get_xsave2() if host.kernel.kvm_xsave2 else vcpu.get_xsave()).image
    assert len(image) == vcpu.uabi_size_bytes >= 4096
    assert int.from_bytes(image[512:520], "little") == vcpu.visible_bv
    assert image[520:576] == bytes(56)


@settings(max_examples=600, deadline=None)
@given(
    cpu=st.sampled_from(sorted(cpu_layouts())),
    kernel=st.sampled_from([*kernels().values()]),
    permitted=st.booleans(),
    events=st.lists(EVENTS, max_size=30),
)
def test_no_sequence_breaks_an_invariant(cpu: str, kernel: Any, permitted: bool, events: list[tuple[Any, ...]]) -> None:
    process = Linux(Host(shipped_cpu(cpu), kernel)).spawn()
    if permitted:
        process.request_permission(TILEDATA, guest=True)
    vcpu = Vcpu(process)
    vcpu.set_cpuid(supported(process))
    vcpu.cr4_osxsave = True
    for event in events:
        before = controls(vcpu)
        outcome = happen(vcpu, event)
        if not outcome.accepted:
            assert controls(vcpu) == before
            assert not outcome.checks[-1].held
        assert all(check.held for check in outcome.checks[:-1])
        check_invariants(vcpu)


@pytest.mark.parametrize(
    ("bv", "mask", "shown"),
    [(0, 0x1234, 0xFFFF), (1, 0x1234, 0xFFFF), (2, 0x1234, 0x1234), (4, 0x1234, 0x1234), (7, 0xFFFF, 0xFFFF)],
)
def test_mxcsr_mask_is_the_images_where_sse_or_avx_has_state(bv: int, mask: int, shown: int) -> None:
    """copy_uabi_to_xstate stores mxcsr[1]; __copy_xstate_to_uabi_buf copies MXCSR and its mask as one."""
    vcpu = amx_vcpu()
    image = bytearray(vcpu.user_image())
    image[28:32] = mask.to_bytes(4, "little")
    image[512:520] = bv.to_bytes(8, "little")
    assert vcpu.set_xsave(bytes(image)).accepted
    assert int.from_bytes(vcpu.user_image()[28:32], "little") == shown


def test_the_first_xcrs_entry_for_xcr0_counts() -> None:
    vcpu = amx_vcpu()
    assert vcpu.set_xcrs((1, 0x7), (0, 0x3), (0, 0x8)).accepted
    assert vcpu.xcr0 == 3
    assert vcpu.set_xcrs((1, 0x7), (2, 0x3)).accepted
    assert vcpu.set_xcrs().accepted
    assert vcpu.xcr0 == 3
    assert vcpu.set_xcrs(*[(0, 7)] * 16).accepted
    assert vcpu.set_xcrs(*[(0, 3)] * 17).code == errno.EINVAL
    assert vcpu.set_xcrs((0, 3), flags=1).code == errno.EINVAL
    assert vcpu.set_xcrs((0, 6), (0, 3)).code == errno.EINVAL
    assert vcpu.xcr0 == 7


@pytest.mark.parametrize(
    ("kernel", "has_cet", "has_flush_l1d"),
    [("6.1", False, False), ("6.12", False, True), ("7.2", True, True)],
)
def test_leaf_7_passes_what_the_kernel_knows(kernel: str, has_cet: bool, has_flush_l1d: bool) -> None:
    leaf_0xd = {(0xD, 0): (7, 0, 0x340, 0), (0xD, 1): (0xF, 0, 0x1800, 0), (0xD, 2): (0x100, 0x240, 0, 0)}
    cet = {(0xD, 11): (0x10, 0, 1, 0), (0xD, 12): (0x18, 0, 1, 0)}
    everything = Cpuid({(0, 0): (0xD, *INTEL), (7, 0): (9, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), **leaf_0xd, **cet})
    eax, ebx, ecx, edx = supported_leaf_7(Host(everything, profile_for(kernel)))
    assert eax == 2
    assert (bool(ecx >> 7 & 1), bool(edx >> 20 & 1), bool(edx >> 28 & 1)) == (has_cet, has_cet, has_flush_l1d)
    assert not ecx & OSPKE, "follows the guest's CR4.PKE"
    assert not ebx >> 25 & 1, "no Intel PT without a module parameter"


def test_leaf_7_holds_what_kvm_emulates() -> None:
    bare = Host(Cpuid({(0, 0): (7, *INTEL), (7, 0): (0, 0, PKU, 0)}), profile_for("7.2"))
    assert supported_leaf_7(bare) == (0, 1 << 1, 1 << 2, 1 << 29), "PKU needs the host's OSPKE"
