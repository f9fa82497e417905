"""What a screen asks the application for: another screen, which it need not know."""

from __future__ import annotations

from typing import NamedTuple

from inspector.capture.model import Capture, Vcpu


class LabWanted(NamedTuple):
    """The lab in which this vCPU goes on."""

    capture: Capture
    vcpu: Vcpu | None


class BytesWanted(NamedTuple):
    """The bytes of a simulated machine, at a field."""

    capture: Capture
    path: str
    vcpu_number: int = 0


Wanted = LabWanted | BytesWanted
