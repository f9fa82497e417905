"""Events of the x86 world by chance, mostly what a guest does."""

from __future__ import annotations

import random

_XCR0 = ("0x1", "0x3", "0x7", "0xe7", "0x207", "0x2e7", "0x602e7", "0x60003", "0x20001", "0x40001", "0x5", "0x18")
_BITS = ("0", "0x40000", "0x20000", "0x2", "0x60000", "0xffffffffffffffff")
_ANY = ("ldtilecfg", "ldtilecfg 0", "ldtilecfg 9", "sttilecfg", "tilerelease", "tilezero 0", "tileloadd 0",
        "tileloadd 5",
        "tilestored 5", "movdqu 3", "vmovdqu 3", "vmovdqu64 3", "vmovdqu64 30", "kmovq 1", "wrpkru 0x54", "rdpkru",
        "xgetbv 0", "xgetbv 1", "rdssp", "incssp 1", "xsave", "xsaveopt 7", "xsavec", "xsaves", "xrstor", "xrstors",
        "xrstor 0x60000 0x40000", "rdmsr XFD", "rdmsr XFD_ERR", "rdmsr XSS", "rdmsr U_CET")  # fmt: skip
_LINUX = ("arch_prctl REQ_XCOMP_PERM 18", "arch_prctl REQ_XCOMP_GUEST_PERM 18", "arch_prctl REQ_XCOMP_PERM 19", "clone",
          "fork", "exec", "schedule", "sigaltstack 4096", "sigaltstack 16384", "signal", "sigreturn", "core",
          "PTRACE_SETREGSET 0x60003", "PTRACE_SETREGSET 0x3", "fail_allocation")  # fmt: skip
_KVM = ("KVM_CREATE_VM", "KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM 0x602e7", "KVM_TDX_INIT_VM 0x7", "KVM_CREATE_VCPU",
        "KVM_CREATE_VCPU thread=1", "KVM_SET_CPUID2 supported", "KVM_SET_CPUID2 amx", "KVM_SET_CPUID2 no-amx",
        "KVM_SET_CPUID2 avx-only", "KVM_GET_XSAVE", "KVM_GET_XSAVE2", "KVM_SET_XSAVE", "KVM_SET_XSAVE cut",
        "KVM_SET_XSAVE 0x60207", "KVM_RUN", "exit", "preempt", "softirq", "return", "guest boot", "guest boot 6.1",
        "KVM_SET_MSRS U_CET 1 PL3_SSP 0x1000", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_MSRS U_CET",
        "KVM_GET_XCRS")  # fmt: skip
START = ("arch_prctl REQ_XCOMP_GUEST_PERM 18", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported")


def event(pick: random.Random) -> str:
    """Any event, mostly what a guest does."""
    kind = pick.randrange(10)
    if kind < 2:
        words = pick.choice(_LINUX)
    elif kind < 4:
        words = pick.choice(_KVM)
    elif kind == 4:
        words = f"{pick.choice(('KVM_SET_XCRS', 'guest xsetbv'))} {pick.choice(_XCR0)}"
    elif kind == 5:
        setter = pick.choice(("KVM_SET_MSRS", "guest wrmsr"))
        words = f"{setter} {pick.choice(('XFD', 'XFD', 'XFD_ERR', 'XSS', 'S_CET'))} {pick.choice(_BITS)}"
    elif kind == 6:
        words = f"process {pick.choice(_ANY)}"
    else:
        words = f"guest {pick.choice(('', '', 'process '))}{pick.choice(_ANY)}"
        if pick.random() < 0.2:
            words = f"guest {pick.choice(_LINUX)}"
    for place in ("cpu", "vcpu", "thread"):
        if pick.random() < 0.08:
            words += f" {place}={pick.randrange(2)}"
    return words
