"""Module parameters of KVM that were not captured: what the sources of each release say of them.

Source: Linux arch/x86/kvm/svm/svm.c (svm_hardware_setup), vmx/vmx.c (hardware_setup), x86.c.
"""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.capabilities import check_extension
from inspector.machine.x86.kvm.module import SVM, VMX, Kvm
from layouts.x86.features import FEATURES
from layouts.x86.kernels import profile_for
from tests.machine.kvms import AMD_LEAF_0, INTEL_LEAF_0, LEAF_1, LEAF_80000001

_TPR = 6


def kvm_with(release: str, vendor: str, *features: str, told: bool = True, **captured: str) -> Kvm:
    """KVM on a CPU whose leaf 0x8000000A is told, with these features of it."""
    leaves: dict[tuple[int, int], CpuidValues] = {
        (0, 0): AMD_LEAF_0 if vendor == SVM else INTEL_LEAF_0,
        (1, 0): LEAF_1,
        (0x80000000, 0): (0x8000000A, 0, 0, 0),
        (0x80000001, 0): LEAF_80000001,
    }
    if told:
        leaves[0x8000000A, 0] = (0, 0, 0, sum(1 << FEATURES[name].bit for name in features))
    return Kvm(Host(Cpuid(leaves), profile_for(release)), release=release, vendor=vendor, parameters=captured)


@pytest.mark.parametrize(
    ("release", "vendor", "features", "name", "on"),
    [
        ("6.12", SVM, ("LBRV",), "lbrv", True),
        ("6.12", SVM, (), "lbrv", False),
        # The parameter is new in 5.18.
        ("5.10", SVM, ("LBRV",), "lbrv", False),
        ("6.1", SVM, ("NPT",), "npt", True),
        ("6.1", SVM, (), "npt", False),
        ("6.1", SVM, ("VGIF",), "vgif", True),
        ("6.1", SVM, ("VNMI",), "vnmi", False),
        ("6.6", SVM, ("VNMI",), "vnmi", True),
        ("7.1", SVM, (), "gmet", False),
        ("6.12", SVM, (), "avic", False),
        ("6.12", SVM, (), "sev", False),
        ("6.12", SVM, (), "nested", True),
        ("6.12", VMX, (), "nested", True),
        ("5.10", VMX, (), "flexpriority", True),
        ("5.10", VMX, (), "enable_apicv", True),
        ("6.12", VMX, (), "emulate_invalid_guest_state", True),
        ("6.12", VMX, (), "unrestricted_guest", True),
        ("6.12", VMX, (), "allow_smaller_maxphyaddr", False),
        ("6.12", VMX, (), "sgx", False),
        ("7.2", VMX, (), "tdx", False),
        ("6.12", VMX, (), "ignore_msrs", False),
        ("6.12", VMX, (), "mitigate_smt_rsb", False),
        ("7.2", VMX, (), "enable_mediated_pmu", False),
        ("6.12", VMX, (), "enable_pmu", True),
        ("6.12", VMX, (), "no_such", False),
    ],
)
def test_a_parameter_that_nobody_captured(
    release: str, vendor: str, features: tuple[str, ...], name: str, on: bool
) -> None:
    kvm = kvm_with(release, vendor, *features)
    assert kvm.is_on(name) is on
    # What was captured wins, and a default of the one who asks.
    assert kvm_with(release, vendor, *features, **{name: "N" if on else "1"}).is_on(name) is not on
    assert kvm.is_on(name, default=not on) is not on


def test_a_leaf_that_is_not_told_takes_nothing_away() -> None:
    assert kvm_with("6.12", SVM, told=False).is_on("npt")
    # A host may stand on a guest's CPUID, which shows no NPT.
    assert kvm_with("6.12", SVM).uses_tdp
    assert not kvm_with("6.12", SVM, npt="N").uses_tdp


@pytest.mark.parametrize(
    ("release", "vendor", "captured", "vapic"),
    [
        # Until 5.16 KVM_CAP_VAPIC is 0 where the processor has a TPR shadow.
        ("5.10", VMX, {}, 0),
        ("5.10", VMX, {"flexpriority": "N"}, 1),
        ("5.10", SVM, {}, 1),
        ("6.1", VMX, {}, 1),
    ],
)
def test_the_tpr_shadow_where_no_parameter_was_captured(
    release: str, vendor: str, captured: dict[str, str], vapic: int
) -> None:
    assert check_extension(kvm_with(release, vendor, **captured)).get(_TPR, 0) == vapic
