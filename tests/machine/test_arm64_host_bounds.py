"""An arm64 host from bare numbers: features, limits, mitigations, caches, and what its processes read; by kernel.

Source: Linux arch/arm64/kernel/cpufeature.c (emulate_sys_reg, read_cpuid_effective_cachetype), proton-pack.c;
arch/arm64/kvm/arm.c (system_supported_vcpu_features, kvm_target_cpu), sys_regs.c (__kvm_read_sanitised_id_reg and what
it calls), hypercalls.c (get_kernel_wa_level).
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.host import (
    EL1_32BIT,
    HAS_EL2,
    MTE,
    PMU_V3,
    POWER_OFF,
    PSCI_0_2,
    PTRAUTH,
    SVE,
)
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.hosts import BareHost
from layouts.arm64.ids import (
    AIDR,
    CCSIDR,
    CLIDR,
    CTR,
    DCZID,
    DFR0,
    DFR0_AARCH32,
    ISAR1,
    ISAR2,
    MIDR,
    MMFR1,
    PFR0,
    PFR1,
    PFR1_AARCH32,
    PMCR,
    REVIDR,
    WORKAROUND_1,
    WORKAROUND_2,
    WORKAROUND_3,
)
from layouts.arm64.kernels import kernels
from layouts.arm64.mitigations import MELTDOWN_SAFE, SPECTRE_BHB_LOOP, SPECTRE_V4_SAFE
from layouts.vocabulary import Bits
from tests.machine.arm64_bounds import U64, bare_cpu, bare_host, midr

_MADE = PSCI_0_2 | POWER_OFF


# What vCPUs may have


@pytest.mark.parametrize(
    ("registers", "vls", "features"),
    [
        ({PFR0: 0x11}, (), 0),
        ({PFR0: 0x21}, (), EL1_32BIT),
        ({PFR0: 0x31}, (), 0),
        ({DFR0: of.DFR0_PMUVER.put(0, 1)}, (), PMU_V3),
        ({DFR0: of.DFR0_PMUVER.put(0, 0xF)}, (), 0),
        ({PFR0: 1 << 32}, (16,), SVE),
        ({PFR0: 1 << 32}, (), 0),
        ({PFR0: 0}, (16,), 0),
        *(({ISAR1: address.put(generic.put(0, 1), 1)}, (), PTRAUTH)
          for address, generic in ((of.ISAR1_APA, of.ISAR1_GPA), (of.ISAR1_API, of.ISAR1_GPI))),
        ({ISAR2: of.ISAR2_APA3.put(of.ISAR2_GPA3.put(0, 1), 1)}, (), PTRAUTH),
        *(({ISAR1: bits.put(0, 1)}, (), 0) for bits in (of.ISAR1_APA, of.ISAR1_API, of.ISAR1_GPA, of.ISAR1_GPI)),
        ({ISAR2: of.ISAR2_APA3.put(0, 1)}, (), 0),
        ({ISAR2: of.ISAR2_GPA3.put(0, 1)}, (), 0),
    ],
)  # fmt: skip
def test_features_of_a_host(registers: Mapping[int, int], vls: tuple[int, ...], features: int) -> None:
    made = bare_host(registers, vls=vls)
    assert made.features == _MADE | features
    assert made.sve_vqs == (1 if features & SVE else 0)
    assert bare_host(registers, vls=vls, nested=True).features == _MADE | features | HAS_EL2


def test_vector_lengths_are_those_of_all_cpus() -> None:
    sve = {PFR0: 1 << 32 | 0x12}
    made = from_bare(kernels()["7.2"], [bare_cpu(sve, (16, 32, 64, 256)), bare_cpu(sve, (16, 64, 128, 256))])
    assert made.sve_vqs == 1 | 1 << 3 | 1 << 15
    assert made.name == "cpu + cpu"


def test_what_the_first_cpu_alone_says() -> None:
    one = bare_cpu({MIDR: 1, REVIDR: 2, AIDR: 3, CTR: 0x444, DCZID: 4, PMCR: 0x2800})
    other = bare_cpu({MIDR: 9, REVIDR: 9, AIDR: 9, CTR: 0x333, DCZID: 9, PMCR: 0x1000})
    made = from_bare(kernels()["7.2"], [one, other])
    assert [made.limits[each] for each in (MIDR, REVIDR, AIDR)] == [1, 2, 3]
    assert (made.bare_ctr, made.bare_dczid, made.pmcr) == (0x444, 4, 0x2800)
    none = bare_host({})
    assert [none.limits[each] for each in (MIDR, REVIDR, AIDR)] == [0, 0, 0]
    assert (none.bare_ctr, none.bare_dczid, none.pmcr) == (0, None, 6 << 11)


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "7.2"])
def test_a_cpu_of_which_nothing_is_known(kernel: str) -> None:
    """A register that was not read is 0; where nothing needs cleaning CTR_EL0.IDC is 1."""
    made = from_bare(kernels()[kernel], [BareHost("cpu", {}, ())])
    assert {one: value for one, value in made.sanitised.items() if value} == {CTR: of.CTR_IDC.mask}
    assert (made.kernel, made.features, made.gic) == (kernels()[kernel], _MADE, 3)
    workarounds = {WORKAROUND_1, WORKAROUND_2, WORKAROUND_3}
    assert made.registers == dict.fromkeys(workarounds, bytes(8)), "no caches"


@pytest.mark.parametrize("kernel", ["5.10", "6.6", "7.2"])
def test_registers_that_guests_do_not_see(kernel: str) -> None:
    profile = kernels()[kernel]
    made = bare_host(dict.fromkeys(profile.fields, U64), kernel)
    kinds = {one: profile.registers[one].kind if one in profile.registers else "hidden" for one in profile.fields}
    kind = "sanitised" if kernel == "5.10" else "writable"
    assert kind in {kinds[one] for one, value in made.limits.items() if one in kinds and value}
    assert not any(made.limits[one] for one, kind in kinds.items() if kind in ("hidden", "unallocated"))
    assert bool(made.limits[DFR0] & 0xF << 32) is (kernel == "5.10"), "PMSVer"
    debug = Bits("CopDbg", 0, 4).get(made.limits[DFR0_AARCH32])
    assert debug == {"5.10": 15, "6.6": 15, "7.2": 10}[kernel]


# What guests see


@pytest.mark.parametrize(("gic", "kernel", "shown"), [(3, "7.2", 1), (2, "7.2", 0), (4, "7.2", 1), (3, "5.10", 3)])
def test_the_gic_field(gic: int, kernel: str, shown: int) -> None:
    registers = {PFR0: of.PFR0_GIC.put(0x12, 3), PFR1_AARCH32: of.PFR1_AARCH32_GIC.put(0, 1)}
    made = bare_host(registers, kernel, gic=gic)
    assert of.PFR0_GIC.get(made.limits[PFR0]) == shown
    assert of.PFR0_GIC.get(made.sanitised[PFR0]) == (3 if gic >= 3 else 0)
    assert of.PFR1_AARCH32_GIC.get(made.sanitised[PFR1_AARCH32]) == (1 if gic >= 3 else 0)
    assert made.gic == gic


@pytest.mark.parametrize(
    ("mte", "kernel", "has"), [(1, "7.2", False), (2, "7.2", True), (3, "7.2", True), (3, "5.10", False)]
)
def test_a_host_with_mte(mte: int, kernel: str, has: bool) -> None:
    registers = {PFR1: of.PFR1_MTE.put(0, mte)}
    made = bare_host(registers, kernel)
    assert bool(made.with_mte) is has
    assert of.PFR1_MTE.get(made.limits[PFR1]) == 0
    asked = from_bare(kernels()[kernel], [bare_cpu(registers)], mte=True)
    assert of.PFR1_MTE.get(asked.limits[PFR1]) == (mte if has else 0)
    if has:
        assert of.PFR1_MTE.get(made.with_mte[PFR1]) == mte
        assert made.with_mte[CLIDR] == asked.limits[CLIDR] == made.limits[CLIDR] | 2 << 35
        assert of.PFR1_MTE.get(made.limit(PFR1, PSCI_0_2 | MTE)) == mte
        assert of.PFR1_MTE.get(made.limit(PFR1, PSCI_0_2)) == 0


@pytest.mark.parametrize(
    ("kernel", "pmu", "perfmon", "debug", "expected"),
    [
        # PMUVer, PerfMon, DebugVer as guests see them.
        ("5.10", 6, 6, 9, (4, 4, 9)),
        ("6.1", 6, 6, 9, (5, 5, 6)),
        ("6.1", 1, 4, 9, (1, 4, 6)),
        ("6.6", 7, 5, 9, (6, 6, 6)),
        ("6.6", 1, 5, 5, (1, 3, 5)),
        ("6.6", 4, 5, 6, (4, 4, 6)),
        ("7.2", 0xF, 0xF, 11, (0, 0, 10)),
        ("7.2", 0, 3, 10, (0, 0, 10)),
        ("6.1", 0xF, 0xF, 6, (0, 0, 6)),
        ("6.1", 6, 0xF, 6, (5, 0, 6)),
    ],
)
def test_versions_of_pmu_and_debug(kernel: str, pmu: int, perfmon: int, debug: int, expected: tuple[int, ...]) -> None:
    dfr0 = of.DFR0_PMUVER.put(debug, pmu)
    made = bare_host({DFR0: dfr0, DFR0_AARCH32: of.DFR0_AARCH32_PERFMON.put(0, perfmon)}, kernel)
    limits = made.limits
    found = of.DFR0_PMUVER.get(limits[DFR0]), of.DFR0_AARCH32_PERFMON.get(limits[DFR0_AARCH32])
    assert (*found, of.DFR0_DEBUGVER.get(limits[DFR0])) == expected


@pytest.mark.parametrize(("kernel", "ras", "frac"), [("7.2", 1, 1), ("7.2", 2, 0), ("7.2", 0, 0), ("6.16", 2, 1)])
def test_ras_frac_goes_with_ras(kernel: str, ras: int, frac: int) -> None:
    made = bare_host({PFR0: of.PFR0_RAS.put(0x12, ras), PFR1: of.PFR1_RAS_FRAC.put(0, 1)}, kernel)
    assert of.PFR1_RAS_FRAC.get(made.limits[PFR1]) == frac


@pytest.mark.parametrize(("kernel", "csv2", "csv3"), [("5.10", 2, 2), ("6.1", 1, 1), ("6.6", 1, 1), ("7.2", 1, 1)])
def test_csv_of_cpus_that_are_not_affected(kernel: str, csv2: int, csv3: int) -> None:
    """csv_X of access_nested_id_reg: 1 where nothing needs a mitigation, 0 (before 6.5) where something does."""
    part = next(iter(MELTDOWN_SAFE & {(0x41, 0xD03)}))
    safe = bare_host({MIDR: midr(part)}, kernel)
    hidden = kernel == "5.10"
    found = of.PFR0_CSV2.get(safe.limits[PFR0]), of.PFR0_CSV3.get(safe.limits[PFR0])
    assert found == ((1, 0) if hidden else (csv2, csv3))
    shown = bare_host({MIDR: NOBODY, PFR0: of.PFR0_CSV3.put(0x12, 1)}, kernel)
    assert of.PFR0_CSV3.get(shown.limits[PFR0]) == 1
    affected = bare_host({MIDR: midr((0x41, 0xD08))}, kernel)
    assert (of.PFR0_CSV2.get(affected.limits[PFR0]), of.PFR0_CSV3.get(affected.limits[PFR0])) == (
        0,
        0 if hidden else 1,
    )


def levels(registers: Mapping[int, int], *others: Mapping[int, int]) -> tuple[int, ...]:
    made = from_bare(kernels()["7.2"], [bare_cpu(each) for each in (registers, *others)])
    assert all(len(data) == 8 for data in made.registers.values())
    found = (made.registers[one] for one in (WORKAROUND_1, WORKAROUND_2, WORKAROUND_3))
    return tuple(int.from_bytes(data, "little") for data in found)


A53, N1, NOBODY = midr((0x41, 0xD03)), midr((0x41, 0xD0C)), midr((0x7E, 1))
CSV2_1, CSV2_2, CSV2_3 = (of.PFR0_CSV2.put(0x12, number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("registers", "expected"),
    [
        ({MIDR: NOBODY}, (0, 0, 0)),
        ({MIDR: A53}, (2, 3, 2)),
        # A loop helps where the CPU is not affected by Spectre v2; ECBHB and CLRBHB too.
        ({MIDR: N1}, (0, 0, 0)),
        ({MIDR: N1, PFR0: CSV2_1}, (2, 0, 1)),
        ({MIDR: NOBODY, PFR0: CSV2_1}, (2, 0, 0)),
        ({MIDR: NOBODY, PFR0: CSV2_2, MMFR1: of.MMFR1_ECBHB.put(0, 1)}, (2, 0, 1)),
        ({MIDR: NOBODY, PFR0: CSV2_2, ISAR2: of.ISAR2_CLRBHB.put(0, 1)}, (2, 0, 1)),
        ({MIDR: NOBODY, MMFR1: of.MMFR1_ECBHB.put(0, 1)}, (0, 0, 0)),
        ({MIDR: NOBODY, PFR0: CSV2_3}, (2, 0, 2)),
        ({MIDR: N1, PFR0: CSV2_3}, (2, 0, 2)),
    ],
)
def test_mitigations_of_a_cpu(registers: Mapping[int, int], expected: tuple[int, ...]) -> None:
    assert levels(registers) == expected
    # The worst of all CPUs counts, wherever it stands.
    best = {MIDR: A53, PFR0: CSV2_3}
    assert levels(best, registers) == levels(registers, best) == expected
    assert ((0x41, 0xD0C) in SPECTRE_BHB_LOOP, (0x41, 0xD03) in SPECTRE_V4_SAFE) == (True, True)


# Caches


def test_idc_where_nothing_needs_cleaning() -> None:
    """read_cpuid_effective_cachetype of each CPU, then the safe value of all."""
    needs, none = {CTR: 0, CLIDR: 1 << 24 | 1 << 27}, {CTR: 0, CLIDR: 0}
    for cpus, idc in (([needs], 0), ([none], 1), ([none, needs], 0), ([none, none], 1)):
        made = from_bare(kernels()["7.2"], [bare_cpu(each) for each in cpus])
        assert of.CTR_IDC.get(made.sanitised[CTR]) == idc
    assert of.CTR_IDC.get(bare_host({CTR: of.CTR_IDC.put(0, 1), CLIDR: needs[CLIDR]}).sanitised[CTR]) == 1


def test_the_hardwares_caches_until_6_1() -> None:
    registers = {CLIDR: 0x3 | 0x4 << 3 | 1 << 24}
    ccsidr = {0: 0x1_0000_0011, 1: 0x22, 2: 0x33, 4: 0x44}
    old, new = (from_bare(kernels()[kernel], [bare_cpu(registers, (), ccsidr)]) for kernel in ("6.1", "6.6"))
    shown = {one: data for one, data in old.registers.items() if ids.RegisterId(one).coprocessor == ids.DEMUX}
    assert shown == {CCSIDR | at: number.to_bytes(4, "little") for at, number in ((0, 0x11), (1, 0x22), (2, 0x33))}
    assert not [one for one in new.registers if ids.RegisterId(one).coprocessor == ids.DEMUX]
    assert old.limits[CLIDR] == registers[CLIDR]
    assert new.limits[CLIDR] != registers[CLIDR]
    missing = from_bare(kernels()["6.1"], [bare_cpu({CLIDR: 2})])
    assert missing.registers[CCSIDR] == bytes(4)
    assert from_bare(kernels()["6.1"], [bare_cpu({})]).limits[CLIDR] == 0
