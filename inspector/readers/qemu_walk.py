"""A QEMU stream without its description: walk it forward, RAM by its own record sizes.

Device sections do not say how long they are. Behind the RAM the ``cpu`` sections are looked for
and taken apart with the fields that QEMU declares (``layouts/files/data/qemu-cpu.json``); other
devices are passed over. A subsection that the table lacks is stepped over to the next one or to the
section's footer: what lies before and behind it is shown, and a fault names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from inspector.capture.attributes import SectionRow as Row
from inspector.capture.errors import InputError, visible
from inspector.readers.budget import Budget
from inspector.readers.source import Source
from layouts.data import data_table
from layouts.files import qemu
from layouts.light import cache

_DEVICES_LIMIT_BYTES = 64 << 20
#: Pages of 64 GiB. What is read record by record costs as much as several pages.
_MAX_RAM_RECORDS = 1 << 24
_SLOW_RECORD = 8
#: Records without a page (a round's end, a hook) come once in many pages.
_RARE_RECORD = 64
#: A cpu section has 1,000 to 2,500 rows. What only looks like one is rare, so it and its rows cost more.
_MAX_ROWS = 1 << 21
_MISS = 1024
_ROW_OF_MISS = 16
#: Bytes that are looked through behind an unknown subsection, for the price of a row.
_BYTES_OF_ROW = 64
_WINDOW_SIZE_BYTES = 1 << 20
_CPU = re.compile(rb"\x04(....)\x03cpu(....)(....)", re.DOTALL)
#: The header of a subsection of a cpu: 05, length, name, version.
_SUBSECTION = re.compile(rb"\x05(.)(cpu/[\x21-\x7e]{1,60})", re.DOTALL)
_MOST_CPUS = 1 << 16


class Section(NamedTuple):
    """A device section: its name, instance, version, and where its payload is."""

    name: str
    instance: int
    version: int
    offset: int
    size_bytes: int
    rows: list[Row]


class _MismatchError(Exception):
    """The bytes are not what the known description says."""


@cache
def _known() -> dict[str, Any]:
    known: dict[str, Any] = data_table("files/data/qemu-cpu.json")
    known["i386"]["subsections"] = known["x86"]["subsections"] | known["i386"]["subsections"]
    return known


def walk_forward(source: Source, base: int) -> tuple[list[Section], list[InputError]]:
    """The cpu sections of a stream without description, and what could not be read."""
    try:
        devices_at = _skip_ram(source, base)
    except InputError as error:
        return [], [error]
    tail = source.read(devices_at, _DEVICES_LIMIT_BYTES)
    sections: list[Section] = []
    faults: list[InputError] = []
    budget = Budget(source.name, "fields of cpu sections", records=_MAX_ROWS)
    at = 0
    while match := _CPU.search(tail, at):
        at = match.end()
        try:
            section = _cpu_section(source, tail, match, devices_at, faults, budget)
        except InputError as error:
            where = devices_at + (error.offset or 0)
            faults.append(InputError(error.file, error.expected, error.found, where))
            break
        if section is not None:
            if sections and sections[-1].rows == section.rows:
                # Equal rows are held once, however many CPUs there are.
                section = section._replace(rows=sections[-1].rows)
            sections.append(section._replace(offset=devices_at + match.end()))
    if sections or faults:
        return sections, faults
    return [], [InputError(source.name, "a cpu section of a known layout", "none", devices_at)]


def _cpu_section(
    source: Source, tail: bytes, match: re.Match[bytes], devices_at: int, faults: list[InputError], budget: Budget
) -> Section | None:
    """A section whose bytes fit one of the known descriptions; appends what does not."""
    instance, version = int.from_bytes(match[2], "big"), int.from_bytes(match[3], "big")
    if instance >= _MOST_CPUS:
        return None
    for known in _known().values():
        if version != known["cpu"]["version"]:
            continue
        parser = _Parser(tail, match.end(), known["subsections"], b"\x7e" + match[1], budget)
        try:
            parser.section(known["cpu"])
        except _MismatchError:
            budget.take(match.start(), _ROW_OF_MISS * len(parser.rows))
            continue
        for name, at in parser.unknown:
            expected = f"a subsection of cpu {instance} that is known here"
            faults.append(InputError(source.name, expected, f"{visible(name)}, not shown", devices_at + at))
        return Section("cpu", instance, version, 0, parser.at - match.end(), parser.rows)
    budget.take(match.start(), _MISS)
    expected = f"cpu {instance} as QEMU 5.2 to 11.1 writes it"
    faults.append(InputError(source.name, expected, f"version {version} of another layout", devices_at + match.start()))
    return None


class _Parser:
    """Steps over a payload by a known description.

    ``unknown`` are the subsections that it lacks, or whose bytes are cut, with their offsets.
    """

    def __init__(self, data: bytes, start: int, subsections: dict[str, Any], footer: bytes, budget: Budget) -> None:
        self.data = data
        self.budget = budget
        self.start = start
        self.at = start
        self.subsections = subsections
        self.footer = footer
        self.rows: list[Row] = []
        self.numbers: dict[str, int] = {}
        self.unknown: list[tuple[str, int]] = []

    def section(self, description: dict[str, Any]) -> None:
        """The main fields and all subsections; raises _MismatchError when no cpu section lies here."""
        self._fields(description, "cpu", "")
        while self.data[self.at : self.at + 5] != self.footer:
            header = _SUBSECTION.match(self.data, self.at)
            if header is None or len(header[2]) < header[1][0]:
                if self.at < len(self.data) and not self.unknown:
                    raise _MismatchError("neither a subsection nor the footer")
                return
            self._subsection(header[2][: header[1][0]].decode("latin-1"))

    def _subsection(self, name: str) -> None:
        at, length = self.at, 2 + len(name) + 4
        known = self.subsections.get(name)
        kept = len(self.rows)
        self.rows.append((name, "header", qemu.SUBSECTION_HEADER, at - self.start, length, 1))
        self.at += length
        if known is not None:
            try:
                self._fields(known, name, "")
            except _MismatchError:
                known = None
        if known is None:
            del self.rows[kept:]
            self.unknown.append((name, at))
            self.at = self._next_boundary(at + length)

    def _next_boundary(self, at: int) -> int:
        """Where the next known subsection or the footer begins; the end of the data when neither does."""
        footer = self.data.find(self.footer, at)
        end = footer if footer >= 0 else len(self.data)
        self.budget.take(at, _MISS + (end - at) // _BYTES_OF_ROW)
        for header in _SUBSECTION.finditer(self.data, at, end):
            if header[2][: header[1][0]].decode("latin-1") in self.subsections:
                return header.start()
        return end

    def _fields(self, description: dict[str, Any], section: str, prefix: str) -> None:
        for field in description["fields"]:
            self.budget.take(self.at)
            name = field["name"] + (f"[{field['index']}]" if "index" in field else "")
            size, count = field["size"], field.get("array_len", 1)
            if isinstance(count, str):
                count = self.numbers[count]
            if not 0 <= count <= 1 << 16 or self.at + size * count > len(self.data):
                raise _MismatchError(name)
            inner = field.get("struct")
            if inner and not _is_vector(inner):
                for nth in range(count):
                    label = f"{name}[{nth}]" if "array_len" in field else name
                    self._fields(inner, section, f"{prefix}{label}.")
                continue
            self.rows.append((section, prefix + name, field.get("type", ""), self.at - self.start, size, count))
            if field.get("type") == "int32":
                self.numbers[name] = int.from_bytes(self.data[self.at : self.at + 4], "big")
            self.at += size * count


def _is_vector(inner: dict[str, Any]) -> bool:
    names = [field["name"] for field in inner["fields"]]
    return all(name.startswith("_q_ZMMReg") or name in ("d", "p") for name in names)


def _skip_ram(source: Source, base: int) -> int:
    """The offset behind the last RAM record: where device sections begin."""
    at = base + 8
    mapped = False
    names: dict[int, str] = {}
    budget = Budget(source.name, "records before the devices", records=_MAX_RAM_RECORDS)
    while True:
        budget.take(at, _SLOW_RECORD)
        head = source.read_exactly(at, 1, "a record of the stream")[0]
        if head == qemu.CONFIGURATION:
            at, mapped = _skip_configuration(source, at, budget)
        elif head in (qemu.SECTION_START, qemu.SECTION_FULL):
            identity, name, payload = _section_head(source, at)
            names[identity] = name
            if head == qemu.SECTION_FULL:
                return at
            at = _skip_section(source, payload, name, budget, mapped=mapped)
        elif head in (qemu.SECTION_PART, qemu.SECTION_END):
            identity = int.from_bytes(source.read_exactly(at + 1, 4, "a section number"), "big")
            at = _skip_section(source, at + 5, names.get(identity, "?"), budget, mapped=mapped)
        elif head == qemu.COMMAND:
            at += 5 + int.from_bytes(source.read_exactly(at + 3, 2, "a command's length"), "big")
        else:
            raise InputError(source.name, "a record of a QEMU stream", f"{head:#04x}", at)


def _section_head(source: Source, at: int) -> tuple[int, str, int]:
    head = source.read_exactly(at, 6, "a section header")
    length = head[5]
    name = source.read_exactly(at + 6, length, "a section name").decode("latin-1")
    return int.from_bytes(head[1:5], "big"), visible(name), at + 6 + length + 8


def _skip_configuration(source: Source, at: int, budget: Budget) -> tuple[int, bool]:
    """Behind the configuration, and whether RAM pages lie at fixed offsets (mapped-ram)."""
    mapped = False
    length = int.from_bytes(source.read_exactly(at + 1, 4, "the machine's name"), "big")
    at += 5 + length
    while source.read(at, 1) == b"\x05":
        budget.take(at, _SLOW_RECORD)
        size = source.read_exactly(at + 1, 1, "a subsection's name")[0]
        name = source.read_exactly(at + 2, size, "a subsection's name")
        at += 2 + size + 4
        end = at + _configuration_size(source, at, name)
        mapped = mapped or b"mapped-ram" in source.read(at, end - at)
        at = end
    return at, mapped


def _configuration_size(source: Source, at: int, name: bytes) -> int:
    if name == b"configuration/target-page-bits":
        return 4
    if name == b"configuration/uuid":
        return 16
    count = int.from_bytes(source.read_exactly(at, 4, "a count of capabilities"), "big")
    size = 4
    for _ in range(min(count, 256)):
        size += 1 + source.read_exactly(at + size, 1, "a capability")[0]
    return size


def _skip_section(source: Source, at: int, name: str, budget: Budget, *, mapped: bool) -> int:
    """Behind an iterative section: only RAM is known."""
    if name != "ram":
        raise InputError(source.name, "RAM, the one iterative section that says its sizes", name, at)
    at = _skip_pages(source, at, budget, mapped=mapped)
    footer = source.read_exactly(at, 5, "a section footer")
    if footer[0] != qemu.FOOTER:
        raise InputError(source.name, "a section footer (0x7e)", f"{footer[0]:#04x}", at)
    return at + 5


def _skip_pages(source: Source, at: int, budget: Budget, *, mapped: bool) -> int:
    for word, position in _words(source, at, budget, mapped=mapped):
        if word & qemu.RAM_EOS:
            return position
    raise InputError(source.name, "the end of a RAM section", "the end of the file", at)


def _words(source: Source, at: int, budget: Budget, *, mapped: bool) -> Iterator[tuple[int, int]]:
    """Flag words of a RAM section and the offset behind each record."""
    page_bytes = 4096
    window, start = b"", at
    records = 0
    while True:
        records += 1
        if at - start + 4096 > len(window):
            budget.take(at, records)
            records = 0
            window, start = source.read(at, _WINDOW_SIZE_BYTES), at
            source.tell("walking RAM", at, source.size or 0)
        here = at - start
        if here + 8 > len(window):
            return
        word = int.from_bytes(window[here : here + 8], "big")
        at += 8
        here += 8
        if word & qemu.RAM_MEM_SIZE:
            at = _skip_blocks(source, at, word & ~0xFFF, budget, mapped=mapped)
        elif word & (qemu.RAM_ZERO | qemu.RAM_PAGE | qemu.RAM_XBZRLE):
            if not word & qemu.RAM_CONTINUE:
                # A record's head is in the window; what the file lacks of it has no length.
                at += 1 + int.from_bytes(window[here : here + 1], "big")
                here = at - start
            if word & qemu.RAM_ZERO:
                at += 1
            elif word & qemu.RAM_PAGE:
                at += page_bytes
            else:
                at += 3 + int.from_bytes(window[here + 1 : here + 3], "big")
        elif not word & (qemu.RAM_EOS | qemu.RAM_HOOK | qemu.RAM_MULTIFD_FLUSH):
            raise InputError(source.name, "a RAM record", f"flags {word & 0xFFF:#x}", at - 8)
        else:
            records += _RARE_RECORD
        yield word & 0xFFF, at


def _skip_blocks(source: Source, at: int, total: int, budget: Budget, *, mapped: bool) -> int:
    """The list of RAM blocks: name and length each, until all memory is named.

    With mapped-ram a header follows (version, page size, bitmap and pages offset), and the
    stream goes on behind the block's pages (QEMU docs/devel/migration/mapped-ram.rst).
    """
    while total > 0:
        budget.take(at, _SLOW_RECORD)
        length = source.read_exactly(at, 1, "a RAM block")[0]
        used = int.from_bytes(source.read_exactly(at + 1 + length, 8, "a RAM block's length"), "big")
        at += 1 + length + 8
        total -= used
        if mapped:
            header = source.read_exactly(at, 28, "a mapped-ram header")
            pages = int.from_bytes(header[20:28], "big")
            if pages < at:
                raise InputError(source.name, "pages behind their header", f"{pages:#x}", at + 20)
            at = pages + used
    return at
