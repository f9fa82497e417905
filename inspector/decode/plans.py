"""Which fields an area has, by its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inspector.capture.model import Area
from inspector.decode.header import is_compacted
from inspector.decode.placement import places
from inspector.decode.spec import FieldSpec, Span, field_spec
from inspector.decode.walk import walk
from inspector.decode.xsave import gap_specs, xsave_specs
from layouts.files.elf import TEXT_MEMBERS
from layouts.light import cache, import_module, lru_cache
from layouts.registry import layout_named

#: Layouts whose fields depend on the bytes: how many entries, which registers. ``module:function`` of this package,
#: imported when one is looked at: a core of x86 needs nothing of arm64.
_BY_CONTENT = {
    "kvm-cpuid2": "entries:cpuid_specs",
    "kvm-msrs": "entries:msr_specs",
    "kvm-msr-list": "entries:msr_list_specs",
    "kvm-xcrs": "entries:xcr_specs",
    "elf-auxv": "process_notes:auxv_specs",
    "elf-file": "process_notes:file_specs",
    "arm64-regs": "arm64:register_specs",
    "arm64-sve": "arm64:sve_specs",
    "arm64-za": "arm64:za_specs",
    "qemu-section": "section:section_specs",
    "properties": "entries:property_specs",
    "named-values": "entries:named_specs",
}


@cache
def _by_content(layout: str) -> Callable[[Area], tuple[FieldSpec, ...]] | None:
    """What makes the fields of a layout from the bytes; None where they are always the same."""
    if layout not in _BY_CONTENT:
        return None
    module, _, function = _BY_CONTENT[layout].partition(":")
    found: Callable[[Area], tuple[FieldSpec, ...]] = getattr(import_module(f"inspector.decode.{module}"), function)
    return found


def specs_of(area: Area) -> tuple[FieldSpec, ...]:
    """The specs of all fields of an area, in the order in which they are shown."""
    if area.layout == "xsave":
        return _xsave(area)
    by_content = _by_content(area.layout)
    if by_content is not None:
        return by_content(area)
    if area.layout == "raw":
        return _raw(area.prefix, area.title, area.declared_size_bytes)
    return fixed_specs(area.layout, area.prefix, area.declared_size_bytes)


def could_match(area: Area, patterns: Sequence[str]) -> bool:
    """Whether a field of the area may match one of the globs, as its first words tell; without globs, all do."""
    roots = _roots(area.layout, area.prefix)
    if roots is None or not patterns:
        return True
    for pattern in patterns:
        begins = pattern.partition("*")[0].partition("?")[0].lower()
        if any(begins.startswith(root) or root.startswith(begins) for root in roots):
            return True
    return False


@lru_cache(maxsize=256)
def _roots(name: str, prefix: str) -> tuple[str, ...] | None:
    """How paths of a layout may begin; None where its bytes decide."""
    if name == "xsave":
        return prefix.lower(), prefix.replace("xsave", "xstate").lower()
    if _BY_CONTENT.get(name, "").startswith(("entries:", "process_notes:")) and name != "named-values":
        return (prefix.lower(),)
    layout = None if name in _BY_CONTENT or name == "raw" else layout_named(name)
    if layout is None:
        return None
    return tuple({prefix.lower(), *((root or head).lower() for head, root in layout.roots.items())})


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
    layout = layout_named(name)
    assert layout is not None, name
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
