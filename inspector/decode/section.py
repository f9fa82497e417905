"""A device section of a QEMU migration stream as fields.

``attributes["fields"]`` are rows of (subsection, name, type, offset, element size in bytes,
number of elements), as the stream's own description gives them. Known fields of the ``cpu``
section get the paths that they have in every other format; the rest keeps QEMU's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.attributes import SectionRow as Row
from inspector.capture.model import Area
from inspector.decode.arm64 import spec_of_register
from inspector.decode.section_arm64 import vector_specs
from inspector.decode.spec import FieldSpec, Span, field_spec, pieces_spec, unique
from inspector.decode.walk import walk
from inspector.decode.xsave import gap_specs
from layouts.arm64.registers import PSTATE
from layouts.files import qemu
from layouts.x86.xsave import BY_NUMBER

_TEXT_TYPES = ("buffer", "unused_buffer")
_INDEX = re.compile(r"\[(\d{1,4})\]", re.ASCII)


def section_specs(area: Area) -> tuple[FieldSpec, ...]:
    """All fields of a section; what no field claims is a gap."""
    rows = list(area.attributes["fields"])
    arch = area.attributes.get("arch", "")
    specs: list[FieldSpec]
    if arch == "x86":
        specs = list(_x86(area, rows))
    elif arch == "arm64":
        specs = list(_arm64(area, rows))
    else:
        specs = [spec for row in rows for spec in _plain(area.prefix, row)]
    specs.sort(key=lambda spec: spec.group.startswith("id."))
    return (*unique(specs), *gap_specs(area.prefix, specs, area.declared_size_bytes))


def _plain(prefix: str, row: Row) -> list[FieldSpec]:
    """A field under QEMU's own name; the header of a subsection is structure."""
    section, name, kind, offset, size, count = row
    tail = section.partition("/")[2]
    if kind == qemu.SUBSECTION_HEADER:
        path = ".".join(filter(None, (prefix, tail, name)))
        title = f"header of subsection {section}: 05, length and name, version"
        return [field_spec(path, Span(offset, size), "bytes", group="entries", title=title, source=qemu.FRAMING_SOURCE)]
    path = ".".join(filter(None, (prefix, tail, name.removeprefix("env."))))
    title = f"QEMU's {name} ({kind})"
    source = "the stream's own description"
    if kind in _TEXT_TYPES or size not in (1, 2, 4, 8) or (size == 1 and count > 1):
        span = Span(offset, size * count)
        return [field_spec(path, span, "bytes", group=section, title=title, source=source)]
    spans = [Span(offset + nth * size, size) for nth in range(count)]
    if count == 1:
        return [field_spec(path, spans[0], group=section, title=title, source=source, swap=size)]
    return [
        field_spec(f"{path}[{nth}]", span, group=section, title=title, source=source, swap=size)
        for nth, span in enumerate(spans)
    ]


def _mapped(row: Row, mapped: qemu.Mapped, source: str) -> list[FieldSpec]:
    """A field under the path that it has everywhere."""
    section, name, _, offset, size, count = row
    title = f"QEMU's {name}" + (f" in {section}" if "/" in section else "")
    group = mapped.path.partition("[")[0].rpartition(".")[0] or "cpu"
    found = [(mapped.path, Span(offset, size * count))]
    if "{" in mapped.path:
        names = mapped.names or ("",) * count
        found = [
            (mapped.path.format(n=nth + mapped.first, name=name), Span(offset + nth * size, size))
            for nth, name in enumerate(names[:count])
        ]
    kind, register = mapped.kind, mapped.register
    return [
        field_spec(path, span, kind, group=group, title=title, source=source, register=register, swap=size)
        for path, span in found
    ]


def _x86(area: Area, rows: list[Row]) -> Iterator[FieldSpec]:
    vectors: dict[tuple[str, str], list[Span]] = {}
    order = _x87_order(area, rows)
    for row in rows:
        section, name, _, offset, size, count = row
        mapped = qemu.X86_FIELDS.get((section, name))
        base = name.partition("[")[0]
        if row[2] == qemu.SUBSECTION_HEADER:
            yield from _plain("qemu", row)
        elif mapped is not None:
            yield from _mapped(row, mapped, qemu.X86_SOURCE)
        elif base == "env.xmm_regs":
            # One row a register (struct), or one for a whole array.
            half = name.split("]")[0] + "]"
            spans = vectors.setdefault((section, half), [])
            spans += [Span(offset + nth * size, size) for nth in range(count)]
        elif base == "env.segs" or name.partition(".")[2].partition(".")[0] in qemu.TABLES:
            yield from _segment(row)
        elif base == "env.fpregs":
            yield from _x87(order, row)
        elif section == "cpu/intel_amx_xtile":
            yield from _component(17 if name == "env.xtilecfg" else 18, offset)
        elif base == "env.bnd_regs":
            yield from _bound(row)
        else:
            yield from _plain("qemu", row)
    yield from _vectors(vectors)


def _index(name: str, count: int) -> int | None:
    """The first index of a name; None for a name that says none below ``count``."""
    found = _INDEX.search(name)
    return int(found[1]) if found and int(found[1]) < count else None


def _segment(row: Row) -> list[FieldSpec]:
    """``env.segs[1].base`` and ``env.gdt.base``."""
    _, name, _, offset, size, _ = row
    holder, _, member = name.removeprefix("env.").rpartition(".")
    if not holder:
        return _plain("qemu", row)
    if holder.startswith("segs"):
        number = _index(holder, len(qemu.SEGMENTS))
        if number is None:
            return _plain("qemu", row)
        holder = qemu.SEGMENTS[number]
    title = f"QEMU's {name}"
    path = f"sregs.{holder}.{member}"
    return [field_spec(path, Span(offset, size), group="sregs", title=title, source=qemu.X86_SOURCE, swap=size)]


def _x87_order(area: Area, rows: list[Row]) -> tuple[str, int]:
    """Whether QEMU's n is ST(n) (``stack``) or physical register n (``physical``), and TOP of the status word.

    ``x87_order`` of the area tells. An area of an older capture file has no such word: xstate_bv, which TCG never
    sets, tells there.
    """
    order = area.attributes.get("x87_order")
    if order is None:
        order = "stack" if _number(area, rows, "env.xstate_bv", 8) else "physical"
    return str(order), _number(area, rows, "env.fpus_vmstate", 2) >> 11 & 7


def _x87(order: tuple[str, int], row: Row) -> list[FieldSpec]:
    """An x87 register; ST(n) counts from TOP."""
    _, name, _, offset, size, _ = row
    number = _index(name, 8)
    if number is None:
        return _plain("qemu", row)
    stack = number if order[0] == "stack" else (number - order[1]) & 7
    title = f"x87 stack register {stack}, physical register {(stack + order[1]) & 7}"
    spec = field_spec(
        f"xsave.st[{stack}]", Span(offset, size), "x87", group="xsave.st", title=title, source=qemu.X86_SOURCE, swap=8
    )
    return [spec]


def _number(area: Area, rows: Sequence[Sequence[Any]], name: str, size: int) -> int:
    """The number in a field; 0 when the section has no such field."""
    at = next((row[3] for row in rows if row[1] == name), None)
    return int.from_bytes(area.data[at : at + size], "big") if at is not None else 0


def _bound(row: Row) -> list[FieldSpec]:
    _, name, _, offset, size, _ = row
    number = _index(name, 4)
    if number is None:
        return _plain("qemu", row)
    member = "lower" if name.endswith("lb") else "upper"
    path = f"xsave.bndregs.bnd[{number}].{member}"
    span = Span(offset, size)
    return [field_spec(path, span, group="xsave.bndregs", title="MPX bound", source=qemu.X86_SOURCE, swap=size)]


def _component(number: int, offset: int) -> Iterator[FieldSpec]:
    """A component that the stream holds as the CPU does: AMX."""
    component = BY_NUMBER[number]
    assert component.construct is not None, component.name
    for leaf in walk(component.construct):
        yield field_spec(
            f"xsave.{component.name}.{leaf.name}",
            Span(offset + leaf.offset, leaf.size_bytes),
            leaf.kind,
            group=f"xsave.{component.name}",
            title=leaf.doc,
            source=component.source,
            register=component.registers.get(leaf.plain_name),
        )


def _vectors(found: dict[tuple[str, str], list[Span]]) -> Iterator[FieldSpec]:
    """Whole registers from their parts, which the stream keeps in up to three places."""
    low = found.get(("cpu", "env.xmm_regs[0]"), [])
    high = found.get(("cpu", "env.xmm_regs[1]"), [])
    upper = found.get(("cpu/avx512", "env.xmm_regs[0]"), [])
    others = found.get(("cpu/avx512", "env.xmm_regs[1]"), [])
    for name, parts in (("xmm", (low,)), ("ymm", (low, high)), ("zmm", (low, high, upper))):
        for number, pieces in enumerate(zip(*parts, strict=False)):
            yield _vector(f"xsave.{name}[{number}]", pieces, f"xsave.{name}")
    for number, span in enumerate(others):
        yield _vector(f"xsave.zmm[{16 + number}]", (span,), "xsave.zmm")


def _vector(path: str, pieces: tuple[Span, ...], group: str) -> FieldSpec:
    return pieces_spec(path, pieces, "vector", group=group, title="vector register", source=qemu.X86_SOURCE, swap=8)


def is_aarch32(area: Area) -> bool:
    """An arm cpu section of a CPU in AArch32 state: PSTATE.nRW is set, or it is M-profile (its PSR is an XPSR)."""
    rows = area.attributes["fields"]
    return bool(_number(area, rows, "cpsr", 4) >> 4 & 1) or any(row[0] == "cpu/m" for row in rows)


def _arm64(area: Area, rows: list[Row]) -> Iterator[FieldSpec]:
    places = {(section, name): (offset, size, count) for section, name, _, offset, size, count in rows}
    registers = _cpregs(area, places)
    aarch32 = is_aarch32(area)
    if aarch32:
        yield from (spec for row in rows if row[1] not in _NOT_IN_AARCH32 for spec in _plain("qemu", row))
    else:
        yield from _core(places)
        for row in rows:
            mapped = qemu.ARM_FIELDS.get((row[0], row[1]))
            if mapped is not None:
                yield from _mapped(row, mapped, qemu.ARM_SOURCE)
            elif not _is_taken(row):
                yield from _plain("qemu", row)
    indexes = places.get(("cpu", "cpreg_vmstate_indexes"))
    if indexes is not None and registers:
        offset, size_bytes, count = indexes
        title, span = "ids of the system registers that follow", Span(offset, size_bytes * count)
        yield field_spec(
            "qemu.cpreg_vmstate_indexes", span, "bytes", group="entries", title=title, source=qemu.ARM_SOURCE
        )
    for register_id, span in registers.items():
        yield from spec_of_register(register_id, span, swap=8)
    if not aarch32:
        yield from vector_specs(area, places, registers)


#: Not in use in AArch32 state, or shown as system registers.
_NOT_IN_AARCH32 = ("env.xregs", "env.pc", "cpreg_vmstate_indexes", "cpreg_vmstate_values")


def _is_taken(row: Row) -> bool:
    """Shown by ``_core``, as system registers or as vectors."""
    section, name, kind = row[:3]
    if kind == qemu.SUBSECTION_HEADER:
        return False
    if section in ("cpu/sve", "cpu/sme") or (section == "cpu/vfp" and name.startswith("env.vfp.zregs[")):
        return True
    return section == "cpu" and name in ("env.xregs", "cpsr", "cpreg_vmstate_indexes", "cpreg_vmstate_values")


def _cpregs(area: Area, places: dict[tuple[str, str], tuple[int, int, int]]) -> dict[int, Span]:
    """KVM-style ids and where the value of each lies: QEMU uses these ids under TCG too."""
    indexes = places.get(("cpu", "cpreg_vmstate_indexes"))
    values = places.get(("cpu", "cpreg_vmstate_values"))
    if indexes is None or values is None:
        return {}
    found = {}
    for nth in range(min(indexes[2], values[2])):
        at = indexes[0] + 8 * nth
        raw = area.data[at : at + 8]
        if len(raw) == 8:
            found[int.from_bytes(raw, "big")] = Span(values[0] + 8 * nth, 8)
    return found


def _core(places: dict[tuple[str, str], tuple[int, int, int]]) -> Iterator[FieldSpec]:
    xregs = places.get(("cpu", "env.xregs"))
    if xregs is not None:
        for number in range(32):
            path = f"core.x[{number}]" if number < 31 else "core.sp"
            span = Span(xregs[0] + 8 * number, 8)
            yield field_spec(path, span, group="core", title="general register", source=qemu.ARM_SOURCE, swap=8)
    cpsr = places.get(("cpu", "cpsr"))
    if cpsr is not None:
        span = Span(cpsr[0], 4)
        yield field_spec(
            "core.pstate", span, group="core", title="process state", source=qemu.ARM_SOURCE, register=PSTATE, swap=4
        )
