"""What this machine's KVM answers, in the records that ``inspector verify`` replays.

The kinds are those of docs/x86-machine.md: the host's own CPUID, capabilities, CPUID of guests, XCR0 of every
combination of its components, the MSRs of extended state, XSAVE images. Every record is of a process that asked for no
further components (``noperm``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from inspector.decode.header import with_xstate_bv, xstate_bv
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.live import CAP_XSAVE2, LiveKvm, LiveVcpu, cpuid_of_rows
from inspector.machine.x86.replay.kvm import BV_BITS, FIELDS
from inspector.targets.live.own_cpuid import own_cpuid

Record = dict[str, Any]

_CONTEXT = {"ctx": "noperm"}
#: Leaves with extended state, and those by which a processor is known.
_LEAVES = (0, 1, 7, 0xD, 0x1D, 0x1E, 0x24, 0x80000000, 0x80000002, 0x80000003, 0x80000004, 0x80000008)
_BEFORE_CPUID = (7, 0xE7, 1, 0, 3, 0x602E7)
#: Components of XCR0 that are swept: those of the architecture with a place in Linux, or without one.
_SWEPT = (0, 1, 2, 3, 4, 5, 6, 7, 9, 17, 18, 19)
_MSR_VALUES = (0, 1 << 17, 1 << 18, 1 << 9, 1 << 11, 1 << 12, 1 << 63, 3)


def modules_of_kvm(folder: str = "/sys/module") -> list[str]:
    """KVM's modules for a kind of processor, loaded or built in: ``kvm_intel``, ``kvm_amd``, others' own."""
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith("kvm_"))
    except OSError:
        return []


def recorded(kvm: LiveKvm) -> Iterator[Record]:
    """Every record, in an order in which they can be replayed. Raises OSError where no vCPU can be made."""
    system = os.uname()
    yield {"t": "uname", "release": system.release, "version": system.version}
    cpuid = own_cpuid()
    for (leaf, sub), values in (cpuid.leaves if cpuid else {}).items():
        if leaf in _LEAVES:
            yield {"t": "cpuid", "leaf": leaf, "sub": sub, "r": list(values)}
    yield from ({"t": "kvmmodule", "name": name} for name in modules_of_kvm())
    code, guest = kvm.guest_supported()
    yield {
        "t": "kvmcaps",
        **_CONTEXT,
        "xsave2": kvm.extension(CAP_XSAVE2),
        "guest_supp_err": code,
        "guest_supp": f"{guest:x}",
    }
    supported = kvm.supported_cpuid()
    for (leaf, sub), values in cpuid_of_rows(supported).leaves.items():
        if (leaf == 0xD and sub < 64) or (leaf, sub) == (7, 0):
            yield {"t": "kvmcpuid", **_CONTEXT, "leaf": leaf, "sub": sub, "r": list(values)}
    with kvm.vcpu() as fresh:
        answers = {f"{value:x}": fresh.set_xcr0(value) for value in _BEFORE_CPUID}
        yield {"t": "setxcr0-before-cpuid", **_CONTEXT, **answers}
    with kvm.vcpu() as vcpu:
        yield {"t": "vmcap", **_CONTEXT, "xsave2": kvm.extension(CAP_XSAVE2, vcpu.vm)}
        yield {"t": "setcpuid", **_CONTEXT, "with": "supported", "err": vcpu.set_cpuid(supported)}
        yield from _state(kvm, vcpu)


def _state(kvm: LiveKvm, vcpu: LiveVcpu) -> Iterator[Record]:
    """What a vCPU with the supported CPUID takes."""
    taken = []
    for number in range(1 << len(_SWEPT)):
        value = sum(1 << bit for at, bit in enumerate(_SWEPT) if number >> at & 1)
        if not vcpu.set_xcr0(value):
            taken.append(f"{value:x}")
    yield {"t": "xcr0sweep", **_CONTEXT, "bits": list(_SWEPT), "ok": taken}
    for value in _MSR_VALUES:
        record: Record = {"t": "setmsr", **_CONTEXT, "val": f"{value:x}"}
        for name, index in (("xfd", MSR_XFD), ("xfd_err", MSR_XFD_ERR), ("xss", MSR_XSS)):
            record[name] = vcpu.set_msr(index, value)
            record[f"{name}_now"] = f"{vcpu.msrs([index]).get(index, 0):x}"
        yield record
    for index in (MSR_XFD, MSR_XFD_ERR, MSR_XSS):
        vcpu.set_msr(index, 0)
    size = kvm.extension(CAP_XSAVE2, vcpu.vm)
    code, image = vcpu.xsave(size)
    yield {"t": "getxsave2", **_CONTEXT, "err": code, "size": 0 if code else len(image)}
    yield {"t": "getxsave", **_CONTEXT, "err": vcpu.old_xsave()}
    if not code:
        yield from _images(vcpu, with_xstate_bv(image, xstate_bv(image) | 3), size)


def _images(vcpu: LiveVcpu, good: bytes, size: int) -> Iterator[Record]:
    """Single changes to an image that the vCPU gave, one after the other: what is refused leaves the one before."""
    for case in ("asis", *BV_BITS, *FIELDS):
        image = bytearray(good)
        if case in BV_BITS:
            image[:] = with_xstate_bv(bytes(image), xstate_bv(image) | BV_BITS[case])
        elif case in FIELDS:
            member, value = FIELDS[case]
            member.store(image, value)
        code = vcpu.set_xsave(bytes(image))
        after = xstate_bv(vcpu.xsave(size)[1])
        yield {"t": "setxsave", **_CONTEXT, "case": case, "err": code, "bv_after": f"{after:x}"}
