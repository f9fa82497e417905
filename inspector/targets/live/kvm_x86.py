"""``kvm:`` on x86: what KVM supports here, and the structures of a fresh vCPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from inspector.capture.attributes import XsaveTable
from inspector.capture.errors import InputError, UsageError
from inspector.capture.host import Host as HostFacts
from inspector.capture.model import Area, Capture, Origin, Vcpu
from inspector.decode.placement import table_from_cpuid
from inspector.machine.x86.host import Host
from inspector.machine.x86.live import CAP_XSAVE2, LiveError, LiveKvm, LiveVcpu, cpuid_of_rows
from inspector.readers.kvm_struct import struct_area
from inspector.readers.named_values import facts_area
from inspector.readers.options import Options
from inspector.readers.xsave_area import xsave_area
from inspector.targets.kernels import kernel_named, split
from inspector.targets.live.own_cpuid import own_cpuid
from layouts.x86.kernels import profile_for
from layouts.x86.kvm_counted import cpuid2_pack, msrs_pack

SCHEME = "kvm:"


@contextmanager
def opened_kvm(target: str) -> Iterator[LiveKvm]:
    """This machine's KVM. Raises UsageError for more than ``kvm:``, InputError where there is none."""
    name, release = split(target)
    if release:
        raise UsageError(f"{target}: {name} has a kernel of its own; @RELEASE goes with CPUs and captures")
    if name != SCHEME:
        raise UsageError(f"{target}: expected {SCHEME} and nothing after it")
    try:
        with LiveKvm() as kvm:
            yield kvm
    except LiveError as error:
        raise InputError("kvm", "the KVM of an x86 machine", str(error)) from error
    except OSError as error:
        raise InputError("kvm", "a vCPU", error.strerror or str(error)) from error


def host_of_kvm(target: str, options: Options) -> Host:
    """This processor as CPUID tells it, else as KVM shows it to guests, on the kernel that runs."""
    with opened_kvm(target) as kvm:
        cpuid = own_cpuid() or cpuid_of_rows(kvm.supported_cpuid())
    return Host(cpuid, kernel_named(profile_for, os.uname().release, options.note))


def capture_of_kvm(target: str, _options: Options) -> Capture:
    """A vCPU right after KVM_SET_CPUID2 of what is supported."""
    with opened_kvm(target) as kvm:
        supported = kvm.supported_cpuid()
        cpuid = own_cpuid() or cpuid_of_rows(supported)
        table = table_from_cpuid(cpuid_of_rows(supported).xsave_table(), "CPUID of the vCPU")
        with kvm.vcpu() as vcpu:
            refused = vcpu.set_cpuid(supported)
            areas = list(_areas(kvm, vcpu, table))
        rows = [(f"capability {number}", str(value)) for number, value in kvm.capabilities().items()]
        code, guest = kvm.guest_supported()
        rows.append(("KVM_X86_XCOMP_GUEST_SUPP", os.strerror(code) if code else f"{guest:#x}"))
        features = [(index, 0, value) for index, value in kvm.feature_msrs().items()]
        context = [
            _area("kvm-cpuid2", cpuid2_pack(supported), "supported_cpuid"),
            _area("kvm-msrs", msrs_pack(features), "feature_msrs"),
            facts_area(rows, "kvm", "what KVM_CHECK_EXTENSION and KVM_GET_DEVICE_ATTR say", "kvm"),
        ]
    facts = HostFacts(cpuid=cpuid, kernel=os.uname().release, about="the KVM of this machine")
    notices = [f"KVM_SET_CPUID2 of the supported CPUID: {os.strerror(refused)}"] if refused else []
    return Capture(target, "kvm", [Vcpu(0, "fresh vCPU", "x86", areas)], host=facts, context=context, notices=notices)


def _area(layout: str, data: bytes, prefix: str = "") -> Area:
    return struct_area(layout, data, Origin("kvm", 0), prefix)[0]


def _areas(kvm: LiveKvm, vcpu: LiveVcpu, table: XsaveTable | None) -> Iterator[Area]:
    for name, data in vcpu.structures().items():
        yield _area(name, data)
    xcrs = vcpu.xcrs()
    if xcrs:
        yield _area("kvm-xcrs", xcrs)
    yield _area("kvm-cpuid2", cpuid2_pack(vcpu.cpuid()))
    yield _area("kvm-msrs", msrs_pack([(index, 0, value) for index, value in vcpu.msrs(kvm.msr_indices()).items()]))
    size = kvm.extension(CAP_XSAVE2, vcpu.vm)
    code, image = vcpu.xsave(size)
    if table is not None and not code:
        title = f"XSAVE image ({'KVM_GET_XSAVE2' if size else 'KVM_GET_XSAVE'})"
        yield xsave_area("xsave", title, image, Origin("kvm", 0), table, len(image))
