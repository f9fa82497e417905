"""A bare-metal guest that uses what it has: it turns controls on, executes instructions, and notes how each went.

64 KiB of firmware without a toolchain: ``Code`` is the assembler, bytes with jumps between labels. The guest goes to
long mode (with five levels where it has LA57), turns on what it can (``Probe.enable``), uses everything once
(``Probe.use``) and halts; an NMI makes it use everything again. How a use went is a number: 0, or the vector of the
exception, or what the code put there. A QEMU without KVM hangs at a write of CR4 with a bit that its CPU does not have
(helper_write_crN, target/i386/tcg/sysemu/misc_helper.c: an exit to no nested hypervisor): what is not reached says so.

Source: Intel SDM vol. 2 (encodings), vol. 3A 9.8.5 (to long mode), 4.5 (page tables), 6.10 (IDT); AMD APM vol. 3.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from layouts.x86.models.features import features

_ROM_AT, _GDT_POINTER = 0xF0000, 0xFFE0
#: RAM: page tables, then what the guest keeps.
_PML4, _PDPT, _PD, _PML5 = 0x10000, 0x11000, 0x12000, 0x13000
_GDT, _TSS, _STACK, _USER_STACK = 0x8000, 0x8200, 0x7000, 0x201000
_GO_ON, _VECTOR, _CR4, _XCR0, _EFER, _TSS_RSP0 = 0x9008, 0x9010, 0x9018, 0x9020, 0x9028, _TSS + 4
RESULTS_AT, ROUNDS_AT = 0xA000, 0x9000
#: What a probe's place has before it was used: the guest went no further.
NOT_REACHED = 0xFFFFFFFF
#: 64-byte aligned room for XSAVE; pages: of user mode, of user mode with protection key 1, 1 GiB of physical memory.
_ROOM, _USER_PAGE, _KEY_PAGE, _GIB_PAGE = 0xB000, 0x200000, 0x400000, 0x40000000
_CODE32, _DATA, _CODE64, _TSS_SELECTOR, _USER_DATA, _USER_CODE = 8, 0x10, 0x18, 0x20, 0x33, 0x3B
#: CR4: PAE, OSFXSR, OSXMMEXCPT are always on; LA57 cannot be changed in long mode.
_CR4_ALWAYS, _CR4_LA57 = 0x620, 1 << 12
_EFER_MSR = 0xC0000080


class Probe(NamedTuple):
    """Something that the guest uses. ``features``: QEMU's names of what it needs, split by blanks.

    ``enable`` is run once at the start, where CPUID has the first of them; ``use`` in each round.
    """

    name: str
    features: str
    use: bytes
    enable: bytes = b""


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


def _le(number: int, size_bytes: int = 4) -> bytes:
    return number.to_bytes(size_bytes, "little")


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def _store(at: int) -> bytes:
    """MOV [at], EAX."""
    return _hex("890425") + _le(at)


def _load(at: int) -> bytes:
    """MOV RAX, [at]."""
    return _hex("488b0425") + _le(at)


def _memory(opcode: str, at: int = _ROOM) -> bytes:
    """An instruction with [at] as its operand; ``opcode`` ends with the ModRM byte of [disp32] (SIB 25)."""
    return _hex(opcode + "25") + _le(at)


# Turning things on, and whether they can be turned on again


def _cr4_on(bit: int) -> bytes:
    """MOV RAX, CR4; BTS RAX, bit; MOV CR4, RAX."""
    return _hex("0f20e0480fbae8") + _le(bit, 1) + _hex("0f22e0")


def _cr4_alone(bit: int) -> bytes:
    """CR4 as it was at the start, with this bit of the optional ones alone."""
    return _load(_CR4) + _hex("25") + _le(_CR4_ALWAYS | _CR4_LA57 | 1 << bit) + _hex("0f22e0")


def _xcr0_on(mask: int) -> bytes:
    """XGETBV; OR EAX, mask; XSETBV."""
    return _hex("31c90f01d00d") + _le(mask) + _hex("0f01d1")


def _xcr0_alone(mask: int) -> bytes:
    """XCR0 as it was at the start, with x87, SSE, AVX and these components alone."""
    return _load(_XCR0) + _hex("25") + _le(7 | mask) + _hex("31d231c90f01d1")


def _efer_on(bit: int) -> bytes:
    """RDMSR of EFER; BTS EAX, bit; WRMSR."""
    return _hex("b9") + _le(_EFER_MSR) + _hex("0f320fbae8") + _le(bit, 1) + _hex("0f30")


def _efer_alone(bit: int) -> bytes:
    """EFER as it was at the start, with LME, LMA and this bit alone."""
    return _load(_EFER) + _hex("25") + _le(0x500 | 1 << bit) + _hex("31d2b9") + _le(_EFER_MSR) + _hex("0f30")


def _in_user_mode(instruction: str) -> bytes:
    """IRETQ to user mode, where the code (put into the user page first) ends with UD2."""
    code = _hex(instruction + "0f0b")
    written = b"".join(
        _hex("c60425") + _le(_USER_PAGE + at) + _le(byte, 1) for at, byte in enumerate(code)
    )  # MOV BYTE [page+at], byte
    frame = (_USER_DATA, _USER_STACK, 2, _USER_CODE, _USER_PAGE)
    return _ac(written) + b"".join(_hex("68") + _le(value) for value in frame) + _hex("48cf")


def _ac(code: bytes) -> bytes:
    """With EFLAGS.AC, which lets the kernel at pages of user mode: PUSH 0x40002; POPFQ; ...; PUSH 2; POPFQ."""
    return _hex("6802000400") + _hex("9d") + code + _hex("6a029d")


_VEX = "xsave avx"
#: What the guest uses. First those that change nothing.
INSTRUCTIONS = (
    Probe("CMPXCHG8B", "cx8", _memory("0fc70c")),
    Probe("CMOV", "cmov", _hex("0f40c0")),
    Probe("PADDD xmm", "sse2", _hex("660ffec0")),
    Probe("HADDPS", "pni", _hex("f20f7cc0")),
    Probe("PCLMULQDQ", "pclmulqdq", _hex("660f3a44c000")),
    Probe("MONITOR", "monitor", _hex("b8") + _le(_ROOM) + _hex("31c931d20f01c8")),
    Probe("PSHUFB", "ssse3", _hex("660f3800c0")),
    Probe("CMPXCHG16B", "cx16", _memory("480fc70c")),
    Probe("PMULLD", "sse4.1", _hex("660f3840c0")),
    Probe("CRC32", "sse4.2", _hex("f20f38f1c0")),
    Probe("MOVBE", "movbe", _memory("0f38f004")),
    Probe("POPCNT", "popcnt", _hex("f30fb8c0")),
    Probe("AESENC", "aes", _hex("660f38dcc0")),
    Probe("RDRAND", "rdrand", _hex("0fc7f0")),
    # QEMU 7.2 without KVM asks RDRAND's bit for both (disas_insn, target/i386/tcg/translate.c).
    Probe("RDSEED", "rdseed rdrand", _hex("0fc7f8")),
    Probe("ADCX", "adx", _hex("660f38f6c0")),
    Probe("EXTRQ", "sse4a", _hex("660f78c00000")),
    Probe("PF2ID", "3dnow", _hex("0f0fc01d")),
    Probe("PSWAPD", "3dnowext", _hex("0f0fc0bb")),
    Probe("LAHF in long mode", "lahf-lm", _hex("9f")),
    # LZCNT of 1 is 31; a CPU without it executes BSR, which gives 0: no exception tells.
    Probe("LZCNT", "abm", _hex("b801000000f30fbdc0") + _store(_VECTOR)),
    # TZCNT of 0 is 32; BSF leaves what was there.
    Probe("TZCNT", "bmi1", _hex("31c931c0f30fbcc1") + _store(_VECTOR)),
    Probe("CLFLUSHOPT", "clflushopt", _memory("660fae3c")),
    Probe("CLWB", "clwb", _memory("660fae34")),
    Probe("SHA1NEXTE", "sha-ni", _hex("0f38c8c0")),
    Probe("RDTSCP", "rdtscp", _hex("0f01f9")),
    Probe("RDPID", "rdpid", _hex("f30fc7f8")),
    Probe("CLZERO", "clzero", _hex("b8") + _le(_ROOM) + _hex("0f01fc")),
    Probe("a page of 1 GiB", "pdpe1gb", _hex("8b0425") + _le(_GIB_PAGE)),
    Probe("VADDPS ymm", _VEX, _hex("c5fc58c0")),
    Probe("VCVTPH2PS", f"{_VEX} f16c", _hex("c4e27d13c0")),
    Probe("VFMADD132PS", f"{_VEX} fma", _hex("c4e27d98c0")),
    Probe("VPADDD ymm", f"{_VEX} avx2", _hex("c5fdfec0")),
    # The emulator asks for the bits of the narrow ones.
    Probe("VAESENC ymm", f"{_VEX} vaes aes", _hex("c4e27ddcc0")),
    Probe("VPCLMULQDQ ymm", f"{_VEX} vpclmulqdq pclmulqdq", _hex("c4e37d44c000")),
    Probe("ANDN", "bmi1", _hex("c4e278f2c0")),
    Probe("PDEP", "bmi2", _hex("c4e27bf5c0")),
)
STATE = (
    Probe("XGETBV", "xsave", _hex("31c90f01d0"), _cr4_on(18)),
    Probe("XGETBV of XINUSE", "xsave xgetbv1", _hex("b9010000000f01d0")),
    Probe("XSAVE", "xsave", _hex("b80100000031d2") + _memory("0fae24")),
    Probe("XSAVEOPT", "xsave xsaveopt", _hex("b80100000031d2") + _memory("0fae34")),
    Probe("XSAVEC", "xsave xsavec", _hex("b80100000031d2") + _memory("0fc724")),
    Probe("XSAVES", "xsave xsaves", _hex("b80100000031d2") + _memory("0fc72c")),
    Probe("RDFSBASE", "fsgsbase", _hex("f3480faec0"), _cr4_on(16)),
    Probe("INVPCID", "invpcid", _hex("b802000000") + _memory("660f388204", _ROOM + 0x800)),
    # RET is put there first; then it is called.
    Probe(
        "code of a user page (SMEP)",
        "smep",
        _ac(_hex("c60425") + _le(_USER_PAGE) + _hex("c3")) + _hex("b8") + _le(_USER_PAGE) + _hex("ffd0"),
        _cr4_on(20),
    ),
    Probe("a user page's data (SMAP)", "smap", _hex("8b0425") + _le(_USER_PAGE), _cr4_on(21)),
    Probe("STAC", "smap", _hex("0f01cb0f01ca")),
    Probe("SGDT of user mode (UMIP)", "umip", _in_user_mode("0f014424f0"), _cr4_on(11)),
    Probe("RDPKRU", "pku", _hex("31c90f01ee"), _cr4_on(22)),
    # Key 1 is denied, then the page read; WRPKRU is #UD without the feature.
    Probe(
        "a page with a denied key (PKU)",
        "pku",
        _hex("b80400000031d231c90f01ef") + _ac(_hex("8b0425") + _le(_KEY_PAGE)),
    ),
    Probe("MSR of protection keys (PKS)", "pks", _hex("b9e10600000f32"), _cr4_on(24)),
    Probe("an address of 57 bits (LA57)", "la57", _hex("48b80000000000000200488b00")),
    Probe("STGI", "svm", _hex("0f01dc"), _efer_on(12)),
)
#: What is written again as kernels do, all at once and each bit alone; these leave the guest changed, so they are last.
_CR4_BITS = {
    "PCIDE": (17, "pcid"),
    # Reserved in QEMU 7.2 without KVM where CPUID.0xD.1.EAX is 0 (cr4_reserved_bits, target/i386/cpu.h).
    "OSXSAVE": (18, "xsave xsaveopt xgetbv1"),
    "FSGSBASE": (16, "fsgsbase"),
    "SMEP": (20, "smep"),
    "SMAP": (21, "smap"),
    "PKE": (22, "pku"),
    "PKS": (24, "pks"),
    "UMIP": (11, "umip"),
    "PGE": (7, "pge"),
    "DE": (3, "de"),
}
_XCR0_BITS = {"AVX": (7, "avx"), "MPX": (3 << 3, "mpx"), "PKRU": (1 << 9, "pku")}
_EFER_BITS = {"SCE": (0, "syscall"), "NXE": (11, "nx"), "SVME": (12, "svm"), "FFXSR": (14, "fxsr-opt")}
WRITES = (
    *(
        Probe(f"XCR0 {name} again", f"{feature} xsave avx", _xcr0_alone(mask), _xcr0_on(mask))
        for name, (mask, feature) in _XCR0_BITS.items()
    ),
    *(
        Probe(f"EFER.{name} again", feature, _efer_alone(bit), _efer_on(bit))
        for name, (bit, feature) in _EFER_BITS.items()
    ),
    *(
        Probe(f"CR4.{name} again", f"{feature} la57", _cr4_alone(bit), _cr4_on(bit))
        for name, (bit, feature) in _CR4_BITS.items()
    ),
    Probe("CR4 again", " ".join(["la57", *(names for _, names in _CR4_BITS.values())]), _load(_CR4) + _hex("0f22e0")),
)
PROBES = (*INSTRUCTIONS, *STATE, *WRITES)


def rom() -> bytes:
    """The firmware: start in real mode, long mode, one round, then one for each NMI."""
    code = Code(_ROM_AT)
    _real_mode(code)
    _protected_mode(code)
    _long_mode(code)
    _round(code)
    _handlers(code)
    _tables(code)
    found = code.done()
    found = found.ljust(_GDT_POINTER, b"\0") + _le(63, 2) + _le(code.address_of("gdt"))
    # JMP rel16 at the reset vector, to 0.
    return found.ljust(0xFFF0, b"\0") + _hex("e90d00").ljust(16, b"\0")


def _real_mode(code: Code) -> None:
    code.put("fa")  # CLI
    code.put("2e660f0116", _le(_GDT_POINTER, 2))  # LGDT CS:[pointer]
    code.put("0f20c00c010f22c0")  # CR0.PE
    code.address("66ea", "start32").put(_le(_CODE32, 2))  # JMP FAR


def _protected_mode(code: Code) -> None:
    """Page tables, the local APIC's NMI, CR4, CR3, EFER.LME, CR0.PG."""
    code.label("start32").put("66b8", _le(_DATA, 2), "8ed88ec08ed0", "bc", _le(_STACK))
    entries = {
        _PML4: _PDPT | 7,
        _PDPT: _PD | 7,
        # A page of 1 GiB at 1 GiB: the first of physical memory.
        _PDPT + 8: 0x83,
        _PD: 0x83,
        _PD + 8: _USER_PAGE | 0x87,
        _PD + 16: _KEY_PAGE | 0x87 | 1 << 59,
        _PML5: _PML4 | 7,
        _TSS_RSP0: _STACK,
        # SVR: on; LVT LINT1: NMI.
        0xFEE000F0: 0x1FF,
        0xFEE00360: 0x400,
    }
    for at, value in entries.items():
        code.put("c705", _le(at), _le(value & 0xFFFFFFFF))  # MOV DWORD [at], value
        if value >> 32:
            code.put("c705", _le(at + 4), _le(value >> 32))
    code.put("be").put(_le(_PML4))  # MOV ESI, PML4: CR3 with four levels
    code.put("31c00fa2", "83f807").relative("0f8c", "no_la57")  # CPUID 0: has leaf 7
    code.put("b80700000031c90fa2", "0fbae110").relative("0f83", "no_la57")  # BT ECX, 16; JNC
    code.put("be", _le(_PML5), "bf", _le(_CR4_LA57)).relative("e9", "paging")
    code.label("no_la57").put("31ff").label("paging")
    code.put("81cf", _le(_CR4_ALWAYS), "0f22e7", "0f22de")  # OR EDI; MOV CR4, EDI; MOV CR3, ESI
    code.put("b9", _le(_EFER_MSR), "0f32", "0d", _le(1 << 8), "0f30")
    code.put("0f20c00d", _le(1 << 31 | 2), "25", _le(~0xC & 0xFFFFFFFF), "0f22c0")  # PG, MP; not EM, TS
    code.address("ea", "start64").put(_le(_CODE64, 2))


def _long_mode(code: Code) -> None:
    """A GDT in RAM, the IDT, TSS; then everything is turned on, and what came of it kept."""
    code.label("start64").address("be", "gdt").put("bf", _le(_GDT), "b9", _le(64), "f3a4")  # REP MOVSB
    code.address("0f011425", "pointer_ram").address("0f011c25", "pointer_idt")  # LGDT, LIDT
    code.put("b8", _le(_TSS_SELECTOR), "0f00d8")  # LTR
    code.put("66b8", _le(_DATA, 2), "8ed8", "8ed0")
    for number, probe in enumerate(PROBES):
        if probe.enable:
            _unless_has(code, probe.features.split()[0], f"enabled{number}")
            _guarded(code, f"enabled{number}", probe.enable)
            code.label(f"enabled{number}")
    code.put("0f20e0", _hex("48") + _store(_CR4))
    _guarded(code, "no_xcr0", _hex("31c90f01d0") + _store(_XCR0))
    code.label("no_xcr0").put("b9", _le(_EFER_MSR), "0f32", _store(_EFER))


def _unless_has(code: Code, feature: str, then: str) -> None:
    """Go on at ``then`` unless CPUID has the feature."""
    bit = features()[feature][0]
    leaf, subleaf = bit.word.leaf
    if leaf < 0x80000000:
        code.put("31c00fa2", "3d", _le(leaf)).relative("0f82", then)  # CPUID 0; CMP EAX, leaf; JB
    code.put("b8", _le(leaf), "b9", _le(subleaf), "0fa2")
    modrm = 0xE0 | (0, 3, 1, 2)[bit.word.register_number]
    code.put("0fba", _le(modrm, 1), _le(bit.number, 1)).relative("0f83", then)  # BT register, bit; JNC


def _guarded(code: Code, then: str, instructions: bytes) -> None:
    """An exception goes on at ``then``: LEA RAX, [then]; MOV [go on], RAX."""
    code.relative("488d05", then).put("48", _store(_GO_ON), instructions)


def _round(code: Code) -> None:
    """Each probe once; its number to its place; the count goes up; HLT."""
    code.label("round").put("bc", _le(_STACK), "6a029d")
    code.put("bf", _le(RESULTS_AT), "b9", _le(len(PROBES)), "b8", _le(NOT_REACHED), "f3ab")  # REP STOSD
    for number, probe in enumerate(PROBES):
        code.put("c70425", _le(_VECTOR), bytes(4))
        _guarded(code, f"used{number}", probe.use)
        code.label(f"used{number}").put("bc", _le(_STACK), "6a029d")
        code.put("8b0425", _le(_VECTOR), _store(RESULTS_AT + 4 * number))
    again = {
        "cr4": _load(_CR4) + _hex("0f22e0"),
        "xcr0": _load(_XCR0) + _hex("31d231c90f01d1"),
        "efer": _load(_EFER) + _hex("31d2b9") + _le(_EFER_MSR) + _hex("0f30"),
    }
    for name, instructions in again.items():
        _guarded(code, f"{name}_again", instructions)
        code.label(f"{name}_again")
    code.put("ff0425", _le(ROUNDS_AT), "f4ebfd")  # INC DWORD [rounds]; HLT; JMP $-1


def _handlers(code: Code) -> None:
    for vector in range(32):
        code.label(f"vector{vector}")
        if vector == 2:
            code.relative("e9", "round")
        else:
            code.put("6a", _le(vector, 1)).relative("e9", "fault")  # PUSH vector
    # POP RAX; MOV [vector], EAX; MOV ESP, stack; PUSH 2; POPFQ; JMP [go on].
    code.label("fault").put("58", _store(_VECTOR), "bc", _le(_STACK), "6a029d", "ff2425", _le(_GO_ON))


def _tables(code: Code) -> None:
    tss = 0x67 | (_TSS & 0xFFFFFF) << 16 | 0x89 << 40
    rows = (0, 0xCF9B000000FFFF, 0xCF93000000FFFF, 0xAF9B000000FFFF, tss, 0, 0xCFF3000000FFFF, 0xAFFB000000FFFF)
    code.align(16).label("gdt").put(*(_le(row, 8) for row in rows)).label("idt")
    for vector in range(32):
        at = code.address_of(f"vector{vector}")
        code.put(struct.pack("<HHBBHII", at & 0xFFFF, _CODE64, 0, 0x8E, at >> 16, 0, 0))
    code.label("pointer_ram").put(_le(63, 2), _le(_GDT, 8))
    code.label("pointer_idt").put(_le(511, 2)).address("", "idt").put(bytes(4))
