"""Which system registers a vCPU has, and KVM_GET_REG_LIST: the conditions one by one.

Source: Linux arch/arm64/kvm/sys_regs.c (the ``*_visibility`` functions, id_to_sys_reg_desc), guest.c
(kvm_arm_copy_reg_indices).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import listed
from inspector.machine.arm64.host import HAS_EL2, HAS_EL2_E2H0, PMU_V3, PSCI_0_2, PTRAUTH, PTRAUTH_ADDRESS, SVE, Host
from layouts.arm64 import ids
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import (
    CLIDR,
    CTR,
    ISAR0,
    MMFR0,
    PFR0,
    SVE_VLS,
    ZCR,
    RegisterId,
    encoding_of_op,
    make,
    sysreg_id,
)
from layouts.arm64.kernels import kernels
from layouts.arm64.sysregs import encodings
from tests.machine.arm64_bounds import rid, vcpu_on

STD, VENDOR_2 = make(ids.FIRMWARE_BITMAP, 8), make(ids.FIRMWARE_BITMAP, 8, 3)


def host(
    kernel: str = "7.2",
    *,
    registers: dict[int, bytes] | None = None,
    ctr: int = 0,
    sanitised: dict[int, int] | None = None,
    limits: dict[int, int] | None = None,
) -> Host:
    known = {PFR0: 0x12, CTR: ctr, CLIDR: 0x1234, ISAR0: 0x22, **(limits or {})}
    every = PSCI_0_2 | SVE | PMU_V3 | PTRAUTH | HAS_EL2
    return Host(kernels()[kernel], known, sanitised=sanitised, sve_vqs=1, features=every, registers=registers)


@pytest.mark.parametrize(
    ("condition", "features", "id_register_name", "field", "least"),
    [
        ("fgt", HAS_EL2, "ID_AA64MMFR0_EL1", "FGT", 1),
        ("fgt2", HAS_EL2, "ID_AA64MMFR0_EL1", "FGT", 2),
        ("fp8", 0, "ID_AA64PFR2_EL1", "FPMR", 1),
        ("nvhcr_el2", HAS_EL2, "ID_AA64MMFR4_EL1", "NV_frac", 2),
        ("vncr_el2", HAS_EL2, "ID_AA64MMFR4_EL1", "NV_frac", 1),
        ("s1pie", 0, "ID_AA64MMFR3_EL1", "S1PIE", 1),
        ("s1pie_el2", HAS_EL2, "ID_AA64MMFR3_EL1", "S1PIE", 1),
        ("s1poe", 0, "ID_AA64MMFR3_EL1", "S1POE", 1),
        ("s1poe_el2", HAS_EL2, "ID_AA64MMFR3_EL1", "S1POE", 1),
        ("sctlr2", 0, "ID_AA64MMFR3_EL1", "SCTLRX", 1),
        ("sctlr2_el2", HAS_EL2, "ID_AA64MMFR3_EL1", "SCTLRX", 1),
        ("sme", 0, "ID_AA64PFR1_EL1", "SME", 1),
        ("tcr2", 0, "ID_AA64MMFR3_EL1", "TCRX", 1),
        ("tcr2_el2", HAS_EL2, "ID_AA64MMFR3_EL1", "TCRX", 1),
    ],
)
def test_a_register_that_follows_an_id(
    condition: str, features: int, id_register_name: str, field: str, least: int
) -> None:
    holds = listed.CONDITIONS[condition]
    vcpu = vcpu_on(host())
    encoding = encoding_of_op(encodings()[id_register_name])
    place = id_register(id_register_name).field(field)
    vcpu.features = PSCI_0_2 | features
    for number in range(4):
        vcpu.vm.id_registers[encoding] = place.put(0, number)
        assert holds(vcpu) is (number >= least)
    if features:
        vcpu.features = PSCI_0_2
        assert holds(vcpu) is False
    vcpu.features = PSCI_0_2 | features
    del vcpu.vm.id_registers[encoding]
    assert holds(vcpu) is False


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("el2", {HAS_EL2: True, SVE: False, HAS_EL2 | SVE: True}),
        ("elx2", {HAS_EL2: True, SVE: False}),
        ("cnthv", {HAS_EL2: True, 0: False, HAS_EL2 | HAS_EL2_E2H0: False, HAS_EL2_E2H0: False}),
        ("pmu", {PMU_V3: True, 0: False}),
        ("ptrauth", {PTRAUTH: True, PTRAUTH_ADDRESS: False, 0: False}),
        ("sve", {SVE: True, 0: False}),
        ("sve_el2", {SVE: False, HAS_EL2: False, HAS_EL2 | SVE: True}),
        ("mte", {SVE: False, 0: False}),
    ],
)
def test_a_register_that_follows_features(condition: str, asked: dict[int, bool]) -> None:
    vcpu = vcpu_on(host())
    for features, answer in asked.items():
        vcpu.features = features
        assert listed.CONDITIONS[condition](vcpu) is answer, features
    vcpu.vm.mte = 1 << 32
    assert listed.CONDITIONS["mte"](vcpu) is True
    assert listed.CONDITIONS["sve"](vcpu_on(host(), abi="proposal")) is True


def test_the_list_of_a_vcpu() -> None:
    plain, with_sve = vcpu_on(host()), vcpu_on(host(), PSCI_0_2 | SVE)
    found = listed.register_ids(plain)
    assert len(found) == len(set(found))
    kinds = [RegisterId(one).coprocessor for one in found]
    order = list(dict.fromkeys(kinds))
    assert order == [ids.CORE, ids.FIRMWARE, ids.FIRMWARE_BITMAP, ids.SYSREG, ids.DEMUX]
    assert (listed.sve_ids(plain), len(listed.sve_ids(with_sve))) == ([], 50)
    assert ids.V.id(0) in found
    assert ids.V.id(0) not in listed.register_ids(with_sve)
    assert {SVE_VLS, sysreg_id(ZCR)} <= set(listed.register_ids(with_sve)) - set(found)
    assert rid("VBAR_EL2") not in found
    proposed = vcpu_on(host(), PSCI_0_2 | SVE, abi="proposal")
    assert {RegisterId(one).coprocessor for one in listed.sve_ids(proposed)} == {ids.FIRMWARE}
    assert len(listed.sve_ids(proposed)) == 49
    assert ids.V.id(0) in listed.register_ids(proposed)
    assert listed.has(plain, sysreg_id(PFR0)) is True
    assert listed.has(plain, 0x1) is listed.has(plain, sysreg_id(ZCR)) is False


def test_conditions_are_made_of_features_and_fields() -> None:
    """They are made when the module is imported; here once more."""
    vcpu = vcpu_on(host())
    both = listed._has(SVE | PMU_V3)
    fgt = listed._has_id("ID_AA64MMFR0_EL1", "FGT")
    for features, has, with_el2 in ((SVE, False, False), (SVE | PMU_V3, True, False), ((1 << 64) - 1, True, True)):
        vcpu.features = features
        assert (both(vcpu), listed._with_el2(both)(vcpu)) == (has, with_el2)
    vcpu.features = HAS_EL2
    assert listed._with_el2(both)(vcpu) is False
    for number in (0, 1, 2):
        vcpu.vm.id_registers[MMFR0] = number << 56
        assert (fgt(vcpu), listed._has_id("ID_AA64MMFR0_EL1", "FGT", 2)(vcpu)) == (number >= 1, number >= 2)
    del vcpu.vm.id_registers[MMFR0]
    assert fgt(vcpu) is False
