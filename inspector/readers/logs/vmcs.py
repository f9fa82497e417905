"""``dump_vmcs``: the VMCS of a VM entry that failed, as KVM prints it with ``kvm_intel.dump_invalid_vmcs=1``.

Guest state gets the paths that the same registers have everywhere; host state and controls are ``vmcs.host.*`` and
``vmcs.control.*`` under the words of the dump.

Source: Linux 5.10 to 7.2, arch/x86/kvm/vmx/vmx.c (dump_vmcs, vmx_dump_sel, vmx_dump_dtsel, vmx_dump_msrs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inspector.readers.logs.dumps import MOST_LINES, dumped
from inspector.readers.logs.found import Found, Line
from inspector.readers.logs.segments import VMX_RIGHTS, segment, table
from inspector.readers.named_values import Sized
from layouts.x86.msrs import msr_name

_HEAD = re.compile(r"\bVMCS (\S{1,20}), last attempted VM-entry on CPU (-?\d{1,6})")
_SECTION = re.compile(r"\*\*\* (Guest|Host|Control) State \*\*\*")
_SEGMENT = re.compile(
    r"\b([CDSEFG]S|LDTR|TR): +sel=0x([0-9a-f]{1,4}), attr=0x([0-9a-f]{1,8}), "
    r"limit=0x([0-9a-f]{1,8}), base=0x([0-9a-f]{1,16})"
)
_TABLE = re.compile(r"\b(G|I)DTR: +limit=0x([0-9a-f]{1,8}), base=0x([0-9a-f]{1,16})")
_CONTROL_REGISTER = re.compile(
    r"\bCR([04]): actual=0x([0-9a-f]{1,16}), shadow=0x([0-9a-f]{1,16}), gh_mask=(?:0x)?([0-9a-f]{1,16})"
)
_SYSENTER = re.compile(r"\bSysenter RSP=([0-9a-f]{1,16}) CS:RIP=([0-9a-f]{1,8}):([0-9a-f]{1,16})")
_MSR_LIST = re.compile(r"\bMSR (?:guest|host) (autoload|autostore):")
_MSR = re.compile(r"\bmsr=0x([0-9a-f]{1,8}) value=0x([0-9a-f]{1,16})")
_WORD = re.compile(
    r"([A-Za-z][A-Za-z0-9_-]{0,30}(?: [A-Za-z][A-Za-z-]{1,12}){0,2}) ?= *(?:0x)?([0-9a-f]{1,16})(?![0-9A-Za-z])"
)
_GROUP = re.compile(r"\b(VMEntry|VMExit|IDTVectoring): ")
#: Words of the guest's state that other formats have.
_GUEST = {
    "CR3": "sregs.cr3",
    "RSP": "regs.rsp",
    "RIP": "regs.rip",
    "RFLAGS": "regs.rflags",
    "DR7": "debugregs.dr7",
    "EFER": "sregs.efer",
    "PAT": f"msr.{msr_name(0x277)}",
    "DebugCtl": f"msr.{msr_name(0x1D9)}",
    "PerfGlobCtl": f"msr.{msr_name(0x38F)}",
    "BndCfgS": f"msr.{msr_name(0xD90)}",
    "S_CET": f"msr.{msr_name(0x6A2)}",
    **{f"PDPTR{n}": f"sregs.pdptrs[{n}]" for n in range(4)},
}


def read(lines: Sequence[Line], file: str) -> Found:
    """Each dump as one vCPU."""
    return dumped(((name, _values(own)) for name, own in _dumps(lines)), "VMCS", file)


def _dumps(lines: Sequence[Line]) -> Iterator[tuple[str, list[str]]]:
    """The lines of each dump: from its guest state on."""
    name, own = "", list[str]()
    for line in lines:
        head, section = _HEAD.search(line.text), _SECTION.search(line.text)
        if own and (head or (section and section[1] == "Guest") or len(own) >= MOST_LINES):
            yield name or "VMCS", own
            name, own = "", []
        if head:
            name = f"VMCS {head[1]}, CPU {head[2]}"
        if own or (section and section[1] == "Guest"):
            own.append(line.text)
    if own:
        yield name or "VMCS", own


def _values(lines: Sequence[str]) -> dict[str, Sized]:
    values: dict[str, Sized] = {}
    section = group = listed = ""
    for text in lines:
        found = _SECTION.search(text)
        if found:
            section, group, listed = found[1].lower(), "", ""
            continue
        listing = _MSR_LIST.search(text)
        if listing:
            listed = listing[1]
            continue
        values.update(_line(text, section, listed))
        found = _GROUP.search(text)
        # The exit's reason stands alone in the line behind VMExit.
        group = found[1] if found else group if "reason=" in text else ""
        if not _SEGMENT.search(text) and not _CONTROL_REGISTER.search(text):
            values.update(_words(text, section, group))
    return values


def _line(text: str, section: str, listed: str) -> dict[str, Sized]:
    """Lines that are of one form of their own."""
    found = _SEGMENT.search(text)
    if found:
        name, selector, attributes, limit, base = found.groups()
        return segment("ldt" if name == "LDTR" else name.lower(), selector, attributes, limit, base, VMX_RIGHTS)
    found = _TABLE.search(text)
    if found:
        return table(f"{found[1].lower()}dt", found[2], found[3])
    found = _CONTROL_REGISTER.search(text)
    if found:
        actual, shadow, mask = (int(word, 16) for word in found.groups()[1:])
        name = f"cr{found[1]}"
        path = f"vmcs.{name}"
        return {f"sregs.{name}": (actual, 8), f"{path}_read_shadow": (shadow, 8), f"{path}_guest_host_mask": (mask, 8)}
    found = _SYSENTER.search(text)
    if found:
        head = "msr." if section == "guest" else "vmcs.host."
        names = (0x175, 0x174, 0x176)
        return {
            f"{head}{msr_name(index)}": (int(word, 16), 8) for index, word in zip(names, found.groups(), strict=True)
        }
    found = _MSR.search(text) if listed else None
    if found:
        head = "msr." if section == "guest" and listed == "autoload" else f"vmcs.{section}.{listed}."
        return {f"{head}{msr_name(int(found[1], 16))}": (int(found[2], 16), 8)}
    return {}


def _words(text: str, section: str, group: str) -> dict[str, Sized]:
    """``Name = value`` however many a line has."""
    values: dict[str, Sized] = {}
    if _SYSENTER.search(text) or _MSR.search(text) or _TABLE.search(text):
        return values
    for name, digits in _WORD.findall(text):
        if section == "guest" and name in _GUEST:
            values[_GUEST[name]] = (int(digits, 16), 8)
            continue
        word = "_".join(part for part in (group, name.replace(" ", "_")) if part).lower()
        values[f"vmcs.{section}.{word}"] = (int(digits, 16), _size(digits))
    return values


def _size(digits: str) -> int:
    return next(size for size in (1, 2, 4, 8) if len(digits) <= 2 * size)
