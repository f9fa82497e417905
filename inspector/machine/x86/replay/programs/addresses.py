"""Where recorded programs have their memory, and what the names of addresses in steps mean."""

from __future__ import annotations

from inspector.machine.x86.cpu.memory import Memory
from layouts.x86.xsave import HEADER_OFFSET

DATA, CONFIG, IMAGE = 0x210000000, 0x211000000, 0x212000000
STORED, OPERAND, STORED_CONFIG = DATA + 0x1000, DATA + 0x2000, CONFIG + 0x100
IMAGE_SIZE_BYTES = 16384
#: The first byte behind DATA: nothing is mapped there.
GUARD = DATA + 0x10000
_MAPPED = {DATA: 0x10000, CONFIG: 0x10000, IMAGE: 0x8000}
_ADDRESSES = {
    "unmapped": 0x300000000,
    "noncanonical": 0x8000000000000000,
    "null": 0,
    "unaligned": CONFIG + 0x201,
    "crosses-into-unmapped": GUARD - 32,
    "tail-unmapped": GUARD - 4096,
    "header-unmapped": GUARD - HEADER_OFFSET,
}
_PATTERN = "pattern "


def new_memory() -> Memory:
    """A fresh program's memory, zero."""
    return Memory(_MAPPED)


def address_of(label: str) -> int:
    """An address by its name in a step. Raises ValueError."""
    if label in _ADDRESSES:
        return _ADDRESSES[label]
    if label.startswith("off"):
        return IMAGE + int(label[3:])
    if label.endswith(" rows mapped"):
        return GUARD - 64 * int(label.split(maxsplit=1)[0])
    if label.startswith(_PATTERN):
        return DATA + 0x4000
    raise ValueError(f"no address {label!r}")


def prepare(memory: Memory, label: str, config: bytes) -> None:
    """What the recorder put there before the step."""
    if label == "unaligned":
        memory.write(address_of(label), config)
    elif label == "crosses-into-unmapped":
        memory.write(address_of(label), config[:32])
    elif label.endswith(" rows mapped"):
        memory.write(GUARD - 1024, bytes((3 + 3 * at) & 0xFF for at in range(1024)))
    elif label.startswith(_PATTERN):
        first = int(label.split()[1])
        memory.write(address_of(label) - 960, bytes((first + 3 * at) & 0xFF for at in range(1024)))
