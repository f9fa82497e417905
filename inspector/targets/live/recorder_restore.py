"""What this machine's KVM offers to a VMM that restores vCPUs: a recording of restores, its section ``host``.

The words are those of docs/x86-restore.md. Nothing runs in the VMs that it makes. Of the kernel's command line only
what takes features away is written, and of CPUID no number of a processor.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from inspector.capture.host import Cpuid
from inspector.machine.x86.live import LiveKvm, LiveVcpu
from inspector.machine.x86.replay.restore.tables import INDEXED
from inspector.targets.live.own_cpuid import own_cpuid
from inspector.targets.live.recorder_x86 import modules_of_kvm

Record = dict[str, Any]

_GET_API_VERSION, _CREATE_IRQCHIP, _GET_VCPU_MMAP_SIZE = 0xAE00, 0xAE60, 0xAE04
_GET_EMULATED_CPUID, _GET_SUPPORTED_HV_CPUID = 0xC008AE09, 0xC008AEC1
_CHECK_EXTENSION, _GET_TSC_KHZ, _MCE_CAP_SUPPORTED = 0xAE03, 0xAEA3, 0x8008AE9D
_MOST_CAPABILITY = 300
_GROUPS, _ATTRIBUTES = 3, 8
#: Leaf 1 EBX has the number of the processor that was asked, as EDX of the leaves of its topology.
_APIC_ID, _TOPOLOGY = 0xFF << 24, (0xB, 0x1F)


def recorded(kvm: LiveKvm) -> Iterator[Record]:
    """Every record. Raises OSError where no vCPU can be made."""
    system = os.uname()
    cpuid = own_cpuid() or Cpuid({})
    yield {"op": "runner", "kernel": system.release, "cpu": _brand(cpuid), "append": _taken_away()}
    yield {"op": "section", "name": "host"}
    yield {"op": "meta", "release": system.release, "version": system.version, "machine": system.machine}
    yield {"op": "file", "path": "/proc/cpuinfo", "text": " ".join(_text("/proc/cpuinfo").split())}
    yield {"op": "file", "path": "/proc/cmdline", "text": _taken_away()}
    yield from ({"op": "param", "module": name, "v": _parameters(name)} for name in ("kvm", *modules_of_kvm()))
    yield {"op": "rawcpuid", "ent": _raw_rows(cpuid)}
    yield {"op": "api", "version": _number(kvm, kvm.file, _GET_API_VERSION)[0], "mmap": _mapping(kvm)}
    yield {"op": "supcpuid", "name": "sup", "ent": _rows(kvm.supported_cpuid())}
    yield {"op": "emucpuid", "name": "emu", "ent": _rows(_asked(kvm, kvm.file, _GET_EMULATED_CPUID)[1])}
    yield {"op": "supcpuid_small", **kvm.supported_with_room_for_one()}
    with kvm.vcpu(before=lambda vm: kvm.ioctl(vm, _CREATE_IRQCHIP, 0)) as vcpu:
        yield from _hyperv(kvm, vcpu)
        yield {"op": "msrlist", "v": [f"{index:x}" for index in kvm.msr_indices()]}
        yield {"op": "featmsrs", "v": [[f"{index:x}", 1, f"{value:x}"] for index, value in kvm.feature_msrs().items()]}
        yield from _offered(kvm, vcpu)
    yield {"op": "end", "name": "host"}
    yield {"op": "done"}


def _hyperv(kvm: LiveKvm, vcpu: LiveVcpu) -> Iterator[Record]:
    """KVM_GET_SUPPORTED_HV_CPUID, of /dev/kvm and of a vCPU."""
    of_system, of_vcpu = (_asked(kvm, file, _GET_SUPPORTED_HV_CPUID) for file in (kvm.file, vcpu.file))
    yield {"op": "hvcpuid", "name": "hv_sys", "ent": _rows(of_system[1])}
    yield {"op": "mk", "irq": 1, "cpuid": ""}
    yield {"op": "hvcpuid", "name": "hv_vcpu", "ent": _rows(of_vcpu[1])}
    yield {"op": "hverr", "sys": of_system[0], "vcpu": of_vcpu[0]}


def _offered(kvm: LiveKvm, vcpu: LiveVcpu) -> Iterator[Record]:
    """Capabilities, attributes of /dev/kvm, MCE capabilities, the TSC's frequency."""
    for name, file in (("sys", kvm.file), ("vm", vcpu.vm)):
        answers = {number: _number(kvm, file, _CHECK_EXTENSION, number) for number in range(_MOST_CAPABILITY + 1)}
        yield {
            "op": "caps",
            "fd": name,
            "v": {str(n): value or -code for n, (value, code) in answers.items() if value or code},
        }
    yield {"op": "caps", "fd": "vcpu", "v": {"errno": _number(kvm, vcpu.file, _CHECK_EXTENSION)[1]}}
    code, value = kvm.attribute(0, 0)
    yield {"op": "xcomp_guest_supp", "e": code, "v": f"{value:x}"}
    for group in range(_GROUPS):
        for attribute in range(_ATTRIBUTES):
            code, value = kvm.attribute(group, attribute)
            if not code:
                yield {"op": "sysattr", "group": group, "attr": attribute, "v": f"{value:x}"}
    data = bytearray(8)
    code = _errno(lambda: kvm.ioctl(kvm.file, _MCE_CAP_SUPPORTED, data))
    yield {"op": "mcecap", "e": code, "v": f"{struct.unpack('=Q', data)[0]:x}"}
    khz: Record = {"op": "tsckhz"}
    for name, file in (("vcpu", vcpu.file), ("vm", vcpu.vm)):
        value, code = _number(kvm, file, _GET_TSC_KHZ)
        khz |= {f"{name}_e": code, name: -1 if code else value}
    yield khz


def _errno(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _number(kvm: LiveKvm, file: int, number: int, argument: int = 0) -> tuple[int, int]:
    """What an ioctl returns, and its errno."""
    try:
        return kvm.ioctl(file, number, argument), 0
    except OSError as error:
        return 0, error.errno or errno.EIO


def _mapping(kvm: LiveKvm) -> int:
    return _number(kvm, kvm.file, _GET_VCPU_MMAP_SIZE)[0]


def _asked(kvm: LiveKvm, file: int, number: int) -> tuple[int, list[tuple[int, ...]]]:
    """The errno of an ioctl that fills a CPUID table, and its rows."""
    try:
        return 0, kvm.cpuid_rows(file, number)
    except OSError as error:
        return error.errno or errno.EIO, []


def _rows(entries: Iterable[tuple[int, ...]]) -> list[list[object]]:
    """Rows of a table as they are written: without the number of the processor that was asked."""
    found: list[list[object]] = []
    for leaf, sub, flags, eax, ebx, ecx, edx, *_ in entries:
        shown = eax, ebx & ~_APIC_ID if leaf == 1 else ebx, ecx, 0 if leaf in _TOPOLOGY else edx
        found.append([f"{leaf:x}", f"{sub:x}", flags, *(f"{value:x}" for value in shown)])
    return found


def _raw_rows(cpuid: Cpuid) -> list[list[object]]:
    return _rows((leaf, sub, int(leaf in INDEXED), *values) for (leaf, sub), values in cpuid.leaves.items())


def _brand(cpuid: Cpuid) -> str:
    words = (struct.pack("=4I", *cpuid.leaves.get((0x80000002 + number, 0), (0, 0, 0, 0))) for number in range(3))
    return b"".join(words).rstrip(b"\0").decode("ascii", "replace").strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _taken_away() -> str:
    """``clearcpuid=`` of the kernel's command line."""
    return " ".join(word for word in _text("/proc/cmdline").split() if word.startswith("clearcpuid="))


def _parameters(module: str) -> dict[str, str]:
    folder = Path("/sys/module") / module / "parameters"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {name: _text(str(folder / name)).strip() for name in names}
