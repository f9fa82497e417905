"""Signal frames at the bounds of each check, by their bytes."""

from __future__ import annotations

import pytest

from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.linux import signals
from layouts.x86.xsave import FPX_SW_AT, PKRU, TILEDATA

from .using_linux import AMX, SEGV, SIZE, regset, running, verdict


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
