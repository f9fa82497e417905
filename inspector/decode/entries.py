"""Structures that are a count and entries: CPUID, MSRs, XCRs.

Their fields are named by what an entry is about: ``cpuid.d.0.eax``, ``msr.IA32_XFD``,
``xcr.xcr0``. A count is checked against the bytes that are there; entries that the bytes
do not hold are "not captured", and a count that no file can have is cut at the file's end.
"""

from __future__ import annotations

from inspector.capture.errors import InputError
from inspector.capture.model import Area
from inspector.decode.spec import FieldSpec, Span, fact_spec, field_spec, unique
from inspector.decode.xsave import gap_specs
from layouts.members import Member
from layouts.vocabulary import Register
from layouts.x86 import registers as reg
from layouts.x86.cpuid import HYPERVISOR_LEAF, cpuid_register, known_leaf
from layouts.x86.cpuid import SOURCE as CPUID_SOURCE
from layouts.x86.kvm_counted import COUNTED, KVM_CPUID2, KVM_MSR_LIST, KVM_MSRS, KVM_XCR_ENTRIES, KVM_XCRS
from layouts.x86.msrs import MSR_REGISTERS, msr_name
from layouts.x86.xsave_views import XSTATE_BITMAP


def _spec(
    path: str, at: Member, group: str, title: str, source: str, register: Register | None = None, kind: str = "uint"
) -> FieldSpec:
    return field_spec(path, Span(*at), kind, group=group, title=title, source=source, register=register)


#: More entries than any kernel gives stay bytes: KVM_MAX_CPUID_ENTRIES is 256, MSRs number hundreds.
_MAX_ENTRIES = 1 << 14


#: Entries that a structure has room for, where that is less.
_MOST = {KVM_XCRS.name: KVM_XCR_ENTRIES}


def _entries(area: Area) -> list[dict[str, Member]]:
    """The members of each whole entry that the bytes hold, by name."""
    counted = COUNTED[area.layout]
    offsets = counted.offsets(area.data, _MOST.get(area.layout, _MAX_ENTRIES))
    return [
        {name: Member(at + member.offset, member.size_bytes) for name, member in counted.members.items()}
        for at in offsets
    ]


def entry_count_fault(area: Area) -> InputError | None:
    """The fault of a count that the bytes cannot hold, or that the kernel never gives."""
    counted = COUNTED.get(area.layout)
    if counted is None or area.size_bytes < 4:
        return None
    count = counted.count(area.data)
    allowed = min(_MOST.get(area.layout, _MAX_ENTRIES), counted.held(area.data))
    if count <= allowed:
        return None
    expected = f"at most {allowed} entries"
    return InputError(area.origin.file, expected, f"a count of {count}", area.origin.offset)


def _finish(area: Area, specs: list[FieldSpec]) -> tuple[FieldSpec, ...]:
    return (*unique(specs), *gap_specs(area.prefix, specs, area.declared_size_bytes))


def cpuid_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_cpuid2``: nent, padding, entries of 40 bytes."""
    prefix, source = area.prefix, KVM_CPUID2.source
    head = COUNTED[area.layout].header
    specs = [
        _spec(f"{prefix}.nent", head["nent"], prefix, "entries", source),
        _spec(f"{prefix}.padding", head["padding"], prefix, "padding", source, kind="reserved"),
    ]
    entries = _entries(area)
    signatures = {
        leaf: bytes(area.data[entry["ebx"].offset : entry["edx"].end])
        for entry in entries
        if (leaf := entry["function"].get(area.data)) >> 28 == HYPERVISOR_LEAF >> 28
    }
    for entry in entries:
        leaf, subleaf = entry["function"].get(area.data), entry["index"].get(area.data)
        known = known_leaf(leaf, signatures)
        group = f"{prefix}.{leaf:x}"
        base = f"{group}.{subleaf:x}"
        specs += [
            _spec(f"{base}.function", entry["function"], "entries", "leaf", source),
            _spec(f"{base}.index", entry["index"], "entries", "sub-leaf", source),
            _spec(f"{base}.flags", entry["flags"], "entries", "1 = the sub-leaf matters", source),
        ]
        for register in ("eax", "ebx", "ecx", "edx"):
            named = cpuid_register(known, subleaf, register) if known is not None else None
            title = f"CPUID leaf {leaf:#x} sub-leaf {subleaf:#x}"
            said = named.source if named else CPUID_SOURCE
            specs.append(_spec(f"{base}.{register}", entry[register], group, title, said, named))
        specs.append(_spec(f"{base}.padding", entry["padding"], "entries", "padding", source, kind="reserved"))
    return _finish(area, sorted(specs, key=lambda spec: spec.group == "entries"))


def msr_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_msrs``: nmsrs, pad, entries of index, reserved, data."""
    prefix, source, head = area.prefix, KVM_MSRS.source, COUNTED[area.layout].header
    specs = [
        _spec(f"{prefix}.nmsrs", head["nmsrs"], prefix, "entries", source),
        _spec(f"{prefix}.pad", head["pad"], prefix, "padding", source, kind="reserved"),
    ]
    for entry in _entries(area):
        index = entry["index"].get(area.data)
        register = MSR_REGISTERS.get(index)
        name = msr_name(index)
        title = f"MSR {index:#x}" + (f": {register.title}" if register else "")
        specs += [
            _spec(f"{prefix}.{name}", entry["data"], prefix, title, register.source if register else source, register),
            _spec(f"{prefix}.{name}.index", entry["index"], "entries", f"number of {name}", source),
            _spec(f"{prefix}.{name}.reserved", entry["reserved"], "entries", "reserved", source)._replace(
                kind="reserved"
            ),
        ]
    return _finish(area, sorted(specs, key=lambda spec: spec.group == "entries"))


def msr_list_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_msr_list``: nmsrs, indices."""
    prefix, source = area.prefix, KVM_MSR_LIST.source
    specs = [_spec(f"{prefix}.nmsrs", COUNTED[area.layout].header["nmsrs"], prefix, "entries", source)]
    for nth, entry in enumerate(_entries(area)):
        name = msr_name(entry["index"].get(area.data))
        specs.append(_spec(f"{prefix}[{nth}]", entry["index"], prefix, name, source)._replace(text=name))
    return _finish(area, specs)


def xcr_specs(area: Area) -> tuple[FieldSpec, ...]:
    """``struct kvm_xcrs``: the entries in use by the number of their register."""
    prefix, source, head = area.prefix, KVM_XCRS.source, COUNTED[area.layout].header
    specs = [
        _spec(f"{prefix}.nr_xcrs", head["nr_xcrs"], prefix, "entries in use", source),
        _spec(f"{prefix}.flags", head["flags"], prefix, "must be zero", source),
    ]
    for entry in _entries(area):
        number = entry["xcr"].get(area.data)
        register = XSTATE_BITMAP if number == 0 else None
        specs += [
            _spec(f"{prefix}.xcr{number}", entry["value"], prefix, "extended control register", source, register),
            _spec(f"{prefix}.xcr{number}.index", entry["xcr"], "entries", "register number", source),
            _spec(f"{prefix}.xcr{number}.reserved", entry["reserved"], "entries", "reserved", source)._replace(
                kind="reserved"
            ),
        ]
    return _finish(area, specs)


def property_specs(area: Area) -> tuple[FieldSpec, ...]:
    """Named values that have no bytes: ``rows`` of name and text."""
    return tuple(
        fact_spec(f"{area.prefix}.{name}", _number(text), group=area.prefix, title=area.title, source="QMP", text=text)
        for name, text in area.attributes["rows"]
    )


def named_specs(area: Area) -> tuple[FieldSpec, ...]:
    """Values that came with a path each: ``named`` has path, kind and size, in the order of the bytes."""
    specs = []
    at = 0
    for path, kind, size in area.attributes["named"]:
        group = path.partition("[")[0].rpartition(".")[0] or path
        register = NAMED_REGISTERS.get(path) or _arm_register(path)
        specs.append(
            field_spec(path, Span(at, size), kind, group=group, title="", source=area.title, register=register)
        )
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


#: Of a property: QEMU's are at most 64 bits wide.
_MAX_DIGITS = 20


def _number(text: str) -> int:
    """A switch as 0 or 1, a number as itself; any other text has no number but its presence."""
    if text in ("on", "off"):
        return int(text == "on")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0
