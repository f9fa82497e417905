"""The fields of an area: looked up by number, path, pattern or byte; decoded one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from inspector.capture.model import Area
from inspector.decode import values
from inspector.decode.dropped import DroppedBytes
from inspector.decode.header import held_xstate_bv
from inspector.decode.plans import specs_of
from inspector.decode.spec import UNOWNED, FieldSpec, Span
from inspector.decode.texts import field_text, initial_text, kept_text
from layouts.light import TYPE_CHECKING, NamedTuple, lru_cache
from layouts.vocabulary import Bits

if TYPE_CHECKING:
    from typing import Any

NOT_CAPTURED = "not captured"

#: A whole register of which only some parts are in their initial configuration.
PARTLY_INITIAL = "partly initial"


class Field(NamedTuple):
    """A field with its value.

    ``value`` is None when the capture does not hold it. ``data`` are the bytes in memory,
    which of an initial component are stale: ``state`` is then ``initial`` (or ``partly
    initial`` when only some pieces of a whole register are).
    """

    spec: FieldSpec
    area: Area
    value: int | None
    data: bytes | None
    text: str
    state: str
    changed: bool

    @property
    def path(self) -> str:
        """The stable name of the field."""
        return self.spec.path

    @property
    def bits(self) -> int:
        """Width in bits."""
        return self.spec.bits or 64

    @property
    def file_offset(self) -> int | None:
        """Offset of the first byte in the (decompressed) file."""
        return self.area.origin.offset + self.spec.pieces[0].offset if self.spec.pieces else None

    def shown_value(self) -> bytes:
        """The value as little-endian bytes: the initial value where the component is initial."""
        assert self.value is not None
        return self.value.to_bytes(-(-self.bits // 8), "little")


class FieldTable(Sequence[Field]):
    """The fields of one area. Nothing is decoded before it is asked for."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self._specs: tuple[FieldSpec, ...] | None = None
        told = area.attributes
        unknown = told.get("unknown")
        self._unknown = bytes.fromhex(unknown) if unknown else b""
        self._dropped = DroppedBytes(area)
        is_kept = area.layout == "xsave" and not told.get("xstate_bv_unmaintained")
        self._bv = held_xstate_bv(area.data) if is_kept else None

    @property
    def _unknown_is(self) -> str:
        """Of a host, or a guest's CPUID, that QEMU tells of, some bits; a template's are kept as the host has them."""
        return "is unknown" if self.area.prefix in ("host", "guest") else "keeps the host's bit"

    @property
    def specs(self) -> tuple[FieldSpec, ...]:
        """The specs of all fields, in the order in which they are shown; areas of one layout share them."""
        if self._specs is None:
            self._specs = specs_of(self.area)
        return self._specs

    @property
    def xstate_bv(self) -> int | None:
        """XSTATE_BV, where it decides which components are in their initial configuration."""
        return self._bv

    @property
    def is_ordinary(self) -> bool:
        """No byte of the area is unknown or was dropped."""
        return not self._unknown and not self._dropped

    def state_of(self, spec: FieldSpec) -> str:
        """Empty, or that all or some of a field is in the initial configuration of its components."""
        if self._bv is None or spec.components == (-1,):
            return ""
        initial = [component >= 0 and not self._bv >> component & 1 for component in spec.components]
        return "" if not any(initial) else "initial" if all(initial) else PARTLY_INITIAL

    def other_reading(self, other: FieldTable) -> int | None:
        """The components of which equal bytes of two areas with the same specs may be other fields; None: of any."""
        if (self._unknown, self._dropped) != (other._unknown, other._dropped):
            return None
        if self._bv == other._bv:
            return 0
        return None if self._bv is None or other._bv is None else self._bv ^ other._bv

    def same_value(self, other: FieldTable, spec: FieldSpec) -> bool | None:
        """Whether a field of both is the same, by its bytes and by its components in use; None: decoding tells."""
        if spec.fact is not None or self._unknown or other._unknown or self._dropped or other._dropped:
            return None
        if len(self.area.data) != len(other.area.data):
            return None
        initial = self._initial(spec)
        if initial != other._initial(spec):
            return None
        if all(self.area.data[at : at + size] == other.area.data[at : at + size] for at, size in spec.pieces):
            return True
        plain = spec.bit is None and not spec.missing_bytes and not spec.is_structure
        return False if plain and not initial and spec.end <= len(self.area.data) else None

    def _initial(self, spec: FieldSpec) -> int:
        """The components of a field that are in their initial configuration, as a mask."""
        if self._bv is None or spec.components == UNOWNED:
            return 0
        return _mask(spec.components) & ~self._bv

    def __len__(self) -> int:
        return len(self.specs)

    def __getitem__(self, index: Any) -> Any:
        return self.decode(self.specs[index])

    def __iter__(self) -> Iterator[Field]:
        return map(self.decode, self.specs)

    def decode(self, spec: FieldSpec) -> Field:
        """The field of one spec (of this table, or a child of one)."""
        if spec.fact is not None:
            return Field(spec, self.area, spec.fact, None, spec.text or str(spec.fact), "", changed=False)
        data = self.area.data
        if spec.end > len(data):
            return Field(spec, self.area, None, None, NOT_CAPTURED, "", changed=False)
        kind = self._dropped.kind(spec.pieces) if self._dropped else ""
        if kind:
            return Field(spec, self.area, None, None, f"{NOT_CAPTURED} (dropped: {kind})", "", changed=False)
        raw = gather(data, spec)
        if spec.missing_bytes:
            low = f"low {8 * len(raw)} of {spec.bits} bits: {raw[:16].hex(' ')} ..., the rest {NOT_CAPTURED}"
            return Field(spec, self.area, None, raw, low, "partly captured", changed=False)
        if self._unknown:
            mask = int.from_bytes(gather(self._unknown, spec), "little")
            mask &= spec.bit.mask if spec.bit else mask
            if mask:
                return Field(
                    spec, self.area, None, None, kept_text(spec, raw, mask, self._unknown_is), "", changed=False
                )
        state, value = self._value(spec, raw)
        changed = self.area.original is not data and _differs(spec, gather(self.area.original, spec), raw)
        if spec.bit is not None:
            value = value >> spec.bit.lsb & ((1 << spec.bit.width) - 1)
        if state == PARTLY_INITIAL:
            text = f"{field_text(spec, value, value.to_bytes(len(raw), 'little'))} ({state})"
        else:
            text = field_text(spec, value, raw) if state != "initial" else initial_text(spec, value, raw)
        return Field(spec, self.area, value, raw, text, state, changed)

    def _value(self, spec: FieldSpec, raw: bytes) -> tuple[str, int]:
        """Memory, or the initial configuration of the components whose XSTATE_BV bit is 0."""
        value = int.from_bytes(raw, "little")
        if self._bv is None or spec.components == UNOWNED:
            return "", value
        state = self.state_of(spec)
        if state != PARTLY_INITIAL:
            return state, spec.initial if state else value
        shown = bytearray(raw)
        at = 0
        for piece, component in zip(spec.pieces, spec.components, strict=True):
            if component >= 0 and not self._bv >> component & 1:
                shown[at : at + piece.size_bytes] = bytes(piece.size_bytes)
            at += piece.size_bytes
        return PARTLY_INITIAL, int.from_bytes(shown, "little")

    def get(self, path: str) -> Field | None:
        """The field with exactly this path, or None: much faster than a pattern."""
        spec = _by_path(self.specs).get(path)
        return self.decode(spec) if spec else None

    def find(self, pattern: str) -> list[FieldSpec]:
        """The specs whose path matches a glob; ``[`` and ``]`` are literal.

        Bits and elements are looked into only when the pattern has more words than the
        path of the field that they belong to.
        """
        whole = _glob(pattern)
        words = pattern.split(".")
        found = tile_rows(self.specs, whole) if words[0] == "za" and len(words) == 3 else []
        for spec in self.specs:
            if whole(spec.path):
                found.append(spec)
                continue
            depth = spec.path.count(".") + 1
            if len(words) > depth and _glob(".".join(words[:depth]))(spec.path):
                found += [child for child in children(spec, words[depth]) if whole(child.path)]
        return found

    def at(self, offset: int) -> int | None:
        """The number of the field that holds a byte of the area: the smallest one that does."""
        best: tuple[int, int] | None = None
        for index, spec in enumerate(self.specs):
            if spec.bit is None and any(p.offset <= offset < p.offset + p.size_bytes for p in spec.pieces):
                key = (spec.size_bytes, index)
                best = min(best, key) if best else key
        return best[1] if best else None


@lru_cache(maxsize=1 << 10)
def _mask(components: tuple[int, ...]) -> int:
    return sum({1 << number for number in components if number >= 0})


def is_quiet(field: Field) -> bool:
    """Says nothing: an entry's number, or padding that is zero as it should be."""
    spec = field.spec
    return spec.is_structure and (spec.kind not in ("reserved", "gap") or not field.value)


_INDEXES: dict[int, tuple[tuple[FieldSpec, ...], dict[str, FieldSpec]]] = {}


def _by_path(specs: tuple[FieldSpec, ...]) -> dict[str, FieldSpec]:
    """Specs by path; kept by identity, because areas of one layout share one tuple of specs."""
    known = _INDEXES.get(id(specs))
    if known is None:
        if len(_INDEXES) > 256:
            _INDEXES.clear()
        known = _INDEXES[id(specs)] = (specs, {spec.path: spec for spec in specs})
    return known[1]


@lru_cache(maxsize=512)
def _glob(pattern: str) -> Callable[[str], object]:
    """Whether a path is of a pattern, in upper or lower case: true or a match."""
    if "*" not in pattern and "?" not in pattern:
        path = pattern.lower()
        return lambda other: other.lower() == path
    import re

    parts = re.split(r"([*?])", pattern)
    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(part, re.escape(part)) for part in parts), re.IGNORECASE).fullmatch


def gather(data: Any, spec: FieldSpec) -> bytes:
    """The bytes of a field as they lie in the CPU's memory, low part first."""
    if len(spec.pieces) == 1:
        offset, size = spec.pieces[0]
        raw = bytes(data[offset : offset + size])
    else:
        raw = b"".join(data[offset : offset + size] for offset, size in spec.pieces)
    return swapped(raw, spec.swap) if spec.swap > 1 else raw


def _differs(spec: FieldSpec, one: bytes, other: bytes) -> bool:
    """Whether a field's bytes differ; of a range of bits only those bits."""
    differing = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return bool(differing & spec.bit.mask if spec.bit is not None else differing)


def swapped(raw: bytes, word_bytes: int) -> bytes:
    """Each word of ``word_bytes`` with its bytes the other way round."""
    if len(raw) == word_bytes:
        return raw[::-1]
    return b"".join(raw[at : at + word_bytes][::-1] for at in range(0, len(raw), word_bytes))


def children(spec: FieldSpec, want: str = "*") -> list[FieldSpec]:
    """The bits of a register, the elements of a vector, the rows of a tile.

    ``want`` is the first word behind the field's path, which chooses the element type of a
    vector (``f32[3]``); ``*`` gives bits, or 64-bit elements.
    """
    if spec.bit is not None:
        return []
    if spec.register is not None:
        return [_bit_child(spec, bits) for bits in spec.register.bits if bits.lsb + bits.width <= spec.bits]
    if spec.kind == "tile":
        rows = [_part(spec, f"row[{n}]", 64 * n, 64, "vector") for n in range(spec.size_bytes // 64)]
        return [row for row in rows if row]
    if spec.kind == "vector":
        element = values.BY_NAME.get(want.partition("[")[0], values.BY_NAME["u64"])
        width = element.width_bytes
        kind = "uint" if element.name[0] in "ux" else element.name
        count = spec.size_bytes // width
        parts = [_part(spec, f"{element.name}[{n}]", width * n, width, kind) for n in range(count)]
        return [part for part in parts if part]
    return []


def tile_rows(specs: tuple[FieldSpec, ...], is_wanted: Callable[[str], object]) -> list[FieldSpec]:
    """ZA by tile: ``za.s[1].row[2]`` is row 2 * 4 + 1 of ZA (Arm ARM, B1.4.9)."""
    rows = [spec for spec in specs if spec.path.startswith("za.row[")]
    found = []
    for name, tiles in (("b", 1), ("h", 2), ("s", 4), ("d", 8), ("q", 16)):
        for number, spec in enumerate(rows):
            path = f"za.{name}[{number % tiles}].row[{number // tiles}]"
            if is_wanted(path):
                found.append(spec._replace(path=path))
    return found


def _bit_child(spec: FieldSpec, bits: Bits) -> FieldSpec:
    title = bits.meaning or bits.name
    return spec._replace(path=f"{spec.path}.{bits.name}", bit=bits, title=title, register=None)


def _part(spec: FieldSpec, name: str, start: int, size: int, kind: str) -> FieldSpec | None:
    """A run of bytes of a field; None when it crosses pieces, as in files that cut registers oddly."""
    at = 0
    for piece, component in zip(spec.pieces, spec.components, strict=True):
        if at <= start and start + size <= at + piece.size_bytes:
            inner = start - at
            if spec.swap > 1:
                # Within a word that lies the other way round, parts do too.
                if size < spec.swap:
                    word = inner // spec.swap * spec.swap
                    inner = word + spec.swap - (inner - word) - size
                elif size % spec.swap:
                    break
            span = Span(piece.offset + inner, size)
            return spec._replace(
                path=f"{spec.path}.{name}",
                kind=kind,
                pieces=(span,),
                components=(component,),
                initial=0,
                swap=min(spec.swap, size),
            )
        at += piece.size_bytes
    return None
