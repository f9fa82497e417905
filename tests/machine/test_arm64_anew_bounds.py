"""A captured guest's host under another kernel: which fields of the CPU are then open, known, or the kernel's own.

Source: Linux arch/arm64/kvm/sys_regs.c of each release: __kvm_read_sanitised_id_reg and sanitise_id_* (read_id_reg
before 6.5), aa32_id_visibility, reset_clidr, get_ccsidr.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64.anew import under_another
from inspector.machine.arm64.host import PMU_V3, PSCI_0_2, PTRAUTH, Host
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.policy import U64
from layouts.arm64.chips import cores
from layouts.arm64.ids import CCSIDR, CLIDR, CTR, X0
from layouts.arm64.kernels import kernels
from layouts.arm64.properties import FieldPlace, aarch32_places, field_places

WITH_PMU = PSCI_0_2 | PMU_V3
QARMA3 = "ISAR2.APA3=5 ISAR2.GPA3=1"


def place_of(name: str) -> FieldPlace:
    """A field by its register without ID_, AA64 and _EL1; of AArch32 with ID_."""
    register, field = name.split(".")
    register = register if register.startswith("ID_") else f"ID_AA64{register}"
    return {**aarch32_places(), **field_places()}[f"{register}_EL1", field]


def fields(text: str) -> dict[int, int]:
    """Every ID register that any kernel has, with these fields and nothing else."""
    found = {register: 0 for kernel in kernels().values() for register in kernel.registers}
    for name, value in (word.split("=") for word in text.split()):
        place = place_of(name)
        found[place.encoding] = place.put(found[place.encoding], int(value))
    return found


def anew(
    shown_by: str,
    kernel: str,
    shown: Mapping[int, int],
    features: int = WITH_PMU,
    core: str = "",
    registers: Mapping[int, bytes] | None = None,
) -> Host:
    """What a guest saw under one kernel, under the other."""
    host = Host(kernels()[kernel], dict(shown), features=features, registers=dict(registers or {}))
    return under_another(host, kernels()[shown_by], cores()[core] if core else None)


def range_of(found: Host, name: str) -> tuple[int, int] | None:
    """From what to what an open field may be; None: it is known."""
    return found.open.get(place_of(name)) if isinstance(found, PartialHost) else None


@pytest.mark.parametrize(
    ("shown_by", "kernel", "shown", "field", "may_be"),
    [
        # A version that is the most that the kernel shows may be more; the other kernel has its own most.
        ("6.1", "7.2", "DFR0.PMUVer=5", "DFR0.PMUVer", (5, 6)),
        ("6.1", "7.2", "DFR0.PMUVer=4", "DFR0.PMUVer", None),
        ("6.6", "6.1", "DFR0.PMUVer=6", "DFR0.PMUVer", None),
        ("6.1", "7.2", "DFR0.DebugVer=6", "DFR0.DebugVer", (6, 10)),
        ("6.1", "7.2", "DFR0.DebugVer=5", "DFR0.DebugVer", None),
        ("6.1", "5.10", "DFR0.DebugVer=6", "DFR0.DebugVer", (6, 15)),
        ("5.10", "7.2", "DFR0.DebugVer=6", "DFR0.DebugVer", None),
        ("6.12", "6.6", "PFR0.EL0=2 ID_DFR0.CopDbg=10", "ID_DFR0.CopDbg", (10, 15)),
        ("6.12", "6.6", "PFR0.EL0=2 ID_DFR0.CopDbg=9", "ID_DFR0.CopDbg", None),
        # The same number in another field is no version.
        ("6.1", "7.2", "DFR0.BRPs=6", "DFR0.BRPs", None),
        ("6.1", "7.2", "MMFR0.PARANGE=6", "MMFR0.PARANGE", None),
        ("6.12", "6.6", "PFR0.EL0=2 ID_DFR0.CopDbg=10 ID_DFR0.MMapDbg=10", "ID_DFR0.MMapDbg", None),
        # PerfMon is PMUVer's since 6.6; before, the hardware's.
        ("7.2", "6.1", "PFR0.EL0=2 ID_DFR0.PerfMon=4", "ID_DFR0.PerfMon", (0, 5)),
        ("6.1", "5.10", "PFR0.EL0=2 ID_DFR0.PerfMon=4", "ID_DFR0.PerfMon", None),
        # AArch32 registers are RAZ since 5.11 where EL0 has no AArch32, and the hardware's before.
        ("7.2", "5.10", "PFR0.EL0=1", "ID_ISAR0.Swap", (0, 15)),
        ("7.2", "5.10", "PFR0.EL0=2", "ID_ISAR0.Swap", None),
        ("5.10", "7.2", "PFR0.EL0=1", "ID_ISAR0.Swap", None),
        # The GIC is the VM's since 5.11; a host without GICv3 system registers has none in the field.
        ("7.2", "5.10", "PFR0.GIC=1", "PFR0.GIC", (0, 15)),
        ("7.2", "5.10", "PFR0.GIC=0", "PFR0.GIC", None),
        ("5.10", "7.2", "PFR0.GIC=3", "PFR0.GIC", None),
        # RAS_frac is hidden since 6.17 where RAS is not 1 (sanitise_id_aa64pfr1_el1).
        ("6.17", "6.16", "PFR0.RAS=2", "PFR1.RAS_frac", (0, 15)),
        ("6.17", "6.16", "PFR0.RAS=0", "PFR1.RAS_frac", (0, 15)),
        ("6.17", "6.16", "PFR0.RAS=1 PFR1.RAS_frac=1", "PFR1.RAS_frac", None),
        ("6.17", "6.16", "PFR0.RAS=2", "PFR1.BT", None),
        ("6.17", "6.16", "PFR0.RAS=2", "PFR1.MPAM_frac", None),
        ("6.16", "6.17", "PFR0.RAS=2 PFR1.RAS_frac=1", "PFR1.RAS_frac", None),
        # MTE_frac came with 6.16, for VMs with MTE alone.
        ("6.12", "6.16", "PFR1.MTE=2", "PFR1.MTE_frac", (0, 15)),
        ("6.12", "6.16", "PFR1.MTE=1", "PFR1.MTE_frac", None),
        # A register that KVM did not know, and fields that it hid.
        ("6.12", "6.16", "", "ISAR3.FPRCVT", (0, 15)),
        ("6.12", "6.16", "", "ISAR3.FAMINMAX", (0, 15)),
        ("6.16", "7.2", "", "ISAR3.FPRCVT", None),
        ("6.6", "6.12", "", "ISAR2.BC", None),
        ("6.6", "6.12", "", "ISAR2.MOPS", (0, 15)),
    ],
)  # fmt: skip
def test_what_a_guest_did_not_see_is_open(
    shown_by: str, kernel: str, shown: str, field: str, may_be: tuple[int, int] | None
) -> None:
    assert range_of(anew(shown_by, kernel, fields(shown)), field) == may_be


@pytest.mark.parametrize(
    ("shown_by", "kernel", "may_be"), [("6.1", "7.2", (0, 6)), ("5.10", "7.2", None), ("7.2", "5.10", (0, 14))]
)
def test_the_version_of_a_pmu_that_the_guest_has_not(
    shown_by: str, kernel: str, may_be: tuple[int, int] | None
) -> None:
    """Hidden since 5.11 from vCPUs without PMU_V3; not more than 14 where KVM does not limit it for them."""
    found = anew(shown_by, kernel, fields("PFR0.EL0=2 PFR0.GIC=1"), PSCI_0_2)
    most = kernels()[kernel].pmuver_most
    assert range_of(found, "DFR0.PMUVer") == (may_be and (0, min(may_be[1], most)))
    assert range_of(found, "PFR0.GIC") == ((0, 15) if kernel == "5.10" else None)
    assert isinstance(found, PartialHost)
    assert found.open_features & PMU_V3 == (PMU_V3 if may_be else 0)


def test_a_register_that_was_not_captured_is_open() -> None:
    shown = fields("")
    del shown[place_of("ISAR0.AES").encoding]
    assert range_of(anew("6.16", "7.2", shown), "ISAR0.AES") == (0, 15)


@pytest.mark.parametrize(
    ("shown_by", "kernel", "shown", "core", "field", "value"),
    [
        # What the core has is known, if it is no less than what the guest saw.
        ("6.1", "7.2", "DFR0.PMUVer=5", "neoverse-n2", "DFR0.PMUVer", 6),
        ("6.1", "7.2", "DFR0.PMUVer=5", "neoverse-v1", "DFR0.PMUVer", 5),
        ("6.1", "7.2", "DFR0.PMUVer=5", "neoverse-n1", "DFR0.PMUVer", None),
        # What each kernel makes up is the other's, whatever the CPU has.
        ("5.10", "7.2", "PFR0.GIC=3", "", "PFR0.GIC", 1),
        ("5.10", "7.2", "PFR0.GIC=0", "", "PFR0.GIC", 0),
        ("6.16", "6.17", "PFR0.RAS=2 PFR1.RAS_frac=1", "", "PFR1.RAS_frac", 0),
        ("7.2", "6.1", "DFR0.PMUVer=6", "neoverse-n2", "DFR0.PMUVer", 5),
    ],
)
def test_what_the_other_kernel_shows(
    shown_by: str, kernel: str, shown: str, core: str, field: str, value: int | None
) -> None:
    found = anew(shown_by, kernel, fields(shown), core=core)
    place = place_of(field)
    if value is None:
        assert isinstance(found, PartialHost)
        assert (found.core, range_of(found, field)) == (core, (5, 6))
    else:
        assert range_of(found, field) is None
        assert place.get(found.limits[place.encoding]) == value


@pytest.mark.parametrize(
    ("shown_by", "kernel", "shown", "features", "core", "has", "may_have"),
    [
        # QARMA3 (ID_AA64ISAR2_EL1) is pointer authentication to 6.1 and newer.
        ("7.2", "5.10", QARMA3, PTRAUTH, "", 0, 0),
        ("7.2", "6.1", QARMA3, PTRAUTH, "", PTRAUTH, 0),
        ("5.10", "6.1", "", 0, "", 0, PTRAUTH),
        ("5.10", "6.1", "ISAR1.APA=1 ISAR1.GPA=1", PTRAUTH, "", PTRAUTH, 0),
        ("5.10", "6.1", "", 0, "max,pauth-qarma3=on", PTRAUTH, 0),
        ("5.10", "6.1", "", 0, "neoverse-n1", 0, 0),
    ],
)
def test_features_that_another_kernel_gives_and_takes(
    shown_by: str, kernel: str, shown: str, features: int, core: str, has: int, may_have: int
) -> None:
    found = anew(shown_by, kernel, fields(shown), WITH_PMU | features, core)
    assert found.features == WITH_PMU | has
    assert (found.open_features if isinstance(found, PartialHost) else 0) == may_have
    assert not isinstance(found, PartialHost) or found.core == core


# CLIDR_EL1 and CCSIDR_EL1: made up since 6.3 (commit 7af0c2534f4c)

OWN = 0x0A20_0023
IDC, DIC, HAS_MTE = 1 << 28, 1 << 29, "PFR1.MTE=2"


@pytest.mark.parametrize(
    ("shown_by", "kernel", "ctr", "shown", "clidr"),
    [
        ("6.6", "7.2", 0, "", OWN),
        ("5.10", "6.1", 0, "", OWN),
        ("6.1", "6.6", 0, "", 1 << 27 | 1 << 24 | 1 << 21 | 3),
        ("6.1", "6.6", IDC, "", 2 << 24 | 4 << 3 | 1),
        ("6.1", "6.6", IDC | DIC, "", 1 << 24 | 4),
        ("6.1", "6.6", IDC | DIC, HAS_MTE, 2 << 33 | 1 << 24 | 4),
        ("6.1", "6.6", IDC, HAS_MTE, 2 << 35 | 2 << 24 | 4 << 3 | 1),
    ],
)
def test_caches_that_a_newer_kernel_makes_up(shown_by: str, kernel: str, ctr: int, shown: str, clidr: int) -> None:
    ids = fields(shown)
    del ids[CLIDR]
    cache = {CCSIDR: bytes(4)}
    found = anew(shown_by, kernel, {**ids, CTR: ctr, CLIDR: OWN}, registers=cache)
    assert (found.limits[CLIDR], found.registers) == (clidr, cache)
    assert CLIDR not in anew(shown_by, kernel, {**ids, CTR: ctr}).limits


def test_caches_that_an_older_kernel_shows() -> None:
    """Those of the core; of one that is not known nothing."""
    shown = {**fields(""), CLIDR: OWN}
    captured = {CCSIDR: b"\x01".ljust(4, b"\0"), CCSIDR | 13: bytes(4), X0: bytes(8)}
    core = cores()["neoverse-n1"]
    of_core = anew("7.2", "6.1", shown, core=core.name, registers=captured)
    assert of_core.limits[CLIDR] == core.registers[CLIDR]
    assert of_core.registers == {X0: bytes(8), CCSIDR: core.ccsidr[0].to_bytes(4, "little")}
    for name in ("", "neoverse-v2"):
        found = anew("7.2", "6.1", shown, core=name, registers=captured)
        assert isinstance(found, PartialHost)
        assert found.registers == {X0: bytes(8)}
        whole = next(place for place in found.open if place.encoding == CLIDR)
        assert (whole.name, whole.mask, found.open[whole]) == ("CLIDR_EL1", U64, (0, U64))
    del shown[CLIDR]
    open_ = anew("7.2", "6.1", shown)
    assert not isinstance(open_, PartialHost) or all(place.encoding != CLIDR for place in open_.open)


def test_a_host_of_which_nothing_is_open_is_whole() -> None:
    assert not isinstance(anew("6.18", "6.19", fields("")), PartialHost)
