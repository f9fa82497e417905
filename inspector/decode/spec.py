"""FieldSpec: where a field lies and what it is, without its value.

Specs are made once for a layout and shared by all areas that have it; a value is read only
when it is asked for.
"""

from __future__ import annotations

from layouts.light import NamedTuple
from layouts.vocabulary import Bits, Register

#: Groups of fields that only say how others are stored.
STRUCTURE_GROUPS = frozenset({"entries", "types", "gaps"})


class Span(NamedTuple):
    """Bytes of an area."""

    offset: int
    size_bytes: int


class FieldSpec(NamedTuple):
    """A field of a layout.

    ``pieces`` are its bytes, low part first; a whole register may have several, each owned
    by the state component in ``components`` (-1: by none). ``kind`` is one of ``uint``,
    ``int``, ``vector``, ``tile``, ``x87``, ``text``, ``bytes``, ``reserved``, ``gap`` and
    ``fact`` (a value that is known without bytes). ``bit`` narrows the field to a range of
    bits. ``swap`` is the size of the words that lie most significant byte first in the file (0:
    all bytes lie as in memory). ``missing_bytes`` are upper bytes of the field that the format
    leaves out. ``initial`` is the value in the initial configuration of its component.
    """

    path: str
    kind: str
    pieces: tuple[Span, ...]
    components: tuple[int, ...]
    group: str
    title: str
    source: str
    register: Register | None = None
    bit: Bits | None = None
    initial: int = 0
    fact: int | None = None
    text: str = ""
    swap: int = 0
    missing_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all pieces."""
        if len(self.pieces) == 1:
            return self.pieces[0].size_bytes
        return sum(piece.size_bytes for piece in self.pieces)

    @property
    def bits(self) -> int:
        """Width in bits."""
        if self.bit is not None:
            return self.bit.width
        return 8 * (self.size_bytes + self.missing_bytes)

    @property
    def is_structure(self) -> bool:
        """Padding, counts of entries and the like: there for completeness, seldom read."""
        return self.kind in ("reserved", "gap") or self.group in STRUCTURE_GROUPS

    @property
    def end(self) -> int:
        """The first byte of the area behind the field."""
        if len(self.pieces) == 1:
            # Most fields; a value is never read without this question.
            return self.pieces[0].offset + self.pieces[0].size_bytes
        return max((piece.offset + piece.size_bytes for piece in self.pieces), default=0)


#: ``components`` of a field in one piece that is of no state component.
UNOWNED = (-1,)


def field_spec(
    path: str,
    span: Span,
    kind: str = "uint",
    *,
    group: str,
    title: str,
    source: str,
    owner: int | None = None,
    register: Register | None = None,
    bit: Bits | None = None,
    initial: int = 0,
    swap: int = 0,
) -> FieldSpec:
    """A field whose bytes lie in one piece; ``owner`` is the state component that it is of, None for none."""
    components = UNOWNED if owner is None else (owner,)
    return FieldSpec(path, kind, (span,), components, group, title, source, register, bit, initial, swap=swap)


def pieces_spec(
    path: str, pieces: tuple[Span, ...], kind: str, *, group: str, title: str, source: str, swap: int = 0
) -> FieldSpec:
    """A field in several pieces, low part first, of no state component."""
    return FieldSpec(path, kind, pieces, UNOWNED * len(pieces), group, title, source, swap=swap)


def fact_spec(path: str, value: int | None, *, group: str, title: str, source: str, text: str = "") -> FieldSpec:
    """A value that is known without bytes."""
    return FieldSpec(path, "fact", (), (), group, title, source, fact=value, text=text)


def narrow(span: Span, start: int, size_bytes: int, word_bytes: int) -> tuple[Span, ...]:
    """The part of big-endian words that holds ``size_bytes`` of a register from byte ``start`` on.

    ``start`` is a multiple of the word. A rest smaller than a word lies at the word's end.
    """
    whole = size_bytes // word_bytes * word_bytes
    rest = size_bytes - whole
    pieces = [Span(span.offset + start, whole)] if whole else []
    if rest:
        pieces.append(Span(span.offset + start + whole + word_bytes - rest, rest))
    return tuple(pieces)


def unique(specs: list[FieldSpec]) -> list[FieldSpec]:
    """A path that an earlier field has already gets ``~2`` and so on."""
    seen: dict[str, int] = {}
    result = []
    for spec in specs:
        count = seen[spec.path] = seen.get(spec.path, 0) + 1
        result.append(spec if count == 1 else spec._replace(path=f"{spec.path}~{count}"))
    return result
