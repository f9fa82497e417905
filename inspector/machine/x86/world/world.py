"""A host, its processes and a VM, to which events happen one after the other, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from inspector.capture.nearest import did_you_mean
from inspector.machine.events import parsed
from inspector.machine.lanes import Path
from inspector.machine.log import Executed, Line
from inspector.machine.outcome import Outcome
from inspector.machine.world import BaseWorld, Moment, WorldStep
from inspector.machine.x86.host import Host
from inspector.machine.x86.linux.trace import Costs
from inspector.machine.x86.world.events import kvm as kvm_events
from inspector.machine.x86.world.events import linux as linux_events
from inspector.machine.x86.world.events.linux import LINUX_EVENTS, Level
from inspector.machine.x86.world.stage import Captured, Stage
from inspector.machine.x86.world.state import VcpuState, WorldState, vcpu_state_of, world_state_of
from layouts.coming import Coming, sets_xcr0
from layouts.kernels import Kernel
from layouts.x86.kernels import POLICIES, Policy

_BOOT = "boot"
#: After these, what goes on is a process that has no VM: its file descriptors are another mm's.
_WITHOUT_VM = ("fork", "exec")
#: Words of an event that say where it happens: on which CPU, to which vCPU, in which thread.
_PLACES = ("cpu", "vcpu", "thread")


class World(Stage, BaseWorld[WorldState]):
    """What events happen to."""

    architecture = "x86"

    def __init__(self, host: Host, policy: Policy = POLICIES[0], captured: Captured | None = None) -> None:
        Stage.__init__(self, host, policy, captured)
        BaseWorld.__init__(self)

    @property
    def kernel(self) -> Kernel:
        """See BaseWorld."""
        return self.host.kernel

    @property
    def vcpu_count(self) -> int:
        """See BaseWorld."""
        return len(self.vm.guests) if self.vm is not None else 0

    def anew(self) -> Self:
        """See BaseWorld."""
        return type(self)(self.host, self.policy, self.captured)

    # Events

    def _happen(self, event: str) -> Outcome:
        words, self._at = parsed(event, _PLACES)
        name = words[0] if words else ""
        if name == "guest":
            return self._happen_in_guest(words[1:])
        if name in LINUX_EVENTS:
            level = Level(self.host_linux, self.process, self.cpu(), self.thread(), self._memory["host"])
            outcome = linux_events.happen(level, words)
            if name in _WITHOUT_VM and self.vm is not None:
                self.vm.close()
                self.vm = None
            self.process, self._memory["host"] = level.process, level.memory
            return outcome
        if name in kvm_events.KVM_EVENTS:
            return kvm_events.KVM_EVENTS[name](self, words[1:])
        known = (*LINUX_EVENTS, "guest", *kvm_events.KVM_EVENTS)
        raise ValueError(f"no such event; {did_you_mean(name, known, 'inspector sim --help')}")

    def _happen_in_guest(self, words: list[str]) -> Outcome:
        guest = self.guest()
        assert self.vm is not None
        if words[:1] == [_BOOT]:
            return kvm_events.boot(self, words[1:])
        if words and words[0] in LINUX_EVENTS:
            linux, process = self.vm.linux, self.vm.guest_process
            if linux is None or process is None:
                raise ValueError("the guest has no Linux; guest boot starts one")
            thread = process.thread(self._at.get("thread", 0))
            level = Level(linux, process, linux.cpu(guest.number), thread, self._memory["guest"])
            outcome = linux_events.happen(level, words)
            self.vm.guest_process, self._memory["guest"] = level.process, level.memory
            return outcome
        outcome = kvm_events.bare(guest, words, self._memory["guest"])
        if outcome.accepted and words[0].startswith("xsave"):
            self._memory["guest"] = outcome.image
        return outcome

    # What there is to see

    def is_open(self, series: Coming, event: str) -> bool:
        """A bit of XCR0 that is coming still needs the host's CPU and the guest's CPUID (__kvm_set_xcr); SVM has none.

        Source: [PATCH v2 13/16] KVM: x86: Guard valid XCR0.APX settings (svm_hardware_setup takes the bit away).
        """
        has_all = self.host.is_intel and self.host.user_max & series.xcr0 == series.xcr0
        return not sets_xcr0(event) or (has_all and self._has_leaf_d())

    def _has_leaf_d(self) -> bool:
        """Of the vCPU that the event names."""
        return self.vm is not None and self.vm.vcpus[self._at.get("vcpu", 0)].cpuid.get(0xD) is not None

    def take_trace(self) -> tuple[tuple[Line, ...], tuple[Executed, ...]]:
        """See BaseWorld."""
        return self.trace.take()

    @property
    def costs(self) -> Costs:
        """What the host paid for XFD so far."""
        return self.trace.costs

    def cost_words(self) -> str:
        """See BaseWorld."""
        return self.costs.words() if self.host.has_xfd else ""

    def costs_by_name(self) -> Mapping[str, Any]:
        """See BaseWorld."""
        return vars(self.costs)

    def path_of(self, step: WorldStep[WorldState]) -> Path:
        """See BaseWorld."""
        from inspector.machine.x86.world.lanes import path_of

        return path_of(step)

    def moment(self) -> Moment[WorldState]:
        """The state as it is now."""
        vcpu = self.vcpu
        state = world_state_of(self.host_linux, self.process, self.vm)
        return Moment(state, vcpu.image_maker() if vcpu is not None else bytes)

    def vcpu_state(self, number: int = 0) -> VcpuState | None:
        """A vCPU's state, or None where there is no such vCPU."""
        vcpus = self.vm.vcpus if self.vm is not None else []
        return vcpu_state_of(vcpus[number]) if number < len(vcpus) else None
