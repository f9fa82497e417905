"""Structures that are a count and entries: CPUID, MSRs, XCRs, auxv, mapped files.

Their fields are named by what an entry is about: ``cpuid.d.0.eax``, ``msr.IA32_XFD``,
``xcr.xcr0``. A count is checked against the bytes that are there; entries that the bytes
do not hold are "not captured", and a count that no file can have is cut at the file's end.
"""

from __future__ import annotations

import struct

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Area
from inspector.decode.spec import FieldSpec, Span, unique
from inspector.decode.xsave import gap_specs
from layouts.files.elf import AUXV_NAMES
from layouts.vocabulary import Register
from layouts.x86 import registers as reg
from layouts.x86.cpuid import HYPERVISOR_LEAF, cpuid_register, known_leaf
from layouts.x86.cpuid import SOURCE as CPUID_SOURCE
from layouts.x86.kvm import KVM_CPUID2, KVM_MSR_LIST, KVM_MSRS, KVM_XCR_ENTRIES, KVM_XCRS
from layouts.x86.msrs import MSR_REGISTERS, msr_name
from layouts.x86.xsave import XSTATE_BITMAP


def _spec(
    path: str, offset: int, size: int, group: str, title: str, source: str, register: Register | None = None
) -> FieldSpec:
    return FieldSpec(path, "uint", (Span(offset, size),), (-1,), group, title, source, register=register)


def _entries(area: Area, header_bytes: int, entry_bytes: int) -> range:
    """Offsets of the whole entries that the bytes hold; the count is the first u32."""
    if area.size_bytes < 4:
        return range(0)
    count = int.from_bytes(area.data[:4], "little")
    held = max(0, area.size_bytes - header_bytes) // entry_bytes
    return range(header_bytes, header_bytes + entry_bytes * min(count, held), entry_bytes)


#: Layouts with a count: name -> (bytes before the entries, bytes an entry, most entries).
_COUNTED = {
    "kvm-cpuid2": (8, 40, 0),
    "kvm-msrs": (8, 16, 0),
    "kvm-msr-list": (4, 4, 0),
    "kvm-xcrs": (8, 16, KVM_XCR_ENTRIES),
}


def entry_count_fault(area: Area) -> InputError | None:
    """The fault of a count that the bytes cannot hold, or that the kernel never gives."""
    counted = _COUNTED.get(area.layout)
    if counted is None or area.size_bytes < 4:
        return None
    header, entry, most = counted
    count = int.from_bytes(area.data[:4], "little")
    room = max(0, area.size_bytes - header) // entry
    if count <= (min(most, room) if most else room):
        return None
    expected = f"at most {min(most, room) if most else room} entries"
    return InputError(area.origin.file, expected, f"a count of {count}", area.origin.offset)


def _finish(area: Area, specs: list[FieldSpec]) -> tuple[FieldSpec, ...]:
    return (*unique(specs), *gap_specs(area.prefix, specs, area.declared_size_bytes))


def cpuid_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_cpuid2``: nent, padding, entries of 40 bytes."""
    prefix, source = area.prefix, KVM_CPUID2.source
    specs = [
        _spec(f"{prefix}.nent", 0, 4, prefix, "entries", source),
        _spec(f"{prefix}.padding", 4, 4, prefix, "padding", source)._replace(kind="reserved"),
    ]
    entries = list(_entries(area, 8, 40))
    signatures = {
        leaf: bytes(area.data[at + 16 : at + 28])
        for at in entries
        if (leaf := int.from_bytes(area.data[at : at + 4], "little")) >> 28 == HYPERVISOR_LEAF >> 28
    }
    for at in entries:
        leaf, subleaf = struct.unpack_from("<II", area.data, at)
        known = known_leaf(leaf, signatures)
        group = f"{prefix}.{leaf:x}"
        base = f"{group}.{subleaf:x}"
        specs += [
            _spec(f"{base}.function", at, 4, "entries", "leaf", source),
            _spec(f"{base}.index", at + 4, 4, "entries", "sub-leaf", source),
            _spec(f"{base}.flags", at + 8, 4, "entries", "1 = the sub-leaf matters", source),
        ]
        for nth, register in enumerate(("eax", "ebx", "ecx", "edx")):
            named = cpuid_register(known, subleaf, register) if known is not None else None
            title = f"CPUID leaf {leaf:#x} sub-leaf {subleaf:#x}"
            said = named.source if named else CPUID_SOURCE
            specs.append(_spec(f"{base}.{register}", at + 12 + 4 * nth, 4, group, title, said, named))
        specs.append(_spec(f"{base}.padding", at + 28, 12, "entries", "padding", source)._replace(kind="reserved"))
    return _finish(area, sorted(specs, key=lambda spec: spec.group == "entries"))


def msr_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_msrs``: nmsrs, pad, entries of index, reserved, data."""
    prefix, source = area.prefix, KVM_MSRS.source
    specs = [
        _spec(f"{prefix}.nmsrs", 0, 4, prefix, "entries", source),
        _spec(f"{prefix}.pad", 4, 4, prefix, "padding", source)._replace(kind="reserved"),
    ]
    for at in _entries(area, 8, 16):
        (index,) = struct.unpack_from("<I", area.data, at)
        register = MSR_REGISTERS.get(index)
        name = msr_name(index)
        title = f"MSR {index:#x}" + (f": {register.title}" if register else "")
        specs += [
            _spec(f"{prefix}.{name}", at + 8, 8, prefix, title, register.source if register else source, register),
            _spec(f"{prefix}.{name}.index", at, 4, "entries", f"number of {name}", source),
            _spec(f"{prefix}.{name}.reserved", at + 4, 4, "entries", "reserved", source)._replace(kind="reserved"),
        ]
    return _finish(area, sorted(specs, key=lambda spec: spec.group == "entries"))


def msr_list_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_msr_list``: nmsrs, indices."""
    prefix, source = area.prefix, KVM_MSR_LIST.source
    specs = [_spec(f"{prefix}.nmsrs", 0, 4, prefix, "entries", source)]
    for nth, at in enumerate(_entries(area, 4, 4)):
        (index,) = struct.unpack_from("<I", area.data, at)
        specs.append(_spec(f"{prefix}[{nth}]", at, 4, prefix, msr_name(index), source)._replace(text=msr_name(index)))
    return _finish(area, specs)


def xcr_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_xcrs``: the entries in use by the number of their register."""
    prefix, source = area.prefix, KVM_XCRS.source
    specs = [
        _spec(f"{prefix}.nr_xcrs", 0, 4, prefix, "entries in use", source),
        _spec(f"{prefix}.flags", 4, 4, prefix, "must be zero", source),
    ]
    held = max(0, min(KVM_XCR_ENTRIES, int.from_bytes(area.data[:4], "little"), (area.size_bytes - 8) // 16))
    for at in range(8, 8 + 16 * held, 16):
        number, _, _ = struct.unpack_from("<IIQ", area.data, at)
        register = XSTATE_BITMAP if number == 0 else None
        specs += [
            _spec(f"{prefix}.xcr{number}", at + 8, 8, prefix, "extended control register", source, register),
            _spec(f"{prefix}.xcr{number}.index", at, 4, "entries", "register number", source),
            _spec(f"{prefix}.xcr{number}.reserved", at + 4, 4, "entries", "reserved", source)._replace(kind="reserved"),
        ]
    return _finish(area, specs)


def auxv_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_AUXV: pairs of words, type and value; ``word_bytes`` is 4 or 8."""
    word = int(area.attributes.get("word_bytes", 8))
    specs = []
    for at in range(0, area.size_bytes - 2 * word + 1, 2 * word):
        number = int.from_bytes(area.data[at : at + word], "little")
        name = AUXV_NAMES.get(number, f"AT_{number}")
        source = "Linux include/uapi/linux/auxvec.h"
        specs.append(_spec(f"{area.prefix}.{name}", at + word, word, area.prefix, "auxiliary vector", source))
        specs.append(_spec(f"{area.prefix}.{name}.type", at, word, "types", f"number of {name}", source))
    return _finish(area, sorted(specs, key=lambda spec: spec.group == "types"))


def file_specs(area: Area) -> tuple[FieldSpec, ...]:
    """NT_FILE: count, page size, (start, end, page offset) each, then the names."""
    word = int(area.attributes.get("word_bytes", 8))
    prefix, source = area.prefix, "Linux fs/binfmt_elf.c, fill_files_note"
    specs = [
        _spec(f"{prefix}.count", 0, word, prefix, "mapped files", source),
        _spec(f"{prefix}.page_size", word, word, prefix, "unit of the page offsets", source),
    ]
    count = int.from_bytes(area.data[:word], "little")
    held = min(count, max(0, area.size_bytes - 2 * word) // (3 * word))
    name_at = 2 * word + 3 * word * count
    for nth in range(held):
        at = 2 * word + 3 * word * nth
        raw = bytes(area.data[name_at : name_at + 4096]).split(b"\0", 1)[0] if count == held else b""
        name = visible(raw.decode("utf-8", "replace"))
        for place, member in enumerate(("start", "end", "page_offset")):
            path = f"{prefix}[{nth}].{member}"
            specs.append(_spec(path, at + word * place, word, prefix, name or "mapped file", source))
        if raw:
            spec = _spec(f"{prefix}[{nth}].name", name_at, len(raw) + 1, prefix, "path", source)
            specs.append(spec._replace(kind="text"))
        name_at += len(raw) + 1
    return _finish(area, specs)


def property_specs(area: Area) -> tuple[FieldSpec, ...]:
    """Named values that have no bytes: ``rows`` of name and text."""
    return tuple(
        FieldSpec(
            f"{area.prefix}.{name}", "fact", (), (), area.prefix, area.title, "QMP", fact=_number(text), text=text
        )
        for name, text in area.attributes["rows"]
    )


def named_specs(area: Area) -> tuple[FieldSpec, ...]:
    """Values that came with a path each: ``named`` has path, kind and size, in the order of the bytes."""
    specs = []
    at = 0
    for path, kind, size in area.attributes["named"]:
        group = path.partition("[")[0].rpartition(".")[0] or path
        register = NAMED_REGISTERS.get(path) or _arm_register(path)
        specs.append(FieldSpec(path, kind, (Span(at, size),), (-1,), group, "", area.title, register=register))
        at += size
    return tuple(unique(specs))


def _arm_register(path: str) -> Register | None:
    from layouts.arm64.registers import PSTATE
    from layouts.arm64.sysregs import register_of

    if path == "core.pstate":
        return PSTATE
    if path.startswith(("core.fp", "svcr", "sysreg.")):
        return register_of(path.rpartition(".")[2].upper())
    return None


#: Bit fields of registers that come as text, by path.
NAMED_REGISTERS = {
    "regs.rflags": reg.RFLAGS,
    "sregs.cr0": reg.CR0,
    "sregs.cr3": reg.CR3,
    "sregs.cr4": reg.CR4,
    "sregs.efer": reg.EFER,
    "debugregs.dr6": reg.DR6,
    "debugregs.dr7": reg.DR7,
    "xsave.legacy.fcw": reg.FCW,
    "xsave.legacy.fsw": reg.FSW,
    "xsave.legacy.ftw": reg.FTW,
    "xsave.legacy.mxcsr": reg.MXCSR,
    "xsave.pkru.pkru": reg.PKRU,
    "xcr.xcr0": XSTATE_BITMAP,
}


def _number(text: str) -> int:
    """A switch as 0 or 1, a number as itself; any other text has no number but its presence."""
    if text in ("on", "off"):
        return int(text == "on")
    return int(text) if text.isdigit() else 0
