"""The records of deep recordings: keys, and what they hold."""

from __future__ import annotations

from inspector.machine.shapes import (
    ANY_TEXT,
    ERRNO,
    MEMORY,
    REGISTER,
    U64,
    Shape,
    Value,
    number,
    optional,
    rows,
    table,
    text,
    tuple_of,
    word,
)


def _row(count: int) -> Value:
    return text(f"[0pnBefbiowx?-]{{{count}}}", f"{count} letters, an answer each")


_ID = text("[0-9a-f]{16}", "a register id of 16 hexadecimal digits")
_NONE = number(0, 0)
_VCPU, _COUNT, _SHIFT = number(0, 511), number(-1, 1 << 20), number(0, 60)
_FEATURES, _FLAGS, _DIGITS = number(0, (1 << 32) - 1), number(0, 7), 16
_LOW = text("[0-9a-f]{1,4}", "up to 4 hexadecimal digits")
_WRITE = tuple_of(U64, ERRNO, U64)
_ROW, _LETTERS = _row(_DIGITS), text("[0n?iefpBbo-]{1,64}", "letters, an answer each")
_SECTION = {"s": ANY_TEXT}
_ERRNO = {"e": ERRNO}

SHAPES: dict[str, Shape] = {
    "host": {"cpu": ANY_TEXT, "mte": word("on", "off"), "gic": optional(ANY_TEXT), "append": optional(ANY_TEXT)}
    | {"smp": optional(text("[0-9]{1,3}", "a number of CPUs"))},
    "meta": {"release": ANY_TEXT},
    "vm": {**_SECTION, **_ERRNO},
    "mk": {**_SECTION, "f": _FEATURES, "fl": _FLAGS, "at": number(0, 5), **_ERRNO},
    "cap": {"cap": number(0, (1 << 32) - 1), **_ERRNO},
    "vcpu": {"i": _VCPU, **_ERRNO},
    "init": {"i": _VCPU, "f": _FEATURES, **_ERRNO},
    "fin": {"i": _VCPU, "f": number(), **_ERRNO},
    "get": {"i": _VCPU, "id": _ID, "v": optional(MEMORY), **_ERRNO},
    "set": {"i": _VCPU, "id": _ID, "v": MEMORY, **_ERRNO},
    "run": {"i": _VCPU, "guest": ANY_TEXT, "exit": optional(number(-1, 255)), **_ERRNO},
    "list": {"i": _VCPU, "n": _COUNT, "ids": rows(_ID), **_ERRNO},
    "listn": {"n": _COUNT, **_ERRNO},
    "listsize": {"in": number(0), "n": _COUNT, **_ERRNO},
    "mem": _ERRNO,
    "gicdev": {"type": number(0, 255), **dict.fromkeys(("dist", "redist", "init"), optional(ERRNO)), **_ERRNO},
    "gicinit": dict.fromkeys(("dist", "redist", "init"), ERRNO),
    "pmuinit": {"i": _VCPU, "irq": optional(ERRNO), **_ERRNO},
    "pref": {"t": number(0, 255)},
    "inittgt": {"target": number(0, 255), "badbit30": ERRNO, "word3": ERRNO},
    "initbit": {"bit": number(0, 31), **_ERRNO},
    "initmx": {"r": _row(512)},
    "caps": dict.fromkeys(("vm", "sys"), table(text(r"[12]?\d{1,2}", "a number below 300"), number())),
    "masks": {**_ERRNO, "guard": number(0, 1), "m": table(text("3_[013]_0_[0-7]_[0-7]", "one of 192 registers"), U64)},
    "maskerr": {**_ERRNO, "range": optional(number(0, 255)), "reserved": optional(number(0, 12))},
    "masks_same": {"fl": _FLAGS, "c205": ERRNO, "c239": ERRNO, "init": ERRNO, "same": number(0, 1), **_ERRNO},
    "idr": {
        **_SECTION,
        "r": REGISTER,
        "b": U64,
        "same": _row(1),
        "nib": rows(_ROW, _DIGITS),
        "flip": _row(64),
        "sp": _row(4),
        "rnd": rows(text("[0-9a-f]{1,16}(?:[+~]|![0-9a-f]{1,16}|-.)", "a value and what came of it")),
        "x": rows(tuple_of(U64, U64)),
        "rf": _NONE,
    },
    "idno": {"r": REGISTER, "get": ERRNO, "set0": ERRNO, "set1": ERRNO},
    "leakn": {"n": _COUNT, "of": _COUNT},
    "leak": {"id": _ID, "now": U64},
    "pair": {
        **_SECTION,
        "n": ANY_TEXT,
        **dict.fromkeys(("a", "b"), _ID),
        **dict.fromkeys(("as", "bs"), _SHIFT),
        **dict.fromkeys(("ab", "bb"), U64),
        "r": rows(_ROW, _DIGITS),
        "first": text("|[0pnBefbiowx?-]{16}", "nothing or 16 letters"),
        "ch": rows(tuple_of(U64, U64, U64, U64)),
        "rf": _NONE,
    },
    "ctr": {"b": U64, "r": rows(_ROW, 256)},
    "ar": {**_SECTION, "id": _ID, "b": U64, "flip": _row(64), "now": U64}
    | dict.fromkeys(("same", "zero", "ones"), ERRNO),
    "sysw": {"id": _ID, "b": U64, "w": rows(_WRITE, 7), "restore": ERRNO, "after": U64},
    "bmap": {"id": _ID, "get": ERRNO, "b": U64, "bits": _row(64), "zero": ERRNO, "restore": ERRNO},
    "ccsidr": {
        "i": number(0, 255),
        "get": ERRNO,
        "set0": optional(ERRNO),
        "b": optional(text("[0-9a-f]{1,8}", "up to 8 hexadecimal digits")),
        "same": optional(_row(1)),
        "flip": optional(_row(32)),
        "rnd": optional(rows(_WRITE, 12)),
    },
    "vlsall": {"ok": rows(tuple_of(_LOW, U64, number(0, 1))), "hist": table(text(r"\d{1,3}", "an errno"), _COUNT)},
    "vlsbit": {**dict.fromkeys(("alone", "withdef", "prefixes"), _row(512)), "defprefix": _row(64)},
    "vcpu1diff": {"id": _ID, "e": ERRNO, "v0": U64, "v1": U64},
    "reinitdiff": {"id": _ID, "now": U64},
    "rundiff": {"id": _ID, "now": U64},
    "changed_after_run": {"id": _ID, "now": U64},
    "guest_mrs": {**_SECTION, "r": table(REGISTER, U64)},
    "bad": {"id": _ID, "get": ERRNO, "set": ERRNO},
    "badcoproc": {"size": number(3, 3), "lo": word("0000"), "get": _row(4096)},
    "badcoproc_set": {"size": number(3, 3), "lo": word("0000"), "set": _row(4096)},
    "badbits": {"base": _ID, "or_bit": text(r"(\d{1,2}\.\.\d{1,2},?)+", "ranges of bits"), "get": _LETTERS},
    "idmap": {
        "what": ANY_TEXT,
        "hi": text("[0-9a-f]{12}0{4}", "a register id whose low 16 bits are 0"),
        "call": word("get", "set0"),
        "runs": rows(tuple_of(_LOW, _LOW, _row(1))),
    },
    "null": {"id": text("[0-9a-f]{16}|(?:VLS|Z0)(?: .*)?", "a register"), "set": ERRNO, "get": optional(ERRNO)},
    "mrs_el0": {"reg": REGISTER, "v": optional(U64), "ill": optional(number(1, 1))},
}
