"""What a guest executes at EL1: what traps where, by bit of CPACR_EL1; what SVE instructions leave at each length.

Source: Arm ARM (DDI 0487), CheckFPAdvSIMDEnabled64, CheckSVEEnabled, CheckSMEAccess, DecodePredCount, C8 (INDEX, PTRUE,
WHILELO, EOR, WRFFR); Linux arch/arm64/kvm/handle_exit.c (handle_sve, kvm_handle_ptrauth), sys_regs.c (emulate_sys_reg).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import instructions, sve, vectors
from inspector.machine.arm64.host import HAS_EL2, PSCI_0_2, PTRAUTH, PTRAUTH_ADDRESS, SVE, Host
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.outcome import Outcome
from layouts.arm64 import id_fields as of
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import CTR, ISAR0, MIDR, MMFR2, PFR0, PFR1, PSTATE, ZCR, sysreg_id
from layouts.arm64.kernels import kernels
from layouts.arm64.listed import TIMER_CNT
from tests.machine.arm64_bounds import answer, encoding, put, rid, vcpu_on

EVERY, WITH_SVE = PSCI_0_2 | SVE | PTRAUTH | HAS_EL2, PSCI_0_2 | SVE
FPEN, ZEN, SMEN = 1 << 20, 1 << 16, 1 << 24
#: Lengths of 16, 32 and 64 bytes.
VQS = 0b1011


def vcpu_of(
    features: int = WITH_SVE,
    *,
    sanitised: Mapping[int, int] | None = None,
    host_features: int = EVERY,
    abi: str = "merged",
    cpacr: int = FPEN | ZEN | SMEN,
) -> Vcpu:
    limits = {PFR0: 0x12 | 1 << 32, ISAR0: 0x22, MIDR: 5}
    on = Host(kernels()["7.2"], limits, sanitised=sanitised, sve_vqs=VQS, features=host_features)
    vcpu = vcpu_on(on, features, abi=abi)
    vcpu.sve_finalized = bool(features & SVE)
    assert put(vcpu, rid("CPACR_EL1"), cpacr) == "ok"
    return vcpu


SME = {PFR1: id_register("ID_AA64PFR1_EL1").field("SME").put(0, 1), PFR0: 1 << 32}


@pytest.mark.parametrize(
    ("cpacr", "fp", "of_sve", "of_sme"),
    [
        (0, "FP trap", "SVE trap", "SME trap"),
        (FPEN, "ok", "SVE trap", "SME trap"),
        (ZEN, "FP trap", "FP trap", "SME trap"),
        (SMEN, "FP trap", "SVE trap", "FP trap"),
        (FPEN | ZEN, "ok", "ok", "SME trap"),
        (FPEN | SMEN, "ok", "SVE trap", "UNDEF"),
        # The high bits of the fields are EL0's.
        (2 * (FPEN | ZEN | SMEN), "FP trap", "SVE trap", "SME trap"),
    ],
)
def test_what_traps_to_el1(cpacr: int, fp: str, of_sve: str, of_sme: str) -> None:
    vcpu = vcpu_of(sanitised=SME, cpacr=cpacr)
    assert answer(instructions.fpsimd(vcpu)) == fp
    assert instructions.fpsimd(vcpu).evidence == "manual"
    assert answer(instructions.sve(vcpu)) == of_sve
    assert answer(instructions.sme(vcpu)) == of_sme
    zcr = of_sve if cpacr & ZEN == 0 else "ok"
    assert answer(instructions.mrs(vcpu, ZCR)) == answer(instructions.msr(vcpu, ZCR, 0)) == zcr


def test_what_the_processor_has_not() -> None:
    none = vcpu_of(PSCI_0_2, host_features=PSCI_0_2)
    for outcome in (instructions.sve(none), instructions.sme(none), instructions.pointer_authentication(none)):
        assert (answer(outcome), len(outcome.checks)) == ("UNDEF", 1)
        assert outcome.because.startswith("the processor has ")
    assert answer(instructions.mrs(none, ZCR)) == "UNDEF"
    # The processor has it, the vCPU does not; EL1 traps first.
    seen = vcpu_of(PSCI_0_2, sanitised={PFR0: 1 << 32}, host_features=PSCI_0_2)
    assert answer(instructions.sve(seen)) == "UNDEF"
    assert len(instructions.sve(seen).checks) == 4
    hidden = vcpu_of(PSCI_0_2, sanitised={PFR0: 0})
    assert len(instructions.sve(hidden).checks) == 1
    assert answer(instructions.sve(vcpu_of(PSCI_0_2, cpacr=0))) == "SVE trap"


@pytest.mark.parametrize(("features", "name"), [(PTRAUTH, "ok"), (PTRAUTH_ADDRESS, "UNDEF"), (0, "UNDEF")])
def test_pointer_authentication(features: int, name: str) -> None:
    vcpu = vcpu_of(PSCI_0_2)
    vcpu.features |= features
    assert answer(instructions.pointer_authentication(vcpu)) == name


def test_a_guest_with_el2_traps_by_its_own_registers() -> None:
    vcpu = vcpu_of()
    vcpu.features |= HAS_EL2
    for outcome in (instructions.fpsimd(vcpu), instructions.sve(vcpu), instructions.mrs(vcpu, ZCR)):
        assert answer(outcome) == "depends-on"


# System registers


def test_reads_and_writes_of_system_registers() -> None:
    vcpu = vcpu_of()
    assert instructions.mrs(vcpu, ISAR0) == instructions.mrs(vcpu, ISAR0)
    assert [instructions.mrs(vcpu, one).value for one in (ISAR0, MIDR, CTR)] == [0x22, 5, 0]
    for one in (ISAR0, MIDR, CTR):
        assert answer(instructions.msr(vcpu, one, 0)) == "UNDEF"
    ttbr, unlisted, el2 = (encoding(name) for name in ("TTBR0_EL1", "PMBLIMITR_EL1", "VBAR_EL2"))
    assert answer(instructions.msr(vcpu, ttbr, 0x77)) == "ok"
    assert instructions.mrs(vcpu, ttbr).value == 0x77
    assert vcpu.values[sysreg_id(ttbr)] == b"\x77".ljust(8, b"\0")
    for outcome in (instructions.mrs(vcpu, unlisted), instructions.msr(vcpu, unlisted, 0)):
        assert answer(outcome) == "depends-on"
        assert outcome.because == "depends on whether KVM traps PMBLIMITR_EL1: no rule knows it"
    assert answer(instructions.mrs(vcpu, el2)) == answer(instructions.msr(vcpu, el2, 0)) == "UNDEF"
    assert instructions.is_known(vcpu, sysreg_id(ttbr))
    # A listed register of which no rule knows what a write does, until somebody wrote it.
    open_one = encoding("CNTHCTL_EL2")
    assert instructions.is_known(vcpu, sysreg_id(open_one)), "which this vCPU has not"
    assert answer(instructions.mrs(vcpu, encoding("CNTV_CTL_EL0"))) == "depends-on"
    assert answer(instructions.msr(vcpu, encoding("CNTV_CTL_EL0"), 0xF)) == "ok"
    assert vcpu.values[rid("CNTV_CTL_EL0")] == b"\3".ljust(8, b"\0")
    assert not instructions.is_known(vcpu, sysreg_id(TIMER_CNT))
    assert put(vcpu, sysreg_id(TIMER_CNT), 5) == "ok"
    assert instructions.is_known(vcpu, sysreg_id(TIMER_CNT))


def test_ctr_is_the_processors_where_it_does_not_trap() -> None:
    vcpu = vcpu_of(sanitised={MMFR2: of.MMFR2_EVT.put(0, 1)})
    vcpu.host.bare_ctr = 9
    assert instructions.mrs(vcpu, CTR).value == 9


def test_zcr_keeps_four_bits() -> None:
    vcpu = vcpu_of()
    assert answer(instructions.msr(vcpu, ZCR, 0x1FF)) == "ok"
    assert instructions.mrs(vcpu, ZCR).value == 0xF
    # The proposal lets user space see it without SVE; the guest has none.
    proposed = vcpu_of(PSCI_0_2, abi="proposal")
    assert answer(instructions.mrs(proposed, ZCR)) == answer(instructions.msr(proposed, ZCR, 0)) == "UNDEF"


@pytest.mark.parametrize(
    ("vq", "zcr", "length"),
    [(4, 0, 16), (4, 1, 32), (4, 2, 32), (4, 3, 64), (4, 15, 64), (2, 15, 32), (1, 15, 16), (4, 0x1F3, 64)],
)
def test_the_length_in_force(vq: int, zcr: int, length: int) -> None:
    vcpu = vcpu_of()
    vcpu.vq = vq
    assert put(vcpu, sysreg_id(ZCR), zcr) == "ok"
    assert instructions.vector_length_bytes(vcpu) == length
    outcome = instructions.sve(vcpu)
    assert (answer(outcome), outcome.value) == ("ok", length)
    assert sve.VQ_BYTES == 16
    vcpu.vm.protected = True
    assert answer(instructions.sve(vcpu)) == "UNDEF"
    vcpu.host.sve_vqs = 0
    assert instructions.vector_length_bytes(vcpu) == 16


# SVE


@pytest.mark.parametrize(
    ("pattern", "counts"),
    [
        # Of 1, 5, 8 and 16 elements.
        ("all", (1, 5, 8, 16)),
        ("pow2", (1, 4, 8, 16)),
        ("mul3", (0, 3, 6, 15)),
        ("mul4", (0, 4, 8, 16)),
        ("vl1", (1, 1, 1, 1)),
        ("vl5", (0, 5, 5, 5)),
        ("vl6", (0, 0, 6, 6)),
        ("vl16", (0, 0, 0, 16)),
        ("vl256", (0, 0, 0, 0)),
    ],
)
def test_patterns(pattern: str, counts: tuple[int, ...]) -> None:
    assert tuple(vectors.pattern_count(pattern, elements) for elements in (1, 5, 8, 16)) == counts


@pytest.mark.parametrize("pattern", ["vl", "vlx", "none", "xxvl4", "", "vl0", "vl9", "vl17", "vl01", "vl²"])
def test_no_pattern(pattern: str) -> None:
    """An assembler knows VL1 to VL8, and powers of two from there on (DecodePredCount)."""
    with pytest.raises(
        ValueError, match=r"there are all, pow2, mul3, mul4, vl1, .*, vl8, vl16, vl32, vl64, vl128, vl256$"
    ):
        vectors.pattern_count(pattern, 8)


def bits(vcpu: Vcpu, name: str) -> int:
    return int.from_bytes(vcpu.sve[name], "little")


def short(zcr: int = 1) -> Vcpu:
    """32 bytes in force."""
    vcpu = vcpu_of()
    assert put(vcpu, sysreg_id(ZCR), zcr) == "ok"
    return vcpu


@pytest.mark.parametrize(
    ("element", "start", "step", "first", "last"),
    [
        ("b", 250, 3, b"\xfa\xfd\0\3", 31),
        ("h", 1, 0x100, b"\1\0\1\1\1\2", 15),
        ("s", 5, 0, b"\5\0\0\0\5", 7),
        ("d", 0, 1, b"\0" * 8 + b"\1", 3),
    ],
)
def test_index(element: str, start: int, step: int, first: bytes, last: int) -> None:
    vcpu = short()
    outcome = vectors.index(vcpu, "z3", element, start, step)
    assert (answer(outcome), outcome.value) == ("ok", 0)
    found = vcpu.sve["z3"]
    size = vectors.ELEMENT_BYTES[element]
    assert (len(found), found[: len(first)]) == (32, first)
    assert int.from_bytes(found[-size:], "little") == start + step * last & (1 << 8 * size) - 1


@pytest.mark.parametrize(
    ("element", "pattern", "expected"),
    [
        ("b", "all", 0xFFFF_FFFF),
        ("h", "all", 0x5555_5555),
        ("s", "vl3", 0x111),
        ("d", "all", 0x0101_0101),
        ("d", "vl5", 0),
    ],
)
def test_ptrue(element: str, pattern: str, expected: int) -> None:
    vcpu = short()
    outcome = vectors.ptrue(vcpu, "p2", element, pattern)
    assert (answer(outcome), outcome.value, bits(vcpu, "p2"), len(vcpu.sve["p2"])) == ("ok", 0, expected, 4)
    assert vectors.ptrue(vcpu, "ffr", "b").accepted
    assert bits(vcpu, "ffr") == 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("first", "limit", "active", "nzcv"),
    [(0, 0, 0, 0b0110), (5, 5, 0, 0b0110), (9, 5, 0, 0b0110), (0, 1, 0x1, 0b1010), (2, 9, 0x0111_1111, 0b1010),
     (0, 8, 0x1111_1111, 0b1000), (0, 99, 0x1111_1111, 0b1000)],
)  # fmt: skip
def test_whilelo(first: int, limit: int, active: int, nzcv: int) -> None:
    vcpu = short()
    vcpu.values[PSTATE] = (0xF000_03C5).to_bytes(8, "little")
    outcome = vectors.whilelo(vcpu, "p1", "s", first, limit)
    assert (answer(outcome), outcome.value, bits(vcpu, "p1")) == ("ok", 0, active)
    assert vcpu.values[PSTATE] == (nzcv << 28 | 0x3C5).to_bytes(8, "little")
    del vcpu.values[PSTATE]
    assert vectors.whilelo(vcpu, "p1", "s", first, limit).accepted
    assert vcpu.values[PSTATE] == (nzcv << 28).to_bytes(8, "little")


def test_predicates_together() -> None:
    vcpu = short()
    vcpu.sve |= {"p0": b"\xff\xff\0\0", "p1": b"\x0f\x0f\x0f\x0f", "p2": b"\x33\x33\x33\x33\xff\xff"}
    outcome = vectors.eor(vcpu, "p3", "p0", "p1", "p2")
    assert (answer(outcome), outcome.value, bits(vcpu, "p3")) == ("ok", 0, 0x3C3C)
    # What is beyond the length in force is not there.
    assert vectors.predicate(vcpu, "p2") == 0x3333_3333
    assert vectors.predicate(vcpu, "p9") == 0
    assert (answer(vectors.wrffr(vcpu, "p2")), bits(vcpu, "ffr")) == ("ok", 0x3333_3333)
    assert vectors.wrffr(vcpu, "p2").value == 0


def test_refused_they_leave_everything() -> None:
    vcpu = vcpu_of(cpacr=FPEN)
    vcpu.sve = {"p0": b"\1"}
    asked: tuple[Outcome, ...] = (
        vectors.index(vcpu, "z0", "b", 0, 1),
        vectors.ptrue(vcpu, "p0", "b"),
        vectors.whilelo(vcpu, "p0", "b", 0, 1),
        vectors.eor(vcpu, "p0", "p0", "p0", "p0"),
        vectors.wrffr(vcpu, "p0"),
    )
    assert {answer(outcome) for outcome in asked} == {"SVE trap"}
    assert vcpu.sve == {"p0": b"\1"}
    assert of.PFR0_SVE.get(vcpu.id_value(PFR0)) == 1
