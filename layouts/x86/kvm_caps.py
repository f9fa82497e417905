"""The features that KVM passes on to guests, by kernel, as data: the lists of kvm_set_cpu_caps.

Source: Linux arch/x86/kvm/cpuid.c, kvm_set_cpu_caps (from 6.19 on kvm_initialize_cpu_caps); read in Linux 5.10.262,
6.1.192, 6.6.9, 6.12.117, 6.16.1, 6.17.0, 6.18.2, 6.19.9, 7.0.0, 7.1.3, 7.2.13 and 7.3.4. What the vendor modules
add or take is in inspector/machine/x86/kvm/caps.py.
"""

from __future__ import annotations

#: Models of Intel's family 6 whose PEBS guests may use, from a release on: Ice Lake servers; Sapphire, Emerald and
#: Granite Rapids (x86_pmu.pebs_ept, arch/x86/events/intel/core.c; 6.6 is the first source read that has the latter).
PEBS_WITH_EPT = {(6, 0): (0x6A, 0x6C), (6, 6): (0x8F, 0xCF, 0xAD, 0xAE)}

#: By word (leaf.subleaf.register, hex), by the release from which on it holds: names of features.
#: ``+`` KVM emulates the feature whatever the host has (EMULATED_F); ``!`` the CPU alone decides, not Linux
#: (PASSTHROUGH_F); ``~`` Linux may have made the bit, CPUID need not have it (SYNTHESIZED_F, and what
#: kvm_cpu_cap_check_and_set takes from boot_cpu_data); ``?`` Linux must have it too (SCATTERED_F).
KVM_FEATURES: dict[str, dict[tuple[int, int], str]] = {
    "1.0.ecx": {
        (5, 10): "XMM3 PCLMULQDQ SSSE3 FMA CX16 PDCM PCID XMM4_1 XMM4_2 +X2APIC MOVBE POPCNT AES XSAVE AVX F16C RDRAND",
        (6, 16): (
            "XMM3 PCLMULQDQ SSSE3 FMA CX16 PDCM PCID XMM4_1 XMM4_2 +X2APIC MOVBE POPCNT +TSC_DEADLINE_TIMER AES "
            "XSAVE AVX F16C RDRAND +HYPERVISOR"
        ),
    },
    "1.0.edx": {
        (5, 10): (
            "FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFLUSH MMX FXSR XMM XMM2 "
            "SELFSNOOP"
        ),
    },
    "7.0.ebx": {
        (5, 10): (
            "FSGSBASE +TSC_ADJUST BMI1 HLE AVX2 SMEP BMI2 ERMS RTM AVX512F AVX512DQ RDSEED ADX SMAP AVX512IFMA "
            "CLFLUSHOPT CLWB AVX512PF AVX512ER AVX512CD SHA_NI AVX512BW AVX512VL"
        ),
        (6, 1): (
            "FSGSBASE +TSC_ADJUST SGX BMI1 HLE AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID RTM ZERO_FCS_FDS "
            "AVX512F AVX512DQ RDSEED ADX SMAP AVX512IFMA CLFLUSHOPT CLWB AVX512PF AVX512ER AVX512CD SHA_NI "
            "AVX512BW AVX512VL"
        ),
    },
    "7.0.ecx": {
        (5, 10): (
            "AVX512VBMI UMIP PKU AVX512_VBMI2 GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG AVX512_VPOPCNTDQ "
            "!LA57 RDPID CLDEMOTE MOVDIRI MOVDIR64B"
        ),
        (6, 1): (
            "AVX512VBMI UMIP PKU AVX512_VBMI2 GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG AVX512_VPOPCNTDQ "
            "!LA57 RDPID BUS_LOCK_DETECT CLDEMOTE MOVDIRI MOVDIR64B SGX_LC"
        ),
        (6, 18): (
            "AVX512VBMI UMIP PKU AVX512_VBMI2 SHSTK GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG "
            "AVX512_VPOPCNTDQ !LA57 RDPID BUS_LOCK_DETECT CLDEMOTE MOVDIRI MOVDIR64B SGX_LC"
        ),
    },
    "7.0.edx": {
        (5, 10): (
            "AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK SPEC_CTRL "
            "INTEL_STIBP +ARCH_CAPABILITIES SPEC_CTRL_SSBD"
        ),
        (6, 1): (
            "AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK AMX_BF16 "
            "AVX512_FP16 AMX_TILE AMX_INT8 SPEC_CTRL INTEL_STIBP +ARCH_CAPABILITIES SPEC_CTRL_SSBD"
        ),
        (6, 6): (
            "AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK AMX_BF16 "
            "AVX512_FP16 AMX_TILE AMX_INT8 SPEC_CTRL INTEL_STIBP FLUSH_L1D +ARCH_CAPABILITIES SPEC_CTRL_SSBD"
        ),
        (6, 18): (
            "AVX512_4VNNIW AVX512_4FMAPS FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE TSXLDTRK IBT AMX_BF16 "
            "AVX512_FP16 AMX_TILE AMX_INT8 SPEC_CTRL INTEL_STIBP FLUSH_L1D +ARCH_CAPABILITIES SPEC_CTRL_SSBD"
        ),
    },
    "7.1.eax": {
        (5, 10): "AVX512_BF16",
        (6, 1): "AVX_VNNI AVX512_BF16",
        (6, 6): "AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC AMX_FP16 AVX_IFMA",
        (6, 12): "AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC AMX_FP16 AVX_IFMA LAM",
        (6, 16): "SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC WRMSRNS AMX_FP16 AVX_IFMA LAM",
        (6, 17): "SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC LKGS WRMSRNS AMX_FP16 AVX_IFMA LAM",
        (7, 0): (
            "SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC LKGS WRMSRNS AMX_FP16 AVX_IFMA LAM MOVRS"
        ),
    },
    "d.1.eax": {
        (5, 10): "XSAVEOPT XSAVEC XGETBV1 XSAVES",
        (6, 1): "XSAVEOPT XSAVEC XGETBV1 XSAVES XFD",
    },
    "80000001.0.ecx": {
        (5, 10): (
            "LAHF_LM CMP_LEGACY CR8_LEGACY ABM SSE4A MISALIGNSSE 3DNOWPREFETCH OSVW XOP FMA4 TBM TOPOEXT PERFCTR_CORE"
        ),
        (6, 1): "LAHF_LM CMP_LEGACY CR8_LEGACY ABM SSE4A MISALIGNSSE 3DNOWPREFETCH OSVW XOP FMA4 TBM TOPOEXT",
    },
    "80000001.0.edx": {
        (5, 10): (
            "FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SYSCALL MTRR PGE MCA CMOV PAT PSE36 NX MMXEXT MMX FXSR "
            "FXSR_OPT GBPAGES RDTSCP LM 3DNOWEXT 3DNOW"
        ),
    },
    "80000008.0.ebx": {
        (5, 10): (
            "CLZERO XSAVEERPTR WBNOINVD AMD_IBPB AMD_IBRS AMD_STIBP AMD_STIBP_ALWAYS_ON AMD_SSBD VIRT_SSBD AMD_SSB_NO"
        ),
        (6, 1): (
            "CLZERO XSAVEERPTR WBNOINVD AMD_IBPB AMD_IBRS AMD_STIBP AMD_STIBP_ALWAYS_ON AMD_SSBD VIRT_SSBD "
            "AMD_SSB_NO AMD_PSFD"
        ),
        (6, 16): (
            "CLZERO XSAVEERPTR WBNOINVD AMD_IBPB AMD_IBRS AMD_STIBP AMD_STIBP_ALWAYS_ON AMD_IBRS_SAME_MODE "
            "AMD_SSBD VIRT_SSBD AMD_SSB_NO AMD_PSFD AMD_IBPB_RET"
        ),
        (6, 19): (
            "CLZERO XSAVEERPTR WBNOINVD AMD_IBPB AMD_IBRS AMD_STIBP AMD_STIBP_ALWAYS_ON AMD_IBRS_SAME_MODE "
            "!EFER_LMSLE_MBZ AMD_SSBD VIRT_SSBD AMD_SSB_NO AMD_PSFD AMD_IBPB_RET"
        ),
    },
    "8000000a.0.edx": {
        (5, 10): "",
    },
    "c0000001.0.edx": {
        (5, 10): "XSTORE XSTORE_EN XCRYPT XCRYPT_EN ACE2 ACE2_EN PHE PHE_EN PMM PMM_EN",
        (7, 3): (
            "SM2 SM2_EN XSTORE XSTORE_EN CCS CCS_EN XCRYPT XCRYPT_EN ACE2 ACE2_EN PHE PHE_EN PMM PMM_EN RNG2 "
            "RNG2_EN PHE2 PHE2_EN RSA RSA_EN"
        ),
    },
    "7.2.edx": {
        (6, 1): "INTEL_PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL MCDT_NO",
        (6, 6): "",
        (6, 12): "INTEL_PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL MCDT_NO",
    },
    "12.0.eax": {
        (6, 1): "?SGX1 ?SGX2",
        (6, 6): "?SGX1 ?SGX2 ?SGX_EDECCSSA",
    },
    "8000001f.0.eax": {
        (6, 1): "SEV SEV_ES SME_COHERENT",
        (6, 12): "SME_COHERENT",
    },
    "80000021.0.eax": {
        (5, 10): "NO_NESTED_DATA_BP LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE",
        (6, 1): "NO_NESTED_DATA_BP ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE +NO_SMM_CTL_MSR ~SRSO_NO",
        (6, 6): "NO_NESTED_DATA_BP ~LFENCE_RDTSC NULL_SEL_CLR_BASE AUTOIBRS +NO_SMM_CTL_MSR ~SRSO_NO",
        (6, 12): (
            "NO_NESTED_DATA_BP WRMSR_XX_BASE_NS ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS "
            "+NO_SMM_CTL_MSR ~SBPB ~IBPB_BRTYPE ~SRSO_NO SRSO_USER_KERNEL_NO"
        ),
        (6, 16): (
            "NO_NESTED_DATA_BP WRMSR_XX_BASE_NS ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS "
            "+NO_SMM_CTL_MSR PREFETCHI ~SBPB ~IBPB_BRTYPE ~SRSO_NO SRSO_USER_KERNEL_NO"
        ),
        (7, 0): (
            "NO_NESTED_DATA_BP WRMSR_XX_BASE_NS ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS "
            "+NO_SMM_CTL_MSR PREFETCHI ERAPS ~SBPB ~IBPB_BRTYPE ~SRSO_NO SRSO_USER_KERNEL_NO"
        ),
        (7, 1): (
            "NO_NESTED_DATA_BP WRMSR_XX_BASE_NS ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS "
            "+NO_SMM_CTL_MSR PREFETCHI AVX512_BMM ERAPS ~SBPB ~IBPB_BRTYPE ~SRSO_NO SRSO_USER_KERNEL_NO"
        ),
        (7, 2): (
            "NO_NESTED_DATA_BP WRMSR_XX_BASE_NS ~LFENCE_RDTSC ~VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS "
            "+NO_SMM_CTL_MSR +GP_ON_USER_CPUID PREFETCHI AVX512_BMM ERAPS ~SBPB ~IBPB_BRTYPE ~SRSO_NO "
            "SRSO_USER_KERNEL_NO"
        ),
    },
    "80000021.0.ecx": {
        # 5.10 shows a word of Linux's own (inspector/machine/x86/linux/features.py, lnx_5).
        (6, 1): "~TSA_SQ_NO ~TSA_L1_NO",
        (6, 6): "",
        (6, 12): "~TSA_SQ_NO ~TSA_L1_NO ~TSA_FILL_NO",
        (6, 16): "~TSA_SQ_NO ~TSA_L1_NO",
        (7, 3): "~TSA_SQ_NO ~TSA_L1_NO ~TSA_FILL_NO",
    },
    "7.1.edx": {
        (6, 6): "AVX_VNNI_INT8 AVX_NE_CONVERT AMX_COMPLEX PREFETCHITI",
        (6, 12): "AVX_VNNI_INT8 AVX_NE_CONVERT AMX_COMPLEX PREFETCHITI AVX10",
        (6, 16): "AVX_VNNI_INT8 AVX_NE_CONVERT AMX_COMPLEX AVX_VNNI_INT16 PREFETCHITI AVX10",
    },
    "80000007.0.edx": {
        (6, 6): "?CONSTANT_TSC",
    },
    "80000022.0.eax": {
        (6, 6): "PERFMON_V2",
    },
    "24.0.ebx": {
        (6, 12): "AVX10_128 AVX10_256 AVX10_512",
    },
    "7.1.ecx": {
        (6, 18): "?MSR_IMM",
    },
    "1e.1.eax": {
        (7, 0): "AMX_INT8_ALIAS AMX_BF16_ALIAS AMX_COMPLEX_ALIAS AMX_FP16_ALIAS AMX_FP8 AMX_TF32 AMX_AVX512 AMX_MOVRS",
    },
    "24.1.ecx": {
        (7, 0): "AVX10_VNNI_INT",
    },
}


def emulated_everywhere() -> frozenset[str]:
    """The features that KVM of every release gives to guests, whatever the host has."""
    return frozenset(
        name.removeprefix("+")
        for by_release in KVM_FEATURES.values()
        for name in min(by_release.items())[1].split()
        if name.startswith("+")
        and min(by_release) == (5, 10)
        and all(name in features.split() for features in by_release.values())
    )
