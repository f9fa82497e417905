"""This machine's real KVM, where it is x86: what it supports, and a scratch vCPU that it answers for.

Nothing runs in that vCPU, and it is gone with the process. Source: Linux include/uapi/linux/kvm.h,
arch/x86/include/uapi/asm/kvm.h, Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterable

from inspector.capture.host import Cpuid, CpuidValues
from layouts.light import TYPE_CHECKING
from layouts.registry import size_bytes
from layouts.x86.kvm_counted import cpuid2_pack, cpuid2_unpack, msrs_pack, msrs_unpack, xcrs_pack

if TYPE_CHECKING:
    from typing import Self

# ioctl numbers; those of structures that end in a list have the size of what comes before it.
_CREATE_VM, _CREATE_VCPU, _CHECK_EXTENSION = 0xAE01, 0xAE41, 0xAE03
_GET_SUPPORTED_CPUID, _GET_MSR_INDEX_LIST, _GET_MSR_FEATURE_LIST = 0xC008AE05, 0xC004AE02, 0xC004AE0A
_SET_CPUID2, _GET_CPUID2 = 0x4008AE90, 0xC008AE91
_GET_MSRS, _SET_MSRS = 0xC008AE88, 0x4008AE89
_GET_XSAVE2, _GET_XSAVE, _SET_XSAVE = 0x9000AECF, 0x9000AEA4, 0x5000AEA5
_GET_XCRS, _SET_XCRS = 0x8188AEA6, 0x4188AEA7
_GET_DEVICE_ATTR = 0x4018AEE2
#: ``KVM_GET_*`` of one fixed structure, by the layout of its bytes.
_STRUCTURES = {
    "kvm-regs": 0x8090AE81,
    "kvm-sregs": 0x8138AE83,
    "kvm-fpu": 0x81A0AE8C,
    "kvm-debugregs": 0x8080AEA1,
    "kvm-vcpu-events": 0x8040AE9F,
    "kvm-mp-state": 0x8004AE98,
}
_XCOMP_GUEST_SUPP = 0
CAP_XSAVE2 = 208
_MOST_ENTRIES = 1024
_MOST_CAPABILITY = 300

#: ``fcntl.ioctl``: file, number, and an integer or a buffer that is written to. Raises OSError.
Ioctl = Callable[[int, int, int | bytearray], int]


class LiveError(Exception):
    """There is no KVM to ask: why, in one line."""


def _ioctl(file: int, number: int, data: int | bytearray) -> int:
    return fcntl.ioctl(file, number, data)


class LiveKvm:
    """/dev/kvm of an x86 machine. Raises LiveError where there is none."""

    def __init__(self, path: str = "/dev/kvm", ioctl: Ioctl = _ioctl, machine: str = "") -> None:
        machine = machine or os.uname().machine
        if machine != "x86_64":
            raise LiveError(f"this machine is {machine}")
        self.ioctl = ioctl
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LiveError(f"{path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.file)

    def extension(self, number: int, file: int | None = None) -> int:
        """KVM_CHECK_EXTENSION, on the system or on a VM."""
        return self.ioctl(self.file if file is None else file, _CHECK_EXTENSION, number)

    def capabilities(self) -> dict[int, int]:
        """Every capability that is not 0."""
        found = {number: self.extension(number) for number in range(_MOST_CAPABILITY + 1)}
        return {number: value for number, value in found.items() if value}

    def guest_supported(self) -> tuple[int, int]:
        """Errno and value of KVM_X86_XCOMP_GUEST_SUPP: the XCR0 that guests of this host may have."""
        return self.attribute(0, _XCOMP_GUEST_SUPP)

    def attribute(self, group: int, number: int) -> tuple[int, int]:
        """Errno and value of KVM_GET_DEVICE_ATTR on /dev/kvm."""
        import ctypes

        value = ctypes.c_uint64(0)
        asked = bytearray(struct.pack("=IIQQ", 0, group, number, ctypes.addressof(value)))
        try:
            self.ioctl(self.file, _GET_DEVICE_ATTR, asked)
        except OSError as error:
            return error.errno or errno.EIO, 0
        return 0, value.value

    def supported_cpuid(self) -> list[tuple[int, ...]]:
        """KVM_GET_SUPPORTED_CPUID: rows of function, index, flags, EAX to EDX."""
        return self.cpuid_rows(self.file, _GET_SUPPORTED_CPUID)

    def supported_with_room_for_one(self) -> dict[str, int]:
        """KVM_GET_SUPPORTED_CPUID into a table of one entry: its errno ``e``, and ``nent`` afterwards."""
        data = bytearray(cpuid2_pack([(0,) * 7]))
        code = 0
        try:
            self.ioctl(self.file, _GET_SUPPORTED_CPUID, data)
        except OSError as error:
            code = error.errno or errno.EIO
        return {"e": code, "nent": int.from_bytes(data[:4], "little")}

    def cpuid_rows(self, file: int, number: int) -> list[tuple[int, ...]]:
        """Rows of a ``struct kvm_cpuid2`` that some ioctl fills."""
        data = bytearray(cpuid2_pack([(0,) * 7] * _MOST_ENTRIES))
        self.ioctl(file, number, data)
        return list(cpuid2_unpack(bytes(data)))

    def msr_indices(self) -> list[int]:
        """KVM_GET_MSR_INDEX_LIST: the MSRs that a VMM saves."""
        return self._indices(_GET_MSR_INDEX_LIST)

    def feature_msrs(self) -> dict[int, int]:
        """KVM_GET_MSR_FEATURE_INDEX_LIST with the value of each on the system."""
        return dict(_msrs(self.ioctl, self.file, self._indices(_GET_MSR_FEATURE_LIST)))

    def _indices(self, number: int) -> list[int]:
        data = bytearray(struct.pack("=I", _MOST_ENTRIES) + bytes(4 * _MOST_ENTRIES))
        self.ioctl(self.file, number, data)
        count = int.from_bytes(data[:4], "little")
        return list(struct.unpack_from(f"={min(count, _MOST_ENTRIES)}I", data, 4))

    def vcpu(self, before: Callable[[int], object] | None = None) -> LiveVcpu:
        """A scratch VM with one vCPU, which has no CPUID yet; ``before`` is done to the VM first. Raises OSError."""
        return LiveVcpu(self, before)


def _msrs(ioctl: Ioctl, file: int, indices: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Each MSR that can be read with its value, asked for one by one: KVM stops at the first that cannot."""
    for index in indices:
        data = bytearray(msrs_pack([(index, 0, 0)]))
        try:
            if ioctl(file, _GET_MSRS, data) == 1:
                yield index, next(iter(msrs_unpack(bytes(data))))[2]
        except OSError:
            continue


class LiveVcpu:
    """A scratch vCPU. What a kernel refuses is an errno; it never runs."""

    def __init__(self, kvm: LiveKvm, before: Callable[[int], object] | None = None) -> None:
        self._kvm = kvm
        self.vm = kvm.ioctl(kvm.file, _CREATE_VM, 0)
        try:
            if before is not None:
                before(self.vm)
            self.file = kvm.ioctl(self.vm, _CREATE_VCPU, 0)
        except OSError:
            os.close(self.vm)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.file)
        os.close(self.vm)

    def _errno(self, number: int, data: bytearray) -> int:
        try:
            self._kvm.ioctl(self.file, number, data)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def set_cpuid(self, entries: list[tuple[int, ...]]) -> int:
        """KVM_SET_CPUID2; the errno."""
        return self._errno(_SET_CPUID2, bytearray(cpuid2_pack(entries)))

    def cpuid(self) -> list[tuple[int, ...]]:
        """KVM_GET_CPUID2."""
        return self._kvm.cpuid_rows(self.file, _GET_CPUID2)

    def set_xcr0(self, value: int) -> int:
        """KVM_SET_XCRS of XCR0; the errno."""
        return self._errno(_SET_XCRS, bytearray(xcrs_pack([(0, 0, value)])))

    def set_msr(self, index: int, value: int) -> int:
        """KVM_SET_MSRS of one; how many were taken."""
        try:
            return self._kvm.ioctl(self.file, _SET_MSRS, bytearray(msrs_pack([(index, 0, value)])))
        except OSError:
            return 0

    def msrs(self, indices: Iterable[int]) -> dict[int, int]:
        """KVM_GET_MSRS: those that can be read."""
        return dict(_msrs(self._kvm.ioctl, self.file, indices))

    def xsave(self, size: int) -> tuple[int, bytes]:
        """Errno and image of KVM_GET_XSAVE2, which writes ``size`` bytes (KVM_CAP_XSAVE2 of the VM)."""
        data = bytearray(max(size, 4096))
        return self._errno(_GET_XSAVE2 if size else _GET_XSAVE, data), bytes(data)

    def set_xsave(self, image: bytes) -> int:
        """KVM_SET_XSAVE; the errno."""
        return self._errno(_SET_XSAVE, bytearray(image))

    def old_xsave(self) -> int:
        """KVM_GET_XSAVE; the errno."""
        return self._errno(_GET_XSAVE, bytearray(4096))

    def xcrs(self) -> bytes:
        """KVM_GET_XCRS; empty where that is refused."""
        data = bytearray(size_bytes("kvm-xcrs"))
        return b"" if self._errno(_GET_XCRS, data) else bytes(data)

    def structures(self) -> dict[str, bytes]:
        """What each ``KVM_GET_*`` of a fixed structure gives, by layout."""
        found = {}
        for name, number in _STRUCTURES.items():
            data = bytearray(number >> 16 & 0x3FFF)
            if not self._errno(number, data):
                found[name] = bytes(data)
        return found


def cpuid_of_rows(rows: Iterable[tuple[int, ...]]) -> Cpuid:
    """Rows of KVM's CPUID tables as leaves."""
    leaves: dict[tuple[int, int], CpuidValues] = {}
    for function, index, _, eax, ebx, ecx, edx in (row[:7] for row in rows):
        leaves.setdefault((function, index), (eax, ebx, ecx, edx))
    return Cpuid(leaves)
