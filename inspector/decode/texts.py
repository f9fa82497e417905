"""What a person reads for a field's value."""

from __future__ import annotations

from inspector.capture.errors import visible
from inspector.decode import values
from inspector.decode.spec import FieldSpec
from layouts.files.elf import SIGNALS

#: Larger unsigned numbers are addresses and masks: decimal tells nothing about them.
_DECIMAL_LIMIT = 1 << 32
_SIGNAL_NUMBERS = ("si_signo", "cursig")


def field_text(spec: FieldSpec, value: int, raw: bytes) -> str:
    """What a person reads for a value."""
    if spec.bit is not None:
        named = spec.bit.values.get(value)
        return named or (str(value) if spec.bit.width > 1 else ("set" if value else "clear"))
    if spec.register is not None:
        return values.flags_text(value, spec.register)
    return _TEXT.get(spec.kind, _bytes_text)(spec, value, raw)


#: Kinds whose value says all: a word beside it would be the value again, in decimal or cut in words.
_VALUE_SAYS_ALL = frozenset({"uint", "vector", "bytes", "tile", "predicate", "reserved", "gap"})


def has_words(spec: FieldSpec) -> bool:
    """What a person reads for a value is more than the value: names of bits, a number in floating point, a string."""
    if spec.kind not in _VALUE_SAYS_ALL or spec.register is not None or spec.text:
        return True
    if spec.bit is not None:
        return bool(spec.bit.values)
    return spec.path.endswith(_SIGNAL_NUMBERS)


def initial_text(spec: FieldSpec, value: int, raw: bytes) -> str:
    """The initial value, and that other bytes lie there when they do."""
    shown = value.to_bytes(len(raw), "little")
    if spec.bit is not None:
        return f"initial: {value}"
    stale = " (stale bytes behind)" if shown != raw else ""
    return f"initial{f': {value:#x}' if value else ''}{stale}"


def kept_text(spec: FieldSpec, raw: bytes, mask: int, unknown: str) -> str:
    """A value with bits that are not known; ``unknown`` says what an ``x`` is."""
    value = int.from_bytes(raw, "little")
    low, width = (spec.bit.lsb, spec.bit.width) if spec.bit else (0, 8 * len(raw))
    digits = ["x" if mask >> n & 1 else str(value >> n & 1) for n in range(low + width - 1, low - 1, -1)]
    return f"x {unknown}: 0b{''.join(digits)}"


def _uint_text(spec: FieldSpec, value: int, _raw: bytes) -> str:
    last = spec.path.rpartition(".")[2]
    if last in _SIGNAL_NUMBERS and value in SIGNALS:
        return SIGNALS[value]
    return str(value) if value < _DECIMAL_LIMIT else ""


def _int_text(spec: FieldSpec, _value: int, raw: bytes) -> str:
    return _uint_text(spec, int.from_bytes(raw, "little", signed=True), raw)


def _bytes_text(_spec: FieldSpec, _value: int, raw: bytes) -> str:
    if not any(raw):
        return f"{len(raw)} zero bytes"
    return f"{len(raw)} bytes: {_beginning(raw)}"


def _text_text(_spec: FieldSpec, _value: int, raw: bytes) -> str:
    return visible(raw.split(b"\0", 1)[0].decode("utf-8", "replace"))


def _tile_text(_spec: FieldSpec, _value: int, raw: bytes) -> str:
    if not any(raw):
        return "zero"
    return f"row 0: {_beginning(raw)}"


def _beginning(raw: bytes) -> str:
    """The first bytes, and of more a checksum: no two values look the same."""
    return raw.hex(" ") if len(raw) <= 16 else f"{raw[:16].hex(' ')} ... crc32 {_crc32(raw):08x}"


def _crc32(raw: bytes) -> int:
    from zlib import crc32

    return crc32(raw)


def _predicate_text(_spec: FieldSpec, value: int, raw: bytes) -> str:
    """Lanes of a predicate: all, none, or the element size at which it is regular."""
    if not value:
        return "no lane"
    for name, step in (("b", 1), ("h", 2), ("s", 4), ("d", 8), ("q", 16)):
        full = sum(1 << bit for bit in range(0, 8 * len(raw), step))
        if value == full:
            return f"all .{name}"
    count = f"{value.bit_count()} of {8 * len(raw)} bits"
    return count if len(raw) <= 16 else f"{count}, crc32 {_crc32(raw):08x}"


def _element_text(spec: FieldSpec, _value: int, raw: bytes) -> str:
    element = values.BY_NAME[spec.kind]
    found = values.elements(raw, element)
    return values.element_text(found[0], element) if found else _bytes_text(spec, _value, raw)


_TEXT = {
    "uint": _uint_text,
    "int": _int_text,
    "text": _text_text,
    "tile": _tile_text,
    "x87": lambda _spec, _value, raw: values.x87_text(raw),
    "predicate": _predicate_text,
    "vector": lambda _spec, _value, raw: values.words_text(raw),
    **dict.fromkeys(("i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"), _element_text),
}
