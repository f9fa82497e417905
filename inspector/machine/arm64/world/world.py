"""arm64 hosts and VMs, to which events happen one after the other, and back."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Self

from inspector.capture.nearest import did_you_mean
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.world.events import guest, registers
from inspector.machine.arm64.world.events.kvm import KVM_EVENTS
from inspector.machine.arm64.world.look import state_of
from inspector.machine.arm64.world.stage import Stage
from inspector.machine.arm64.world.state import MachineState
from inspector.machine.events import parsed
from inspector.machine.lanes import Path
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.world import BaseWorld, Moment, WorldStep
from layouts.kernels import Kernel

_PLACES = ("host", "vm", "vcpu")
_EVENTS = {
    **KVM_EVENTS,
    "KVM_GET_ONE_REG": registers.get,
    "KVM_SET_ONE_REG": registers.put,
    "guest": guest.happen,
}
#: Events of /dev/kvm: no VM has to be alive.
_OF_KVM = ("open", "KVM_GET_API_VERSION", "KVM_CREATE_VM")


class Arm64World(Stage, BaseWorld[MachineState]):
    """What events happen to."""

    architecture = "arm64"

    def __init__(self, hosts: Sequence[Host], abi: str = "merged", captured: State | None = None) -> None:
        Stage.__init__(self, hosts, abi, captured)
        BaseWorld.__init__(self)

    @property
    def kernel(self) -> Kernel:
        """See BaseWorld."""
        return self.host.kernel

    @property
    def vcpu_count(self) -> int:
        """See BaseWorld: of the VM with most of them."""
        return max((len(vm.vcpus) for node in self.nodes for vm in node.vms.values()), default=0)

    def anew(self) -> Self:
        """See BaseWorld."""
        return type(self)(self.hosts, self.abi, self.captured)

    def path_of(self, step: WorldStep[MachineState]) -> Path:
        """See BaseWorld."""
        from inspector.machine.arm64.world.lanes import path_of

        _, at = parsed(step.event, _PLACES)
        return path_of(step, self.hosts[at.get("host", 0)])

    def moment(self) -> Moment[MachineState]:
        """See BaseWorld."""
        return Moment(state_of(self), bytes)

    def _happen(self, event: str) -> Outcome:
        words, self.at = parsed(event, _PLACES)
        name = words[0] if words else ""
        if name not in _EVENTS:
            raise ValueError(f"no such event; {did_you_mean(name, _EVENTS, 'inspector sim --help')}")
        vm = self.node().vms.get(self.at.get("vm", 0))
        if vm is not None and vm.is_dead and name not in _OF_KVM:
            rule = Rule("kvm_vm_ioctl, kvm_vcpu_ioctl (kvm_main.c)")
            rule.check("KVM did not give the VM up (kvm_vm_dead)", held=False)
            return rule.refuse(errno.EIO)
        return _EVENTS[name](self, words[1:])
