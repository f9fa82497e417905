"""Rules of KVM on arm64 by kernel, from the host's bare facts: vCPUs, VMs with MTE, EL2 and a GIC, runs."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64 import vgic
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.guest import mrs
from inspector.machine.arm64.host import (
    EL1_32BIT,
    HAS_EL2,
    HAS_EL2_E2H0,
    MTE,
    PMU_V3,
    PMU_V3_STRICT,
    POWER_OFF,
    PSCI_0_2,
    SVE,
    Host,
)
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import CAP_MTE, Vm
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.hosts import bare_hosts
from layouts.arm64.ids import (
    CLIDR,
    CTR,
    DFR0,
    MMFR0,
    MMFR1,
    MMFR4,
    MPIDR,
    PFR0,
    PFR1,
    PFR1_AARCH32,
    PFR2,
    WORKAROUND_1,
    WORKAROUND_2,
    WORKAROUND_3,
    RegisterId,
    sysreg_id,
)
from layouts.arm64.kernels import kernels
from layouts.vocabulary import Bits

HAFDBS, VH = (of.id_register("ID_AA64MMFR1_EL1").field(name) for name in ("HAFDBS", "VH"))
X0, X14, X15 = (ids.X0 + 2 * number for number in (0, 14, 15))


def host(cpu: str, kernel: str, *, gic: int = 3, nested: bool = False) -> Host:
    return from_bare(kernels()[kernel], [bare_hosts()[cpu]], gic=gic, nested=nested)


def vcpu_of(made: Host, features: int = PSCI_0_2, *, mte: bool = False) -> Vcpu:
    vm = Vm(made)
    if mte:
        assert vm.enable_cap(CAP_MTE).accepted
    assert vm.create_vcpu(0).accepted
    assert vm.vcpus[0].init(features).accepted
    return vm.vcpus[0]


def put(vcpu: Vcpu, register_id: int, value: int) -> int:
    return vcpu.set(register_id, value.to_bytes(RegisterId(register_id).size_bytes, "little")).code


def value(vcpu: Vcpu, register_id: int) -> int:
    return int.from_bytes(vcpu.get(register_id).image, "little")


@pytest.mark.parametrize(("kernel", "kept"), [("5.10", False), ("6.1", False), ("6.12", True), ("7.3", True)])
def test_another_init_keeps_the_vcpus_own_id_registers(kernel: str, kept: bool) -> None:
    vcpu = vcpu_of(host("max", kernel))
    assert put(vcpu, sysreg_id(MPIDR), 0x1234) == 0
    vcpu.init(PSCI_0_2)
    assert value(vcpu, sysreg_id(MPIDR)) == (0x1234 if kept else 0x8000_0000)


def test_before_they_were_the_vms_each_vcpu_had_its_features() -> None:
    """kvm_vcpu_set_target of 6.1: one loop over the bits; what was set stays when a later bit is unknown."""
    vm = Vm(host("max", "6.1"))
    for number in range(3):
        vm.create_vcpu(number)
    one, two, three = vm.vcpus.values()
    assert one.init(PSCI_0_2 | SVE).code == 0
    assert two.init(0).code == 0
    assert one.init(PSCI_0_2).code == errno.EINVAL
    assert one.init(PSCI_0_2 | SVE | POWER_OFF).code == errno.EINVAL
    assert one.init(1 << 9).code == errno.EINVAL
    assert of.PFR0_SVE.get(value(one, sysreg_id(PFR0))) == 1
    assert of.PFR0_SVE.get(value(two, sysreg_id(PFR0))) == 0
    assert three.init(PSCI_0_2 | 1 << 9).code == errno.ENOENT
    assert three.init(0).code == 0
    assert three.features == PSCI_0_2
    assert three.init(EL1_32BIT | PSCI_0_2).code == errno.EINVAL


def test_since_then_the_vm_has_them() -> None:
    vm = Vm(host("max", "6.12"))
    vm.create_vcpu(0)
    vm.create_vcpu(1)
    assert vm.vcpus[0].init(PSCI_0_2 | POWER_OFF).code == 0
    assert vm.vcpus[0].init(PSCI_0_2).code == 0
    assert vm.vcpus[1].init(0).code == errno.EINVAL
    assert vm.vcpus[1].init(1 << 9).code == errno.ENOENT


@pytest.mark.parametrize(("kernel", "code"), [("7.2", errno.ENOENT), ("7.3", errno.EINVAL)])
def test_7_3_has_a_tenth_vcpu_feature(kernel: str, code: int) -> None:
    vm = Vm(host("max", kernel))
    vm.create_vcpu(0)
    assert vm.vcpus[0].init(PSCI_0_2 | PMU_V3_STRICT).code == code
    assert vm.vcpus[0].init(PSCI_0_2 | PMU_V3 | PMU_V3_STRICT).code == (0 if kernel == "7.3" else errno.ENOENT)


def test_the_target_is_the_cpus_or_generic() -> None:
    vm = Vm(host("cortex-a57", "7.2"))
    vm.create_vcpu(0)
    assert [vm.vcpus[0].init(PSCI_0_2, target).code for target in (0, 2, 5)] == [errno.EINVAL, 0, 0]
    old = Vm(host("cortex-a57", "6.1"))
    old.create_vcpu(0)
    assert [old.vcpus[0].init(PSCI_0_2, target).code for target in (5, 2)] == [errno.EINVAL, 0]


def test_an_aarch32_mode_has_32_bit_registers() -> None:
    vcpu = vcpu_of(host("max", "7.2"))
    wide = 0x1122_3344_5566_7788
    for register_id in (X0, X14, X15, ids.PC):
        put(vcpu, register_id, wide)
    assert put(vcpu, ids.PSTATE, 0x3D0) == 0
    assert [value(vcpu, register_id) for register_id in (X0, X14, X15, ids.PC)] == [
        0x5566_7788,
        0x5566_7788,
        wide,
        0x5566_7788,
    ]
    put(vcpu, X0, wide)
    assert value(vcpu, X0) == 0x5566_7788


def test_a_vm_with_mte() -> None:
    """PFR1.MTE, PFR2.MTEFAR and MTESTOREONLY, and tags in CLIDR_EL1; without the capability nothing of it."""
    made = host("max,mte=on", "7.2")
    plain, tagged = vcpu_of(made), vcpu_of(made, mte=True)
    assert [of.PFR1_MTE.get(value(vcpu, sysreg_id(PFR1))) for vcpu in (plain, tagged)] == [0, 3]
    assert [value(vcpu, sysreg_id(PFR2)) for vcpu in (plain, tagged)] == [0x1_0000_0000, 0x1_0000_0110]
    assert value(tagged, sysreg_id(CLIDR)) == value(plain, sysreg_id(CLIDR)) | 2 << 33
    assert put(tagged, sysreg_id(PFR2), 0x1_0000_0010) == 0
    assert (
        Bits("MTESTOREONLY and MTEFAR", 4, 8).get(value(vcpu_of(host("max,mte=on", "6.12"), mte=True), sysreg_id(PFR2)))
        == 0
    )
    assert Vm(host("max", "7.2")).enable_cap(CAP_MTE).code == errno.EINVAL
    assert Vm(host("max,mte=on", "5.10")).enable_cap(CAP_MTE).code == errno.EINVAL
    assert made.limit(PFR1, PSCI_0_2 | MTE) != made.limit(PFR1, PSCI_0_2)


def test_a_guest_with_el2() -> None:
    """limit_nv_id_reg: AArch64 alone, 48 bits, stage 2 granules by name, NV2 or E2H0."""
    made = host("max", "7.2", nested=True)
    nested, plain = PSCI_0_2 | HAS_EL2, PSCI_0_2
    assert made.limit(PFR0, nested) & 0xFFFF == 0x1111
    assert made.limit(PFR0, plain) & 0xFFFF == 0x0222
    assert (of.MMFR0_PARANGE.get(made.limit(MMFR0, nested)), of.MMFR0_PARANGE.get(made.limit(MMFR0, plain))) == (5, 6)
    assert made.limit(MMFR0, nested) >> 32 & 0xFFF == 0x222
    assert made.limit(MMFR4, nested) == 0x0E10_0000
    assert made.limit(MMFR4, nested | HAS_EL2_E2H0) == 0
    assert VH.get(made.limit(MMFR1, nested)) == 1
    assert VH.get(made.limit(MMFR1, nested | HAS_EL2_E2H0)) == 0
    assert made.limit(DFR0, nested) == 0x0030_500A
    vcpu = vcpu_of(made, nested)
    current = value(vcpu, sysreg_id(MMFR0))
    assert put(vcpu, sysreg_id(MMFR0), current & ~0xF) == 0
    assert put(vcpu, sysreg_id(MMFR0), current & ~(0xF << 40) | 1 << 40) == 0
    assert put(vcpu, sysreg_id(MMFR0), current & ~(0xF << 40) | 3 << 40) == errno.EINVAL
    assert vcpu.run().code == errno.EAGAIN
    assert vgic.create(vcpu.vm, 7).accepted
    assert vgic.set_addresses(vcpu.vm).accepted
    assert vgic.initialize(vcpu.vm).accepted
    assert vcpu.run().accepted


@pytest.mark.parametrize(("kernel", "dead"), [("5.10", False), ("6.1", True), ("6.6", False), ("7.2", True)])
def test_the_first_run_asks_for_the_vms_gic(kernel: str, dead: bool) -> None:
    """kvm_vgic_map_resources: ENXIO without addresses, EBUSY before CTRL_INIT, and the VM may be gone then."""
    vm = Vm(host("max", kernel))
    vm.create_vcpu(0)
    assert vm.vcpus[0].init(PSCI_0_2).accepted
    assert vgic.create(vm, 7).accepted
    assert vm.vcpus[0].run().code == errno.ENXIO
    assert vm.is_dead == dead
    assert vgic.set_addresses(vm).accepted
    assert vgic.set_addresses(vm).code == errno.EEXIST
    # On 5.10 the first KVM_RUN counts though it failed.
    assert vm.vcpus[0].run().code == (0 if kernel == "5.10" else errno.EBUSY)
    assert vgic.initialize(vm).accepted
    assert vm.vcpus[0].run().accepted


@pytest.mark.parametrize(
    ("kernel", "mmfr1", "debug"),
    [("6.16", 0, 7), ("6.18", 0, 10), ("6.19", 1, 10), ("7.2", 1, 10)],
)
def test_what_nested_guests_get_grew(kernel: str, mmfr1: int, debug: int) -> None:
    made = host("max", kernel, nested=True)
    features = PSCI_0_2 | HAS_EL2
    assert HAFDBS.get(made.limit(MMFR1, features)) == mmfr1
    assert of.DFR0_DEBUGVER.get(made.limit(DFR0, features)) == debug


@pytest.mark.parametrize(
    ("cpu", "levels"),
    [
        ("max", (2, 0, 2)),
        ("neoverse-v1", (2, 0, 1)),
        ("neoverse-n1", (2, 0, 1)),
        ("cortex-a57", (0, 0, 0)),
        ("cortex-a55", (2, 3, 2)),
        ("cortex-a53", (2, 3, 2)),
        ("a64fx", (0, 0, 0)),
    ],
)
def test_firmware_registers_say_what_needs_no_mitigation(cpu: str, levels: tuple[int, int, int]) -> None:
    vcpu = vcpu_of(host(cpu, "7.2"))
    assert tuple(value(vcpu, rid) for rid in (WORKAROUND_1, WORKAROUND_2, WORKAROUND_3)) == levels
    assert put(vcpu, WORKAROUND_1, levels[0]) == 0
    assert put(vcpu, WORKAROUND_1, levels[0] + 1) == errno.EINVAL


@pytest.mark.parametrize(
    ("kernel", "with_gic", "without"),
    [("6.1", (0, 1), (0, 1)), ("6.12", (0, 1), (0, 0)), ("7.0", (0, 1), (0, 0)), ("7.2", (1, 1), (0, 0))],
)
def test_gic_fields_after_the_first_run(kernel: str, with_gic: tuple[int, int], without: tuple[int, int]) -> None:
    """What user space had set to 0, and what it left at 1, with a GICv3 and without."""
    for gic, expected in ((True, with_gic), (False, without)):
        for wanted, after in zip((0, 1), expected, strict=True):
            vcpu = vcpu_of(host("max", kernel))
            if gic:
                assert vgic.create(vcpu.vm, 7).accepted
                assert vgic.set_addresses(vcpu.vm).accepted
                assert vgic.initialize(vcpu.vm).accepted
            full = value(vcpu, sysreg_id(PFR0))
            code = put(vcpu, sysreg_id(PFR0), full & ~(0xF << 24) | wanted << 24)
            vcpu.run()
            if not code:
                assert of.PFR0_GIC.get(value(vcpu, sysreg_id(PFR0))) == after


def test_a_gic_must_be_the_hosts_and_comes_before_the_last_vcpu() -> None:
    vm = Vm(host("max", "7.2"))
    assert [vgic.create(vm, device).code for device in (5, 7, 7, 8)] == [errno.ENODEV, 0, errno.EEXIST, 0]
    assert vm.create_vcpu(0).accepted
    vm.vgic_initialized = True
    assert vm.create_vcpu(1).code == errno.EBUSY
    old = Vm(host("max", "7.2", gic=2))
    assert [vgic.create(old, device).code for device in (8, 7, 5)] == [errno.ENODEV, errno.ENODEV, 0]
    assert old.create_vcpu(8).code == errno.EINVAL
    assert (
        of.PFR0_GIC.get(old.host.limit(PFR0, PSCI_0_2))
        == of.PFR1_AARCH32_GIC.get(old.host.limit(PFR1_AARCH32, PSCI_0_2))
        == 0
    )


def test_without_aarch32_its_masks_are_zero() -> None:
    assert host("a64fx", "7.2").mask(PFR1_AARCH32) == 0
    assert host("max", "7.2").mask(PFR1_AARCH32) == 0xFFFF_FFFF


def test_a_guest_reads_the_processors_ctr_where_it_is_not_trapped() -> None:
    """With FEAT_EVT and the host's value KVM traps the caches alone: IDC is then what the processor says."""
    made = host("max", "7.2")
    vcpu = vcpu_of(made)
    assert mrs(vcpu, CTR) == bare_hosts()["max"].registers[CTR]
    lower = value(vcpu, sysreg_id(CTR)) & ~(1 << 28)
    assert put(vcpu, sysreg_id(CTR), lower) == 0
    assert mrs(vcpu, CTR) == lower
    assert mrs(vcpu_of(host("cortex-a57", "7.2")), CTR) == host("cortex-a57", "7.2").limit(CTR, 0)


def test_6_1_shows_the_hardwares_caches() -> None:
    vcpu = vcpu_of(host("cortex-a57", "6.1"))
    assert [vcpu.get(0x6020_0000_0011_0000 | number).value for number in range(3)] == [
        0x700F_E01A,
        0x201F_E012,
        0x70FF_E07A,
    ]
    assert vcpu.get(0x6020_0000_0011_0003).code == errno.ENOENT


def test_another_run_completes_the_access_first() -> None:
    """kvm_handle_mmio_return: PC as user space set it is then 4 further."""
    vcpu = vcpu_of(host("max", "7.2"))
    put(vcpu, ids.PC, 0x1000)
    assert vcpu.run().accepted
    assert value(vcpu, ids.PC) == 0x1000
    vcpu.init(PSCI_0_2)
    put(vcpu, ids.PC, 0x2000)
    vcpu.run()
    assert value(vcpu, ids.PC) == 0x2004


def test_the_processor_drops_bits_of_pstate_that_it_does_not_have() -> None:
    vcpu = vcpu_of(host("max", "7.2"))
    put(vcpu, ids.PSTATE, 1 << 38 | 1 << 5 | 0xF000_03C5)
    assert value(vcpu, ids.PSTATE) == 1 << 38 | 1 << 5 | 0xF000_03C5
    vcpu.run()
    assert value(vcpu, ids.PSTATE) == 0xF000_03C5


@pytest.mark.parametrize(("kernel", "code"), [("5.10", 0), ("6.1", errno.EINVAL), ("7.2", errno.EINVAL)])
def test_a_pmu_wants_to_be_initialized(kernel: str, code: int) -> None:
    vcpu = vcpu_of(host("max", kernel), PSCI_0_2 | PMU_V3)
    assert vcpu.set_pmu_irq().code == errno.EINVAL
    assert vcpu.run().code == code
    assert vcpu.init_pmu().code == 0
    assert vcpu.init_pmu().code == errno.EBUSY
    assert vcpu.run().accepted


def test_5_10_takes_csv2_only() -> None:
    vcpu = vcpu_of(host("max", "5.10"))
    full = value(vcpu, sysreg_id(PFR0))
    assert put(vcpu, sysreg_id(PFR0), full & ~(0xF << 56)) == 0
    assert put(vcpu, sysreg_id(PFR0), full & ~(0xF << 60)) == errno.EINVAL
    assert vcpu.get(0x6030_0000_0016_0000).code == errno.ENOENT


@pytest.mark.parametrize(("kernel", "code"), [("5.10", errno.ENOENT), ("7.2", errno.EFAULT)])
def test_a_pointer_that_cannot_be_read(kernel: str, code: int) -> None:
    vcpu = vcpu_of(host("max", kernel))
    assert vcpu.set(sysreg_id(PFR0), None).code == errno.EFAULT
    assert vcpu.set(0x6030_0000_0099_0000, None).code == code
    assert vcpu.get(sysreg_id(PFR0), readable=False).code == errno.EFAULT
    assert vcpu.get(0x6030_0000_0099_0000, readable=False).code == errno.ENOENT
