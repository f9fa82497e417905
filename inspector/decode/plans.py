"""Which fields an area has, by its layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from inspector.capture.model import Area
from inspector.decode.arm64 import register_specs, sve_specs, za_specs
from inspector.decode.entries import (
    auxv_specs,
    cpuid_specs,
    file_specs,
    msr_list_specs,
    msr_specs,
    named_specs,
    property_specs,
    xcr_specs,
)
from inspector.decode.header import is_compacted
from inspector.decode.placement import places
from inspector.decode.section import section_specs
from inspector.decode.spec import FieldSpec, Span, field_spec
from inspector.decode.walk import walk
from inspector.decode.xsave import gap_specs, xsave_specs
from layouts.files.elf import TEXT_MEMBERS
from layouts.registry import layouts

#: Layouts whose fields depend on the bytes: how many entries, which registers.
_BY_CONTENT: dict[str, Callable[[Area], tuple[FieldSpec, ...]]] = {
    "kvm-cpuid2": cpuid_specs,
    "kvm-msrs": msr_specs,
    "kvm-msr-list": msr_list_specs,
    "kvm-xcrs": xcr_specs,
    "elf-auxv": auxv_specs,
    "elf-file": file_specs,
    "arm64-regs": register_specs,
    "arm64-sve": sve_specs,
    "arm64-za": za_specs,
    "qemu-section": section_specs,
    "properties": property_specs,
    "named-values": named_specs,
}


def specs_of(area: Area) -> tuple[FieldSpec, ...]:
    """The specs of all fields of an area, in the order in which they are shown."""
    if area.layout == "xsave":
        return _xsave(area)
    by_content = _BY_CONTENT.get(area.layout)
    if by_content is not None:
        return by_content(area)
    if area.layout == "raw":
        return _raw(area.prefix, area.title, area.declared_size_bytes)
    return fixed_specs(area.layout, area.prefix, area.declared_size_bytes)


def _xsave(area: Area) -> tuple[FieldSpec, ...]:
    placed = places(area.data, area.declared_size_bytes, area.attributes["table"])
    compacted = is_compacted(area.data)
    return xsave_specs(area.prefix, placed, area.declared_size_bytes, compacted=compacted)


@lru_cache(maxsize=256)
def _raw(prefix: str, title: str, size_bytes: int) -> tuple[FieldSpec, ...]:
    span = Span(0, size_bytes)
    return (field_spec(prefix, span, "bytes", group="raw", title=title, source="no layout is known for these bytes"),)


@lru_cache(maxsize=256)
def fixed_specs(name: str, prefix: str, size_bytes: int) -> tuple[FieldSpec, ...]:
    """The fields of a structure that is one fixed set of members."""
    layout = layouts()[name]
    specs = []
    for leaf in walk(layout.construct):
        head, _, rest = leaf.name.partition(".")
        root = layout.roots.get(head)
        alone = root == ""
        path = leaf.name if alone else f"{root or prefix}.{rest if root else leaf.name}"
        kind = "text" if leaf.plain_name in TEXT_MEMBERS else leaf.kind
        specs.append(
            field_spec(
                path,
                Span(leaf.offset, leaf.size_bytes),
                kind,
                group=root or (head.partition("[")[0] if rest else prefix or layout.name),
                title=leaf.doc or leaf.name,
                source=layout.source,
                register=layout.registers.get(leaf.plain_name),
            )
        )
    return (*specs, *gap_specs(prefix, specs, size_bytes))
