"""The host that captured registers show, under their kernel and under others; the state to restore elsewhere.

Source: Linux arch/arm64/kvm/sys_regs.c (__kvm_read_sanitised_id_reg of each release: what it hides); the capture
tells no more than its guest saw.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inspector.machine.arm64 import captured, migrate
from inspector.machine.arm64.host import PMU_V3, POWER_OFF, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.idregs import HIDDEN_FIELDS
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.policy import sanitise
from layouts.arm64 import id_fields as of
from layouts.arm64 import ids
from layouts.arm64.chips import core_of, cores
from layouts.arm64.ids import (
    AIDR,
    CCSIDR,
    CLIDR,
    CTR,
    DFR0,
    ISAR0,
    ISAR1,
    ISAR2,
    MIDR,
    MMFR2,
    MPIDR,
    PFR0,
    PFR1,
    PSCI_VERSION,
    SVE_VLS,
    WORKAROUND_1,
    make,
    sysreg_id,
)
from layouts.arm64.kernels import kernels
from tests.machine.arm64_bounds import rid, vcpu_on

U64 = (1 << 64) - 1
N1 = 0x413F_D0C1


def state(values: Mapping[int, int], others: Mapping[int, bytes] | None = None) -> captured.State:
    registers = {sysreg_id(one): value.to_bytes(8, "little") for one, value in values.items()}
    return captured.state_of("guest", {**registers, **(others or {})})


@pytest.mark.parametrize(
    ("values", "features"),
    [
        ({}, 0),
        ({PFR0: 1 << 32}, SVE),
        *(({ISAR1: bits.put(0, 1)}, PTRAUTH) for bits in (of.ISAR1_APA, of.ISAR1_API, of.ISAR1_GPA, of.ISAR1_GPI)),
        *(({ISAR2: bits.put(0, 1)}, PTRAUTH) for bits in (of.ISAR2_APA3, of.ISAR2_GPA3)),
        ({ISAR1: 0xF}, 0),
        *(({DFR0: of.DFR0_PMUVER.put(0, version)}, PMU_V3) for version in (1, 6, 14)),
        *(({DFR0: of.DFR0_PMUVER.put(0, version)}, 0) for version in (0, 15)),
    ],
)
def test_features_that_id_registers_show(values: Mapping[int, int], features: int) -> None:
    found = state(values)
    assert (found.name, found.features) == ("guest", PSCI_0_2 | features)
    assert found.vqs == (1 if features & SVE else 0)
    lengths = {SVE_VLS: (0b1011).to_bytes(64, "little")}
    assert state(values, lengths).vqs == 0b1011
    assert captured.host_showing(state(values, lengths), kernels()["7.2"]).sve_vqs == 0b1011
    assert captured.host_showing(found, kernels()["7.2"]).features == found.features | POWER_OFF


def test_which_registers_are_id_registers() -> None:
    for one in (MIDR, PFR0, 0xC03F, CTR):
        assert captured.is_id(sysreg_id(one))
    for other in (sysreg_id(CLIDR), sysreg_id(0xC040), sysreg_id(0xBFFF), make(ids.SYSREG, 4, PFR0), ids.X0):
        assert not captured.is_id(other)


@pytest.mark.parametrize(
    ("register_id", "says"),
    [
        (sysreg_id(PFR0), True),
        (SVE_VLS, True),
        (PSCI_VERSION, True),
        (make(ids.FIRMWARE_BITMAP, 8, 1), True),
        (CCSIDR, True),
        (rid("TTBR0_EL1"), False),
        (sysreg_id(CLIDR), False),
        (ids.SVE_Z0, False),
        (ids.X0, False),
    ],
)
def test_which_values_say_what_the_host_has(register_id: int, says: bool) -> None:
    """Of others only that they are there: a guest writes what it likes."""
    assert captured.is_fact(register_id) is says


def test_the_host_that_a_guest_showed() -> None:
    others = {ids.X0: bytes(8), sysreg_id(CLIDR): b"\x11".ljust(8, b"\0"), sysreg_id(AIDR): b"\x22".ljust(8, b"\0")}
    found = captured.host_showing(state({PFR0: 0x12, ISAR0: 0x33}, others), kernels()["7.2"], kernels()["7.2"])
    assert found.limits == {PFR0: 0x12, ISAR0: 0x33, CLIDR: 0x11, AIDR: 0x22}
    assert found.registers == others
    assert (found.name, found.sve_vqs, found.sanitised) == ("guest", 0, {})


@pytest.mark.parametrize(
    ("kernel", "shown", "pmu", "debug"),
    [
        ("6.1", (6, 9), 5, 6),
        ("6.1", (0, 9), 0, 6),
        ("5.10", (6, 9), 4, 9),
        ("7.2", (15, 5), 15, 5),
        ("7.2", (6, 5), 6, 5),
    ],
)
def test_versions_under_a_kernel_of_a_capture_that_does_not_name_its_own(
    kernel: str, shown: tuple[int, int], pmu: int, debug: int
) -> None:
    dfr0 = of.DFR0_PMUVER.put(shown[1], shown[0])
    assert captured.host_showing(state({DFR0: dfr0}), kernels()[kernel]).limits[DFR0] == of.DFR0_PMUVER.put(debug, pmu)


@pytest.mark.parametrize(("mte", "tags"), [(0, False), (1, False), (2, True), (3, True)])
def test_caches_under_such_a_kernel(mte: int, tags: bool) -> None:
    """CLIDR_EL1 is made up of CTR_EL0, with tags where the guest has MTE; Linux 6.1 leaves it."""
    values = {PFR1: of.PFR1_MTE.put(0, mte), CTR: of.CTR_IDC.mask}
    own = {sysreg_id(CLIDR): (0x1234).to_bytes(8, "little")}
    new, old = (captured.host_showing(state(values, own), kernels()[kernel]) for kernel in ("6.12", "6.1"))
    assert of.PFR1_MTE.get(new.limits[PFR1]) == (mte if tags else 0)
    assert (new.limits[CLIDR] & 0xFFFF_FFFF, bool(new.limits[CLIDR] >> 33)) == (2 << 24 | 4 << 3 | 1, tags)
    assert old.limits[CLIDR] == 0x1234
    assert captured.host_showing(state({}, own), kernels()["6.12"]).limits[CLIDR] & 1 << 27
    assert CLIDR not in captured.host_showing(state(values), kernels()["6.12"]).limits


def test_hidden_fields_of_the_core() -> None:
    """The registers with such fields, as the kernel has them on the core that MIDR_EL1 names."""
    core = cores()[core_of(N1)]
    named, nobody = (captured.host_showing(state({MIDR: midr}), kernels()["7.2"]) for midr in (N1, 0))
    assert named.of_core.keys() == {one for one in HIDDEN_FIELDS if one in core.registers}
    assert nobody.of_core == {}
    for one, value in named.of_core.items():
        assert value == sanitise(kernels()["7.2"].fields[one], [core.registers[one]])


def test_hidden_fields_that_the_captures_kernel_showed() -> None:
    """ID_AA64MMFR2_EL1.NV was shown until 6.15; the register is then the hardware's."""
    for shown_by, known in (("6.12", True), ("7.2", False)):
        found = captured.host_showing(state({MMFR2: 5}), kernels()["7.2"], kernels()[shown_by])
        assert (found.hardware(MMFR2) == 5) is known
    assert captured.host_showing(state({MMFR2: 5}), kernels()["7.2"]).hardware(MMFR2) is None


@pytest.mark.parametrize(("midr", "name", "left_out"), [(N1, "neoverse-n1", PMU_V3), (0, "", SVE | PTRAUTH | PMU_V3)])
@pytest.mark.parametrize("shown_by", [None, "6.1", "7.2"])
def test_what_is_open_is_at_most_the_cores(midr: int, name: str, left_out: int, shown_by: str | None) -> None:
    """The core that MIDR_EL1 names has no SVE: it was not switched off. One that nobody knows may have all."""
    kernel = kernels()[shown_by] if shown_by is not None else None
    found = captured.host_showing(state({MIDR: midr, PFR0: 0x11, MMFR2: 1}), kernels()["7.2"], kernel)
    assert isinstance(found, PartialHost)
    assert (found.core, found.open_features) == (name, left_out)


def test_what_the_captures_kernel_cut_is_the_cores() -> None:
    """Linux 6.1 shows ID_AA64DFR0_EL1.DebugVer as 6 at most, 7.2 all of a Neoverse N1's 8."""
    for shown_by, debug in (("6.1", 8), ("7.2", 6)):
        found = captured.host_showing(state({MIDR: N1, DFR0: 6}), kernels()["7.2"], kernels()[shown_by])
        assert of.DFR0_DEBUGVER.get(found.limits[DFR0]) == debug


def test_state_of_a_vcpu_that_things_were_tried_on() -> None:
    on = Host(kernels()["7.2"], {PFR0: 0x12 | 1 << 32}, sve_vqs=0b11, features=PSCI_0_2 | SVE)
    merged, proposed = (vcpu_on(on, PSCI_0_2 | SVE, abi=abi) for abi in ("merged", "proposal"))
    merged.sve_finalized = True
    for vcpu in (merged, proposed):
        found = captured.state_of_scratch(vcpu, "it")
        assert (found.name, found.features, found.vqs) == ("it", PSCI_0_2 | SVE, 0b11)
        assert found.registers[sysreg_id(PFR0)] == on.limits[PFR0].to_bytes(8, "little")
        assert len(found.registers) == len(vcpu.register_ids())
    assert captured.state_of_scratch(vcpu_on(on), "it").vqs == 0


# What a move does with each register


@pytest.mark.parametrize(
    ("register_id", "bare", "capture", "old"),
    [
        (sysreg_id(PFR0), "set", "set", "set"),
        (sysreg_id(MPIDR), "set", "set", "set"),
        (sysreg_id(0xC03F), "set", "set", "set"),
        (rid("TTBR0_EL1"), "any", "any", "any"),
        (rid("TCR_EL1"), "any", "unknown", "any"),
        (PSCI_VERSION, "set", "set", "set"),
        (WORKAROUND_1, "any", "set", "any"),
        (make(ids.FIRMWARE_BITMAP, 8, 1), "set", "set", "unknown"),
        (make(ids.FIRMWARE_BITMAP, 8, 9), "unknown", "unknown", "unknown"),
        (CCSIDR, "set", "set", "any"),
        (ids.SVE_Z0, "set", "set", "set"),
        (ids.X0, "set", "set", "set"),
        (ids.V.id(0), "set", "set", "set"),
        (make(ids.CORE, 4, 0), "any", "any", "any"),
        (make(0x17, 8), "unknown", "unknown", "unknown"),
    ],
)
def test_which_registers_a_move_tries(register_id: int, bare: str, capture: str, old: str) -> None:
    held = {rid("TTBR0_EL1"): bytes(8), WORKAROUND_1: bytes(8)}
    for kernel, registers, kind in (("7.2", {}, bare), ("7.2", held, capture), ("5.10", {}, old)):
        assert migrate._kind(Host(kernels()[kernel], {}, registers=registers), register_id, 0) == kind
    with_cache = Host(kernels()["5.10"], {}, registers={CCSIDR: bytes(4)})
    assert migrate._kind(with_cache, CCSIDR, 0) == "set"


def test_an_id_register_that_the_destination_has_not() -> None:
    missing = next(one for one in ids.IDS if one not in kernels()["5.10"].registers and one != MPIDR)
    assert migrate._kind(Host(kernels()["5.10"], {}), sysreg_id(missing), 0) == "unknown"
