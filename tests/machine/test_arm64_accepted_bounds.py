"""What a host's kernel takes of a property: the values that are tried, and what trying leaves."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.host import PSCI_0_2, SVE
from inspector.machine.arm64.models.accepted import Asker, accepted, on_host, properties_on
from layouts.arm64.ids import CLIDR, CTR, ISAR0, PFR0
from layouts.arm64.properties import properties
from tests.machine.arm64_bounds import bare_host

AES = {ISAR0: 1 << 4}


@pytest.mark.parametrize(
    ("name", "registers", "taken", "refused"),
    [
        ("feat_AES", AES, {"off", "aes"}, {"pmull"}),
        # A value of the host's that has no name.
        ("feat_AES", {ISAR0: 3 << 4}, {"off", "aes", "pmull", "3"}, set()),
        ("hw_prop_DminLine", {CTR: 0x8444_8004}, set("01234"), set(map(str, range(5, 16)))),
    ],
)
def test_values_that_are_tried(name: str, registers: dict[int, int], taken: set[str], refused: set[str]) -> None:
    found = accepted(Asker(bare_host(registers), PSCI_0_2), properties()[name])
    assert set(found.values) == taken
    assert {one.text for one in found.choices} == taken | refused
    assert {one.text for one in found.choices if one.refusal} == refused
    assert (found.differences, found.entry.name) == ((), name)


def test_a_wide_field_is_tried_at_the_hosts_value_alone() -> None:
    wide = [entry for entry in properties().values() if entry.kind == "numeric" and entry.places[0].width > 8]
    host = bare_host({})
    for entry in wide:
        if entry.places[0].encoding in host.kernel.registers:
            assert [one.numbers for one in accepted(Asker(host, PSCI_0_2), entry).choices] == [(0,)]


def test_trying_leaves_registers_as_they_were() -> None:
    asker = Asker(bare_host(AES), PSCI_0_2 | SVE)
    assert asker.features == PSCI_0_2, "the host has no SVE"
    before = asker.vcpu.id_value(ISAR0)
    assert asker.ask(properties()["feat_AES"], (0,)).accepted
    assert asker.vcpu.id_value(ISAR0) == before
    assert not asker.ask(properties()["feat_AES"], (2,)).accepted
    assert asker.vcpu.id_value(ISAR0) == before


def test_every_register_of_a_property_is_asked() -> None:
    """CSV2_frac, in another register than CSV2, cannot be written."""
    asker = Asker(bare_host(AES), PSCI_0_2)
    assert asker.ask(properties()["feat_CSV2"], (0, 0)).accepted
    assert not asker.ask(properties()["feat_CSV2"], (0, 3)).accepted


def test_the_identity_can_be_written() -> None:
    """With KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, where the kernel has it."""
    for kernel, count in (("7.2", 16), ("6.12", 1)):
        found = accepted(Asker(bare_host({}, kernel), PSCI_0_2), properties()["cpu_revision"])
        assert (len(found.values), found.differences) == (count, ())


def test_properties_of_registers_that_the_kernel_has() -> None:
    host = bare_host({PFR0: 0x12}, "5.10")
    found = {entry.name for entry in properties_on(host)}
    assert {"feat_AES", "el0_mode"} < found
    assert not {"sve", "cpu_partnum"} & found
    assert all(place.encoding != CLIDR for entry in properties_on(host) for place in entry.places)
    assert {one.entry.name for one in on_host(host, PSCI_0_2)} == found
