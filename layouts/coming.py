"""What is coming to KVM: series that are on the lists and in no release, told as such; nothing here is played.

Source: the series named, and Linux 7.3.4, whose source was read for what of each is there already. An entry goes when a
release has it: then a profile says what it changed.
"""

from __future__ import annotations

from layouts.light import NamedTuple

#: The word for ``--kernel`` that tells of them.
NEXT = "next"


class Coming(NamedTuple):
    """A series that is not merged: ``series`` is its last posting that was seen, ``there`` what releases have of it."""

    arch: str
    name: str
    series: str
    brings: tuple[str, ...]
    there: str


COMING = (
    Coming(
        "arm64",
        "SME for guests",
        "[PATCH v13 00/32] KVM: arm64: Implement support for SME, Mark Brown, 20 July 2026",
        (
            "a vCPU feature, and a vector-length set of streaming mode; one KVM_ARM_VCPU_FINALIZE ends SVE's and SME's",
            "ID_AA64PFR1_EL1.SME and ID_AA64SMFR0_EL1 for such vCPUs",
            "SMCR_EL1, SVCR, ZA and ZT0 as registers; Z and P have streaming mode's length where SVCR.SM is 1",
        ),
        "ID_AA64PFR1_EL1.SME reads 0; SVCR is in sys_reg_descs, hidden without it (sme_visibility)",
    ),
    Coming(
        "arm64",
        "GCS for guests",
        "[PATCH v21 00/15] KVM: arm64: Provide guest support for GCS, Mark Brown, 30 September 2026",
        ("ID_AA64PFR1_EL1.GCS", "GCSCR_EL1, GCSCRE0_EL1, GCSPR_EL0 and GCSPR_EL1 as registers"),
        "ID_AA64PFR1_EL1.GCS reads 0 (sanitise_id_aa64pfr1_el1)",
    ),
    Coming(
        "arm64",
        "GICv5 beyond private interrupts",
        "KVM: arm64: Add GICv5 IRS support",
        ("shared and message-signalled interrupts of a guest's GICv5",),
        "KVM_DEV_TYPE_ARM_VGIC_V5 with private interrupts and ID_AA64PFR2_EL1.GCIE, since 7.1",
    ),
    Coming(
        "x86",
        "FRED for guests",
        "[PATCH v9 00/22] Enable FRED with KVM VMX, Xin Li, 26 October 2025",
        ("CPUID.7.1.EAX[17] FRED and [18] LKGS", "CR4.FRED, IA32_FRED_* in KVM_GET_MSR_INDEX_LIST", "nested FRED"),
        "the host alone uses FRED; no bit of it is in KVM's CPUID tables (cpuid.c)",
    ),
    Coming(
        "x86",
        "APX for guests",
        "[PATCH RFC v1 00/20] KVM: x86: Support APX feature for guests, Chang S. Bae, 10 November 2025"
        " (and KVM: x86: APX reg prep work, Sean Christopherson, 10 March 2026)",
        ("CPUID.7.1.EDX[21] APX_F and leaf 0x29", "XCR0[19]: R16 to R31 in XSAVE images", "emulation with REX2"),
        "tasks have APX since 6.16; KVM_SUPPORTED_XCR0 has no bit 19 (x86.c)",
    ),
)
