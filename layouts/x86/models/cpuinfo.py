"""Words of /proc/cpuinfo for x86 feature bits, by QEMU's names.

Source: Linux arch/x86/include/asm/cpufeatures.h (5.10 to 7.3): a word is the name of the bit in lower case, or stands
in quotes in its comment; an empty one is not shown. Some words stand for one of two bits, by vendor.
"""

from __future__ import annotations

from layouts.light import cache
from layouts.x86.models.features import feature_named, features

#: Words that are otherwise than QEMU's names.
_WORDS = {
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512-vpopcntdq",
    "avx512_4vnniw": "avx512-4vnniw",
    "avx512_4fmaps": "avx512-4fmaps",
    "avx512_vp2intersect": "avx512-vp2intersect",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "avx_vnni": "avx-vnni",
    "tsc_deadline_timer": "tsc-deadline",
    "split_lock_detect": "split-lock-detect",
    "dts": "ds",
    "dtherm": "",
    "cr8_legacy": "cr8legacy",
    "tsc_scale": "tsc-scale",
    "pausefilter": "pause-filter",
    "vmcb_clean": "vmcb-clean",
    "v_vmsave_vmload": "v-vmsave-vmload",
    "user_shstk": "cet-ss",
    "shstk": "cet-ss",
    "ibt": "cet-ibt",
    "constant_tsc": "",
    "nonstop_tsc": "invtsc",
    "tsxldtrk": "tsx-ldtrk",
    "intel_pt": "intel-pt",
    "sgx_lc": "sgxlc",
    "overflow_recov": "overflow-recov",
    "flush_l1d": "flush-l1d",
    "perfmon_v2": "perfmon-v2",
    "ept": "",
    "vpid": "",
    "vnmi": "vnmi",
    "flexpriority": "",
    "tpr_shadow": "",
    "ibrs_enhanced": "ibrs-all",
    "rng": "xstore",
    "rng_en": "xstore-en",
    "ace": "xcrypt",
    "ace_en": "xcrypt-en",
}
#: Words that stand for no feature of QEMU's: what Linux concludes itself, and what it keeps from guests (5.10 to 7.3).
_OF_LINUX = frozenset(
    """
    acc_power amd_dcm amd_lbr_pmc_freeze amd_lbr_v2 amd_ppin aperfmperf arch_perfmon art bpext brs bts cat_l2
    cat_l3 ccs ccs_en cdp_l2 cdp_l3 centaur_mcr cpb cppc cpuid cpuid_fault cqm cqm_llc cqm_mbm_local cqm_mbm_total
    cqm_occup_llc cxmmx cyrix_arr debug_swap eagerfpu enqcmd epb ept_ad extd_apicid hfi hw_pstate hwp
    hwp_act_window hwp_epp hwp_notify hwp_pkg_req ibpb_exit_to_user ida intel_ppin invpcid_single irperf k6_mtrr
    lass longrun lrti mba mp mwaitx nonstop_tsc_s3 nopl ospke pconfig pebs perfctr_llc phe2 phe2_en pln
    proc_feedback pti pts ptsc rapl rdpru rdt_a recovery rep_good ring3mwait rng2 rng2_en rsa rsa_en sdbg sev
    sev_es sev_snp sm2 sm2_en smca sme svsm tdx_guest tdx_host_platform tme tsc_known_freq tsc_reliable up
    v_spec_ctrl vmmcall x2avic xtopology
    """.split()  # noqa: SIM905
)
#: Words that Linux sets for bits of both vendors (init_speculation_control), Intel's bits and AMD's.
_EITHER = {
    "ibrs": (("spec-ctrl",), ("ibrs",)),
    "ibpb": (("spec-ctrl",), ("ibpb",)),
    "stibp": (("stibp",), ("amd-stibp",)),
    "ssbd": (("ssbd",), ("amd-ssbd",)),
}
#: Shown since 5.10, so that a missing word is a missing feature: CPUID leaves 1, 7, 0xD, 0x8000_0001 and 0x8000_000A.
_SHOWN = frozenset(
    (
        "fpu",
        "vme",
        "de",
        "pse",
        "tsc",
        "msr",
        "pae",
        "mce",
        "cx8",
        "apic",
        "sep",
        "mtrr",
        "pge",
        "mca",
        "cmov",
        "pat",
        "pse36",
        "pn",
        "clflush",
        "mmx",
        "fxsr",
        "sse",
        "sse2",
        "ss",
        "ht",
        "pni",
        "pclmulqdq",
        "ssse3",
        "fma",
        "cx16",
        "pcid",
        "sse4.1",
        "sse4.2",
        "x2apic",
        "movbe",
        "popcnt",
        "aes",
        "xsave",
        "avx",
        "f16c",
        "rdrand",
        "syscall",
        "nx",
        "mmxext",
        "fxsr-opt",
        "pdpe1gb",
        "rdtscp",
        "lm",
        "3dnowext",
        "3dnow",
        "lahf-lm",
        "cmp-legacy",
        "svm",
        "abm",
        "sse4a",
        "misalignsse",
        "3dnowprefetch",
        "osvw",
        "xop",
        "fma4",
        "tce",
        "tbm",
        "topoext",
        "fsgsbase",
        "bmi1",
        "hle",
        "avx2",
        "smep",
        "bmi2",
        "erms",
        "invpcid",
        "rtm",
        "mpx",
        "avx512f",
        "avx512dq",
        "rdseed",
        "adx",
        "smap",
        "avx512ifma",
        "clflushopt",
        "clwb",
        "avx512cd",
        "sha-ni",
        "avx512bw",
        "avx512vl",
        "avx512vbmi",
        "umip",
        "pku",
        "avx512vbmi2",
        "gfni",
        "vaes",
        "vpclmulqdq",
        "avx512vnni",
        "avx512bitalg",
        "avx512-vpopcntdq",
        "la57",
        "rdpid",
        "cldemote",
        "movdiri",
        "movdir64b",
        "fsrm",
        "md-clear",
        "serialize",
        "arch-capabilities",
        "xsaveopt",
        "xsavec",
        "xgetbv1",
        "xsaves",
        "clzero",
        "xsaveerptr",
        "wbnoinvd",
    )
)


def feature_of_flag(flag: str, flags: frozenset[str]) -> tuple[str, ...]:
    """QEMU's features for a word; empty for Linux's own words. ``flags`` are all, for those that differ by vendor."""
    if flag in _EITHER:
        intel, amd = _EITHER[flag]
        return amd if "svm" in flags or "extapic" in flags or "clzero" in flags else intel
    name = _WORDS.get(flag, flag)
    known = feature_named(name) if name else ""
    return (known,) if known else ()


def unknown_flags(flags: frozenset[str]) -> tuple[str, ...]:
    """The words that are no feature of QEMU's and that no Linux up to 7.3 has."""
    return tuple(
        flag
        for flag in sorted(flags)
        if flag not in _WORDS and flag not in _OF_LINUX and not feature_of_flag(flag, flags)
    )


@cache
def shown_features() -> frozenset[str]:
    """Features that /proc/cpuinfo of every Linux since 5.10 shows where they are."""
    return _SHOWN & features().keys()
