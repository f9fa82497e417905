"""Messages that people put into KVM and the FPU code to see AMX at work, as a write-up of AMX under KVM prints them.

``kvm_set_msr_common set MSR_IA32_XFD to 0x40000 on vcpu1 cpu1`` and the like. No kernel prints them of itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspector.capture.calls import Call
from inspector.readers.logs.found import MOST, Found, Line, State
from inspector.readers.named_values import Sized, named_area

_MSR = re.compile(
    r"\bkvm_set_msr_common set MSR_(?:IA32_)?(XFD|XFD_ERR) to 0x([0-9a-f]{1,16}) on vcpu(\d{1,5}) cpu(\d{1,5})"
)
_HOST = re.compile(r"\bwrite xfd to cpu(\d{1,5}) with 0x([0-9a-f]{1,16})")
_OTHER = re.compile(
    r"\b(?P<name>fpstate_realloc|handle_exception_nmi|handle_xfd_event|xfd_write_state|xstate_request_perm)\b"
    r"(?! *\+0x)(?P<rest> .{1,160})"
)


def read(lines: Sequence[Line], file: str) -> Found:
    """Messages as calls; XFD and XFD_ERR of each vCPU and host CPU as last written."""
    values: dict[str, dict[str, Sized]] = {}
    calls: list[Call] = []
    for line in lines:
        msr, host = _MSR.search(line.text), _HOST.search(line.text)
        other = _OTHER.search(line.text)
        if msr:
            who, path, value = f"vcpu {msr[3]}", f"msr.IA32_{msr[1]}", int(msr[2], 16)
        elif host:
            who, path, value = f"host cpu {host[1]}", "msr.IA32_XFD", int(host[2], 16)
        else:
            if other and "+0x" not in line.text:
                calls.append(Call(line.offset, "", -1, other["name"], other["rest"].strip()))
            continue
        if who in values or len(values) < MOST:
            values.setdefault(who, {})[path] = (value, 8)
        calls.append(Call(line.offset, who, -1, "WRMSR", f"{path.removeprefix('msr.')} {value:#x}"))
    return Found(
        [State(who, "x86", [named_area(own, file, "as last written")]) for who, own in values.items()], calls=calls
    )
