"""arm64 hosts by a word: known CPUs, files of recorded answers, /proc/cpuinfo, captures."""

from __future__ import annotations

import os

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.machine.arm64.captured import State, state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.models.partial import host_of_chip
from inspector.readers.lines import lines_of
from inspector.readers.options import NO_OPTIONS, Options
from inspector.readers.source import open_source
from inspector.targets.arm64_host import bare_named, guest_of, host_of_records, host_of_vcpu
from inspector.targets.kernels import kernel_captured, kernel_named, release_of, split, told
from inspector.targets.notes import tell_of
from layouts.arm64.chips import Chip, chip_of_words, chips, core_of, known_cores
from layouts.arm64.id_fields import PFR0_EL1
from layouts.arm64.ids import PFR0
from layouts.arm64.kernels import profile_for

HELP = (
    "a known core (several with +) or chip, /proc/cpuinfo, recorded answers (.jsonl), a capture, or kvm:; "
    "@RELEASE after it: its kernel"
)
#: As much of a file as is looked at for words of /proc/cpuinfo.
_CPUINFO_BYTES = 1 << 20
#: As much as is looked at for a first record; some have a list of registers in it.
_RECORD_BYTES = 1 << 20


def host_of_word(text: str, kernel: str = "", options: Options = NO_OPTIONS) -> Host:
    """A known CPU, or the host of a file. Raises UsageError for a word that is none, InputError."""
    note = options.note
    name, release = release_of(text, kernel)
    if _is_known(name):
        known = bare_named(name, kernel_named(profile_for, release, note))
        assert known is not None
        return known
    if name != "-" and not os.path.exists(name):
        if is_x86_cpu(name):
            raise UsageError(f"{name} is an x86 CPU, and an arm64 host was asked for")
        hint = did_you_mean(name, (*known_cores(), *chips()), "inspector layouts list")
        raise UsageError(f"{name}: no such CPU or file; {hint}")
    chip = _cpuinfo(name)
    if chip is not None:
        return host_of_chip(kernel_named(profile_for, release, note), chip)
    if _is_recorded(name):
        if split(text)[1]:
            raise UsageError(f"{text}: {name} has a kernel of its own; @RELEASE goes with CPUs and captures")
        recorded = host_of_records(lines_of(name), name)
        told(recorded.kernel, note)
        return recorded
    from inspector.readers.open import open_capture

    return host_of_capture(open_capture(name), release, options)


def is_x86_cpu(name: str) -> bool:
    """A word that is no arm64 host because it is a CPU of x86."""
    from inspector.targets.x86_cpus import model_named
    from layouts.x86.cpus import cpu_layouts

    return model_named(name) is not None or name in cpu_layouts()


def guest_of_word(text: str, options: Options) -> State | None:
    """The first vCPU of a guest with everything that a known CPU, or a host of recorded answers, has; else None.

    Raises UsageError and InputError.
    """
    name, _ = split(text)
    if os.path.exists(name):
        if not _is_recorded(name):
            return None
    elif not _is_known(name) and is_x86_cpu(name):
        raise UsageError(f"{text}: an x86 CPU and no guest; expected a capture, or model:NAME:HOST of a named model")
    return state_of_scratch(guest_of(host_of_word(text, "", options)), text)


def _is_known(name: str) -> bool:
    return name in chips() or all(part in known_cores() for part in name.split("+"))


def _is_recorded(name: str) -> bool:
    """The file's first line is a record of a kernel's answers, compressed or not."""
    if not os.path.isfile(name):
        return False
    import json

    line, _, _ = open_source(name).read(0, _RECORD_BYTES).lstrip().partition(b"\n")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and any(isinstance(found.get(kind), str) for kind in ("t", "op"))


def _cpuinfo(name: str) -> Chip | None:
    """The machine of a file that is /proc/cpuinfo or lscpu; None for another file."""
    if not os.path.isfile(name):
        return None
    try:
        with open(name, "rb") as file:
            text = file.read(_CPUINFO_BYTES)
    except OSError:
        return None
    from inspector.readers.arm64_cpuinfo import parse_cpuinfo

    found = parse_cpuinfo(text.decode("utf-8", "replace"))
    return chip_of_words(name, found.words, core_of(found.midr), midr=found.midr) if found else None


def host_of_capture(capture: Capture, release: str, options: Options) -> Host:
    """The host that the first vCPU of a capture shows, on the kernel that is named or that it tells."""
    note = options.note
    tell_of(capture, note)
    named = kernel_named(profile_for, release, note) if release else None
    kernel = named or kernel_captured(profile_for, capture, note)
    for vcpu in capture.vcpus:
        host = host_of_vcpu(vcpu, kernel, capture.target, capture.host.kernel)
        if host is not None and PFR0_EL1.get(host.limits.get(PFR0, 0)):
            return host
    raise InputError(capture.target, "an arm64 vCPU with ID registers", capture.format)
