"""One line a vCPU: number, name, where it was, which state components it uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from inspector.capture.model import Capture, Vcpu
from inspector.decode.summary import summary_of


def write_list(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu]) -> int:
    """Write the list; the number of vCPUs written."""
    out.write(f"{capture.target}: {capture.format}, {len(capture.vcpus)} vCPUs or threads\n")
    for vcpu in vcpus:
        out.write(f"{vcpu.index:>6}  {vcpu.name:<16}  {summary_of(vcpu)}\n")
    return len(vcpus)
