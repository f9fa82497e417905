"""KVM_SET_ONE_REG of one ID register on a host of bare numbers: each check, its bounds, its errno, what stays.

Source: Linux arch/arm64/kvm/sys_regs.c (set_id_reg, arm64_check_features, the other ``set_id_*``, set_ctr_el0,
set_imp_id_reg, set_clidr).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import id_limits, idregs
from inspector.machine.arm64.host import HAS_EL2, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.idregs import IdWrite
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import (
    CLIDR,
    CTR,
    DFR0,
    DFR0_AARCH32,
    ISAR0,
    ISAR1,
    MIDR,
    MMFR0,
    PFR0,
    PFR1_AARCH32,
    ZFR0,
)
from layouts.arm64.kernels import kernels
from layouts.vocabulary import Bits
from tests.machine.arm64_bounds import ask, place

NESTED = PSCI_0_2 | HAS_EL2
#: EL0 with AArch32, EL1 without: what has_aarch32 looks at.
BOTH, ALONE = 0x12, 0x11


def host(
    limits: Mapping[int, int],
    kernel: str = "7.2",
    *,
    sanitised: Mapping[int, int] | None = None,
    of_core: Mapping[int, int] | None = None,
    levels: int = BOTH,
) -> Host:
    """A host with these registers, and ID_AA64PFR0_EL1 of two levels."""
    return Host(kernels()[kernel], {PFR0: levels, **limits}, sanitised=sanitised, of_core=of_core)


MIDR_IS = 0x410F_D0C1


@pytest.mark.parametrize(
    ("value", "ran", "imp", "answer"),
    [
        (MIDR_IS, True, False, "ok"),
        (MIDR_IS ^ 1, False, False, "EINVAL"),
        # The capability is looked at before the run, the run before the mask.
        (MIDR_IS ^ 1, True, False, "EINVAL"),
        (MIDR_IS ^ 1, True, True, "EBUSY"),
        (1 << 32, True, True, "EBUSY"),
        (1 << 32, False, True, "EINVAL"),
        (0xFFFF_FFFF, False, True, "ok"),
        (0, False, True, "ok"),
    ],
)
def test_implementation_registers(value: int, ran: bool, imp: bool, answer: str) -> None:
    kept = value if answer == "ok" else MIDR_IS
    assert ask(host({MIDR: MIDR_IS}), MIDR, value, ran=ran, imp=imp) == (answer, kept)


@pytest.mark.parametrize("ran", [False, True])
def test_before_6_16_they_take_their_value_alone(ran: bool) -> None:
    on = host({MIDR: MIDR_IS}, "6.12")
    assert ask(on, MIDR, MIDR_IS, ran=ran, imp=True) == ("ok", MIDR_IS)
    assert ask(on, MIDR, MIDR_IS ^ 1, ran=ran, imp=True) == ("EINVAL", MIDR_IS)


LOUIS, LOC, LOUU = (bits.put(0, 1) for bits in (of.CLIDR_LOUIS, of.CLIDR_LOC, of.CLIDR_LOUU))


@pytest.mark.parametrize(
    ("idc", "value", "answer"),
    [
        (1, 0, "ok"),
        (0, 0, "EINVAL"),
        (0, LOUIS | LOUU, "EINVAL"),
        (0, LOC, "EINVAL"),
        (0, LOC | LOUIS, "ok"),
        (0, LOC | LOUU, "ok"),
        (1, 1 << 47, "EINVAL"),
        (1, 1 << 46, "ok"),
        (1, 1 << 63, "EINVAL"),
    ],
)
def test_clidr_hangs_on_the_sanitised_ctr(idc: int, value: int, answer: str) -> None:
    ctr = of.CTR_IDC.put(0, idc)
    for on in (host({CTR: ctr}), host({CTR: of.CTR_IDC.put(0, 1 - idc)}, sanitised={CTR: ctr})):
        assert ask(on, CLIDR, value) == (answer, value if answer == "ok" else 0)
    # Of a host that nobody knows, as if IDC were 0.
    assert idc or ask(host({}), CLIDR, value)[0] == answer


CSV = of.PFR0_CSV2.put(of.PFR0_CSV3.put(0x12, 1), 1)


@pytest.mark.parametrize(
    ("kernel", "value", "answer"),
    [
        ("5.10", CSV, "ok"),
        ("5.10", of.PFR0_CSV2.put(CSV, 0), "ok"),
        ("5.10", of.PFR0_CSV2.put(CSV, 2), "EINVAL"),
        ("5.10", of.PFR0_CSV3.put(CSV, 0), "EINVAL"),
        ("5.10", CSV ^ 1, "EINVAL"),
        ("6.1", of.PFR0_CSV3.put(CSV, 0), "ok"),
        ("6.1", of.PFR0_CSV3.put(CSV, 2), "EINVAL"),
        ("6.1", of.PFR0_CSV3.put(of.PFR0_CSV2.put(CSV, 0), 0), "ok"),
        ("6.1", of.PFR0_CSV2.put(CSV, 2), "EINVAL"),
        ("6.1", of.PFR0_CSV2.put(CSV, 0) ^ 1 << 63, "EINVAL"),
        ("6.1", CSV ^ 1, "EINVAL"),
    ],
)
def test_until_6_1_two_fields_may_be_lowered(kernel: str, value: int, answer: str) -> None:
    assert ask(host({}, kernel, levels=CSV), PFR0, value) == (answer, value if answer == "ok" else CSV)
    # What was lowered may be raised again.
    lowered = of.PFR0_CSV2.put(CSV, 0)
    raised = idregs.write(IdWrite(host({}, kernel, levels=CSV), PFR0, CSV, PSCI_0_2, lowered))
    assert (raised.outcome.name, raised.value) == ("ok", CSV)


@pytest.mark.parametrize("kernel", ["5.10", "6.1"])
def test_until_6_1_all_else_is_as_it_is(kernel: str) -> None:
    on = host({ISAR0: 0x10, DFR0: of.PFR0_CSV2.put(0, 1)}, kernel)
    assert ask(on, ISAR0, 0x10) == ("ok", 0x10)
    assert ask(on, ISAR0, 0) == ("EINVAL", 0x10)
    assert ask(on, DFR0, 0) == ("EINVAL", on.limit(DFR0, PSCI_0_2))


def test_without_aarch32_its_registers_take_anything() -> None:
    alone, both = (host({PFR1_AARCH32: 0x1000_0000}, levels=levels) for levels in (ALONE, BOTH))
    for ran in (False, True):
        assert ask(alone, PFR1_AARCH32, 0x1234, ran=ran)[0] == "ok"
    written = idregs.write(IdWrite(alone, PFR1_AARCH32, 0x1234, PSCI_0_2, 0))
    assert (written.outcome.name, written.value) == ("ok", 0)
    assert ask(both, PFR1_AARCH32, 0x1234) == ("EINVAL", 0x1000_0000)
    # Linux 5.10 does not look.
    assert ask(host({PFR1_AARCH32: 1}, "5.10", levels=ALONE), PFR1_AARCH32, 0) == ("EINVAL", 1)
    # A hidden one is as any hidden one; an AArch64 one is not looked at.
    hidden = next(
        each.encoding for each in kernels()["7.2"].registers.values() if each.kind == "hidden" and each.aarch32
    )
    assert ask(alone, hidden, 1)[0] == "EINVAL"
    assert ask(alone, ISAR1, 1)[0] == "EINVAL"


def test_after_a_run_the_current_value_alone() -> None:
    on = host({ISAR1: 0x22})
    for value, answer in ((0x11, "ok"), (0x22, "EBUSY"), (0x33, "EBUSY")):
        written = idregs.write(IdWrite(on, ISAR1, value, PSCI_0_2, 0x11, True))
        assert (written.outcome.name, written.value) == (answer, 0x11)
    assert ask(host({}), ZFR0, 1, ran=True) == ("EBUSY", 0)


def test_a_register_that_reads_as_zero() -> None:
    on = host({ZFR0: 0x11})
    assert ask(on, ZFR0, 0) == ("ok", 0)
    assert ask(on, ZFR0, 0x11) == ("EINVAL", 0)
    assert ask(on, ZFR0, 0x11, features=SVE) == ("ok", 0x11)


def test_fields_under_the_limit_and_bits_that_are_none() -> None:
    """ID_AA64ISAR1_EL1: DPB 3:0 and XS 59:56 are writable, APA 7:4 and API 11:8 are not."""
    on = host({ISAR1: 0x0100_0000_0000_0002 | 1 << 8})
    limit = on.limit(ISAR1, PTRAUTH)
    for bits, answer in (
        (0, "ok"),
        (1, "ok"),
        (2, "ok"),
        (3, "EINVAL"),
        (1 << 4 | 2, "EINVAL"),
        (1 << 56, "ok"),
        (1 << 57, "EINVAL"),
        (1 << 57 | 3, "EINVAL"),
        (1 << 60, "EINVAL"),
    ):
        value = bits | 1 << 8
        assert ask(on, ISAR1, value, features=PTRAUTH) == (answer, value if answer == "ok" else limit), hex(bits)
    assert ask(on, ISAR1, 0, features=PTRAUTH)[0] == "EINVAL", "API is not writable"


def test_the_first_unsafe_field_is_the_highest() -> None:
    """arm64_check_features goes through a table that has the most significant field first."""
    on = host({ISAR1: 0})

    def unsafe(value: int, limit: int) -> str | None:
        found = id_limits.unsafe_field(on, ISAR1, value, limit)
        return None if found is None else found.name

    assert unsafe(1 << 56 | 1, 0) == "XS"
    assert unsafe(1, 0) == "DPB"
    assert unsafe(0, 1 << 56 | 1) is None
    # A safe difference above it, an unsafe one next to it, and bits of no writable field.
    assert unsafe(1, 1 << 56 | 1 << 44) == "DPB"
    assert unsafe(1 << 4, 0) is None
    assert unsafe(1 << 44 | 1 << 36, 0) == "BF16"
    assert id_limits.checked_mask(on, ISAR1) == kernels()["7.2"].registers[ISAR1].mask
    assert id_limits.checked_mask(host({}), MIDR) == 0


def test_a_field_is_writable_where_all_of_its_bits_are() -> None:
    on = Host(kernels()["7.2"], {PFR0: BOTH}, masks={ISAR1: 0x0F00_0000_0000_0007})
    assert [field.name for field in id_limits.writable_fields(on, ISAR1)] == ["XS"]
    assert id_limits.writable_fields(on, 0xC03F) == ()


@pytest.mark.parametrize(
    ("encoding", "name", "policy"),
    [
        (DFR0, "PMUVer", "lower"),
        (DFR0, "DebugVer", "lower"),
        (DFR0_AARCH32, "PerfMon", "lower"),
        (DFR0_AARCH32, "CopDbg", "lower"),
        (CTR, "L1Ip", "exact"),
        (CTR, "DIC", "lower"),
    ],
)
def test_kvm_has_its_own_safe_values_of_versions(encoding: int, name: str, policy: str) -> None:
    found = {field.name: field for field in id_limits.writable_fields(host({}), encoding)}
    assert found[name].policy == policy


@pytest.mark.parametrize(
    ("encoding", "bits", "words"),
    [
        (ISAR1, Bits("DPB", 0, 4), "writable, safe is the host's or lower"),
        (ISAR1, Bits("APA", 4, 4), "not writable"),
        (MMFR0, of.MMFR0_TGRAN4, "writable, safe is the host's or lower, signed"),
        (CTR, of.CTR_L1IP, "writable, safe is the host's or the kernel's own (2)"),
        (0xC03F, Bits("NONE", 0, 4), "not writable"),
    ],
)
def test_how_the_kernel_decides_in_words(encoding: int, bits: Bits, words: str) -> None:
    assert id_limits.policy_words(host({}), place(encoding, bits)) == words


# Bits that nobody saw


def test_what_a_write_hangs_on() -> None:
    """All that differs between two asked writes but the value, and of features what they make of the register."""
    on = host({ISAR1: 5})
    base = IdWrite(on, ISAR1, 1, PSCI_0_2, 2)
    assert idregs.hangs_on(base) == idregs.hangs_on(base._replace(value=9)) == (ISAR1, 5, False, 0, 2, False, False)
    for other in (
        base._replace(encoding=ZFR0),
        base._replace(features=NESTED),
        base._replace(current=3),
        base._replace(ran=True),
        base._replace(writable_imp=True),
    ):
        assert idregs.hangs_on(other) != idregs.hangs_on(base)
