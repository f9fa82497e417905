"""AMX: tile configuration and tiles (Intel SDM vol. 2; vol. 1, 13.14 and 18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.machine.outcome import GP, NM, UD, Outcome, Rule
from inspector.machine.x86.host import XTILE
from inspector.machine.x86.registers import TILE_SIZE_BYTES, TILECFG, TILEDATA

if TYPE_CHECKING:
    from inspector.machine.x86.processor import Processor

TILES = 8
_ROWS, _ROW_BYTES = 16, 64
_HEAD = 2
#: Palette 1, 8 tiles of 16 rows x 64 bytes.
FULL_TILECFG = bytes([1]) + bytes(15) + b"\x40\0" * TILES + bytes(16) + bytes([_ROWS] * TILES) + bytes(8)


def has_amx(cpu: Processor) -> bool:
    """AMX instructions are not #UD."""
    return cpu.cr4_osxsave and cpu.xcr0 & XTILE == XTILE


def _begin(cpu: Processor, name: str) -> Rule:
    rule = Rule(f"Intel SDM vol. 2, {name}")
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


def is_valid(config: bytes) -> bool:
    """A configuration that LDTILECFG takes: palette 0, or 1 with rows and columns within a tile."""
    palette = config[0]
    if palette == 0:
        return True
    columns = [int.from_bytes(config[at : at + 2], "little") for at in range(16, 48, 2)]
    rows = config[48:64]
    return (
        palette == 1
        and not any(config[_HEAD:16])
        and not any(columns[TILES:])
        and not any(rows[TILES:])
        and all(size <= _ROW_BYTES for size in columns)
        and all(count <= _ROWS for count in rows)
        and all(bool(size) == bool(count) for size, count in zip(columns, rows, strict=True))
    )


def sttilecfg(cpu: Processor) -> Outcome:
    """STTILECFG: the configuration, zero when tiles are not configured."""
    rule = _begin(cpu, "STTILECFG")
    return rule.fault(UD) if rule.failed else rule.ok(image=cpu.registers.get(TILECFG))


def tilerelease(cpu: Processor) -> Outcome:
    """TILERELEASE: configuration and tiles become initial. XFD does not stop it."""
    rule = _begin(cpu, "TILERELEASE")
    if rule.failed:
        return rule.fault(UD)
    cpu.registers.clear(TILECFG, TILEDATA)
    return rule.ok()


def tilezero(cpu: Processor, tile: int) -> Outcome:
    """TILEZERO of one tile."""
    rule, fault = _tile(cpu, "TILEZERO", tile)
    if fault is not None:
        return fault
    live = cpu.registers
    live.write(TILEDATA, TILE_SIZE_BYTES * tile, bytes(TILE_SIZE_BYTES))
    live.used_tiles &= ~(1 << tile)
    return rule.ok()


def tileloadd(cpu: Processor, tile: int, data: bytes) -> Outcome:
    """TILELOADD of 1024 bytes."""
    rule, fault = _tile(cpu, "TILELOADD", tile)
    if fault is not None:
        return fault
    live = cpu.registers
    live.write(TILEDATA, TILE_SIZE_BYTES * tile, data)
    live.used_tiles |= 1 << tile
    return rule.ok()


def tilestored(cpu: Processor, tile: int) -> Outcome:
    """TILESTORED: the tile's 1024 bytes."""
    rule, fault = _tile(cpu, "TILESTORED", tile)
    if fault is not None:
        return fault
    return rule.ok(image=cpu.registers.get(TILEDATA)[TILE_SIZE_BYTES * tile : TILE_SIZE_BYTES * (tile + 1)])


def _tile(cpu: Processor, name: str, tile: int) -> tuple[Rule, Outcome | None]:
    """An instruction that uses tile data: #UD, then #NM by XFD, then the configuration."""
    rule = _begin(cpu, name)
    if rule.failed:
        return rule, rule.fault(UD)
    if not rule.check("XFD[18] is 0", cpu.use(TILEDATA)):
        return rule, rule.fault(NM)
    configured = TILECFG in cpu.registers.components and tile < TILES
    if not rule.check("the tile is configured", configured and cpu.registers.get(TILECFG)[48 + tile]):
        return rule, rule.fault(UD)
    return rule, None
