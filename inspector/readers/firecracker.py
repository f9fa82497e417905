"""Firecracker: cpu-template-helper fingerprints, custom CPU templates, snapshot state.

Bitmaps are ``0b`` and one character a bit, most significant first; ``x`` keeps the host's bit.
Source: firecracker ``src/vmm/src/cpu_config/templates.rs`` and ``docs/cpu_templates``.
"""

from __future__ import annotations

from typing import Any

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.budget import Budget
from inspector.readers.json_file import malformed
from inspector.readers.marks import FIRECRACKER_MAGICS
from inspector.readers.numbers import is_number
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import (
    MAX_REGISTERS,
    Masked,
    is_register_id,
    masked_cpuid_area,
    msr_area,
    register_area,
)
from inspector.readers.text import shown
from inspector.readers.xsave_area import KVM_XSAVE_SIZE_BYTES, choose_table, looks_like_xsave, xsave_area
from layouts.x86.xsave import INITIAL_VALUES, LEGACY_AT

_REGISTERS = ("eax", "ebx", "ecx", "edx")
#: A state file has 100 KB and 10 KB a vCPU.
_STATE_LIMIT_BYTES = 64 << 20
#: Ten times what Firecracker allows (MAX_SUPPORTED_VCPUS in src/vmm/src/vmm_config/machine_config.rs is 32).
_MAX_VCPUS = 320


def from_json(found: Any, source: Source, _options: Options) -> Capture:
    """A fingerprint or a template."""
    config = found.get("guest_cpu_config", found)
    if not isinstance(config, dict):
        raise malformed(source, "a CPU configuration", config)
    origin = Origin(source.name, 0)
    areas: list[Area] = []
    cpuid = _cpuid(config.get("cpuid_modifiers") or [], source)
    if cpuid:
        areas.append(masked_cpuid_area(cpuid, origin, "CPUID"))
    msrs = _msrs(config.get("msr_modifiers") or [], source)
    if msrs:
        areas.append(msr_area(msrs, origin, "model-specific registers"))
    registers = _registers(config.get("reg_modifiers") or [], source)
    if registers:
        areas.append(register_area(registers, origin, "KVM registers"))
    fingerprint = "guest_cpu_config" in found
    words = [f"{key.removesuffix('_version')} {visible(_text(found[key]))}" for key in _ABOUT if key in found]
    host = Host(kernel=visible(_text(found.get("kernel_version", ""))), about=", ".join(words))
    arch = "arm64" if registers else "x86"
    name = "firecracker-fingerprint" if fingerprint else "firecracker-template"
    return Capture(source.name, name, [Vcpu(0, "cpu config", arch, areas)], host=host)


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else shown(value)


_ABOUT = ("firecracker_version", "kernel_version", "microcode_version", "bios_version")


def _bitmap(text: Any, source: Source) -> Masked:
    """``0b01x`` as value and mask of the kept bits."""
    digits = text.removeprefix("0b").replace("_", "") if isinstance(text, str) else ""
    if not digits or len(digits) > 2048 or set(digits) - set("01xX"):
        raise malformed(source, "a bitmap of 0, 1 and x", text)
    lower = digits.lower()
    return int(lower.replace("x", "0"), 2), int(lower.replace("1", "0").replace("x", "1"), 2)


def _integer(value: Any, source: Source) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not is_number(number):
        raise malformed(source, "a number", value)
    return number


def _rows(value: Any, source: Source) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise malformed(source, "a list of modifiers", value)
    return value


def _cpuid(rows: Any, source: Source) -> dict[tuple[int, int], list[Masked]]:
    leaves: dict[tuple[int, int], list[Masked]] = {}
    for row in _rows(rows, source):
        key = (_integer(row.get("leaf"), source), _integer(row.get("subleaf"), source))
        if max(key) >= 1 << 32:
            raise malformed(source, "a CPUID leaf", key)
        registers = leaves.setdefault(key, [(0, 0xFFFFFFFF)] * 4)
        for modifier in _rows(row.get("modifiers"), source):
            register = modifier.get("register")
            if register not in _REGISTERS:
                raise malformed(source, "a CPUID register", register)
            value, mask = _bitmap(modifier.get("bitmap"), source)
            registers[_REGISTERS.index(register)] = (value & 0xFFFFFFFF, mask & 0xFFFFFFFF)
    return leaves


def _msrs(rows: Any, source: Source) -> dict[int, Masked]:
    """MSR numbers have 32 bits, their values 64."""
    found = {_integer(row.get("addr"), source): _bitmap(row.get("bitmap"), source) for row in _rows(rows, source)}
    for number, (value, mask) in found.items():
        if number >= 1 << 32 or (value | mask) >= 1 << 64:
            raise malformed(source, "an MSR number of 32 bits and a bitmap of 64", f"{number:#x}")
    return found


def _registers(rows: Any, source: Source) -> dict[int, Masked]:
    found = {_integer(row.get("addr"), source): _bitmap(row.get("bitmap"), source) for row in _rows(rows, source)}
    for number in found:
        if not is_register_id(number):
            raise malformed(source, "a KVM register id", f"{number:#x}")
    if len(found) > MAX_REGISTERS:
        raise malformed(source, f"at most {MAX_REGISTERS} registers", len(found))
    return found


def read_state(source: Source, options: Options) -> Capture:
    """A snapshot state file. Its encoding has no schema, so XSAVE images are looked for by content."""
    data = source.read_all(_STATE_LIMIT_BYTES)
    arch = FIRECRACKER_MAGICS[int.from_bytes(data[:8], "little")]
    vcpus: list[Vcpu] = []
    notices = ["snapshot state has no schema: XSAVE images were found by their content, nothing else is decoded"]
    faults: list[InputError] = []
    budget = Budget(source.name, "XSAVE images", records=_MAX_VCPUS)
    at = 0
    # MXCSR as at reset, and its mask behind it.
    wanted = INITIAL_VALUES["mxcsr"].to_bytes(4, "little") + b"\xff\xff\0\0"
    while (at := data.find(wanted, at)) >= 0:
        start = at - LEGACY_AT["mxcsr"].offset
        at += 8
        if start < 0 or start + KVM_XSAVE_SIZE_BYTES > len(data):
            continue
        image = data[start : start + KVM_XSAVE_SIZE_BYTES]
        if looks_like_xsave(image):
            try:
                budget.take(start)
            except InputError as error:
                faults.append(error)
                break
            table, said = choose_table(image, len(image), None, options)
            area = xsave_area("xsave", "XSAVE image (found)", image, Origin(source.name, start), table, len(image))
            vcpus.append(Vcpu(len(vcpus), f"vcpu {len(vcpus)}", arch, [area]))
            notices += said if len(vcpus) == 1 else []
            at = start + KVM_XSAVE_SIZE_BYTES
    if not vcpus:
        raise InputError(source.name, "an XSAVE image in the snapshot state", "none", 8)
    return Capture(source.name, "firecracker-state", vcpus, faults=faults, notices=notices)
