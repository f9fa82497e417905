"""This machine's real KVM, where it is arm64: a host made from it, and a scratch vCPU that its kernel answers for.

Nothing runs in that vCPU, and it is gone with the process. Source: Linux include/uapi/linux/kvm.h,
arch/arm64/include/uapi/asm/kvm.h, Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Mapping

from inspector.machine.arm64 import sve
from inspector.machine.arm64.host import (
    EL1_32BIT,
    HAS_EL2,
    PMU_V3,
    POWER_OFF,
    PSCI_0_2,
    PTRAUTH,
    SVE,
    Host,
)
from inspector.machine.outcome import Check, Outcome, Step
from layouts.arm64.ids import AIDR, CLIDR, CTR, FEATURE_ID_COUNT, IDS, MPIDR, SVE_VLS, RegisterId, feature_id_encoding
from layouts.arm64.kernels import Arm64Kernel, profile_for

# ioctl numbers, and the layouts of what they take (native byte order).
_CREATE_VM, _CREATE_VCPU, _ENABLE_CAP, _CHECK_EXTENSION = 0xAE01, 0xAE41, 0x4068AEA3, 0xAE03
_VCPU_INIT, _PREFERRED_TARGET, _FINALIZE = 0x4020AEAE, 0x8020AEAF, 0x4004AEC2
_GET_ONE_REG, _SET_ONE_REG, _GET_REG_LIST = 0x4010AEAB, 0x4010AEAC, 0xC008AEB0
_WRITABLE_MASKS = 0x8040AEB6
_VCPU_INIT_LAYOUT = struct.Struct("=I7I")
_ENABLE_CAP_LAYOUT = struct.Struct("=II4Q64x")
_ONE_REG_LAYOUT = struct.Struct("=QQ")
_MASKS_LAYOUT = struct.Struct("=QII48x")
_CAP_WRITABLE_IMP_ID_REGS = 239
_LARGEST_REGISTER = 256
_SOURCE = "the KVM of this machine"

#: ``fcntl.ioctl``: file, number, and an integer or a buffer that is written to. Raises OSError.
Ioctl = Callable[[int, int, int | bytearray], int]


def _ioctl(file: int, number: int, data: int | bytearray) -> int:
    return fcntl.ioctl(file, number, data)


class LiveError(Exception):
    """There is no KVM to ask: why, in one line."""


class LiveVcpu:
    """A scratch vCPU with the interface of the simulated one. ``steps`` are what was done to make it."""

    def __init__(self, kvm: LiveKvm, features: int, *, writable_imp: bool = False) -> None:
        import weakref

        self._kvm = kvm
        self.features = features
        self.steps: list[Step] = []
        self.vm = kvm.ioctl(kvm.file, _CREATE_VM, 0)
        # Every try makes a VM: it goes when nobody looks at it any more.
        weakref.finalize(self, kvm.close, self.vm)
        if writable_imp:
            cap = bytearray(_ENABLE_CAP_LAYOUT.pack(_CAP_WRITABLE_IMP_ID_REGS, 0, 0, 0, 0, 0))
            self._call("KVM_ENABLE_CAP KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", self.vm, _ENABLE_CAP, cap)
        target = bytearray(_VCPU_INIT_LAYOUT.size)
        kvm.ioctl(self.vm, _PREFERRED_TARGET, target)
        self._target = _VCPU_INIT_LAYOUT.unpack(target)[0]
        self.file = kvm.ioctl(self.vm, _CREATE_VCPU, 0)
        weakref.finalize(self, kvm.close, self.file)
        self.steps.append(Step("KVM_CREATE_VCPU 0", _taken(b"")))
        init = bytearray(_VCPU_INIT_LAYOUT.pack(self._target, features, 0, 0, 0, 0, 0, 0))
        self._call(f"KVM_ARM_VCPU_INIT {features:#x}", self.file, _VCPU_INIT, init)

    def _call(self, what: str, file: int, number: int, data: int | bytearray) -> Outcome:
        outcome = self._answer(file, number, data)
        self.steps.append(Step(what, outcome))
        return outcome

    def _answer(self, file: int, number: int, data: int | bytearray, image: Callable[[], bytes] = bytes) -> Outcome:
        try:
            self._kvm.ioctl(file, number, data)
        except OSError as error:
            check = Check(f"the kernel takes it ({os.strerror(error.errno or 0)})", held=False)
            return Outcome("errno", error.errno or 0, (check,), _SOURCE)
        return _taken(image())

    def finalize(self, feature: int) -> Outcome:
        """KVM_ARM_VCPU_FINALIZE."""
        return self._answer(self.file, _FINALIZE, bytearray(struct.pack("=i", feature)))

    def get(self, register_id: int) -> Outcome:
        """KVM_GET_ONE_REG; the image is the register, little-endian."""
        import ctypes

        buffer = ctypes.create_string_buffer(_LARGEST_REGISTER)
        size = RegisterId(register_id).size_bytes
        one = bytearray(_ONE_REG_LAYOUT.pack(register_id, ctypes.addressof(buffer)))
        return self._answer(self.file, _GET_ONE_REG, one, lambda: buffer.raw[:size])

    def set(self, register_id: int, data: bytes) -> Outcome:
        """KVM_SET_ONE_REG with the register's bytes, little-endian."""
        import ctypes

        buffer = ctypes.create_string_buffer(data, max(len(data), _LARGEST_REGISTER))
        one = bytearray(_ONE_REG_LAYOUT.pack(register_id, ctypes.addressof(buffer)))
        return self._answer(self.file, _SET_ONE_REG, one)

    def reg_list(self) -> Outcome:
        """KVM_GET_REG_LIST: whether it can be asked for; the image is the list."""
        count = bytearray(struct.pack("=Q", 0))
        room = self._answer(self.file, _GET_REG_LIST, count)
        if room.code not in (0, errno.E2BIG):
            return room
        number = struct.unpack("=Q", count)[0]
        ids = bytearray(struct.pack("=Q", number) + bytes(8 * number))
        return self._answer(self.file, _GET_REG_LIST, ids, lambda: bytes(ids[8:]))

    def register_ids(self) -> list[int]:
        """The ids of KVM_GET_REG_LIST; none where the kernel refuses."""
        image = self.reg_list().image
        return list(struct.unpack(f"={len(image) // 8}Q", image))


def _taken(image: bytes) -> Outcome:
    return Outcome("ok", 0, (Check("the kernel takes it", held=True),), _SOURCE, image=image)


class LiveHost(Host):
    """A host whose kernel answers itself: ``kvm`` makes the vCPUs that things are tried on."""

    is_live = True

    def __init__(
        self,
        kvm: LiveKvm,
        kernel: Arm64Kernel,
        limits: Mapping[int, int],
        *,
        sve_vqs: int,
        features: int,
        masks: Mapping[int, int] | None,
        registers: Mapping[int, bytes],
    ) -> None:
        super().__init__(
            kernel, limits, sve_vqs=sve_vqs, features=features, masks=masks, registers=registers, name="kvm:"
        )
        self.kvm = kvm

    def vcpu(self, features: int, *, writable_imp: bool) -> LiveVcpu:
        """A scratch vCPU."""
        return LiveVcpu(self.kvm, features, writable_imp=writable_imp and self.kernel.imp_ids)


class LiveKvm:
    """/dev/kvm of an arm64 machine. Raises LiveError where there is none."""

    def __init__(
        self,
        path: str = "/dev/kvm",
        ioctl: Ioctl | None = None,
        machine: str = "",
        close: Callable[[int], None] = os.close,
    ) -> None:
        if (machine or os.uname().machine) != "aarch64":
            raise LiveError(f"this machine is {machine or os.uname().machine}")
        self.close = close
        self.ioctl: Ioctl = ioctl if ioctl is not None else _ioctl
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LiveError(f"{path}: {error.strerror}") from error

    def supports(self, features: int) -> bool:
        """A vCPU with these features can be made."""
        return all(step.outcome.accepted for step in LiveVcpu(self, features).steps)

    def extension(self, number: int, file: int) -> int:
        """KVM_CHECK_EXTENSION on a VM; -1 where it is refused, as libc's ioctl has it."""
        try:
            return self.ioctl(file, _CHECK_EXTENSION, number)
        except OSError:
            return -1

    def masks(self) -> dict[int, int] | None:
        """Writable bits by encoding; None on a kernel without KVM_ARM_GET_REG_WRITABLE_MASKS."""
        code, found = self.asked_masks()
        return None if code else found

    def asked_masks(self, range_number: int = 0, reserved: int = 0) -> tuple[int, dict[int, int]]:
        """The errno of KVM_ARM_GET_REG_WRITABLE_MASKS, and the bits by encoding."""
        import ctypes

        buffer = ctypes.create_string_buffer(8 * FEATURE_ID_COUNT)
        asked = bytearray(_MASKS_LAYOUT.pack(ctypes.addressof(buffer), range_number, reserved))
        probe = LiveVcpu(self, PSCI_0_2)
        try:
            self.ioctl(probe.vm, _WRITABLE_MASKS, asked)
        except OSError as error:
            return error.errno or errno.EIO, {}
        found = struct.unpack_from(f"={FEATURE_ID_COUNT}Q", buffer)
        return 0, {feature_id_encoding(index): mask for index, mask in enumerate(found) if mask}

    def registers(self, features: int) -> dict[int, bytes]:
        """All registers of a vCPU with these features, vector lengths all that there are."""
        vcpu = LiveVcpu(self, features)
        if features & SVE:
            vcpu.finalize(sve.FINALIZE)
        answers = {register_id: vcpu.get(register_id) for register_id in vcpu.register_ids()}
        return {register_id: answer.image for register_id, answer in answers.items() if answer.accepted}

    def host(self, release: str = "") -> LiveHost:
        """This machine as a host: what a vCPU with all features shows, and the kernel's writable masks."""
        features = POWER_OFF | PSCI_0_2
        for feature in (EL1_32BIT, PMU_V3, SVE, PTRAUTH, HAS_EL2):
            if self.supports(PSCI_0_2 | feature):
                features |= feature
        found = self.registers(features & ~(EL1_32BIT | HAS_EL2 | POWER_OFF))
        limits = {
            rid.encoding: int.from_bytes(data, "little")
            for rid, data in ((RegisterId(rid), data) for rid, data in found.items())
            if rid.is_sysreg and rid.encoding in _ID_ENCODINGS
        }
        vqs = int.from_bytes(found.get(SVE_VLS, b""), "little")
        kernel = profile_for(release or os.uname().release)
        return LiveHost(
            self,
            kernel,
            limits,
            sve_vqs=vqs,
            features=features,
            masks=self.masks(),
            registers={rid: data for rid, data in found.items() if RegisterId(rid).encoding not in limits},
        )


#: ID registers, CTR_EL0, CLIDR_EL1 and AIDR_EL1; without MPIDR_EL1.
_ID_ENCODINGS = frozenset({*IDS, CLIDR, AIDR, CTR} - {MPIDR})
