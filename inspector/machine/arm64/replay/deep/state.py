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
    ``following`` is the next record. ``online_cpus`` are those of the recorder's machine.
    """

    def __init__(self, host: Host, online_cpus: int = 1) -> None:
        self.host = host
        self.online_cpus = online_cpus
        #: What writes to ID registers came to, by all that they hang on: letters by value, what else was read back.
        self.tried: dict[tuple[object, ...], tuple[dict[int, str], dict[int, int]]] = {}
        self.vm = Vm(host)
        self.following: Record = {}
        #: The last ``changed_after_run`` that was counted, with the write before it.
        self.counted: Record = {}
        self.ids: list[int] = []
        self.guest: set[int] = set()
        #: The last KVM_DEV_TYPE_ARM_VGIC_* that was made.
        self.device = 0
        self.fresh("")

    def fresh(self, section: str) -> None:
        """A new VM's section begins."""
        self.section = section
        self.written: dict[int, int] = {}
        self.shown: dict[int, int] = {}
        self.told: set[int] = set()
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
