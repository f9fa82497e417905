"""``dump_vmcb``: the VMCB of a VMRUN that failed, as KVM prints it with ``kvm_amd.dump_invalid_vmcb=1``.

The state save area gets the paths that the same registers have everywhere, the control area is ``vmcb.*``.

Source: Linux 5.10 to 7.2, arch/x86/kvm/svm/svm.c (dump_vmcb).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.readers.logs.dumps import MOST_LINES, dumped
from inspector.readers.logs.found import Found, Line
from inspector.readers.logs.segments import SVM_RIGHTS, segment, table
from inspector.readers.named_values import Sized
from layouts.x86.msrs import msr_name

_HEAD = re.compile(r"\bVMCB (\S{1,20}), last attempted VMRUN on CPU (-?\d{1,6})")
_AREA = re.compile(r"\bVMCB (Control|State Save) Area:")
_SEGMENT = re.compile(
    r"\b([cdsefg]s|gdtr|ldtr|idtr|tr): +s: ([0-9a-f]{1,4}) a: ([0-9a-f]{1,4}) l: ([0-9a-f]{1,8}) b: ([0-9a-f]{1,16})"
)
_CPL = re.compile(r"\b(vmpl|cpl): +(\d{1,2})\b")
_WORD = re.compile(r"\b([a-z][a-z0-9_]{1,19}): +([0-9a-f]{16})(?![0-9a-z])")
#: The control area prints one value a line, and two words of intercepts.
_CONTROL = re.compile(r"\b((?:pause filter )?[a-z][a-z0-9_]{1,19}): +(-?[0-9a-f]{1,16})(?: ([0-9a-f]{8}))?\s*$")
_DECIMAL = ("pause filter count", "pause filter threshold", "asid", "tlb_ctl", "nested_ctl", "virt_ext")
_STATE = {
    **{name: f"sregs.{name}" for name in ("efer", "cr0", "cr2", "cr3", "cr4")},
    "rip": "regs.rip",
    "rflags": "regs.rflags",
    "rsp": "regs.rsp",
    "rax": "regs.rax",
    "dr6": "debugregs.dr6",
    "dr7": "debugregs.dr7",
    "star": f"msr.{msr_name(0xC0000081)}",
    "lstar": f"msr.{msr_name(0xC0000082)}",
    "cstar": f"msr.{msr_name(0xC0000083)}",
    "sfmask": f"msr.{msr_name(0xC0000084)}",
    "kernel_gs_base": f"msr.{msr_name(0xC0000102)}",
    "sysenter_cs": f"msr.{msr_name(0x174)}",
    "sysenter_esp": f"msr.{msr_name(0x175)}",
    "sysenter_eip": f"msr.{msr_name(0x176)}",
    "gpat": f"msr.{msr_name(0x277)}",
    "dbgctl": f"msr.{msr_name(0x1D9)}",
}


def read(lines: Sequence[Line], file: str) -> Found:
    """Each dump as one vCPU."""
    return dumped(((name, _values(own)) for name, own in _dumps(lines)), "VMCB", file)


def _dumps(lines: Sequence[Line]) -> Iterator[tuple[str, list[str]]]:
    """The lines of each dump: from its control area on, where that is there."""
    name, own, saved = "", list[str](), False
    for line in lines:
        head, area = _HEAD.search(line.text), _AREA.search(line.text)
        again = area is not None and (area[1] == "Control" or saved)
        if own and (head or again or len(own) >= MOST_LINES):
            yield name or "VMCB", own
            name, own, saved = "", [], False
        if head:
            name = f"VMCB {head[1]}, CPU {head[2]}"
        if own or area:
            own.append(line.text)
            saved = saved or (area is not None and area[1] != "Control")
    if own:
        yield name or "VMCB", own


def _values(lines: Sequence[str]) -> dict[str, Sized]:
    values: dict[str, Sized] = {}
    control = False
    for text in lines:
        area = _AREA.search(text)
        if area:
            control = area[1] == "Control"
        elif control:
            values.update(_control(text))
        else:
            values.update(_state(text))
    return values


def _control(text: str) -> dict[str, Sized]:
    found = _CONTROL.search(text)
    if not found:
        return {}
    name, digits, second = found.groups()
    path = f"vmcb.{name.replace(' ', '_')}"
    if name in _DECIMAL:
        return {path: (int(digits), 8)} if digits.lstrip("-").isdigit() else {}
    if second:
        return {f"{path}[0]": (int(digits, 16), 4), f"{path}[1]": (int(second, 16), 4)}
    return {path: (int(digits, 16), next(size for size in (1, 2, 4, 8) if len(digits.lstrip("-")) <= 2 * size))}


def _state(text: str) -> dict[str, Sized]:
    found = _SEGMENT.search(text)
    if found:
        name, selector, attributes, limit, base = found.groups()
        if name in ("gdtr", "idtr"):
            return table(name[:-1], limit, base)
        return segment("ldt" if name == "ldtr" else name, selector, attributes, limit, base, SVM_RIGHTS)
    values: dict[str, Sized] = {f"vmcb.{name}": (int(digits), 1) for name, digits in _CPL.findall(text)}
    for name, digits in _WORD.findall(text):
        values[_STATE.get(name, f"vmcb.{name}")] = (int(digits, 16), 8)
    return values
