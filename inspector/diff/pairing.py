"""Which vCPUs of several captures are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspector.capture.errors import UsageError
from inspector.capture.model import Area, Capture, Vcpu


class Row(NamedTuple):
    """One vCPU of each capture, None where a capture has none; or, named ``""``, what is no vCPU's."""

    name: str
    vcpus: tuple[Vcpu | None, ...]
    contexts: tuple[Sequence[Area], ...] = ()

    @property
    def areas(self) -> tuple[Sequence[Area], ...]:
        """What is compared; a vCPU's areas are made when they are asked for."""
        return self.contexts or tuple(vcpu.areas if vcpu else () for vcpu in self.vcpus)


def rows(captures: Sequence[Capture], wanted: Sequence[int] = ()) -> list[Row]:
    """The vCPUs by number, behind what belongs to the whole machine or process.

    ``wanted`` are numbers of vCPUs: none for all, one for all captures, or one for each. Raises UsageError
    for another count, and for a vCPU that a capture does not have.
    """
    found = []
    if any(capture.context for capture in captures):
        found.append(Row("", (None,) * len(captures), tuple(capture.context for capture in captures)))
    if wanted:
        return [*found, _chosen(captures, wanted)]
    numbers = range(max(len(capture.vcpus) for capture in captures))
    return found + [_row([c.vcpus[n] if n < len(c.vcpus) else None for c in captures]) for n in numbers]


def _chosen(captures: Sequence[Capture], wanted: Sequence[int]) -> Row:
    numbers = list(wanted) * len(captures) if len(wanted) == 1 else list(wanted)
    if len(numbers) != len(captures):
        raise UsageError(f"--vcpu: {len(wanted)} numbers for {len(captures)} targets; give one, or one for each")
    chosen: list[Vcpu | None] = []
    for capture, number in zip(captures, numbers, strict=True):
        if not 0 <= number < len(capture.vcpus):
            raise UsageError(f"--vcpu {number}: {capture.target} has {len(capture.vcpus)} vCPUs, numbered from 0")
        chosen.append(capture.vcpus[number])
    return _row(chosen)


def _row(vcpus: Sequence[Vcpu | None]) -> Row:
    names = {f"vCPU {vcpu.index} {vcpu.name}".rstrip(): None for vcpu in vcpus if vcpu is not None}
    return Row(" / ".join(names), tuple(vcpus))
