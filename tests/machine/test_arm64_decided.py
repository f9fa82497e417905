"""What is in the way of an arm64 move: who decided it, whether the guest uses it, and the words against it."""

from __future__ import annotations

from functools import cache

import pytest

from inspector.machine.arm64.captured import State, is_id
from inspector.machine.arm64.decided import KERNEL, SILICON, VMM, Asked, decided, noticed, remedied, words_for
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import Migration, migrate
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import ISAR0, PSCI_VERSION, SVE_VLS, encoding_of_op, sysreg_id
from layouts.arm64.kernels import kernels
from tests.machine.arm64_bounds import rid
from tests.machine.arm64_moves import guest_of
from tests.machine.support import host_named

SCTLR = sysreg_id(encoding_of_op((3, 0, 1, 0, 0)))


@cache
def guest(name: str, *words: str) -> State:
    return guest_of(name, *words)


def asked(source: str, destination: str, *words: str, **registers: int) -> tuple[Migration, dict[str, Asked]]:
    state = guest(source, *words)
    if registers:
        values = {SCTLR: registers["sctlr"].to_bytes(8, "little")}
        state = state._replace(registers={**state.registers, **values})
    made = migrate(state, host_named(destination))
    return made, {one.name: one for one in Asked.of(made)}


def under_other_kernels(destination: str) -> dict[str, Host]:
    name = destination.partition("@")[0]
    return {release: host_named(f"{name}@{release}") for release in kernels()}


@pytest.mark.parametrize(
    ("source", "destination", "name", "who", "why"),
    [
        # kvm_vcpu_init_check_features: the silicon has none; SVE's lengths are a subset of the host's.
        ("neoverse-v1", "neoverse-n1", "sve", SILICON, "neoverse-n1 does not give guests this feature"),
        (
            "neoverse-v1",
            "neoverse-n2",
            "vector lengths",
            SILICON,
            "neoverse-n2 does not give guests this set of lengths",
        ),
        ("neoverse-v1", "neoverse-n2", "RNDR", SILICON, "the CPU of neoverse-n2 has 0, the guest 1"),
        # KVM_CAP_ARM_WRITABLE_IMP_ID_REGS came with 6.15.
        ("neoverse-v1", "neoverse-n2", "PartNum", VMM, "the VMM did not enable KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"),
        ("neoverse-v1@6.6", "neoverse-n2@6.6", "PartNum", KERNEL, "Linux 6.16 to 7.3 lets a VMM set it"),
        ("max@7.2", "max@6.6", "SCTLRX", KERNEL, "Linux 6.17 to 7.3 takes it; 6.6 does not"),
        ("max@6.1", "max@6.6", "S1PIE", KERNEL, "Linux 5.10 to 6.1 and 6.12 to 7.3 take it; 6.6 does not"),
        ("max@5.10", "max@6.6", "DebugVer", KERNEL, "Linux 5.10 and 6.12 to 7.3 take it; 6.6 does not"),
    ],
)
def test_who_decided(source: str, destination: str, name: str, who: str, why: str) -> None:
    made, found = asked(source, destination)
    by, text = decided(made, found[name], under_other_kernels(destination))
    assert by == who
    assert why in text


def test_without_other_kernels_a_value_that_the_cpu_has_is_the_kernels() -> None:
    """Where no other release was asked, the hardware's own value says that KVM takes it from guests."""
    made, found = asked("max@7.2", "max@6.6")
    assert decided(made, found["MOPS"], {})[0] == KERNEL
    assert decided(made, found["MOPS"], {})[1] == "the CPU of max has 1, and KVM shows 0 to guests"


@pytest.mark.parametrize(
    ("sctlr", "evidence", "text"),
    [
        (1 << 31, "SCTLR_EL1.EnIA, EnIB, EnDA or EnDB is set", "SCTLR_EL1.EnIA, EnIB, EnDA or EnDB is set"),
        (0, "", "not in use now: SCTLR_EL1.EnIA, EnIB, EnDA or EnDB is 0"),
    ],
)
def test_a_key_that_is_turned_on_is_in_use(sctlr: int, evidence: str, text: str) -> None:
    """Arm ARM, SCTLR_EL1.EnIA: pointer authentication with APIAKey_EL1 is enabled."""
    made, found = asked("neoverse-v1", "neoverse-n2", sctlr=sctlr)
    assert noticed(made.state, found["APA"]) == (evidence, text)


def test_use_that_nobody_can_see() -> None:
    made, found = asked("neoverse-v1", "neoverse-n2")
    assert noticed(made.state, found["RNDR"]) == ("", "no state of a vCPU shows its use")
    assert noticed(made.state, found["vector lengths"]) == ("", "no state of a vCPU shows its use")
    state = made.state._replace(registers={key: value for key, value in made.state.registers.items() if key != SCTLR})
    assert noticed(state, found["APA"]) == ("", "not known whether it is in use: SCTLR_EL1 not captured")


def test_features_and_lengths_in_the_way() -> None:
    """SVE's lengths are asked for where both have it; a guest without SVE has none."""
    _, found = asked("neoverse-v1", "neoverse-n1")
    assert found["sve"] == Asked("sve", "KVM_ARM_VCPU_INIT", 1, 0)
    assert "vector lengths" not in found
    _, found = asked("neoverse-v1", "neoverse-n2")
    assert found["vector lengths"] == Asked("vector lengths", "KVM_REG_ARM64_SVE_VLS", 0b11, 0b1)
    for source, destination, word in (
        ("neoverse-v1", "neoverse-v1", "pmu=off"),
        ("neoverse-v1", "neoverse-n2", "sve=off"),
        ("neoverse-n1", "neoverse-v1", "pmu=off"),
    ):
        assert not {"sve", "vector lengths"} & asked(source, destination, word)[1].keys()


def test_the_identity_where_no_kernel_lets_it_be_set() -> None:
    made, found = asked("neoverse-v1@6.6", "neoverse-n2@6.6")
    older = {"6.1": host_named("neoverse-n2@6.1")}
    assert decided(made, found["PartNum"], older) == (KERNEL, "6.6 shows every guest the host's")


@pytest.mark.parametrize(
    ("source", "destination", "name", "words"),
    [
        ("neoverse-v1", "neoverse-n1", "sve", "sve=off"),
        ("neoverse-v1", "neoverse-n1", "pauth", "pauth=off"),
        ("neoverse-v1", "neoverse-n2", "vector lengths", "sve256=off"),
        ("neoverse-v1", "neoverse-n2", "RNDR", "feat_RNDR=off"),
        ("neoverse-v1", "neoverse-n2", "TGRAN4_2", "feat_TGRAN4_2=on"),
        ("max", "neoverse-v1", "vector lengths", ",".join(f"sve{bits}=off" for bits in range(384, 2049, 128))),
        # The identity of the CPU is no property.
        ("neoverse-v1", "neoverse-n2", "PartNum", ""),
    ],
)
def test_the_word_against_it(source: str, destination: str, name: str, words: str) -> None:
    made, found = asked(source, destination)
    assert words_for(made, found[name]) == words


def test_a_guest_with_all_words_has_what_the_destination_has() -> None:
    """What a feature was in the way of comes up when it is off; what no word sets stays in the way."""
    made, first = asked("neoverse-v1", "neoverse-n2")
    taken, after = remedied(made)
    assert {one.name for one in taken} == {name for name, one in first.items() if words_for(made, one)}
    assert after.state.vqs == 1
    assert {field.place.name for step in after.failures for field in step.fields} == {"Variant", "PartNum", "Revision"}
    # With the VMM's word for the identity it arrives.
    state = made.state
    assert remedied(migrate(state, made.host, writable_imp=True), writable_imp=True)[1].accepted
    # By the proposal's calls as well.
    proposed = remedied(migrate(state, made.host, abi="proposal"), abi="proposal")[1]
    assert any("KVM_ARM_VCPU_SET_SVE_VLS" in step.event for step in proposed.steps)
    # Through a switch: the fields behind SVE and pointer authentication were not asked for before.
    without, _ = remedied(asked("neoverse-v1", "neoverse-n1")[0])
    assert {"sve", "pauth"} < {one.name for one in without}


def test_a_guest_is_lowered_where_it_has_more() -> None:
    """Fields that are no more than the destination's stay, and registers that are no ID registers."""
    made, _ = asked("neoverse-v1", "neoverse-n2", "feat_AES=off")
    too_new = made.state._replace(registers={**made.state.registers, PSCI_VERSION: (0x1_0009).to_bytes(8, "little")})
    made = migrate(too_new, made.host)
    after = remedied(made)[1].state.registers
    isar0 = id_register("ID_AA64ISAR0_EL1")
    value = int.from_bytes(after[sysreg_id(ISAR0)], "little")
    assert (isar0.field("AES").get(value), isar0.field("RNDR").get(value)) == (0, 0)
    assert all(len(data) == len(after[one]) for one, data in too_new.registers.items())
    assert after[SVE_VLS] == (1).to_bytes(64, "little")
    assert after[PSCI_VERSION] == too_new.registers[PSCI_VERSION]


def test_aarch32_registers_are_the_destinations() -> None:
    """QEMU has no property for them: it derives them."""
    made, _ = asked("cortex-a76", "cortex-a72")
    refused = {step.register_id for step in made.failures if is_id(step.register_id) and not step.fields}
    assert rid("ID_PFR0_EL1") in refused
    assert not refused & {step.register_id for step in remedied(made)[1].failures}
