"""Notes of a core about its process: auxv and mapped files. A count is checked against the bytes that are there."""

from __future__ import annotations

from inspector.capture.errors import visible
from inspector.capture.model import Area
from inspector.decode.spec import FieldSpec, Span, unique
from inspector.decode.xsave import gap_specs
from layouts.files.elf import AUXV_NAMES
from layouts.members import Member

#: AT_VECTOR_SIZE is below 50 words.
_MAX_AUXV = 1 << 8
#: vm.max_map_count is 65,530 unless raised, and the note ends at 4 MiB (MAX_FILE_NOTE_SIZE).
_MAX_FILES = 1 << 17


def _spec(path: str, at: Member, group: str, title: str, source: str) -> FieldSpec:
    return FieldSpec(path, "uint", (Span(*at),), (-1,), group, title, source)


def _finished(area: Area, specs: list[FieldSpec]) -> tuple[FieldSpec, ...]:
    return (*unique(specs), *gap_specs(area.prefix, specs, area.declared_size_bytes))


def auxv_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_AUXV: pairs of words, type and value; ``word_bytes`` is 4 or 8."""
    word = int(area.attributes.get("word_bytes", 8))
    specs = []
    for at in range(0, min(area.size_bytes, 2 * word * _MAX_AUXV) - 2 * word + 1, 2 * word):
        number = int.from_bytes(area.data[at : at + word], "little")
        name = AUXV_NAMES.get(number, f"AT_{number}")
        source = "Linux include/uapi/linux/auxvec.h"
        specs.append(_spec(f"{area.prefix}.{name}", Member(at + word, word), area.prefix, "auxiliary vector", source))
        specs.append(_spec(f"{area.prefix}.{name}.type", Member(at, word), "types", f"number of {name}", source))
    return _finished(area, sorted(specs, key=lambda spec: spec.group == "types"))


def file_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_FILE: count, page size, (start, end, page offset) each, then the names."""
    word = int(area.attributes.get("word_bytes", 8))
    prefix, source = area.prefix, "Linux fs/binfmt_elf.c, fill_files_note"
    specs = [
        _spec(f"{prefix}.count", Member(0, word), prefix, "mapped files", source),
        _spec(f"{prefix}.page_size", Member(word, word), prefix, "unit of the page offsets", source),
    ]
    count = int.from_bytes(area.data[:word], "little")
    room = max(0, area.size_bytes - 2 * word) // (3 * word)
    held = min(count, room, _MAX_FILES)
    name_at = 2 * word + 3 * word * count
    for nth in range(held):
        at = 2 * word + 3 * word * nth
        raw = bytes(area.data[name_at : name_at + 4096]).split(b"\0", 1)[0] if count <= room else b""
        name = visible(raw.decode("utf-8", "replace"))
        for place, member in enumerate(("start", "end", "page_offset")):
            path = f"{prefix}[{nth}].{member}"
            specs.append(_spec(path, Member(at + word * place, word), prefix, name or "mapped file", source))
        if raw:
            spec = _spec(f"{prefix}[{nth}].name", Member(name_at, len(raw) + 1), prefix, "path", source)
            specs.append(spec._replace(kind="text"))
        name_at += len(raw) + 1
    return _finished(area, specs)
