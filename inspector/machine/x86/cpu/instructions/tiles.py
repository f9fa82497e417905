"""AMX: tile configuration and tiles (Intel SDM vol. 2; vol. 1, 13.14 and 18)."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.outcome import GP, NM, UD, MemoryFaultError, Outcome, Rule
from inspector.machine.x86.cpu.instructions import products
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import TILE_SIZE_BYTES
from layouts.light import lru_cache
from layouts.x86.xsave import TILECFG, TILEDATA, XTILE

TILES = 8
_ROWS, _ROW_BYTES = 16, 64
_HEAD = 2
_START_ROW = 1
_CONFIG_SIZE_BYTES = 64
#: Reads a row of memory: row number, size in bytes. Raises MemoryFaultError.
ReadRow = Callable[[int, int], bytes]
#: Writes a row to memory. Raises MemoryFaultError.
WriteRow = Callable[[int, bytes], None]
#: Palette 1, 8 tiles of 16 rows x 64 bytes.
FULL_TILECFG = bytes([1]) + bytes(15) + b"\x40\0" * TILES + bytes(16) + bytes([_ROWS] * TILES) + bytes(8)


def has_amx(cpu: Processor) -> bool:
    """AMX instructions are not #UD."""
    return cpu.cr4_osxsave and cpu.xcr0 & XTILE == XTILE


def _begin(cpu: Processor, name: str) -> Rule:
    rule = Rule(f"Intel SDM vol. 2, {name}", cpu.host.evidence)
    rule.check("CR4.OSXSAVE is set and XCR0[18:17] = 11", has_amx(cpu))
    return rule


def ldtilecfg(cpu: Processor, config: bytes = FULL_TILECFG) -> Outcome:
    """LDTILECFG of 64 bytes: tiles become zero. XFD does not stop it. Palette 0 releases."""
    rule = _begin(cpu, "LDTILECFG")
    if rule.failed:
        return rule.fault(UD)
    if not rule.check("a configuration of palette 0 or 1", is_valid(config)):
        return rule.fault(GP)
    cpu.registers.clear(TILECFG, TILEDATA)
    if config[0]:
        cpu.registers.write(TILECFG, 0, config)
    return rule.ok()


def ldtilecfg_from(cpu: Processor, read: Callable[[int], bytes]) -> Outcome:
    """LDTILECFG from memory: ``read`` gives bytes of it, or raises MemoryFaultError."""
    rule = _begin(cpu, "LDTILECFG")
    if rule.failed:
        return rule.fault(UD)
    try:
        return ldtilecfg(cpu, read(_CONFIG_SIZE_BYTES))
    except MemoryFaultError as fault:
        return rule.fault_at(fault)


@lru_cache(maxsize=64)
def is_valid(config: bytes) -> bool:
    """A configuration that LDTILECFG takes: palette 0, or 1 with rows and columns within a tile.

    Every restore of a processor asks it of what it loads, which is seldom another.
    """
    palette = config[0]
    if palette == 0:
        return True
    columns = [int.from_bytes(config[at : at + 2], "little") for at in range(16, 48, 2)]
    rows = config[48:]
    return (
        palette == 1
        and not any(config[_HEAD:16])
        and not any(columns[TILES:])
        and not any(rows[TILES:])
        and all(size <= _ROW_BYTES for size in columns)
        and all(count <= _ROWS for count in rows)
        and all(bool(size) == bool(count) for size, count in zip(columns, rows, strict=True))
    )


def sttilecfg(cpu: Processor, write: Callable[[bytes], None] | None = None) -> Outcome:
    """STTILECFG: the configuration, zero when tiles are not configured. ``write`` puts it into memory."""
    rule = _begin(cpu, "STTILECFG")
    if rule.failed:
        return rule.fault(UD)
    config = cpu.registers.get(TILECFG)
    try:
        if write is not None:
            write(config)
    except MemoryFaultError as fault:
        return rule.fault_at(fault)
    return rule.ok(image=config)


def tilerelease(cpu: Processor) -> Outcome:
    """TILERELEASE: configuration and tiles become initial. XFD does not stop it."""
    rule = _begin(cpu, "TILERELEASE")
    if rule.failed:
        return rule.fault(UD)
    cpu.registers.clear(TILECFG, TILEDATA)
    return rule.ok()


def rows_and_colsb(config: bytes, tile: int) -> tuple[int, int]:
    """A tile's shape: rows, and bytes in a row."""
    return config[48 + tile], int.from_bytes(config[16 + 2 * tile : 18 + 2 * tile], "little")


def tilezero(cpu: Processor, tile: int) -> Outcome:
    """TILEZERO of one tile, all of it. start_row becomes 0."""
    rule, fault = _tile(cpu, "TILEZERO", (tile,))
    if fault is not None:
        return fault
    cpu.registers.zero_tile(tile)
    _start_at(cpu, 0)
    return rule.ok()


def tileloadd(cpu: Processor, tile: int, memory: bytes | ReadRow) -> Outcome:
    """TILELOADD from 1024 bytes, 64 a row, or from rows of memory, beginning at start_row.

    A fault in a row leaves start_row there, the rows before loaded, the others zero.
    What lies outside the shape becomes zero.
    """
    rule, fault = _tile(cpu, "TILELOADD", (tile,), moves=True)
    if fault is not None:
        return fault
    config, live = cpu.registers.get(TILECFG), cpu.registers
    rows, colsb = rows_and_colsb(config, tile)
    start = config[_START_ROW]
    found = _of_tile(cpu, tile)[: _ROW_BYTES * start]
    if isinstance(memory, bytes):
        found += _rows(memory, start, rows, colsb)
    else:
        for row in range(start, rows):
            try:
                data = memory(row, colsb)
            except MemoryFaultError as error:
                live.write_tile(tile, found.ljust(TILE_SIZE_BYTES, b"\0"))
                _start_at(cpu, row)
                return rule.fault_at(error)
            found += data.ljust(_ROW_BYTES, b"\0")
    live.write_tile(tile, found.ljust(TILE_SIZE_BYTES, b"\0"))
    _start_at(cpu, 0)
    return rule.ok()


def _rows(memory: bytes, start: int, rows: int, colsb: int) -> bytes:
    """Rows of memory as a tile holds them: all at once where they are whole."""
    if colsb == _ROW_BYTES:
        return memory[_ROW_BYTES * start : _ROW_BYTES * rows].ljust(_ROW_BYTES * (rows - start), b"\0")
    found = (memory[_ROW_BYTES * row : _ROW_BYTES * row + colsb] for row in range(start, rows))
    return b"".join([data.ljust(_ROW_BYTES, b"\0") for data in found])


def tilestored(cpu: Processor, tile: int, write: WriteRow | None = None) -> Outcome:
    """TILESTORED: the tile's 1024 bytes; ``write`` gets the rows of its shape, from start_row on."""
    rule, fault = _tile(cpu, "TILESTORED", (tile,), moves=True)
    if fault is not None:
        return fault
    config, data = cpu.registers.get(TILECFG), _of_tile(cpu, tile)
    rows, colsb = rows_and_colsb(config, tile)
    for row in range(config[_START_ROW], rows if write is not None else 0):
        try:
            assert write is not None
            write(row, data[_ROW_BYTES * row :][:colsb])
        except MemoryFaultError as error:
            _start_at(cpu, row)
            return rule.fault_at(error)
    _start_at(cpu, 0)
    return rule.ok(image=data)


def _of_tile(cpu: Processor, tile: int) -> bytes:
    return cpu.registers.get(TILEDATA)[TILE_SIZE_BYTES * tile : TILE_SIZE_BYTES * (tile + 1)]


def _start_at(cpu: Processor, row: int) -> None:
    """Set start_row."""
    if cpu.registers.get(TILECFG)[_START_ROW] != row:
        cpu.registers.write(TILECFG, _START_ROW, bytes([row]))


def _tile(cpu: Processor, name: str, tiles: tuple[int, ...], *, moves: bool = False) -> tuple[Rule, Outcome | None]:
    """An instruction that uses tile data: #UD of the configuration, #NM by XFD, #UD by start_row.

    The emulator looks at XFD first. ``moves``: the instruction loads or stores rows.
    """
    rule = _begin(cpu, name)
    if rule.failed:
        return rule, rule.fault(UD)
    emulated = cpu.host.emulated
    if emulated and not _enabled(cpu, rule):
        return rule, rule.fault(NM)
    configured = TILECFG in cpu.registers.components
    config = cpu.registers.get(TILECFG)
    held = rule.check(
        "the tile is configured", configured and all(tile < TILES and config[48 + tile] for tile in tiles)
    ) and _shapes_fit(rule, config, tiles, moves=moves and not emulated)
    if not held:
        return rule, rule.fault(UD)
    if not emulated and not _enabled(cpu, rule):
        return rule, rule.fault(NM)
    start = config[_START_ROW]
    if moves and not rule.check(f"start_row ({start}) is a row of the tile", start < config[48 + tiles[0]]):
        return rule, rule.fault(UD)
    return rule, None


def _enabled(cpu: Processor, rule: Rule) -> bool:
    return rule.check("XFD[18] is 0", cpu.use(TILEDATA))


def _shapes_fit(rule: Rule, config: bytes, tiles: tuple[int, ...], *, moves: bool) -> bool:
    """The rules of a load's or store's columns, and of a product's three shapes."""
    shapes = [rows_and_colsb(config, tile) for tile in tiles]
    if moves:
        return rule.check("a multiple of 4 bytes in a row", not shapes[0][1] % 4)
    if len(tiles) == 1:
        return True
    (rows, colsb), (rows1, colsb1), (rows2, colsb2) = shapes
    return (
        rule.check("three different tiles", len(set(tiles)) == len(tiles))
        and rule.check("as many rows as src1, as many bytes in a row as src2", rows == rows1 and colsb == colsb2)
        and rule.check("src1 has 4 bytes in a row for each row of src2", colsb1 == 4 * rows2)
        and rule.check("a multiple of 4 bytes in a row", not colsb % 4)
    )


def tile_product(cpu: Processor, name: str, tiles: tuple[int, int, int]) -> Outcome:
    """TDP*: destination, src1, src2. Raises ValueError for a name that is none."""
    if name not in products.ELEMENTS:
        raise ValueError(f"no tile product {name}; there are {', '.join(products.ELEMENTS)}")
    rule, fault = _tile(cpu, name.upper(), tiles)
    if fault is not None:
        return fault
    rows, colsb = rows_and_colsb(cpu.registers.get(TILECFG), tiles[0])
    target, left, right = (_of_tile(cpu, tile) for tile in tiles)
    inner = rows_and_colsb(cpu.registers.get(TILECFG), tiles[2])[0]
    found = products.product(name, (rows, colsb // 4, inner), target, left, right)
    cpu.registers.write_tile(tiles[0], found)
    _start_at(cpu, 0)
    return rule.ok()
