"""What a bare guest uses: instructions, state that is turned on first, and control bits that are written again.

Source: Intel SDM vol. 2; AMD APM vol. 3. What QEMU without KVM asks beyond them stands with the probe.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.machine.guest_code import (
    CR4_AT,
    KEY_PAGE,
    ROOM,
    USER_PAGE,
    VECTOR_AT,
    cr4_alone,
    cr4_on,
    efer_alone,
    efer_on,
    in_user_mode,
    le,
    load,
    memory,
    octets,
    store,
    with_ac,
    xcr0_alone,
    xcr0_on,
)

#: A page of 1 GiB of physical memory.
_GIB_PAGE = 0x40000000


class Probe(NamedTuple):
    """Something that the guest uses. ``features``: QEMU's names of what it needs, split by blanks.

    ``enable`` is run once at the start, where CPUID has the first of them; ``use`` in each round.
    """

    name: str
    features: str
    use: bytes
    enable: bytes = b""


_VEX = "xsave avx"
#: What the guest uses. First those that change nothing.
INSTRUCTIONS = (
    Probe("CMPXCHG8B", "cx8", memory("0fc70c")),
    Probe("CMOV", "cmov", octets("0f40c0")),
    Probe("PADDD xmm", "sse2", octets("660ffec0")),
    Probe("HADDPS", "pni", octets("f20f7cc0")),
    Probe("PCLMULQDQ", "pclmulqdq", octets("660f3a44c000")),
    Probe("MONITOR", "monitor", octets("b8") + le(ROOM) + octets("31c931d20f01c8")),
    Probe("PSHUFB", "ssse3", octets("660f3800c0")),
    Probe("CMPXCHG16B", "cx16", memory("480fc70c")),
    Probe("PMULLD", "sse4.1", octets("660f3840c0")),
    Probe("CRC32", "sse4.2", octets("f20f38f1c0")),
    Probe("MOVBE", "movbe", memory("0f38f004")),
    Probe("POPCNT", "popcnt", octets("f30fb8c0")),
    Probe("AESENC", "aes", octets("660f38dcc0")),
    Probe("RDRAND", "rdrand", octets("0fc7f0")),
    # QEMU 7.2 without KVM asks RDRAND's bit for both (disas_insn, target/i386/tcg/translate.c).
    Probe("RDSEED", "rdseed rdrand", octets("0fc7f8")),
    Probe("ADCX", "adx", octets("660f38f6c0")),
    Probe("EXTRQ", "sse4a", octets("660f78c00000")),
    Probe("PF2ID", "3dnow", octets("0f0fc01d")),
    Probe("PSWAPD", "3dnowext", octets("0f0fc0bb")),
    Probe("LAHF in long mode", "lahf-lm", octets("9f")),
    # LZCNT of 1 is 31; a CPU without it executes BSR, which gives 0: no exception tells.
    Probe("LZCNT", "abm", octets("b801000000f30fbdc0") + store(VECTOR_AT)),
    # TZCNT of 0 is 32; BSF leaves what was there.
    Probe("TZCNT", "bmi1", octets("31c931c0f30fbcc1") + store(VECTOR_AT)),
    Probe("CLFLUSHOPT", "clflushopt", memory("660fae3c")),
    Probe("CLWB", "clwb", memory("660fae34")),
    Probe("SHA1NEXTE", "sha-ni", octets("0f38c8c0")),
    Probe("RDTSCP", "rdtscp", octets("0f01f9")),
    Probe("RDPID", "rdpid", octets("f30fc7f8")),
    Probe("CLZERO", "clzero", octets("b8") + le(ROOM) + octets("0f01fc")),
    Probe("a page of 1 GiB", "pdpe1gb", octets("8b0425") + le(_GIB_PAGE)),
    Probe("VADDPS ymm", _VEX, octets("c5fc58c0")),
    Probe("VCVTPH2PS", f"{_VEX} f16c", octets("c4e27d13c0")),
    Probe("VFMADD132PS", f"{_VEX} fma", octets("c4e27d98c0")),
    Probe("VPADDD ymm", f"{_VEX} avx2", octets("c5fdfec0")),
    # The emulator asks for the bits of the narrow ones.
    Probe("VAESENC ymm", f"{_VEX} vaes aes", octets("c4e27ddcc0")),
    Probe("VPCLMULQDQ ymm", f"{_VEX} vpclmulqdq pclmulqdq", octets("c4e37d44c000")),
    Probe("ANDN", "bmi1", octets("c4e278f2c0")),
    Probe("PDEP", "bmi2", octets("c4e27bf5c0")),
)
STATE = (
    Probe("XGETBV", "xsave", octets("31c90f01d0"), cr4_on(18)),
    Probe("XGETBV of XINUSE", "xsave xgetbv1", octets("b9010000000f01d0")),
    Probe("XSAVE", "xsave", octets("b80100000031d2") + memory("0fae24")),
    Probe("XSAVEOPT", "xsave xsaveopt", octets("b80100000031d2") + memory("0fae34")),
    Probe("XSAVEC", "xsave xsavec", octets("b80100000031d2") + memory("0fc724")),
    Probe("XSAVES", "xsave xsaves", octets("b80100000031d2") + memory("0fc72c")),
    Probe("RDFSBASE", "fsgsbase", octets("f3480faec0"), cr4_on(16)),
    Probe("INVPCID", "invpcid", octets("b802000000") + memory("660f388204", ROOM + 0x800)),
    # RET is put there first; then it is called.
    Probe(
        "code of a user page (SMEP)",
        "smep",
        with_ac(octets("c60425") + le(USER_PAGE) + octets("c3")) + octets("b8") + le(USER_PAGE) + octets("ffd0"),
        cr4_on(20),
    ),
    Probe("a user page's data (SMAP)", "smap", octets("8b0425") + le(USER_PAGE), cr4_on(21)),
    Probe("STAC", "smap", octets("0f01cb0f01ca")),
    Probe("SGDT of user mode (UMIP)", "umip", in_user_mode("0f014424f0"), cr4_on(11)),
    Probe("RDPKRU", "pku", octets("31c90f01ee"), cr4_on(22)),
    # Key 1 is denied, then the page read; WRPKRU is #UD without the feature.
    Probe(
        "a page with a denied key (PKU)",
        "pku",
        octets("b80400000031d231c90f01ef") + with_ac(octets("8b0425") + le(KEY_PAGE)),
    ),
    Probe("MSR of protection keys (PKS)", "pks", octets("b9e10600000f32"), cr4_on(24)),
    Probe("an address of 57 bits (LA57)", "la57", octets("48b80000000000000200488b00")),
    Probe("STGI", "svm", octets("0f01dc"), efer_on(12)),
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
        Probe(f"XCR0 {name} again", f"{feature} xsave avx", xcr0_alone(mask), xcr0_on(mask))
        for name, (mask, feature) in _XCR0_BITS.items()
    ),
    *(
        Probe(f"EFER.{name} again", feature, efer_alone(bit), efer_on(bit))
        for name, (bit, feature) in _EFER_BITS.items()
    ),
    *(
        Probe(f"CR4.{name} again", f"{feature} la57", cr4_alone(bit), cr4_on(bit))
        for name, (bit, feature) in _CR4_BITS.items()
    ),
    Probe(
        "CR4 again", " ".join(["la57", *(names for _, names in _CR4_BITS.values())]), load(CR4_AT) + octets("0f22e0")
    ),
)
PROBES = (*INSTRUCTIONS, *STATE, *WRITES)
