"""What a deep recording's records act on: a VM, and what the recorder remembers between records."""

from __future__ import annotations

from inspector.machine.answer import RecordError
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.replay.deep.count import Record
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm


class State:
    """The VM of the last ``vm`` or ``mk``, and the recorder's own memory.

    ``ids`` are the registers of the last sweep, ``written`` what the section wrote to each, ``shown`` what it
    read, ``told`` those that a list of differences has. ``guest`` are registers that guest code changed since.
    ``following`` is the next record.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        #: What writes to ID registers came to, by all that they hang on: letters by value, what else was read back.
        self.tried: dict[tuple[object, ...], tuple[dict[int, str], dict[int, int]]] = {}
        #: The CPUs of the recorder's machine, as its header says.
        self.online_cpus = 1
        self.vm = Vm(host)
        self.following: Record = {}
        #: The last ``changed_after_run`` that was counted, with the write before it.
        self.counted: Record = {}
        self.section = ""
        self.ids: list[int] = []
        self.written: dict[int, int] = {}
        self.shown: dict[int, int] = {}
        self.told: set[int] = set()
        self.guest: set[int] = set()
        self.sweeping = self.has_run = False
        #: The last KVM_DEV_TYPE_ARM_VGIC_* that was made.
        self.device = 0

    def fresh(self, record: Record) -> None:
        """A new VM's section begins."""
        self.section = str(record.get("s", ""))
        self.written, self.shown, self.told = {}, {}, set()
        self.sweeping = self.has_run = False

    def renew(self) -> None:
        """KVM_CREATE_VM."""
        self.vm = Vm(self.host)
        self.guest = set()

    def vcpu(self, number: int = 0) -> Vcpu:
        """A vCPU of the VM. Raises RecordError where the recording made none."""
        found = self.vm.vcpus.get(number)
        if found is None:
            raise RecordError(f"a call on vCPU {number}, which was not created")
        return found
