"""An XSAVE image as fields: legacy region, header, whole registers, components, gaps."""

from __future__ import annotations

from collections.abc import Iterable

from inspector.decode.placement import Place
from inspector.decode.spec import FieldSpec, Span, fact_spec, field_spec
from inspector.decode.walk import Leaf, walk
from layouts.light import cache, lru_cache
from layouts.vocabulary import Bits, Component, View
from layouts.x86 import xsave as x
from layouts.x86.xsave_views import FIRST_INDEX, HEADER_REGISTERS, LEGACY_REGISTERS, VIEWS

#: Groups of an image's fields that are no component, with their titles.
_LEGACY = "legacy"
_HEADER = "header"


@lru_cache(maxsize=256)
def xsave_specs(prefix: str, placed: tuple[Place, ...], size_bytes: int, *, compacted: bool) -> tuple[FieldSpec, ...]:
    """All fields of an image with these places; ``size_bytes`` is the image's declared size."""
    specs = [
        *_header_specs(prefix),
        *_legacy_specs(prefix, compacted=compacted),
        *_view_specs(prefix, placed),
    ]
    for place in placed:
        specs += _component_specs(prefix, place)
    specs += gap_specs(prefix, specs, size_bytes)
    specs += _fact_specs(prefix.replace("xsave", "xstate"), placed)
    return tuple(specs)


@cache
def _legacy_leaves() -> tuple[Leaf, ...]:
    return tuple(walk(x.LEGACY.construct))


def _legacy_specs(prefix: str, *, compacted: bool) -> list[FieldSpec]:
    specs = []
    for leaf in _legacy_leaves():
        name = leaf.plain_name
        if name in ("st", "xmm"):
            continue
        if name == "st.reserved":
            specs.append(_slot_rest(prefix, leaf))
            continue
        owner = x.LEGACY_OWNERS.get(name)
        if name == "mxcsr" and not compacted:
            # XRSTOR loads MXCSR from a standard image whatever XSTATE_BV says
            # (Intel SDM vol. 1, 13.8.1), so there it is never initial.
            owner = None
        specs.append(
            field_spec(
                f"{prefix}.{_LEGACY}.{leaf.name}",
                Span(leaf.offset, leaf.size_bytes),
                leaf.kind,
                group=_LEGACY,
                title=leaf.doc,
                source=x.LEGACY.source,
                owner=owner,
                register=LEGACY_REGISTERS.get(name),
                initial=x.INITIAL_VALUES.get(name, 0),
            )
        )
    return specs


def _slot_rest(prefix: str, leaf: Leaf) -> FieldSpec:
    """The unused bytes behind an x87 register in its 16-byte slot."""
    span = Span(leaf.offset, leaf.size_bytes)
    return field_spec(f"{prefix}.{leaf.name}", span, "reserved", group="st", title=leaf.doc, source=x.LEGACY.source)


def _header_specs(prefix: str) -> list[FieldSpec]:
    return [
        field_spec(
            f"{prefix}.{_HEADER}.{leaf.name}",
            Span(x.HEADER_OFFSET + leaf.offset, leaf.size_bytes),
            leaf.kind,
            group=_HEADER,
            title=leaf.doc,
            source=x.HEADER.source,
            register=HEADER_REGISTERS.get(leaf.name),
        )
        for leaf in walk(x.HEADER.construct)
    ]


def _view_specs(prefix: str, placed: tuple[Place, ...]) -> list[FieldSpec]:
    offsets = {x.X87: 0, x.SSE: 0} | {place.component: place.offset for place in placed}
    specs = []
    for view in VIEWS:
        if all(piece.component in offsets for piece in view.pieces):
            specs += [_view_spec(prefix, view, number, offsets) for number in view.numbers]
    return specs


def _view_spec(prefix: str, view: View, number: int, offsets: dict[int, int]) -> FieldSpec:
    nth = number - view.numbers.start
    return FieldSpec(
        f"{prefix}.{view.name}[{number}]",
        "x87" if view.name == "st" else "vector",
        tuple(
            Span(offsets[piece.component] + piece.offset + piece.stride * nth, piece.size_bytes)
            for piece in view.pieces
        ),
        tuple(piece.component for piece in view.pieces),
        view.name,
        f"{view.title} {number}",
        x.BY_NUMBER[view.pieces[-1].component].source,
    )


def _component_specs(prefix: str, place: Place) -> list[FieldSpec]:
    component = x.BY_NUMBER.get(place.component)
    if component is None or component.construct is None:
        return [
            field_spec(
                f"{prefix}.component{place.component}",
                Span(place.offset, place.size_bytes),
                "bytes",
                group=f"component{place.component}",
                title="state component that has no layout here",
                source="CPUID leaf 0xD",
                owner=place.component,
            )
        ]
    return [
        field_spec(
            f"{prefix}.{component.name}.{_renumbered(component, leaf.name)}",
            Span(place.offset + leaf.offset, leaf.size_bytes),
            leaf.kind,
            group=component.name,
            title=leaf.doc,
            source=component.source,
            owner=component.number,
            register=component.registers.get(leaf.plain_name),
        )
        for leaf in walk(component.construct)
        if leaf.offset + leaf.size_bytes <= place.size_bytes
    ]


def _renumbered(component: Component, name: str) -> str:
    """``zmm[0]`` of component 7 is ZMM16, ``r[0]`` of component 19 is R16."""
    member, _, rest = name.partition("[")
    first = FIRST_INDEX.get((component.name, member))
    if first is None:
        return name
    return f"{member}[{first + int(rest.rstrip(']'))}]"


def gap_specs(prefix: str, specs: Iterable[FieldSpec], size_bytes: int) -> list[FieldSpec]:
    """A field for every run of bytes that no other field claims."""
    spans = sorted({piece for spec in specs for piece in spec.pieces})
    gaps = []
    at = 0
    for offset, size in [*spans, Span(size_bytes, 0)]:
        if offset > at:
            gaps.append(_gap(prefix, at, min(offset, size_bytes)))
        at = max(at, offset + size)
    return gaps


def _gap(prefix: str, start: int, end: int) -> FieldSpec:
    return field_spec(
        f"{prefix}.gap[{start:#x}:{end:#x}]",
        Span(start, end - start),
        "gap",
        group="gaps",
        title="bytes that no field claims",
        source="the layout",
    )


def _fact_specs(prefix: str, placed: tuple[Place, ...]) -> list[FieldSpec]:
    """What the layout says of each component, and the XSTATE_BV bit that says it is in use."""
    found = (*(Place(n, at.offset, at.size_bytes) for n, at in x.LEGACY_COMPONENTS.items()), *placed)
    specs = []
    for place in sorted(found):
        component = x.BY_NUMBER.get(place.component)
        name = component.name if component else f"component{place.component}"
        title = component.title if component else "unknown component"
        source = component.source if component else "CPUID leaf 0xD"
        specs.append(
            field_spec(
                f"{prefix}.{name}.in_use",
                Span(*x.HEADER_AT["xstate_bv"]),
                group="xstate",
                title=f"{title}: the image holds data (its XSTATE_BV bit)",
                source=x.HEADER.source,
                bit=Bits("in_use", place.component, 1, title),
            )
        )
        for what, value in (("offset", place.offset), ("size", place.size_bytes)):
            specs.append(
                fact_spec(
                    f"{prefix}.{name}.{what}", value, group="xstate", title=f"{title}: {what} in bytes", source=source
                )
            )
    return specs
