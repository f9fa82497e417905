"""A host, a process and a vCPU to which events happen one after the other, and back."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

from inspector.capture.host import CpuidValues
from inspector.machine.outcome import Outcome
from inspector.machine.x86.events import EVENTS, EventError
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm import Vcpu
from inspector.machine.x86.process import Process
from layouts.x86.kernels import POLICIES, Policy


class Step(NamedTuple):
    """An event that happened: its words, its outcome, ``changes`` as name -> (before, after)."""

    event: str
    outcome: Outcome
    changes: dict[str, tuple[str, str]]
    bytes_changed: int


class Captured(NamedTuple):
    """State of a captured vCPU, for events to put. ``leaves`` are its CPUID, ``image`` its XSAVE image."""

    leaves: dict[tuple[int, int], CpuidValues]
    image: bytes
    xcr0: int | None
    xfd: int | None
    xfd_err: int | None


class World:
    """What events happen to. ``vcpu`` is None until KVM_CREATE_VCPU."""

    def __init__(self, host: Host, policy: Policy = POLICIES[0], captured: Captured | None = None) -> None:
        self.host = host
        self.captured = captured
        self.policy = policy
        self.process = Process(host)
        self.vcpu: Vcpu | None = None
        self.steps: list[Step] = []
        self._before: list[tuple[Process, Vcpu | None]] = []

    def happen(self, event: str) -> Step:
        """Let an event happen.

        Raises EventError for words that are no event, or an event of a vCPU when there is none.
        """
        name, *words = event.split() or [""]
        rule = EVENTS.get(name)
        if rule is None:
            raise EventError(event, f"no such event; there are {', '.join(EVENTS)}")
        saved = deepcopy((self.process, self.vcpu), {id(self.host): self.host})
        before, image = self.state(), self._image()
        try:
            outcome = rule(self, words)
        except (EventError, ValueError, IndexError) as error:
            self.process, self.vcpu = saved
            raise error if isinstance(error, EventError) else EventError(event, str(error)) from error
        self._before.append(saved)
        after = self.state()
        changes = {
            name: (before.get(name, "-"), after.get(name, "-"))
            for name in before | after
            if before.get(name) != after.get(name)
        }
        step = Step(event, outcome, changes, _differences(image, self._image()))
        self.steps.append(step)
        return step

    @property
    def is_down(self) -> bool:
        """The last event took the host down; only undo goes on from here."""
        return bool(self.steps) and self.steps[-1].outcome.verdict == "host-oops"

    def undo(self) -> Step | None:
        """Take the last event back; every byte is as it was. None when there is none."""
        if not self.steps:
            return None
        self.process, self.vcpu = self._before.pop()
        return self.steps.pop()

    def state(self) -> dict[str, str]:
        """What is worth a look, by name."""
        process, vcpu = self.process, self.vcpu
        found = {
            "permission": f"{process.perm:#x}",
            "guest permission": f"{process.guest_perm:#x}{' locked' if process.guest_perm_locked else ''}",
            "process state in use": f"{sum(1 << number for number in process.in_use):#x}",
        }
        if vcpu is not None:
            found |= {
                "vCPU XCR0": f"{vcpu.xcr0:#x}",
                "vCPU XFD": f"{vcpu.xfd:#x}{' passed through' if vcpu.passthrough else ''}",
                "vCPU XFD_ERR": f"{vcpu.xfd_err:#x}",
                "vCPU XSTATE_BV": f"{vcpu.image_bv:#x}",
                "vCPU supported XCR0": f"{vcpu.guest_xcr0:#x}",
                "vCPU registers": "in the processor" if vcpu.resident is not None else "in memory",
                "vCPU state size": f"{vcpu.uabi_size_bytes} bytes",
            }
        return found

    def _image(self) -> bytes:
        return self.vcpu.user_image() if self.vcpu is not None else b""


def _differences(before: bytes, after: bytes) -> int:
    size = max(len(before), len(after))
    pairs = zip(before.ljust(size, b"\0"), after.ljust(size, b"\0"), strict=True)
    return sum(1 for one, other in pairs if one != other)
