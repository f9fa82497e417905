"""What a deep recording's records act on: a VM, and what the recorder remembers between records."""

from __future__ import annotations

from inspector.machine.arm64.host import Host
from inspector.machine.arm64.registers import SYSREG
from inspector.machine.arm64.replay.deep.count import Record
from inspector.machine.arm64.vm import Vcpu, Vm

_ID_SPACE = frozenset(
    0xC000 | op1 << 11 | crm << 3 | op2 for op1 in (0, 1, 3) for crm in range(8) for op2 in range(8)
)


class State:
    """The VM of the last ``vm`` or ``mk``, and the recorder's own memory.

    ``ids`` are the registers of the last sweep, ``written`` what the section wrote to each, ``shown`` what it
    read. ``told`` are those that a list of differences has; ``guest`` are registers that guest code changed since. ``following`` is the next record.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.vm = Vm(host)
        self.following: Record = {}
        self.section = ""
        self.ids: list[int] = []
        self.written: dict[int, int] = {}
        self.shown: dict[int, str] = {}
        self.told: set[int] = set()
        self.guest: set[int] = set()
        self.sweeping = False
        #: The last KVM_DEV_TYPE_ARM_VGIC_* that was made.
        self.device = 0

    def fresh(self, record: Record) -> None:
        """A new VM's section begins."""
        self.section = str(record.get("s", ""))
        self.written, self.shown, self.told = {}, {}, set()
        self.sweeping = False

    def renew(self) -> None:
        """KVM_CREATE_VM."""
        self.vm = Vm(self.host)
        self.guest = set()

    def vcpu(self, number: int = 0) -> Vcpu:
        """A vCPU of the VM. Raises KeyError where the recording has none."""
        return self.vm.vcpus[number]

    def knows(self, register_id: int) -> bool:
        """The machine says something of a register: all but system registers outside the ID space."""
        if register_id >> 16 & 0xFFF != SYSREG or register_id >> 52 & 0xF != 3:  # noqa: PLR2004 - 8 bytes
            return True
        encoding = register_id & 0xFFFF
        return encoding in _ID_SPACE or encoding in _MODELLED


#: ZCR_EL1: there with SVE, and any value is kept.
_MODELLED = frozenset((0xC090,))
