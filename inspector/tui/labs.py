"""The lab in which a captured vCPU goes on."""

from __future__ import annotations

from textual.screen import Screen

from inspector.capture.errors import InspectorError, visible
from inspector.capture.model import Capture, Vcpu
from inspector.machine.arm64.models.workbench import Workbench
from inspector.targets.arm64_host import host_of_vcpu
from inspector.targets.x86_restore import restored
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.screens.lab import LabScreen
from layouts.arm64.kernels import arm64_kernel_for
from layouts.kernels import DEFAULT_RELEASE, UnknownReleaseError

_NEEDS = "the lab needs CPUID or an XSAVE image (x86), or ID registers (arm64)"


def lab_of(capture: Capture, vcpu: Vcpu | None) -> Screen[None] | str:
    """The XSTATE lab of an x86 vCPU, the ID-register lab of an arm64 one; else why there is none."""
    if vcpu is None:
        return _NEEDS
    try:
        return _arm64(capture, vcpu) if vcpu.arch == "arm64" else _x86(capture, vcpu)
    except (UnknownReleaseError, InspectorError) as error:
        return visible(str(error))


def _arm64(capture: Capture, vcpu: Vcpu) -> Screen[None] | str:
    kernel = arm64_kernel_for(capture.host.kernel or DEFAULT_RELEASE)
    host = host_of_vcpu(vcpu, kernel, capture.target)
    return IdLabScreen(Workbench(host)) if host is not None and host.limits else _NEEDS


def _x86(capture: Capture, vcpu: Vcpu) -> Screen[None] | str:
    found = restored(capture, vcpu)
    return LabScreen(*found) if found is not None else _NEEDS
