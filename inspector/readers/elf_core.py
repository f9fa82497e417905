"""ELF cores of processes: every thread with its registers, found through the notes alone.

Threads begin at each NT_PRSTATUS. Which layout a note has is data: ``layouts.files.elf``.
"""

from __future__ import annotations

from inspector.capture.attributes import Attributes, XsaveTable
from inspector.capture.errors import InputError
from inspector.capture.host import Host
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.placement import table_from_note
from inspector.readers.budget import AREA_LIMIT_BYTES, VCPU_LIMIT_BYTES
from inspector.readers.elf_notes import (
    ElfHeader,
    NoteAt,
    Segment,
    elf_name,
    iter_notes,
    note_budget,
    note_segments,
    read_header,
)
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.xsave_area import choose_table, xsave_area
from layouts.files.elf import (
    EM_386,
    EM_AARCH64,
    EM_ARM,
    EM_RISCV,
    EM_X86_64,
    NOTES,
    NT_ARM_TLS,
    NT_PRSTATUS,
    NT_X86_XSAVE_LAYOUT,
    Note,
)
from layouts.light import NamedTuple, partial
from layouts.registry import layout_named, size_bytes
from layouts.x86.xsave import EXTENDED_OFFSET

_ET_CORE = 4
_ARCH = {EM_X86_64: "x86", EM_386: "x86", EM_AARCH64: "arm64", EM_RISCV: "riscv"}
_PID_OFFSET = {64: 32, 32: 24}

_BEGINS_THREAD = ("CORE", NT_PRSTATUS)

#: Linux writes up to 20 notes a thread, and fewer for the process.
_MAX_THREAD_NOTES = 1024
_VECTOR_LAYOUTS = ("arm64-sve", "arm64-za")
_VECTOR_PREFIXES = {"NT_ARM_SVE": "sve", "NT_ARM_SSVE": "ssve", "NT_ARM_ZA": "za"}


def _fits(layout: str, note_size_bytes: int) -> bool:
    """The note has the layout's size; NT_ARM_TLS grew by TPIDR2_EL0 with SME (Linux 5.19)."""
    return size_bytes(layout) == note_size_bytes or (layout == "elf-arm64-tls" and note_size_bytes == 8)


class _Thread(NamedTuple):
    name: str
    notes: list[NoteAt]


class _Core:
    """A core being read: its header, notes by thread, and what went wrong."""

    def __init__(self, source: Source, options: Options, machine: int, elf_class: int) -> None:
        self.source = source
        self.options = options
        self.machine = machine
        self.elf_class = elf_class
        self.faults: list[InputError] = []
        self.notices: list[str] = []
        self.threads: list[_Thread] = []
        self.process: list[NoteAt] = []
        self.table: XsaveTable | None = None
        self.cpus: list[NoteAt] = []
        self.is_crowded = False
        self.has_layout = False
        known = _known_notes(machine, elf_class)
        self.known: dict[tuple[str, int], Note] = {}
        for note in known:
            self.known.setdefault((note.owner, note.type), note)

    def scan(self, segments: list[Segment]) -> None:
        """Sort all notes of these segments into threads and process."""
        budget = note_budget(self.source)
        for segment in segments:
            for note in iter_notes(self.source, segment, self.faults, budget):
                self._add(note)
        for thread, note in zip(self.threads, self.cpus, strict=False):
            thread.notes.append(note)
        if self.source.fault:
            self.faults.append(self.source.fault)
        if not self.threads:
            found = "no thread status note"
            raise (self.faults or [InputError(self.source.name, "a thread (NT_PRSTATUS)", found)])[0]

    @property
    def is_guest(self) -> bool:
        """A dump of guest memory: QEMU's notes, or on arm64 none that Linux writes for every thread."""
        if self.cpus or self.process or self.machine != EM_AARCH64:
            return bool(self.cpus)
        return all(note.type != NT_ARM_TLS for thread in self.threads for note in thread.notes)

    def _add(self, note: NoteAt) -> None:
        key = note.owner, note.type
        known = self.known.get(key)
        scope = known.scope if known else "thread"
        if key == _BEGINS_THREAD:
            self.threads.append(_Thread(self._thread_name(note), [note]))
        elif scope == "thread" and self.threads:
            self._keep(self.threads[-1].notes, note)
        elif scope == "cpu":
            self.cpus.append(note)
        elif scope == "layout":
            self._layout_note(note)
        else:
            self._keep(self.process, note)

    def _keep(self, notes: list[NoteAt], note: NoteAt) -> None:
        """Add to a thread's notes, or to those of the process, as many as any may have."""
        notes.append(note)
        if len(notes) > _MAX_THREAD_NOTES:
            notes.pop()
            if not self.is_crowded:
                self.is_crowded = True
                expected = f"at most {_MAX_THREAD_NOTES} notes of a thread"
                self.faults.append(InputError(self.source.name, expected, "more", note.offset))

    def _thread_name(self, note: NoteAt) -> str:
        at = _PID_OFFSET[self.elf_class]
        raw = self.source.read(note.offset + at, 4) if note.present_bytes >= at + 4 else b""
        return f"thread {int.from_bytes(raw, 'little')}" if len(raw) == 4 else "thread ?"

    def _layout_note(self, note: NoteAt) -> None:
        """NT_X86_XSAVE_LAYOUT: {type, size, offset, flags} each u32 (Linux fpu/xstate.c); one is in a core."""
        if note.type != NT_X86_XSAVE_LAYOUT or self.has_layout:
            return
        self.has_layout = True
        raw = self.source.read(note.offset, min(note.present_bytes, 16 * 64))
        words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw) // 16 * 16, 4)]
        places = {
            words[n]: (words[n], words[n + 1], words[n + 2])
            for n in range(0, len(words), 4)
            if 2 <= words[n] < 63 and words[n + 1] <= 1 << 16 and EXTENDED_OFFSET <= words[n + 2] <= 1 << 16
        }
        entries = list(places.values())
        if 4 * len(entries) != len(words) or not entries:
            found = f"{len(words) // 4 - len(entries)} entries that no XSAVE image can have, or twice"
            self.faults.append(InputError(self.source.name, "an NT_X86_XSAVE_LAYOUT note", found, note.offset))
        if entries:
            self.table = table_from_note(entries, "note NT_X86_XSAVE_LAYOUT")

    def choose_layout(self) -> None:
        """Decide once, on the first image, how XSAVE images are laid out."""
        for thread in self.threads:
            for note in thread.notes:
                known = self.known.get((note.owner, note.type))
                if known and known.layout == "xsave" and note.present_bytes:
                    data = self.source.read(note.offset, min(note.present_bytes, 1 << 16))
                    self.table, notices = choose_table(data, note.size_bytes, self.table, self.options)
                    self.notices += notices
                    return

    def areas(self, notes: list[NoteAt]) -> list[Area]:
        """The areas of some notes."""
        made: list[Area] = []
        used: dict[str, int] = {}
        left = VCPU_LIMIT_BYTES
        for note in notes:
            area = self._area(note, min(left, AREA_LIMIT_BYTES))
            left -= area.size_bytes
            count = used[area.prefix] = used.get(area.prefix, 0) + 1
            if count > 1:
                area.prefix = f"{area.prefix}~{count}"
            made.append(area)
        return made + _implied_svcr(made)

    def _area(self, note: NoteAt, limit_bytes: int) -> Area:
        data = self.source.read(note.offset, min(note.present_bytes, limit_bytes))
        origin = Origin(self.source.name, note.offset)
        known = _alternative(self.known.get((note.owner, note.type)), note)
        attributes: Attributes = {"note_owner": note.owner, "note_type": note.type}
        if known and known.layout == "xsave" and self.table is not None:
            area = xsave_area("xsave", "XSAVE image (NT_X86_XSTATE)", data, origin, self.table, note.size_bytes)
            area.attributes.update(attributes)
            return area
        if known and known.layout in ("elf-auxv", "elf-file"):
            attributes["word_bytes"] = self.elf_class // 8
            prefix = known.layout.partition("-")[2]
            return Area(known.layout, prefix, known.name, data, origin, attributes=attributes)
        if known and known.layout in _VECTOR_LAYOUTS:
            prefix = _VECTOR_PREFIXES[known.name]
            return Area(
                known.layout,
                prefix,
                known.name,
                data,
                origin,
                declared_size_bytes=note.size_bytes,
                attributes=attributes,
            )
        layout = layout_named(known.layout) if known else None
        if known and layout and _fits(layout.name, note.size_bytes):
            return Area(
                layout.name,
                layout.prefix,
                layout.title,
                data,
                origin,
                declared_size_bytes=size_bytes(layout.name),
                attributes=attributes,
            )
        name = known.name if known else f"note {note.owner} {note.type:#x}"
        prefix = f"note.{note.owner}.{note.type:#x}"
        return Area("raw", prefix, name, data, origin, declared_size_bytes=note.size_bytes, attributes=attributes)


def _implied_svcr(areas: list[Area]) -> list[Area]:
    """SVCR is in no note: streaming mode shows in NT_ARM_SSVE, ZA in NT_ARM_ZA."""
    sizes = {area.prefix: area.declared_size_bytes for area in areas if area.layout in _VECTOR_LAYOUTS}
    if "ssve" not in sizes and "za" not in sizes:
        return []
    from inspector.decode.arm64 import HEADER_SIZE_BYTES

    value = int(sizes.get("ssve", 0) > HEADER_SIZE_BYTES) | int(sizes.get("za", 0) > HEADER_SIZE_BYTES) << 1
    layout = layout_named("elf-arm64-svcr")
    assert layout is not None
    data = value.to_bytes(8, "little")
    attributes: Attributes = {"synthesized": True, "implied": True}
    return [Area(layout.name, layout.prefix, layout.title, data, areas[0].origin, attributes=attributes)]


def _alternative(known: Note | None, note: NoteAt) -> Note | None:
    """Another form of the thread status: 32-bit of a guest's CPU that is not in long mode, or registers alone."""
    if known and known.layout == "elf-prstatus-x86-64" and note.size_bytes == size_bytes("elf-prstatus-i386"):
        return known._replace(layout="elf-prstatus-i386")
    registers = known.layout.replace("elf-prstatus-", "elf-regs-") if known and known.type == NT_PRSTATUS else ""
    if known and registers and layout_named(registers) and note.size_bytes == size_bytes(registers):
        return known._replace(layout=registers)
    return known


def _known_notes(machine: int, elf_class: int) -> list[Note]:
    return [
        note for note in NOTES if (not note.machines or machine in note.machines) and note.elf_class in (0, elf_class)
    ]


def read(source: Source, options: Options) -> Capture:
    """An ELF core as a capture: one vCPU a thread (or CPU of a guest), the process's notes as context."""
    header: ElfHeader = read_header(source)
    if header.type != _ET_CORE:
        raise InputError(source.name, "an ELF core (type 4)", f"ELF type {elf_name('E_TYPE', header.type)}", 16)
    if header.machine == EM_ARM:
        raise arm32_refusal(source, 18)
    cut: list[InputError] = []
    segments = note_segments(source, header, cut)
    if not segments and not cut:
        raise InputError(source.name, "a PT_NOTE segment", "none", header.phoff)
    core = _Core(source, options, header.machine, header.elf_class)
    try:
        core.scan(segments)
    except InputError as error:
        if cut:
            raise cut[0] from error
        raise
    # What is missing of the notes matters more than missing memory: it is told first.
    core.faults += cut
    return _capture(core, "elf-core", f"ELF{header.elf_class} core")


def arm32_refusal(source: Source, offset: int) -> InputError:
    """What is said of 32-bit Arm, in whatever container."""
    return InputError(source.name, "CPUs of x86 or arm64", "32-bit Arm (EM_ARM), which is out of scope", offset)


def read_notes(source: Source, options: Options, segment: Segment, format_name: str, about: str) -> Capture:
    """The same notes in another container; the architecture follows from the size of the thread status."""
    sizes = {336: EM_X86_64, 392: EM_AARCH64}
    first = next(iter(iter_notes(source, segment, [], note_budget(source))), None)
    machine = sizes.get(first.size_bytes, EM_X86_64) if first else EM_X86_64
    core = _Core(source, options, machine, 64)
    core.scan([segment])
    return _capture(core, format_name, about)


def read_regsets(
    source: Source,
    options: Options,
    threads: list[tuple[str, list[NoteAt]]],
    process: list[NoteAt],
    machine: int,
    table: XsaveTable | None,
) -> Capture:
    """Threads whose notes are told apart already: register sets that a kernel gave of a running process."""
    core = _Core(source, options, machine, 32 if machine == EM_386 else 64)
    core.threads = [_Thread(name, notes) for name, notes in threads]
    core.process = process
    core.table = table
    return _capture(core, "ptrace", "running process")


def _capture(core: _Core, format_name: str, about: str) -> Capture:
    core.choose_layout()
    arch = _ARCH.get(core.machine) or f"ELF machine {elf_name('E_MACHINE', core.machine)}"
    if core.machine not in (EM_386, EM_X86_64, EM_AARCH64):
        core.notices.append(f"registers of {arch} are not decoded: notes by name, their bytes as they lie")
    if core.is_guest and format_name == "elf-core":
        format_name = "guest-dump"
    vcpus = [
        Vcpu(index, f"cpu {index}" if core.is_guest else thread.name, arch, partial(core.areas, thread.notes))
        for index, thread in enumerate(core.threads)
    ]
    return Capture(
        core.source.name,
        format_name,
        vcpus,
        host=Host(about=f"{about}, {arch}"),
        context=core.areas(core.process),
        faults=core.faults,
        notices=core.notices,
    )
