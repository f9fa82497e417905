"""``--host`` of the arm64 commands: known CPUs, files of recorded answers, captures."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.cli import arguments
from inspector.cli.files import lines_of
from inspector.export.arm64_host import bare_named, host_of_records, host_of_vcpu
from inspector.machine.arm64.host import PFR0, Host
from inspector.machine.arm64.live import LiveError, LiveKvm
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.readers.arm64_cpuinfo import parse_cpuinfo
from inspector.readers.open import open_capture
from inspector.readers.options import Options
from layouts.arm64.chips import Chip, chip_of_words, chips, core_of, known_cores
from layouts.arm64.kernels import arm64_kernel_for, arm64_kernels

LIVE = "kvm:"
HELP = (
    "a known core (several with +) or chip, /proc/cpuinfo, recorded answers (.jsonl), a capture, or kvm:; "
    "@VERSION after it: its kernel"
)
#: As much of a file as is looked at for words of /proc/cpuinfo.
_CPUINFO_BYTES = 1 << 20


def newest() -> str:
    """The kernel profile that is taken where none is named."""
    return list(arm64_kernels())[-1]


def host_named(text: str, kernel: str = "") -> Host:
    """A host. Raises UsageError for a name that is none, InputError for a file that is none."""
    name, _, version = text.rpartition("@")
    if not name or version not in arm64_kernels():
        name, version = text, kernel
    elif kernel not in ("", version):
        raise UsageError(f"{text}: --kernel {kernel} names another kernel")
    if name == LIVE:
        return _live()
    known = bare_named(name, arm64_kernels()[version or newest()])
    if known is not None:
        return known
    if not (os.path.exists(name) or ":" in name):
        raise UsageError(f"{name}: no such CPU or file; there are {', '.join((*known_cores(), *chips()))}")
    told = _cpuinfo(name)
    if told is not None:
        return host_of_chip(arm64_kernels()[version or newest()], told)
    if ".jsonl" in name:
        return host_of_records(lines_of(name), name)
    capture = open_capture(name, Options())
    arguments.tell(capture)
    return captured_host(capture, version)


def _cpuinfo(name: str) -> Chip | None:
    """The machine of a file that is /proc/cpuinfo or lscpu; None for another file."""
    if not os.path.isfile(name):
        return None
    try:
        with open(name, "rb") as file:
            text = file.read(_CPUINFO_BYTES)
    except OSError:
        return None
    found = parse_cpuinfo(text.decode("utf-8", "replace"))
    return chip_of_words(name, found.words, core_of(found.midr), midr=found.midr) if found else None


def _live() -> Host:
    try:
        return LiveKvm().host()
    except LiveError as error:
        raise InputError("kvm", "the KVM of an arm64 machine", str(error)) from error
    except OSError as error:
        raise InputError("kvm", "a vCPU", error.strerror or "") from error


def captured_host(capture: Capture, version: str) -> Host:
    """The host that the first vCPU of a capture shows, on the kernel that is named or that it tells."""
    release = capture.host.kernel or ""
    kernel = arm64_kernels()[version] if version else arm64_kernel_for(release or newest())
    for vcpu in capture.vcpus:
        host = host_of_vcpu(vcpu, kernel, capture.target)
        if host is not None and PFR0 in host.limits:
            return host
    raise InputError(capture.target, "an arm64 vCPU with ID registers", capture.format)
