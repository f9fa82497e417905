"""The lab in which a captured vCPU goes on."""

from __future__ import annotations

from textual.screen import Screen

from inspector.capture.model import Capture, Vcpu
from inspector.export.arm64_host import host_of_vcpu
from inspector.export.restore import restored
from inspector.machine.arm64.models.workbench import Workbench
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.screens.lab import LabScreen
from layouts.arm64.kernels import arm64_kernel_for, arm64_kernels


def lab_of(capture: Capture, vcpu: Vcpu | None) -> Screen[None] | None:
    """The XSTATE lab of an x86 vCPU, the ID-register lab of an arm64 one; None where the state for it is missing."""
    if vcpu is None:
        return None
    if vcpu.arch == "arm64":
        kernel = arm64_kernel_for(capture.host.kernel or list(arm64_kernels())[-1])
        host = host_of_vcpu(vcpu, kernel, capture.target)
        return IdLabScreen(Workbench(host)) if host is not None and host.limits else None
    found = restored(capture, vcpu)
    return LabScreen(*found) if found is not None else None
