"""Who acts in an event of an arm64 world, made from its words and its outcome.

A trap that CPACR_EL1 asks for, and an instruction that the processor has not, come to the guest's own EL1 without an
exit (Arm ARM, CheckSVEEnabled); what the vCPU lacks KVM makes UNDEFINED (handle_exit.c). Which accesses to registers
that it has come to KVM is in :mod:`inspector.machine.arm64.traps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.machine.arm64.host import Host
from inspector.machine.arm64.traps import is_trapped
from inspector.machine.arm64.world.words import register
from inspector.machine.lanes import Path, Stop
from inspector.machine.world import WorldStep

#: Checks that the processor makes before KVM hears of an instruction.
_OF_PROCESSOR = ("the processor has ", "CPACR_EL1.", "the register can be written")
_RUN, _MSR = "KVM_RUN", "msr"
_ACCESSES = ("mrs", _MSR)


def path_of(step: WorldStep[Any], host: Host) -> Path:
    """Who acts in an event on a host, in order."""
    words = [word for word in step.event.split() if "=" not in word]
    if words[0] != "guest" or step.outcome.verdict == "errno":
        return Path(tuple(_of_vmm(step, words[0])), native=False)
    stops = tuple(_of_guest(step, words[1:], host))
    is_known = step.outcome.verdict != "depends-on"
    return Path(stops, native=is_known and all(stop.lane != "host kernel" for stop in stops))


def _of_vmm(step: WorldStep[Any], name: str) -> Iterator[Stop]:
    """A call, or KVM_RUN into the guest and out of it at its first access to a device."""
    yield Stop("VMM", step.event)
    yield Stop("host kernel", step.outcome.source)
    if name == _RUN and step.outcome.accepted:
        yield Stop("vCPU", "VM entry")
        yield Stop("guest kernel", "runs until an access to a device")
        yield Stop("host kernel", "VM exit")
        yield Stop("VMM", "KVM_EXIT_MMIO")


def _of_guest(step: WorldStep[Any], words: list[str], host: Host) -> Iterator[Stop]:
    """An instruction."""
    outcome = step.outcome
    yield Stop("guest kernel", step.event)
    yield Stop("vCPU", "executed" if outcome.accepted else "")
    if outcome.verdict != "exception":
        if words[0] in _ACCESSES and is_trapped(host, register(words[1])[0].encoding, writes=words[0] == _MSR):
            yield Stop("host kernel", outcome.source)
            yield Stop("guest kernel", "")
        return
    if not outcome.because.startswith(_OF_PROCESSOR):
        yield Stop("host kernel", outcome.source)
    yield Stop("guest kernel", f"{outcome.name} at EL1")
