"""Core files and ptrace at the bounds of each check, by their bytes."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.linux import signals
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Thread
from layouts.x86.xsave import HEADER_AT, PKRU

from .using_linux import AMX, PLAIN, regset, running


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
    plain = Linux(PLAIN)
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
