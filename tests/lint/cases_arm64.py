"""For each rule over arm64 state a capture that breaks it, and a near miss that does not."""

from __future__ import annotations

from tests.lint.case import On

_LIST = On("arm64-kvm/max-linux-7.2.13.regs")
_PLAIN = On("arm64-kvm/cortex-a57-linux-7.2")
_SME = On("arm64-process/sme-za.core")
_DEFAULT = On("arm64-process/sve-default.core")

_ARM_FEATURES = (
    _LIST(
        "A0101",
        "id.ID_AA64ISAR0_EL1.AES=0 id.ID_AA64ISAR0_EL1.SHA1=1 id.ID_AA64ISAR0_EL1.SHA2=0",
        "id.ID_AA64ISAR0_EL1.TS=1",
    ),
    _LIST("A0102", "id.ID_AA64PFR0_EL1.EL1=0", "id.ID_AA64PFR0_EL1.EL1=1"),
    _LIST("A0103", "id.ID_AA64PFR0_EL1.AdvSIMD=0", "id.ID_AA64PFR0_EL1.AdvSIMD=0 id.ID_AA64PFR0_EL1.FP=0"),
    _PLAIN("A0104", "sysreg.ID_AA64ZFR0_EL1=1", "sysreg.ID_AA64ZFR0_EL1=0"),
    _LIST("A0105", "sysreg.ID_AA64SMFR0_EL1=1", "sysreg.ID_AA64SMFR0_EL1=1 id.ID_AA64PFR1_EL1.SME=1"),
    _LIST("A0106", "core.pstate=0x10 id.ID_AA64PFR0_EL1.EL0=1", "core.pstate=0x10 id.ID_AA64PFR0_EL1.EL0=2"),
    _LIST("A0107", "core.pstate=0x3c7", "core.pstate=0x3c4"),
    _LIST("A0108", "core.pstate=0x3c9 id.ID_AA64PFR0_EL1.EL2=0", "core.pstate=0x3c9 id.ID_AA64PFR0_EL1.EL2=1"),
    _LIST(
        "A0109",
        "sysreg.ID_AA64ISAR1_EL1=0 sysreg.ID_AA64ISAR2_EL1=0",
        "sysreg.ID_AA64ISAR1_EL1=0 sysreg.ID_AA64ISAR2_EL1=0 id.ID_AA64ISAR1_EL1.APA=1",
    ),
    _LIST("A0110", "~sysreg.APIAKeyLo_EL1", "~sysreg.AFSR0_EL1"),
    _LIST("A0111", "+sysreg.GCR_EL1=0", "+sysreg.GCR_EL1=0 id.ID_AA64PFR1_EL1.MTE=2"),
    _LIST("A0112", "id.ID_AA64PFR1_EL1.MTE=2", "id.ID_AA64PFR1_EL1.MTE=1"),
    _LIST("A0113", "core.pstate=0x20003c5", "core.pstate=0x20003c5 id.ID_AA64PFR1_EL1.MTE=1"),
    _LIST("A0114", "sysreg.DBGBCR9_EL1=1", "sysreg.DBGBCR5_EL1=1"),
    _LIST(
        "A0115", "sysreg.SCTLR_EL1=1 id.ID_AA64MMFR0_EL1.TGRAN4=15", "sysreg.SCTLR_EL1=0 id.ID_AA64MMFR0_EL1.TGRAN4=15"
    ),
    _LIST(
        "A0116",
        "",
        "sysreg.TTBR0_EL1=0 sysreg.TTBR1_EL1=0 sysreg.MAIR_EL1=0 sysreg.TPIDR_EL1=0",
    ),
    _LIST("A0117", "sysreg.MPIDR_EL1=1", "sysreg.MPIDR_EL1=0x80000001"),
    _LIST("A0118", "sysreg.CTR_EL0=0x94440004", "sysreg.CTR_EL0=0x94448004"),
)

_ARM_VECTORS = (
    _LIST("A0201", "~sve.vls", "~sve.ffr"),
    _LIST("A0202", "sve.vls=0", "sve.vls=1"),
    _LIST("A0203", "sve.vls=0x1ffff", "sve.vls=0xffff"),
    _LIST("A0204", "sve.vls=0x5", "sve.vls=0x7"),
    _LIST(
        "A0205",
        "sve.vls=0x3 sve.z[4]=0x10000000000000000000000000000000000000000000000000000000000000000",
        "sve.vls=0x3 sve.z[4]=0x1",
    ),
    _LIST("A0206", "~sve.p[7]", "~core.fpsr"),
    _LIST("A0207", "+core.v[0]=1", "+core.x[0]=1"),
    _LIST("A0208", "+0x6080000000150001=0", "+0x6080000000150000=0"),
    _LIST("A0209", "id.ID_AA64PFR0_EL1.SVE=0", "id.ID_AA64PFR0_EL1.SVE=1"),
    _PLAIN("A0210", "id.ID_AA64PFR0_EL1.SVE=1", "id.ID_AA64PFR0_EL1.SVE=0"),
    _DEFAULT("A0211", "sve.vl_bytes=24", "sve.vl_bytes=16"),
    _DEFAULT("A0212", "ssve.size=600", "ssve.max_size=600"),
    _SME("A0213", "za.size=16", "za.max_size=16"),
    _DEFAULT("A0214", "zt0=1", "sve.ffr=1"),
    _SME("A0215", "ssve.vl_bytes=16", "sve.vl_bytes=16"),
    _LIST("A0216", "sysreg.ZCR_EL1=2 sve.vls=3", "sysreg.ZCR_EL1=1 sve.vls=3"),
    _PLAIN("A0217", "+sve.ffr=1", "+sve.ffr=0"),
)

_SORTED = "~sve.vls +sve.vls=0xffff"
_ARM_LISTS = (
    _LIST("A0301", _SORTED, "~sve.vls"),
    _LIST("A0302", "+0x6020000000130000=0", "+0x603000000013c080=0"),
    _LIST("A0303", "+sysreg.TPIDR_EL1=5", "sysreg.TPIDR_EL1=5 +sysreg.TPIDR_EL1=5"),
    _LIST("A0304", "+0x4020000000130000=0", "+0x6030000000130000=0"),
    _LIST("A0305", "~core.x[7]", "~sysreg.AFSR0_EL1"),
    _LIST("A0306", "~sysreg.TTBR1_EL1", "~sysreg.AFSR0_EL1"),
    _LIST("A0307", "~sysreg.CNTV_CVAL_EL0", "~sysreg.CNTP_CVAL_EL0"),
    _PLAIN("A0308", "~core.v[0]", "~core.fpsr"),
    _LIST("A0309", "id.ID_AA64MMFR3_EL1.TCRX=1", "id.ID_AA64MMFR3_EL1.S2PIE=1"),
    _LIST("A0310", "+sysreg.TCR2_EL1=0", "+sysreg.TCR2_EL1=0 id.ID_AA64MMFR3_EL1.TCRX=1"),
    _LIST("A0311", "id.ID_AA64DFR0_EL1.PMUVer=0", "id.ID_AA64DFR0_EL1.PMUVer=1"),
    _LIST("A0312", "~sysreg.PMCR_EL0", "~sysreg.PMCR_EL0 id.ID_AA64DFR0_EL1.PMUVer=0"),
    _LIST("A0313", "~sysreg.ID_AA64DFR0_EL1", "~sysreg.ID_AA64AFR1_EL1"),
)

_ARM_VCPUS = (
    _LIST("A0401", "x2 id.ID_AA64ISAR0_EL1.TS=0", "x2 sysreg.MPIDR_EL1=0x80000001"),
    _LIST("A0402", "x2", "x2 sysreg.MPIDR_EL1=0x80000001"),
    _LIST("A0403", "x2 sve.vls=3", "x2 sve.ffr=3"),
    _LIST("A0404", "x2 fw.PSCI_VERSION=0x10000", "x2 sysreg.TPIDR_EL1=1"),
    _LIST("A0405", "x2 sysreg.CNTVCT_EL0=1000000001", "x2 sysreg.CNTVCT_EL0=1000000000"),
    _LIST("A0406", "x2 sysreg.PMCR_EL0=0x2000", "x2 sysreg.PMCR_EL0=0x3001"),
)

_ARM_COUNTERS = (
    _LIST("A0501", "fw.PSCI_VERSION=0x20000", "fw.PSCI_VERSION=0x10001"),
    _LIST("A0502", "fw.SMCCC_ARCH_WORKAROUND_1=3", "fw.SMCCC_ARCH_WORKAROUND_2=3"),
    _LIST("A0503", "fw.SMCCC_ARCH_WORKAROUND_2=0x13", "fw.SMCCC_ARCH_WORKAROUND_2=0x12"),
    _LIST("A0504", "fw.STD_BMAP=2", "fw.VENDOR_HYP_BMAP=3"),
    _LIST(
        "A0505",
        "sysreg.PMCR_EL0=0x3001 sysreg.PMCNTENSET_EL0=0x40",
        "sysreg.PMCR_EL0=0x3001 sysreg.PMCNTENSET_EL0=0x8000003f",
    ),
    _LIST("A0506", "sysreg.PMCNTENCLR_EL0=0", "sysreg.PMCNTENCLR_EL0=0 sysreg.PMCNTENSET_EL0=0"),
    _LIST("A0507", "sysreg.CNTV_CTL_EL0=5", "sysreg.CNTV_CTL_EL0=5 sysreg.CNTVCT_EL0=0x600000"),
    _LIST("A0508", "sysreg.CNTV_CTL_EL0=9", "sysreg.CNTV_CTL_EL0=3"),
    _LIST(
        "A0509",
        "fw.SMCCC_ARCH_WORKAROUND_1=1 id.ID_AA64PFR0_EL1.CSV2=1",
        "fw.SMCCC_ARCH_WORKAROUND_1=1 id.ID_AA64PFR0_EL1.CSV2=0",
    ),
)

_ARM_VMMS = (On("arm64-kvm/cortex-a57-linux-7.2", 0, "cloud-hypervisor")("A0701", "id.ID_AA64PFR0_EL1.SVE=1", ""),)

ARM64_CASES = (*_ARM_FEATURES, *_ARM_VECTORS, *_ARM_LISTS, *_ARM_VCPUS, *_ARM_COUNTERS, *_ARM_VMMS)
