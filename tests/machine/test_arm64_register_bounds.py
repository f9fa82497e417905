"""KVM_GET_ONE_REG and KVM_SET_ONE_REG of a vCPU by kind of register: each check, its bounds, its errno, what is kept.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_get_reg, set_core_reg, core_reg_size_from_offset, sve_reg_to_region,
set_sve_vls), hypercalls.c (kvm_arm_set_fw_reg), sys_regs.c (demux_c15_get, set_ccsidr, kvm_sys_reg_set_user); of SVE's
first proposal "KVM API extensions for SVE" (kvmarm, 2017).
"""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64 import core, proposal, sve
from inspector.machine.arm64.host import EL1_32BIT, HAS_EL2, PSCI_0_2, SVE, Host
from inspector.machine.arm64.vcpu import Vcpu
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.ids import CLIDR, ISAR0, PFR0, PFR1, RegisterId, make, sysreg_id
from layouts.arm64.kernels import kernels
from tests.machine.arm64_bounds import get, put, vcpu_on

U64 = (1 << 64) - 1
BOTH = PSCI_0_2 | SVE


def vcpu_of(
    features: int = BOTH, *, kernel: str = "7.2", abi: str = "merged", vqs: int = 0b1011, aarch32: bool = True
) -> Vcpu:
    """A vCPU on a host of bare numbers: vq 1, 2 and 4, a few ID registers."""
    limits = {PFR0: (0x12 if aarch32 else 0x11) | 1 << 32, ISAR0: 0x22, CLIDR: 0x1234, PFR1: 0x21}
    return vcpu_on(Host(kernels()[kernel], limits, sve_vqs=vqs, features=BOTH | EL1_32BIT | HAS_EL2), features, abi=abi)


# All registers


@pytest.mark.parametrize(
    ("register_id", "answer"),
    [
        (ids.X0, "ok"),
        # Another architecture; a bit between the size and the coprocessor.
        (ids.X0 ^ ids.ARM64 << 56 ^ ids.ARM32 << 56, "EINVAL"),
        (ids.X0 | 1 << 32, "EINVAL"),
        (ids.X0 | 1 << 51, "EINVAL"),
        (ids.X0 | 1 << 63, "EINVAL"),
        # Bits 31:28 are another register's.
        (ids.X0 | 1 << 28, "ENOENT"),
        (make(0x12, 8), "ENOENT"),
        (make(0x17, 8), "ENOENT"),
        (make(0x113, 8, PFR0), "ENOENT"),
    ],
)
def test_which_ids_are_registers(register_id: int, answer: str) -> None:
    vcpu = vcpu_of()
    assert put(vcpu, register_id, 0) == answer
    assert get(vcpu, register_id) == (0 if answer == "ok" else answer)
    vcpu.initialized = False
    assert put(vcpu, register_id, 0) == get(vcpu, register_id) == "ENOEXEC"


# Core registers


@pytest.mark.parametrize(
    ("word", "size_bytes", "sve", "code"),
    [
        (0, 8, False, 0),
        (60, 8, False, 0),
        (61, 8, False, errno.EINVAL),
        (0, 4, False, errno.EINVAL),
        (0, 16, False, errno.EINVAL),
        (62, 8, False, 0),
        (80, 8, False, 0),
        (82, 8, False, errno.EINVAL),
        (84, 16, False, 0),
        (84, 16, True, errno.EINVAL),
        (86, 16, False, errno.EINVAL),
        (208, 16, False, 0),
        (212, 4, True, 0),
        (213, 4, True, 0),
        (214, 4, True, errno.EINVAL),
        # struct kvm_regs has 216 words; the check is one word short.
        (214, 8, True, errno.ENOENT),
        (215, 4, True, errno.ENOENT),
        (213, 8, True, errno.EINVAL),
        (216, 4, True, errno.ENOENT),
        (212, 16, True, errno.ENOENT),
        (0x1000, 8, True, errno.ENOENT),
    ],
)
def test_places_in_kvm_regs(word: int, size_bytes: int, sve: bool, code: int) -> None:
    register_id = make(ids.CORE, size_bytes, word)
    assert core.check_id(register_id, has_sve=sve) == code
    vcpu = vcpu_of(BOTH if sve else PSCI_0_2)
    assert (vcpu.get(register_id).code, vcpu.set(register_id, bytes(size_bytes)).code) == (code, code)


def test_core_registers_hold_what_is_written() -> None:
    vcpu = vcpu_of(PSCI_0_2)
    for register_id in core.register_ids(has_sve=False):
        if register_id != ids.PSTATE:
            value = (1 << 8 * RegisterId(register_id).size_bytes) - 1
            assert get(vcpu, register_id) == 0
            assert put(vcpu, register_id, value) == "ok"
            assert get(vcpu, register_id) == value
    assert put(vcpu, ids.X0, None) == "EFAULT"
    # No more of a longer buffer than the register.
    assert vcpu.set(ids.X0, b"\1" * 16).accepted
    assert get(vcpu, ids.X0) == 0x0101_0101_0101_0101
    assert vcpu.set(ids.PSTATE, (0x3C5 | 1 << 64).to_bytes(16, "little")).accepted
    listed = [core.register_ids(has_sve=has_sve) for has_sve in (False, True)]
    assert [len(found) for found in listed] == [31 + 4 + 6 - 1 + 32 + 2 + 1, 31 + 4 + 6 - 1 + 2 + 1]
    assert not {ids.V.id(number) for number in range(32)} & set(listed[1])


WORD64 = 0x1122_3344_5566_7788


@pytest.mark.parametrize(
    ("mode", "plain", "el1_32bit", "el2", "alone"),
    [
        (0x0, "ok", "EINVAL", "ok", "ok"),
        (0x4, "ok", "EINVAL", "ok", "ok"),
        (0x5, "ok", "EINVAL", "ok", "ok"),
        (0x8, "EINVAL", "EINVAL", "ok", "EINVAL"),
        (0x9, "EINVAL", "EINVAL", "ok", "EINVAL"),
        (0x1, "EINVAL", "EINVAL", "EINVAL", "EINVAL"),
        (0xC, "EINVAL", "EINVAL", "EINVAL", "EINVAL"),
        (0xD, "EINVAL", "EINVAL", "EINVAL", "EINVAL"),
        (0x10, "ok", "ok", "ok", "EINVAL"),
        *((mode, "EINVAL", "ok", "EINVAL", "EINVAL") for mode in (0x11, 0x12, 0x13, 0x17, 0x1B, 0x1F)),
        *((mode, "EINVAL", "EINVAL", "EINVAL", "EINVAL") for mode in (0x14, 0x16, 0x1A, 0x1E)),
    ],
)
def test_modes_that_a_vcpu_can_be_in(mode: int, plain: str, el1_32bit: str, el2: str, alone: str) -> None:
    """In PSTATE other bits are not looked at. ``alone``: of a host without AArch32."""
    for features, aarch32, answer in (
        (PSCI_0_2, True, plain),
        (PSCI_0_2 | EL1_32BIT, True, el1_32bit),
        (PSCI_0_2 | HAS_EL2, True, el2),
        (PSCI_0_2, False, alone),
    ):
        vcpu = vcpu_of(features, aarch32=aarch32)
        before = get(vcpu, ids.PSTATE)
        assert put(vcpu, ids.PSTATE, mode | 0xF000_03C0) == answer
        assert get(vcpu, ids.PSTATE) == (mode | 0xF000_03C0 if answer == "ok" else before)


def test_what_an_aarch32_mode_narrows() -> None:
    for mode, count in ((0x10, 15), (0x1F, 15), (0x13, 31), (0x11, 31)):
        vcpu = vcpu_of(PSCI_0_2 | EL1_32BIT)
        # Out of the way of narrowing while they are written.
        vcpu.values[ids.PSTATE] = bytes(8)
        for number in range(31):
            put(vcpu, ids.X0 + 2 * number, WORD64)
        put(vcpu, ids.PC, WORD64)
        assert put(vcpu, ids.PSTATE, mode) == "ok"
        narrowed = [get(vcpu, ids.X0 + 2 * number) == WORD64 & 0xFFFF_FFFF for number in range(31)]
        assert narrowed == [number < count for number in range(31)]
        assert get(vcpu, ids.PC) == WORD64 & 0xFFFF_FFFF
        assert get(vcpu, ids.CORE_MEMBERS[1].id()) == 0
    assert core.narrow({}) is None
    held = {ids.PSTATE: b"\x10", ids.X0: b"\1\2\3\4\5\6\7\x08"}
    core.narrow(held)
    assert held == {ids.PSTATE: b"\x10", ids.X0: b"\1\2\3\4\0\0\0\0"}


def test_what_reset_leaves() -> None:
    for features, pstate in ((0, 0x3C5), (EL1_32BIT, 0x1D3), (HAS_EL2, 0x3C9), (EL1_32BIT | HAS_EL2, 0x1D3)):
        assert core.reset_values(features) == {ids.PSTATE: pstate.to_bytes(8, "little")}


def test_an_instruction_that_was_emulated_is_skipped() -> None:
    values = {ids.PC: U64.to_bytes(8, "little")}
    core.skip_instruction(values)
    assert values == {ids.PC: (3).to_bytes(8, "little")}
    core.skip_instruction(values)
    assert values == {ids.PC: (7).to_bytes(8, "little")}


@pytest.mark.parametrize(
    ("pfr1", "written", "kept"),
    [
        (0, U64 & ~0x10, 0xF3F0_03CF),
        (of.PFR1_BT.put(0, 1), U64 & ~0x10, 0xF3F0_0FCF),
        (of.PFR1_SSBS.put(0, 1), U64 & ~0x10, 0xF3F0_13CF),
        # AArch32's PSTATE has bits of its own.
        (0, U64, U64),
    ],
)
def test_pstate_as_the_processor_loads_it(pfr1: int, written: int, kept: int) -> None:
    values = {ids.PSTATE: written.to_bytes(8, "little")}
    core.enter(values, Host(kernels()["7.2"], {PFR1: pfr1}))
    assert values == {ids.PSTATE: kept.to_bytes(8, "little")}
    every = {ids.PSTATE: (U64 & ~0x10).to_bytes(8, "little")}
    core.enter(every, Host(kernels()["7.2"], {}))
    assert every == {ids.PSTATE: (0xF3F0_03CF).to_bytes(8, "little")}
    nothing: dict[int, bytes] = {}
    core.enter(nothing, Host(kernels()["7.2"], {}))
    assert nothing == {ids.PSTATE: bytes(8)}


# SVE


def test_lengths_and_slices_of_sve() -> None:
    vcpu = vcpu_of()
    assert get(vcpu, ids.SVE_VLS) == 0b1011
    # Slices before the feature; then what is not final.
    assert get(vcpu, ids.SVE_Z0 + 1) == put(vcpu, ids.SVE_Z0 + 1, 0) == "ENOENT"
    assert get(vcpu, ids.SVE_Z0) == put(vcpu, ids.SVE_Z0, 0) == put(vcpu, ids.SVE_Z0, None) == "EPERM"
    assert get(vcpu, ids.SVE_FFR + ids.SVE_STEP) == put(vcpu, ids.SVE_FFR + ids.SVE_STEP, 0) == "EINVAL"
    assert put(vcpu, ids.SVE_VLS, 0b0011) == "ok"
    assert (vcpu.vq, get(vcpu, ids.SVE_VLS)) == (2, 0b0011)
    assert put(vcpu, ids.SVE_VLS, 0b0001) == "ok"
    assert get(vcpu, ids.SVE_VLS) == 0b0001
    assert put(vcpu, ids.SVE_VLS, 0b0011) == "ok"
    assert put(vcpu, ids.SVE_VLS, 0b0111) == put(vcpu, ids.SVE_VLS, 1 << 511) == "EINVAL"
    assert (put(vcpu, ids.SVE_VLS, None), vcpu.vq) == ("EFAULT", 2)
    outcome = vcpu.set(ids.SVE_VLS, (3).to_bytes(64, "little"))
    assert (outcome.value, len(outcome.checks)) == (0, 2 + 2 + 3)
    assert vcpu.finalize(sve.FINALIZE).accepted
    assert put(vcpu, ids.SVE_VLS, 0b0011) == put(vcpu, ids.SVE_VLS, None) == "EPERM"
    assert get(vcpu, ids.SVE_Z0) == 0
    assert put(vcpu, ids.SVE_Z0, None) == "EFAULT"
    assert put(vcpu, ids.SVE_Z0, (1 << 2048) - 1) == "ok"
    # Bytes that the vCPU has, then zeroes.
    assert get(vcpu, ids.SVE_Z0) == (1 << 256) - 1
    assert put(vcpu, ids.SVE_P0 + ids.SVE_STEP, (1 << 256) - 1) == "ok"
    assert get(vcpu, ids.SVE_P0 + ids.SVE_STEP) == (1 << 32) - 1
    assert (get(vcpu, ids.SVE_P0), get(vcpu, ids.SVE_FFR)) == (0, 0)


def test_without_sve_there_is_none() -> None:
    vcpu = vcpu_of(PSCI_0_2)
    for register_id in (ids.SVE_VLS, ids.SVE_Z0, ids.SVE_Z0 + 1, ids.SVE_FFR):
        assert get(vcpu, register_id) == put(vcpu, register_id, 0) == put(vcpu, register_id, None) == "ENOENT"
    assert get(vcpu, ids.SVE_FFR + ids.SVE_STEP) == "EINVAL"


# SVE's first proposal


Z0_THEN, VLS_THEN = ids.SVE_Z0 ^ (ids.SVE ^ ids.FIRMWARE) << 16, ids.SVE_VLS ^ (ids.SVE ^ ids.FIRMWARE) << 16


def test_ids_of_the_proposal() -> None:
    p0 = ids.SVE_P0 ^ (ids.SVE ^ ids.FIRMWARE) << 16
    for then, now in ((Z0_THEN, ids.SVE_Z0), (p0, ids.SVE_P0)):
        assert (proposal.as_merged(then), proposal.as_proposed(now)) == (now, then)
    for same in (ids.X0, ids.PSCI_VERSION, sysreg_id(PFR0), VLS_THEN):
        assert proposal.as_merged(same) == same
    for same in (ids.X0, ids.PSCI_VERSION, sysreg_id(PFR0)):
        assert proposal.as_proposed(same) == same
    assert RegisterId(proposal.as_merged(ids.SVE_Z0)).coprocessor == 0x17


def test_v_and_z_of_the_proposal_are_one() -> None:
    vcpu = vcpu_of(abi="proposal")
    z3, v3, z4 = Z0_THEN + 3 * ids.SVE_STEP, ids.V.id(3), Z0_THEN + 4 * ids.SVE_STEP
    assert put(vcpu, z3, (1 << 600) - 1) == "ok"
    assert (get(vcpu, z3), get(vcpu, v3)) == ((1 << 512) - 1, (1 << 128) - 1)
    assert put(vcpu, v3, 5) == "ok"
    assert get(vcpu, z3) == (1 << 512) - (1 << 128) + 5
    assert (get(vcpu, z4), get(vcpu, ids.V.id(4)), get(vcpu, ids.V.id(2))) == (0, 0, 0)
    # A Z register that was never written, and what is no V register.
    assert put(vcpu, ids.V.id(31), 7) == "ok"
    assert get(vcpu, Z0_THEN + 31 * ids.SVE_STEP) == 7
    assert put(vcpu, ids.V.id(0), 9) == "ok"
    assert get(vcpu, Z0_THEN) == 9
    before = dict(vcpu.sve)
    assert put(vcpu, ids.X0, 1) == put(vcpu, make(ids.CORE, 4, 212), 1) == "ok"
    assert vcpu.sve == before
    p3 = (ids.SVE_P0 ^ (ids.SVE ^ ids.FIRMWARE) << 16) + 3 * ids.SVE_STEP
    assert put(vcpu, p3, 0xFF) == "ok"
    assert get(vcpu, v3) == 5
    proposal.follow_z(vcpu, 5, b"\1\2")
    assert vcpu.values[ids.V.id(5)] == b"\1\2" + bytes(14)
    plain = vcpu_of(PSCI_0_2, abi="proposal")
    assert put(plain, v3, 5) == "ok"
    assert plain.sve == {}


def test_the_merged_interface_does_not_tie_them() -> None:
    vcpu = vcpu_of()
    assert vcpu.finalize(sve.FINALIZE).accepted
    assert put(vcpu, ids.SVE_Z0, 7) == "ok"
    assert vcpu.values.get(ids.V.id(0)) is None


def test_lengths_of_the_proposal_until_it_runs() -> None:
    vcpu = vcpu_of(abi="proposal")
    assert get(vcpu, VLS_THEN) == "ENOENT"
    for outcome in (vcpu.set_sve_vls(0b0011), vcpu.get_sve_vls(), vcpu.set_sve_vls(0b0111)):
        assert outcome.evidence == "proposal"
    assert vcpu.set_sve_vls(0b0011).accepted
    assert vcpu.get_sve_vls().value == 0b0011
    # Not final is no matter here.
    vcpu.sve_finalized = True
    assert vcpu.set_sve_vls(0b0001).accepted
    vcpu.ran = True
    assert vcpu.set_sve_vls(0b0011).name == "EBUSY"
    assert vcpu_of(PSCI_0_2, abi="proposal").set_sve_vls(1).name == "ENOENT"
    merged = vcpu_of()
    merged.ran = True
    assert put(merged, ids.SVE_VLS, 1) == "ok"
    assert merged.set_sve_vls(1).name == merged.get_sve_vls().name == "EINVAL"
