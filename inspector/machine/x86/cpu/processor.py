"""A logical processor: control registers, MSRs and live extended registers."""

from __future__ import annotations

from collections.abc import Callable

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.registers import EmulatedRegisters, Registers
from inspector.machine.x86.host import Host

#: What runs on a processor.
Instruction = Callable[["Processor"], Outcome]


class Processor:
    """What instructions read and write. It is in 64-bit mode.

    ``host`` tells what the processor enumerates. ``user``: at CPL 3. ``msrs`` hold the CET MSRs that
    are no XSAVE state (IA32_S_CET); those that are live in ``registers``.
    """

    def __init__(self, host: Host, number: int = 0) -> None:
        self.host = host
        self.number = number
        self.xcr0 = 1
        self.xss = 0
        self.xfd = 0
        self.xfd_err = 0
        self.cr4_osxsave = True
        self.cr4_pke = host.has(7, 0, 2, 3) or host.has(7, 0, 2, 4)
        self.cr4_cet = False
        self.user = False
        self.msrs: dict[int, int] = {}
        self.registers = self.initial_registers()
        #: XRSTOR_INFO: CPL 3 or not, and the address of the last XRSTOR's area; None after XRSTORS.
        self.restored_from: tuple[bool, int] | None = None
        #: XMODIFIED is kept as what the components were then (Intel SDM vol. 1, 13.6).
        self.unmodified: dict[int, bytes | None] = {}

    def initial_registers(self) -> Registers:
        """Registers with everything initial, tracked as this processor tracks them."""
        return EmulatedRegisters() if self.host.emulated else Registers()

    def execute(self, instruction: Instruction, *, user: bool = False) -> Outcome:
        """Execute an instruction, at CPL 3 or in the kernel."""
        self.user = user
        outcome = instruction(self)
        self.user = False
        return outcome

    def use(self, component: int) -> bool:
        """XFD lets an instruction use a component; if not, XFD_ERR names it and #NM follows."""
        blocked = self.xfd >> component & 1
        if blocked:
            self.xfd_err = self.xfd & 1 << component
        return not blocked
