"""KVM_GET_SUPPORTED_HV_CPUID: each leaf by release (Linux arch/x86/kvm/hyperv.c, kvm_get_hv_cpuid)."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.x86.kvm.hyperv_cpuid import hyperv_cpuid
from inspector.machine.x86.kvm.module import SVM, VMX
from tests.machine.kvms import kvm_of

LINUX_KVM_HV = (0x756E694C, 0x564B2078, 0x7648204D)


def hyperv(
    release: str, vendor: str = SVM, *, threads: int = 2, nested: str = "1", **asked: Any
) -> dict[int, tuple[int, ...]]:
    kvm = kvm_of(release, vendor, nested=nested)
    kvm.raw = Cpuid({(0xB, 0): (0, threads, 0, 0)})
    found = hyperv_cpuid(kvm, **asked)
    assert {(entry.subleaf, entry.flags) for entry in found} == {(0, 0)}
    return {entry.leaf: entry.values for entry in found}


@pytest.mark.parametrize(
    ("release", "features", "advice", "nested"),
    [
        ("5.10", (0x2AFF, 0x830, 0, 0x80D02), 0xC2C, None),
        ("5.11", (0x2AFF, 0x830, 0, 0x80D02), 0xE2C, None),
        ("5.13", (0x2AFF, 0x830, 0, 0x80D02), 0xE2C, None),
        ("5.14", (0x2AFF, 0x830, 0, 0x80D12), 0xE2C, (1 << 19, 0, 0, 0)),
        ("6.1", (0x2AFF, 0x830, 0, 0x80D12), 0xE2C, (1 << 19, 1, 0, 0)),
        ("6.0", (0x2AFF, 0x830, 0, 0x80D12), 0xE2C, (1 << 19, 0, 0, 0)),
        ("6.2", (0xAAFF, 0x100830, 0, 0x84D12), 0xE2C, (5 << 17, 1, 0, 0)),
        ("7.2", (0xAAFF, 0x100830, 0, 0x84D12), 0xE2C, (5 << 17, 1, 0, 0)),
    ],
)
def test_hyper_vs_leaves(release: str, features: CpuidValues, advice: int, nested: CpuidValues | None) -> None:
    most = {"5.10": 288, "6.1": 1024, "6.2": 1024, "7.2": 4096}
    found = hyperv(release, of_vcpu=False)
    most_vcpus = found.pop(0x40000005)
    assert most_vcpus == (most.get(release, most_vcpus[0]), 64, 0, 0)
    expected: dict[int, tuple[int, ...]] = {
        0x40000000: (0x40000082, *LINUX_KVM_HV),
        0x40000001: (0x31237648, 0, 0, 0),
        0x40000002: (0x3839, 0xA0000, 0, 0),
        0x40000003: features,
        0x40000004: (advice, 0xFFF, 0, 0),
        0x40000080: (0, *LINUX_KVM_HV),
        0x40000081: (0x31235356, 0, 0, 0),
        0x40000082: (2, 0, 0, 0),
    }
    assert found == expected | ({0x4000000A: nested} if nested else {})


@pytest.mark.parametrize(
    ("vendor", "nested", "asked", "version"),
    [
        (VMX, "Y", {"of_vcpu": False}, 0x101),
        (VMX, "N", {"of_vcpu": False}, 0),
        (VMX, "Y", {"of_vcpu": True}, 0),
        (VMX, "Y", {"of_vcpu": True, "has_evmcs": True}, 0x101),
        (SVM, "1", {"of_vcpu": False, "has_evmcs": True}, 0),
    ],
)
def test_a_version_of_hyper_vs_vmcs(vendor: str, nested: str, asked: dict[str, bool], version: int) -> None:
    found = hyperv("6.12", vendor, nested=nested, **asked)
    assert found[0x4000000A][0] == 5 << 17 | version
    assert found[0x40000004][0] >> 14 & 1 == bool(version)
    # Before 5.14 its leaf is there only with it.
    assert (0x4000000A in hyperv("5.10", vendor, nested=nested, **asked)) is bool(version)


@pytest.mark.parametrize(
    ("release", "asked", "direct", "cluster_ipi"),
    [
        ("6.12", {"of_vcpu": True, "has_lapic": False}, False, False),
        ("6.12", {"of_vcpu": False, "has_lapic": False}, True, True),
        ("6.12", {"of_vcpu": True}, True, True),
        ("6.11", {"of_vcpu": True, "has_lapic": False}, False, True),
    ],
)
def test_what_needs_kvms_local_apic(release: str, asked: dict[str, bool], direct: bool, cluster_ipi: bool) -> None:
    found = hyperv(release, **asked)
    assert found[0x40000003][3] == 0x4D12 | direct << 19
    assert found[0x40000004][0] == 0x82C | 1 << 9 | cluster_ipi << 10


@pytest.mark.parametrize(("threads", "told"), [(0, True), (1, True), (2, False), (0x10001, True)])
def test_cores_are_not_shared_where_a_core_is_one_thread(threads: int, told: bool) -> None:
    assert bool(hyperv("6.12", of_vcpu=False, threads=threads)[0x40000004][0] >> 18 & 1) is told
