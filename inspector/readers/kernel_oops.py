"""Registers in a Linux kernel log: an Oops, a panic, a lockup; x86 and arm64, with or without time stamps.

One vCPU for each dump of registers. x86 prints those of the kernel and, below the call trace, those of the user
program that called it. The instruction pointer is a symbol there: it has no number and is told as a notice.

Source: Linux ``arch/x86/kernel/process_64.c`` and ``process_32.c`` (__show_regs), ``arch/x86/kernel/dumpstack.c``
(show_iret_regs), ``arch/arm64/kernel/process.c`` (__show_regs).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture, Vcpu
from inspector.readers.named_values import Sized, named_area
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import text_lines

_MOST_DUMPS = 4096
#: Lines from the first of a dump to its last register, other messages between them.
_MOST_LINES = 100

_X86_START = re.compile(
    r"\b[RE]IP: (?:(?P<cs>[0-9a-f]{4}):)?(?:\[<(?P<old>[0-9a-f]+)>\]|(?P<number>0x[0-9a-f]+)|(?P<symbol>\S+))"
)
_ARM_START = re.compile(r"\bpstate ?: ?([0-9a-f]{8})\b")
_CPU = re.compile(r"\bCPU: ?(\d+) (?:UID: \d+ )?PID: ?(\d+) Comm: (\S+)")
_LOOKS = re.compile(
    r"\b(?:RIP: [0-9a-f]{4}:\S|RAX: [0-9a-f]{16} RBX: |EAX: [0-9a-f]{8} EBX: |pstate ?: ?[0-9a-f]{8} \()"
)

_WORD = re.compile(r"\b([RE][A-D]X|[RE][SD]I|[RE]BP|[RE]SP|R\d\d|CR[0-8]|DR[0-7]|PKRU|EFLAGS): ?([0-9a-f]{8,16})\b")
_STACK = re.compile(r"\bRSP: ([0-9a-f]{4}):([0-9a-f]{16})")
_BASES = re.compile(
    r"\bFS: +([0-9a-f]{16})\(([0-9a-f]{4})\) GS: ?([0-9a-f]{16})\(([0-9a-f]{4})\) knlGS: ?([0-9a-f]{16})"
)
_SELECTOR = re.compile(r"\b([CDEFGS]S): +([0-9a-f]{4})\b(?!:)")
_ARM_WORD = re.compile(r"\b(x\d\d?|sp|pc|lr) ?: ?([0-9a-f]{16})\b")
_ARM_SYMBOL = re.compile(r"\bpc : (\S+)")


class Dump(NamedTuple):
    """One dump of registers: whose, its values, and where it was if that is a symbol."""

    name: str
    arch: str
    values: dict[str, Sized]
    symbol: str


#: The first line of `dmesg` and of a console: a time since boot.
_STAMP = re.compile(r"\s*(?:<\d+>)?\[ *\d+\.\d{6}\]")


def looks_like_oops(head: bytes) -> bool:
    """A line as the kernel prints before or among registers, or a log that may have them further on."""
    text = head.decode("latin-1")
    return bool(_LOOKS.search(text) or _STAMP.match(text))


def read(source: Source, _options: Options) -> Capture:
    """Each dump of registers as a vCPU. Raises InputError when there is none."""
    faults: list[InputError] = []
    dumps = dumps_of(line for _, line in text_lines(source, faults))
    if not dumps:
        missing = InputError(source.name, "registers of an Oops or a panic", "a kernel log without any")
        raise source.fault or (faults or [missing])[0]
    vcpus = [
        Vcpu(number, dump.name, dump.arch, [named_area(dump.values, source.name, "kernel log")])
        for number, dump in enumerate(dumps)
    ]
    faults[:0] = [source.fault] if source.fault else []
    if len(dumps) == _MOST_DUMPS:
        faults.append(InputError(source.name, f"at most {_MOST_DUMPS} dumps of registers", "more"))
    notices = [
        f"{dump.name}: at {dump.symbol}, a symbol: its address is not in the text" for dump in dumps if dump.symbol
    ]
    return Capture(source.name, "kernel-oops", vcpus, faults=faults, notices=notices[:8])


def dumps_of(lines: Iterable[str]) -> list[Dump]:
    """The dumps in a log, as many as are kept."""
    dumps: list[Dump] = []
    for dump in _dumps(lines):
        # The kernel repeats the registers behind "end trace".
        if dump.values and not any(dump.values == other.values for other in dumps[-2:]):
            dumps.append(dump)
        if len(dumps) == _MOST_DUMPS:
            break
    return dumps


def _dumps(lines: Iterable[str]) -> Iterator[Dump]:
    owner, dump, last = "", None, 0
    for number, line in enumerate(lines):
        found = _CPU.search(line) if "CPU: " in line else None
        if found:
            owner = visible(f"cpu {found[1]}, {found[3]} {found[2]}")
        started = _start(line, owner)
        if started is not None:
            if dump is not None:
                yield dump
            dump, last = started, number + _MOST_LINES
        if dump is not None and number <= last:
            dump.values.update(_x86(line) if dump.arch == "x86" else _arm64(line))
            if dump.arch == "arm64" and not dump.symbol and "core.pc" not in dump.values:
                symbol = _ARM_SYMBOL.search(line)
                dump = dump._replace(symbol=visible(symbol[1])) if symbol else dump
    if dump is not None:
        yield dump


def _start(line: str, owner: str) -> Dump | None:
    """The first line of a dump: the instruction pointer on x86, PSTATE on arm64."""
    arm = _ARM_START.search(line) if "pstate" in line else None
    if arm:
        return Dump(owner or "cpu", "arm64", {"core.pstate": (int(arm[1], 16), 8)}, "")
    x86 = _X86_START.search(line) if "IP: " in line else None
    if not x86:
        return None
    values: dict[str, Sized] = {}
    selector = int(x86["cs"], 16) if x86["cs"] else None
    if selector is not None:
        values["sregs.cs.selector"] = (selector, 2)
    number = x86["old"] or x86["number"]
    if number:
        values["regs.rip"] = (int(number, 16), 8)
    user = selector is not None and selector & 3 == 3
    name = (owner or "cpu") + (", user registers" if user else "")
    return Dump(name, "x86", values, "" if number else visible(x86["symbol"]))


def _x86(line: str) -> Iterator[tuple[str, Sized]]:
    stack = _STACK.search(line)
    if stack:
        yield "sregs.ss.selector", (int(stack[1], 16), 2)
        yield "regs.rsp", (int(stack[2], 16), 8)
    bases = _BASES.search(line)
    if bases:
        yield "sregs.fs.base", (int(bases[1], 16), 8)
        yield "sregs.fs.selector", (int(bases[2], 16), 2)
        yield "sregs.gs.base", (int(bases[3], 16), 8)
        yield "sregs.gs.selector", (int(bases[4], 16), 2)
        yield "msr.IA32_KERNEL_GS_BASE", (int(bases[5], 16), 8)
    else:
        for name, value in _SELECTOR.findall(line):
            yield f"sregs.{name.lower()}.selector", (int(value, 16), 2)
    for name, value in _WORD.findall(line):
        yield _x86_path(name), (int(value, 16), 4 if name == "PKRU" else 8)


def _x86_path(name: str) -> str:
    if name == "EFLAGS":
        return "regs.rflags"
    if name == "PKRU":
        return "xsave.pkru.pkru"
    if name.startswith("CR"):
        return f"sregs.{name.lower()}"
    if name.startswith("DR"):
        number = int(name[2:])
        return f"debugregs.db[{number}]" if number < 4 else f"debugregs.dr{number}"
    return f"regs.r{int(name[1:])}" if name[1:].isdigit() else f"regs.r{name[1:].lower()}"


def _arm64(line: str) -> Iterator[tuple[str, Sized]]:
    for name, value in _ARM_WORD.findall(line):
        path = f"core.x[{30 if name == 'lr' else int(name[1:])}]" if name not in ("sp", "pc") else f"core.{name}"
        yield path, (int(value, 16), 8)
