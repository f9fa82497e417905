"""For each rule over x86 state a capture that breaks it, and a near miss that does not."""

from __future__ import annotations

from tests.lint.case import Case, On

_AMX = On("amx")
_INTEL = On("kvm-vcpus/sapphire-rapids-linux-7.2")
_NESTED = On("kvm-vcpus/milan-nested-linux-7.3")
_TWO = On("zen5-kvm", 1)
_STREAM = On("qemu-kvm-reset/migration-stream.gz")
_FIRECRACKER = On("kvm-vcpus/sapphire-rapids-linux-7.2", 0, "firecracker")
_CLOUD = On("amx", 0, "cloud-hypervisor")
_QEMU = On("amx", 0, "qemu")

_XSAVE = (
    _AMX("X0101", "xcr.xcr0=0x2e7", "xcr.xcr0=0x602e7"),
    _AMX("X0102", "xsave.header.xcomp_bv=1", "xsave.header.xcomp_bv=0"),
    _AMX("X0103", "xsave.legacy.mxcsr=0x80001f80", "xsave.legacy.mxcsr=0xffbf"),
    _AMX("X0104", "xsave.header.xcomp_bv=0x8000000000060246", "xsave.header.xcomp_bv=0x246"),
    _AMX("X0105", "xcr.xcr0=0x602e6", "xcr.xcr0=1"),
    _AMX("X0106", "xcr.xcr0=5", "xcr.xcr0=7"),
    _AMX("X0107", "xcr.xcr0=0x27", "xcr.xcr0=0xe7"),
    _AMX("X0108", "xcr.xcr0=0x20007", "xcr.xcr0=0x60007"),
    _AMX("X0109", "xcr.xcr0=0xf", "xcr.xcr0=0x1f"),
    _AMX("X0110", "xcr.xcr0=0x1f", "xcr.xcr0=0x7"),
    _AMX("X0111", "xsave<4096", "xsave<4096 xsave.header.xstate_bv=0x20246"),
    _AMX("X0112", "xsave<4096 xsave.header.xstate_bv=0x246", "xsave<4096 xsave.header.xstate_bv=0x246 xcr.xcr0=0x2e7"),
    _AMX("X0113", "msr.IA32_XFD=0x40000", "msr.IA32_XFD=0x40000 xsave.header.xstate_bv=0x20246"),
    _AMX("X0114", "xsave.xtilecfg.rows[0]=17", "xsave.xtilecfg.rows[0]=16 xsave.xtilecfg.colsb[0]=64"),
    _AMX("X0115", "xsave.header.xstate_bv=0x40246", "xsave.header.xstate_bv=0x20246"),
    _AMX(
        "X0116",
        "sregs.cr4.PKE=1 xsave.header.xstate_bv=0x46",
        "sregs.cr4.PKE=1 xsave.header.xstate_bv=0x246",
    ),
    _AMX("X0117", "xsave.header.xstate_bv=0x80246", "xsave.header.xstate_bv=0x60246"),
    _AMX("X0118", "fpu.xmm[3]=1", "fpu.mxcsr=0x1fbf"),
    _AMX("X0119", "-xsave", "-xsave xcr.xcr0=3"),
    On("amx", 1)("X0120", "kvm_xsave.header.xstate_bv=0x44", "kvm_xsave.pkru.pkru=4"),
    On("emerald-rapids/full.core.gz")("X0122", "", "prstatus.cursig=0"),
    _AMX("X0121", "sregs.cr4.OSXSAVE=0", "sregs.cr4.OSXSAVE=0 xcr.xcr0=1"),
)

_CONTROL = (
    _AMX("X0201", "sregs.efer=0x100", "sregs.efer=0x500"),
    _AMX("X0202", "sregs.efer=0 sregs.cr0=0x33", "sregs.efer=0 sregs.cr0=0x33 sregs.cs.l=0"),
    _AMX("X0203", "sregs.cr0=0x80050032", "sregs.cr0=0x50032"),
    _AMX("X0204", "sregs.cr0=0xa0050033", "sregs.cr0=0xe0050033"),
    _AMX("X0205", "sregs.cr0=0x180050033", "sregs.cr0=0xffffffff"),
    _AMX("X0206", "sregs.cr4.PCIDE=1 cpuid.1.0.ecx.pcid=0", "sregs.cr4.PCIDE=1 cpuid.1.0.ecx.pcid=1"),
    _AMX("X0207", "sregs.cr4=0x40008620", "sregs.cr4.PCE=1"),
    _AMX("X0208", "sregs.efer.SVME=1", "sregs.efer.NXE=1"),
    _AMX("X0209", "sregs.efer=0x80000500", "sregs.efer=0xd00"),
    _AMX("X0210", "sregs.cr3=0x10000000001000", "sregs.cr3=0x4000000000001000 cpuid.7.1.eax.lam=1"),
    _AMX("X0211", "sregs.cr4.PCIDE=1 sregs.efer=0", "sregs.cr4.PCIDE=1"),
    _AMX("X0212", "sregs.cr4.CET=1 sregs.cr0.WP=0", "sregs.cr4.CET=1 sregs.cr0.WP=1"),
    _AMX("X0213", "regs.rflags=0x800002", "regs.rflags=0x3f7fd7"),
    _AMX("X0214", "regs.rflags.VM=1", "regs.rflags.VM=1 sregs.efer=0"),
    _AMX("X0215", "regs.rip=0x800000000000 cpuid.7.0.ecx.la57=0", "regs.rip=0x7fffffffffff cpuid.7.0.ecx.la57=0"),
    _AMX("X0216", "sregs2.cr3=0x2000", "sregs2.flags=1"),
    _AMX("X0217", "sregs2.flags=1", "sregs2.flags=1 sregs2.efer=0"),
    _AMX("X0218", "sregs2.flags=2", "sregs2.flags=1"),
    _AMX("X0219", "sregs2.flags=1 sregs2.pdptrs[2]=0x1003", "sregs2.flags=1 sregs2.pdptrs[2]=0x1002"),
    _AMX("X0220", "sregs.efer=0", "sregs.efer=0 sregs2.efer=0 sregs2.flags=1"),
    _AMX("X0221", "debugregs.dr6=0x1ffff0ff0", "debugregs.dr6=0xffff0ff0"),
    _AMX("X0222", "debugregs.dr7=0x100000400", "debugregs.dr7=0xffffffff"),
    _AMX("X0223", "debugregs.flags=1", "debugregs.flags=0"),
    _AMX("X0224", "sregs.cr8=16", "sregs.cr8=15"),
    _AMX("X0225", "sregs.interrupt_bitmap[0]=0x100000000 sregs.interrupt_bitmap[3]=1", "sregs.interrupt_bitmap[3]=1"),
    _AMX(
        "X0226",
        "msr.IA32_BIOS_SIGN_ID.index=0xc0000080 msr.IA32_EFER=0xd00",
        "msr.IA32_BIOS_SIGN_ID.index=0xc0000080 msr.IA32_EFER=0x500",
    ),
    _AMX(
        "X0227",
        "msr.IA32_BIOS_SIGN_ID.index=0xc0000100 msr.IA32_FS_BASE=0x1000",
        "msr.IA32_BIOS_SIGN_ID.index=0xc0000100 msr.IA32_FS_BASE=0",
    ),
)

_SEGMENTS = (
    _AMX("X0240", "sregs.cs.type=10", "sregs.cs.type=9"),
    _AMX("X0241", "sregs.cs.db=1", "sregs.cs.db=1 sregs.cs.l=0"),
    _AMX("X0242", "sregs.cs.dpl=3", "sregs.cs.dpl=3 sregs.ss.dpl=3"),
    _AMX("X0243", "sregs.ss.type=1", "sregs.ss.type=1 sregs.ss.unusable=1"),
    _AMX("X0244", "sregs.es.type=9", "sregs.es.type=11"),
    _AMX("X0245", "sregs.tr.type=9", "sregs.tr.type=3 sregs.efer=0"),
    _AMX("X0246", "sregs.ldt.type=3", "sregs.ldt.type=3 sregs.ldt.unusable=1"),
    _AMX("X0247", "sregs.ds.limit=0xfffffffe", "sregs.ds.limit=0xfffff sregs.ds.g=0"),
    _AMX("X0248", "sregs.fs.base=0x800000000000 cpuid.7.0.ecx.la57=0", "sregs.fs.base=0xffff800000000000"),
    _AMX("X0249", "regs.rflags.VM=1", "regs.rflags.VM=0"),
    _AMX("X0250", "sregs.tr.selector=0x1c", "sregs.tr.selector=0x18"),
    _AMX("X0251", "sregs.gs.present=0", "sregs.gs.present=0 sregs.gs.unusable=1"),
)


def _renamed(on: On, code: str, *names: str, also: str = "") -> Case:
    """The MSRs are another one, 0xc001; or one that the rule does not ask for is."""
    gone = " ".join(f"msr.{name}.index=0xc001" for name in names)
    return on(code, f"{gone} {also}", f"msr.IA32_BIOS_SIGN_ID.index=0xc001 {also}")


_HAS_MTRR = "msr.MSR_SMI_COUNT.index=0x2ff"
_MSRS = (
    _renamed(_INTEL, "X0301", "IA32_XSS"),
    _renamed(_INTEL, "X0302", "IA32_U_CET", "IA32_S_CET"),
    _renamed(_AMX, "X0303", "IA32_XFD"),
    _renamed(_AMX, "X0304", "IA32_XFD_ERR"),
    _renamed(_AMX, "X0305", "IA32_TSC_AUX"),
    _INTEL("X0306", "", _HAS_MTRR),
    _renamed(_AMX, "X0307", "IA32_PAT"),
    _renamed(_AMX, "X0308", "IA32_SPEC_CTRL", also="cpuid.7.0.edx.spec_ctrl=1"),
    _renamed(_AMX, "X0309", "IA32_TSC_DEADLINE"),
    _renamed(_AMX, "X0310", "IA32_TIME_STAMP_COUNTER"),
    _renamed(_AMX, "X0311", "IA32_TSC_ADJUST"),
    _renamed(_AMX, "X0312", "IA32_SYSENTER_EIP"),
    _renamed(_AMX, "X0313", "IA32_LSTAR"),
    _renamed(_AMX, "X0314", "IA32_KERNEL_GS_BASE"),
    _renamed(_AMX, "X0315", "MSR_KVM_SYSTEM_TIME_NEW", "MSR_KVM_SYSTEM_TIME"),
    _renamed(_AMX, "X0316", "MSR_KVM_ASYNC_PF_EN"),
    _renamed(_AMX, "X0317", "MSR_KVM_STEAL_TIME", also="cpuid.40000001.0.eax.kvm_steal_time=1"),
    _renamed(_AMX, "X0318", "MSR_KVM_PV_EOI_EN"),
    _renamed(_AMX, "X0319", "IA32_UMWAIT_CONTROL"),
    _renamed(_AMX, "X0320", "IA32_VMX_BASIC", also="cpuid.1.0.ecx.vmx=1"),
    _renamed(_AMX, "X0321", "IA32_ARCH_CAPABILITIES"),
    _renamed(_AMX, "X0322", "IA32_MCG_STATUS"),
    _AMX("X0323", "cpuid.7.1.eax.fred=1", "cpuid.7.1.eax.fred=1 msr.MSR_SMI_COUNT.index=0x1d4"),
    _renamed(_NESTED, "X0324", "MSR_VM_HSAVE_PA"),
    _renamed(_NESTED, "X0325", "MSR_AMD64_VIRT_SPEC_CTRL", also="cpuid.80000008.0.ebx.virt_ssbd=1"),
    _AMX("X0340", "msr.IA32_PAT=0x0007040600070402", "msr.IA32_PAT=0x0007050600070401"),
    _AMX("X0341", f"{_HAS_MTRR} msr.IA32_MTRR_DEF_TYPE=0xc02", f"{_HAS_MTRR} msr.IA32_MTRR_DEF_TYPE=0xc06"),
    _AMX(
        "X0342",
        "msr.MSR_SMI_COUNT.index=0x201 msr.IA32_MTRR_PHYSMASK0=0x10000000000800",
        "msr.MSR_SMI_COUNT.index=0x201 msr.IA32_MTRR_PHYSMASK0=0x800",
    ),
    _INTEL("X0343", "msr.IA32_XSS=0x1900", "msr.IA32_XSS=0x1800"),
    _AMX("X0344", "msr.IA32_XFD=0x20000", "msr.IA32_XFD=0x40000"),
    _AMX("X0345", "msr.IA32_XFD_ERR=1", "msr.IA32_XFD_ERR=0x40000"),
    _AMX("X0346", "msr.IA32_LSTAR=0x800000000000 cpuid.7.0.ecx.la57=0", "msr.IA32_LSTAR=0xffffffff81000000"),
    _AMX("X0347", "msr.IA32_U_CET=0xc00", "msr.IA32_U_CET=0x800"),
    _AMX("X0348", "msr.IA32_SPEC_CTRL=0x200", "msr.IA32_SPEC_CTRL=0x400"),
    _AMX("X0349", "msr.IA32_LSTAR=0x1000 msr.IA32_CSTAR.index=0xc0000082", "msr.IA32_LSTAR=0x1000"),
    _AMX("X0350", "msr.nmsrs=300", "msr.nmsrs=10"),
    _AMX(
        "X0351",
        "msr.MSR_SMI_COUNT.index=0xc1 cpuid.a.0.eax=0",
        "msr.MSR_SMI_COUNT.index=0xc1 cpuid.a.0.eax=0x7300402",
    ),
    _AMX(
        "X0352",
        "msr.MSR_KVM_STEAL_TIME=0x1001 cpuid.40000001.0.eax.kvm_steal_time=0",
        "msr.MSR_KVM_STEAL_TIME=0x1001 cpuid.40000001.0.eax.kvm_steal_time=1",
    ),
    _AMX("X0353", "msr.HV_X64_MSR_GUEST_OS_ID=1", "msr.HV_X64_MSR_TIME_REF_COUNT=1"),
    _AMX(
        "X0354",
        "sregs.cr4.VMXE=1 msr.IA32_FEATURE_CONTROL=1",
        "sregs.cr4.VMXE=1 msr.IA32_FEATURE_CONTROL=5",
    ),
    _INTEL("X0355", "-lapic", ""),
    _AMX("X0356", "msr.IA32_TSC_AUX=0x100000000", "msr.IA32_TSC_AUX=0xffffffff"),
    _AMX("X0357", "msr.MSR_SMI_COUNT.index=0x49", "msr.MSR_SMI_COUNT.index=0x48"),
)

_CPUID = (
    _AMX("X0401", "cpuid.1.0.ecx.osxsave=0", "cpuid.1.0.ecx.osxsave=0 sregs.cr4.OSXSAVE=0"),
    _AMX("X0402", "cpuid.1.0.edx.apic=0", "cpuid.1.0.edx.apic=0 sregs.apic_base.EN=0"),
    _AMX("X0403", "cpuid.d.0.ebx=576", "cpuid.d.0.ebx=11008"),
    _AMX("X0404", "cpuid.d.5.eax=0", "cpuid.d.5.eax=0 cpuid.d.0.eax=0x602c7"),
    _AMX("X0405", "cpuid.d.5.ebx=800", "cpuid.d.5.ebx=832"),
    _AMX("X0406", "cpuid.d.0.ecx=4096", "cpuid.d.0.ecx=12000"),
    _AMX("X0407", "cpuid.0.0.eax=13", "cpuid.0.0.eax=0x24"),
    _AMX("X0408", "cpuid.d.6.index=5", "cpuid.d.6.index=8"),
    _AMX("X0409", "cpuid.d.0.flags=0", "cpuid.0.0.flags=0"),
    _AMX("X0410", "cpuid.7.0.ebx.avx2=0", "cpuid.7.0.edx.amx_bf16=0"),
    _INTEL("X0411", "cpuid.d.0.eax=0x207", "cpuid.d.0.eax=0x207 cpuid.7.0.ebx.avx512f=0"),
    _NESTED("X0412", "cpuid.80000000.0.ebx=0x756e6547", "cpuid.80000000.0.ebx=0x68747541"),
    _AMX("X0413", "cpuid.80000008.0.eax=0x382e", "cpuid.80000008.0.eax=0x392e"),
    _AMX(
        "X0414",
        "cpuid.80000008.0.eax=0x392e cpuid.7.0.ecx.la57=0",
        "cpuid.80000008.0.eax=0x392e cpuid.7.0.ecx.la57=1",
    ),
    _AMX("X0415", "cpuid.80000008.0.eax=0x3035", "cpuid.80000008.0.eax=0x3034"),
    _INTEL("X0416", "cpuid.1.0.ecx.guest_status=0", "cpuid.1.0.ecx.guest_status=1"),
    _AMX(
        "X0417",
        "cpuid.40000000.0.function=0x21 cpuid.40000001.0.function=0x22 cpuid.1.0.ecx.guest_status=1",
        "cpuid.40000001.0.function=0x22 cpuid.1.0.ecx.guest_status=1",
    ),
    _AMX("X0418", "cpuid.nent=257", "cpuid.nent=50"),
    _AMX("X0419", "-cpuid", "-cpuid -regs"),
    _INTEL("X0420", "x2 cpuid.7.0.ebx.smep=0", "x2 cpuid.1.0.ebx.local_apic_id=5"),
    _INTEL("X0421", "x2", "x2 cpuid.1.0.ebx.local_apic_id=5 cpuid.b.0.edx=5"),
    _AMX(
        "X0422",
        "cpuid.b.0.edx=2 cpuid.b.0.ebx=4 cpuid.1.0.ebx.local_apic_id=3",
        "cpuid.b.0.edx=3 cpuid.b.0.ebx=4 cpuid.1.0.ebx.local_apic_id=3",
    ),
    _AMX("X0423", "cpuid.1.0.ecx.xsave=0", "cpuid.1.0.ecx.xsave=0 cpuid.d.0.eax=0"),
    _AMX("X0424", "cpuid.7.0.eax=0 cpuid.7.2.edx=1", "cpuid.7.0.eax=2 cpuid.7.2.edx=1"),
)

_PAYLOAD = "vcpu_events.flags=0x1d"
_EVENTS = (
    _AMX(
        "X0501",
        "vcpu_events.exception.injected=1 vcpu_events.exception.nr=2",
        "vcpu_events.exception.injected=1 vcpu_events.exception.nr=3",
    ),
    _AMX(
        "X0502",
        "vcpu_events.exception.injected=1 vcpu_events.exception.pending=1",
        "vcpu_events.exception.injected=1",
    ),
    _AMX("X0503", "vcpu_events.exception.pending=1", f"vcpu_events.exception.pending=1 {_PAYLOAD}"),
    _AMX("X0504", "vcpu_events.exception.injected=1 vcpu_events.nmi.injected=1", "vcpu_events.nmi.injected=1"),
    _AMX(
        "X0505",
        "vcpu_events.exception.injected=1 vcpu_events.exception.nr=14",
        "vcpu_events.exception.injected=1 vcpu_events.exception.nr=14 vcpu_events.exception.has_error_code=1",
    ),
    _AMX("X0506", "vcpu_events.flags=0 vcpu_events.nmi.pending=1", "vcpu_events.flags=1 vcpu_events.nmi.pending=1"),
    _AMX("X0507", "vcpu_events.flags=0 vcpu_events.smi.smm=1", "vcpu_events.flags=8 vcpu_events.smi.smm=1"),
    _AMX("X0508", "vcpu_events.flags=0x40", "vcpu_events.flags=0x3f"),
    _AMX(
        "X0509",
        "vcpu_events.interrupt.injected=1 regs.rflags=2",
        "vcpu_events.interrupt.injected=1 regs.rflags=0x202",
    ),
    _AMX("X0510", "vcpu_events.interrupt.shadow=2 regs.rflags=2", "vcpu_events.interrupt.shadow=1 regs.rflags=2"),
    _AMX("X0511", "vcpu_events.smi.smm_inside_nmi=1", "vcpu_events.smi.smm_inside_nmi=1 vcpu_events.smi.smm=1"),
    _INTEL("X0512", "mp_state.mp_state=5", "mp_state.mp_state=3"),
    _INTEL("X0513", "mp_state.mp_state=3 -lapic", "mp_state.mp_state=0 -lapic"),
    _INTEL("X0514", "cpuid.1.0.ecx.x2apic=0", "cpuid.1.0.ecx.x2apic=0 sregs.apic_base.EXTD=0"),
    _INTEL("X0515", "sregs.apic_base.EN=0", "sregs.apic_base.EN=0 sregs.apic_base.EXTD=0"),
    _INTEL("X0516", "sregs.apic_base=0xfee00901", "sregs.apic_base=0xfee00800"),
    _TWO("X0517", "sregs.apic_base.BSP=0", "sregs.apic_base.EN=1"),
    _INTEL("X0518", "sregs.apic_base.EXTD=0 lapic.id=0x05000000", "sregs.apic_base.EXTD=0 lapic.id=0"),
    _INTEL("X0519", "lapic.irr0=0x8000", "lapic.irr0=0x10000"),
    _INTEL(
        "X0520",
        "lapic.lvt_timer=0x400ef cpuid.1.0.ecx.tsc_deadline_timer=0",
        "lapic.lvt_timer=0x400ef cpuid.1.0.ecx.tsc_deadline_timer=1",
    ),
    _INTEL("X0521", "msr.IA32_TSC_DEADLINE=1", "msr.IA32_TSC_DEADLINE=1 lapic.lvt_timer=0x400ef"),
    _INTEL("X0522", "sregs.cr8=3", "sregs.cr8=3 lapic.tpr=0x30"),
    _INTEL("X0523", "lapic.irr1=1", "lapic.irr1=1 lapic.svr=0x1ff"),
    _NESTED("X0524", "sregs.efer.SVME=0", "sregs.efer.SVME=0 nested_state.flags=0x100"),
    _INTEL(
        "X0525",
        "nested_state.hdr.vmxon_or_vmcb_pa=0x1000",
        "nested_state.hdr.vmxon_or_vmcb_pa=0x1000 sregs.cr4.VMXE=1",
    ),
    _NESTED("X0526", "cpuid.80000001.0.ecx.svm=0", "cpuid.80000001.0.ecx.svm=0 nested_state.flags=0x100"),
    _INTEL(
        "X0527",
        "nested_state.format=1 nested_state.flags=1",
        "nested_state.format=0 nested_state.flags=1",
    ),
    _NESTED("X0528", "nested_state.flags=0x102", "nested_state.flags=0x103"),
    _NESTED("X0529", "nested_state.size=0x2000", "nested_state.size=0x80"),
    _NESTED("X0530", "vcpu_events.smi.smm=1", "vcpu_events.smi.smm=1 nested_state.flags=0x100"),
    _NESTED("X0531", "-nested_state", "-nested_state sregs.efer.SVME=0"),
    _NESTED("X0532", "nested_state.flags=0x181", "nested_state.flags=0x109"),
)

_CLOCKS = (
    _TWO("X0601", "msr.IA32_TSC_ADJUST=0x1000", "msr.IA32_TSC_ADJUST=0"),
    _TWO("X0602", "msr.IA32_TIME_STAMP_COUNTER=0x7fffffffffff", "msr.MSR_SMI_COUNT=0x7fffffff"),
    _STREAM("X0603", "qemu.tsc_khz.tsc_khz=1000000", "qemu.tsc_offset=1000000"),
    _AMX(
        "X0604",
        "cpuid.15.0.eax=2 cpuid.15.0.ebx=200 cpuid.15.0.ecx=25000000 cpuid.40000001.0.function=0x40000010 "
        "cpuid.40000010.0.eax=2400000",
        "cpuid.15.0.eax=2 cpuid.15.0.ebx=200 cpuid.15.0.ecx=25000000 cpuid.40000001.0.function=0x40000010 "
        "cpuid.40000010.0.eax=2500000",
    ),
    _INTEL("X0605", "msr.MSR_KVM_SYSTEM_TIME_NEW=0x1001 x2", "x2 msr.MSR_KVM_SYSTEM_TIME_NEW=0x1001"),
    _TWO("X0606", "msr.IA32_PAT=0x0007050600070106", "msr.IA32_PAT=0x0007040600070406"),
    _INTEL("X0607", "", "msr.IA32_TIME_STAMP_COUNTER.index=0xc001"),
)

_VMMS = (
    _FIRECRACKER("X0701", "", "cpuid.d.1.eax.xsaves=0"),
    _CLOUD("X0702", "", "xcr.xcr0=0x2e7"),
    _QEMU("X0703", "xsave.header.xcomp_bv=1", "xsave.header.xstate_bv=0"),
    On("kvm-vcpus/sapphire-rapids-linux-7.2", 0, "qemu")(
        "X0704", "cpuid.80000007.0.edx.constant_tsc=1", "cpuid.80000007.0.edx.constant_tsc=0"
    ),
    _QEMU("X0705", "msr.IA32_PAT=2", "msr.IA32_PAT=1"),
    _FIRECRACKER("X0706", "sregs.cr4.VMXE=1", "sregs.cr4.VMXE=0"),
)

X86_CASES = (*_XSAVE, *_CONTROL, *_SEGMENTS, *_MSRS, *_CPUID, *_EVENTS, *_CLOCKS, *_VMMS)
