"""KVM_CHECK_EXTENSION, the attributes of /dev/kvm, and interrupt controllers: by release, vendor and parameter."""

from __future__ import annotations

import errno
import struct

import pytest

from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm.capabilities import (
    allowed_disable_exits,
    check_extension,
    device_attributes,
    mce_capabilities,
    nested_state_size_bytes,
    of_release,
    supported_quirks,
)
from inspector.machine.x86.kvm.irqchip import create_pit2, fresh_irqchip, interrupt, use_irqchip, use_pit2
from inspector.machine.x86.kvm.module import PVM, SVM, VMX, Kvm
from inspector.machine.x86.kvm.state import IRQCHIP_KERNEL, IRQCHIP_NONE, IRQCHIP_SPLIT
from inspector.machine.x86.kvm.whole import VmConfig
from layouts.x86.capabilities import NUMBERS
from tests.machine.kvms import kvm_of

NUMBER = {name: number for number, name in NUMBERS.items()}
PAUSE, HLT_CSTATE, MWAIT, APERFMPERF = 4, 10, 1, 16


def kvm_with(release: str, vendor: str = SVM, *has: str, **parameters: str) -> Kvm:
    """KVM whose Linux has these features and no other."""
    kvm = kvm_of(release, vendor, **parameters)
    kvm.boot_has = lambda name: name in has  # type: ignore[method-assign]
    return kvm


def test_the_value_of_the_newest_release() -> None:
    values = (((6, 1), 1), ((6, 12), 2))
    found = [of_release(kvm_of(release), values) for release in ("5.10", "6.0", "6.1", "6.11", "6.12", "7.2")]
    assert found == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("release", "vendor", "has", "parameters", "ignores_pat"),
    [
        ("6.16", SVM, (), {"npt": "Y"}, True),
        ("6.16", SVM, (), {"npt": "N"}, False),
        ("6.16", VMX, ("SELFSNOOP",), {"ept": "Y"}, True),
        ("6.16", VMX, (), {"ept": "Y"}, False),
        ("6.16", VMX, ("SELFSNOOP",), {"ept": "N"}, False),
    ],
)
def test_pat_is_ignored_where_memory_is_coherent(
    release: str, vendor: str, has: tuple[str, ...], parameters: dict[str, str], ignores_pat: bool
) -> None:
    quirks = supported_quirks(kvm_with(release, vendor, *has, **parameters))
    assert quirks == (0x3FF if ignores_pat else 0x1FF)


@pytest.mark.parametrize(
    ("release", "has", "leaf_6", "parameters", "exits"),
    [
        ("6.12", (), 0, {}, PAUSE | HLT_CSTATE),
        ("6.12", (), 0, {"mitigate_smt_rsb": "Y"}, PAUSE),
        ("6.12", ("MWAIT", "ARAT"), 0, {}, PAUSE | HLT_CSTATE | MWAIT),
        ("6.12", ("MWAIT", "ARAT"), 0, {"mitigate_smt_rsb": "Y"}, PAUSE),
        ("6.12", ("MWAIT",), 0, {}, PAUSE | HLT_CSTATE),
        ("6.12", ("ARAT",), 0, {}, PAUSE | HLT_CSTATE),
        ("6.16", (), 1, {}, PAUSE | HLT_CSTATE),
        ("6.17", (), 1, {}, PAUSE | HLT_CSTATE | APERFMPERF),
        ("6.17", (), 0xFFFFFFFE, {}, PAUSE | HLT_CSTATE),
        ("6.17", (), 1, {"mitigate_smt_rsb": "Y"}, PAUSE | APERFMPERF),
    ],
)
def test_exits_that_may_be_disabled(
    release: str, has: tuple[str, ...], leaf_6: int, parameters: dict[str, str], exits: int
) -> None:
    kvm = kvm_with(release, SVM, *has, **parameters)
    kvm.host.cpuid.leaves[6, 0] = (0, 0, leaf_6, 0)  # type: ignore[index]
    assert allowed_disable_exits(kvm) == exits
    kvm.processor = kvm.processor._replace(bugs=frozenset({"MONITOR"}))
    kvm.__dict__.pop("_bugs", None)
    assert allowed_disable_exits(kvm) == exits & ~MWAIT


@pytest.mark.parametrize(
    ("release", "vendor", "nested", "size_bytes"),
    [
        ("6.12", SVM, "1", 128 + 4096),
        ("6.12", VMX, "Y", 128 + 8192),
        ("7.1", VMX, "N", 128 + 8192),
        ("7.2", VMX, "N", 0),
        ("7.2", SVM, "0", 0),
        ("7.2", VMX, "Y", 128 + 8192),
        ("6.12", PVM, "1", 0),
    ],
)
def test_the_size_of_nested_state(release: str, vendor: str, nested: str, size_bytes: int) -> None:
    assert nested_state_size_bytes(kvm_of(release, vendor, nested=nested)) == size_bytes


SPLIT, KERNEL = VmConfig(IRQCHIP_SPLIT), VmConfig(IRQCHIP_KERNEL)


@pytest.mark.parametrize(
    ("name", "release", "vendor", "parameters", "vm", "value"),
    [
        ("X2APIC_API", "6.18", SVM, {}, KERNEL, 3),
        ("X2APIC_API", "6.19", SVM, {}, None, 0xF),
        ("X2APIC_API", "6.19", SVM, {}, SPLIT, 0xF),
        ("X2APIC_API", "6.19", SVM, {}, KERNEL, 0xB),
        ("VM_TYPES", "6.12", SVM, {"sev": "1"}, None, 1 | 1 << 2),
        ("VM_TYPES", "6.12", SVM, {"sev": "1", "sev_es": "1", "sev_snp": "1"}, None, 1 | 7 << 2),
        ("VM_TYPES", "6.12", SVM, {"sev_es": "1", "tdx": "1"}, None, 1 | 1 << 3),
        ("VM_TYPES", "6.16", VMX, {"tdx": "1", "sev": "1"}, None, 1 | 1 << 5),
        ("VM_TYPES", "6.16", VMX, {}, None, 1),
        ("GUEST_MEMFD", "6.12", SVM, {}, None, 1),
        ("GUEST_MEMFD", "6.12", SVM, {}, KERNEL, 0),
        ("GUEST_MEMFD", "6.17", SVM, {}, KERNEL, 0),
        ("GUEST_MEMFD", "6.18", SVM, {}, KERNEL, 1),
        ("MEMORY_ATTRIBUTES", "6.12", SVM, {}, None, 8),
        ("MEMORY_ATTRIBUTES", "6.12", SVM, {}, KERNEL, 0),
        ("NR_VCPUS", "5.15", SVM, {}, None, 240),
        ("NR_VCPUS", "5.16", SVM, {}, None, 1),
        ("X86_SMM", "6.12", SVM, {}, None, 1),
        ("X86_SMM", "6.12", PVM, {}, None, 0),
        ("X86_SMM", "6.12", VMX, {"unrestricted_guest": "N", "emulate_invalid_guest_state": "Y"}, None, 1),
        ("X86_SMM", "6.12", VMX, {"unrestricted_guest": "Y", "emulate_invalid_guest_state": "N"}, None, 1),
        ("X86_SMM", "6.12", VMX, {"unrestricted_guest": "N", "emulate_invalid_guest_state": "N"}, None, 0),
        ("HYPERV_ENLIGHTENED_VMCS", "7.1", VMX, {"nested": "N"}, None, 1),
        ("HYPERV_ENLIGHTENED_VMCS", "7.2", VMX, {"nested": "N"}, None, 0),
        ("HYPERV_ENLIGHTENED_VMCS", "7.2", VMX, {"nested": "Y"}, None, 1),
        ("HYPERV_ENLIGHTENED_VMCS", "7.1", SVM, {"nested": "1"}, None, 0),
        ("SMALLER_MAXPHYADDR", "6.12", VMX, {"allow_smaller_maxphyaddr": "Y", "ept": "N"}, None, 1),
        ("SMALLER_MAXPHYADDR", "6.12", VMX, {"allow_smaller_maxphyaddr": "N", "ept": "N"}, None, 0),
        ("SMALLER_MAXPHYADDR", "6.12", SVM, {"npt": "N"}, None, 1),
        ("SMALLER_MAXPHYADDR", "6.12", SVM, {"npt": "Y"}, None, 0),
        ("PMU_CAPABILITY", "6.12", SVM, {"enable_pmu": "Y"}, None, 1),
        ("PMU_CAPABILITY", "6.12", SVM, {"enable_pmu": "N"}, None, 0),
        ("X86_NOTIFY_VMEXIT", "6.12", VMX, {}, None, 0),
        ("X86_BUS_LOCK_EXIT", "6.12", VMX, {}, None, 0),
        ("X86_APIC_BUS_CYCLES_NS", "6.12", SVM, {}, None, 1),
        ("X86_APIC_BUS_CYCLES_NS", "6.12", SVM, {}, VmConfig(caps={NUMBER["X86_APIC_BUS_CYCLES_NS"]: 25}), 25),
        ("MAX_VCPUS", "6.12", SVM, {}, None, 4096),
        ("XSAVE2", "5.16", SVM, {}, None, 0),
        ("XSAVE2", "6.12", SVM, {}, None, 4096),
    ],
)
def test_a_capability(
    name: str, release: str, vendor: str, parameters: dict[str, str], vm: VmConfig | None, value: int
) -> None:
    assert check_extension(kvm_of(release, vendor, **parameters), vm).get(NUMBER[name], 0) == value


def test_what_vmx_can_do_beyond_cpuid() -> None:
    kvm = kvm_of("6.12", VMX)
    kvm.processor = kvm.processor._replace(vmx_flags=frozenset({"bus_lock_detection", "notify_vm_exiting"}))
    found = check_extension(kvm)
    assert (found[NUMBER["X86_BUS_LOCK_EXIT"]], found[NUMBER["X86_NOTIFY_VMEXIT"]]) == (3, 1)
    assert NUMBER["DIRTY_LOG_RING"] not in check_extension(kvm_of("5.10"))
    assert NUMBER["DIRTY_LOG_RING"] in check_extension(kvm_of("5.11"))


@pytest.mark.parametrize(
    ("release", "vendor", "attributes"),
    [
        ("5.16", SVM, {}),
        ("5.17", SVM, {(0, 0): 7}),
        ("6.9", SVM, {(0, 0): 7}),
        ("6.10", SVM, {(0, 0): 7, (1, 0): 0}),
        ("6.18", SVM, {(0, 0): 7, (1, 0): 0}),
        ("6.19", SVM, {(0, 0): 7, (1, 0): 0, (1, 1): 0}),
        ("7.0", SVM, {(0, 0): 7, (1, 0): 0, (1, 1): 0, (1, 2): 0}),
        ("7.2", VMX, {(0, 0): 7}),
    ],
)
def test_attributes_of_dev_kvm(release: str, vendor: str, attributes: dict[tuple[int, int], int]) -> None:
    """KVM_X86_XCOMP_GUEST_SUPP; kvm-amd's group of SEV, which is off (sev_dev_get_attr)."""
    kvm = kvm_with(release, vendor, "XSAVE")
    kvm.host.__dict__["kvm_xcr0"] = 7
    assert device_attributes(kvm) == attributes
    kvm.boot_has = lambda _: False  # type: ignore[method-assign]
    assert device_attributes(kvm).get((0, 0), 0) == 0


@pytest.mark.parametrize(
    ("release", "vendor", "value"),
    [
        ("5.10", SVM, 0x1000100),
        ("7.2", SVM, 0x1000100),
        ("5.10", VMX, 0x9000100),
        ("5.19", VMX, 0x9000100),
        ("6.0", VMX, 0x9000500),
        ("7.2", PVM, 0x1000100),
    ],
)
def test_machine_check_capabilities(release: str, vendor: str, value: int) -> None:
    """MCG_CTL_P, MCG_SER_P; of Intel MCG_LMCE_P, from 6.0 on MCG_CMCI_P."""
    assert mce_capabilities(kvm_of(release, vendor)) == value


# Interrupt controllers


def refused(outcome: Outcome) -> int:
    assert outcome.accepted or not outcome.checks[-1].held
    return outcome.code


@pytest.mark.parametrize(
    ("irqchip", "chip", "code"),
    [
        *[(IRQCHIP_KERNEL, chip, 0) for chip in range(3)],
        (IRQCHIP_KERNEL, 3, errno.EINVAL),
        (IRQCHIP_SPLIT, 0, errno.ENXIO),
        (IRQCHIP_NONE, 3, errno.ENXIO),
    ],
)
def test_irqchips(irqchip: int, chip: int, code: int) -> None:
    assert refused(use_irqchip(VmConfig(irqchip), chip)) == code


def test_chips_as_kvm_makes_them() -> None:
    assert [fresh_irqchip(chip) for chip in (0, 1)] == [bytes(15) + b"\xf8", bytes(15) + b"\xde"]
    ioapic = struct.pack("<Q4I", 0xFEC00000, 0, 0, 0, 0) + struct.pack("<24Q", *[1 << 16] * 24)
    assert fresh_irqchip(2) == ioapic


@pytest.mark.parametrize(
    ("release", "irqchip", "has_pit", "code"),
    [
        ("6.11", IRQCHIP_NONE, False, 0),
        ("6.12", IRQCHIP_NONE, False, errno.ENOENT),
        ("6.12", IRQCHIP_SPLIT, False, errno.ENOENT),
        ("7.2", IRQCHIP_SPLIT, False, errno.ENOENT),
        ("6.12", IRQCHIP_KERNEL, False, 0),
        ("6.12", IRQCHIP_KERNEL, True, errno.EEXIST),
        ("6.12", IRQCHIP_NONE, True, errno.EEXIST),
    ],
)
def test_a_pit_comes_once_and_from_6_12_on_with_the_pics(release: str, irqchip: int, has_pit: bool, code: int) -> None:
    assert refused(create_pit2(kvm_of(release), VmConfig(irqchip), has_pit=has_pit)) == code
    assert refused(use_pit2(has_pit=has_pit)) == (0 if has_pit else errno.ENXIO)
    assert has_pit or refused(create_pit2(kvm_of(release), VmConfig(irqchip))) == code


@pytest.mark.parametrize(
    ("irqchip", "vector", "waits", "code"),
    [
        (IRQCHIP_NONE, 255, True, 0),
        (IRQCHIP_NONE, 256, False, errno.EINVAL),
        (IRQCHIP_KERNEL, 256, False, errno.EINVAL),
        (IRQCHIP_KERNEL, 0x30, False, errno.ENXIO),
        (IRQCHIP_SPLIT, 0x30, False, 0),
        (IRQCHIP_SPLIT, 0x30, True, errno.EEXIST),
    ],
)
def test_interrupts_of_the_vmm(irqchip: int, vector: int, waits: bool, code: int) -> None:
    assert refused(interrupt(VmConfig(irqchip), vector, one_waits=waits)) == code
    if not waits:
        assert refused(interrupt(VmConfig(irqchip), vector)) == code
