"""What a rule of an MSR is: whether KVM takes a value, what it reads as, and why not."""

from __future__ import annotations

from collections.abc import Callable

from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inspector.machine.x86.kvm.whole import WholeVcpu

#: The VMX capability MSRs.
VMX_RANGE = range(0x480, 0x492)


class Refusal(NamedTuple):
    """Why an MSR was not set or read: what does not hold, made into words when it is asked for.

    ``text`` may name ``{index:#x}``, ``{value:#x}`` and ``{allowed:#x}``. ``unsupported`` is KVM_MSR_RET_UNSUPPORTED:
    ignore_msrs, or a list that has the MSR, may turn it into an answer.
    """

    text: str
    allowed: int = 0
    unsupported: bool = False

    def told(self, index: int, value: int = 0) -> str:
        """The sentence."""
        return self.text.format(index=index, value=value, allowed=self.allowed)


Write = Callable[["WholeVcpu", int, int], Refusal | None]
Read = Callable[["WholeVcpu", int], "int | Refusal"]


class MsrRule(NamedTuple):
    """What KVM does with an MSR; ``source`` is the function to read."""

    write: Write
    read: Read
    source: str


UNKNOWN = Refusal("KVM of this release has the MSR {index:#x}", unsupported=True)
_WRITE_ONLY = Refusal("the MSR can be read: {index:#x} is for writing only", unsupported=True)
_READ_ONLY = Refusal("the MSR can be written: {index:#x} is for reading only", unsupported=True)


def never_written(_vcpu: WholeVcpu, _index: int, _value: int) -> Refusal:
    """An MSR that has no case in the setter."""
    return _READ_ONLY


def never_read(_vcpu: WholeVcpu, _index: int) -> Refusal:
    """An MSR that has no case in the getter."""
    return _WRITE_ONLY
