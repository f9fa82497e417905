"""vCPU state as the JSON of VMMs in Rust: KVM structures by name, MSRs, CPUID, arm64 registers."""

from __future__ import annotations

from typing import Any

from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Area, Origin
from inspector.decode.placement import table_from_cpuid
from inspector.readers.numbers import MAX_REGISTER_BITS, is_number
from inspector.readers.options import Options
from inspector.readers.synthesized import (
    Masked,
    built_struct_area,
    bytes_of,
    cpuid_area,
    is_register_id,
    msr_area,
    register_area,
    xcrs_area,
    xsave_from,
)
from layouts.arm64.ids import ARM64
from layouts.register_id import RegisterId
from layouts.x86.kvm import STRUCTS
from layouts.x86.kvm_counted import KVM_XCR_ENTRIES
from layouts.x86.xsave import EXTENDED_OFFSET

#: Key of the state -> layout. Names differ a little between VMMs and versions.
_STRUCTS = {key: layout.name for layout in STRUCTS for key in layout.json_keys}
_IGNORED_SMALL = (str, int, bool, type(None))


class Found:
    """The areas of one vCPU, and the keys that nothing here decodes."""

    def __init__(self) -> None:
        self.areas: list[Area] = []
        self.left: list[str] = []
        self.notices: list[str] = []


def decode(state: dict[str, Any], origin: Origin, options: Options) -> Found:
    """The areas that a state object holds."""
    found = Found()
    leaves = _cpuid(state.get("cpuid"))
    if leaves:
        found.areas.append(cpuid_area(Cpuid(leaves), origin, "CPUID"))
    for key, value in state.items():
        if key in ("cpuid", "xsave"):
            continue
        area = _one(key, value, origin)
        if area is not None:
            found.areas.append(area)
        elif not isinstance(value, _IGNORED_SMALL):
            found.left.append(key)
    image = _xsave(state.get("xsave"))
    if image:
        known = table_from_cpuid(Cpuid(leaves).xsave_table(), "CPUID of the vCPU") if leaves else None
        area, notices = xsave_from(image, origin, known, options)
        found.areas.append(area)
        found.notices += notices
    registers = _registers(state)
    if registers:
        found.areas.append(register_area(registers, origin, "KVM registers"))
    return found


def _one(key: str, value: Any, origin: Origin) -> Area | None:
    if key in _STRUCTS:
        if key == "mp_state" and is_number(value):
            value = {"mp_state": value}
        return built_struct_area(_STRUCTS[key], value, origin)
    if key == "xcrs":
        return _xcrs(value, origin)
    if key == "msrs":
        msrs = _pairs(value, "index", "data")
        return msr_area({index: (data, 0) for index, data in msrs.items()}, origin, "MSRs") if msrs else None
    return None


def _xcrs(value: Any, origin: Origin) -> Area | None:
    if isinstance(value, dict) and "xcrs" in value:
        count = value.get("nr_xcrs", 1)
        sound = isinstance(value["xcrs"], list) and is_number(count) and count <= KVM_XCR_ENTRIES
        found = _pairs(value["xcrs"][:count] if sound else [], "xcr", "value")
    elif isinstance(value, dict):
        found = _numbers(value, 32)
    else:
        return built_struct_area("kvm-xcrs", value, origin)
    return xcrs_area(found, origin) if found else None


def _numbers(value: dict[str, Any], index_bits: int) -> dict[int, int]:
    """An object of numbers by number: ``{"0": 7}`` or ``{"0x10": ...}``; none when one of them is too large."""
    found = {}
    for key, number in value.items():
        try:
            index = int(str(key), 0)
        except ValueError:
            return {}
        if not is_number(number) or not is_number(index, index_bits):
            return {}
        found[index] = number
    return found


def _pairs(value: Any, index: str, data: str) -> dict[int, int]:
    """Rows of two members, or an object of numbers."""
    if isinstance(value, dict):
        return _numbers(value, 32)
    found = {}
    for row in value if isinstance(value, list) else []:
        if not isinstance(row, dict) or not is_number(row.get(index), 32) or not is_number(row.get(data)):
            return {}
        found[row[index]] = row[data]
    return found


def _cpuid(value: Any) -> dict[tuple[int, int], CpuidValues]:
    leaves: dict[tuple[int, int], CpuidValues] = {}
    for row in value if isinstance(value, list) else []:
        if not isinstance(row, dict):
            return {}
        numbers = [row.get(key) for key in ("function", "index", "eax", "ebx", "ecx", "edx")]
        if not all(is_number(number, 32) for number in numbers):
            return {}
        function, index, eax, ebx, ecx, edx = (int(number or 0) for number in numbers)
        leaves.setdefault((function, index), (eax, ebx, ecx, edx))
    return leaves


def _xsave(value: Any) -> bytes | None:
    """``region`` and ``extra`` as 32-bit numbers, or the bytes."""
    if isinstance(value, dict):
        words = [value.get("region", []), value.get("extra", [])]
        if isinstance(value.get("xsave"), dict):
            words = [value["xsave"].get("region", []), value.get("extra", [])]
        flat = [word for part in words if isinstance(part, list) for word in part]
        if 4 * len(flat) >= EXTENDED_OFFSET and all(is_number(word, 32) for word in flat):
            return b"".join(word.to_bytes(4, "little") for word in flat)
        return None
    data = bytes_of(value)
    return data if data and len(data) >= EXTENDED_OFFSET else None


def _registers(state: dict[str, Any]) -> dict[int, Masked]:
    """arm64: ``sys_regs``, ``core_regs`` as (id, value) rows, or objects by id."""
    found: dict[int, Masked] = {}
    for key in ("sys_regs", "core_regs", "pre_finalize_regs", "extended_regs", "regs_by_id", "sys"):
        value = state.get(key)
        rows = value if isinstance(value, list) else []
        for row in rows:
            if isinstance(row, dict) and is_number(row.get("id")):
                data = row.get("addr", row.get("data", row.get("value")))
                raw = bytes_of(data) if isinstance(data, list) else None
                number = int.from_bytes(raw, "little") if raw else data
                if is_number(number, MAX_REGISTER_BITS) and _is_arm64(row["id"]):
                    found[row["id"]] = (number, 0)
        if isinstance(value, dict) and key != "core_regs":
            found |= {i: (v, 0) for i, v in _numbers(value, 64).items() if _is_arm64(i)}
    return found


def _is_arm64(number: int) -> bool:
    return is_register_id(number) and RegisterId(number).architecture == ARM64
