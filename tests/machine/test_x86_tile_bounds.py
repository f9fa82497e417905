"""AMX at the bounds of each check: configurations, shapes, rows of memory, products (Intel SDM vol. 2; vol. 1, 18)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

import pytest

from inspector.machine.outcome import PF, MemoryFaultError, Outcome
from inspector.machine.x86.cpu.instructions import products, tiles
from inspector.machine.x86.cpu.processor import Processor
from layouts.x86.xsave import TILECFG, TILEDATA, XTILE

from .using_processor import silicon, told

TILE = bytes(range(1, 129)) * 8
NOT_CONFIGURED = "#UD: the tile is configured"
ODD_COLUMNS = "#UD: a multiple of 4 bytes in a row"


def config(*shapes: tuple[int, int], start: int = 0) -> bytes:
    """Palette 1; rows and bytes in a row of tiles from 0 on."""
    shapes += ((0, 0),) * (8 - len(shapes))
    columns = b"".join(colsb.to_bytes(2, "little") for _, colsb in shapes)
    return bytes([1, start]) + bytes(14) + columns + bytes(16) + bytes(rows for rows, _ in shapes) + bytes(8)


def configured(*shapes: tuple[int, int], start: int = 0, emulated: bool = False) -> Processor:
    cpu = silicon(emulated=emulated)
    cpu.registers.write(TILECFG, 0, config(*shapes, start=start))
    return cpu


def put(cpu: Processor, tile: int, data: bytes) -> None:
    cpu.registers.write(TILEDATA, 1024 * tile, data)


def get(cpu: Processor, tile: int) -> bytes:
    return cpu.registers.get(TILEDATA)[1024 * tile : 1024 * (tile + 1)]


def with_byte(at: int, value: int) -> bytes:
    found = bytearray(config((16, 64)))
    found[at] = value
    return bytes(found)


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        (bytes(64), True),
        (bytes([0]) + b"\xff" * 63, True),
        (bytes([1]) + bytes(63), True),
        (bytes([2]) + bytes(63), False),
        (tiles.FULL_TILECFG, True),
        (config((1, 1)), True),
        (config(*[(16, 64)] * 8, start=255), True),
        (config((17, 64)), False),
        (config((16, 65)), False),
        (config((0, 64)), False),
        (config((16, 0)), False),
        (config((16, 64), (0, 1)), False),
        (config((16, 64), (1, 0)), False),
        (with_byte(2, 1), False),
        (with_byte(15, 1), False),
        (with_byte(16, 0), False),
        (with_byte(17, 1), False),
        (with_byte(32, 1), False),
        (with_byte(47, 1), False),
        (with_byte(56, 1), False),
        (with_byte(63, 1), False),
    ],
)
def test_configurations(given: bytes, valid: bool) -> None:
    cpu = configured((16, 64))
    put(cpu, 0, TILE)
    before = dict(cpu.registers.components)
    assert told(tiles.ldtilecfg(cpu, given)) == ("ok" if valid else "#GP: a configuration of palette 0 or 1")
    assert cpu.registers.components == (before if not valid else {TILECFG: given} if given[0] else {})
    stored = tiles.sttilecfg(cpu)
    assert stored.image == (given if valid and given[0] else bytes(64) if valid else before[TILECFG])


def test_a_configuration_in_memory() -> None:
    """It is read once; what faults changes nothing and says where."""
    cpu = configured((16, 64))
    before = dict(cpu.registers.components)
    sizes: list[int] = []

    def read(size: int) -> bytes:
        sizes.append(size)
        return config((2, 8))

    def fault(_: object) -> bytes:
        raise MemoryFaultError(PF, 0x1000, 4)

    def refuse(_: bytes) -> None:
        raise MemoryFaultError(PF, 0x2000, 6)

    for outcome, address, code in (
        (tiles.ldtilecfg_from(cpu, fault), 0x1000, 4),
        (tiles.sttilecfg(cpu, refuse), 0x2000, 6),
    ):
        assert (outcome.name, outcome.value, outcome.error_code) == ("#PF", address, code)
    assert tiles.ldtilecfg_from(cpu, fault).source == "Intel SDM vol. 2, LDTILECFG"
    assert cpu.registers.components == before
    assert tiles.ldtilecfg_from(cpu, read).accepted
    assert (sizes, cpu.registers.get(TILECFG)) == ([64], config((2, 8)))
    written: list[bytes] = []
    assert tiles.sttilecfg(cpu, written.append).image == config((2, 8))
    assert written == [config((2, 8))]
    cpu.xcr0 = 1
    assert tiles.ldtilecfg_from(cpu, read).name == "#UD"
    assert sizes == [64]


def test_releasing_makes_both_components_initial() -> None:
    for emulated in (False, True):
        cpu = configured((16, 64), emulated=emulated)
        assert tiles.tileloadd(cpu, 0, TILE).accepted
        assert cpu.registers.in_use == XTILE
        assert tiles.tilerelease(cpu).accepted
        assert (cpu.registers.components, cpu.registers.in_use) == ({}, 0)


INSTRUCTIONS: dict[str, Callable[[Processor], Outcome]] = {
    "LDTILECFG": tiles.ldtilecfg,
    "STTILECFG": tiles.sttilecfg,
    "TILERELEASE": tiles.tilerelease,
    "TILEZERO": partial(tiles.tilezero, tile=0),
    "TILELOADD": partial(tiles.tileloadd, tile=0, memory=TILE),
    "TILESTORED": partial(tiles.tilestored, tile=0),
    "TDPBSSD": partial(tiles.tile_product, name="tdpbssd", tiles=(0, 1, 2)),
}


@pytest.mark.parametrize("name", list(INSTRUCTIONS))
def test_what_must_be_on(name: str) -> None:
    """OSXSAVE and both bits of XCR0; XFD stops what uses tile data, and XFD_ERR says so."""
    cpu = configured(*[(16, 64)] * 8)
    outcome = INSTRUCTIONS[name](cpu)
    assert (told(outcome), outcome.source, outcome.evidence) == ("ok", f"Intel SDM vol. 2, {name}", "silicon")
    for missing in (1 << 17, 1 << 18, XTILE):
        cpu.xcr0 = cpu.host.cpu_xcr0 & ~missing
        assert told(INSTRUCTIONS[name](cpu)) == "#UD: CR4.OSXSAVE is set and XCR0[18:17] = 11"
    cpu.xcr0, cpu.cr4_osxsave = cpu.host.cpu_xcr0, False
    assert INSTRUCTIONS[name](cpu).name == "#UD"
    assert cpu.xfd_err == 0
    for emulated in (False, True):
        cpu = configured(*[(16, 64)] * 8, emulated=emulated)
        cpu.xfd = 1 << TILEDATA
        uses = name not in ("LDTILECFG", "STTILECFG", "TILERELEASE")
        assert told(INSTRUCTIONS[name](cpu)) == ("#NM: XFD[18] is 0" if uses else "ok")
        assert cpu.xfd_err == (1 << TILEDATA if uses else 0)


@pytest.mark.parametrize(("emulated", "expected"), [(False, NOT_CONFIGURED), (True, "#NM: XFD[18] is 0")])
def test_xfd_or_the_configuration_first(emulated: bool, expected: str) -> None:
    cpu = silicon(emulated=emulated)
    cpu.xfd = 1 << TILEDATA
    assert told(tiles.tilezero(cpu, 0)) == expected
    cpu.xfd = 0
    assert told(tiles.tilezero(cpu, 0)) == NOT_CONFIGURED


def test_which_tiles_are_configured() -> None:
    cpu = configured((16, 64), (0, 0), (1, 4))
    for tile, there in ((0, True), (1, False), (2, True), (7, False), (8, False), (15, False)):
        for instruction in (tiles.tilezero, tiles.tilestored):
            assert told(instruction(cpu, tile)) == ("ok" if there else NOT_CONFIGURED)
    # Behind the rows of the eight tiles are bytes that XRSTOR may have filled where nobody looks.
    cpu.registers.write(TILECFG, 56, b"\1")
    assert told(tiles.tilezero(cpu, 8)) == NOT_CONFIGURED


@pytest.mark.parametrize("emulated", [False, True])
@pytest.mark.parametrize("colsb", [1, 2, 3, 4, 62, 63, 64])
def test_columns_of_a_load_and_a_store(emulated: bool, colsb: int) -> None:
    """The emulator does not look at them; TILEZERO does not care."""
    cpu = configured((3, colsb), emulated=emulated)
    expected = "ok" if emulated or not colsb % 4 else ODD_COLUMNS
    assert told(tiles.tileloadd(cpu, 0, TILE)) == expected
    assert told(tiles.tilestored(cpu, 0)) == expected
    assert told(tiles.tilezero(cpu, 0)) == "ok"


def test_start_row() -> None:
    """A row of the tile for loads and stores; TILEZERO and products make it 0 whatever it is."""
    for start, expected in ((0, "ok"), (2, "ok"), (3, "#UD: start_row (3) is a row of the tile"), (255, None)):
        for instruction in (partial(tiles.tileloadd, memory=TILE), tiles.tilestored):
            cpu = configured((9, 64), (3, 64), start=start)
            outcome = told(instruction(cpu, 1))
            assert outcome == (expected or "#UD: start_row (255) is a row of the tile")
            assert cpu.registers.get(TILECFG)[1] == (0 if outcome == "ok" else start)
        for name in ("TILEZERO", "TDPBSSD"):
            cpu = configured(*[(16, 64)] * 3, start=start)
            assert INSTRUCTIONS[name](cpu).accepted
            assert cpu.registers.get(TILECFG)[1] == 0


def test_which_bytes_a_load_writes() -> None:
    """Rows from start_row on, as many bytes as the shape has; what lies outside it becomes zero."""
    for start in (0, 2):
        cpu = configured((1, 4), (4, 8), (1, 4), start=start)
        for tile in range(3):
            put(cpu, tile, b"\xee" * 1024)
        assert tiles.tileloadd(cpu, 1, TILE).accepted
        rows = [TILE[64 * row :][:8].ljust(64, b"\0") for row in range(4)]
        expected = b"\xee" * 64 * start + b"".join(rows[start:]) + bytes(64 * 12)
        assert (get(cpu, 0), get(cpu, 1), get(cpu, 2)) == (b"\xee" * 1024, expected, b"\xee" * 1024)
        assert len(cpu.registers.get(TILEDATA)) == 8192
    cpu = configured((4, 8), start=1)
    asked: list[tuple[int, int]] = []

    def read(row: int, size: int) -> bytes:
        asked.append((row, size))
        return bytes([row + 1]) * size

    assert tiles.tileloadd(cpu, 0, read).accepted
    assert asked == [(1, 8), (2, 8), (3, 8)]
    assert get(cpu, 0)[128:192] == b"\3" * 8 + bytes(56)


def test_a_fault_in_a_row() -> None:
    """start_row says where to go on; a load has the rows before, zeros behind them; a store has written them."""

    def read(row: int, size: int) -> bytes:
        if row == 2:
            raise MemoryFaultError(PF, 0x3000, 4)
        return bytes([row + 1]) * size

    cpu = configured((4, 8), (1, 4))
    for tile in range(2):
        put(cpu, tile, b"\xee" * 1024)
    outcome = tiles.tileloadd(cpu, 0, read)
    assert (outcome.name, outcome.value, outcome.error_code) == ("#PF", 0x3000, 4)
    rows = b"".join((bytes([row + 1]) * 8).ljust(64, b"\0") for row in range(2))
    assert (get(cpu, 0), cpu.registers.get(TILECFG)[1]) == (rows + bytes(1024 - 128), 2)
    assert (get(cpu, 1), len(cpu.registers.get(TILEDATA))) == (b"\xee" * 1024, 8192)

    written: dict[int, bytes] = {}

    def write(row: int, data: bytes) -> None:
        if row == 3 and 3 not in failed:
            failed.append(row)
            raise MemoryFaultError(PF, 0x4000, 6)
        written[row] = data

    failed: list[int] = []
    cpu = configured((1, 4), (4, 8), start=1)
    put(cpu, 1, TILE)
    outcome = tiles.tilestored(cpu, 1, write)
    assert (outcome.name, outcome.value, outcome.error_code) == ("#PF", 0x4000, 6)
    assert (list(written), cpu.registers.get(TILECFG)[1]) == ([1, 2], 3)
    outcome = tiles.tilestored(cpu, 1, write)
    assert (outcome.image, cpu.registers.get(TILECFG)[1]) == (TILE, 0)
    assert written == {row: TILE[64 * row :][:8] for row in (1, 2, 3)}


@pytest.mark.parametrize(
    ("which", "shapes", "expected"),
    [
        ((0, 1, 2), ((2, 12), (2, 8), (2, 12)), "ok"),
        ((2, 1, 0), ((2, 12), (2, 8), (2, 12)), "ok"),
        ((0, 1, 1), ((2, 8), (2, 8), (2, 8)), "#UD: three different tiles"),
        ((0, 0, 1), ((2, 8), (2, 8), (2, 8)), "#UD: three different tiles"),
        ((0, 1, 0), ((2, 8), (2, 8), (2, 8)), "#UD: three different tiles"),
        ((0, 1, 2), ((3, 12), (2, 8), (2, 12)), "#UD: as many rows as src1, as many bytes in a row as src2"),
        ((0, 1, 2), ((2, 8), (2, 8), (2, 12)), "#UD: as many rows as src1, as many bytes in a row as src2"),
        ((0, 1, 2), ((2, 12), (2, 8), (3, 12)), "#UD: src1 has 4 bytes in a row for each row of src2"),
        ((0, 1, 2), ((2, 12), (2, 8), (1, 12)), "#UD: src1 has 4 bytes in a row for each row of src2"),
        ((0, 1, 2), ((2, 10), (2, 8), (2, 10)), ODD_COLUMNS),
        ((0, 1, 2), ((2, 12), (2, 8)), NOT_CONFIGURED),
        ((0, 8, 2), ((2, 8), (2, 8), (2, 8)), NOT_CONFIGURED),
    ],
)
def test_shapes_of_a_product(which: tuple[int, int, int], shapes: tuple[tuple[int, int], ...], expected: str) -> None:
    cpu = configured(*shapes)
    before = cpu.registers.copy().components
    assert told(tiles.tile_product(cpu, "tdpbuud", which)) == expected
    assert (cpu.registers.components == before) is (expected != "ok")


def test_a_product_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="no tile product tdpfp8; there are tdpbssd, tdpbsud"):
        tiles.tile_product(silicon(), "tdpfp8", (0, 1, 2))


@pytest.mark.parametrize(
    ("name", "left", "right", "sum_"),
    [
        ("tdpbssd", -1, -2, 2),
        ("tdpbsud", -1, 254, -254),
        ("tdpbusd", 255, -2, -510),
        ("tdpbuud", 255, 254, 64770),
    ],
)
def test_products_of_bytes(name: str, left: int, right: int, sum_: int) -> None:
    """Signed or not, as each source is; sums of 32 bits wrap. Each place has its own row and column."""
    cpu = configured((2, 12), (2, 8), (2, 12))
    put(cpu, 0, b"\xee" * 1024)
    before = struct.pack("<3i", 5, -1, 2**31 - 1)
    put(cpu, 0, before + bytes(52) + bytes(64))
    put(cpu, 1, bytes([left & 0xFF, 0, 0, left & 0xFF, 1, 0, 0, 0]) + bytes(56) + bytes([0, 2, 0, 0, 0, 0, 0, 3]))
    put(cpu, 2, bytes([right & 0xFF, 1, 0, right & 0xFF, 0, 2, 0, 0, 0, 0, 3, 0]) + bytes(52) + bytes([7, 0, 0, 9] * 3))
    assert tiles.tile_product(cpu, name, (0, 1, 2)).accepted
    found = get(cpu, 0)
    wrapped = (2**31 - 1 + 7 + 2**31) % 2**32 - 2**31
    assert struct.unpack("<3i", found[:12]) == (5 + 2 * sum_ + 7, 6, wrapped)
    assert struct.unpack("<3i", found[64:76]) == (2 + 27, 4 + 27, 27)
    assert found[12:64] + found[76:] == bytes(1024 - 24)
    assert (get(cpu, 1)[:1], len(cpu.registers.get(TILEDATA))) == (bytes([left & 0xFF]), 8192)


def bf16(*values: float) -> bytes:
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def single(value: float) -> bytes:
    return struct.pack("<f", value)


TINY, MIN, MAX, INF = 2.0**-127, 2.0**-126, 255 * 2.0**120, float("inf")


@pytest.mark.parametrize(
    ("before", "left", "right", "expected"),
    [
        (single(1.0), bf16(2, 3), bf16(5, 7), single(32.0)),
        (single(1.0), bf16(2, 3, 4, 0.5), bf16(5, 7, 1, 2), single(37.0)),
        # Even and odd elements are summed apart, each rounded to 24 bits.
        (single(0.0), bf16(2.0**24, 0, 1, 0), bf16(1, 0, 1, 0), single(2.0**24)),
        (single(0.0), bf16(2.0**24, 1, 0, 1), bf16(1, 1, 0, 1), single(2.0**24 + 2)),
        (single(1.0), bf16(2.0**24, 0), bf16(1, 0), single(2.0**24)),
        # Denormals of the sources, of sums, of the destination and of the result are zero with their sign.
        (single(0.0), bf16(TINY, 0), bf16(2.0**100, 0), single(0.0)),
        (single(0.0), bf16(0, 2.0**100), bf16(0, -TINY), single(0.0)),
        (single(-TINY), bf16(0, 0), bf16(0, 0), single(0.0)),
        (single(-0.0), bf16(-0.0, -0.0), bf16(0, 0), single(0.0)),
        (single(0.0), bf16(MIN, 0), bf16(0.5, 0), single(0.0)),
        (single(0.0), bf16(MIN, 0), bf16(1, 0), single(MIN)),
        (single(1.5 * MIN), bf16(-MIN, 0), bf16(1, 0), single(0.0)),
        (single(MIN), bf16(MIN, 0), bf16(1, 0), single(2 * MIN)),
        # What is too large is infinite.
        (single(0.0), bf16(MAX, 0), bf16(2, 0), single(INF)),
        (single(0.0), bf16(0, MAX), bf16(0, -2), single(-INF)),
        (single(1.0), bf16(INF, 0), bf16(1, 0), single(INF)),
    ],
)
def test_products_of_bf16(before: bytes, left: bytes, right: bytes, expected: bytes) -> None:
    inner = len(left) // 4
    rows = b"".join(right[4 * k :][:4].ljust(64, b"\0") for k in range(inner)).ljust(1024, b"\0")
    found = products.product("tdpbf16ps", (1, 1, inner), before.ljust(1024, b"\0"), left.ljust(1024, b"\0"), rows)
    assert found == expected.ljust(1024, b"\0")
