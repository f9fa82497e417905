"""libvirt's names of x86 features and models against QEMU's.

Source: libvirt 9.0 and 12.8, src/cpu_map/x86_features.xml and x86_*.xml: which names are there.
"""

from __future__ import annotations

from layouts.x86.models.features import feature_named, features

#: libvirt's own names for QEMU's; all others are the same.
_NAMES = {
    "pclmulqdq": "pclmuldq",
    "fxsr-opt": "fxsr_opt",
    "lahf-lm": "lahf_lm",
    "cmp-legacy": "cmp_legacy",
    "nodeid-msr": "nodeid_msr",
    "perfctr-core": "perfctr_core",
    "perfctr-nb": "perfctr_nb",
    "tsc-adjust": "tsc_adjust",
    "ds-cpl": "ds_cpl",
    "vmx-invept-single-context-noglobals": "vmx-invvpid-single-context-noglobals",
}
#: QEMU's paravirtual and Hyper-V words are no CPU features of libvirt: <features><kvm> and <hyperv> say them.
_NOT_FEATURES = 0x40000001
#: Features of QEMU that libvirt 12.8 does not know.
_UNKNOWN = frozenset({"full-width-write"})
#: Models that libvirt alone has, and what QEMU runs for them: none.
ONLY_LIBVIRT = frozenset({"cpu64-rhel5", "cpu64-rhel6", "pentiumpro"})
#: Models that libvirt still names and QEMU dropped, with the release that did.
DROPPED = {"Icelake-Client": "7.1", "Icelake-Client-noTSX": "7.1"}


def libvirt_feature(name: str) -> str:
    """Libvirt's name of a QEMU feature; empty where it has none."""
    known = feature_named(name)
    if not known or known in _UNKNOWN or any(bit.word.at == _NOT_FEATURES for bit in features()[known]):
        return ""
    return _NAMES.get(known, known)
