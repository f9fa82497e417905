"""The structures of the KVM API on x86 that are a count and entries (CPUID, MSRs, XCRs), packed and unpacked.

Source: Linux ``arch/x86/include/uapi/asm/kvm.h`` and ``Documentation/virt/kvm/api.rst``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layouts.declare import Array, Bytes, Int32ul, Int64ul, Struct
from layouts.members import Counted, Readable
from layouts.vocabulary import Layout
from layouts.x86.xsave_views import XSTATE_BITMAP

_UAPI = "Linux arch/x86/include/uapi/asm/kvm.h"

KVM_XCR_ENTRIES = 16

KVM_XCRS_HEADER = Struct("nr_xcrs" / Int32ul * "entries in use", "flags" / Int32ul * "must be zero")
KVM_XCR = Struct(
    "xcr" / Int32ul * "register number",
    "reserved" / Int32ul * "reserved",
    "value" / Int64ul * "value",
)
KVM_XCRS = Layout(
    "kvm-xcrs",
    "extended control registers (KVM_GET_XCRS)",
    "xcr",
    Struct(
        *KVM_XCRS_HEADER.subcons,
        "xcrs" / Array(KVM_XCR_ENTRIES, KVM_XCR),
        "padding" / Bytes(128) * "padding",
    ),
    f"{_UAPI}, struct kvm_xcrs",
    registers={"xcrs.value": XSTATE_BITMAP},
    file_names=("xcrs",),
)

KVM_CPUID2 = Layout(
    "kvm-cpuid2",
    "CPUID table (KVM_GET_CPUID2)",
    "cpuid",
    Struct("nent" / Int32ul * "entries", "padding" / Int32ul * "padding"),
    f"{_UAPI}, struct kvm_cpuid2",
    open_ended=True,
    file_names=("cpuid2", "supported_cpuid"),
)

KVM_CPUID_ENTRY2 = Struct(
    "function" / Int32ul * "leaf",
    "index" / Int32ul * "sub-leaf",
    "flags" / Int32ul * "1 = the sub-leaf matters",
    "eax" / Int32ul,
    "ebx" / Int32ul,
    "ecx" / Int32ul,
    "edx" / Int32ul,
    "padding" / Bytes(12) * "padding",
)

_CPUID2 = Counted(KVM_CPUID2.construct, KVM_CPUID_ENTRY2)


def cpuid2_pack(entries: Sequence[Sequence[int]]) -> bytes:
    """``struct kvm_cpuid2`` of entries (function, index, flags, eax, ebx, ecx, edx)."""
    return _CPUID2.pack(entries)


def cpuid2_unpack(data: Readable) -> Iterator[tuple[int, ...]]:
    """The entries of a ``struct kvm_cpuid2`` that are there: function, index, flags, eax, ebx, ecx, edx."""
    return _CPUID2.unpack(data)


KVM_MSRS = Layout(
    "kvm-msrs",
    "model-specific registers (KVM_GET_MSRS)",
    "msr",
    Struct("nmsrs" / Int32ul * "entries", "pad" / Int32ul * "padding"),
    f"{_UAPI}, struct kvm_msrs",
    open_ended=True,
    file_names=("msrs",),
)

KVM_MSR_ENTRY = Struct(
    "index" / Int32ul * "MSR number",
    "reserved" / Int32ul * "reserved",
    "data" / Int64ul * "value",
)

KVM_MSR_LIST = Layout(
    "kvm-msr-list",
    "MSRs that KVM saves (KVM_GET_MSR_INDEX_LIST)",
    "msr_list",
    Struct("nmsrs" / Int32ul * "entries"),
    f"{_UAPI}, struct kvm_msr_list",
    open_ended=True,
    file_names=("msr_index_list", "msr_feature_index_list"),
)

_MSRS = Counted(KVM_MSRS.construct, KVM_MSR_ENTRY)


def msrs_pack(entries: Sequence[Sequence[int]]) -> bytes:
    """``struct kvm_msrs`` of entries (index, reserved, data)."""
    return _MSRS.pack(entries)


def msrs_unpack(data: Readable) -> Iterator[tuple[int, ...]]:
    """The entries of a ``struct kvm_msrs`` that are there: index, reserved, data."""
    return _MSRS.unpack(data)


_XCRS = Counted(KVM_XCRS_HEADER, KVM_XCR)


def xcrs_pack(entries: Sequence[Sequence[int]]) -> bytes:
    """``struct kvm_xcrs`` of entries (xcr, reserved, value), at most KVM_MAX_XCRS."""
    return _XCRS.pack(entries).ljust(int(KVM_XCRS.construct.sizeof()), b"\0")


#: The structures that are a count and entries, by layout.
COUNTED = {
    KVM_CPUID2.name: _CPUID2,
    KVM_MSRS.name: _MSRS,
    KVM_MSR_LIST.name: Counted(KVM_MSR_LIST.construct, Struct("index" / Int32ul)),
    KVM_XCRS.name: _XCRS,
}
