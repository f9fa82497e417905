"""What a guest's CPUID decides, asked once: tables that answer a rule's questions alike have the same outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from inspector.machine.x86.kvm import cpuid_ioctls
from inspector.machine.x86.kvm.guest_cpuid import GuestCpuid
from inspector.machine.x86.kvm.whole import WholeVcpu

Result = TypeVar("Result")


class Memo(Generic[Result]):
    """Results of a function of fresh vCPUs that are alike but for their table."""

    def __init__(self, make: Callable[[WholeVcpu], Result]) -> None:
        self.make = make
        self._known: list[tuple[dict[tuple[object, ...], object], Result]] = []

    def of(self, table: GuestCpuid, fresh: Callable[[], WholeVcpu]) -> Result:
        """The result for a table; ``fresh`` makes the vCPU that has it, where it has to be worked out."""
        for asked, result in self._known:
            if all(table.answer(question) == answer for question, answer in asked.items()):
                return result
        vcpu = fresh()
        asked = vcpu.guest.asked = {}
        cpuid_ioctls.after_set_cpuid(vcpu)
        result = self.make(vcpu)
        self._known.append((asked, result))
        return result
