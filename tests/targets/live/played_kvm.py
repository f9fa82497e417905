"""A KVM/x86 that the simulated machine plays behind the ioctl interface: what /dev/kvm, a VM and a vCPU offer."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from inspector.machine.x86 import live
from inspector.machine.x86.kvm.capabilities import check_extension, device_attributes, mce_capabilities
from inspector.machine.x86.kvm.guest_cpuid import Entry
from inspector.machine.x86.kvm.hyperv_cpuid import hyperv_cpuid
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.msrs.rule import Refusal
from inspector.machine.x86.kvm.msrs.table import table_of
from inspector.machine.x86.kvm.supported_cpuid import emulated_cpuid, supported_cpuid
from inspector.machine.x86.kvm.whole import VmConfig, WholeVcpu
from inspector.targets.live import recorder_restore as asked
from layouts.x86.kvm_counted import cpuid2_pack, msrs_pack, msrs_unpack

_VM, _VCPU = "vm", "vcpu"


class PlayedKvm:
    """``ioctl`` answers for descriptors that are /dev/null's."""

    def __init__(self, kvm: Kvm) -> None:
        self.kvm = kvm
        self.kinds: dict[int, str] = {}

    def open(self) -> live.LiveKvm:
        """What ``LiveKvm()`` would be."""
        return live.LiveKvm(os.devnull, self.ioctl, "x86_64")

    def ioctl(self, file: int, number: int, data: int | bytearray) -> int:
        """``fcntl.ioctl``. Raises OSError."""
        if number in (live._CREATE_VM, live._CREATE_VCPU):
            made = os.open(os.devnull, os.O_RDWR)
            self.kinds[made] = _VM if number == live._CREATE_VM else _VCPU
            return made
        kind = self.kinds.get(file, "")
        if isinstance(data, int):
            return self._number(kind, number, data)
        return self._filled(kind, number, data)

    def _number(self, kind: str, number: int, argument: int) -> int:
        if number == live._CHECK_EXTENSION:
            if kind == _VCPU:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return check_extension(self.kvm, VmConfig() if kind == _VM else None).get(argument, 0)
        if number == asked._GET_TSC_KHZ:
            return self.kvm.processor.tsc_khz
        return {asked._GET_API_VERSION: 12, asked._GET_VCPU_MMAP_SIZE: 12288}.get(number, 0)

    def _filled(self, kind: str, number: int, data: bytearray) -> int:
        kvm = self.kvm
        if number == live._GET_SUPPORTED_CPUID:
            return _entries(data, supported_cpuid(kvm))
        if number == asked._GET_EMULATED_CPUID:
            return _entries(data, emulated_cpuid(kvm))
        if number == asked._GET_SUPPORTED_HV_CPUID:
            return _entries(data, hyperv_cpuid(kvm, of_vcpu=kind == _VCPU))
        table = table_of(kvm)
        if number == live._GET_MSR_INDEX_LIST:
            return _indices(data, table.indexes)
        if number == live._GET_MSR_FEATURE_LIST:
            return _indices(data, table.features)
        if number == live._GET_MSRS:
            index = next(iter(msrs_unpack(bytes(data))))[0]
            value = access.read_feature(WholeVcpu(kvm), index)
            data[:] = msrs_pack([(index, 0, 0 if isinstance(value, Refusal) else value)])
            return int(not isinstance(value, Refusal))
        if number == live._GET_DEVICE_ATTR:
            _, group, attribute, address = struct.unpack("=IIQQ", data)
            found = device_attributes(kvm).get((group, attribute))
            if found is None:
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
            ctypes.memmove(address, struct.pack("=Q", found), 8)
            return 0
        assert number == asked._MCE_CAP_SUPPORTED
        data[:] = struct.pack("=Q", mce_capabilities(kvm))
        return 0


def _entries(data: bytearray, entries: Iterable[Entry]) -> int:
    packed = cpuid2_pack([(entry.leaf, entry.subleaf, entry.flags, *entry.values) for entry in entries])
    if len(packed) > len(data):
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    data[: len(packed)] = packed
    return 0


def _indices(data: bytearray, indices: Iterable[int]) -> int:
    found = list(indices)
    struct.pack_into(f"=I{len(found)}I", data, 0, len(found), *found)
    return 0
