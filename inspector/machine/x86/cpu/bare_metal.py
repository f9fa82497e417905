"""A processor that an operating system drives itself: nothing of what it writes exits."""

from __future__ import annotations

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import control
from inspector.machine.x86.cpu.processor import Processor


class BareMetal(Processor):
    """What the host's Linux runs on, as a vCPU is what the guest's runs on."""

    def xsetbv(self, value: int) -> Outcome:
        """XSETBV of XCR0."""
        return control.xsetbv(self, 0, value)

    def wrmsr(self, index: int, value: int) -> Outcome:
        """WRMSR."""
        return control.wrmsr(self, index, value)

    def rdmsr(self, index: int) -> Outcome:
        """RDMSR."""
        return control.rdmsr(self, index)
