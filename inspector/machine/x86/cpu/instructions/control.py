"""XSETBV, XGETBV, WRMSR and RDMSR of the MSRs that XSAVE state hangs on.

Source: Intel SDM vol. 2 (XSETBV, XGETBV), vol. 1, 13.3 and 13.14, vol. 4 (the MSRs).
"""

from __future__ import annotations

from inspector.machine.outcome import GP, UD, Outcome, Rule
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host
from layouts.x86.xsave import AVX512, MPX, XTILE

MSR_XFD = 0x1C4
MSR_XFD_ERR = 0x1C5
MSR_U_CET = 0x6A0
MSR_S_CET = 0x6A2
MSR_PL0_SSP, MSR_PL3_SSP = 0x6A4, 0x6A7
MSR_XSS = 0xDA0
#: MSRs by the names that events use.
MSRS = {
    "XFD": MSR_XFD,
    "XFD_ERR": MSR_XFD_ERR,
    "XSS": MSR_XSS,
    "U_CET": MSR_U_CET,
    "S_CET": MSR_S_CET,
    "PL0_SSP": MSR_PL0_SSP,
    "PL1_SSP": MSR_PL0_SSP + 1,
    "PL2_SSP": MSR_PL0_SSP + 2,
    "PL3_SSP": MSR_PL3_SSP,
}
#: CET MSRs that are XSAVE state: MSR -> (component, offset in it).
CET_STATE = {
    MSR_U_CET: (11, 0),
    MSR_PL3_SSP: (11, 8),
    MSR_PL0_SSP: (12, 0),
    MSR_PL0_SSP + 1: (12, 8),
    MSR_PL0_SSP + 2: (12, 16),
}
#: Reserved bits of IA32_U_CET and IA32_S_CET.
_CET_RESERVED = 0x3C0
_APX = 1 << 19


def check_xcr0(rule: Rule, value: int, allowed: int, who: str) -> bool:
    """The rules of an XCR0 value beyond its register and bit 0: what may go with what."""
    return (
        rule.check("AVX has SSE with it", not value & 4 or value & 2)
        and rule.check(f"no bit outside what {who} ({allowed:#x})", not value & ~allowed)
        and rule.check("BNDREGS and BNDCSR both or none", value & MPX in (0, MPX))
        and rule.check("AVX-512: all three, and AVX", not value & AVX512 or (value & AVX512 == AVX512 and value & 4))
        and rule.check("XTILECFG and XTILEDATA both or none", value & XTILE in (0, XTILE))
    )


def check_cet(rule: Rule, index: int, value: int, *, has_shstk: bool, has_ibt: bool) -> bool:
    """A value of a CET MSR (kvm_is_valid_u_s_cet and __kvm_set_msr in x86.c say the same)."""
    if index in (MSR_U_CET, MSR_S_CET):
        return (
            rule.check("the CPU has shadow stacks or IBT", has_shstk or has_ibt)
            and rule.check("no reserved bit", not value & _CET_RESERVED)
            and rule.check("shadow stack bits only with shadow stacks", has_shstk or not value & 3)
            and rule.check("IBT bits only with IBT", has_ibt or not value & ~3)
            and rule.check("SUPPRESS and TRACKER not both", value >> 10 & 3 != 3)
        )
    return (
        rule.check("the CPU has shadow stacks", has_shstk)
        and rule.check("a canonical address", is_canonical(value))
        and rule.check("a multiple of 4", not value & 3)
    )


def is_canonical(address: int) -> bool:
    """Bits 63 to 47 are all the same."""
    return address >> 47 in (0, (1 << 17) - 1)


def xsetbv(cpu: Processor, index: int, value: int) -> Outcome:
    """XSETBV."""
    rule = Rule("Intel SDM vol. 2, XSETBV", "manual")
    if not rule.check("CR4.OSXSAVE is set", cpu.cr4_osxsave):
        return rule.fault(UD)
    allowed = cpu.host.cpu_xcr0
    held = (
        rule.check("in the kernel (CPL 0)", not cpu.user)
        and rule.check("the register is XCR0", index == 0)
        and rule.check("bit 0 (x87) is set", value & 1)
        and check_xcr0(rule, value, allowed, "the CPU enumerates")
        and rule.check("not APX and MPX", not (value & _APX and value & MPX))
    )
    if not held:
        return rule.fault(GP)
    cpu.xcr0 = value
    return rule.ok()


def xgetbv(cpu: Processor, index: int) -> Outcome:
    """XGETBV(0) is XCR0, XGETBV(1) what of it is in use."""
    rule = Rule("Intel SDM vol. 2, XGETBV", cpu.host.evidence)
    if not rule.check("CR4.OSXSAVE is set", cpu.cr4_osxsave):
        return rule.fault(UD)
    if not rule.check("XCR0, or XCR0 & XINUSE where the CPU has it", index == 0 or (index == 1 and _has_xgetbv1(cpu))):
        return rule.fault(GP)
    return rule.ok(cpu.xcr0 & cpu.registers.in_use if index else cpu.xcr0)


def _has_xgetbv1(cpu: Processor) -> bool:
    return cpu.host.has(0xD, 1, 0, 2)


def wrmsr(cpu: Processor, index: int, value: int) -> Outcome:
    """WRMSR."""
    rule = Rule("Intel SDM vol. 2, WRMSR; vol. 1, 13.14", "manual")
    if not rule.check("in the kernel (CPL 0)", not cpu.user):
        return rule.fault(GP)
    if not _check_write(cpu, rule, index, value):
        return rule.fault(GP)
    if index == MSR_XFD:
        cpu.xfd = value
    elif index == MSR_XFD_ERR:
        cpu.xfd_err = value
    elif index == MSR_XSS:
        cpu.xss = value
    elif index in CET_STATE:
        component, offset = CET_STATE[index]
        cpu.registers.write(component, offset, value.to_bytes(8, "little"))
    else:
        cpu.msrs[index] = value
    return rule.ok()


def _check_write(cpu: Processor, rule: Rule, index: int, value: int) -> bool:
    host = cpu.host
    if index in (MSR_XFD, MSR_XFD_ERR):
        capable = host.xfd_capable
        return rule.check("the CPU has XFD", host.has_xfd) and rule.check(
            f"only components that can be disabled ({capable:#x})", not value & ~capable
        )
    if index == MSR_XSS:
        allowed = host.cpu_xss
        return rule.check("the CPU has XSAVES", _has_msr(host, index)) and rule.check(
            f"only supervisor components of the CPU ({allowed:#x})", not value & ~allowed
        )
    return check_cet(rule, index, value, has_shstk=host.has_shstk, has_ibt=host.has_ibt)


def _has_msr(host: Host, index: int) -> bool:
    if index in (MSR_XFD, MSR_XFD_ERR):
        return host.has_xfd
    if index == MSR_XSS:
        return host.has(0xD, 1, 0, 3)
    return host.has_shstk or (host.has_ibt and index in (MSR_U_CET, MSR_S_CET))


def rdmsr(cpu: Processor, index: int) -> Outcome:
    """RDMSR."""
    rule = Rule("Intel SDM vol. 2, RDMSR", "manual")
    held = rule.check("in the kernel (CPL 0)", not cpu.user) and rule.check(
        "the CPU has this MSR", _has_msr(cpu.host, index)
    )
    return rule.ok(read(cpu, index)) if held else rule.fault(GP)


def read(cpu: Processor, index: int) -> int:
    """An MSR's value, asked by nobody."""
    if index in CET_STATE:
        component, offset = CET_STATE[index]
        return int.from_bytes(cpu.registers.get(component)[offset : offset + 8], "little")
    values = {MSR_XFD: cpu.xfd, MSR_XFD_ERR: cpu.xfd_err, MSR_XSS: cpu.xss}
    return values.get(index, cpu.msrs.get(index, 0))
