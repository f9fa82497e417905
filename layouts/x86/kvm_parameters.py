"""Module parameters of KVM on x86 as they are where nobody set them, as data.

Source: Linux arch/x86/kvm/svm/svm.c and sev.c, vmx/vmx.c, x86.c: the initial value of each, and the feature of the CPU
without which setting up the module turns it off (svm_hardware_setup, vmx's hardware_setup). Those that hang on
firmware are off: SEV needs memory encryption turned on in it, SGX its memory and launch control.
"""

from __future__ import annotations

from layouts.light import NamedTuple


class Parameter(NamedTuple):
    """A parameter and its default as /sys/module shows it.

    ``needs`` is the feature without which it is off, ``not_with`` the one with which it is (empty: none); ``since``
    is the first release that has it.
    """

    name: str
    default: str
    needs: str = ""
    since: tuple[int, int] = (5, 10)
    not_with: str = ""


#: Of kvm.ko and both modules.
_COMMON = (
    Parameter("enable_pmu", "Y", since=(5, 18), not_with="HYBRID_CPU"),
    Parameter("enable_mediated_pmu", "N", since=(7, 0)),
    Parameter("ignore_msrs", "N"),
    Parameter("mitigate_smt_rsb", "N", since=(6, 1)),
)
#: By vendor module, with those of kvm.ko. AVIC is on by itself from 6.18 on, on AMD's family 0x1A and Zen 4 with
#: X2AVIC (avic_want_avic_enabled); here it is off, as until then.
DEFAULTS = {
    "svm": (
        Parameter("nested", "1"),
        Parameter("npt", "Y", "NPT"),
        Parameter("nrips", "1", "NRIPS"),
        Parameter("vls", "1", "V_VMSAVE_VMLOAD"),
        Parameter("vgif", "1", "VGIF"),
        Parameter("lbrv", "1", "LBRV", (5, 18)),
        Parameter("tsc_scaling", "1", "TSCRATEMSR", (5, 17)),
        Parameter("vnmi", "Y", "VNMI", (6, 4)),
        Parameter("gmet", "Y", "GMET", (7, 2)),
        Parameter("sev", "N"),
        Parameter("sev_es", "N"),
        Parameter("sev_snp", "N", since=(6, 11)),
        Parameter("avic", "N"),
        *_COMMON,
    ),
    "vmx": (
        Parameter("nested", "Y"),
        Parameter("ept", "Y"),
        Parameter("unrestricted_guest", "Y"),
        Parameter("flexpriority", "Y"),
        Parameter("enable_apicv", "Y"),
        Parameter("emulate_invalid_guest_state", "Y"),
        Parameter("sgx", "N"),
        Parameter("tdx", "N", since=(6, 16)),
        Parameter("allow_smaller_maxphyaddr", "N"),
        *_COMMON,
    ),
}
