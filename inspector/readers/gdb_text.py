"""Registers as gdb prints them: ``info registers``, ``info all-registers``, of every thread or CPU.

One vCPU for each ``Thread N`` (``thread apply all``), or one. What gdb puts together from others (``eax``, ``d0``) and
what QEMU's stub makes up (``ftag``, ``fioff``) is passed over.

Source: GDB 16 ``gdb/infcmd.c`` (default_print_one_register_info) and its ``features/i386``, ``features/aarch64*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from inspector.capture.errors import InputError
from inspector.capture.model import Capture, Vcpu
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import text_lines
from layouts.arm64.kvm_ids import id_of_name

_LOOKS = re.compile(r"^(?:rax|eax|x0) +0x[0-9a-f]+ +\S.*\n(?:rbx|ecx|x1) +0x", re.MULTILINE)
_THREAD = re.compile(r"Thread (\d{1,9}(?:\.\d{1,9})?)(?!\d).*:")
_ROW = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,31}) +(.+)")
_NUMBER = re.compile(r"0x([0-9a-f]+)\b")
_RAW = re.compile(r"\(raw 0x([0-9a-f]{1,20})\)")
#: A whole vector as its widest integers, low one first; gdb names them after their number or Q.
_WIDEST = re.compile(r"(?:v4_int128|v2_int128|uint128|q = \{u) = (\{[^{}]*\}|0x[0-9a-f]+)")
_ITEM = re.compile(r"0x([0-9a-f]+)(?: <repeats (\d{1,9}) times>)?")
_MOST_ITEMS = 256

_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")
#: gdb's name -> path and bytes.
SINGLE = {
    **{f"{wide}{name}": (f"regs.r{name}", 8) for wide in "re" for name in ("ax", "bx", "cx", "dx", "si", "di")},
    **{f"{wide}{name}": (f"regs.r{name}", 8) for wide in "re" for name in ("bp", "sp", "ip")},
    **{f"r{n}": (f"regs.r{n}", 8) for n in range(8, 16)},
    **{f"r{n}": (f"xsave.apx.r[{n}]", 8) for n in range(16, 32)},
    **{name: (f"sregs.{name}.selector", 2) for name in _SEGMENTS},
    **{f"cr{n}": (f"sregs.cr{n}", 8) for n in (0, 2, 3, 4, 8)},
    **{f"k{n}": (f"xsave.opmask.k[{n}]", 8) for n in range(8)},
    "eflags": ("regs.rflags", 8),
    **{f"{name}_base": (f"sregs.{name}.base", 8) for name in _SEGMENTS},
    "k_gs_base": ("msr.IA32_KERNEL_GS_BASE", 8),
    "efer": ("sregs.efer", 8),
    "fctrl": ("xsave.legacy.fcw", 2),
    "fstat": ("xsave.legacy.fsw", 2),
    "mxcsr": ("xsave.legacy.mxcsr", 4),
    "pkru": ("xsave.pkru.pkru", 4),
    **{f"x{n}": (f"core.x[{n}]", 8) for n in range(31)},
    "sp": ("core.sp", 8),
    "pc": ("core.pc", 8),
    "cpsr": ("core.pstate", 8),
    "fpsr": ("core.fpsr", 4),
    "fpcr": ("core.fpcr", 4),
    "svcr": ("svcr", 8),
    "tpidr": ("sysreg.TPIDR_EL0", 8),
    "tpidr2": ("sysreg.TPIDR2_EL0", 8),
}
#: Vectors: gdb's name without its number -> path.
VECTORS = {"xmm": "xsave.xmm", "ymm": "xsave.ymm", "zmm": "xsave.zmm", "v": "core.v", "z": "sve.z"}


def looks_like_gdb(head: bytes) -> bool:
    """The first general registers, one a line: name, hexadecimal, natural."""
    return bool(_LOOKS.search(head[:16384].decode("latin-1")))


def read(source: Source, _options: Options) -> Capture:
    """One vCPU a thread; raises InputError when no line names a register."""
    faults: list[InputError] = []
    vcpus: list[Vcpu] = []
    for name, lines in _by_thread(line for _, line in text_lines(source, faults)):
        values = dict(_values(lines))
        if values:
            arch = "arm64" if "core.pc" in values else "x86"
            vcpus.append(Vcpu(len(vcpus), name, arch, [named_area(values, source.name, "gdb's registers")]))
    faults[:0] = [source.fault] if source.fault else []
    if not vcpus:
        raise (faults or [InputError(source.name, "registers as gdb prints them", "none")])[0]
    return Capture(source.name, "gdb-registers", vcpus, faults=faults)


def _by_thread(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines of each thread behind its heading; of what is before the first one as those of ``thread``."""
    name, held = "thread", [""]
    for line in lines:
        head = _THREAD.fullmatch(line)
        if head:
            yield name, held
            name, held = f"thread {head[1]}", []
        else:
            held.append(line)
    yield name, held


def _values(lines: Iterable[str]) -> Iterator[tuple[str, Sized]]:
    """Path -> (value, bytes), in the order of the text."""
    for row in filter(None, map(_ROW.fullmatch, lines)):
        name, rest = row[1], row[2]
        known = SINGLE.get(name) or (system_register(name) if name[0].isupper() else None)
        kind, number = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
        if known:
            found = _NUMBER.match(rest)
            if found:
                yield known[0], (int(found[1], 16), known[1])
        elif kind == "st" and number.isdigit() and (raw := _RAW.search(rest)):
            yield f"xsave.st[{int(number)}]", (int(raw[1], 16), 10)
        elif kind in VECTORS and number.isdigit() and (whole := _WIDEST.search(rest)):
            yield f"{VECTORS[kind]}[{int(number)}]", _joined(whole[1], 16)
        elif ((kind == "p" and number.isdigit()) or name == "ffr") and rest.startswith("{0x"):
            yield "sve.ffr" if name == "ffr" else f"sve.p[{int(number)}]", _joined(rest.partition("}")[0], 1)


def system_register(name: str) -> tuple[str, int] | None:
    """Path and bytes of a system register by its Arm name."""
    return (f"sysreg.{name}", 8) if id_of_name(name) else None


def _joined(text: str, item_bytes: int) -> Sized:
    """The elements of an array, low one first, as one number."""
    value, at = 0, 0
    for digits, repeats in _ITEM.findall(text):
        for _ in range(min(int(repeats or 1), _MOST_ITEMS)):
            if at < _MOST_ITEMS * item_bytes:
                value |= int(digits, 16) << 8 * at
                at += item_bytes
    return value, max(at, item_bytes)
