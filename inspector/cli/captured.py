"""A captured vCPU as events: what a VMM does to restore it."""

from __future__ import annotations

from inspector.capture.errors import UsageError
from inspector.capture.model import Vcpu
from inspector.cli import arguments
from inspector.decode.fields import FieldTable
from inspector.machine.x86.host import XTILE
from inspector.machine.x86.world import Captured
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.open import open_capture
from inspector.readers.options import Options


def captured_of(target: str, number: int | None) -> tuple[Captured, str]:
    """The XSAVE state of a captured x86 vCPU, and its name. Raises UsageError and InputError."""
    capture = open_capture(target, Options())
    vcpu = arguments.choose_vcpus(capture, number if number is not None else 0)[0]
    if vcpu.arch != "x86":
        raise UsageError(f"--from {target}: {vcpu.name} is {vcpu.arch}; the machine is x86")
    cpuid, image = vcpu.area("cpuid"), vcpu.area("xsave")
    table = cpuid_of(cpuid.data) if cpuid is not None else None
    found = Captured(
        leaves=table.leaves if table is not None else {},
        image=bytes(image.data) if image is not None else b"",
        xcr0=_value(vcpu, "xcr", "xcr.xcr0"),
        xfd=_value(vcpu, "msr", "msr.IA32_XFD"),
        xfd_err=_value(vcpu, "msr", "msr.IA32_XFD_ERR"),
    )
    if not found.leaves and not found.image:
        raise UsageError(f"--from {target}: {vcpu.name} has neither CPUID nor an XSAVE image")
    return found, vcpu.name


def restore_events(captured: Captured) -> tuple[str, ...]:
    """The order in which QEMU puts a vCPU's state (kvm_arch_put_registers in target/i386/kvm/kvm.c)."""
    eax = captured.leaves.get((0xD, 0), (0, 0, 0, 0))[0]
    events = ["arch_prctl REQ_XCOMP_GUEST_PERM 18"] if eax & XTILE else []
    events += ["KVM_CREATE_VCPU", f"KVM_SET_CPUID2 {'captured' if captured.leaves else 'supported'}"]
    if captured.image:
        events.append("KVM_SET_XSAVE captured")
    if captured.xcr0 is not None:
        events.append(f"KVM_SET_XCRS {captured.xcr0:#x}")
    if captured.xfd is not None:
        events.append(f"KVM_SET_MSRS XFD {captured.xfd:#x}")
    if captured.xfd_err is not None:
        events.append(f"KVM_SET_MSRS XFD_ERR {captured.xfd_err:#x}")
    return (*events, "KVM_RUN")


def _value(vcpu: Vcpu, prefix: str, path: str) -> int | None:
    area = vcpu.area(prefix)
    field = FieldTable(area).get(path) if area is not None else None
    return field.value if field is not None else None
