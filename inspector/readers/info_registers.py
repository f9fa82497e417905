"""The text of QEMU's ``info registers`` (and ``-a``), x86 and arm64; also behind the prefixes of a log.

QEMU prints the same on "KVM internal error", and logs put a time stamp before each line. A line is read from
the first name on that QEMU prints.

``FPRn`` is QEMU's own register n: ST(n) under KVM, physical register n under TCG. Both are the same while TOP is 0,
and only KVM's error messages around the registers tell which it is; else the path is ``fpr[n]``, which no other format
has, so that nothing is compared with what it may not be.

Source: QEMU ``target/i386/cpu-dump.c``, ``target/arm/cpu.c`` (aarch64_cpu_dump_state).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from inspector.capture.errors import InputError
from inspector.capture.model import Capture, Vcpu
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import text_lines

_CPU = re.compile(r"CPU#(\d{1,9})(?!\d)")
_HEAD = re.compile(r"(?<![A-Za-z0-9])(?:[RE]AX=[0-9a-f]{8,16} [RE]BX=|PC=[0-9a-f]{16} +X00=)")
#: What only QEMU with KVM prints before the registers (accel/kvm/kvm-all.c).
_KVM = re.compile(r"KVM internal error|KVM: entry failed|kvm run failed", re.IGNORECASE)
_SEGMENT = re.compile(r"(ES|CS|SS|DS|FS|GS|LDT|TR|GDT|IDT) *= *((?:[0-9a-f]+ )*[0-9a-f]+)")
#: Z registers of more than 256 bits up to QEMU 8.0: ``Z00[3-2]=...``, and lines ``[1-0]=...`` behind it.
_Z_PART = re.compile(r"(?:Z(\d\d))?\[([0-9a-f])(?:-[0-9a-f])?\]=([0-9a-f]{16}(?::[0-9a-f]{16})*):?$")
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


#: Where QEMU's own text begins in a line.
_START = re.compile(
    r"(?<![A-Za-z0-9_.])(?:CPU#\d|(?:"
    + "|".join(sorted((*_SINGLE, "[ECSDFG]S", "LDT", "TR", "[GI]DT"), key=len, reverse=True))
    + r"|(?:FPR|"
    + "|".join(sorted(_NUMBERED, key=len, reverse=True))
    + r")\[?\d+\]?) *=|(?:Z\d\d)?\[[0-9a-f](?:-[0-9a-f])?\]=)"
)


def looks_like_registers(head: bytes) -> bool:
    """A line of general registers as QEMU prints it."""
    return bool(_HEAD.search(head.decode("latin-1")))


def read(source: Source, _options: Options) -> Capture:
    """One vCPU for each ``CPU#n``, or one when there is no such line."""
    return read_registers(source)


def read_registers(source: Source, *, is_kvm: bool | None = None) -> Capture:
    """The same, where somebody knows on which accelerator; else the text tells, or not.

    Raises InputError when no line names a register.
    """
    faults: list[InputError] = []
    vcpus, notices = cpus_of([line for _, line in text_lines(source, faults)], source.name, is_kvm=is_kvm)
    faults[:0] = [source.fault] if source.fault else []
    if not vcpus:
        raise (faults or [InputError(source.name, "registers", "none")])[0]
    return Capture(source.name, "info-registers", vcpus, faults=faults, notices=notices)


def cpus_of(lines: Sequence[str], file: str, *, is_kvm: bool | None = None) -> tuple[list[Vcpu], list[str]]:
    """The CPUs whose registers are in these lines, and what is to be said of them."""
    vcpus: list[Vcpu] = []
    turned: list[str] = []
    kvm = any(_KVM.search(line) for line in lines) if is_kvm is None else is_kvm
    for number, own in _by_cpu(lines):
        values = dict(_values(own))
        if values:
            if _name_x87(values, is_kvm=kvm):
                turned.append(f"cpu {number}")
            arch = "arm64" if "core.pc" in values else "x86"
            vcpus.append(Vcpu(len(vcpus), f"cpu {number}", arch, [named_area(values, file, "info registers")]))
    return vcpus, [f"{', '.join(turned[:3])}: {_X87_NOTICE}"] if turned else []


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


_X87_NOTICE = (
    "TOP is not 0, so fpr[n] is ST(n) if this is from KVM and ST((n - TOP) & 7) if from TCG: the text cannot tell"
)


def _name_x87(values: dict[str, Sized], *, is_kvm: bool) -> bool:
    """Call FPRn ``xsave.st[n]`` where that is sure; whether it is not."""
    if not any(path.startswith("fpr[") for path in values):
        return False
    top = values["xsave.legacy.fsw"][0] >> 11 & 7 if "xsave.legacy.fsw" in values else None
    if is_kvm or top == 0:
        renamed = {f"xsave.st{path[3:]}" if path.startswith("fpr[") else path: value for path, value in values.items()}
        values.clear()
        values.update(renamed)
    return not is_kvm and top != 0


def _values(lines: Iterable[str]) -> Iterator[tuple[str, Sized]]:
    """Path -> (value, bytes), in the order of the text."""
    pieces: dict[str, str] = {}
    name = ""
    for whole in lines:
        start = _START.search(whole)
        line = whole[start.start() :].rstrip() if start else ""
        part = _Z_PART.match(line)
        if part:
            name = part[1] or name
            yield from _join_parts(pieces, name, part)
            continue
        segment = _SEGMENT.match(line)
        if segment:
            yield from _segment(segment[1].lower(), segment[2].split())
            continue
        for found in _X87.finditer(line):
            yield f"fpr[{found[1]}]", (int(found[3] + found[2], 16), 10)
        if line.startswith("FPR"):
            continue
        for word, number, _, digits in _WORDS.findall(line):
            named = _named(word, number, digits)
            if named:
                yield named


def _join_parts(pieces: dict[str, str], name: str, part: re.Match[str]) -> Iterator[tuple[str, Sized]]:
    """A Z register once its lowest part is there; parts come highest first."""
    if part[1]:
        pieces[name] = ""
    if name in pieces:
        pieces[name] += part[3].replace(":", "")
        if "0" in part[0].split("]")[0].split("[")[1].split("-"):
            yield f"sve.z[{int(name)}]", (int(pieces[name], 16), len(pieces[name]) // 2)


def _segment(name: str, words: list[str]) -> Iterator[tuple[str, Sized]]:
    members = ("base", "limit") if name in ("gdt", "idt") else ("selector", "base", "limit", "flags")
    sizes = {"selector": 2, "base": 8, "limit": 4, "flags": 4}
    for member, word in zip(members, words, strict=False):
        yield f"sregs.{name}.{member}", (int(word, 16), sizes[member])


def _named(name: str, number: str, digits: str) -> tuple[str, Sized] | None:
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
