"""Memory slots, bits of an IPA, capabilities, and when CTR_EL0 traps: each check, its bounds, its errno.

Source: Linux virt/kvm/kvm_main.c (check_memory_region_flags, kvm_set_memory_region), arch/arm64/kvm/mmu.c
(kvm_arch_prepare_memory_region, kvm_init_ipa_range), arm.c (kvm_arch_init_vm, kvm_vm_ioctl_check_extension), sys_regs.c
(vcpu_set_hcr).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import capabilities, ipa, memory
from inspector.machine.arm64.arch import Slot
from inspector.machine.arm64.guest import mrs, traps_ctr
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PMU_V3, PSCI_0_2, PTRAUTH, PTRAUTH_ADDRESS, SVE, Host
from inspector.machine.arm64.vm import CAP_MTE, Vm
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import CTR, DFR0, MMFR0, MMFR2, MMFR4, PFR0, sysreg_id
from layouts.arm64.kernels import kernels, profile_for
from layouts.arm64.listed import TIMER_CNT
from tests.machine.arm64_bounds import answer, put, vcpu_on

PAGE, U64 = 4096, 1 << 64


def host(
    kernel: str = "7.2",
    limits: Mapping[int, int] | None = None,
    *,
    features: int = PSCI_0_2,
    gic: int = 3,
    mte: bool = False,
) -> Host:
    known = {PFR0: 0x12, **(limits or {})}
    return Host(kernels()[kernel], known, features=features, with_mte={PFR0: 1} if mte else None, gic=gic)


def slots(*held: tuple[int, Slot], bits: int = 40) -> Vm:
    vm = Vm(host())
    vm.ipa_bits = bits
    vm.memory.update(held)
    return vm


TWO = ((0, Slot(0x10_0000, 0x10_0000)), (1, Slot(0x40_0000, PAGE, memory.READONLY)))
LARGEST = (1 << 31) - 1


@pytest.mark.parametrize(
    ("number", "slot", "name"),
    [
        (2, Slot(0, PAGE), "ok"),
        *((2, Slot(0, PAGE, flags), "ok") for flags in (1, 2, 3)),
        *((2, Slot(0, PAGE, flags), "EINVAL") for flags in (4, 8, 1 << 31)),
        (2, Slot(1, PAGE), "EINVAL"),
        (2, Slot(2048, PAGE), "EINVAL"),
        (2, Slot(0, PAGE + 1), "EINVAL"),
        (32766, Slot(0, PAGE), "ok"),
        (32767, Slot(0, PAGE), "EINVAL"),
        (1 << 16, Slot(0, PAGE), "EINVAL"),
        # To the very end is around.
        (2, Slot(U64 - PAGE, PAGE), "EINVAL"),
        (2, Slot(U64 - 2 * PAGE, PAGE), "EFAULT"),
        (2, Slot(0x80_0000, LARGEST * PAGE), "EFAULT"),
        (2, Slot(0x80_0000, (LARGEST + 1) * PAGE), "EINVAL"),
        # Deleted, if it is there.
        (0, Slot(0, 0), "ok"),
        (2, Slot(0, 0), "EINVAL"),
        # Changed: flags and place, not size nor READONLY.
        (0, Slot(0x10_0000, 0x10_0000, memory.LOG_DIRTY), "ok"),
        (0, Slot(0x10_0000, 0x10_0000, memory.READONLY), "EINVAL"),
        (1, Slot(0x40_0000, PAGE), "EINVAL"),
        (1, Slot(0x40_0000, PAGE, 3), "ok"),
        (0, Slot(0x10_0000, 0x20_0000), "EINVAL"),
        (0, Slot(0x20_0000, 0x10_0000), "ok"),
        (0, Slot(0x18_0000, 0x10_0000), "ok"),
        (0, Slot(0x38_0000, 0x10_0000), "EEXIST"),
        # Next to another, and over it.
        (2, Slot(0x20_0000, PAGE), "ok"),
        (2, Slot(0x10_0000 - PAGE, PAGE), "ok"),
        (2, Slot(0x20_0000 - PAGE, PAGE), "EEXIST"),
        (2, Slot(0x10_0000 - PAGE, 2 * PAGE), "EEXIST"),
        (2, Slot(0, 0x100_0000), "EEXIST"),
        (2, Slot((1 << 40) - PAGE, PAGE), "ok"),
        (2, Slot(1 << 40, PAGE), "EFAULT"),
        (2, Slot((1 << 40) - PAGE, 2 * PAGE), "EFAULT"),
    ],
)
def test_memory_slots(number: int, slot: Slot, name: str) -> None:
    vm = slots(*TWO)
    assert answer(memory.set_slot(vm, number, slot)) == name
    left = dict(TWO)
    if name == "ok":
        left[number] = slot
        if not slot.size_bytes:
            del left[number]
    assert vm.memory == left


def test_what_the_slots_hold() -> None:
    vm = slots(*TWO)
    for address, there in (
        (0xF_FFFF, False),
        (0x10_0000, True),
        (0x1F_FFFF, True),
        (0x20_0000, False),
        (0x40_0000, True),
    ):
        assert memory.holds(vm, address) is there
    assert not memory.holds(slots(), 0)
    assert [capabilities.memory_slots(host(kernel)) for kernel in ("5.10", "6.1")] == [512, 32767]


PARANGE, TGRAN4 = of.MMFR0_PARANGE, of.MMFR0_TGRAN4


@pytest.mark.parametrize(
    ("kernel", "parange", "tgran4", "bits"),
    [
        *(("7.2", number, 0, bits) for number, bits in enumerate((32, 36, 40, 42, 44, 48, 48, 48))),
        *(("7.2", number, 1, bits) for number, bits in ((5, 48), (6, 52), (7, 56))),
        ("7.2", 15, 1, 56),
        ("7.2", 6, 2, 48),
        ("6.6", 6, 1, 48),
        ("6.12", 6, 1, 52),
    ],
)
def test_bits_of_an_ipa(kernel: str, parange: int, tgran4: int, bits: int) -> None:
    value = TGRAN4.put(PARANGE.put(0, parange), tgran4)
    on = host(kernel, {MMFR0: value})
    assert capabilities.ipa_bits(on) == bits
    sanitised = Host(kernels()[kernel], {MMFR0: 0}, sanitised={MMFR0: value})
    assert capabilities.ipa_bits(sanitised) == bits
    assert capabilities.ipa_bits(host()) == 32
    for asked in (bits, bits + 1, 32, 31, 1):
        outcome, vm = ipa.create(on, asked, abi="merged")
        assert answer(outcome) == ("ok" if 32 <= asked <= bits else "EINVAL")
        assert (vm is not None and vm.ipa_bits == asked) is outcome.accepted
    outcome, vm = ipa.create(on, 0, abi="proposal")
    assert outcome.accepted is (bits >= 40) is (vm is not None)
    assert vm is None or (vm.ipa_bits, vm.abi, vm.host) == (40, "proposal", on)
    for wrong in (0x100, 0x128, 1 << 31):
        assert answer(ipa.create(on, wrong, abi="merged")[0]) == "EINVAL"


ALL = PMU_V3 | SVE | PTRAUTH | HAS_EL2 | EL1_32BIT


@pytest.mark.parametrize(
    ("number", "limits", "features", "value"),
    [
        (3, {}, 0, 1),
        (25, {}, 0, 4096),
        (9999, {}, ALL, 0),
        (10, {}, 0, 32767),
        (66, {}, 0, 512),
        (93, {}, EL1_32BIT, 1),
        (93, {}, ALL & ~EL1_32BIT, 0),
        (119, {DFR0: of.DFR0_BRPS.put(0, 5)}, 0, 6),
        (120, {DFR0: of.DFR0_WRPS.put(0, 3)}, 0, 4),
        (126, {}, PMU_V3, 1),
        (126, {}, ALL & ~PMU_V3, 0),
        (131, {}, ALL, 0),
        (158, {PFR0: of.PFR0_RAS.put(0, 1)}, 0, 1),
        (158, {PFR0: of.PFR0_RAS.put(0, 2)}, 0, 1),
        (158, {}, ALL, 0),
        (165, {MMFR0: 3}, 0, 42),
        (170, {}, SVE, 1),
        (170, {}, ALL & ~SVE, 0),
        (171, {}, PTRAUTH, 1),
        (172, {}, PTRAUTH_ADDRESS, 1),
        (171, {}, ALL & ~PTRAUTH, 0),
        (205, {}, ALL, 0),
        (240, {}, HAS_EL2, 1),
        (240, {}, ALL & ~HAS_EL2, 0),
    ],
)
def test_capabilities(number: int, limits: Mapping[int, int], features: int, value: int) -> None:
    assert capabilities.check_extension(host("7.2", limits, features=features), number, of_vm=True) == value


@pytest.mark.parametrize(
    ("release", "slots", "bits", "has"),
    [
        ("5.10", 512, 48, False),
        ("5.11", 32767, 48, False),
        ("6.6", 32767, 48, False),
        ("6.7", 32767, 48, True),
        ("6.8", 32767, 52, True),
    ],
)
def test_the_release_that_has_them_first(release: str, slots: int, bits: int, has: bool) -> None:
    """KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES (6.7), LPA2 of stage 2 (6.8), more slots (5.11)."""
    on = Host(profile_for(release), {MMFR0: TGRAN4.put(PARANGE.put(0, 6), 1)})
    assert (capabilities.memory_slots(on), capabilities.ipa_bits(on)) == (slots, bits)
    assert capabilities.has_capability(on, 230) is bool(capabilities.check_extension(on, 230, of_vm=True)) is has


def test_capabilities_that_hang_on_more() -> None:
    check = capabilities.check_extension
    assert check(host(mte=True), 205, of_vm=False) == 1
    assert check(host("5.10", mte=True), 205, of_vm=False) == 0
    assert check(host(gic=2), 66, of_vm=False) == 8
    # NR_VCPUS: as many as there are CPUs, since 5.16 no more than a VM has.
    assert [check(host(kernel, gic=2), 9, of_vm=False, online_cpus=16) for kernel in ("5.10", "6.1")] == [16, 8]
    assert check(host(), 9, of_vm=False) == 1
    assert check(host(), 131, of_vm=False) == -1
    assert [capabilities.has_capability(host(kernel), 205) for kernel in ("5.10", "6.1")] == [False, True]
    assert not capabilities.has_capability(host(), 9999)
    by_rule = {capability.rule: capability.number for capability in capabilities.CAPABILITIES}
    e2h0, cacheable = by_rule["E2H0"], by_rule["cacheable, of a VM"]
    for features, number, value in ((HAS_EL2, 7, 1), (HAS_EL2, 8, 0), (0, 7, 0)):
        on = host("7.2", {MMFR4: of.MMFR4_E2H0.put(0, number)}, features=features)
        assert check(on, e2h0, of_vm=True) == value
    for fwb, dic, value in ((1, 1, 1), (1, 0, 0), (0, 1, 0), (2, 1, 1)):
        on = host("7.2", {MMFR2: of.MMFR2_FWB.put(0, fwb), CTR: of.CTR_DIC.put(0, dic)})
        assert check(on, cacheable, of_vm=True) == value
        assert check(on, cacheable, of_vm=False) == -1


@pytest.mark.parametrize(
    ("kernel", "features", "evt", "same", "traps"),
    [
        ("6.1", PSCI_0_2, 0, True, False),
        ("6.1", PSCI_0_2 | EL1_32BIT, 2, True, True),
        ("7.2", PSCI_0_2, 0, True, True),
        ("7.2", PSCI_0_2, 1, True, False),
        ("7.2", PSCI_0_2, 2, True, False),
        ("7.2", PSCI_0_2, 2, False, True),
    ],
)
def test_when_ctr_traps(kernel: str, features: int, evt: int, same: bool, traps: bool) -> None:
    known = {PFR0: 0x22, CTR: 0x444, MMFR2: of.MMFR2_EVT.put(0, evt)}
    on = Host(kernels()[kernel], known, sanitised=known, features=ALL | PSCI_0_2)
    on.bare_ctr = 0x9
    vcpu = vcpu_on(on, features)
    if not same:
        assert put(vcpu, sysreg_id(CTR), 0x333) == "EINVAL"
        vcpu.vm.id_registers[CTR] = 0x333
    assert traps_ctr(vcpu) is traps
    assert mrs(vcpu, CTR) == (9 if not traps else 0x444 if same else 0x333)
    assert mrs(vcpu, PFR0) == vcpu.id_value(PFR0)
    vcpu.initialized = False
    assert mrs(vcpu, CTR) == 0
    known_in_part = Host(kernels()["7.2"], {PFR0: 0x22}, sanitised={MMFR2: of.MMFR2_EVT.put(0, 1)})
    assert traps_ctr(vcpu_on(known_in_part)) is False
    assert traps_ctr(vcpu_on(Host(kernels()["7.2"], {PFR0: 0x22}))) is True
    assert mrs(vcpu, TIMER_CNT) == 0


@pytest.mark.parametrize(
    ("kernel", "protected", "mte", "imp_ids", "masks"),
    [
        ("6.18", False, "ok", "ok", "ok"),
        ("7.2", False, "EINVAL", "ok", "ok"),
        ("7.2", True, "EINVAL", "EINVAL", "EINVAL"),
        ("6.18", True, "EINVAL", "EINVAL", "EINVAL"),
    ],
)
def test_what_a_host_in_protected_mode_lets_a_vm_have(
    kernel: str, protected: bool, mte: str, imp_ids: str, masks: str
) -> None:
    """kvm_pkvm_ext_allowed: MTE of no VM since 7.0, little of a protected one."""
    vm = Vm(Host(kernels()[kernel], {PFR0: 0x12}, with_mte={PFR0: 1}, pkvm=True))
    vm.protected = protected
    assert (answer(vm.enable_cap(CAP_MTE)), answer(vm.enable_imp_id_regs())) == (mte, imp_ids)
    assert answer(vm.writable_masks()) == masks
    assert (bool(vm.mte), vm.writable_imp) == (mte == "ok", imp_ids == "ok")


def test_a_protected_vm_gives_a_slot_back_until_it_runs() -> None:
    for ran, name in ((False, "ok"), (True, "EPERM")):
        vm = slots(*TWO)
        vm.protected, vm.ran = True, ran
        assert answer(memory.set_slot(vm, 0, Slot(0, 0))) == name
        assert (0 in vm.memory) is ran
