"""A stub's registers under the paths that the same registers have everywhere.

Names are gdb's (:mod:`inspector.readers.gdb_text`), and those that only stubs use: halves of vectors as gdbserver names
them, QEMU's names of arm64 system registers. What no table knows is ``gdb.NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspector.readers.gdb_text import SINGLE, VECTORS, system_register
from inspector.readers.named_values import Sized
from layouts.arm64.kvm_ids import id_of_name

#: QEMU's names of registers that it keeps for AArch32 and AArch64 as one (target/arm/helper.c, ARM_CP_STATE_BOTH).
_QEMU_ARM64 = {"AMAIR0": "AMAIR_EL1", "MIDR": "MIDR_EL1", "MPIDR": "MPIDR_EL1"}
#: QEMU has zeros for these words of x87, and the tag word is in another form than an XSAVE image's.
_LEFT = frozenset(("ftag", "fiseg", "fioff", "foseg", "fooff", "fop", "orig_rax", "vg", "svg"))


def paths_of(registers: Mapping[str, Sized]) -> dict[str, Sized]:
    """Values by path, in the order of the registers, vectors in every width that they make."""
    found: dict[str, Sized] = {}
    for name, (value, size) in registers.items():
        if name in _LEFT:
            continue
        for path, sized in _named(name, value, size, registers):
            found.setdefault(path, sized)
    return found


def _named(name: str, value: int, size: int, registers: Mapping[str, Sized]) -> list[tuple[str, Sized]]:
    known = SINGLE.get(name) or _system(name)
    if known:
        return [(known[0], (value, known[1]))]
    kind, digits = name.rstrip("0123456789h"), name.lstrip("abcdefghijklmnopqrstuvwxyz").rstrip("h")
    if name == "za":
        return _rows_of_za(value, size)
    if name in ("zt0", "ffr"):
        return [("sve.ffr" if name == "ffr" else name, (value, size))]
    if not digits.isdigit():
        return [(f"gdb.{name}", (value, size))]
    number = int(digits)
    if kind == "st":
        return [(f"xsave.st[{number}]", (value, 10))]
    if kind == "p" and "vg" in registers:
        return [(f"sve.p[{number}]", (value, size))]
    if name.endswith("h"):
        return _widened(kind, number, registers)
    if kind == "z":
        low = (value & (1 << 128) - 1, 16)
        return [(f"sve.z[{number}]", (value, size)), (f"core.v[{number}]", low)]
    if kind in VECTORS:
        return [(f"{VECTORS[kind]}[{number}]", (value, size))]
    return [(f"gdb.{name}", (value, size))]


def _system(name: str) -> tuple[str, int] | None:
    """A system register by Arm's name, or by QEMU's for it."""
    if not name[:1].isupper():
        return None
    plain = _QEMU_ARM64.get(name, name.removesuffix("_RESERVED"))
    for one in (plain, f"{plain}_EL1"):
        if one and id_of_name(one):
            return system_register(one)
    return None


def _widened(kind: str, number: int, registers: Mapping[str, Sized]) -> list[tuple[str, Sized]]:
    """YMM of its upper half and XMM, ZMM of its upper half and YMM: gdbserver sends each byte once."""
    xmm = registers.get(f"xmm{number}")
    ymm_high = registers.get(f"ymm{number}h")
    if xmm is None or ymm_high is None:
        return []
    ymm = xmm[0] | ymm_high[0] << 128
    if kind == "ymm":
        return [(f"xsave.ymm[{number}]", (ymm, 32))]
    zmm_high = registers.get(f"zmm{number}h")
    return [(f"xsave.zmm[{number}]", (ymm | zmm_high[0] << 256, 64))] if zmm_high is not None else []


def _rows_of_za(value: int, size: int) -> list[tuple[str, Sized]]:
    """ZA is SVL rows of SVL bytes, the first row lowest."""
    row_bytes = round(size**0.5)
    if row_bytes * row_bytes != size:
        return [("gdb.za", (value, size))]
    mask = (1 << 8 * row_bytes) - 1
    return [(f"za.row[{row}]", (value >> 8 * row_bytes * row & mask, row_bytes)) for row in range(row_bytes)]
