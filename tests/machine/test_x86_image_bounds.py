"""XSAVE images by their bytes, and a program's memory (Intel SDM vol. 1, 13.4 and 13.7 to 13.12; fpu/xstate.c)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inspector.machine.outcome import GP, PF, MemoryFaultError
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87, EmulatedRegisters, Registers
from layouts.x86.xsave import AVX, PKRU, SSE, X87

from .using_linux import AMX

STALE = b"\xee"
COMPACTED = 1 << 63
PLACES = AMX.user_places(7 | 1 << PKRU)
PKRU_AT = next(place.offset for place in PLACES if place.component == PKRU)
SIZE = PKRU_AT + 8
#: Which bytes belong to what: x87 in two parts, MXCSR and its mask between them, XMM, the header, YMM, PKRU.
PARTS = {"head": (0, 24), "mxcsr": (24, 32), "st": (32, 160), "xmm": (160, 416), "bv": (512, 520), "ymm": (576, 832)}
PARTS |= {"pkru": (PKRU_AT, PKRU_AT + 4)}


def registers() -> Registers:
    """Each component with a byte of its own."""
    return Registers({X87: b"\x11" * 160, SSE: b"\x22" * 256, AVX: b"\x33" * 256, PKRU: b"\x44" * 8}, 0x1FA0)


def written(image: bytes, before: bytes) -> set[str]:
    """The parts that are no longer what was there; all else is."""
    found = {name for name, (start, end) in PARTS.items() if image[start:end] != before[start:end]}
    rest = bytearray(image)
    for start, end in PARTS.values():
        rest[start:end] = before[start:end]
    assert bytes(rest) == before
    return found


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        (0, set()),
        (1, {"head", "st"}),
        (2, {"mxcsr", "xmm"}),
        (3, {"head", "mxcsr", "st", "xmm"}),
        (4, {"mxcsr", "ymm"}),
        (1 << PKRU, {"pkru"}),
        (5 | 1 << PKRU, {"head", "mxcsr", "st", "ymm", "pkru"}),
    ],
)
def test_which_bytes_are_stored(mask: int, parts: set[str]) -> None:
    """MXCSR goes with SSE or AVX, in a compacted image with SSE; of PKRU the register's four bytes."""
    for xcomp, has_mxcsr in ((0, mask & 6), (COMPACTED, mask & 2)):
        before = images.with_xcomp_bv(STALE * SIZE, xcomp, clear=False)
        found = images.store(before, registers(), mask, 0x1234, PLACES)
        assert written(found, before) == parts - (set() if has_mxcsr else {"mxcsr"}) | {"bv"}
        assert found[512:520] == (0x1234).to_bytes(8, "little")
        for with_mxcsr in (0, 4):
            told = images.store(before, registers(), mask, 0x1234, PLACES, with_mxcsr=with_mxcsr)
            assert ("mxcsr" in written(told, before)) is bool(with_mxcsr)
    whole = images.store(bytes(SIZE), registers(), -1, 7, PLACES)
    assert whole[:32] == b"\x11" * 24 + b"\xa0\x1f\0\0\xff\xff\0\0"
    assert whole[32:416] == b"\x11" * 128 + b"\x22" * 256
    assert whole[576:832] + whole[PKRU_AT:] == b"\x33" * 256 + b"\x44" * 4 + bytes(4)


@pytest.mark.parametrize(("size", "there"), [(100, 100), (256, 256), (300, 256)])
def test_a_component_that_has_another_size_than_its_place(size: int, there: int) -> None:
    """It is cut, or zeros follow."""
    found = images.store(bytes(SIZE), Registers({AVX: b"\x33" * size}), 4, 4, PLACES)
    assert found[576:832] == b"\x33" * there + bytes(256 - there)
    assert (found[832:840], len(found)) == (bytes(8), SIZE)


@pytest.mark.parametrize(
    ("bv", "components", "mxcsr"),
    [
        (0, set(), INITIAL_MXCSR),
        (1, {X87}, INITIAL_MXCSR),
        (2, {SSE}, 0x1FA0),
        (4, {AVX}, 0x1FA0),
        (7 | 1 << PKRU, {X87, SSE, AVX, PKRU}, 0x1FA0),
        (1 << PKRU, {PKRU}, INITIAL_MXCSR),
    ],
)
def test_what_is_loaded(bv: int, components: set[int], mxcsr: int) -> None:
    """x87 without what is SSE's between its two parts; MXCSR with SSE or AVX."""
    image = images.store(bytes(SIZE), registers(), -1, 0, PLACES)
    found = images.load(image, bv, PLACES)
    whole = {
        X87: b"\x11" * 24 + bytes(8) + b"\x11" * 128,
        SSE: b"\x22" * 256,
        AVX: b"\x33" * 256,
        PKRU: b"\x44" * 4 + bytes(4),
    }
    assert (found.components, found.mxcsr) == ({n: whole[n] for n in components}, mxcsr)
    assert type(images.load(image, bv, PLACES, EmulatedRegisters)) is EmulatedRegisters


def test_an_image_that_ends_in_a_component() -> None:
    image = images.store(bytes(SIZE), registers(), -1, 0, PLACES)[:600]
    assert images.load(image, 4, PLACES).get(AVX) == b"\x33" * 24 + bytes(232)


@pytest.mark.parametrize("bv", [0, 1, 2, 4, 7, 1 << PKRU])
def test_an_image_for_user_space(bv: int) -> None:
    """__copy_xstate_to_uabi_buf: what XSTATE_BV lacks is initial; the software area says what there may be."""
    found = images.user_image(registers(), bv, PLACES, SIZE, 0x2E7)
    assert found[:24] == (b"\x11" * 24 if bv & 1 else INITIAL_X87[:24])
    assert found[24:32] == (0x1FA0 if bv & 6 else INITIAL_MXCSR).to_bytes(4, "little") + b"\xff\xff\0\0"
    assert found[32:416] == (b"\x11" if bv & 1 else b"\0") * 128 + (b"\x22" if bv & 2 else b"\0") * 256
    assert found[416:512] == bytes(48) + (0x2E7).to_bytes(8, "little") + bytes(40)
    assert found[464:472] == (0x2E7).to_bytes(8, "little")
    assert found[512:576] == bv.to_bytes(8, "little") + bytes(56)
    assert found[576:832] == (b"\x33" if bv & 4 else b"\0") * 256
    assert found[PKRU_AT:] == (b"\x44" if bv >> PKRU & 1 else b"\0") * 4 + bytes(4)


def test_new_images() -> None:
    for size, there in ((0, 576), (576, 576), (577, 577)):
        found = images.empty(size, COMPACTED | 7)
        assert found == bytes(520) + (COMPACTED | 7).to_bytes(8, "little") + bytes(there - 528)
    assert images.compacted_xcomp(0x207) == COMPACTED | 0x207
    found = images.with_defaults(STALE * 600)
    assert found == INITIAL_X87[:24] + INITIAL_MXCSR.to_bytes(4, "little") + STALE * 572
    mixed = images.with_mxcsr_of(bytes(600), STALE * 600)
    assert mixed == bytes(24) + STALE * 8 + bytes(568)
    assert images.x87_of(STALE * 600) == STALE * 24 + bytes(8) + STALE * 128


# A program's memory

HIGHEST = 1 << 47


def fault_of(access: Callable[[], object]) -> tuple[int, int, int] | None:
    try:
        access()
    except MemoryFaultError as fault:
        return fault.vector, fault.address, fault.error_code
    return None


@pytest.mark.parametrize(
    ("address", "size", "writes", "first", "last"),
    [
        (0x1000, 0x1000, False, None, None),
        (0x1FFF, 1, True, None, None),
        (0x2000, 1, False, (PF, 0x2000, 4), (PF, 0x2000, 4)),
        (0x2000, 8, True, (PF, 0x2000, 6), (PF, 0x2007, 6)),
        (0x1FFE, 4, False, (PF, 0x2000, 4), (PF, 0x2001, 4)),
        (0, 1, False, (PF, 0, 4), (PF, 0, 4)),
        (0x0FFF, 4, False, (PF, 0x0FFF, 4), (PF, 0x1002, 4)),
        (0x5010, 0x10, False, None, None),
        (0x5010, 0x11, True, (PF, 0x5020, 6), (PF, 0x5020, 6)),
        (HIGHEST - 8, 8, False, (PF, HIGHEST - 8, 4), (PF, HIGHEST - 1, 4)),
        (HIGHEST - 8, 9, False, (GP, HIGHEST - 8, 0), (GP, HIGHEST - 8, 0)),
        (HIGHEST, 1, True, (GP, HIGHEST, 0), (GP, HIGHEST, 0)),
        ((1 << 64) - HIGHEST - 1, 1, False, (GP, (1 << 64) - HIGHEST - 1, 0), (GP, (1 << 64) - HIGHEST - 1, 0)),
        ((1 << 64) - HIGHEST, 1, False, (PF, (1 << 64) - HIGHEST, 4), (PF, (1 << 64) - HIGHEST, 4)),
    ],
)
def test_what_faults_and_where(
    address: int, size: int, writes: bool, first: tuple[int, int, int] | None, last: tuple[int, int, int] | None
) -> None:
    """#GP where an address is not canonical; #PF, from user mode, at the first byte or at the last of all."""
    memory = Memory({0x1000: 0x1000, 0x5000: 0x20})
    assert fault_of(lambda: memory.check(address, size, writes=writes)) == first
    assert fault_of(lambda: memory.check(address, size, writes=writes, last_first=True)) == last
    access: Callable[[], object] = lambda: memory.write(address, b"\1" * size) if writes else memory.read(address, size)  # noqa: E731
    assert fault_of(access) == first


def test_what_is_written_is_read() -> None:
    """All or nothing; a write of nothing touches no page."""
    memory = Memory({0x1000: 0x20, 0x1020: 0x10})
    memory.write(0x101C, b"\1\2\3\4")
    memory.write(0x1020, b"\5")
    assert memory.read(0x1018, 8) == b"\0\0\0\0\1\2\3\4"
    assert (memory.read(0x1020, 2), memory.read(0x1000, 0x20)) == (b"\5\0", bytes(28) + b"\1\2\3\4")
    assert fault_of(lambda: memory.write(0x102E, b"\7" * 3)) == (PF, 0x1030, 6)
    assert memory.read(0x1020, 16) == b"\5" + bytes(15)
    memory.write(0x9000, b"")
    assert memory.read(0x1000, 0) == b""
