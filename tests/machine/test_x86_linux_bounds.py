"""Permission, alternate stacks, signal frames and ptrace at the bounds of each check, by their bytes."""

from __future__ import annotations

import errno
import signal

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.outcome import GP, MF, PF, Outcome
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux import signals
from inspector.machine.x86.linux.exceptions import signal_of
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import MINSIGSTKSZ, SS_DISABLE, Cpu, Process, Thread
from inspector.machine.x86.linux.trace import Costs, Line, Trace
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import FPX_SW_AT, HEADER_AT, PKRU, TILEDATA

AMX = Host(shipped_cpu("sapphire-rapids"), profile_for("7.2"))
SIZE = AMX.standard_size_bytes(AMX.user_default)
SEGV = ("signal", signal.SIGSEGV, 0x80)


def amx_process(release: str = "7.2") -> Process:
    return Linux(Host(shipped_cpu("sapphire-rapids"), profile_for(release))).spawn()


def running() -> tuple[Linux, Cpu, Thread]:
    """A process whose registers are in a CPU."""
    process = Linux(AMX).spawn()
    cpu = process.linux.cpu(0)
    assert process.linux.to_user(cpu, process.leader) is None
    return process.linux, cpu, process.leader


def verdict(outcome: Outcome) -> tuple[str, int, int]:
    return (outcome.verdict, outcome.code, outcome.value)


# Permission


def test_each_mask_of_arch_prctl_is_its_own() -> None:
    process = amx_process()
    default, wanted = AMX.user_default, AMX.user_default | 1 << TILEDATA
    assert process.get_supported().value == AMX.user_max
    assert AMX.user_max & 7 == 7
    plain = Host(Cpuid({(1, 0): (0, 0, 1 << 26, 0), (0xD, 0): (3, 576, 576, 0)}), profile_for("7.2"))
    assert Linux(plain).spawn().get_supported().value == 3
    assert Linux(plain).spawn().request_permission(TILEDATA).code == errno.EOPNOTSUPP
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


# Signal frames


def test_a_frame_by_its_bytes() -> None:
    linux, cpu, thread = running()
    outcome = signals.deliver(linux, cpu, thread)
    image = outcome.image
    assert (outcome.accepted, outcome.value, len(image)) == (True, SIZE, SIZE + 4)
    assert [
        FPX_SW_AT[name].get(image) for name in ("magic1", "extended_size", "xfeatures", "xstate_size", "padding")
    ] == [
        signals.MAGIC1,
        SIZE + 4,
        AMX.user_default,
        SIZE,
        0,
    ]
    assert image[SIZE:] == signals.MAGIC2.to_bytes(4, "little")
    assert images.xstate_bv(image) == 3 | 1 << PKRU
    assert all(check.held for check in outcome.checks)


def test_a_frame_of_registers_that_are_not_loaded() -> None:
    linux, cpu, thread = running()
    assert signals.set_regset(linux, thread, regset(1 | 1 << 6)).accepted
    assert not thread.loaded
    image = signals.deliver(linux, cpu, thread).image
    # Bit 6 of FCW reads as 1.
    assert (image[:2], images.xstate_bv(image)) == (b"\x40\0", 3 | 1 << 6 | 1 << PKRU)


def test_a_note_of_loaded_and_of_saved_registers() -> None:
    linux, cpu, thread = running()
    assert linux.run(cpu, thread, tiles.ldtilecfg).code == 0
    loaded = images.xstate_bv(signals.core_note(linux, thread).image)
    assert (thread.loaded, loaded >> 17 & 1) == (True, 1)
    linux.schedule(cpu, None)
    assert not thread.loaded
    assert images.xstate_bv(signals.core_note(linux, thread).image) == loaded
    assert linux.run(cpu, thread, tiles.tilerelease).accepted
    assert images.xstate_bv(signals.core_note(linux, thread).image) == loaded & ~(1 << 17)


def test_a_frame_is_written_over_what_was_there() -> None:
    """Tiles that are not in use are left out, and stay as they were; the header is cleared, the end is zero."""
    linux, cpu, thread = running()
    assert thread.process.request_permission(TILEDATA).accepted
    assert linux.run(cpu, thread, tiles.ldtilecfg).accepted
    assert linux.run(cpu, thread, lambda p: tiles.tilezero(p, 0)).accepted
    in_use = signals.deliver(linux, cpu, thread, b"\xa5").image
    assert images.xstate_bv(in_use) >> 17 & 3 == 3
    assert signals.sigreturn(linux, cpu, thread).accepted
    assert linux.run(cpu, thread, tiles.tilerelease).accepted
    size = AMX.standard_size_bytes(thread.fpstate.user_xfeatures)
    at = next(place for place in AMX.user_places(AMX.user_max) if place.component == TILEDATA)
    found = signals.deliver(linux, cpu, thread, b"\xa5" * (size + 100)).image
    assert found[at.offset : at.offset + at.size_bytes] == b"\xa5" * 8192
    assert (images.xcomp_bv(found), any(images.reserved(found))) == (0, False)
    again = signals.deliver(linux, cpu, thread).image
    assert again[at.offset : at.offset + at.size_bytes] == b"\xa5" * 8192
    short = signals.deliver(linux, cpu, thread, b"\xa5" * (at.offset + 24)).image
    assert short[at.offset : at.offset + 32] == b"\xa5" * 24 + bytes(8)
    assert len(short) == size + 4


def test_an_alternate_stack_that_a_frame_just_fits() -> None:
    """The state is at a multiple of 64 from the stack's end, rt_sigframe 8 below a multiple of 16 under it."""
    linux, cpu, thread = running()
    lowest = next(room for room in range(SIZE, 2 * SIZE) if ((room - SIZE - 4 & ~63) - 440 & ~15) - 8 > 0)
    for room, expected in ((lowest - 1, SEGV), (lowest, ("ok", 0, SIZE))):
        thread.altstack_size_bytes = room
        assert verdict(signals.deliver(linux, cpu, thread)) == expected
        assert signals.deliver(linux, cpu, thread, on_stack=False).accepted


@pytest.mark.parametrize(("moved", "expected"), [(0, ("ok", 0, 0)), (1, SEGV), (64, SEGV)])
def test_a_null_pointer_to_the_image_that_was_moved(moved: int, expected: tuple[str, int, int]) -> None:
    linux, cpu, thread = running()
    thread.signal_frames.append(b"")
    assert verdict(signals.sigreturn(linux, cpu, thread, fpstate=moved)) == expected


def test_without_a_frame_there_is_nothing_to_return_to() -> None:
    assert verdict(signals.sigreturn(*running())) == SEGV


def frame_with(fields: dict[str, int], *, magic2: int = signals.MAGIC2) -> bytes:
    """A frame whose x87 control word is 0x27F and whose ZMM_Hi256 is in use."""
    image = bytearray(SIZE + 4)
    image[:2] = (0x27F).to_bytes(2, "little")
    told = {"magic1": signals.MAGIC1, "extended_size": SIZE + 4, "xfeatures": AMX.user_default, "xstate_size": SIZE}
    for name, value in (told | fields).items():
        FPX_SW_AT[name].store(image, value)
    image[512:520] = (1 | 1 << 6).to_bytes(8, "little")
    image[SIZE:] = magic2.to_bytes(4, "little")
    return bytes(image)


@pytest.mark.parametrize(
    ("fields", "magic2", "whole"),
    [
        ({}, signals.MAGIC2, True),
        ({"magic1": 0}, signals.MAGIC2, False),
        ({"xstate_size": SIZE + 1, "extended_size": SIZE + 9}, signals.MAGIC2, False),
        ({"xstate_size": 575}, signals.MAGIC2, False),
        ({"extended_size": SIZE - 1}, signals.MAGIC2, False),
        ({"extended_size": SIZE}, signals.MAGIC2, True),
        ({}, 0, False),
    ],
)
def test_a_frame_is_taken_whole_or_by_fxrstor(fields: dict[str, int], magic2: int, whole: bool) -> None:
    """Where a check fails x87 and SSE alone are read, and the rest is initial."""
    linux, cpu, thread = running()
    thread.signal_frames.append(frame_with(fields, magic2=magic2))
    assert signals.sigreturn(linux, cpu, thread).accepted
    registers = linux.registers(thread)
    assert registers.get(0)[:2] == (0x27F).to_bytes(2, "little")
    assert bool(registers.in_use >> 6 & 1) is whole


def test_a_frame_of_an_image_without_components() -> None:
    """xstate_size may be as small as legacy region and header; XRSTOR makes initial what XSTATE_BV does not have."""
    frame = bytearray(frame_with({"xstate_size": 576, "extended_size": 580, "xfeatures": 3}))
    frame[576:580] = signals.MAGIC2.to_bytes(4, "little")
    for bv, fcw in ((3, 0x27F), (0, 0x37F)):
        frame[512:520] = bv.to_bytes(8, "little")
        linux, cpu, thread = running()
        thread.signal_frames.append(bytes(frame))
        assert signals.sigreturn(linux, cpu, thread).accepted
        assert linux.registers(thread).get(0)[:2] == fcw.to_bytes(2, "little")


def test_what_a_frame_does_not_give_is_initial() -> None:
    """The mask is the frame's own, within the buffer's."""
    linux, cpu, thread = running()
    assert thread.process.request_permission(TILEDATA).accepted
    assert linux.run(cpu, thread, tiles.ldtilecfg).accepted
    assert linux.registers(thread).in_use >> 17 & 1
    thread.signal_frames.append(frame_with({"xfeatures": 1}))
    assert signals.sigreturn(linux, cpu, thread).accepted
    in_use = linux.registers(thread).in_use
    assert not in_use >> 17 & 1
    assert not in_use >> 6 & 1


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("moved", [1, 8, 16, 32, 63, 64, 128])
def test_a_pointer_that_was_moved(moved: int, whole: bool) -> None:
    """XRSTOR wants a multiple of 64 bytes, FXRSTOR of 16: what lies there says which of the two it is."""
    linux, cpu, thread = running()
    thread.signal_frames.append(bytes(moved) + frame_with({} if whole else {"magic1": 0}))
    expected = SEGV if moved % (64 if whole else 16) else ("ok", 0, 0)
    assert verdict(signals.sigreturn(linux, cpu, thread, fpstate=moved)) == expected


def test_a_pointer_that_was_moved_down() -> None:
    """Zeros are there, and no magic: FXRSTOR takes a control word of 0, whose bit 6 reads as 1."""
    for moved, expected in ((-16, ("ok", 0, 0)), (-8, SEGV)):
        linux, cpu, thread = running()
        thread.signal_frames.append(frame_with({}))
        assert verdict(signals.sigreturn(linux, cpu, thread, fpstate=moved)) == expected
    linux, cpu, thread = running()
    frame = bytearray(frame_with({}))
    frame[-16:-14] = (0x27F).to_bytes(2, "little")
    thread.signal_frames.append(bytes(frame))
    assert signals.sigreturn(linux, cpu, thread, fpstate=-16).accepted
    assert linux.registers(thread).get(0)[:2] == (0x40).to_bytes(2, "little")


# Core files and ptrace


def test_get_regset_by_its_length() -> None:
    linux, _, thread = running()
    size = AMX.standard_size_bytes(AMX.user_max)
    for asked, code, given in ((7, errno.EINVAL, 0), (8, 0, 8), (size, 0, size), (size + 8, 0, size)):
        outcome = signals.get_regset(linux, thread, asked)
        assert (outcome.code, outcome.value, len(outcome.image)) == (code, given, given)
    whole = signals.get_regset(linux, thread, 512).image
    assert any(whole[464:])
    legacy = signals.get_regset(linux, thread, 512, legacy=True)
    assert (legacy.value, legacy.image) == (512, whole[:464] + bytes(48))
    assert signals.get_regset(linux, thread, size, legacy=True).value == 512


def test_set_fpregs_by_its_length_and_mxcsr() -> None:
    linux, cpu, thread = running()
    good = bytearray(512)
    good[:2], good[24:28] = (0x27F).to_bytes(2, "little"), (0xFFFF).to_bytes(4, "little")
    bad = bytes(good[:24]) + (1 << 16).to_bytes(4, "little") + bytes(484)
    for image, because in (
        (bad[:511], "iov_len is a multiple of 8"),
        (bad[:504], "512 bytes (a longer vector is cut)"),
        (bad, "MXCSR has no reserved bit"),
    ):
        outcome = signals.set_fpregs(linux, thread, image)
        assert (outcome.code, outcome.because) == (errno.EINVAL, because)
        assert thread.loaded
    assert signals.set_fpregs(linux, thread, bytes(good)).accepted
    assert (thread.loaded, thread.fpstate.last_cpu, cpu.owner) == (False, -1, None)
    assert thread.fpstate.xstate_bv & 3 == 3
    assert (images.mxcsr(thread.fpstate.image), thread.fpstate.image[:2]) == (0xFFFF, bytes(good[:2]))


def regset(bv: int, mxcsr: int = 0x1F80, pkru: int = 0) -> bytes:
    image = bytearray(AMX.standard_size_bytes(AMX.user_max))
    image[24:32] = mxcsr.to_bytes(4, "little") + (0xFFAA).to_bytes(4, "little")
    image[512:520] = bv.to_bytes(8, "little")
    at = next(place.offset for place in AMX.user_places(AMX.user_max) if place.component == PKRU)
    image[at : at + 8] = pkru.to_bytes(4, "little") + b"\xff" * 4
    return bytes(image)


@pytest.mark.parametrize("bv", [0, 1, 2, 4, 0x20, 0xE0])
def test_mxcsr_is_looked_at_with_x87_sse_or_avx(bv: int) -> None:
    for bit in (16, 17, 31):
        linux, _, thread = running()
        code = errno.EINVAL if bv & 7 else 0
        assert signals.set_regset(linux, thread, regset(bv, 1 << bit)).code == code, bit
    linux, _, thread = running()
    assert signals.set_regset(linux, thread, regset(bv, 0xFFFF)).accepted
    assert (images.mxcsr_mask(thread.fpstate.image) == b"\xaa\xff\0\0") is bool(bv & 7)


def test_pkru_by_ptrace_is_the_threads_and_the_registers() -> None:
    linux, _, thread = running()
    for bv, pkru in ((1 << PKRU, 0x55AA55AA), (1, 0), (1 << PKRU | 1, 0x12345678)):
        assert signals.set_regset(
            linux, thread, regset(bv, pkru=0x55AA55AA if bv == 1 << PKRU else 0x12345678)
        ).accepted
        assert (thread.pkru, linux.pkru(thread)) == (pkru, pkru)
        note = signals.core_note(linux, thread).image
        at = next(place.offset for place in AMX.user_places(AMX.user_max) if place.component == PKRU)
        assert note[at : at + 8] == pkru.to_bytes(8, "little")
    other = Thread(thread.process, 1)
    assert signals.set_regset(linux, other, regset(1 << PKRU, pkru=5)).accepted
    assert (other.pkru, linux.pkru(thread)) == (5, 0x12345678)


def test_a_note_has_the_pkru_of_the_last_switch() -> None:
    """thread.pkru: what a thread has written since is in the register alone."""
    linux, cpu, thread = running()
    before = linux.pkru(thread)
    linux.write_pkru(cpu, 0x12345678)
    at = next(place.offset for place in AMX.user_places(AMX.user_max) if place.component == PKRU)
    assert signals.core_note(linux, thread).image[at : at + 4] == before.to_bytes(4, "little")
    linux.schedule(cpu, None)
    assert signals.core_note(linux, thread).image[at : at + 4] == (0x12345678).to_bytes(4, "little")


def test_without_protection_keys_a_note_has_none() -> None:
    plain = Linux(Host(Cpuid({(1, 0): (0, 0, 1 << 26, 0), (0xD, 0): (3, 576, 576, 0)}), profile_for("7.2")))
    thread = plain.spawn().leader
    assert len(signals.core_note(plain, thread).image) == 576
    assert signals.set_regset(plain, thread, signals.core_note(plain, thread).image).accepted


def test_a_note_of_saved_registers_has_their_mask_of_mxcsr() -> None:
    """__copy_xstate_to_uabi_buf: MXCSR and its mask as they lie in the image, with SSE or AVX; else as at reset."""
    for bv, mask in ((2, 0xFFAA), (4, 0xFFAA), (1, 0xFFFF)):
        linux, _, thread = running()
        assert signals.set_regset(linux, thread, regset(bv)).accepted
        assert not thread.loaded
        assert images.mxcsr_mask(signals.core_note(linux, thread).image) == mask.to_bytes(4, "little")
    note = signals.core_note(linux, thread)
    assert images.xstate_bv(note.image) & ~AMX.user_default == 0
    assert HEADER_AT["xstate_bv"].get(note.image) == 1
