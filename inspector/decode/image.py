"""A whole XSAVE image at once, as plain values: for tools that read many images.

The field table decodes what is looked at; this decodes everything in one pass over the
bytes, compiled from the same declarations.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from inspector.capture.errors import InputError
from inspector.capture.model import Area
from inspector.decode.header import is_compacted
from inspector.decode.placement import Place, places
from inspector.decode.spec import FieldSpec
from inspector.decode.xsave import xsave_specs
from layouts.light import lru_cache
from layouts.x86.xsave import EXTENDED_OFFSET

Components = dict[str, dict[str, int | bytes]]

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def read_image(area: Area) -> Components:
    """Components (``legacy``, ``header``, ``avx``, ...) of an image, each member by its name.

    Integers as int, everything else as bytes in memory order; what XSTATE_BV calls initial
    is not told apart. Raises InputError when the image is shorter than its layout needs.
    """
    placed = places(area.data, area.declared_size_bytes, area.attributes["table"])
    unpack, size_bytes, shape = _compiled(placed, compacted=is_compacted(area.data))
    if len(area.data) < size_bytes:
        found = f"{len(area.data)} bytes"
        raise InputError(area.origin.file, f"an XSAVE image of {size_bytes} bytes", found, area.origin.offset)
    values = unpack(area.data)
    return {name: dict(zip(members, values[first:last], strict=True)) for name, members, first, last in shape}


_Shape = list[tuple[str, tuple[str, ...], int, int]]


@lru_cache(maxsize=64)
def _compiled(
    placed: tuple[Place, ...], *, compacted: bool
) -> tuple[Callable[..., tuple[int | bytes, ...]], int, _Shape]:
    """One struct for all members in the order of their offsets, and how to group what it gives."""
    end = max((place.offset + place.size_bytes for place in placed), default=EXTENDED_OFFSET)
    specs = [spec for spec in xsave_specs("xsave", placed, end, compacted=compacted) if _is_member(spec)]
    specs.sort(key=lambda spec: spec.pieces[0].offset)
    code, at = "<", 0
    shape: _Shape = []
    for number, spec in enumerate(specs):
        (offset, size) = spec.pieces[0]
        code += f"{offset - at}x" if offset > at else ""
        code += _CODES.get(size, f"{size}s") if spec.kind in ("uint", "int") else f"{size}s"
        at = offset + size
        component, _, member = spec.path.removeprefix("xsave.").partition(".")
        if not member:
            component, member = "legacy", component
        if not shape or shape[-1][0] != component:
            shape.append((component, (), number, number))
        name, members, first, _ = shape[-1]
        shape[-1] = (name, (*members, member), first, number + 1)
    compiled = Struct(code)
    return compiled.unpack_from, compiled.size, shape


def _is_member(spec: FieldSpec) -> bool:
    """A member of a component, each byte once: no bits, no gaps, no whole register of several parts."""
    once = len(spec.pieces) == 1 and spec.group not in ("ymm", "zmm")
    return once and spec.bit is None and spec.kind not in ("gap", "reserved")
