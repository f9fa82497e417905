"""KVM_SET_ONE_REG of the ID registers that have a rule of their own: each field, its bounds, its errno, what stays.

Source: Linux arch/arm64/kvm/sys_regs.c (set_id_aa64pfr0_el1, set_id_aa64pfr1_el1, set_id_aa64dfr0_el1,
set_id_dfr0_el1, set_id_aa64mmfr0_el1, set_id_aa64mmfr2_el1, set_ctr_el0).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import idregs
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PSCI_0_2, Host
from layouts.arm64 import id_fields as of
from layouts.arm64.ids import (
    CTR,
    DFR0,
    DFR0_AARCH32,
    ISAR1,
    MMFR0,
    MMFR2,
    PFR0,
    PFR1,
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


@pytest.mark.parametrize(
    ("kernel", "level", "features", "answer"),
    [
        ("7.2", of.PFR0_EL0, PSCI_0_2, "EINVAL"),
        ("7.2", of.PFR0_EL1, PSCI_0_2, "EINVAL"),
        ("7.2", of.PFR0_EL2, PSCI_0_2, "ok"),
        ("7.2", of.PFR0_EL2, NESTED, "EINVAL"),
        ("6.12", of.PFR0_EL0, PSCI_0_2, "ok"),
        ("6.12", of.PFR0_EL1, PSCI_0_2, "ok"),
    ],
)
def test_an_exception_level_stays(kernel: str, level: Bits, features: int, answer: str) -> None:
    on = host({}, kernel, levels=0x1112)
    limit = on.limit(PFR0, features)
    value = level.put(limit, 0)
    assert ask(on, PFR0, value, features=features) == (answer, value if answer == "ok" else limit)
    assert ask(on, PFR0, limit, features=features) == ("ok", limit)


HIDDEN = [
    (PFR0, of.PFR0_MPAM, "6.12", "6.6", 0x11),
    (PFR1, of.PFR1_MPAM_FRAC, "6.12", "6.6", 0x11),
    (MMFR2, of.MMFR2_NV, "6.16", "6.12", 0x11),
]


@pytest.mark.parametrize(("encoding", "bits", "kernel", "before", "limit"), HIDDEN)
def test_a_field_that_is_hidden_is_taken_at_the_hosts_value(
    encoding: int, bits: Bits, kernel: str, before: str, limit: int
) -> None:
    hardware = bits.put(limit, 2)
    field = place(encoding, bits)
    for known in ("sanitised", "of_core"):
        made = {known: {encoding: hardware}}
        on, old = (host({encoding: limit}, release, **made) for release in (kernel, before))
        assert ask(on, encoding, hardware) == ("ok", limit)
        assert ask(on, encoding, bits.put(limit, 1)) == ask(on, encoding, bits.put(limit, 3)) == ("EINVAL", limit)
        assert ask(old, encoding, hardware) == ("EINVAL", limit)
        assert [idregs.takes_hidden(on, field, value) for value in (0, 1, 2, 3)] == [False, False, True, False]
        assert idregs.takes_hidden(old, field, 2) is False
        assert idregs.takes_hidden(on, place(encoding, Bits("OTHER", 0, 4)), 2) is False


@pytest.mark.parametrize(("encoding", "bits", "kernel", "before", "limit"), HIDDEN)
def test_of_a_host_that_is_not_known_it_depends(
    encoding: int, bits: Bits, kernel: str, before: str, limit: int
) -> None:
    on, old = (host({encoding: limit}, release) for release in (kernel, before))
    assert ask(on, encoding, bits.put(limit, 2)) == ("depends-on", limit)
    # A field that is lowered is not in the way.
    assert ask(on, encoding, bits.put(limit, 2) - 1) == ("depends-on", limit)
    # Another field is in the way, a bit of none is, the VM has run, nothing was asked, the kernel does not ignore it.
    assert ask(on, encoding, bits.put(limit, 2) + 1) == ("EINVAL", limit)
    assert ask(on, encoding, bits.put(limit, 2) | 1 << 22 | 1 << 23) == ("EINVAL", limit)
    assert ask(on, encoding, bits.put(limit, 2), ran=True) == ("EBUSY", limit)
    assert ask(on, encoding, limit) == ("ok", limit)
    assert ask(old, encoding, bits.put(limit, 2)) == ("EINVAL", limit)
    assert idregs.takes_hidden(on, place(encoding, bits), 2) is None
    assert idregs.takes_hidden(on, place(ISAR1, bits), 2) is False


def mte(feature: int, frac: int) -> int:
    return of.PFR1_MTE_FRAC.put(of.PFR1_MTE.put(0, feature), frac)


@pytest.mark.parametrize(
    ("kernel", "hardware", "asked", "answer"),
    [
        ("6.16", mte(2, 0xF), mte(2, 0), ("ok", mte(2, 0xF))),
        ("6.16", mte(2, 0xF), mte(2, 0xF), ("ok", mte(2, 0xF))),
        ("6.16", mte(2, 0xF), mte(2, 1), ("EINVAL", mte(2, 0xF))),
        ("6.16", mte(3, 0xF), mte(3, 0), ("EINVAL", mte(3, 0xF))),
        ("6.16", mte(1, 0xF), mte(1, 0), ("EINVAL", mte(1, 0xF))),
        ("6.16", mte(2, 1), mte(2, 0), ("ok", mte(2, 0))),
    ],
)
def test_mte_frac_of_mte2_is_restored(kernel: str, hardware: int, asked: int, answer: tuple[str, int]) -> None:
    made = Host(
        kernels()[kernel], {PFR0: BOTH, PFR1: hardware}, sanitised={PFR1: hardware}, masks={PFR1: (1 << 64) - 1}
    )
    assert ask(made, PFR1, asked) == answer
    unknown = Host(kernels()[kernel], {PFR0: BOTH, PFR1: hardware}, masks={PFR1: (1 << 64) - 1})
    assert ask(unknown, PFR1, mte(2, 0)) == (("ok", mte(2, 0)) if hardware == mte(2, 1) else ("EINVAL", hardware))


def debug(version: int, pmu: int = 6, lock: int = 0) -> int:
    return of.DFR0_DOUBLELOCK.put(of.DFR0_PMUVER.put(of.DFR0_DEBUGVER.put(0, version), pmu), lock)


@pytest.mark.parametrize(
    ("kernel", "asked", "answer"),
    [
        ("6.12", debug(8), ("ok", debug(8))),
        ("6.12", debug(6), ("ok", debug(6))),
        ("6.12", debug(5), ("EINVAL", debug(8))),
        ("6.12", debug(9), ("EINVAL", debug(8))),
        ("6.12", debug(8, 0xF), ("ok", debug(8, 0))),
        ("6.12", debug(8, 5), ("ok", debug(8, 5))),
        ("6.12", debug(8, 7), ("EINVAL", debug(8))),
        ("6.12", debug(5, 0xF), ("EINVAL", debug(8))),
        ("6.6", debug(8, 1), ("ok", debug(8, 1))),
        ("6.6", debug(7), ("EINVAL", debug(8))),
    ],
)
def test_versions_of_debug_and_pmu(kernel: str, asked: int, answer: tuple[str, int]) -> None:
    assert ask(host({DFR0: debug(8)}, kernel), DFR0, asked, features=PMU_V3) == answer


@pytest.mark.parametrize(
    ("kernel", "features", "hardware", "asked", "answer"),
    [
        ("6.18", NESTED, 0xF, 0, "ok"),
        ("6.18", NESTED, 0xF, 0xF, "ok"),
        ("6.18", NESTED, 0xF, 1, "EINVAL"),
        ("6.18", PSCI_0_2, 0xF, 0, "EINVAL"),
        ("6.18", NESTED, 0, 0, "EINVAL"),
        ("6.17", NESTED, 0xF, 0, "EINVAL"),
    ],
)
def test_doublelock_of_a_nested_guest(kernel: str, features: int, hardware: int, asked: int, answer: str) -> None:
    """The limit has none (0xf); 0 is taken as that where the hardware has none."""
    limit = debug(6, 0, 0xF)
    made = host({DFR0: limit}, kernel, sanitised={DFR0: debug(6, 0, hardware)})
    made._limit_by[DFR0, features] = limit
    assert ask(made, DFR0, debug(6, 0, asked), features=features) == (answer, limit)
    unknown = host({DFR0: limit}, kernel)
    unknown._limit_by[DFR0, features] = limit
    assert ask(unknown, DFR0, debug(6, 0, 0), features=features) == ("EINVAL", limit)


def debug32(version: int, perfmon: int) -> int:
    return of.DFR0_AARCH32_PERFMON.put(of.DFR0_AARCH32_COPDBG.put(0, version), perfmon)


@pytest.mark.parametrize(
    ("kernel", "asked", "answer"),
    [
        ("7.2", debug32(8, 6), "ok"),
        ("7.2", debug32(6, 3), "ok"),
        ("7.2", debug32(5, 3), "EINVAL"),
        ("7.2", debug32(8, 2), "EINVAL"),
        ("7.2", debug32(8, 1), "EINVAL"),
        ("7.2", debug32(8, 0), "ok"),
        ("7.2", debug32(8, 7), "EINVAL"),
        ("7.2", debug32(9, 6), "EINVAL"),
        ("6.6", debug32(8, 3), "ok"),
        ("6.6", debug32(8, 2), "EINVAL"),
    ],
)
def test_versions_in_the_aarch32_register(kernel: str, asked: int, answer: str) -> None:
    on = host({DFR0_AARCH32: debug32(8, 6)}, kernel)
    kept = asked if answer == "ok" else debug32(8, 6)
    assert ask(on, DFR0_AARCH32, asked, features=PMU_V3) == (answer, kept)
    assert ask(on, DFR0_AARCH32, debug32(8, 0xF), features=PMU_V3) == ("ok", debug32(8, 0))


GRANULES = (of.MMFR0_TGRAN4_2, of.MMFR0_TGRAN16_2, of.MMFR0_TGRAN64_2)


@pytest.mark.parametrize("bits", GRANULES)
@pytest.mark.parametrize(("kernel", "none"), [("6.17", "EINVAL"), ("6.18", "ok")])
def test_stage_2_granules_of_a_nested_guest(bits: Bits, kernel: str, none: str) -> None:
    on = host({MMFR0: 0x222 << 32 | 5}, kernel)
    limit = on.limit(MMFR0, NESTED)
    assert ask(on, MMFR0, limit, features=NESTED) == ("ok", limit)
    # The fields are exact with safe value 1: 0 and 3 are no host's, 1 is "none".
    for number, answer in ((0, "EINVAL"), (1, none), (3, "EINVAL")):
        value = bits.put(limit, number)
        assert ask(on, MMFR0, value, features=NESTED) == (answer, value if answer == "ok" else limit)
    plain = on.limit(MMFR0, PSCI_0_2)
    assert ask(on, MMFR0, bits.put(plain, 1)) == ("ok", bits.put(plain, 1))


@pytest.mark.parametrize(
    ("kernel", "asked", "answer"),
    [("6.16", 3, "ok"), ("6.16", 2, "ok"), ("6.16", 1, "EINVAL"), ("6.16", 0, "EINVAL"), ("6.12", 2, "EINVAL")],
)
def test_l1ip_is_no_reserved_one(kernel: str, asked: int, answer: str) -> None:
    limit = of.CTR_L1IP.put(0, 3)
    value = of.CTR_L1IP.put(0, asked)
    assert ask(host({CTR: limit}, kernel), CTR, value) == (answer, value if answer == "ok" else limit)
    # Not even of a CPU that has it.
    own = "ok" if kernel == "6.12" else answer
    assert ask(host({CTR: value}, kernel), CTR, value) == (own, value)
