"""What is coming to KVM: series that are on the lists and in no release, told as such.

No answer is made up of it: what a series decides is ``depends-on`` (``inspector/machine/coming.py``). Source: the
series named, and Linux 7.3.4, whose source was read for what of each is there already. An entry goes when a release
has it: then a profile says what it changed.
"""

from __future__ import annotations

from layouts.light import NamedTuple

#: The word for ``--kernel`` that tells of them.
NEXT = "next"


class Coming(NamedTuple):
    """A series that is not merged: ``series`` is its last posting that was seen, ``there`` what releases have of it.

    ``words`` are those of events that name what it brings, ``xcr0`` the bits of XCR0. ``link`` is where the posting
    can be read; empty: nobody here followed one. ``checks`` are those that fail for want of it, as they begin: what
    another check refuses stays refused.
    """

    arch: str
    name: str
    series: str
    brings: tuple[str, ...]
    there: str
    words: tuple[str, ...] = ()
    xcr0: int = 0
    link: str = ""
    checks: tuple[str, ...] = ()


#: A register of ID space that reads as less, and one that is not there.
_HIDDEN = ("bits that are not writable are the host's", "the register reads as zero")
_NOT_THERE = "a register that the vCPU has"
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
        words=(
            "SME",
            "ID_AA64PFR1_EL1.SME",
            "ID_AA64SMFR0_EL1",
            "SMCR_EL1",
            "SMPRI_EL1",
            "SVCR",
            "ZA",
            "ZT0",
            "smstart",
        ),
        checks=(*_HIDDEN, _NOT_THERE, "KVM gives guests SME"),
    ),
    Coming(
        "arm64",
        "GCS for guests",
        "[PATCH v21 00/15] KVM: arm64: Provide guest support for GCS, Mark Brown, 30 September 2026",
        ("ID_AA64PFR1_EL1.GCS", "GCSCR_EL1, GCSCRE0_EL1, GCSPR_EL0 and GCSPR_EL1 as registers"),
        "ID_AA64PFR1_EL1.GCS reads 0 (sanitise_id_aa64pfr1_el1)",
        words=("ID_AA64PFR1_EL1.GCS", "GCSCR_EL1", "GCSCRE0_EL1", "GCSPR_EL0", "GCSPR_EL1"),
        checks=(*_HIDDEN, _NOT_THERE),
    ),
    Coming(
        "arm64",
        "GICv5 beyond private interrupts",
        "KVM: arm64: Add GICv5 IRS support",
        ("shared and message-signalled interrupts of a guest's GICv5",),
        "KVM_DEV_TYPE_ARM_VGIC_V5 with private interrupts and ID_AA64PFR2_EL1.GCIE, since 7.1"
        " (patch.msgid.link/20260319154937.3619520-22-sascha.bischoff@arm.com)",
        words=("VGIC_V5_IRS",),
    ),
    Coming(
        "x86",
        "FRED for guests",
        "[PATCH v9 00/22] Enable FRED with KVM VMX, Xin Li, 26 October 2025",
        ("CPUID.7.1.EAX[17] FRED and [18] LKGS", "CR4.FRED, IA32_FRED_* in KVM_GET_MSR_INDEX_LIST", "nested FRED"),
        "the host alone uses FRED; no bit of it is in KVM's CPUID tables (cpuid.c)",
        words=("fred", "FRED"),
    ),
    Coming(
        "x86",
        "APX for guests",
        "[PATCH v2 00/16] KVM: x86: Enable APX for guests, Chang S. Bae, 12 January 2026"
        " (and KVM: x86: APX reg prep work, Sean Christopherson, 10 March 2026)",
        (
            "CPUID.7.1.EDX[21] APX_F and leaf 0x29, of VMX alone",
            "XCR0[19]: R16 to R31 in XSAVE images; not with MPX, and within the guest's CPUID as every bit",
            "emulation with REX2",
        ),
        "tasks have APX since 6.16; KVM_SUPPORTED_XCR0 has no bit 19 (x86.c)",
        words=("apx", "APX"),
        xcr0=1 << 19,
        checks=("no bit outside what the guest's CPUID and KVM have",),
        link="lore.kernel.org/kvm/20260112235408.168200-1-chang.seok.bae@intel.com",
    ),
)


def coming_words(arch: str) -> tuple[str, ...]:
    """What events can name of series that are not merged, and the bits of XCR0 that they bring."""
    mine = [one for one in COMING if one.arch == arch]
    return (*(word for one in mine for word in one.words), *(f"XCR0={one.xcr0:#x}" for one in mine if one.xcr0))


#: Events whose numbers are values of XCR0.
_OF_XCR0 = ("xsetbv", "KVM_SET_XCRS")


def sets_xcr0(event: str) -> bool:
    """Numbers of the event are values of XCR0."""
    return any(one in event.split() for one in _OF_XCR0)


def series_of(arch: str, event: str) -> Coming | None:
    """The series that brings what an event names; None where releases decide."""
    words = event.split()
    values = [_number(word.rpartition(":")[2]) for word in words] if sets_xcr0(event) else []
    for one in COMING:
        if one.arch == arch and (any(word in one.words for word in words) or any(one.xcr0 & each for each in values)):
            return one
    return None


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
