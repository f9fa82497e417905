"""Firmware registers, caches and system registers of a vCPU: each check, its bounds, its errno, what is kept.

Source: Linux arch/arm64/kvm/hypercalls.c (kvm_arm_get_fw_reg, kvm_arm_set_fw_reg, kvm_arm_set_fw_reg_bmap), sys_regs.c
(demux_c15_get, demux_c15_set, get_ccsidr, set_ccsidr, kvm_sys_reg_set_user; 5.10: is_valid_cache).
"""

from __future__ import annotations

import pytest

from inspector.machine.arm64 import demux, firmware, registers
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PSCI_0_2, PTRAUTH, SVE, Host
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.ids import (
    CCSIDR,
    CLIDR,
    CTR,
    ISAR0,
    MPIDR,
    PFR0,
    PSCI_VERSION,
    SVE_VLS,
    WORKAROUND_1,
    WORKAROUND_2,
    WORKAROUND_3,
    ZCR,
    RegisterId,
    make,
    sysreg_id,
)
from layouts.arm64.kernels import kernels
from layouts.arm64.listed import TIMER_CNT, UNKNOWN
from tests.machine.arm64_bounds import get, put, rid, vcpu_on

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


# Firmware


@pytest.mark.parametrize(
    ("kernel", "features", "value", "answer"),
    [
        ("7.2", PSCI_0_2, 1, "EINVAL"),
        ("7.2", PSCI_0_2, 2, "ok"),
        ("7.2", PSCI_0_2, 0x1_0003, "ok"),
        ("7.2", PSCI_0_2, 0x1_0004, "EINVAL"),
        ("7.2", PSCI_0_2, 0, "EINVAL"),
        ("7.2", PSCI_0_2, 1 << 32 | 2, "EINVAL"),
        ("7.2", 0, 1, "ok"),
        ("7.2", 0, 2, "EINVAL"),
        ("6.1", PSCI_0_2, 0x1_0001, "ok"),
        ("6.1", PSCI_0_2, 0x1_0002, "EINVAL"),
        ("5.10", PSCI_0_2, 0x1_0001, "EINVAL"),
    ],
)
def test_psci_versions(kernel: str, features: int, value: int, answer: str) -> None:
    vcpu = vcpu_on(host(kernel), features)
    newest = {"7.2": 0x1_0003, "6.1": 0x1_0001, "5.10": 0x1_0000}[kernel]
    before = newest if features else 1
    assert get(vcpu, PSCI_VERSION) == before
    assert put(vcpu, PSCI_VERSION, value) == answer
    assert get(vcpu, PSCI_VERSION) == (value if answer == "ok" else before)
    assert put(vcpu, PSCI_VERSION, None) == "EFAULT"


def level(number: int) -> bytes:
    return number.to_bytes(8, "little")


@pytest.mark.parametrize("register_id", [WORKAROUND_1, WORKAROUND_3])
@pytest.mark.parametrize("hosts", [0, 1, 2])
def test_levels_up_to_the_hosts(register_id: int, hosts: int) -> None:
    vcpu = vcpu_on(host(registers={register_id: level(hosts)}))
    assert get(vcpu, register_id) == hosts
    for value in (0, 1, 2, 3, 0x10, 1 << 63):
        assert put(vcpu, register_id, value) == ("ok" if value <= hosts else "EINVAL")
    assert get(vcpu, register_id) == hosts, "what is written is checked alone"
    assert put(vcpu, register_id, None) == "EFAULT"


@pytest.mark.parametrize(
    ("value", "not_available", "not_required"),
    [
        (0, "ok", "ok"),
        (1, "ok", "ok"),
        (2, "EINVAL", "ok"),
        (3, "EINVAL", "ok"),
        (4, "EINVAL", "EINVAL"),
        (0xF, "EINVAL", "EINVAL"),
        # ENABLED goes with AVAILABLE alone.
        (0x10, "EINVAL", "EINVAL"),
        (0x11, "EINVAL", "EINVAL"),
        (0x12, "EINVAL", "ok"),
        (0x13, "EINVAL", "EINVAL"),
        (0x20, "EINVAL", "EINVAL"),
        (0x22, "EINVAL", "EINVAL"),
    ],
)
def test_levels_of_ssbd(value: int, not_available: str, not_required: str) -> None:
    for hosts, answer in ((0, not_available), (2, not_available), (3, not_required)):
        assert put(vcpu_on(host(registers={WORKAROUND_2: level(hosts)})), WORKAROUND_2, value) == answer


def test_bitmaps_of_the_vm() -> None:
    """KVM_REG_ARM_VENDOR_HYP_BMAP_2: 0 at reset, two bits that may be set (6.15)."""
    vcpu = vcpu_on(host())
    assert (get(vcpu, STD), get(vcpu, VENDOR_2)) == (1, 0)
    assert put(vcpu, VENDOR_2, 3) == "ok"
    assert (get(vcpu, STD), get(vcpu, VENDOR_2), vcpu.vm.bitmaps) == (1, 3, {VENDOR_2: 3})
    assert put(vcpu, VENDOR_2, 4) == put(vcpu, VENDOR_2, 7) == "EINVAL"
    vcpu.vm.ran = True
    assert put(vcpu, VENDOR_2, 3) == "ok"
    assert put(vcpu, VENDOR_2, 1) == "EBUSY"
    # The bits are looked at before the run.
    assert put(vcpu, VENDOR_2, 4) == "EINVAL"
    assert get(vcpu, VENDOR_2) == 3
    assert put(vcpu, STD, 1) == "ok"
    assert put(vcpu, STD, 0) == "EBUSY"
    assert get(vcpu_on(host(registers={STD: level(0)})), STD) == 0


@pytest.mark.parametrize(
    ("kernel", "register_id", "value", "answer"),
    [
        ("7.2", make(ids.FIRMWARE, 8, 4), 0, "ENOENT"),
        ("7.2", make(ids.FIRMWARE, 8, 4), None, "EFAULT"),
        # The size is looked at before the pointer.
        ("7.2", make(ids.FIRMWARE, 4), None, "ENOENT"),
        ("7.2", make(ids.FIRMWARE, 16), 0, "ENOENT"),
        ("7.2", make(ids.FIRMWARE_BITMAP, 8, 4), 0, "ENOENT"),
        ("6.12", VENDOR_2, 0, "ENOENT"),
        ("6.12", VENDOR_2, None, "EFAULT"),
        # Linux 5.10 has none: a register of no coprocessor.
        ("5.10", STD, None, "ENOENT"),
        ("5.10", STD, 0, "ENOENT"),
    ],
)
def test_no_firmware_register(kernel: str, register_id: int, value: int | None, answer: str) -> None:
    vcpu = vcpu_on(host(kernel))
    assert put(vcpu, register_id, value) == answer
    assert get(vcpu, register_id) == "ENOENT"


def test_which_firmware_registers_there_are() -> None:
    four = [PSCI_VERSION, WORKAROUND_1, WORKAROUND_2, WORKAROUND_3]
    assert firmware.register_ids(host("5.10")) == four
    assert firmware.register_ids(host("7.2")) == [*four, *(make(ids.FIRMWARE_BITMAP, 8, n) for n in range(4))]
    vcpu = vcpu_on(host())
    assert [get(vcpu, one) for one in four[1:]] == [0, 0, 0]
    assert (firmware.get(vcpu, STD).value, firmware.get(vcpu, PSCI_VERSION).value) == (1, 0x1_0003)


# Caches


@pytest.mark.parametrize(
    ("register_id", "answer"),
    [
        (CCSIDR, "ok"),
        (CCSIDR | 13, "ok"),
        (CCSIDR | 14, "ENOENT"),
        (CCSIDR | 0xFF, "ENOENT"),
        (CCSIDR | 0x100, "ENOENT"),
        (CCSIDR | 0x8000, "ENOENT"),
        (CCSIDR | 1 << 28, "ENOENT"),
        (make(ids.DEMUX, 8), "ENOENT"),
        (make(ids.DEMUX, 2), "ENOENT"),
    ],
)
def test_which_caches_there_are(register_id: int, answer: str) -> None:
    vcpu = vcpu_on(host())
    assert put(vcpu, register_id, 7) == answer
    assert get(vcpu, register_id) == (7 if answer == "ok" else answer)
    # Which cache it is comes before the pointer.
    assert put(vcpu, register_id, None) == ("EFAULT" if answer == "ok" else answer)


@pytest.mark.parametrize(
    ("i_min", "d_min", "first", "least"),
    [(4, 4, 2, 6), (3, 5, 3, 7), (3, 4, 2, 6), (2, 2, 0, 4), (0, 0, 6, 2), (9, 9, 7, 11)],
)
def test_a_cache_line_is_as_long_as_ctr_says(i_min: int, d_min: int, first: int, least: int) -> None:
    """get_ccsidr keeps three bits of the size; lines of a cache are not shorter than CTR_EL0 says."""
    ctr = of.CTR_IMINLINE.put(of.CTR_DMINLINE.put(0, d_min), i_min)
    for on in (host(ctr=ctr), host(ctr=0x444, sanitised={CTR: ctr})):
        vcpu = vcpu_on(on)
        assert get(vcpu, CCSIDR) == get(vcpu, CCSIDR | 12) == first
        assert get(vcpu, CCSIDR | 1) == get(vcpu, CCSIDR | 13) == (i_min + 2 - 4) & 7
        for size in range(8):
            fits = size + 4 >= least
            assert put(vcpu, CCSIDR | 2, 0xFFFF_FFF8 | size) == ("ok" if fits else "EINVAL")
            assert not fits or get(vcpu, CCSIDR | 2) == 0xFFFF_FFF8 | size
        assert get(vcpu, CCSIDR) == first
    for cache in (CCSIDR, CCSIDR | 1):
        assert demux.default(Host(kernels()["7.2"], {}), cache) == 6


def test_until_6_1_the_hardwares_caches_alone() -> None:
    here, value = CCSIDR | 2, 0x700F_E01A
    vcpu = vcpu_on(host("6.1", registers={here: value.to_bytes(4, "little")}))
    assert (get(vcpu, here), get(vcpu, CCSIDR), vcpu.get(here).value) == (value, "ENOENT", value)
    assert put(vcpu, here, value) == "ok"
    assert put(vcpu, here, value ^ 1) == "EINVAL"
    assert put(vcpu, here, None) == "EFAULT"
    assert put(vcpu, CCSIDR, None) == "ENOENT"
    assert demux.register_ids(vcpu.host) == [here]
    assert demux.register_ids(host()) == [CCSIDR | cache for cache in range(14)]


# System registers


def test_an_id_register_is_the_vms() -> None:
    vcpu = vcpu_on(host())
    assert get(vcpu, sysreg_id(ISAR0)) == 0x22
    assert vcpu.get(sysreg_id(ISAR0)).value == 0x22
    assert put(vcpu, sysreg_id(ISAR0), 0x12) == "ok"
    assert (get(vcpu, sysreg_id(ISAR0)), vcpu.vm.id_registers[ISAR0]) == (0x12, 0x12)
    assert put(vcpu, sysreg_id(ISAR0), 0x32) == "EINVAL"
    assert get(vcpu, sysreg_id(ISAR0)) == 0x12
    assert put(vcpu, sysreg_id(PFR0), 0x02) == "EINVAL"
    vcpu.vm.ran = True
    assert put(vcpu, sysreg_id(ISAR0), 0x22) == "EBUSY"
    vcpu.vm.ran, vcpu.vm.writable_imp = False, True
    assert put(vcpu, sysreg_id(ids.MIDR), 0x99) == "ok"
    assert put(vcpu, sysreg_id(ISAR0), None) == put(vcpu_on(host("5.10")), sysreg_id(ISAR0), None) == "EFAULT"


@pytest.mark.parametrize(
    ("register_id", "value"), [(PSCI_VERSION, 2), (CCSIDR, 7), (rid("TTBR0_EL1"), 5), (sysreg_id(ISAR0), 0x12)]
)
def test_a_longer_buffer_is_read_as_far_as_the_register(register_id: int, value: int) -> None:
    vcpu = vcpu_on(host())
    size = RegisterId(register_id).size_bytes
    assert vcpu.set(register_id, value.to_bytes(size, "little") + b"\1" * 8).accepted
    assert get(vcpu, register_id) == value


def test_clidr_is_the_vcpus_own() -> None:
    vcpu = vcpu_on(host(ctr=of.CTR_IDC.put(0, 1)))
    other = vcpu.vm
    assert other.create_vcpu(1).accepted
    assert other.vcpus[1].init(PSCI_0_2).accepted
    assert get(vcpu, sysreg_id(CLIDR)) == vcpu.get(sysreg_id(CLIDR)).value == 0x1234
    assert put(vcpu, sysreg_id(CLIDR), 0x11) == "ok"
    assert (get(vcpu, sysreg_id(CLIDR)), get(other.vcpus[1], sysreg_id(CLIDR))) == (0x11, 0x1234)
    assert other.id_registers[CLIDR] == 0x1234
    assert put(vcpu, sysreg_id(CLIDR), 1 << 63) == "EINVAL"
    assert get(vcpu, sysreg_id(CLIDR)) == 0x11


@pytest.mark.parametrize(
    ("register_id", "kernel", "value", "answer"),
    [
        (sysreg_id(ZCR), "7.2", 0, "ENOENT"),
        (sysreg_id(0xFFFF), "7.2", 0, "ENOENT"),
        # The pointer is read first, since 6.1.
        (sysreg_id(ZCR), "7.2", None, "EFAULT"),
        (sysreg_id(ZCR), "5.10", None, "ENOENT"),
        (make(ids.SYSREG, 4, PFR0), "7.2", 0, "ENOENT"),
        (make(ids.SYSREG, 16, PFR0), "7.2", 0, "ENOENT"),
        (sysreg_id(PFR0) | 1 << 28, "7.2", 0, "ENOENT"),
    ],
)
def test_no_system_register(register_id: int, kernel: str, value: int | None, answer: str) -> None:
    assert put(vcpu_on(host(kernel)), register_id, value) == answer
    assert get(vcpu_on(host(kernel)), register_id) == "ENOENT"


def test_other_registers_are_the_vcpus() -> None:
    vcpu = vcpu_on(host())
    assert get(vcpu, rid("TTBR0_EL1")) == UNKNOWN
    assert put(vcpu, rid("TTBR0_EL1"), 5) == "ok"
    assert get(vcpu, rid("TTBR0_EL1")) == vcpu.get(rid("TTBR0_EL1")).value == 5
    assert get(vcpu, sysreg_id(MPIDR)) == 1 << 31
    assert put(vcpu, rid("OSLSR_EL1"), 8) == put(vcpu, rid("OSLSR_EL1"), 0xA) == "ok"
    assert put(vcpu, rid("OSLSR_EL1"), 0) == put(vcpu, rid("OSLSR_EL1"), 0x18) == "EINVAL"
    assert get(vcpu, rid("OSLSR_EL1")) == 0xA


def test_what_the_machine_has_rules_for() -> None:
    for register_id in (ids.X0, SVE_VLS, PSCI_VERSION, sysreg_id(PFR0), sysreg_id(ZCR), sysreg_id(CTR)):
        assert registers.is_modelled(register_id)
    # Sizes that no system register has are answered too: there is none.
    assert registers.is_modelled(make(ids.SYSREG, 4, 0x8080))
    assert not registers.is_modelled(rid("TTBR0_EL1"))
    vcpu = vcpu_on(host())
    assert registers.is_answered(vcpu, ids.X0)
    assert registers.is_answered(vcpu, sysreg_id(PFR0))
    assert registers.is_answered(vcpu, rid("TTBR0_EL1"))
    assert registers.is_answered(vcpu, rid("VBAR_EL2")), "which this vCPU has not"
    assert not registers.is_answered(vcpu, sysreg_id(TIMER_CNT))
    assert registers.has_sysreg(vcpu, PFR0)
    assert not registers.has_sysreg(vcpu, ZCR)
