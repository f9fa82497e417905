"""``kvm:``: this machine's real KVM. Its vCPU never runs, and is gone with the program."""

from __future__ import annotations

import os
from typing import Any

from inspector.capture.model import Capture
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.labs import Lab

_X86 = "x86_64"


def host_of_kvm(target: str, architecture: str, _kernel: str = "", options: Options = NO_OPTIONS) -> Any:
    """The host: its kernel is the one that runs. Raises UsageError for more words, InputError for no such KVM."""
    if architecture == "x86":
        from inspector.targets.live import kvm_x86

        return kvm_x86.host_of_kvm(target, options)
    from inspector.targets.live import kvm_arm64

    return kvm_arm64.host_of_kvm(target, options)


def capture_of_kvm(target: str, options: Options) -> Capture:
    """A fresh vCPU, and what KVM supports. Raises UsageError and InputError."""
    if os.uname().machine == _X86:
        from inspector.targets.live import kvm_x86

        return kvm_x86.capture_of_kvm(target, options)
    from inspector.targets.live import kvm_arm64

    return kvm_arm64.capture_of_kvm(target, options)


def lab_of_kvm(target: str, options: Options) -> Lab:
    """The lab of this machine. Raises UsageError and InputError."""
    if os.uname().machine == _X86:
        from inspector.targets.labs import lab_of_vcpu

        capture = capture_of_kvm(target, options)
        return lab_of_vcpu(capture, capture.vcpus[0])
    from inspector.targets.live import kvm_arm64

    return kvm_arm64.lab_of_kvm(target, options)
