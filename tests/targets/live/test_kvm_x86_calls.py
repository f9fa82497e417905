"""What is asked of a KVM on x86, byte for byte, and what its answers come to (Documentation/virt/kvm/api.rst)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable

import pytest

from inspector.machine.x86 import live
from inspector.machine.x86.live import LiveKvm, cpuid_of_rows
from layouts.registry import size_bytes

SYSTEM, VM, VCPU = "system", "vm", "vcpu"
M32 = 0xFFFFFFFF
Answer = int | Exception | Callable[[bytearray], int]


class Heard:
    """``ioctl`` that notes what it is asked, and answers by number."""

    def __init__(self, answers: dict[int, Answer] | None = None) -> None:
        self.answers: dict[int, Answer] = answers or {}
        self.kinds: dict[int, str] = {}
        self.asked: list[tuple[str, int, int | bytes]] = []

    def ioctl(self, file: int, number: int, data: int | bytearray) -> int:
        """``fcntl.ioctl``. Raises OSError."""
        self.asked.append((self.kinds.get(file, SYSTEM), number, data if isinstance(data, int) else bytes(data)))
        answer = self.answers.get(number, 0)
        if isinstance(answer, Exception):
            raise answer
        if number in (live._CREATE_VM, live._CREATE_VCPU):
            made = os.open(os.devnull, os.O_RDWR)
            self.kinds[made] = VM if number == live._CREATE_VM else VCPU
            return made
        if isinstance(answer, int):
            return answer
        assert isinstance(data, bytearray)
        return answer(data)

    def open(self) -> LiveKvm:
        return LiveKvm(os.devnull, self.ioctl, "x86_64")


def filled(form: str, *values: int) -> Callable[[bytearray], int]:
    """An answer of values at the beginning."""

    def answer(data: bytearray) -> int:
        struct.pack_into(form, data, 0, *values)
        return 0

    return answer


REFUSED = OSError(errno.EPERM, "no")


def test_the_device_is_opened_for_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Heard().open() as kvm:
        assert fcntl.fcntl(kvm.file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    opened: list[tuple[str, int]] = []

    def noted(path: str, flags: int) -> int:
        opened.append((path, flags))
        return 77

    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6.12", "y", "x86_64")))
    monkeypatch.setattr(os, "open", noted)
    assert LiveKvm().file == 77
    assert opened == [("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)]


def test_capabilities_of_the_system_and_of_a_vm() -> None:
    heard = Heard({live._CHECK_EXTENSION: 4})
    with heard.open() as kvm, kvm.vcpu(lambda vm: heard.ioctl(vm, 0xAEA3, 0)) as vcpu:
        assert kvm.extension(208) == kvm.extension(208, vcpu.vm) == 4
        assert list(kvm.capabilities()) == list(range(301))
    # A VM of type 0, what is done to it before its vCPU 0, and whom the capability is asked of.
    assert heard.asked[:5] == [
        (SYSTEM, 0xAE01, 0), (VM, 0xAEA3, 0), (VM, 0xAE41, 0), (SYSTEM, 0xAE03, 208), (VM, 0xAE03, 208),
    ]  # fmt: skip
    heard = Heard()
    with heard.open() as kvm:
        assert kvm.capabilities() == {}


def test_attributes_of_the_system() -> None:
    """struct kvm_device_attr: flags, group, attribute, and where the value goes."""
    kept = []

    def answer(data: bytearray) -> int:
        *asked, address = struct.unpack("=IIQQ", data)
        kept.append(tuple(asked))
        if asked[1] == 0:
            ctypes.memmove(address, struct.pack("=Q", 0x602E7), 8)
        return 0

    with Heard({live._GET_DEVICE_ATTR: answer}).open() as kvm:
        assert kvm.guest_supported() == (0, 0x602E7)
        assert kvm.attribute(M32, 1 << 63) == (0, 0), "nothing was written"
    assert kept == [(0, 0, 0), (0, M32, 1 << 63)]
    for error, code in ((REFUSED, errno.EPERM), (OSError("no number"), errno.EIO)):
        with Heard({live._GET_DEVICE_ATTR: error}).open() as kvm:
            assert kvm.guest_supported() == (code, 0)


def test_cpuid_tables() -> None:
    """struct kvm_cpuid2 with room for 1024 entries, or one; as many rows as KVM says, whatever lies behind."""
    heard = Heard({live._GET_SUPPORTED_CPUID: filled("=II10I", 1, 0xFF, 7, 1, 1, 2, 3, 4, 5, 9, 9, 9)})
    with heard.open() as kvm:
        assert kvm.supported_cpuid() == [(7, 1, 1, 2, 3, 4, 5)]
        assert kvm.supported_with_room_for_one() == {"e": 0, "nent": 1}
    assert [asked for *_, asked in heard.asked] == [
        struct.pack("=II", count, 0) + bytes(40 * count) for count in (1024, 1)
    ]
    with Heard({live._GET_SUPPORTED_CPUID: OSError(errno.E2BIG, "")}).open() as kvm:
        assert kvm.supported_with_room_for_one() == {"e": errno.E2BIG, "nent": 1}
    assert cpuid_of_rows([(7, 1, 1, 2, 3, 4, 5, 9, 9, 9), (7, 1, 0, 0, 0, 0, 0)]).leaves == {(7, 1): (2, 3, 4, 5)}


def test_lists_of_msrs() -> None:
    """struct kvm_msr_list: a count, and as many words; KVM answers a count alone where there is no room (E2BIG)."""
    heard = Heard({live._GET_MSR_INDEX_LIST: filled("=I3I", 2, 0x10, M32, 5)})
    with heard.open() as kvm:
        assert kvm.msr_indices() == [0x10, M32]
    assert heard.asked == [(SYSTEM, live._GET_MSR_INDEX_LIST, struct.pack("=I", 1024) + bytes(4096))]


def test_msrs_one_by_one() -> None:
    """One that cannot be read, whether KVM refuses it or reads none, is left out; the next is asked all the same."""

    def answer(data: bytearray) -> int:
        count, pad, index, reserved, value = struct.unpack("=IIIIQ", data)
        assert (count, pad, reserved, value) == (1, 0, 0, 0)
        if index == 1:
            raise REFUSED
        struct.pack_into("=Q", data, 16, index << 32)
        return int(index != 2)

    heard = Heard({live._GET_MSRS: answer, live._SET_MSRS: 1})
    with heard.open() as kvm, kvm.vcpu() as vcpu:
        assert vcpu.msrs([1, 2, 3]) == {3: 3 << 32}
        assert vcpu.set_msr(0xDA0, 1 << 63) == 1
        heard.answers[live._SET_MSRS] = REFUSED
        assert vcpu.set_msr(0xDA0, 0) == 0
    assert heard.asked[-2] == (VCPU, 0x4008AE89, struct.pack("=IIIIQ", 1, 0, 0xDA0, 0, 1 << 63))


def test_extended_state_of_a_vcpu() -> None:
    """KVM_GET_XSAVE writes 4096 bytes, KVM_GET_XSAVE2 as many as KVM_CAP_XSAVE2 says (api.rst 4.42, 4.134)."""
    heard = Heard({live._GET_XCRS: filled("=II", 1, 0)})
    with heard.open() as kvm, kvm.vcpu() as vcpu:
        del heard.asked[:]
        assert [len(vcpu.xsave(size)[1]) for size in (0, 4096, 11008)] == [4096, 4096, 11008]
        assert (vcpu.old_xsave(), vcpu.set_xsave(b"image"), vcpu.set_xcr0(7)) == (0, 0, 0)
        assert vcpu.xcrs() == struct.pack("=II", 1, 0) + bytes(384)
        heard.answers[live._GET_XCRS] = REFUSED
        assert vcpu.xcrs() == b""
    told = [(number, len(data)) for _, number, data in heard.asked if isinstance(data, bytes)]
    assert told[:5] == [
        (0x9000AEA4, 4096),
        (0x9000AECF, 4096),
        (0x9000AECF, 11008),
        (0x9000AEA4, 4096),
        (0x5000AEA5, 5),
    ]
    # struct kvm_xcrs: count, flags; number, reserved, value.
    assert heard.asked[5] == (VCPU, 0x4188AEA7, struct.pack("=IIIIQ", 1, 0, 0, 0, 7).ljust(392, b"\0"))


def test_structures_of_their_own_size() -> None:
    heard = Heard({live._STRUCTURES["kvm-fpu"]: REFUSED})
    with heard.open() as kvm, kvm.vcpu() as vcpu:
        found = vcpu.structures()
    assert {name: len(data) for name, data in found.items()} == {
        name: size_bytes(name) for name in live._STRUCTURES if name != "kvm-fpu"
    }
