"""The structures of the KVM API on x86, as ``KVM_GET_*`` returns them.

Source: Linux ``arch/x86/include/uapi/asm/kvm.h`` and ``Documentation/virt/kvm/api.rst``.
"""

from __future__ import annotations

from layouts.declare import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Named, Padded, Struct
from layouts.vocabulary import Bits, Layout, Register, flag
from layouts.x86 import registers as reg
from layouts.x86.kvm_counted import KVM_CPUID2, KVM_MSR_LIST, KVM_MSRS, KVM_XCRS

_UAPI = "Linux arch/x86/include/uapi/asm/kvm.h"

_GPRS = (
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rsp",
    "rbp",
    *(f"r{n}" for n in range(8, 16)),
)

KVM_REGS = Layout(
    "kvm-regs",
    "general registers (KVM_GET_REGS)",
    "regs",
    Struct(
        *(name / Int64ul for name in _GPRS),
        "rip" / Int64ul * "instruction pointer",
        "rflags" / Int64ul * "flags",
    ),
    f"{_UAPI}, struct kvm_regs",
    registers={"rflags": reg.RFLAGS},
    file_names=("regs",),
    json_keys=("regs",),
)

_SEGMENT = Struct(
    "base" / Int64ul * "base address",
    "limit" / Int32ul * "limit in bytes",
    "selector" / Int16ul * "selector",
    "type" / Int8ul * "descriptor type",
    "present" / Int8ul * "present",
    "dpl" / Int8ul * "descriptor privilege level",
    "db" / Int8ul * "default operand size",
    "s" / Int8ul * "code or data (0 = system)",
    "l" / Int8ul * "64-bit code",
    "g" / Int8ul * "limit in pages",
    "avl" / Int8ul * "available to software",
    "unusable" / Int8ul * "unusable",
    "padding" / Int8ul * "padding",
)

_TABLE = Struct(
    "base" / Int64ul * "base address",
    "limit" / Int16ul * "limit in bytes",
    "padding" / Bytes(6) * "padding",
)

_SREGS_COMMON = (
    *(name / _SEGMENT for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")),
    *(name / _TABLE for name in ("gdt", "idt")),
    "cr0" / Int64ul * "control register 0",
    "cr2" / Int64ul * "page fault address",
    "cr3" / Int64ul * "page table root",
    "cr4" / Int64ul * "control register 4",
    "cr8" / Int64ul * "task priority",
    "efer" / Int64ul * "extended feature enable",
    "apic_base" / Int64ul * "local APIC base",
)

_SREGS_REGISTERS = {
    "cr0": reg.CR0,
    "cr3": reg.CR3,
    "cr4": reg.CR4,
    "cr8": reg.CR8,
    "efer": reg.EFER,
    "apic_base": reg.APIC_BASE,
}

KVM_SREGS = Layout(
    "kvm-sregs",
    "segment and control registers (KVM_GET_SREGS)",
    "sregs",
    Struct(
        *_SREGS_COMMON,
        "interrupt_bitmap" / Array(4, Int64ul) * "pending external interrupt (at most one bit set)",
    ),
    f"{_UAPI}, struct kvm_sregs",
    registers=_SREGS_REGISTERS,
    file_names=("sregs",),
    json_keys=("sregs",),
)

KVM_SREGS2 = Layout(
    "kvm-sregs2",
    "segment and control registers (KVM_GET_SREGS2)",
    "sregs2",
    Struct(
        *_SREGS_COMMON,
        "flags" / Int64ul * "flags",
        "pdptrs" / Array(4, Int64ul) * "PAE page directory pointers",
    ),
    f"{_UAPI}, struct kvm_sregs2",
    registers={**_SREGS_REGISTERS, "flags": reg.SREGS2_FLAGS},
    file_names=("sregs2",),
)

KVM_FPU = Layout(
    "kvm-fpu",
    "x87 and SSE registers (KVM_GET_FPU)",
    "fpu",
    Struct(
        "st" / Array(8, Padded(16, Bytes(10))) * "x87 stack register, ST(0) first",
        "fcw" / Int16ul * "x87 control word",
        "fsw" / Int16ul * "x87 status word",
        "ftwx" / Int8ul * "abridged x87 tag word",
        "pad1" / Int8ul * "padding",
        "last_opcode" / Int16ul * "last x87 opcode",
        "last_ip" / Int64ul * "last x87 instruction",
        "last_dp" / Int64ul * "last x87 operand",
        "xmm" / Array(16, Bytes(16)) * "SSE register",
        "mxcsr" / Int32ul * "SSE control and status",
        "pad2" / Int32ul * "padding",
    ),
    f"{_UAPI}, struct kvm_fpu",
    registers={"fcw": reg.FCW, "fsw": reg.FSW, "ftwx": reg.FTW, "mxcsr": reg.MXCSR},
    file_names=("fpu",),
    json_keys=("fpu",),
)

KVM_DEBUGREGS = Layout(
    "kvm-debugregs",
    "debug registers (KVM_GET_DEBUGREGS)",
    "debugregs",
    Struct(
        "db" / Array(4, Int64ul) * "breakpoint address",
        "dr6" / Int64ul * "debug status",
        "dr7" / Int64ul * "debug control",
        "flags" / Int64ul * "must be zero",
        "reserved" / Bytes(72) * "reserved",
    ),
    f"{_UAPI}, struct kvm_debugregs",
    registers={"dr6": reg.DR6, "dr7": reg.DR7},
    file_names=("debugregs",),
    json_keys=("debug_regs", "debugregs"),
)

KVM_VCPU_EVENTS = Layout(
    "kvm-vcpu-events",
    "pending events (KVM_GET_VCPU_EVENTS)",
    "vcpu_events",
    Struct(
        "exception"
        / Struct(
            "injected" / Int8ul * "being injected",
            "nr" / Int8ul * "vector",
            "has_error_code" / Int8ul * "error_code is valid",
            "pending" / Int8ul * "pending",
            "error_code" / Int32ul * "error code",
        ),
        "interrupt"
        / Struct(
            "injected" / Int8ul * "being injected",
            "nr" / Int8ul * "vector",
            "soft" / Int8ul * "software interrupt",
            "shadow" / Int8ul * "interrupt shadow (1 = MOV SS, 2 = STI)",
        ),
        "nmi"
        / Struct(
            "injected" / Int8ul * "being injected",
            "pending" / Int8ul * "pending",
            "masked" / Int8ul * "masked",
            "pad" / Int8ul * "padding",
        ),
        "sipi_vector" / Int32ul * "start-up vector",
        "flags" / Int32ul * "which parts are valid",
        "smi"
        / Struct(
            "smm" / Int8ul * "in system management mode",
            "pending" / Int8ul * "pending",
            "smm_inside_nmi" / Int8ul * "entered from an NMI handler",
            "latched_init" / Int8ul * "INIT latched",
        ),
        "triple_fault" / Struct("pending" / Int8ul * "pending"),
        "reserved" / Bytes(26) * "reserved",
        "exception_has_payload" / Int8ul * "exception_payload is valid",
        "exception_payload" / Int64ul * "CR2 or DR6 of the pending exception",
    ),
    f"{_UAPI}, struct kvm_vcpu_events",
    registers={"flags": reg.VCPU_EVENTS_FLAGS},
    file_names=("vcpu_events",),
    json_keys=("vcpu_events",),
)

KVM_MP_STATE = Layout(
    "kvm-mp-state",
    "multiprocessing state (KVM_GET_MP_STATE)",
    "mp_state",
    Struct("mp_state" / Int32ul * "run state"),
    "Linux include/uapi/linux/kvm.h, struct kvm_mp_state",
    registers={
        "mp_state": Register(
            "mp_state",
            "run state of the vCPU",
            (
                Bits(
                    "STATE",
                    0,
                    32,
                    "state",
                    {
                        0: "RUNNABLE",
                        1: "UNINITIALIZED",
                        2: "INIT_RECEIVED",
                        3: "HALTED",
                        4: "SIPI_RECEIVED",
                        5: "STOPPED",
                        6: "CHECK_STOP",
                        7: "OPERATING",
                        8: "LOAD",
                        9: "AP_RESET_HOLD",
                        10: "SUSPENDED",
                    },
                ),
            ),
            "Linux include/uapi/linux/kvm.h, KVM_MP_STATE_*",
        )
    },
    file_names=("mp_state",),
    json_keys=("mp_state",),
)

_LAPIC_MEMBERS = (
    (0x20, "id", "APIC ID"),
    (0x30, "version", "version"),
    (0x80, "tpr", "task priority"),
    (0x90, "apr", "arbitration priority"),
    (0xA0, "ppr", "processor priority"),
    (0xB0, "eoi", "end of interrupt"),
    (0xC0, "rrd", "remote read"),
    (0xD0, "ldr", "logical destination"),
    (0xE0, "dfr", "destination format"),
    (0xF0, "svr", "spurious interrupt vector"),
    *((0x100 + 16 * n, f"isr{n}", f"in service, vectors {32 * n}-{32 * n + 31}") for n in range(8)),
    *((0x180 + 16 * n, f"tmr{n}", f"trigger mode, vectors {32 * n}-{32 * n + 31}") for n in range(8)),
    *((0x200 + 16 * n, f"irr{n}", f"requested, vectors {32 * n}-{32 * n + 31}") for n in range(8)),
    (0x280, "esr", "error status"),
    (0x2F0, "lvt_cmci", "local vector: CMCI"),
    (0x300, "icr", "interrupt command, low half"),
    (0x310, "icr2", "interrupt command, high half"),
    (0x320, "lvt_timer", "local vector: timer"),
    (0x330, "lvt_thermal", "local vector: thermal sensor"),
    (0x340, "lvt_pc", "local vector: performance counters"),
    (0x350, "lvt_lint0", "local vector: LINT0"),
    (0x360, "lvt_lint1", "local vector: LINT1"),
    (0x370, "lvt_error", "local vector: error"),
    (0x380, "timer_initial", "timer: initial count"),
    (0x390, "timer_current", "timer: current count"),
    (0x3E0, "timer_divide", "timer: divide configuration"),
)


def _lapic_members() -> list[Named]:
    members: list[Named] = []
    at = 0
    for offset, name, doc in _LAPIC_MEMBERS:
        if offset > at:
            members.append(f"reserved{at:#x}" / Bytes(offset - at) * "reserved")
        members.append(name / Padded(16, Int32ul) * doc)
        at = offset + 16
    members.append(f"reserved{at:#x}" / Bytes(0x400 - at) * "reserved")
    return members


KVM_LAPIC = Layout(
    "kvm-lapic",
    "local APIC registers (KVM_GET_LAPIC)",
    "lapic",
    Struct(*_lapic_members()),
    f"{_UAPI}, struct kvm_lapic_state; Intel SDM vol. 3, table 11-1",
    registers={
        "svr": reg.SVR,
        **{name: reg.LVT for _, name, _ in _LAPIC_MEMBERS if name.startswith("lvt_")},
    },
    file_names=("lapic", "lapic_state"),
    json_keys=("lapic_state", "lapic"),
)

KVM_NESTED_STATE = Layout(
    "kvm-nested-state",
    "nested virtualization (KVM_GET_NESTED_STATE)",
    "nested_state",
    Struct(
        "flags" / Int16ul * "flags",
        "format" / Int16ul * "0 = VMX, 1 = SVM",
        "size" / Int32ul * "bytes of the whole structure",
        "hdr"
        / Struct(
            "vmxon_or_vmcb_pa" / Int64ul * "VMX: VMXON region; SVM: VMCB",
            "vmcs12_pa_or_gpat" / Int64ul * "VMX: current VMCS; SVM: the nested guest's PAT (newer kernels)",
            "smm_flags" / Int16ul * "VMX: state inside SMM",
            "pad" / Int16ul * "padding",
            "vmx_flags" / Int32ul * "VMX: preemption timer valid",
            "preemption_timer_deadline" / Int64ul * "VMX: preemption timer deadline",
            "reserved" / Bytes(88) * "reserved",
        ),
    ),
    f"{_UAPI}, struct kvm_nested_state",
    registers={
        "flags": Register(
            "flags",
            "nested state flags",
            (
                flag("GUEST_MODE", 0, "a nested guest is running"),
                flag("RUN_PENDING", 1, "nested entry pending"),
                flag("EVMCS", 2, "enlightened VMCS"),
                flag("MTF_PENDING", 3, "monitor trap pending"),
                flag("GIF_SET", 8, "SVM global interrupt flag"),
            ),
            f"{_UAPI}, KVM_STATE_NESTED_*",
        ),
        "format": Register(
            "format",
            "which vendor",
            (Bits("FORMAT", 0, 16, "format", {0: "VMX", 1: "SVM"}),),
            f"{_UAPI}, KVM_STATE_NESTED_FORMAT_*",
        ),
    },
    open_ended=True,
    file_names=("nested_state",),
)

#: The structures that are one fixed set of members.
FIXED: tuple[Layout, ...] = (
    KVM_REGS,
    KVM_SREGS,
    KVM_SREGS2,
    KVM_FPU,
    KVM_DEBUGREGS,
    KVM_VCPU_EVENTS,
    KVM_MP_STATE,
    KVM_LAPIC,
    KVM_NESTED_STATE,
)

#: Every structure.
STRUCTS: tuple[Layout, ...] = (*FIXED, KVM_XCRS, KVM_CPUID2, KVM_MSRS, KVM_MSR_LIST)
