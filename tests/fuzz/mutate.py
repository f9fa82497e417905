"""Mutations of bytes, from a seeded generator: the same seed gives the same inputs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

_NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WIDE = (1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS = (
    *(b"0", b"-1", b"0x", b"1e999", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b"0010", b"99999999999"),
    *(b"\\ud800", b"\xc2\xb2", b"\xed\xa0\x80", b"\x1b[2J", b"..", b"/", b"\0", b"\n", b"[", b"]", b"{", b"}", b'"'),
    *(b"[9999]", b"[x]", b"1.5", b"18446744073709551616", b"0xffffffffffffffffff", b"\0\6", b"\5", b"\x7e"),
)
_MAX_SIZE_BYTES = 1 << 18
_JSON = re.compile(rb'(?:^|\0)(?=\{")')


def mutate(generator: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four mutations of ``data``; ``others`` are what it is spliced with. Of JSON, often its values."""
    json_at = _JSON.search(data)
    if json_at and generator.random() < 0.6:
        return _mutate_json(generator, data, json_at.end())
    found = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4))):
        generator.choice(_MUTATIONS)(generator, found, others)
        del found[_MAX_SIZE_BYTES:]
    return bytes(found)


def _place(generator: random.Random, data: bytearray) -> int:
    """A place; every second one is near the beginning, where headers are."""
    return generator.randrange(min(len(data), 256) + 1 if generator.random() < 0.5 else len(data) + 1)


def _flip(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(generator, data)
    if at < len(data):
        data[at] ^= generator.choice((1 << generator.randrange(8), 0xFF, 0x20))


def _cut(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(generator, data) :]


def _remove(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(generator, data)
    del data[at : at + generator.choice((1, 4, 8, 64))]


def _number(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    size = generator.choice((1, 2, 4, 8))
    value = generator.choice((*_NUMBERS, *_WIDE) if size == 8 else _NUMBERS) % (1 << 8 * size)
    at = _place(generator, data)
    data[at : at + size] = value.to_bytes(size, generator.choice(("little", "big")))


def _text(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(generator, data)
    data[at : at + generator.choice((0, 0, 1, 4))] = generator.choice(_TEXTS)


def _digits(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A run of digits, letters, spaces or opening brackets, where one of them stands if there is one."""
    at = _place(generator, data)
    run = generator.choice((b"9", b"0", b"a", b" ", b"[", b"{", b"\xff", b"\0", b"\n", b"=", b"A1"))
    data[at:at] = run * generator.choice((2, 16, 300, 5000))


def _copy(generator: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A block once more, often or somewhere else."""
    start = _place(generator, data)
    block = data[start : start + generator.choice((1, 8, 32, 256))]
    at = _place(generator, data)
    data[at:at] = block * generator.choice((1, 1, 2, 40))


def _splice(generator: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = generator.choice(others)
    start = generator.randrange(len(other) + 1)
    at = _place(generator, data)
    data[at : at + generator.choice((0, 16, len(data)))] = other[start : start + generator.choice((8, 64, len(other)))]


_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 255, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64, 10**400, 1.5, float("nan")),
    *("", "0", "-1", "0x", "0010", "\ud800", "²", "\x1b[2J", "a/b", "..", "0b1x", "env.segs[99].base", "[x]"),
    *(
        "9" * 5000,
        "cpu",
        "env.eip",
        "env.fpregs[x]",
        "env.bnd_regs[-1].lb",
        "uint64",
        "float",
        "x87",
        "0x6f00000000000000",
    ),
    *([], {}, [[]], [0] * 70, {"0": 1}, [None], [1, 2, 3], [[1, 2, 3, 4]]),
)


_KEYS = ("fields", "struct", "size", "array_len", "index", "name", "subsections", "0x1", "xsave", "xcrs", "vcpus")


def _mutate_json(generator: random.Random, data: bytes, start: int) -> bytes:
    """The JSON at ``start`` with one to four of its values changed; bytes before and behind it stay."""
    found, size = json.JSONDecoder().raw_decode(data[start:].decode("latin-1"))
    for _ in range(generator.choice((1, 1, 2, 4))):
        _change(generator, found)
    return data[:start] + json.dumps(found).encode() + data[start + size :]


def _change(generator: random.Random, node: Any) -> None:
    """Change something within an object or a list, somewhere below."""
    while isinstance(node, (dict, list)) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = generator.choice(keys)
        if isinstance(node[key], (dict, list)) and node[key] and generator.random() < 0.85:
            node = node[key]
            continue
        kind = generator.randrange(8)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node, list):
            node *= generator.choice((2, 3, 20))
        elif kind == 2 and isinstance(node, dict):
            node[generator.choice(_KEYS)] = deepcopy(node[key])
        elif kind == 3:
            node[key] = generator.choice(keys)
        else:
            node[key] = deepcopy(generator.choice(_VALUES))
        return


_MUTATIONS = (_flip, _flip, _number, _number, _cut, _remove, _text, _text, _digits, _copy, _splice)
