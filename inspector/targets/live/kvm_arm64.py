"""``kvm:`` on arm64: this machine's real KVM. Its vCPU never runs, and is gone with the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inspector.capture.errors import InputError, UsageError
from inspector.capture.model import Capture
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.live import LiveError, LiveKvm
from inspector.machine.arm64.models.workbench import Workbench
from inspector.readers.options import Options
from inspector.targets.arm64_host import capture_of, guest_of
from inspector.targets.kernels import split, told
from inspector.targets.labs import IdLab
from layouts.kernels import UnknownReleaseError

SCHEME = "kvm:"


@contextmanager
def opened_kvm(target: str) -> Iterator[LiveKvm]:
    """This machine's KVM. Raises UsageError for more than ``kvm:``, InputError where there is none."""
    name, release = split(target)
    if release:
        raise UsageError(f"{target}: {name} has a kernel of its own; @RELEASE goes with CPUs and captures")
    if name != SCHEME:
        raise UsageError(f"{target}: expected {SCHEME} and nothing after it")
    try:
        yield LiveKvm()
    except LiveError as error:
        raise InputError("kvm", "the KVM of an arm64 machine", str(error)) from error
    except UnknownReleaseError as error:
        raise InputError("kvm", error.expected, error.release) from None
    except OSError as error:
        raise InputError("kvm", "a vCPU", error.strerror or "") from error


def host_of_kvm(target: str, options: Options) -> Host:
    """The host: its kernel is the one that runs, whatever another option names.

    Raises UsageError for a word after the colon, InputError where there is no such KVM.
    """
    with opened_kvm(target) as kvm:
        host = kvm.host()
    told(host.kernel, options.note)
    return host


def capture_of_kvm(target: str, options: Options) -> Capture:
    """The registers of a vCPU with every feature of this machine. Raises InputError."""
    host = host_of_kvm(target, options)
    return capture_of(state_of_scratch(guest_of(host), target), "kvm", host.kernel.release)


def lab_of_kvm(target: str, options: Options) -> IdLab:
    """The ID-register lab on this machine, with the host's own values. Raises InputError."""
    return IdLab(Workbench(host_of_kvm(target, options)))
