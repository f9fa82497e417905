"""Who acts in an event of an arm64 world, made from its words and its outcome.

A trap that CPACR_EL1 asks for, and an instruction that the processor has not, come to the guest's own EL1 without an
exit (Arm ARM, CheckSVEEnabled); ID registers are trapped to KVM (HCR_EL2.TID3), and what the vCPU lacks KVM makes
UNDEFINED (handle_exit.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inspector.machine.arm64.world.words import register
from inspector.machine.lanes import Path, Stop
from inspector.machine.outcome import Outcome
from inspector.machine.world import WorldStep
from layouts.arm64.ids import IDS

#: Checks that the processor makes before KVM hears of an instruction.
_OF_PROCESSOR = ("the processor has ", "CPACR_EL1.", "the register can be written")
_MRS = "mrs"


def path_of(step: WorldStep[Any]) -> Path:
    """Who acts in an event, in order."""
    words = [word for word in step.event.split() if "=" not in word]
    if words[0] != "guest" or step.outcome.verdict == "errno":
        return Path(tuple(_of_vmm(step)), native=False)
    return Path(tuple(_of_guest(step, words[1:])), _is_of_processor(step.outcome))


def _of_vmm(step: WorldStep[Any]) -> Iterator[Stop]:
    """A call, or KVM_RUN into the guest and out of it at its first access to a device."""
    yield Stop("VMM", step.event)
    yield Stop("host kernel", step.outcome.source)
    if step.event.startswith("KVM_RUN") and step.outcome.accepted:
        yield Stop("vCPU", "VM entry")
        yield Stop("guest kernel", "runs until an access to a device")
        yield Stop("host kernel", "VM exit")
        yield Stop("VMM", "KVM_EXIT_MMIO")


def _of_guest(step: WorldStep[Any], words: list[str]) -> Iterator[Stop]:
    """An instruction."""
    outcome = step.outcome
    yield Stop("guest kernel", step.event)
    yield Stop("vCPU", "executed" if outcome.accepted else "")
    if outcome.verdict != "exception":
        if words[0] == _MRS and _is_trapped(words[1]):
            yield Stop("host kernel", outcome.source)
            yield Stop("guest kernel", "")
        return
    if not _is_of_processor(outcome):
        yield Stop("host kernel", outcome.source)
    yield Stop("guest kernel", f"{outcome.name} at EL1")


def _is_of_processor(outcome: Outcome) -> bool:
    failed = next((check.text for check in outcome.checks if not check.held), "")
    return failed.startswith(_OF_PROCESSOR)


def _is_trapped(name: str) -> bool:
    found, _ = register(name)
    return found.is_sysreg and found.encoding in IDS
