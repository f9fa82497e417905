"""CPU records: what a machine shows of itself, one register a line (docs/cpu-record.md).

A record is TOML. ``cpu_record`` is its version, ``view`` is ``guest`` or ``host``; the tables
are ``sysreg`` (arm64, by name), ``kvm`` (by KVM register id), ``cpuid`` (leaf.subleaf, four
registers) and ``msr`` (by index). Values are hex, as numbers or texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Cpuid, CpuidValues, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.numbers import is_number
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import cpuid_area, is_register_id, msr_area, register_area
from inspector.readers.text import parse_toml, shown
from layouts.light import TYPE_CHECKING
from layouts.register_id import RegisterId

if TYPE_CHECKING:
    from typing import Any

VERSION = 1
MAX_SIZE_BYTES = 1 << 20
_WIDEST_BYTES = 256

_WORDS = ("machine", "vmm", "microcode", "firmware", "source")


def read(source: Source, _options: Options) -> Capture:
    """A record as one vCPU; a record of a host has the CPUID of that host, too."""
    table = _parsed(source)
    version = table.get("cpu_record")
    if type(version) is not int or version > VERSION:
        raise InputError(source.name, f"a CPU record of version {VERSION} or older", shown(version, 40))
    view = table.get("view")
    if view not in ("guest", "host"):
        raise InputError(source.name, "view: guest or host", shown(view, 40))
    cpuid = _cpuid(source, table)
    host = Host(
        cpuid=Cpuid(cpuid) if cpuid and view == "host" else None,
        kernel=_text(source, table, "kernel"),
        about=", ".join(found for word in _WORDS if (found := _text(source, table, word))),
    )
    areas = _areas(source, table, cpuid)
    if not areas:
        raise InputError(source.name, "registers", "none")
    arch = "x86" if areas[0].layout in ("kvm-cpuid2", "kvm-msrs") else "arm64"
    faults = [source.fault] if source.fault else []
    return Capture(source.name, "cpu-record", [Vcpu(0, view, arch, areas)], host=host, faults=faults)


def _parsed(source: Source) -> dict[str, Any]:
    text = source.read_all(MAX_SIZE_BYTES).decode("utf-8", "replace")
    try:
        return parse_toml(text)
    except ValueError as error:
        raise source.fault or InputError(source.name, "TOML", str(error)) from error


def _areas(source: Source, table: Mapping[str, Any], cpuid: Mapping[tuple[int, int], CpuidValues]) -> list[Area]:
    origin = Origin(source.name, 0)
    areas = []
    if cpuid:
        areas.append(cpuid_area(Cpuid(cpuid), origin, "CPUID"))
    msrs = _values(source, table, "msr", _number)
    if any(index >> 32 for index in msrs):
        raise InputError(source.name, "msr: an index of 32 bits", f"{max(msrs):#x}")
    if msrs:
        areas.append(msr_area({index: (value, 0) for index, value in msrs.items()}, origin, "model-specific registers"))
    registers = _named_registers(source, table) | _values(source, table, "kvm", _number, _size_bytes)
    wrong = next((register_id for register_id in registers if not is_register_id(register_id)), None)
    if wrong is not None:
        raise InputError(source.name, "kvm: a register id", f"{wrong:#x}")
    if registers:
        values = {register_id: (value, 0) for register_id, value in registers.items()}
        areas.append(register_area(values, origin, "KVM registers"))
    return areas


def _named_registers(source: Source, table: Mapping[str, Any]) -> dict[int, int]:
    if "sysreg" not in table:
        return {}
    from layouts.arm64.kvm_ids import id_of_name

    return _values(source, table, "sysreg", id_of_name)


def _text(source: Source, table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise InputError(source.name, f"{key}: a text", shown(value, 40))
    return visible(value)


def _table(source: Source, value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(source.name, f"{key}: a table", shown(value, 40))
    return value


def _number(value: Any, size_bytes: int = 8) -> int | None:
    """A number of at most that many bytes, or None."""
    try:
        number = int(value, 16) if isinstance(value, str) else value
    except ValueError:
        return None
    return number if is_number(number, 8 * size_bytes) else None


def _size_bytes(register_id: int) -> int:
    """How wide a register is: a field of its KVM id, at most a slice of Z."""
    return min(RegisterId(register_id).size_bytes, _WIDEST_BYTES)


def _values(
    source: Source,
    table: Mapping[str, Any],
    section: str,
    key_of: Callable[[str], int | None],
    size_of: Callable[[int], int] = lambda _: 8,
) -> dict[int, int]:
    found = {}
    for key, text in _table(source, table.get(section, {}), section).items():
        number = key_of(key)
        value = _number(text, size_of(number)) if number is not None else None
        if number is None or value is None:
            raise InputError(source.name, f"{section}: a register and its value", f"{key!r:.40} = {shown(text, 40)}")
        found[number] = value
    return found


def _cpuid(source: Source, table: Mapping[str, Any]) -> dict[tuple[int, int], CpuidValues]:
    leaves: dict[tuple[int, int], CpuidValues] = {}
    for leaf, subleaves in _table(source, table.get("cpuid", {}), "cpuid").items():
        for subleaf, row in _table(source, subleaves, f"cpuid.{leaf}").items():
            numbers = [_number(value) for value in row] if isinstance(row, list) else []
            words = [n for n in (_number(leaf), _number(subleaf), *numbers) if n is not None and n < 1 << 32]
            if len(words) != 6 or len(numbers) != 4:
                raise InputError(source.name, "cpuid: leaf.subleaf = [eax, ebx, ecx, edx]", f"{leaf}.{subleaf}")
            leaves[words[0], words[1]] = (words[2], words[3], words[4], words[5])
    return leaves
