"""QEMU migration streams: framing, and what the fields of the ``cpu`` section are.

A stream describes itself (the JSON behind its end), so only meaning is declared here: which
register a named field is. What is not declared stays visible under QEMU's own name.

Source: QEMU 11.1 ``migration/savevm.c``, ``migration/vmstate.c``, ``target/i386/machine.c``,
``target/arm/machine.c``; all numbers are big-endian.
"""

from __future__ import annotations

from typing import NamedTuple

from layouts.vocabulary import Register
from layouts.x86 import registers as reg
from layouts.x86.xsave import XSTATE_BITMAP

MAGIC = b"QEVM"
VERSION = 3

EOF = 0x00
SECTION_START = 0x01
SECTION_PART = 0x02
SECTION_END = 0x03
SECTION_FULL = 0x04
SUBSECTION = 0x05
VMDESCRIPTION = 0x06
CONFIGURATION = 0x07
COMMAND = 0x08
FOOTER = 0x7E

RAM_ZERO = 0x02
RAM_MEM_SIZE = 0x04
RAM_PAGE = 0x08
RAM_EOS = 0x10
RAM_CONTINUE = 0x20
RAM_XBZRLE = 0x40
RAM_HOOK = 0x80
RAM_MULTIFD_FLUSH = 0x200

LIBVIRT_MAGIC = b"LibvirtQemudSave"
LIBVIRT_HEADER_SIZE_BYTES = 92

X86_SOURCE = "QEMU target/i386/machine.c, vmstate_x86_cpu"
ARM_SOURCE = "QEMU target/arm/machine.c, vmstate_arm_cpu"


class Mapped(NamedTuple):
    """What a field of a section is.

    ``path`` may have ``{n}`` (number of the element, plus ``first``) or ``{name}`` (of
    ``names``); without either the whole array is one value.
    """

    path: str
    names: tuple[str, ...] = ()
    first: int = 0
    register: Register | None = None
    kind: str = "uint"


_GPRS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_DRS = ("db[0]", "db[1]", "db[2]", "db[3]", "dr4", "dr5", "dr6", "dr7")


def _msr(name: str, register: Register | None = None) -> Mapped:
    return Mapped(f"msr.{name}", register=register)


#: Fields of the x86 cpu section by (subsection, QEMU's name).
X86_FIELDS: dict[tuple[str, str], Mapped] = {
    ("cpu", "env.regs"): Mapped("regs.{name}", _GPRS),
    ("cpu", "env.eip"): Mapped("regs.rip"),
    ("cpu", "env.eflags"): Mapped("regs.rflags", register=reg.RFLAGS),
    ("cpu", "env.fpuc"): Mapped("xsave.legacy.fcw", register=reg.FCW),
    ("cpu", "env.fpus_vmstate"): Mapped("xsave.legacy.fsw", register=reg.FSW),
    ("cpu", "env.fptag_vmstate"): Mapped("xsave.legacy.ftw", register=reg.FTW),
    ("cpu", "env.mxcsr"): Mapped("xsave.legacy.mxcsr", register=reg.MXCSR),
    ("cpu", "env.cr[0]"): Mapped("sregs.cr0", register=reg.CR0),
    ("cpu", "env.cr[2]"): Mapped("sregs.cr2"),
    ("cpu", "env.cr[3]"): Mapped("sregs.cr3", register=reg.CR3),
    ("cpu", "env.cr[4]"): Mapped("sregs.cr4", register=reg.CR4),
    ("cpu", "env.dr"): Mapped("debugregs.{name}", _DRS),
    ("cpu", "env.efer"): Mapped("sregs.efer", register=reg.EFER),
    ("cpu", "env.star"): _msr("IA32_STAR", reg.STAR),
    ("cpu", "env.lstar"): _msr("IA32_LSTAR"),
    ("cpu", "env.cstar"): _msr("IA32_CSTAR"),
    ("cpu", "env.fmask"): _msr("IA32_FMASK", reg.RFLAGS),
    ("cpu", "env.kernelgsbase"): _msr("IA32_KERNEL_GS_BASE"),
    ("cpu", "env.sysenter_cs"): _msr("IA32_SYSENTER_CS"),
    ("cpu", "env.sysenter_esp"): _msr("IA32_SYSENTER_ESP"),
    ("cpu", "env.sysenter_eip"): _msr("IA32_SYSENTER_EIP"),
    ("cpu", "env.smbase"): _msr("IA32_SMBASE"),
    ("cpu", "env.pat"): _msr("IA32_PAT", reg.PAT),
    ("cpu", "env.tsc"): _msr("IA32_TIME_STAMP_COUNTER"),
    ("cpu", "env.tsc_aux"): _msr("IA32_TSC_AUX"),
    ("cpu", "env.vm_hsave"): _msr("MSR_VM_HSAVE_PA"),
    ("cpu", "env.mcg_cap"): _msr("IA32_MCG_CAP"),
    ("cpu", "env.mcg_status"): _msr("IA32_MCG_STATUS"),
    ("cpu", "env.mcg_ctl"): _msr("IA32_MCG_CTL"),
    ("cpu", "env.mtrr_deftype"): _msr("IA32_MTRR_DEF_TYPE"),
    ("cpu", "env.system_time_msr"): _msr("MSR_KVM_SYSTEM_TIME_NEW"),
    ("cpu", "env.wall_clock_msr"): _msr("MSR_KVM_WALL_CLOCK_NEW"),
    ("cpu", "env.mp_state"): Mapped("mp_state.mp_state"),
    ("cpu", "env.xcr0"): Mapped("xcr.xcr0", register=XSTATE_BITMAP),
    ("cpu", "env.xstate_bv"): Mapped("xsave.header.xstate_bv", register=XSTATE_BITMAP),
    ("cpu/fpop_ip_dp", "env.fpop"): Mapped("xsave.legacy.fop"),
    ("cpu/fpop_ip_dp", "env.fpip"): Mapped("xsave.legacy.fip"),
    ("cpu/fpop_ip_dp", "env.fpdp"): Mapped("xsave.legacy.fdp"),
    ("cpu/avx512", "env.opmask_regs"): Mapped("xsave.opmask.k[{n}]"),
    ("cpu/pkru", "env.pkru"): Mapped("xsave.pkru.pkru", register=reg.PKRU),
    ("cpu/pkrs", "env.pkrs"): _msr("IA32_PKRS"),
    ("cpu/xss", "env.xss"): _msr("IA32_XSS", XSTATE_BITMAP),
    ("cpu/msr_xfd", "env.msr_xfd"): _msr("IA32_XFD", XSTATE_BITMAP),
    ("cpu/msr_xfd", "env.msr_xfd_err"): _msr("IA32_XFD_ERR", XSTATE_BITMAP),
    ("cpu/cet", "env.u_cet"): _msr("IA32_U_CET", reg.CET),
    ("cpu/cet", "env.s_cet"): _msr("IA32_S_CET", reg.CET),
    ("cpu/cet_shstk", "env.pl1_ssp"): _msr("IA32_PL1_SSP"),
    ("cpu/cet_shstk", "env.pl2_ssp"): _msr("IA32_PL2_SSP"),
    ("cpu/cet_shstk", "env.pl3_ssp"): _msr("IA32_PL3_SSP"),
    ("cpu/cet_shstk", "env.int_ssp_table"): _msr("IA32_INTERRUPT_SSP_TABLE_ADDR"),
    ("cpu/cet_shstk", "env.guest_ssp"): Mapped("shstk.ssp"),
    ("cpu/msr_pl0_ssp", "env.pl0_ssp"): _msr("IA32_PL0_SSP"),
    ("cpu/apx", "env.regs"): Mapped("xsave.apx.r[{n}]", first=16),
    ("cpu/msr_ia32_misc_enable", "env.msr_ia32_misc_enable"): _msr("IA32_MISC_ENABLE", reg.MISC_ENABLE),
    ("cpu/msr_ia32_feature_control", "env.msr_ia32_feature_control"): _msr("IA32_FEATURE_CONTROL", reg.FEATURE_CONTROL),
    ("cpu/tsc_deadline", "env.tsc_deadline"): _msr("IA32_TSC_DEADLINE"),
    ("cpu/msr_tsc_adjust", "env.tsc_adjust"): _msr("IA32_TSC_ADJUST"),
    ("cpu/spec_ctrl", "env.spec_ctrl"): _msr("IA32_SPEC_CTRL", reg.SPEC_CTRL),
    ("cpu/msr_smi_count", "env.msr_smi_count"): _msr("MSR_SMI_COUNT"),
    ("cpu/poll_control_msr", "env.poll_control_msr"): _msr("MSR_KVM_POLL_CONTROL"),
    ("cpu/steal_time_msr", "env.steal_time_msr"): _msr("MSR_KVM_STEAL_TIME"),
    ("cpu/async_pf_msr", "env.async_pf_en_msr"): _msr("MSR_KVM_ASYNC_PF_EN"),
    ("cpu/pv_eoi_msr", "env.pv_eoi_en_msr"): _msr("MSR_KVM_PV_EOI_EN"),
    ("cpu/virt_ssbd", "env.virt_ssbd"): _msr("MSR_AMD64_VIRT_SPEC_CTRL"),
    ("cpu/mpx", "env.bndcs_regs.cfgu"): Mapped("xsave.bndcsr.bndcfgu", register=reg.BNDCFG),
    ("cpu/mpx", "env.bndcs_regs.sts"): Mapped("xsave.bndcsr.bndstatus", register=reg.BNDSTATUS),
    ("cpu/mpx", "env.msr_bndcfgs"): _msr("IA32_BNDCFGS", reg.BNDCFG),
}

#: Segments in the order of ``env.segs``.
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
TABLES = ("ldt", "tr", "gdt", "idt")

#: Fields of the arm cpu section.
ARM_FIELDS: dict[tuple[str, str], Mapped] = {
    ("cpu", "env.pc"): Mapped("core.pc"),
    ("cpu", "env.exception.syndrome"): Mapped("qemu.exception.syndrome"),
    ("cpu", "power_state"): Mapped("qemu.power_state"),
    ("cpu/zt0", "env.za_state.zt0"): Mapped("zt0", kind="vector"),
}
