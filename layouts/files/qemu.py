"""QEMU migration streams: framing, and what the fields of the ``cpu`` section are.

A stream describes itself (the JSON behind its end), so only meaning is declared here: which
register a named field is. What is not declared stays visible under QEMU's own name.

``data/qemu-cpu.json`` is for streams that do not: the fields of the cpu sections of QEMU's x86_64,
i386 and aarch64 emulators and of all their subsections (but PMSA's and M-profile's of varying
length), as QEMU 5.2.0, 7.2.22, 10.0.13 and 11.1.3 (Debian's builds) declare them in their
VMStateDescription tables. No subsection changed its sizes between these versions. What i386 does not
name is as in x86_64.

Source: QEMU 11.1 ``migration/savevm.c``, ``migration/vmstate.c``, ``target/i386/machine.c``,
``target/arm/machine.c``; all numbers are big-endian.
"""

from __future__ import annotations

from typing import NamedTuple

from layouts.vocabulary import Register
from layouts.x86 import msr_registers as msr
from layouts.x86 import registers as reg
from layouts.x86.msrs import msr_name
from layouts.x86.xsave_views import XSTATE_BITMAP

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

FRAMING_SOURCE = "QEMU migration/vmstate.c, vmstate_subsection_save"
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


def _msrs(*numbers: int) -> Mapped:
    """The elements of an array are these MSRs."""
    return Mapped("msr.{name}", tuple(msr_name(number) for number in numbers))


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
    ("cpu", "env.star"): _msr("IA32_STAR", msr.STAR),
    ("cpu", "env.lstar"): _msr("IA32_LSTAR"),
    ("cpu", "env.cstar"): _msr("IA32_CSTAR"),
    ("cpu", "env.fmask"): _msr("IA32_FMASK", reg.RFLAGS),
    ("cpu", "env.kernelgsbase"): _msr("IA32_KERNEL_GS_BASE"),
    ("cpu", "env.sysenter_cs"): _msr("IA32_SYSENTER_CS"),
    ("cpu", "env.sysenter_esp"): _msr("IA32_SYSENTER_ESP"),
    ("cpu", "env.sysenter_eip"): _msr("IA32_SYSENTER_EIP"),
    ("cpu", "env.smbase"): _msr("IA32_SMBASE"),
    ("cpu", "env.pat"): _msr("IA32_PAT", msr.PAT),
    ("cpu", "env.tsc"): _msr("IA32_TIME_STAMP_COUNTER"),
    ("cpu", "env.tsc_aux"): _msr("IA32_TSC_AUX"),
    ("cpu", "env.vm_hsave"): _msr("MSR_VM_HSAVE_PA"),
    ("cpu", "env.mcg_cap"): _msr("IA32_MCG_CAP"),
    ("cpu", "env.mcg_status"): _msr("IA32_MCG_STATUS"),
    ("cpu", "env.mcg_ctl"): _msr("IA32_MCG_CTL"),
    ("cpu", "env.mce_banks"): _msrs(*range(0x400, 0x428)),
    ("cpu", "env.mtrr_fixed"): _msrs(0x250, 0x258, 0x259, *range(0x268, 0x270)),
    **{("cpu", f"env.mtrr_var[{n}].base"): _msr(msr_name(0x200 + 2 * n)) for n in range(8)},
    **{("cpu", f"env.mtrr_var[{n}].mask"): _msr(msr_name(0x201 + 2 * n)) for n in range(8)},
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
    ("cpu/msr_ia32_misc_enable", "env.msr_ia32_misc_enable"): _msr("IA32_MISC_ENABLE", msr.MISC_ENABLE),
    ("cpu/msr_ia32_feature_control", "env.msr_ia32_feature_control"): _msr("IA32_FEATURE_CONTROL", msr.FEATURE_CONTROL),
    ("cpu/msr_tscdeadline", "env.tsc_deadline"): _msr("IA32_TSC_DEADLINE"),
    ("cpu/msr_tsc_adjust", "env.tsc_adjust"): _msr("IA32_TSC_ADJUST"),
    ("cpu/spec_ctrl", "env.spec_ctrl"): _msr("IA32_SPEC_CTRL", msr.SPEC_CTRL),
    ("cpu/msr_smi_count", "env.msr_smi_count"): _msr("MSR_SMI_COUNT"),
    ("cpu/poll_control_msr", "env.poll_control_msr"): _msr("MSR_KVM_POLL_CONTROL"),
    ("cpu/steal_time_msr", "env.steal_time_msr"): _msr("MSR_KVM_STEAL_TIME"),
    ("cpu/async_pf_msr", "env.async_pf_en_msr"): _msr("MSR_KVM_ASYNC_PF_EN"),
    ("cpu/async_pv_eoi_msr", "env.pv_eoi_en_msr"): _msr("MSR_KVM_PV_EOI_EN"),
    ("cpu/async_pf_int_msr", "env.async_pf_int_msr"): _msr("MSR_KVM_ASYNC_PF_INT"),
    ("cpu/virt_ssbd", "env.virt_ssbd"): _msr("MSR_AMD64_VIRT_SPEC_CTRL"),
    ("cpu/amd_tsc_scale_msr", "env.amd_tsc_scale_msr"): _msr("MSR_AMD64_TSC_RATIO"),
    ("cpu/msr_hwcr", "env.msr_hwcr"): _msr("MSR_K7_HWCR"),
    ("cpu/efer32", "env.efer"): Mapped("sregs.efer", register=reg.EFER),
    ("cpu/umwait", "env.umwait"): _msr("IA32_UMWAIT_CONTROL"),
    ("cpu/msr_tsx_ctrl", "env.tsx_ctrl"): _msr("IA32_TSX_CTRL"),
    ("cpu/mcg_ext_ctl", "env.mcg_ext_ctl"): _msr("IA32_MCG_EXT_CTL"),
    ("cpu/intel_sgx", "env.msr_ia32_sgxlepubkeyhash"): _msrs(*range(0x8C, 0x90)),
    ("cpu/msr_architectural_pmu", "env.msr_fixed_ctr_ctrl"): _msr("IA32_FIXED_CTR_CTRL"),
    ("cpu/msr_architectural_pmu", "env.msr_global_ctrl"): _msr("IA32_PERF_GLOBAL_CTRL"),
    ("cpu/msr_architectural_pmu", "env.msr_global_status"): _msr("IA32_PERF_GLOBAL_STATUS"),
    ("cpu/msr_architectural_pmu", "env.msr_global_ovf_ctrl"): _msr("IA32_PERF_GLOBAL_OVF_CTRL"),
    ("cpu/msr_architectural_pmu", "env.msr_fixed_counters"): Mapped("msr.IA32_FIXED_CTR{n}"),
    ("cpu/msr_architectural_pmu", "env.msr_gp_counters"): Mapped("msr.IA32_PMC{n}"),
    ("cpu/msr_architectural_pmu", "env.msr_gp_evtsel"): Mapped("msr.IA32_PERFEVTSEL{n}"),
    ("cpu/intel_pt", "env.msr_rtit_ctrl"): _msr("IA32_RTIT_CTL"),
    ("cpu/intel_pt", "env.msr_rtit_status"): _msr("IA32_RTIT_STATUS"),
    ("cpu/intel_pt", "env.msr_rtit_output_base"): _msr("IA32_RTIT_OUTPUT_BASE"),
    ("cpu/intel_pt", "env.msr_rtit_output_mask"): _msr("IA32_RTIT_OUTPUT_MASK_PTRS"),
    ("cpu/intel_pt", "env.msr_rtit_cr3_match"): _msr("IA32_RTIT_CR3_MATCH"),
    ("cpu/intel_pt", "env.msr_rtit_addrs"): _msrs(*range(0x580, 0x588)),
    ("cpu/arch_lbr", "env.msr_lbr_ctl"): _msr("IA32_LBR_CTL"),
    ("cpu/arch_lbr", "env.msr_lbr_depth"): _msr("IA32_LBR_DEPTH"),
    **{("cpu/arch_lbr", f"env.lbr_records[{n}].from"): _msr(f"IA32_LBR_{n}_FROM_IP") for n in range(32)},
    **{("cpu/arch_lbr", f"env.lbr_records[{n}].to"): _msr(f"IA32_LBR_{n}_TO_IP") for n in range(32)},
    **{("cpu/arch_lbr", f"env.lbr_records[{n}].info"): _msr(f"IA32_LBR_{n}_INFO") for n in range(32)},
    **{("cpu/fred", f"env.fred_rsp{n}"): _msr(f"IA32_FRED_RSP{n}") for n in range(4)},
    **{("cpu/fred", f"env.fred_ssp{n}"): _msr(f"IA32_FRED_SSP{n}") for n in range(1, 4)},
    ("cpu/fred", "env.fred_stklvls"): _msr("IA32_FRED_STKLVLS"),
    ("cpu/fred", "env.fred_config"): _msr("IA32_FRED_CONFIG"),
    ("cpu/msr_hyperv_hypercall", "env.msr_hv_guest_os_id"): _msrs(0x40000000),
    ("cpu/msr_hyperv_hypercall", "env.msr_hv_hypercall"): _msrs(0x40000001),
    ("cpu/msr_hyperv_vapic", "env.msr_hv_vapic"): _msrs(0x40000073),
    ("cpu/msr_hyperv_time", "env.msr_hv_tsc"): _msrs(0x40000021),
    ("cpu/msr_hyperv_runtime", "env.msr_hv_runtime"): _msrs(0x40000010),
    ("cpu/msr_hyperv_crash", "env.msr_hv_crash_params"): _msrs(*range(0x40000100, 0x40000105)),
    ("cpu/msr_hyperv_synic", "env.msr_hv_synic_control"): _msrs(0x40000080),
    ("cpu/msr_hyperv_synic", "env.msr_hv_synic_evt_page"): _msrs(0x40000082),
    ("cpu/msr_hyperv_synic", "env.msr_hv_synic_msg_page"): _msrs(0x40000083),
    ("cpu/msr_hyperv_synic", "env.msr_hv_synic_sint"): _msrs(*range(0x40000090, 0x400000A0)),
    ("cpu/msr_hyperv_stimer", "env.msr_hv_stimer_config"): _msrs(*range(0x400000B0, 0x400000B8, 2)),
    ("cpu/msr_hyperv_stimer", "env.msr_hv_stimer_count"): _msrs(*range(0x400000B1, 0x400000B9, 2)),
    ("cpu/msr_hyperv_reenlightenment", "env.msr_hv_reenlightenment_control"): _msrs(0x40000106),
    ("cpu/msr_hyperv_reenlightenment", "env.msr_hv_tsc_emulation_control"): _msrs(0x40000107),
    ("cpu/msr_hyperv_reenlightenment", "env.msr_hv_tsc_emulation_status"): _msrs(0x40000108),
    ("cpu/mpx", "env.bndcs_regs.cfgu"): Mapped("xsave.bndcsr.bndcfgu", register=reg.BNDCFG),
    ("cpu/mpx", "env.bndcs_regs.sts"): Mapped("xsave.bndcsr.bndstatus", register=reg.BNDSTATUS),
    ("cpu/mpx", "env.msr_bndcfgs"): _msr("IA32_BNDCFGS", reg.BNDCFG),
}

#: Segments in the order of ``env.segs``.
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
TABLES = ("ldt", "tr", "gdt", "idt")

#: The device that QEMU makes for a guest under KVM only (hw/i386/kvm/clock.c).
KVM_ONLY_SECTION = "kvmclock"

#: ``type`` of the row of a subsection's header: 05, length and name, version.
SUBSECTION_HEADER = "subsection header"

#: Fields of the arm cpu section.
ARM_FIELDS: dict[tuple[str, str], Mapped] = {
    ("cpu", "env.pc"): Mapped("core.pc"),
    ("cpu", "env.exception.syndrome"): Mapped("qemu.exception.syndrome"),
    ("cpu", "power_state"): Mapped("qemu.power_state"),
    ("cpu/zt0", "env.za_state.zt0"): Mapped("zt0", kind="vector"),
}
