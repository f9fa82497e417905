"""A vCPU in one line."""

from __future__ import annotations

from inspector.capture.model import Vcpu
from inspector.decode.fields import FieldTable

#: Fields that say where a vCPU is and how it got there, and what they are called here.
_WHERE = (
    ("prstatus.cursig", "signal"),
    ("regs.rip", "rip"),
    ("regs.eip", "eip"),
    ("core.pc", "pc"),
    ("xcr.xcr0", "XCR0"),
    ("xsave.header.xstate_bv", "in use"),
)

#: Where general registers lie in a core: in its thread status.
_AREAS = {"regs": "prstatus"}


def summary_of(vcpu: Vcpu) -> str:
    """Signal, instruction pointer, XCR0 and the components in use, as far as captured."""
    words = []
    for path, label in _WHERE:
        area = vcpu.area(_AREAS.get(path.partition(".")[0], path.partition(".")[0])) or vcpu.area(
            path.partition(".")[0]
        )
        field = FieldTable(area).get(path) if area else None
        if field is not None and field.value is not None:
            words.append(f"{label} {field.text if label in ('signal', 'in use') else hex(field.value)}")
    return "  ".join(words)
