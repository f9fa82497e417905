"""The notes of an ELF file: where each one is, found without reading what they hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from inspector.capture.errors import InputError
from inspector.readers.budget import Budget
from inspector.readers.source import Source
from layouts.light import NamedTuple

_PT_NOTE = 4
_PN_XNUM = 0xFFFF
_WINDOW_SIZE_BYTES = 1 << 16
_NAME_LIMIT_BYTES = 256
#: 50,000 threads with ten notes each.
_MAX_NOTES = 1 << 19
#: vm.max_map_count is at most 1,048,576 where distributions raise it; a mapping is a segment.
_MAX_SEGMENTS = 1 << 22
#: Linux and QEMU write one PT_NOTE, other systems a few.
_MAX_NOTE_SEGMENTS = 1 << 10
#: Notes end in zero bytes up to the next page or block, never in more.
_MAX_PADDING_BYTES = 1 << 20


class ElfHeader(NamedTuple):
    """What a reader needs of the ELF header. ``elf_class`` is 32 or 64."""

    elf_class: int
    type: int
    machine: int
    phoff: int
    phnum: int
    phentsize: int


class NoteAt(NamedTuple):
    """A note: its owner, number, and where its bytes are. ``present_bytes`` may be fewer than it says."""

    owner: str
    type: int
    offset: int
    size_bytes: int
    present_bytes: int


class Segment(NamedTuple):
    """A PT_NOTE segment."""

    offset: int
    size_bytes: int


def read_header(source: Source) -> ElfHeader:
    """The ELF header. Raises InputError when it is cut, big-endian or of an unknown class."""
    ident = source.read_exactly(0, 16, "an ELF identification")
    if ident[4] not in (1, 2):
        raise InputError(source.name, "ELF class 1 or 2", str(ident[4]), 4)
    if ident[5] != 1:
        raise InputError(source.name, "a little-endian ELF file (1)", str(ident[5]), 5)
    elf_class = 32 * ident[4]
    form = _HEADER[elf_class]
    raw = source.read_exactly(0, form.size, "an ELF header")
    kind, machine, phoff, shoff, phentsize, phnum = form.unpack(raw)
    if phnum == _PN_XNUM:
        phnum = _extended_phnum(source, _SECTION[elf_class], shoff)
    return ElfHeader(elf_class, kind, machine, phoff, phnum, phentsize)


def elf_name(field: str, number: int) -> str:
    """A number of the header with its name, where pyelftools has one: ``E_TYPE`` 2 is ``2 (ET_EXEC)``."""
    from elftools.elf import enums

    names = {value: name for name, value in getattr(enums, f"ENUM_{field}").items() if name != "_default_"}
    return f"{number} ({names[number]})" if number in names else str(number)


#: e_type, e_machine, e_phoff, e_shoff, e_phentsize, e_phnum of Elf32_Ehdr and Elf64_Ehdr (ELF gABI, chapter 4).
_HEADER = {32: struct.Struct("<16xHH8xII6xHH6x"), 64: struct.Struct("<16xHH12xQQ6xHH6x")}
#: sh_info of Elf32_Shdr and Elf64_Shdr.
_SECTION = {32: struct.Struct("<28xI8x"), 64: struct.Struct("<44xI16x")}


def _extended_phnum(source: Source, section: struct.Struct, shoff: int) -> int:
    """More than 65,534 segments: the number is in section 0 (ELF gABI, PN_XNUM)."""
    raw = source.read_exactly(shoff, section.size, "section header 0 with the number of segments")
    number: int = section.unpack(raw)[0]
    return number


def note_segments(source: Source, header: ElfHeader, faults: list[InputError]) -> list[Segment]:
    """All PT_NOTE segments; appends a fault when segments are cut off."""
    program = _PROGRAM[header.elf_class]
    size = program.size
    if header.phnum and header.phentsize != size:
        raise InputError(source.name, f"program headers of {size} bytes", str(header.phentsize), 54)
    phnum = min(header.phnum, _MAX_SEGMENTS)
    if phnum < header.phnum:
        expected = f"at most {_MAX_SEGMENTS} program headers"
        faults.append(InputError(source.name, expected, str(header.phnum), header.phoff))
    segments: list[Segment] = []
    end, end_what = 0, ""
    for first in range(0, phnum, 1024):
        count = min(1024, phnum - first)
        at = header.phoff + first * size
        raw = source.read(at, count * size)
        held = len(raw) // size
        for nth, (kind, offset, file_size) in enumerate(program.iter_unpack(raw[: held * size]), first):
            if kind == _PT_NOTE:
                segments.append(Segment(offset, file_size))
            elif file_size and offset + file_size > end:
                end, end_what = offset + file_size, f"segment {nth}"
        if held < count:
            expected = f"program header {first + held} of {header.phnum}"
            faults.append(InputError(source.name, expected, "the end of the file", at + len(raw)))
            break
        if len(segments) > _MAX_NOTE_SEGMENTS:
            expected = f"at most {_MAX_NOTE_SEGMENTS} PT_NOTE segments"
            faults.append(InputError(source.name, expected, "more", at))
            del segments[_MAX_NOTE_SEGMENTS:]
            break
    segments = _apart(source, segments, faults)
    if source.size is not None and end > source.size:
        faults.append(InputError(source.name, f"{end_what} up to {end:#x}", "the end of the file", source.size))
    return segments


#: p_type, p_offset and p_filesz of Elf32_Phdr and Elf64_Phdr: read for every segment, so without a parser.
_PROGRAM = {32: struct.Struct("<II8xI12x"), 64: struct.Struct("<I4xQ16xQ16x")}


def _apart(source: Source, segments: list[Segment], faults: list[InputError]) -> list[Segment]:
    """The segments without those that have bytes of another: a note is read once."""
    kept: set[int] = set()
    end = 0
    for nth in sorted(range(len(segments)), key=lambda nth: segments[nth].offset):
        segment = segments[nth]
        if segment.offset >= end or not segment.size_bytes:
            kept.add(nth)
            end = segment.offset + segment.size_bytes
    if len(kept) < len(segments):
        first = next(segment for nth, segment in enumerate(segments) if nth not in kept)
        faults.append(InputError(source.name, "a PT_NOTE with bytes of its own", "bytes of another", first.offset))
    return [segment for nth, segment in enumerate(segments) if nth in kept]


def note_budget(source: Source) -> Budget:
    """How many notes a file may have."""
    return Budget(source.name, "notes", records=_MAX_NOTES)


def iter_notes(source: Source, segment: Segment, faults: list[InputError], budget: Budget) -> Iterator[NoteAt]:
    """The notes of a segment in order; stops with a fault where they are cut or damaged, or too many."""
    owners: dict[bytes, str] = {}
    padding_at = -1
    at, end = segment.offset, segment.offset + segment.size_bytes
    held_to = 0 if source.size is None else min(end, source.size)
    window, window_at = b"", 0
    while at + 12 <= end:
        start = at - window_at
        if start < 0 or start + 12 + _NAME_LIMIT_BYTES > len(window):
            source.tell("looking for threads", at - segment.offset, segment.size_bytes)
            window, window_at, start = source.read(at, min(_WINDOW_SIZE_BYTES, end - at)), at, 0
        if len(window) < start + 12:
            faults.append(InputError(source.name, f"notes up to {end:#x}", "the end of the file", at))
            return
        name_size, size, number = struct.unpack_from("<III", window, start)
        if name_size > _NAME_LIMIT_BYTES:
            faults.append(InputError(source.name, "a note's name of at most 256 bytes", f"{name_size}", at))
            return
        if not (name_size or size or number):
            padding_at = at if padding_at < 0 else padding_at
            if at - padding_at > _MAX_PADDING_BYTES:
                faults.append(InputError(source.name, "a note", f"{at - padding_at} zero bytes", padding_at))
                return
            at += 12
            continue
        padding_at = -1
        try:
            budget.take(at)
        except InputError as error:
            faults.append(error)
            return
        raw = window[start + 12 : start + 12 + name_size]
        owner = owners.get(raw) or owners.setdefault(raw, raw.rstrip(b"\0").decode("latin-1"))
        data_at = at + 12 + (-(-name_size // 4) * 4)
        present = size if data_at + size <= held_to else _present(source, data_at, size, end)
        # As NoteAt(...), which would take a third of the time of a note.
        yield tuple.__new__(NoteAt, (owner, number, data_at, size, present))
        if present < size:
            found = f"{present} bytes before the end"
            faults.append(InputError(source.name, f"note {owner} {number:#x} of {size} bytes", found, data_at))
            return
        at = data_at + (-(-size // 4) * 4)


def _present(source: Source, at: int, size: int, end: int) -> int:
    """How many of a note's bytes are there, seen without reading them where the size is known."""
    limit = end if source.size is None else min(end, source.size)
    if at + size <= limit and source.size is None and len(source.read(at + size - 1, 1)) == 0 and size:
        return _present(source, at, size, end) if source.size is not None else 0
    return max(0, min(size, limit - at))
