"""Lists of KVM registers: ``id value`` lines, or a JSON object of values by id."""

from __future__ import annotations

import re
from typing import Any

from inspector.capture.errors import InputError
from inspector.capture.model import Capture, Origin, Vcpu
from inspector.readers.budget import Budget
from inspector.readers.json_file import malformed
from inspector.readers.numbers import MAX_REGISTER_BITS, is_number
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import MAX_REGISTERS, Masked, is_register_id, register_area
from inspector.readers.text import shown, text_lines
from layouts.arm64.kvm_ids import id_of_name
from layouts.kvm_ids import architecture_name

# The largest register has 2048 bits: 512 hexadecimal digits, 617 decimal ones.
_LINE = re.compile(
    r"\s*+(?P<id>0x[0-9a-fA-F]{9,16}|[A-Za-z][A-Za-z0-9_]{1,60}_EL\d{1,2})(?:\s*+[:=]\s*+|\s++)"
    r"(?P<value>0x[0-9a-fA-F]{1,512}|[0-9a-fA-F]{1,617})\s*+"
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
    """Lines of id (or register name) and value; ``=``, ``:`` and comments are allowed.

    A value without 0x is decimal, as ``%llu`` writes it. Nothing pads decimal numbers with zeros, but
    ``%016llx`` does hexadecimal ones: where one value of a list begins with 0, or has a letter, all of its
    values without 0x are hexadecimal, and a notice says so.
    """
    texts: dict[int, str] = {}
    faults: list[InputError] = []
    budget = Budget(source.name, "registers", records=MAX_REGISTERS)
    for at, line in text_lines(source, faults):
        text = _COMMENT.split(line)[0].strip()
        match = _LINE.fullmatch(text)
        register_id = _id(match["id"]) if match else None
        if match and register_id is not None:
            try:
                budget.take(at)
            except InputError as error:
                faults.append(error)
                break
            texts[register_id] = match["value"]
        elif text and not faults:
            faults.append(InputError(source.name, "a register id and a value", repr(text[:40]), at))
    faults[:0] = [source.fault] if source.fault else []
    if not texts:
        raise (faults or [InputError(source.name, "registers", "none")])[0]
    bare = [text for text in texts.values() if not text.startswith("0x")]
    padded = next((text for text in bare if _is_padded(text)), "")
    values = {number: (_value(text, 16 if padded else 10), 0) for number, text in texts.items()}
    notices = [f"values without 0x are read as hexadecimal: one of them is {padded[:20]}"] if padded else []
    return _capture(values, source, faults, notices)


def _is_padded(text: str) -> bool:
    return not text.isdecimal() or (len(text) > 1 and text.startswith("0"))


def _value(text: str, base: int) -> int:
    return int(text, 16 if text.startswith("0x") else base)


def _id(text: str) -> int | None:
    number = int(text, 16) if text.startswith("0x") else id_of_name(text)
    return number if number is not None and is_register_id(number) else None


def from_json(found: Any, source: Source, _options: Options) -> Capture:
    """``{"0x603000000013c020": "0x1101..."}``; values are hex strings or numbers."""
    if len(found) > MAX_REGISTERS:
        raise malformed(source, f"at most {MAX_REGISTERS} registers", len(found))
    values: dict[int, Masked] = {}
    for key, value in found.items():
        try:
            register_id = int(key, 16)
            number = int(value, 0) if isinstance(value, str) else value
        except ValueError:
            raise malformed(source, "a register id and a value", f"{key}: {shown(value)}") from None
        if not is_number(number, MAX_REGISTER_BITS) or not is_register_id(register_id):
            raise malformed(source, "a register id and a value", f"{key}: {shown(value)}")
        values[register_id] = (number, 0)
    return _capture(values, source, [], [])


def _capture(values: dict[int, Masked], source: Source, faults: list[InputError], notices: list[str]) -> Capture:
    """One vCPU for each architecture: ids of several come from several lists."""
    lists: dict[str, dict[int, Masked]] = {}
    for register_id, value in values.items():
        arch = architecture_name(register_id)
        lists.setdefault(arch if arch in ("x86", "riscv") else "arm64", {})[register_id] = value
    vcpus: list[Vcpu] = []
    for arch, own in lists.items():
        area = register_area(own, Origin(source.name, 0), "KVM registers", arch)
        vcpus.append(Vcpu(len(vcpus), "vcpu" if len(lists) == 1 else f"vcpu {arch}", arch, [area]))
    if "riscv" in lists:
        notices.append("registers of riscv are named, not decoded")
    return Capture(source.name, "kvm-registers", vcpus, faults=faults, notices=notices)
