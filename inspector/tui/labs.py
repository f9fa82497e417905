"""The lab in which a captured vCPU goes on."""

from __future__ import annotations

from textual.screen import Screen

from inspector.capture.errors import InspectorError
from inspector.capture.model import Capture, Vcpu
from inspector.targets.labs import IdLab, lab_of_vcpu
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.screens.lab import LabScreen


def lab_of(capture: Capture, vcpu: Vcpu | None) -> Screen[None] | str:
    """The XSTATE lab of an x86 vCPU, the ID-register lab of an arm64 one; else why there is none."""
    try:
        lab = lab_of_vcpu(capture, vcpu)
    except InspectorError as error:
        return str(error)
    return IdLabScreen(*lab) if isinstance(lab, IdLab) else LabScreen(*lab)
