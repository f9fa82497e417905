"""A captured guest as a host: what its VMM may have left out is open, what its core has not is a no.

Source: Linux arch/arm64/kvm/arm.c (kvm_vcpu_init_check_features), sys_regs.c (sve_visibility, ptrauth_visibility,
pmu_visibility): without the feature a guest sees zeroes, and the list has none of its registers.
"""

from __future__ import annotations

from functools import cache

import pytest

from inspector.machine.arm64.captured import State, host_showing
from inspector.machine.arm64.host import PMU_V3, PTRAUTH, SVE
from inspector.machine.arm64.migrate import Migration, migrate
from inspector.machine.arm64.models.partial import PartialHost
from layouts.arm64.ids import MIDR, sysreg_id
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
    shown = guest("neoverse-n1@7.2")
    shown = shown._replace(registers={**shown.registers, sysreg_id(MIDR): NOBODYS})
    found = host_showing(shown, kernels()["7.2"], kernels()["7.2"])
    assert isinstance(found, PartialHost)
    assert found.open_features == SVE | PTRAUTH
    assert found.open_lengths


def test_a_field_that_is_left_out_is_at_most_the_cores() -> None:
    shown = guest("neoverse-v1@7.2", "pmu=off")
    found = host_showing(shown, kernels()["7.2"], kernels()["7.2"])
    assert isinstance(found, PartialHost)
    assert {place.name: most for place, (_, most) in found.open.items()} == {"PMUVer": 5}
    assert found.open_lengths is False


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
