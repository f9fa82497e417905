"""Words of arm64 events: registers, vCPU features, vector lengths, capabilities, values."""

from __future__ import annotations

from inspector.machine.arm64.sve import VLS_SIZE_BYTES, VQ_BYTES
from inspector.machine.events import Words, digits, number
from layouts.arm64 import kvm_ids
from layouts.arm64.capabilities import CAPABILITIES
from layouts.arm64.ids import (
    CORE_MEMBERS,
    FIRMWARE,
    FIRMWARE_BITMAP,
    FIRMWARE_NAMES,
    SVE_FFR,
    SVE_P0,
    SVE_STEP,
    SVE_VLS,
    SVE_Z0,
    RegisterId,
    make,
)
from layouts.arm64.sysregs import id_registers
from layouts.light import cache, lru_cache

#: KVM_ARM_VCPU_* in the order of their bits (include/uapi/asm/kvm.h).
FEATURE_NAMES = (
    "POWER_OFF",
    "EL1_32BIT",
    "PSCI_0_2",
    "PMU_V3",
    "SVE",
    "PTRAUTH_ADDRESS",
    "PTRAUTH_GENERIC",
    "HAS_EL2",
    "HAS_EL2_E2H0",
    "PMU_V3_STRICT",
)
_FEATURE_PREFIX, _CAP_PREFIX, _REGISTER_PREFIX = "KVM_ARM_VCPU_", "KVM_CAP_", "KVM_REG_ARM64_"
_MAX_BYTES = 256
#: Vector lengths in bytes, of each bit of KVM_REG_ARM64_SVE_VLS.
_LENGTHS = range(VQ_BYTES, 8 * VLS_SIZE_BYTES * VQ_BYTES + 1, VQ_BYTES)
#: Registers of 256 bytes and the like, as the words that name them.
_VECTORS = {"z": (SVE_Z0, 32), "p": (SVE_P0, 16)}


def feature_bits(words: Words) -> int:
    """Feature words of KVM_ARM_VCPU_INIT: names of bits, or numbers of bits as ``bit70``. Raises ValueError."""
    found = 0
    for text in words:
        name = text.removeprefix(_FEATURE_PREFIX)
        if name == "PTRAUTH":
            found |= 3 << FEATURE_NAMES.index("PTRAUTH_ADDRESS")
        elif name in FEATURE_NAMES:
            found |= 1 << FEATURE_NAMES.index(name)
        elif name.startswith("bit") and 0 <= digits(name[3:]) < 7 * 32:
            found |= 1 << digits(name[3:])
        else:
            raise ValueError(f"no vCPU feature {text}; there are {', '.join(FEATURE_NAMES)}, PTRAUTH, bit0 to bit223")
    return found


def capability(text: str) -> int:
    """A capability by name or number. Raises ValueError."""
    name = text.removeprefix(_CAP_PREFIX)
    found = next((one.number for one in CAPABILITIES if name in (one.name, one.name.removeprefix("ARM_"))), None)
    if found is None and not text[:1].isdigit():
        raise ValueError(f"no capability {text} that arm64 has; by its number any can be asked for")
    return number(text) if found is None else found


def vector_lengths(words: Words) -> int:
    """A set of vector lengths in bytes (``16 32``) as bits vq-1, or the set itself (``0x3``). Raises ValueError.

    The longest is that of the set's last bit (KVM_ARM64_SVE_VQ_MAX).
    """
    found = 0
    for text in words:
        if text.startswith("0x"):
            found |= int.from_bytes(value_bytes(text, VLS_SIZE_BYTES), "little")
            continue
        length = number(text)
        if length not in _LENGTHS:
            raise ValueError(
                f"{text} is no vector length: multiples of {VQ_BYTES} bytes up to {_LENGTHS[-1]}, or 0x and a set of"
                " bits vq-1"
            )
        found |= 1 << (length // VQ_BYTES - 1)
    return found


@lru_cache(maxsize=4096)
def register(text: str) -> tuple[RegisterId, str]:
    """A register as (KVM register id, field of an ID register or nothing).

    ``x0``, ``pc``, ``v5``, ``z5``, ``p3``, ``ffr``, ``SVE_VLS``, a firmware register, a system register, one of its
    fields (``ID_AA64PFR0_EL1.SVE``), or an id as a number. Raises ValueError.
    """
    name = text.removeprefix(_REGISTER_PREFIX)
    if name.startswith("0x"):
        return RegisterId(number(name)), ""
    known = _named().get(name.lower())
    if known is not None:
        return known, ""
    whole, dot, field = name.partition(".")
    if dot and whole in id_registers():
        name = whole
    found = kvm_ids.id_of_name(name)
    if found is None:
        raise ValueError(
            f"no register {text}; x0, pc, v5, z5, p3, ffr, SVE_VLS, PSCI_VERSION, ID_AA64PFR0_EL1, 0x6030..."
        )
    return found, field


@cache
def _named() -> dict[str, RegisterId]:
    found = {}
    for member in CORE_MEMBERS:
        path = member.path.removeprefix("core.")
        for at in range(member.count):
            found[path.replace("[{n}]", str(at))] = member.id(at)
    for letter, (first, count) in _VECTORS.items():
        found |= {f"{letter}{at}": RegisterId(first + at * SVE_STEP) for at in range(count)}
    for coprocessor in (FIRMWARE, FIRMWARE_BITMAP):
        names = enumerate(FIRMWARE_NAMES[coprocessor])
        found |= {name.lower(): make(coprocessor, 8, at) for at, name in names}
    return found | {"ffr": SVE_FFR, "sve_vls": SVE_VLS}


@cache
def _names() -> dict[int, str]:
    return {register_id: name for name, register_id in _named().items()}


def name_of(register_id: int) -> str:
    """A register's short name, as events have it."""
    return _names().get(register_id) or kvm_ids.explain(register_id).path.removeprefix("sysreg.")


def value_bytes(text: str, size_bytes: int) -> bytes:
    """A value as a register's bytes: a number, or for long ones bytes in hex that are repeated (``aa..``).

    Raises ValueError.
    """
    if text.endswith(".."):
        pattern = _in_hex(text.removesuffix(".."))
        if not pattern:
            raise ValueError(f"{text}: bytes in hex go before the two dots, as aa..")
        return (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0 or value.bit_length() > 8 * min(size_bytes, _MAX_BYTES):
        raise ValueError(f"{text} is not a number of {size_bytes} bytes")
    return value.to_bytes(size_bytes, "little")


def _in_hex(text: str) -> bytes:
    """Bytes in hex; none where they are not."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
