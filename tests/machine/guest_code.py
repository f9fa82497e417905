"""Machine code without a toolchain: bytes with jumps between labels, and the instructions that a bare guest is made of.

Source: Intel SDM vol. 2 (encodings).
"""

from __future__ import annotations

import struct

#: RAM that the guest's code reads and writes: what it keeps, and 64-byte aligned room for XSAVE.
VECTOR_AT, CR4_AT, XCR0_AT, EFER_AT, ROOM = 0x9010, 0x9018, 0x9020, 0x9028, 0xB000
#: Pages: of user mode, and of user mode with protection key 1.
USER_PAGE, KEY_PAGE = 0x200000, 0x400000
_USER_STACK, _USER_DATA, _USER_CODE = 0x201000, 0x33, 0x3B
#: CR4: PAE, OSFXSR, OSXMMEXCPT are always on; LA57 cannot be changed in long mode.
CR4_ALWAYS, CR4_LA57 = 0x620, 1 << 12
EFER_MSR = 0xC0000080


class Code:
    """Machine code with labels: what jumps to a label, or takes its address, is filled in at the end."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._bytes = bytearray()
        self._labels: dict[str, int] = {}
        self._relative: list[tuple[int, str]] = []
        self._absolute: list[tuple[int, str]] = []

    def put(self, *parts: bytes | str) -> Code:
        """Bytes, or hexadecimal."""
        for part in parts:
            self._bytes += bytes.fromhex(part) if isinstance(part, str) else part
        return self

    def label(self, name: str) -> Code:
        """This place is called so."""
        self._labels[name] = len(self._bytes)
        return self

    def relative(self, opcode: str, name: str) -> Code:
        """An instruction with a 32-bit distance to a label: JMP, JZ, LEA."""
        self.put(opcode, bytes(4))
        self._relative.append((len(self._bytes), name))
        return self

    def address(self, opcode: str, name: str) -> Code:
        """An instruction with the 32-bit address of a label."""
        self.put(opcode, bytes(4))
        self._absolute.append((len(self._bytes), name))
        return self

    def align(self, size_bytes: int) -> Code:
        """Zeros up to a multiple."""
        return self.put(bytes(-len(self._bytes) % size_bytes))

    def address_of(self, name: str) -> int:
        """Where a label lies."""
        return self._at + self._labels[name]

    def done(self) -> bytes:
        """The bytes, with all distances and addresses."""
        for end, name in self._relative:
            self._bytes[end - 4 : end] = struct.pack("<i", self._labels[name] - end)
        for end, name in self._absolute:
            self._bytes[end - 4 : end] = struct.pack("<I", self.address_of(name))
        return bytes(self._bytes)


def le(number: int, size_bytes: int = 4) -> bytes:
    return number.to_bytes(size_bytes, "little")


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def store(at: int) -> bytes:
    """MOV [at], EAX."""
    return octets("890425") + le(at)


def load(at: int) -> bytes:
    """MOV RAX, [at]."""
    return octets("488b0425") + le(at)


def memory(opcode: str, at: int = ROOM) -> bytes:
    """An instruction with [at] as its operand; ``opcode`` ends with the ModRM byte of [disp32] (SIB 25)."""
    return octets(opcode + "25") + le(at)


# Turning things on, and whether they can be turned on again


def cr4_on(bit: int) -> bytes:
    """MOV RAX, CR4; BTS RAX, bit; MOV CR4, RAX."""
    return octets("0f20e0480fbae8") + le(bit, 1) + octets("0f22e0")


def cr4_alone(bit: int) -> bytes:
    """CR4 as it was at the start, with this bit of the optional ones alone."""
    return load(CR4_AT) + octets("25") + le(CR4_ALWAYS | CR4_LA57 | 1 << bit) + octets("0f22e0")


def xcr0_on(mask: int) -> bytes:
    """XGETBV; OR EAX, mask; XSETBV."""
    return octets("31c90f01d00d") + le(mask) + octets("0f01d1")


def xcr0_alone(mask: int) -> bytes:
    """XCR0 as it was at the start, with x87, SSE, AVX and these components alone."""
    return load(XCR0_AT) + octets("25") + le(7 | mask) + octets("31d231c90f01d1")


def efer_on(bit: int) -> bytes:
    """RDMSR of EFER; BTS EAX, bit; WRMSR."""
    return octets("b9") + le(EFER_MSR) + octets("0f320fbae8") + le(bit, 1) + octets("0f30")


def efer_alone(bit: int) -> bytes:
    """EFER as it was at the start, with LME, LMA and this bit alone."""
    return load(EFER_AT) + octets("25") + le(0x500 | 1 << bit) + octets("31d2b9") + le(EFER_MSR) + octets("0f30")


def in_user_mode(instruction: str) -> bytes:
    """IRETQ to user mode, where the code (put into the user page first) ends with UD2."""
    code = octets(instruction + "0f0b")
    written = b"".join(
        octets("c60425") + le(USER_PAGE + at) + le(byte, 1) for at, byte in enumerate(code)
    )  # MOV BYTE [page+at], byte
    frame = (_USER_DATA, _USER_STACK, 2, _USER_CODE, USER_PAGE)
    return with_ac(written) + b"".join(octets("68") + le(value) for value in frame) + octets("48cf")


def with_ac(code: bytes) -> bytes:
    """With EFLAGS.AC, which lets the kernel at pages of user mode: PUSH 0x40002; POPFQ; ...; PUSH 2; POPFQ."""
    return octets("6802000400") + octets("9d") + code + octets("6a029d")
