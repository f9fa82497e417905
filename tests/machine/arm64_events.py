"""Events of the arm64 world by chance."""

from __future__ import annotations

import random

_INIT = ("PSCI_0_2", "PSCI_0_2 SVE", "PSCI_0_2 PMU_V3", "PSCI_0_2 SVE PTRAUTH", "PSCI_0_2 HAS_EL2",
         "EL1_32BIT PSCI_0_2", "PSCI_0_2 POWER_OFF", "bit70", "target=9 PSCI_0_2", "saved",
         "model:neoverse-n1-v1", "NOTHING")  # fmt: skip
_REGISTERS = ("x0", "pc", "v5", "z5", "p3", "ffr", "PSCI_VERSION", "ID_AA64PFR0_EL1", "ID_AA64ISAR0_EL1", "MIDR_EL1",
              "CLIDR_EL1", "PMCR_EL0", "CNTVCT_EL0", "CPACR_EL1", "ZCR_EL1", "HCR_EL2", "OSLSR_EL1", "SVE_VLS",
              "0x6030000000140003", "0x6080000000150001", "0x1", "NOTHING")  # fmt: skip
_VALUES = ("0", "1", "0x330000", "0x1111", "0xffffffffffffffff", "aa..", "-1", "saved", "")
_FIELDS = ("ID_AA64PFR0_EL1.SVE 0", "ID_AA64PFR0_EL1.EL1 0", "ID_AA64ISAR0_EL1.RNDR 0", "ID_AA64DFR0_EL1.PMUVer 15",
           "ID_AA64PFR0_EL1.NONE 0", "SVE_VLS 16", "SVE_VLS 16 32", "SVE_VLS 0x4", "SVE_VLS 17", "saved")  # fmt: skip
_OTHERS = ("open /dev/kvm", "KVM_GET_API_VERSION", "KVM_CHECK_EXTENSION ARM_SVE", "KVM_CHECK_EXTENSION 9999 vm",
           "KVM_CREATE_VM", "KVM_CREATE_VM 52", "KVM_CREATE_VM 20", "KVM_CREATE_VM 0 protected",
           "KVM_ENABLE_CAP ARM_MTE",
           "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS", "KVM_ENABLE_CAP 3", "KVM_CREATE_VCPU", "KVM_CREATE_VCPU 0",
           "KVM_CREATE_VCPU 4096", "KVM_ARM_VCPU_FINALIZE SVE", "KVM_ARM_VCPU_FINALIZE 3", "KVM_GET_REG_LIST",
           "KVM_GET_ONE_REG all", "KVM_ARM_PREFERRED_TARGET", "KVM_ARM_GET_REG_WRITABLE_MASKS", "KVM_RUN",
           "KVM_CREATE_DEVICE vgic-v3", "KVM_CREATE_DEVICE vgic-v2", "KVM_CREATE_DEVICE its",
           "KVM_SET_DEVICE_ATTR VGIC_ADDR", "KVM_SET_DEVICE_ATTR VGIC_CTRL_INIT", "KVM_SET_DEVICE_ATTR PMU_V3_IRQ",
           "KVM_SET_DEVICE_ATTR PMU_V3_INIT", "KVM_SET_USER_MEMORY_REGION 0 0 0x10000",
           "KVM_SET_USER_MEMORY_REGION 1 0x8000 0x10000", "KVM_SET_USER_MEMORY_REGION 0 0 0",
           "KVM_ARM_VCPU_SET_SVE_VLS 16", "KVM_ARM_VCPU_GET_SVE_VLS", "guest fadd", "guest rdvl", "guest smstart",
           "guest pacia", "guest index z5.b 1 3", "guest index z77.b 1 3", "guest ptrue p3.s vl2", "guest ptrue",
           "guest mrs ID_AA64PFR0_EL1", "guest mrs PMCR_EL0", "guest msr CPACR_EL1 0x330000", "guest msr ZCR_EL1 0",
           "guest msr MIDR_EL1 1", "guest msr CNTV_CTL_EL0 1", "guest msr PMCR_EL0 7", "guest msr PMCNTENSET_EL0 3",
           "guest mrs PMEVCNTR1_EL0", "guest mrs CNTV_CTL_EL0", "guest msr", "guest hvc", "nothing", "")  # fmt: skip
START = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_USER_MEMORY_REGION 0 0 0x10000")


def event(pick: random.Random) -> str:
    """Any event, mostly calls on a vCPU; some are words that are none."""
    kind = pick.randrange(10)
    if kind == 0:
        words = f"KVM_ARM_VCPU_INIT {pick.choice(_INIT)}"
    elif kind < 3:
        words = f"KVM_SET_ONE_REG {pick.choice(_REGISTERS)} {pick.choice(_VALUES)}"
    elif kind == 3:
        words = f"KVM_SET_ONE_REG {pick.choice(_FIELDS)}"
    elif kind == 4:
        words = f"KVM_GET_ONE_REG {pick.choice(_REGISTERS)}"
    else:
        words = pick.choice(_OTHERS)
    for place in ("host", "vm", "vcpu"):
        if pick.random() < 0.08:
            words += f" {place}={pick.randrange(3)}"
    return words
