"""By what the first bytes of some formats are known: apart from their readers, which are imported for such a file."""

from __future__ import annotations

from layouts.files.criu import COMMON_MAGIC, CORE_MAGIC

#: The first 64 bits of a snapshot state file of Firecracker: its architecture.
FIRECRACKER_MAGICS = {0x0710_1984_8664_0000: "x86", 0x0710_1984_AAAA_0000: "arm64"}


def is_surely_binary(head: bytes) -> bool:
    """Zero bytes at the beginning that no text has, in any encoding: no line needs to be looked for."""
    return bytes(4) in head[:64]


def looks_like_criu(head: bytes) -> bool:
    """The magic numbers of a core image."""
    return start_of_core(head) > 0


def start_of_core(head: bytes) -> int:
    """Where the first entry begins; 0 for another image."""
    if len(head) < 8:
        return 0
    first, second = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:8], "little")
    if (first, second) == (COMMON_MAGIC, CORE_MAGIC):
        return 8
    return 4 if first == CORE_MAGIC else 0


def looks_like_firecracker(head: bytes) -> bool:
    """The magic of a snapshot state file."""
    return len(head) >= 8 and int.from_bytes(head[:8], "little") in FIRECRACKER_MAGICS


def looks_like_crosvm(head: bytes) -> bool:
    """A map whose first key is a text, as serde writes structs; and one of our keys near by."""
    is_map = head[:1] and (0xA1 <= head[0] <= 0xB7 or head[0] == 0xBF) and len(head) > 1 and 0x61 <= head[1] <= 0x77
    return bool(is_map) and any(key in head[:4096] for key in (b"vcpu_id", b"debug_regs", b"sregs", b"xcrs", b"vcpus"))


def looks_like_record(head: bytes) -> bool:
    """``cpu_record =`` is the first that is no comment."""
    if b"cpu_record" not in head:
        return False
    lines = (line.strip() for line in head.splitlines())
    first = next((line for line in lines if line and line[:1] != b"#"), b"")
    return first.startswith(b"cpu_record") and first.removeprefix(b"cpu_record").lstrip()[:1] == b"="
