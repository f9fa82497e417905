"""CPUID leaves as text: ``cpuid -r``, InstLatx64 and libcpuid dumps, MSRs and arm64 ID registers with them.

Every line that is not empty is understood, or named in a notice; nothing is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from inspector.capture.errors import InputError, visible
from inspector.capture.host import Cpuid, CpuidValues, Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.readers import cpuid_lines
from inspector.readers.cpuid_lines import Heading, IdRegister, Leaf, Line, Msr, Word
from inspector.readers.cpuid_subleaves import numbered
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.synthesized import cpuid_area, msr_area, register_area
from layouts.arm64.hwcaps import is_shown_to_programs
from layouts.arm64.kvm_ids import id_of_name
from layouts.light import TYPE_CHECKING, partial

if TYPE_CHECKING:
    from typing import Any

MAX_SIZE_BYTES = 64 << 20
MAX_LINES = 1 << 20
MAX_LINE_BYTES = 1 << 12
_LINE = re.compile(rb"[^\r\n]+")
_TOLD = 24


class _Cpu:
    """The lines of one CPU, as they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.leaves: dict[tuple[int, int], CpuidValues] = {}
        #: Leaves without a sub-leaf number: values and line, in the order of the dump.
        self.open: dict[int, list[tuple[CpuidValues, int]]] = {}
        self.msrs: dict[int, int] = {}
        self.registers: dict[int, int] = {}

    def areas(self, file: str) -> list[Area]:
        origin = Origin(file, 0)
        areas = [cpuid_area(Cpuid(self.leaves), origin, "CPUID leaves")] if self.leaves else []
        if self.msrs:
            exact = {index: (value, 0) for index, value in self.msrs.items()}
            areas.append(msr_area(exact, origin, "model-specific registers"))
        if self.registers:
            values = {register_id: (value, 0) for register_id, value in self.registers.items()}
            areas.append(register_area(values, origin, "ID registers"))
        return areas


class Dump:
    """A dump being read: its CPUs, and what of it was not understood."""

    def __init__(self) -> None:
        self.cpus: dict[str, _Cpu] = {}
        self.words: list[str] = []
        self.faults: list[InputError] = []
        self.failed_msrs: set[int] = set()
        self.msrs_of_no_cpu = False
        self._current: _Cpu | None = None
        self._strange: list[int] = []
        self._first_strange = ""
        self._conflicts: list[int] = []
        self._unnumbered: list[int] = []

    def tables(self) -> dict[str, Cpuid]:
        """The CPUID tables by CPU."""
        return {cpu.name: Cpuid(cpu.leaves) for cpu in self.cpus.values() if cpu.leaves}

    def take(self, line: Line, number: int) -> None:
        """A line that was understood."""
        match line:
            case Word():
                self.words.append(line.text)
            case Heading():
                self._heading(line)
            case Leaf():
                self._leaf(line, number)
            case Msr(msr, None):
                self.failed_msrs.add(msr)
            case Msr(msr, value):
                self._set(self._cpu().msrs, msr, value, number)
            case IdRegister(register_id, value):
                self._set(self._cpu().registers, register_id, value, number)

    def strange(self, text: str, number: int) -> None:
        """A line that was not understood."""
        self._first_strange = self._first_strange or text
        self._strange.append(number)

    def _cpu(self) -> _Cpu:
        if self._current is None:
            self._current = self.cpus.setdefault("CPU", _Cpu("CPU"))
        return self._current

    def _heading(self, heading: Heading) -> None:
        if heading.machine:
            self.msrs_of_no_cpu = len(self.cpus) > 1
            self._current = next(iter(self.cpus.values()), None)
            return
        name = heading.name or f"CPU {len(self.cpus)}"
        self._current = self.cpus.setdefault(name, _Cpu(name))

    def _leaf(self, line: Leaf, number: int) -> None:
        cpu = self._cpu()
        if line.leaf == 0 and (0 in cpu.open or (0, 0) in cpu.leaves) and len(cpu.open) + len(cpu.leaves) > 1:
            name = f"CPU {len(self.cpus)}"
            cpu = self._current = self.cpus.setdefault(name, _Cpu(name))
        if line.subleaf is None:
            cpu.open.setdefault(line.leaf, []).append((line.values, number))
        else:
            self._set(cpu.leaves, (line.leaf, line.subleaf), line.values, number)

    def _set(self, into: dict[Any, Any], key: object, value: object, number: int) -> None:
        """The first value stays; a line that says another is told."""
        if into.setdefault(key, value) != value:
            self._conflicts.append(number)

    def finish(self) -> None:
        """Number the sub-leaves of lines that have no number."""
        for cpu in self.cpus.values():
            for leaf, rows in cpu.open.items():
                for subleaf, (values, number) in zip(numbered(leaf, [row[0] for row in rows]), rows, strict=True):
                    if subleaf is None:
                        self._unnumbered.append(number)
                    else:
                        self._set(cpu.leaves, (leaf, subleaf), values, number)
            cpu.leaves = dict(sorted(cpu.leaves.items()))

    def notices(self) -> list[str]:
        """What a user has to know of what was read."""
        found = []
        if self._unnumbered:
            found.append(f"{_lines(self._unnumbered)}: which sub-leaf it is cannot be told; left out")
        if self._conflicts:
            found.append(f"{_lines(self._conflicts)}: says another value than an earlier line; the earlier is taken")
        if self.msrs_of_no_cpu:
            found.append("the dump does not say of which CPU its MSRs are: they stand under the first")
        if self.failed_msrs:
            shown = ", ".join(f"{index:#x}" for index in sorted(self.failed_msrs)[:_TOLD])
            more = f" and {len(self.failed_msrs) - _TOLD} more" if len(self.failed_msrs) > _TOLD else ""
            found.append(f"MSRs that could not be read there, so not captured: {shown}{more}")
        if self._strange:
            found.append(f"{_lines(self._strange)}: not understood, not read; the first is {self._first_strange!r:.60}")
        if any(_is_programs_view(cpu.registers) for cpu in self.cpus.values()):
            found.append(
                "ID registers as Linux shows them to programs (no translation granule is supported): fields that it "
                "hides are 0 or their safe value, whatever the CPU has"
            )
        return [visible(notice) for notice in found]


def _is_programs_view(registers: dict[int, int]) -> bool:
    value = registers.get(id_of_name("ID_AA64MMFR0_EL1") or 0)
    return value is not None and is_shown_to_programs(value)


def _lines(numbers: Iterable[int]) -> str:
    """``line 3``, ``lines 3, 7-9``: ranges, and how many more."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
    rest = sum(high - low + 1 for low, high in ranges[_TOLD:])
    more = f" and {rest} more" if rest else ""
    plural = "" if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else "s"
    return f"line{plural} {', '.join(texts[:_TOLD])}{more}"


def _decoded(data: bytes) -> bytes:
    """UTF-16 with its mark as Latin-1: some dumps are saved so."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").encode("latin-1", "replace")
    return data.removeprefix(b"\xef\xbb\xbf")


def looks_like_cpuid_text(head: bytes) -> bool:
    """A leaf, an MSR or an ID register on a line of its own."""
    lines = (match[0][:MAX_LINE_BYTES].decode("latin-1").strip() for match in _LINE.finditer(_decoded(head[: 1 << 16])))
    return any(isinstance(cpuid_lines.parse_line(line), Leaf | Msr | IdRegister) for line in lines)


def parse(source: Source) -> Dump:
    """The dump of a text; its fault is the first line of data that cannot be read."""
    dump = Dump()
    if source.fault:
        dump.faults.append(source.fault)
    for number, at, text in _text_lines(source, dump.faults):
        line = cpuid_lines.parse_line(text) if len(text) < MAX_LINE_BYTES else None
        if line is not None:
            dump.take(line, number)
        elif text:
            dump.strange(text, number)
            if not dump.faults and cpuid_lines.broken(text):
                dump.faults.append(InputError(source.name, "a CPUID leaf or register", f"{text[:40]!r}", at))
    dump.finish()
    return dump


def _text_lines(source: Source, faults: list[InputError]) -> Iterator[tuple[int, int, str]]:
    """Number, offset and stripped text of the lines that are not empty; a fault when they are too many."""
    data = _decoded(source.read_all(MAX_SIZE_BYTES))
    number, end = 1, 0
    for count, match in enumerate(_LINE.finditer(data)):
        if count == MAX_LINES:
            faults.append(InputError(source.name, f"at most {MAX_LINES} lines", "more", match.start()))
            return
        number += data.count(b"\n", end, match.start())
        end = match.end()
        yield number, match.start(), match[0][:MAX_LINE_BYTES].decode("latin-1").strip()


def read(source: Source, _options: Options) -> Capture:
    """A dump as a capture with one vCPU for each CPU in it."""
    dump = parse(source)
    cpus = [cpu for cpu in dump.cpus.values() if cpu.leaves or cpu.msrs or cpu.registers]
    if not cpus:
        raise dump.faults[0] if dump.faults else InputError(source.name, "CPUID leaves", "none")
    is_arm64 = not any(cpu.leaves or cpu.msrs for cpu in cpus)
    vcpus = [
        Vcpu(index, cpu.name, "arm64" if is_arm64 else "x86", partial(cpu.areas, source.name))
        for index, cpu in enumerate(cpus)
    ]
    about = ", ".join(["ID registers of a CPU" if is_arm64 else "CPUID text", *dump.words])
    host = Host(cpuid=next(iter(dump.tables().values()), None), about=about)
    name = "arm-id-text" if is_arm64 else "cpuid-r"
    return Capture(source.name, name, vcpus, host=host, faults=dump.faults[:1], notices=dump.notices())
