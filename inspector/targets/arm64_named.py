"""arm64 hosts by a word: known CPUs, files of recorded answers, captures, this machine's KVM."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.live import LiveError, LiveKvm
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.readers.arm64_cpuinfo import parse_cpuinfo
from inspector.readers.lines import lines_of
from inspector.readers.open import open_capture
from inspector.readers.options import NO_OPTIONS, Note, Options
from inspector.targets.arm64_host import bare_named, host_of_records, host_of_vcpu
from inspector.targets.kernels import kernel_captured, kernel_named
from inspector.targets.notes import tell_of
from layouts.arm64.chips import Chip, chip_of_words, chips, core_of, known_cores
from layouts.arm64.id_fields import PFR0_EL1
from layouts.arm64.ids import PFR0
from layouts.arm64.kernels import arm64_kernel_for
from layouts.kernels import UnknownReleaseError, release_numbers

LIVE = "kvm:"
HELP = (
    "a known core (several with +) or chip, /proc/cpuinfo, recorded answers (.jsonl), a capture, or kvm:; "
    "@RELEASE after it: its kernel"
)
#: As much of a file as is looked at for words of /proc/cpuinfo.
_CPUINFO_BYTES = 1 << 20


def host_named(text: str, kernel: str = "", options: Options = NO_OPTIONS) -> Host:
    """A host. Raises UsageError for a name that is none, InputError for a file that is none."""
    note = options.note
    name, release = split(text)
    if release and (name == LIVE or ".jsonl" in name):
        raise UsageError(f"{text}: {name} has a kernel of its own; @RELEASE goes with CPUs and captures")
    if release and kernel and release != kernel:
        raise UsageError(f"{text}: --kernel {kernel} names another kernel")
    release = release or kernel
    if name == LIVE:
        return _live()
    if name in chips() or all(part in known_cores() for part in name.split("+")):
        known = bare_named(name, kernel_named(arm64_kernel_for, release, note))
        assert known is not None
        return known
    if not (os.path.exists(name) or ":" in name):
        hint = did_you_mean(name, (*known_cores(), *chips()), "inspector layouts list")
        raise UsageError(f"{name}: no such CPU or file; {hint}")
    told = _cpuinfo(name)
    if told is not None:
        return host_of_chip(kernel_named(arm64_kernel_for, release, note), told)
    if ".jsonl" in name:
        return host_of_records(lines_of(name), name)
    capture = open_capture(name, Options())
    tell_of(capture, note)
    return captured_host(capture, release, note)


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


def split(text: str) -> tuple[str, str]:
    """A host's name and the release after its last ``@``, empty where there is none."""
    name, _, release = text.rpartition("@")
    return (name, release) if name and release_numbers(release) and not os.path.exists(text) else (text, "")


def _live() -> Host:
    try:
        return LiveKvm().host()
    except LiveError as error:
        raise InputError("kvm", "the KVM of an arm64 machine", str(error)) from error
    except UnknownReleaseError as error:
        raise InputError("kvm", error.expected, error.release) from None
    except OSError as error:
        raise InputError("kvm", "a vCPU", error.strerror or "") from error


def captured_host(capture: Capture, release: str, note: Note) -> Host:
    """The host that the first vCPU of a capture shows, on the kernel that is named or that it tells."""
    named = kernel_named(arm64_kernel_for, release, note) if release else None
    kernel = named or kernel_captured(arm64_kernel_for, capture, note)
    for vcpu in capture.vcpus:
        host = host_of_vcpu(vcpu, kernel, capture.target)
        if host is not None and PFR0_EL1.get(host.limits.get(PFR0, 0)):
            return host
    raise InputError(capture.target, "an arm64 vCPU with ID registers", capture.format)
