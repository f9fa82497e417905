"""Trace events of a log, held against what Linux and KVM on a host can have: buffers, and MSRs of extended state.

An event is asked where its answer follows from the host and the kernel alone. What a guest is shown (kvm_cpuid), why it
left (kvm_exit) and whether it got #GP hang on the VMM and on the guest's own CPUID, which a trace does not tell.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping

from inspector.capture.calls import Call
from inspector.machine.outcome import Outcome, Rule
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.module import Kvm

_FPU = re.compile(r"xfeatures: (?P<bv>[0-9a-f]{1,16}) xcomp_bv: (?P<comp>[0-9a-f]{1,16})")
_MSR = re.compile(r"msr_(?:read|write) (?P<index>[0-9a-f]{1,8}) = 0x(?P<value>[0-9a-f]{1,16})(?P<fault> \(#GP\))?")
_COMPACTED = 1 << 63
_WHOSE = "it hangs on the VMM and on the guest's CPUID"


def asked(kvm: Kvm, call: Call, *, stands_in: bool) -> Outcome | str | None:
    """What the machine says of an event, or why it is not asked; None for what is no event.

    ``stands_in``: the host is made of a guest's CPUID, which may have less than the real one.
    """
    if stands_in and call.name.startswith(("x86_fpu_", "kvm_")):
        return "it hangs on the host's own CPUID, which the log does not tell"
    if call.name.startswith("x86_fpu_"):
        return _buffer(kvm.host, call.text)
    if call.name == "kvm_msr":
        return _msr(kvm, call.text)
    return _WHOSE if call.name.startswith("kvm_") else None


def _buffer(host: Host, text: str) -> Outcome | str:
    """A struct fpstate: its header is what xstate_init_xcomp_bv made, and what XSAVE wrote since."""
    found = _FPU.search(text)
    if found is None:
        return "its words are not those of a buffer"
    bv, comp = int(found["bv"], 16), int(found["comp"], 16)
    rule = Rule("xstate_init_xcomp_bv, __fpstate_reset (fpu/xstate.c, fpu/core.c)")
    known = host.kernel_max
    held = rule.check(
        "XCOMP_BV[63] is set where the CPU has XSAVEC or XSAVES", not comp or bool(comp & _COMPACTED) == host.compacted
    )
    held = held and rule.check(
        f"only components that Linux uses here ({known:#x})", not (bv | comp & ~_COMPACTED) & ~known
    )
    inside = not comp & _COMPACTED or not bv & ~comp
    return rule.ok() if held and rule.check("XSTATE_BV within XCOMP_BV", inside) else rule.refuse(errno.EINVAL)


def _msr(kvm: Kvm, text: str) -> Outcome | str:
    """An MSR of extended state, which a guest wrote or read: only bits that KVM on this host can have given it."""
    found = _MSR.search(text)
    limit = _LIMITS.get(int(found["index"], 16)) if found is not None else None
    if found is None or limit is None:
        return "an MSR that is not of extended state"
    if found["fault"]:
        return _WHOSE
    allowed, value = limit(kvm), int(found["value"], 16)
    rule = Rule("kvm_set_msr_common, kvm_get_msr_common (x86.c)")
    held = rule.check(f"only bits that guests can have here ({allowed:#x})", not value & ~allowed)
    return rule.ok() if held else rule.refuse(errno.EINVAL)


_LIMITS: Mapping[int, Callable[[Kvm], int]] = {
    MSR_XFD: lambda kvm: kvm.host.kvm_xcr0 & kvm.host.xfd_capable if kvm.host.uses_xfd else 0,
    MSR_XFD_ERR: lambda kvm: kvm.host.kvm_xcr0 & kvm.host.xfd_capable if kvm.host.uses_xfd else 0,
    MSR_XSS: lambda kvm: kvm.xss,
}
