"""What arm64's labs show of a host and a guest, and what they say of words that are none."""

from __future__ import annotations

import pytest

from inspector.machine.arm64.id_limits import policy_words
from inspector.machine.arm64.models.workbench import Workbench
from inspector.machine.arm64.world.matrix import FEATURES, feature_rows, touched
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from layouts.arm64.properties import properties
from tests.machine.support import host_named


def world(*events: str, host: str = "neoverse-v1") -> Arm64World:
    found = Arm64World([host_named(host)])
    found.play(events)
    return found


def test_a_feature_of_a_vcpu_that_is_there() -> None:
    rows = {row.feature.name: row for row in feature_rows(world())}
    assert all((row.vcpu, row.shown, row.touch) == (None, None, None) for row in rows.values())
    found = world("KVM_CREATE_VM", "KVM_CREATE_VCPU 0", "KVM_ARM_VCPU_INIT SVE PTRAUTH")
    rows = {row.feature.name: row for row in feature_rows(found)}
    assert rows["SVE"].vcpu
    assert rows["SVE"].shown == 1
    assert not rows["EL2"].vcpu


def test_no_instruction_of_a64_in_aarch32() -> None:
    found = world("KVM_CREATE_VM", "KVM_CREATE_VCPU 0", "KVM_ARM_VCPU_INIT EL1_32BIT", host="cortex-a57")
    (node, *_) = found.nodes
    assert node.vm is not None
    assert all(touched(feature, node.vm.vcpus[0]) is None for feature in FEATURES)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("KVM_CHECK_EXTENSION OF_TOMORROW", "no capability OF_TOMORROW that arm64 has"),
        ("KVM_SET_DEVICE_ATTR WHAT", "no attribute WHAT; there are "),
        ("KVM_CREATE_DEVICE WHAT", "no device WHAT; there are "),
    ],
)
def test_words_that_are_none(event: str, why: str) -> None:
    found = world("KVM_CREATE_VM", "KVM_CREATE_VCPU 0", "KVM_ARM_VCPU_INIT")
    with pytest.raises(EventError, match=why):
        found.happen(event)


def test_how_the_kernel_decides_on_a_field() -> None:
    """arm64_ftr_bits: the lower value is safe, signed where the field is; MIDR_EL1's are no ID register's fields."""
    host = host_named("neoverse-v1")
    places = {place.name: place for entry in properties().values() for place in entry.places}
    assert policy_words(host, places["RNDR"]).startswith("writable, safe is ")
    words = {policy_words(host, place) for place in places.values()}
    assert "not writable" in words
    assert any(word.endswith(", signed") for word in words)


def test_a_workbench_of_models() -> None:
    bench = Workbench(host_named("neoverse-v1"))
    assert bench.verdict == "usable"
    with pytest.raises(ValueError, match="of-tomorrow: expected "):
        bench.with_model("of-tomorrow")
    other = host_named("neoverse-n1")
    first = bench.on(other)
    assert bench.with_word("sve=off").on(other, first).host is other
    assert bench.on(host_named("neoverse-n2"), first).host is not other
