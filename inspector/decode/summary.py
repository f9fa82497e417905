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


def summary_of(vcpu: Vcpu) -> str:
    """Signal, instruction pointer, XCR0 and the components in use, as far as captured."""
    words = []
    tables = [FieldTable(area) for area in vcpu.areas]
    for path, label in _WHERE:
        found = (field for table in tables if (field := table.get(path)) is not None)
        field = next(found, None)
        if field is not None and field.value is not None:
            text = field.text if label in ("signal", "in use") else hex(field.value)
            words.append(f"{label} {text if field.value or label != 'in use' else 'nothing'}")
    return "  ".join(words)
