"""The text of QEMU's ``info registers`` (and ``-a``), x86 and arm64.

Source: QEMU ``target/i386/cpu-dump.c``, ``target/arm/cpu.c`` (aarch64_cpu_dump_state).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from inspector.capture.errors import InputError
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import text_lines

_CPU = re.compile(r"CPU#(\d{1,9})(?!\d)")
_HEAD = re.compile(r"^[ \t]*+(?:CPU#\d+\s++)?(?:[RE]AX=[0-9a-f]{8,16} [RE]BX=|PC=[0-9a-f]{16} +X00=)", re.MULTILINE)
_SEGMENT = re.compile(r"(ES|CS|SS|DS|FS|GS|LDT|TR|GDT|IDT) *= *((?:[0-9a-f]+ )*[0-9a-f]+)")
_X87 = re.compile(r"FPR([0-7])=([0-9a-f]{16}) ([0-9a-f]{4})")
_WORDS = re.compile(
    r"(?<![A-Za-z0-9])([A-Za-z][A-Za-z0-9]{0,15}?)(\[\d{1,3}\]|\d{1,3})? *+= *+(0x)?"
    r"([0-9a-f]+(?:[: ][0-9a-f]{16}(?![0-9a-f]))*)(?![0-9A-Za-z])"
)

_GPRS = ("AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP", "IP")
#: QEMU's name -> path and bytes (0: as many as there are digits).
_SINGLE = {
    **{f"{wide}{name}": (f"regs.r{name.lower()}", 8) for wide in "RE" for name in _GPRS},
    "RFL": ("regs.rflags", 8),
    "EFL": ("regs.rflags", 8),
    "EFER": ("sregs.efer", 8),
    "FCW": ("xsave.legacy.fcw", 2),
    "FSW": ("xsave.legacy.fsw", 2),
    "FTW": ("xsave.legacy.ftw", 1),
    "MXCSR": ("xsave.legacy.mxcsr", 4),
    "XCR0": ("xcr.xcr0", 8),
    "PKRU": ("xsave.pkru.pkru", 4),
    "PC": ("core.pc", 8),
    "SP": ("core.sp", 8),
    "PSTATE": ("core.pstate", 8),
    "FPCR": ("core.fpcr", 4),
    "FPSR": ("core.fpsr", 4),
    "FPMR": ("sysreg.FPMR", 8),
    "SVCR": ("svcr", 8),
    "FFR": ("sve.ffr", 0),
}
#: Names with a number -> path and bytes.
_NUMBERED = {
    "R": ("regs.r{n}", 8),
    "CR": ("sregs.cr{n}", 8),
    "DR": ("debugregs.{dr}", 8),
    "XMM": ("xsave.xmm[{n}]", 16),
    "YMM": ("xsave.ymm[{n}]", 32),
    "ZMM": ("xsave.zmm[{n}]", 64),
    "Opmask": ("xsave.opmask.k[{n}]", 8),
    "X": ("core.x[{n}]", 8),
    "Q": ("core.v[{n}]", 16),
    "Z": ("sve.z[{n}]", 0),
    "P": ("sve.p[{n}]", 0),
    "ZA": ("za.row[{n}]", 0),
    "ZT": ("zt0", 64),
}


def looks_like_registers(head: bytes) -> bool:
    """A line of general registers as QEMU prints it."""
    return bool(_HEAD.search(head[:16384].decode("latin-1")))


def read(source: Source, _options: Options) -> Capture:
    """One vCPU for each ``CPU#n``, or one when there is no such line."""
    faults: list[InputError] = []
    vcpus: list[Vcpu] = []
    for number, lines in _by_cpu(line for _, line in text_lines(source, faults)):
        values = dict(_values(lines))
        if values:
            arch = "arm64" if "core.pc" in values else "x86"
            vcpus.append(Vcpu(len(vcpus), f"cpu {number}", arch, [_area(values, source)]))
    faults[:0] = [source.fault] if source.fault else []
    if not vcpus:
        raise (faults or [InputError(source.name, "registers", "none")])[0]
    return Capture(source.name, "info-registers", vcpus, faults=faults)


def _by_cpu(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines of each CPU behind its ``CPU#n``, and of what is before the first one as CPU 0's."""
    number, held = 0, [""]
    for line in lines:
        at = 0
        for match in _CPU.finditer(line):
            held.append(line[at : match.start()])
            yield number, held
            number, held, at = int(match[1]), [], match.start()
        held.append(line[at:])
    yield number, held


def _area(values: dict[str, tuple[int, int]], source: Source) -> Area:
    rows = [
        [path, "x87" if path.startswith("xsave.st[") else _kind(path, size), size] for path, (_, size) in values.items()
    ]
    data = b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value, size in values.values())
    origin = Origin(source.name, 0)
    title = "info registers"
    return Area("named-values", "registers", title, data, origin, attributes={"synthesized": True, "named": rows})


def _kind(path: str, size: int) -> str:
    if path.startswith("xsave.st["):
        return "x87"
    if path.startswith(("sve.p[", "sve.ffr")):
        return "predicate"
    return "vector" if size >= 16 else "uint"


def _values(lines: Iterable[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Path -> (value, bytes), in the order of the text."""
    for line in lines:
        segment = _SEGMENT.match(line.strip())
        if segment:
            yield from _segment(segment[1].lower(), segment[2].split())
            continue
        for found in _X87.finditer(line):
            yield f"xsave.st[{found[1]}]", (int(found[3] + found[2], 16), 10)
        if line.startswith("FPR"):
            continue
        for name, number, _, digits in _WORDS.findall(line):
            named = _named(name, number, digits)
            if named:
                yield named


def _segment(name: str, words: list[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    members = ("base", "limit") if name in ("gdt", "idt") else ("selector", "base", "limit", "flags")
    sizes = {"selector": 2, "base": 8, "limit": 4, "flags": 4}
    for member, word in zip(members, words, strict=False):
        yield f"sregs.{name}.{member}", (int(word, 16), sizes[member])


def _named(name: str, number: str, digits: str) -> tuple[str, tuple[int, int]] | None:
    hexadecimal = digits.replace(":", "").replace(" ", "")
    if not number:
        known = _SINGLE.get(name)
        path = known[0] if known else ""
    else:
        known = _NUMBERED.get(name)
        n = int(number.strip("[]"))
        dr = f"db[{n}]" if n < 4 else f"dr{n}"
        path = known[0].format(n=n, dr=dr) if known else ""
        if name == "R" and n >= 16:
            path = f"xsave.apx.r[{n}]"
    if known is None:
        return None
    size = known[1] or -(-len(hexadecimal) // 2)
    return path, (int(hexadecimal, 16), size)
