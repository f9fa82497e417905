"""What a call of a log passes to the kernel, as bytes, where the log prints all of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from inspector.capture.calls import Call, Printed
from inspector.readers.logs.printed import is_whole
from inspector.readers.synthesized import build
from layouts.kvm_ioctls import PLAIN, ioctls
from layouts.light import cache
from layouts.registry import layouts
from layouts.x86.kvm_counted import cpuid2_pack, msrs_pack, xcrs_pack

_STRUCTS = {
    "KVM_SET_SREGS": "kvm-sregs",
    "KVM_SET_SREGS2": "kvm-sregs2",
    "KVM_SET_REGS": "kvm-regs",
    "KVM_SET_FPU": "kvm-fpu",
    "KVM_SET_DEBUGREGS": "kvm-debugregs",
    "KVM_SET_VCPU_EVENTS": "kvm-vcpu-events",
    "KVM_SET_MP_STATE": "kvm-mp-state",
}
#: struct kvm_enable_cap: cap, flags, args[4], pad[64] (include/uapi/linux/kvm.h).
_ENABLE_CAP = struct.Struct("=II4Q64x")
_TABLES = ("KVM_SET_CPUID2", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_CPUID2", "KVM_GET_EMULATED_CPUID")
_ENTRY = ("function", "index", "flags", "eax", "ebx", "ecx", "edx")
#: struct kvm_userspace_memory_region: member and bytes (include/uapi/linux/kvm.h).
_REGION = (("slot", 4), ("flags", 4), ("guest_phys_addr", 8), ("memory_size", 8), ("userspace_addr", 8))
#: Flags by the names that strace prints (include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h).
_FLAGS = {
    "KVM_CPUID_FLAG_SIGNIFCANT_INDEX": 1,
    "KVM_CPUID_FLAG_STATEFUL_FUNC": 2,
    "KVM_CPUID_FLAG_STATE_READ_NEXT": 4,
    "KVM_MEM_LOG_DIRTY_PAGES": 1,
    "KVM_MEM_READONLY": 2,
    "KVM_MEM_GUEST_MEMFD": 4,
}


class Passed(NamedTuple):
    """What a call passes: a number, or the bytes behind an address; both None where the log does not have them."""

    number: int | None = None
    data: bytes | None = None

    @property
    def is_known(self) -> bool:
        """The call can be made again."""
        return self.number is not None or self.data is not None


def passed_by(call: Call) -> Passed:
    """What a call passes; nothing of it is known where the log prints an address alone, or leaves members out."""
    given = call.given
    if isinstance(given, int):
        return _passed_number(call.name, given)
    if call.name.startswith("ARCH_GET_"):
        return Passed(data=bytes(8))
    if not isinstance(given, Mapping) or not is_whole(given):
        return Passed()
    return Passed(data=struct_bytes(call.name, given))


def _passed_number(name: str, number: int) -> Passed:
    """A number where the request takes one: its own number says no size, or nobody knows the request."""
    known = ioctls().get(name)
    takes_one = name in PLAIN or known is None or not known.size_bytes
    fits = takes_one and -(1 << 63) <= number < 1 << 64
    return Passed(number=number % (1 << 64)) if fits else Passed()


def struct_bytes(name: str, given: Mapping[str, Printed]) -> bytes | None:
    """The bytes of a structure that is printed whole; None for one that is not known here, or holds something else."""
    if name in _TABLES:
        return _table(given)
    if name == "KVM_SET_USER_MEMORY_REGION":
        values = [(_number(given.get(member)), size) for member, size in _REGION]
        if not all(number is not None and 0 <= number < 1 << 8 * size for number, size in values):
            return None
        return b"".join((number or 0).to_bytes(size, "little") for number, size in values)
    if name == "KVM_SET_MSRS":
        return _packed(given, ("index", "reserved", "data"), msrs_pack, (32, 32, 64))
    if name == "KVM_SET_XCRS":
        return _packed(given, ("xcr", "reserved", "value"), xcrs_pack, (32, 32, 64), "xcrs")
    if name == "KVM_ENABLE_CAP":
        return _enable_cap(given)
    if name not in _STRUCTS:
        return None
    return build(layouts()[_STRUCTS[name]].construct, given)


def _table(given: Mapping[str, Printed]) -> bytes | None:
    entries = given.get("entries")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    rows = []
    for entry in entries:
        row = [_number(entry.get(name)) for name in _ENTRY] if isinstance(entry, Mapping) else [None]
        if not all(number is not None and 0 <= number < 1 << 32 for number in row):
            return None
        leaf, subleaf, flags, *registers = (number or 0 for number in row)
        rows.append((leaf, subleaf, flags, *registers))
    return cpuid2_pack(rows)


def _packed(
    given: Mapping[str, Printed],
    names: Sequence[str],
    pack: Callable[[Sequence[Sequence[int]]], bytes],
    widths: Sequence[int],
    member: str = "entries",
) -> bytes | None:
    """A count and entries; members that are not printed are 0."""
    entries = given.get(member)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    rows: list[list[int]] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            return None
        row = [_number(entry.get(name, 0)) for name in names]
        numbers = [number for number in row if number is not None]
        if len(numbers) != len(row) or any(not 0 <= n < 1 << width for n, width in zip(numbers, widths, strict=True)):
            return None
        rows.append(numbers)
    return pack(rows)


def _enable_cap(given: Mapping[str, Printed]) -> bytes | None:
    cap = given.get("cap")
    number = cap if isinstance(cap, int) else _capabilities().get(cap) if isinstance(cap, str) else None
    args = given.get("args", [])
    if number is None or not isinstance(args, Sequence) or isinstance(args, str) or len(args) > 4:
        return None
    flags, *numbers = (_number(value) for value in (given.get("flags", 0), *args))
    if flags is None or any(one is None or not 0 <= one < 1 << 64 for one in numbers) or not 0 <= flags < 1 << 32:
        return None
    padded = [*(one or 0 for one in numbers), 0, 0, 0, 0][:4]
    return _ENABLE_CAP.pack(number, flags, *padded)


@cache
def _capabilities() -> Mapping[str, int]:
    """Numbers of capabilities by the names that strace prints."""
    from layouts.arm64.capabilities import CAPABILITIES as OF_ARM64
    from layouts.x86.capabilities import CAPABILITIES as OF_X86

    return {f"KVM_CAP_{one.name}": one.number for one in (*OF_ARM64, *OF_X86)}


def _number(value: Printed) -> int | None:
    """A number, or flags by name; None for anything else."""
    if isinstance(value, int):
        return value
    words = value.split("|") if isinstance(value, str) else [""]
    return sum(_FLAGS[word] for word in words) if all(word in _FLAGS for word in words) else None
