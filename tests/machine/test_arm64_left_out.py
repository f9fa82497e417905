"""A captured guest as a host: what its VMM may have left out is open, what its core has not is a no.

Source: Linux arch/arm64/kvm/arm.c (kvm_vcpu_init_check_features), sys_regs.c (sve_visibility, ptrauth_visibility,
pmu_visibility): without the feature a guest sees zeroes, and the list has none of its registers.
"""

from __future__ import annotations

from functools import cache

import pytest

from inspector.machine.arm64.anew import with_left_out
from inspector.machine.arm64.captured import State, host_showing
from inspector.machine.arm64.host import PMU_V3, PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.machine.arm64.models.partial import PartialHost
from layouts.arm64.chips import cores
from layouts.arm64.ids import DFR0_AARCH32, MIDR, sysreg_id
from layouts.arm64.kernels import kernels
from tests.machine.arm64_bounds import rid
from tests.machine.arm64_moves import guest_of

FEATURES = {"sve": SVE, "pauth": PTRAUTH, "pmu": PMU_V3}
NOBODYS = (0x41 << 24 | 0xFFF << 4).to_bytes(8, "little")


@cache
def guest(name: str, *words: str) -> State:
    return guest_of(name, *words)


def to_capture(source: State, shown: State) -> Migration:
    kernel = kernels()["7.2"]
    return migrate(source, host_showing(shown, kernel, kernel))


@pytest.mark.parametrize("left_out", [("sve",), ("pauth",), ("pmu",), ("sve", "pauth", "pmu")])
def test_what_a_vmm_left_out_is_open(left_out: tuple[str, ...]) -> None:
    made = to_capture(guest("neoverse-v1@7.2"), guest("neoverse-v1@7.2", *(f"{one}=off" for one in left_out)))
    assert made.possible
    assert {entry.name for entry in made.open} >= set(left_out)
    assert not {entry.name for entry in made.open} & (set(FEATURES) - set(left_out))


def test_a_guest_without_it_hangs_on_nothing() -> None:
    shown = guest("neoverse-v1@7.2", "sve=off", "pmu=off")
    made = to_capture(shown, shown)
    assert (made.accepted, made.open) == (True, ())


def test_what_the_core_has_not_is_a_no() -> None:
    made = to_capture(guest("neoverse-v1@7.2"), guest("neoverse-n1@7.2", "pmu=off"))
    assert not made.possible
    assert "sve" not in {entry.name for entry in made.open}


def test_of_a_core_that_nobody_knows_all_is_open() -> None:
    shown = guest("neoverse-n1@7.2", "pmu=off")
    shown = shown._replace(registers={**shown.registers, sysreg_id(MIDR): NOBODYS})
    found = host_showing(shown, kernels()["7.2"], kernels()["7.2"])
    assert isinstance(found, PartialHost)
    assert found.core == ""
    assert found.open_features == SVE | PTRAUTH | PMU_V3
    assert (found.open_lengths, found.untold) == (True, {DFR0_AARCH32})
    assert {"SVE", "SVEver", "F64MM", "APA", "GPI", "APA3", "GPA3", "PMUVer"} < {place.name for place in found.open}
    assert all(most == (0, (1 << place.width) - 1) for place, most in found.open.items())


@pytest.mark.parametrize(
    ("left_out", "most"),
    [
        ("pmu", {"PMUVer": 5}),
        ("sve", {"SVE": 1, "I8MM": 1, "BF16": 1}),
        ("pauth", {"APA": 3, "GPA": 1}),
    ],
)
def test_a_field_that_is_left_out_is_at_most_the_cores(left_out: str, most: dict[str, int]) -> None:
    shown = guest("neoverse-v1@7.2", f"{left_out}=off")
    found = host_showing(shown, kernels()["7.2"], kernels()["7.2"])
    assert isinstance(found, PartialHost)
    assert {place.name: bounds for place, bounds in found.open.items()} == {
        name: (0, one) for name, one in most.items()
    }
    assert (found.core, found.open_features) == ("neoverse-v1", FEATURES[left_out])
    assert found.open_lengths is (left_out == "sve")
    assert found.untold == ({DFR0_AARCH32} if left_out == "pmu" else frozenset())


def test_what_was_open_before_stays_so() -> None:
    """Another kernel may have left more open; the core that is named has no SVE."""
    host = PartialHost(Host(kernels()["7.2"], {}), "")
    host.open_features = SVE
    found = with_left_out(host, PSCI_0_2 | PMU_V3, cores()["neoverse-n1"])
    assert found is host
    assert with_left_out(host, PSCI_0_2, cores()["neoverse-n1"]) is host
    assert host.open_features == SVE | PMU_V3


@pytest.mark.parametrize(
    ("name", "left_out", "known"),
    [
        ("APIAKeyLo_EL1", "pauth", True),
        ("PMCR_EL0", "pmu", True),
        ("ZCR_EL1", "sve", True),
        ("APIAKeyLo_EL1", "pmu", False),
    ],
)
def test_registers_of_it_are_not_missing(name: str, left_out: str, known: bool) -> None:
    """A capture's own list has none of them; of another feature they would be in it."""
    kernel = kernels()["7.2"]
    source, shown = guest("neoverse-v1@7.2"), guest("neoverse-v1@7.2", f"{left_out}=off")
    source = source._replace(registers={**source.registers, rid(name): bytes(8)})
    # A whole capture: with registers that are no ID registers.
    shown = shown._replace(registers={**shown.registers, rid("TTBR0_EL1"): bytes(8)})
    made = migrate(source, host_showing(shown, kernel, kernel))
    assert (rid(name) not in made.unknown) is known
