"""What is to be seen of arm64 worlds, and words that name what is not there."""

from __future__ import annotations

import errno

import pytest

from inspector.machine.arm64.captured import State
from inspector.machine.arm64.host import HAS_EL2, PMU_V3, PSCI_0_2, SVE
from inspector.machine.arm64.models.partial import PartialHost
from inspector.machine.arm64.world import unknown
from inspector.machine.arm64.world.look import state_of
from inspector.machine.arm64.world.stage import Stage
from inspector.machine.arm64.world.state import NodeState, VcpuState, VmState
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.events import EventError
from inspector.machine.outcome import Rule
from layouts.arm64.id_fields import id_register
from layouts.arm64.ids import CCSIDR, ISAR0, ISAR1, MIDR, PFR0, SVE_FFR, SVE_P0, SVE_STEP, SVE_Z0, X0, V, sysreg_id
from layouts.arm64.properties import field_places
from tests.machine.arm64 import known_host
from tests.machine.arm64_bounds import full_host, rid, vcpu_on
from tests.machine.arm64_worlds import READY, answers, empty

WITH_SVE = ("KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 SVE")


def test_a_vm_of_which_nothing_was_asked() -> None:
    world = empty("max,mte=on")
    assert state_of(world).nodes == (NodeState("max,mte=on", None),)
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VCPU")
    vcpu = VcpuState(0, False, 0, False, False, 0, False, False, ())
    assert state_of(world).nodes[0].vm == VmState(40, False, False, 0, False, (), False, False, (vcpu,))


def test_what_is_seen_of_a_vm() -> None:
    world = empty("max,mte=on")
    assert set(
        answers(
            world, "KVM_CREATE_VM", "KVM_ENABLE_CAP ARM_MTE", "KVM_ENABLE_CAP ARM_WRITABLE_IMP_ID_REGS",
            "KVM_SET_USER_MEMORY_REGION 1 0x20000 0x10000", "KVM_SET_USER_MEMORY_REGION 0 0 0x10000",
            "KVM_CREATE_DEVICE vgic-v3", "KVM_CREATE_VCPU", "KVM_ARM_VCPU_INIT PSCI_0_2 PMU_V3",
            "KVM_SET_DEVICE_ATTR VGIC_CTRL_INIT",
            "KVM_SET_DEVICE_ATTR VGIC_ADDR", "KVM_SET_DEVICE_ATTR PMU_V3_IRQ 23", "KVM_SET_DEVICE_ATTR PMU_V3_INIT",
            "KVM_RUN",
        )
    ) == {"ok"}  # fmt: skip
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    assert vm._replace(vcpus=()) == VmState(
        40, True, True, 3, True, ((0, 0, 0x10000), (1, 0x20000, 0x10000)), True, False, ()
    )
    assert vm.vcpus[0]._replace(registers=()) == VcpuState(0, True, PSCI_0_2 | PMU_V3, False, True, 0, True, True, ())


def test_lengths_up_to_the_longest() -> None:
    world = empty("max")
    answers(world, *WITH_SVE)
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    assert (vm.vcpus[0].vqs, vm.vcpus[0].needs_final) == (0xFFFF, True)
    answers(world, "KVM_SET_ONE_REG SVE_VLS 16 32 48", "KVM_ARM_VCPU_FINALIZE SVE")
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    assert (vm.vcpus[0].features, vm.vcpus[0].vqs, vm.vcpus[0].needs_final) == (PSCI_0_2 | SVE, 0b111, False)


def changed(*events: str, init: tuple[str, ...] = READY, kernel: str = "7.2") -> dict[int, bytes]:
    """The registers that are otherwise than reset leaves them."""
    world = empty("max", kernel=kernel)
    assert set(answers(world, *init, *events)) <= {"ok"}
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    return dict(vm.vcpus[0].registers)


@pytest.mark.parametrize(
    ("event", "register_id", "value"),
    [
        ("KVM_SET_ONE_REG x0 0x1234", X0, 0x1234),
        ("KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 0", rid("ID_AA64ISAR0_EL1"), None),
        ("KVM_SET_ONE_REG TTBR0_EL1 7", rid("TTBR0_EL1"), 7),
        (f"KVM_SET_ONE_REG {CCSIDR:#x} 0x7", CCSIDR, 7),
    ],
)
def test_registers_that_are_seen(event: str, register_id: int, value: int | None) -> None:
    before = changed()
    assert not before.keys() & {register_id, rid("MPIDR_EL1"), rid("CLIDR_EL1")}
    found = changed(event)
    assert found.keys() - before.keys() == {register_id}
    assert len(found[register_id]) in (4, 8)
    assert value is None or int.from_bytes(found[register_id], "little") == value


def test_a_vcpu_that_is_not_there_yet_has_no_registers() -> None:
    """The VM's ID registers are those of its first vCPU already."""
    world = empty("max")
    answers(world, *READY, "KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 0", "KVM_CREATE_VCPU")
    vm = state_of(world).nodes[0].vm
    assert vm is not None
    assert [bool(vcpu.registers) for vcpu in vm.vcpus] == [True, False]


def test_a_register_that_is_written_as_it_was_is_not_seen() -> None:
    events = ("KVM_SET_ONE_REG v3 0", "KVM_SET_ONE_REG TTBR0_EL1 0x1de7ec7edbadc0de", "KVM_SET_ONE_REG x0 0")
    assert changed(*events) == changed()


def test_vectors_that_are_seen() -> None:
    final = "KVM_ARM_VCPU_FINALIZE SVE"
    found = changed(
        final, "KVM_SET_ONE_REG z3 aa..", "KVM_SET_ONE_REG p2 bb..", "KVM_SET_ONE_REG ffr cc..", init=WITH_SVE
    )
    assert {SVE_Z0 + 3 * SVE_STEP, SVE_P0 + 2 * SVE_STEP, SVE_FFR} <= found.keys()
    assert found[SVE_FFR][0] == 0xCC
    # Z's low bits are V, which KVM does not list beside it.
    assert not {SVE_Z0, SVE_P0, V.id(3)} & found.keys()
    assert changed("KVM_SET_ONE_REG v3 aa..").keys() - changed().keys() == {V.id(3)}


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("", "no such event"),
        ("KVM_RUM", "no such event; did you mean KVM_RUN"),
        ("KVM_RUN host=1", "there is no host 1; there are 1"),
        ("KVM_RUN", "there is no VM; KVM_CREATE_VM comes first"),
        ("KVM_RUN vm=2", "there is no VM 2; KVM_CREATE_VM comes first"),
    ],
)
def test_what_is_not_there(event: str, why: str) -> None:
    with pytest.raises(EventError, match=why):
        empty().happen(event)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("KVM_RUN vcpu=1", "there is no vCPU 1; KVM_CREATE_VCPU comes first"),
        ("KVM_SET_ONE_REG saved", "nothing was saved; KVM_GET_ONE_REG all comes first"),
        ("KVM_SET_ONE_REG captured", "nothing was captured; --from names a capture"),
        ("KVM_SET_ONE_REG model:nobody", "no CPU model nobody; inspector models list has them"),
    ],
)
def test_what_no_vcpu_has(event: str, why: str) -> None:
    world = empty()
    answers(world, *READY)
    with pytest.raises(EventError, match=why):
        world.happen(event)


def test_states_to_put() -> None:
    """Of a capture what it holds; of a model features, lengths and the ID registers that are not the host's own."""
    captured = State("guest", {X0: bytes(8)}, PSCI_0_2, 0)
    stage = Stage([known_host("neoverse-v1")], captured=captured)
    found = stage.state_to_put("captured")
    assert (found.registers, found.features, found.vqs) == ({X0: bytes(8)}, PSCI_0_2, None)
    assert found.registers is not captured.registers
    model = stage.state_to_put("model:neoverse-n1-v1")
    assert (model.features & SVE, model.vqs) == (0, 0)
    assert rid("ID_AA64ISAR0_EL1") in model.registers
    assert rid("CLIDR_EL1") not in model.registers
    assert {len(data) for data in model.registers.values()} == {8}
    # The CPU's identity where it is another than the host's.
    assert sysreg_id(MIDR) not in stage.state_to_put("model:neoverse-v1-v1").registers
    assert sysreg_id(MIDR) in stage.state_to_put("model:neoverse-v1-v1,cpu_partnum=5").registers


def test_a_vm_that_kvm_gave_up_answers_nothing() -> None:
    world = empty()
    answers(world, "KVM_CREATE_VM", "KVM_CREATE_VM", *READY[1:])
    world.nodes[0].vms[0].is_dead = True
    assert answers(world, "KVM_RUN", "KVM_GET_ONE_REG x0", "KVM_GET_API_VERSION") == ["EIO", "EIO", "ok"]
    outcome = world.happen("KVM_RUN").outcome
    assert (outcome.code, outcome.checks[-1].held) == (errno.EIO, False)
    assert answers(world, "KVM_CREATE_VCPU vm=1") == ["ok"]


# Hosts that are known in part


#: Their processor has 32 bits of an IPA.
SMALL = ("KVM_CREATE_VM 32", *READY[1:])


def in_part() -> PartialHost:
    host = PartialHost(full_host(limits={ISAR0: 0x22 | 1 << 60, PFR0: 0x12 | 1 << 32}), "")
    host.name, host.open_features = "it", SVE | PMU_V3
    host.open = {
        field_places()["ID_AA64ISAR0_EL1", "RNDR"]: (0, 1),
        field_places()["ID_AA64PFR0_EL1", "SVE"]: (0, 1),
    }
    return host


@pytest.mark.parametrize(
    ("features", "hangs_on"),
    [
        (PSCI_0_2, ""),
        (PSCI_0_2 | HAS_EL2, ""),
        (PSCI_0_2 | SVE, "it's sve"),
        (PSCI_0_2 | PMU_V3, "it's pmu"),
        (PSCI_0_2 | SVE | PMU_V3 | HAS_EL2, "it's sve, pmu"),
    ],
)
def test_features_that_a_host_may_lack(features: int, hangs_on: str) -> None:
    assert unknown.of_features(vcpu_on(in_part()), features) == hangs_on
    assert unknown.of_features(vcpu_on(full_host()), features) == ""


@pytest.mark.parametrize(
    ("features", "register", "value", "only", "hangs_on"),
    [
        (PSCI_0_2, "ID_AA64ISAR0_EL1", 0x22 | 1 << 60, "", "it's ID_AA64ISAR0_EL1.RNDR"),
        (PSCI_0_2, "ID_AA64ISAR0_EL1", 0x22 | 1 << 60, "RNDR", "it's ID_AA64ISAR0_EL1.RNDR"),
        (PSCI_0_2, "ID_AA64ISAR0_EL1", 0x22 | 1 << 60, "AES", ""),
        (PSCI_0_2, "ID_AA64ISAR0_EL1", 0x22, "", ""),
        # Refused whatever the host has.
        (PSCI_0_2, "ID_AA64ISAR0_EL1", 0x33 | 1 << 60, "", ""),
        # Zero in a vCPU without SVE, whatever the host has.
        (PSCI_0_2, "ID_AA64PFR0_EL1", 0x12 | 1 << 32, "", ""),
        (PSCI_0_2, "TTBR0_EL1", 1, "", ""),
    ],
)
def test_fields_that_decide_a_write(features: int, register: str, value: int, only: str, hangs_on: str) -> None:
    vcpu = vcpu_on(in_part(), features)
    bits = id_register(register).field(only) if only else None
    assert unknown.of_write(vcpu, rid(register), value, bits) == hangs_on
    vcpu.vm.ran = True
    assert unknown.of_write(vcpu, rid(register), value, bits) == ""


def test_who_a_cpu_is_may_be_anything_where_it_is_writable() -> None:
    host = in_part()
    host.open[field_places()["MIDR_EL1", "Revision"]] = (0, 3)
    vcpu = vcpu_on(host)
    midr = vcpu.id_value(MIDR) + 1
    assert unknown.of_write(vcpu, sysreg_id(MIDR), midr) == "it's MIDR_EL1.Revision"
    vcpu.vm.writable_imp = True
    assert unknown.of_write(vcpu, sysreg_id(MIDR), midr) == ""


def test_a_field_that_is_written_alone_hangs_on_itself() -> None:
    world = Arm64World([in_part()])
    assert answers(world, *SMALL) == ["ok"] * 3
    assert answers(world, "KVM_SET_ONE_REG ID_AA64ISAR0_EL1.RNDR 1") == ["depends-on"]
    assert answers(world, "KVM_SET_ONE_REG ID_AA64ISAR0_EL1.AES 1") == ["ok"]


@pytest.mark.parametrize(
    ("names", "hangs_on"),
    [
        ("AES", None),
        ("RNDR", "it's ID_AA64ISAR0_EL1.RNDR, "),
        ("RNDR DIT", "it's ID_AA64PFR0_EL1.DIT and 1 field more, "),
        ("RNDR DIT LRCPC", "it's ID_AA64PFR0_EL1.DIT and 2 fields more, "),
    ],
)
def test_fields_that_decide_on_a_restore(names: str, hangs_on: str | None) -> None:
    """Of each register the first that is open; together in one line."""
    places = {"AES": (ISAR0, 0x10), "RNDR": (ISAR0, 1 << 60), "DIT": (PFR0, 0x11 | 1 << 48), "LRCPC": (ISAR1, 1 << 20)}
    by_name = {place.name: place for place in field_places().values()}
    likely = full_host(limits={ISAR0: 0x10 | 1 << 60, PFR0: 0x11 | 1 << 48, ISAR1: 1 << 20})
    host = PartialHost(likely, "")
    host.name, host.open = "it", {by_name[name]: (0, 1) for name in ("RNDR", "DIT", "LRCPC")}
    world = Arm64World([host])
    assert answers(world, *SMALL) == ["ok"] * 3
    world.saved.features = PSCI_0_2
    for encoding, value in (places[name] for name in names.split()):
        world.saved.registers[sysreg_id(encoding)] = value.to_bytes(8, "little")
    outcome = world.happen("KVM_SET_ONE_REG saved").outcome
    assert outcome.name == ("ok" if hangs_on is None else "depends-on")
    assert hangs_on is None or outcome.because.startswith(f"depends on {hangs_on}")


def test_an_answer_that_hangs_on_something_keeps_what_was_checked() -> None:
    rule = Rule("a function", "manual")
    rule.check("a check", held=True)
    taken = rule.ok()
    assert unknown.told(taken, "") is taken
    open_ = unknown.told(taken, "it's SVE")
    assert (open_.verdict, open_.source, open_.evidence) == ("depends-on", "a function", "manual")
    assert open_.checks[0] == taken.checks[0]
    assert open_.because.endswith("it's SVE, which nobody read: ok if it is as is likely")
