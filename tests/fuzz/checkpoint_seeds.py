"""Seeds of minidumps and of CRIU's images, built by the documented layouts."""

from __future__ import annotations

import struct


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _core(message: bytes) -> bytes:
    return struct.pack("<3I", 0x54564319, 0x55053847, len(message)) + message


def criu_x86() -> bytes:
    """A task with AVX-512, its numbers unpacked as CRIU writes them, the last component packed."""
    registers = b"".join(_number(n + 1, 0x33 if n in (17, 20) else 0x1000 + n) for n in range(27))
    xsave = _number(1, 0xE7) + b"".join(_number(2, 100 + n) for n in range(64))
    xsave += b"".join(_number(5, 0x1234 if n == 3 else n) for n in range(8))
    xsave += b"".join(_number(6, n) for n in range(64)) + _bytes(7, b"".join(_varint(n) for n in range(128)))
    fpu = _number(1, 0x37F) + _number(7, 0x1F80) + b"".join(_number(10, n) for n in range(64)) + _bytes(13, xsave)
    info = _number(1, 0) + _bytes(2, registers) + _bytes(3, fpu)
    return _core(_number(1, 1) + _bytes(2, info) + _bytes(3, _bytes(6, b"vec")))


def criu_arm64() -> bytes:
    registers = (
        b"".join(_number(1, n) for n in range(31)) + _number(2, 1 << 40) + _number(3, 0x400000) + _number(4, 6 << 28)
    )
    vectors = b"".join(_number(1, n) for n in range(64)) + _number(2, 1) + _number(3, 2)
    keys = _bytes(6, b"".join(_number(n, 0x1111 * n) for n in range(1, 10))) + _bytes(
        7, _number(1, 0xA) + _number(2, 0xB)
    )
    info = _number(2, 0x7777) + _bytes(3, registers) + _bytes(4, vectors) + _bytes(5, keys)
    return _core(_number(1, 3) + _bytes(8, info))


def _dump(arch: int, threads: list[tuple[int, bytes]], misc: bytes = b"") -> bytes:
    """Header, directory, streams, contexts; the first thread is the exception's."""
    kinds = (7, 3, 6) + ((15,) if misc else ())
    bodies = [struct.pack("<HH", arch, 0xABCD), b"", b"", *([misc] if misc else [])]
    sizes = [4, 4 + 48 * len(threads), 168, *([len(misc)] if misc else [])]
    at = 32 + 12 * len(kinds)
    places = []
    for size in sizes:
        places.append(at)
        at += size
    contexts = []
    for _, context in threads:
        contexts.append(at)
        at += len(context)
    rows = zip(threads, contexts, strict=True)
    bodies[1] = struct.pack("<I", len(threads)) + b"".join(
        struct.pack("<IIIIQQIIII", thread, 0, 0, 0, 0, 0, 0, 0, len(context), place)
        for (thread, context), place in rows
    )
    bodies[2] = struct.pack("<II152xII", threads[0][0], 0, len(threads[0][1]), contexts[0])
    head = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, len(kinds), 32, 0, 0, 0)
    directory = b"".join(struct.pack("<III", *row) for row in zip(kinds, sizes, places, strict=True))
    return head + directory + b"".join(bodies) + b"".join(context for _, context in threads)


def minidump() -> bytes:
    """Two threads of AMD64; the first with AVX."""
    context = bytearray(1232)
    struct.pack_into("<II", context, 0x30, 0x10004F, 0x1F80)
    struct.pack_into("<H", context, 0x38, 0x33)
    struct.pack_into("<QQ", context, 0xF0, 0xF15, 0x7FF612345678)
    struct.pack_into("<I", context, 0x118, 0x1F80)
    struct.pack_into("<Q", context, 0x100 + 160 + 16, 0x22)
    extended = bytearray(64 + 256)
    struct.pack_into("<Q", extended, 0, 4)
    struct.pack_into("<Q", extended, 64 + 16, 0x33)
    whole = bytes(context) + struct.pack("<iIiIiI", -1232, 1232 + 24 + 320, -1232, 1232, 24, 320) + bytes(extended)
    plain = bytearray(1232)
    struct.pack_into("<I", plain, 0x30, 0x100003)
    misc = bytearray(832 + 16 + 64 * 8)
    struct.pack_into("<IIQ", misc, 832, 528, 832, 7)
    struct.pack_into("<II", misc, 832 + 16 + 2 * 8, 576, 256)
    return _dump(9, [(7, whole), (8, bytes(plain))], bytes(misc))


def minidump_arm64(*, old: bool = False) -> bytes:
    """One thread of ARM64, in Windows' context or in Breakpad's old one."""
    context = bytearray(796 if old else 912)
    if old:
        struct.pack_into("<Q", context, 8 + 28 * 8, 0x1C1C)
        struct.pack_into("<Q", context, 264, 0x400100)
        struct.pack_into("<Q", context, 284 + 31 * 16, 0x3131)
    else:
        struct.pack_into("<I", context, 0, 0x400007)
        struct.pack_into("<Q", context, 8 + 28 * 8, 0x1C1C)
        struct.pack_into("<Q", context, 0x108, 0x400100)
        struct.pack_into("<Q", context, 0x110 + 31 * 16, 0x3131)
    return _dump(0x8003 if old else 12, [(1, bytes(context))])


def win_dump(cpus: int = 2) -> bytes:
    """A crash dump of a guest of 32 pages: page tables, the debugger's block, and a context of each CPU."""
    memory = bytearray(32 * 4096)

    def put(at: int, value: int) -> None:
        struct.pack_into("<Q", memory, at, value)

    # Physical memory is at virtual 0xffff_8000_0000_0000: three tables and 4-KiB pages.
    put(0x1000 + 8 * 256, 0x2003)
    put(0x2000, 0x3003)
    put(0x3000, 0x4003)
    for page in range(32):
        put(0x4000 + 8 * page, page << 12 | 3)
    base = 0xFFFF_8000_0000_0000
    put(0x6000 + 0x218, base + 0x7000)
    put(0x6000 + 0x338, 0x62C0)
    for number in range(cpus):
        block, context = 0x8000 + 0x8000 * number, 0x18000 + 0x2000 * number
        put(0x7000 + 8 * number, base + block)
        put(block + 0x62C0, base + context)
        struct.pack_into("<II", memory, context + 0x30, 0x10001F, 0x1F80)
        struct.pack_into("<QQ", memory, context + 0xF0, 0xF15, 0xFFFFF80012345678 + number)
    head = bytearray(b"PAGE" * 0x800)
    head[4:8] = b"DU64"
    struct.pack_into("<Q", head, 0x10, 0x1000)
    struct.pack_into("<3I", head, 0x30, 0x8664, cpus, 0x161)
    struct.pack_into("<Q", head, 0x80, base + 0x6000)
    # Two runs: the second follows the first in the file.
    struct.pack_into("<IIQQQQQ", head, 0x88, 2, 0, 32, 0, 8, 8, 24)
    struct.pack_into("<I", head, 0xF98, 1)
    return bytes(head + memory)
