"""Lists of KVM registers: ``id value`` lines, or a JSON object of values by id."""

from __future__ import annotations

import re
from typing import Any

from inspector.capture.errors import InputError
from inspector.capture.model import Capture, Origin, Vcpu
from inspector.readers.json_file import malformed
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import Masked, register_area
from layouts.arm64.kvm_ids import id_of_name
from layouts.kvm_ids import architecture_name

MAX_SIZE_BYTES = 64 << 20
_LINE = re.compile(
    r"\s*(?P<id>0x[0-9a-fA-F]{9,16}|[A-Za-z][A-Za-z0-9_]+_EL\d+)\s*[:=\s]\s*(?P<value>0x[0-9a-fA-F]+|\d+)\s*"
)
_COMMENT = re.compile(r"[#;]|//")


def looks_like_list(head: bytes) -> bool:
    """The first line that is no comment is an id and a value."""
    for line in head[:8192].decode("latin-1").splitlines():
        text = _COMMENT.split(line)[0]
        if text.strip():
            match = _LINE.fullmatch(text)
            return match is not None and ("_EL" in text or _architecture(match["id"]) in ("arm64", "x86", "riscv"))
    return False


def _architecture(text: str) -> str:
    """The architecture of an id as text of 16 digits; empty for anything else."""
    return architecture_name(int(text, 16)) if len(text) == 18 else ""


def read(source: Source, _options: Options) -> Capture:
    """Lines of id (or register name) and value; ``=``, ``:`` and comments are allowed."""
    values: dict[int, Masked] = {}
    fault = source.fault
    at = 0
    for line in source.read_all(MAX_SIZE_BYTES).decode("latin-1").splitlines(keepends=True):
        text = _COMMENT.split(line)[0].strip()
        match = _LINE.fullmatch(text)
        register_id = _id(match["id"]) if match else None
        if match and register_id is not None:
            values[register_id] = (int(match["value"], 0), 0)
        elif text and fault is None:
            fault = InputError(source.name, "a register id and a value", repr(text[:40]), at)
        at += len(line)
    if not values:
        raise fault or InputError(source.name, "registers", "none")
    return _capture(values, source, [fault] if fault else [])


def _id(text: str) -> int | None:
    return int(text, 16) if text.startswith("0x") else id_of_name(text)


def from_json(found: Any, source: Source, _options: Options) -> Capture:
    """``{"0x603000000013c020": "0x1101..."}``; values are hex strings or numbers."""
    values: dict[int, Masked] = {}
    for key, value in found.items():
        try:
            register_id = int(key, 16)
            number = int(value, 0) if isinstance(value, str) else value
        except ValueError:
            raise malformed(source, "a register id and a value", f"{key}: {value}") from None
        if not isinstance(number, int) or number < 0 or not 0 < register_id < 1 << 64:
            raise malformed(source, "a register id and a value", f"{key}: {value}")
        values[register_id] = (number, 0)
    return _capture(values, source, [])


def _capture(values: dict[int, Masked], source: Source, faults: list[InputError]) -> Capture:
    """One vCPU for each architecture: ids of several come from several lists."""
    lists: dict[str, dict[int, Masked]] = {}
    for register_id, value in values.items():
        arch = architecture_name(register_id)
        lists.setdefault(arch if arch in ("x86", "riscv") else "arm64", {})[register_id] = value
    vcpus: list[Vcpu] = []
    for arch, own in lists.items():
        area = register_area(own, Origin(source.name, 0), "KVM registers", arch)
        vcpus.append(Vcpu(len(vcpus), "vcpu" if len(lists) == 1 else f"vcpu {arch}", arch, [area]))
    notices = ["registers of riscv are named, not decoded"] if "riscv" in lists else []
    return Capture(source.name, "kvm-registers", vcpus, faults=faults, notices=notices)
