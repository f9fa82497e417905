"""Where events happen: a host, its process and VM, and whom an event is about."""

from __future__ import annotations

from typing import NamedTuple

from inspector.capture.host import CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.kvm.vm import Vm
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Cpu, Process, Thread
from inspector.machine.x86.linux.trace import Trace
from layouts.x86.kernels import POLICIES, Policy


class Captured(NamedTuple):
    """State of a captured vCPU, for events to put. ``leaves`` are its CPUID, ``image`` its XSAVE image."""

    leaves: dict[tuple[int, int], CpuidValues]
    image: bytes
    xcr0: int | None
    xfd: int | None
    xfd_err: int | None
    xss: int | None = None


class Stage:
    """The host's Linux, the process whose VM it is, and the words of the event that say where it happens."""

    def __init__(self, host: Host, policy: Policy = POLICIES[0], captured: Captured | None = None) -> None:
        self.host = host
        self.policy = policy
        self.captured = captured
        self.reset()

    def reset(self) -> None:
        """As it was before any event."""
        self.trace = Trace()
        self.host_linux = Linux(self.host, trace=self.trace, policy=self.policy)
        self.process = self.host_linux.spawn()
        self.vm: Vm | None = None
        self._memory = {"host": b"", "guest": b""}
        self._bystanders: dict[int, Thread] = {}
        self._at: dict[str, int] = {}

    # Who an event is about

    @property
    def vcpu(self) -> Vcpu | None:
        """The first vCPU, or None."""
        return self.vm.vcpus[0] if self.vm is not None and self.vm.guests else None

    def guest(self, *, stays: bool = False) -> Guest:
        """The vCPU that the event names, on the host's CPU that it names. Raises ValueError.

        ``stays``: where its thread is, whatever CPU is named.
        """
        if self.vm is None or not self.vm.guests:
            raise ValueError("there is no vCPU; KVM_CREATE_VCPU comes first")
        number = self._at.get("vcpu", 0)
        if number >= len(self.vm.guests):
            raise ValueError(f"there are {len(self.vm.guests)} vCPUs; KVM_CREATE_VCPU makes one more")
        guest = self.vm.guests[number]
        thread = guest.vcpu.thread
        last = thread.cpu.number if thread.cpu is not None else 0
        guest.cpu_number = last if stays else self._at.get("cpu", last)
        return guest

    def thread(self) -> Thread:
        """The host's thread: the one named, else the vCPU's, else the first."""
        if "thread" not in self._at and "vcpu" in self._at:
            return self.guest().vcpu.thread
        return self.process.thread(self._at.get("thread", 0))

    def cpu(self) -> Cpu:
        """The host's CPU: the one named, else where the thread was last."""
        found = self.thread().cpu
        return self.host_linux.cpu(self._at.get("cpu", found.number if found is not None else 0))

    def bystander(self, cpu: Cpu) -> Thread:
        """A task that has nothing to do with the VM, to be scheduled in its place."""
        if cpu.number not in self._bystanders:
            process = Process(self.host_linux, 0)
            self._bystanders[cpu.number] = process.leader
        return self._bystanders[cpu.number]

    def what_was_captured(self) -> Captured:
        """What was captured. Raises ValueError."""
        if self.captured is None:
            raise ValueError("nothing was captured; --from names a capture")
        return self.captured
