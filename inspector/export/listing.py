"""One line a vCPU: number, name, where it was, which state components it uses."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.capture.errors import visible
from inspector.capture.model import Capture, Vcpu
from inspector.decode.summary import summary_of
from layouts.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def write_list(out: TextIO, capture: Capture, vcpus: Sequence[Vcpu]) -> int:
    """Write the list; the number of vCPUs written."""
    count = len(capture.vcpus)
    kind = "vCPU or thread" if count == 1 else "vCPUs or threads"
    out.write(visible(f"{capture.target}: {capture.format}, {count} {kind}") + "\n")
    for vcpu in vcpus:
        # One thread at a time: a core may have 100,000.
        summary = summary_of(vcpu)
        vcpu.release()
        out.write(visible(f"{vcpu.index:>6}  {vcpu.name:<16}  {summary}".rstrip()) + "\n")
    return len(vcpus)
