"""A vCPU in one line."""

from __future__ import annotations

from inspector.capture.model import Vcpu
from inspector.decode.fields import FieldTable

#: Fields that say where a vCPU is and how it got there, the first that exists of each row.
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
    wanted = dict(_WHERE)
    roots = {path.partition(".")[0] for path in wanted}
    for area in vcpu.areas:
        if area.prefix not in roots and area.prefix != "prstatus":
            continue
        table = FieldTable(area)
        for spec in table.specs:
            label = wanted.get(spec.path)
            if label is None:
                continue
            field = table.decode(spec)
            if field.value is None:
                continue
            as_text = label in ("signal", "in use")
            words.append(f"{label} {field.text if as_text else hex(field.value)}")
    return "  ".join(words)
