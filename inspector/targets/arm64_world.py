"""arm64 worlds by a scenario: hosts, a captured vCPU that is restored, the machine as a capture."""

from __future__ import annotations

from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.capture.host import Host as CapturedHost
from inspector.capture.model import SIMULATED, Capture, Origin, Vcpu
from inspector.machine.arm64 import listed
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.captured import State
from inspector.machine.arm64.held import is_clock
from inspector.machine.arm64.host import SVE, Host
from inspector.machine.arm64.instructions import is_known
from inspector.machine.arm64.vcpu import Vcpu as Machine
from inspector.machine.arm64.world.world import Arm64World
from inspector.machine.world import BaseWorld
from inspector.readers.options import NO_OPTIONS, Options
from inspector.readers.synthesized import register_area
from inspector.targets.arm64_host import captured_state, host_of_vcpu
from inspector.targets.kernels import kernel_captured, kernel_named, release_of
from inspector.targets.labs import Arm64Lab
from inspector.targets.schemes import host_of
from layouts.arm64.chips import known_cores
from layouts.arm64.ids import RegisterId
from layouts.arm64.kernels import profile_for
from layouts.arm64.scenario_events import ABIS
from layouts.scenario import Scenario

#: Behind a known core: the mode of its KVM (kvm-arm.mode=nested or protected), the version of its GIC.
_NESTED, _PKVM, _GIC = ",nested=on", ",pkvm=on", {",gic=2": 2, ",gic=none": 0}


def host_of_word(text: str, kernel: str = "", options: Options = NO_OPTIONS) -> Host:
    """A host by its word; behind known cores also ``,nested=on`` or ``,pkvm=on``, ``,gic=2`` and ``,gic=none``.

    Where the cores have MTE, a VM has it with KVM_CAP_ARM_MTE. Raises UsageError and InputError.
    """
    name, release = release_of(text, kernel)
    mode = next((one for one in (_NESTED, _PKVM) if name.endswith(one)), "")
    rest = name.removesuffix(mode)
    suffix = next((one for one in _GIC if rest.endswith(one)), "")
    names = rest.removesuffix(suffix).split("+")
    if any(one not in known_cores() for one in names):
        return host_of(name, "arm64", release, options)
    profile = kernel_named(profile_for, release, options.note)
    cpus = [known_cores()[one] for one in names]
    host = from_bare(profile, cpus, gic=_GIC.get(suffix, 3), nested=mode == _NESTED, pkvm=mode == _PKVM)
    host.name = name
    return host


def world_of(scenario: Scenario, options: Options = NO_OPTIONS, captured: State | None = None) -> Arm64World:
    """The world in which a scenario begins; each destination may name a kernel of its own."""
    first = host_of_word(scenario.host, scenario.kernel, options)
    others = [
        host_of_word(name, release or scenario.kernel, options)
        for name, release in (release_of(word, "") for word in scenario.destinations)
    ]
    return Arm64World([first, *others], scenario.policy, captured)


class Place(NamedTuple):
    """Where a captured vCPU is restored: the host, its word, and why it is this one where nobody named it."""

    host: Host
    word: str
    because: str


def place_of(capture: Capture, vcpu: Vcpu, host_word: str, kernel: str, options: Options) -> Place | None:
    """The host named, else the one that the vCPU shows; None where it has no KVM registers.

    An edit changes what it shows: ask before. Raises UsageError and InputError.
    """
    if captured_state(vcpu, capture.target) is None:
        return None
    name, release = release_of(host_word, kernel)
    if name:
        return Place(host_of_word(name, release or capture.host.kernel, options), name, "")
    named = kernel_named(profile_for, release, options.note) if release else None
    host = host_of_vcpu(vcpu, named or kernel_captured(profile_for, capture, options.note), capture.target)
    assert host is not None
    return Place(host, capture.target, "as the captured guest shows it: its values are the most that a guest may have")


def restored(capture: Capture, vcpu: Vcpu, place: Place) -> tuple[Scenario, Arm64World]:
    """The scenario that restores a captured vCPU, and its world."""
    state = captured_state(vcpu, capture.target)
    assert state is not None
    scenario = Scenario(
        "restore",
        f"Restore {vcpu.name} of {capture.target}",
        restore_events(state),
        "kvm_arch_put_registers (QEMU target/arm/kvm.c)",
        host=place.word,
        kernel=place.host.kernel.release,
        policy=ABIS[0],
        because=place.because,
        architecture="arm64",
    )
    return scenario, Arm64World([place.host], ABIS[0], state)


def world_of_vcpu(capture: Capture, vcpu: Vcpu) -> Arm64Lab:
    """The lab of the world in which a captured vCPU is restored. Raises UsageError and InputError."""
    place = place_of(capture, vcpu, "", "", NO_OPTIONS)
    if place is None:
        raise UsageError("events need a vCPU's ID registers as KVM gives them")
    scenario, world = restored(capture, vcpu, place)
    return Arm64Lab(world, scenario)


def restore_events(state: State) -> tuple[str, ...]:
    """The order in which QEMU puts a vCPU's state."""
    lengths = ("KVM_SET_ONE_REG SVE_VLS captured", "KVM_ARM_VCPU_FINALIZE SVE") if state.features & SVE else ()
    return (
        "KVM_CREATE_VM",
        "KVM_CREATE_VCPU",
        "KVM_ARM_VCPU_INIT captured",
        *lengths,
        "KVM_SET_ONE_REG captured",
    )


def capture_of(world: BaseWorld[Any], target: str) -> Capture:
    """The vCPUs of every host: what KVM_GET_REG_LIST lists, in its order, by KVM_GET_ONE_REG; clocks stand still."""
    assert isinstance(world, Arm64World)
    found: list[Vcpu] = []
    for number, node in enumerate(world.nodes):
        host_words = f"host {number} " if len(world.nodes) > 1 else ""
        for vm_number, vm in node.vms.items():
            where = host_words + (f"vm {vm_number} " if vm_number else "")
            ready = [(at, machine) for at, machine in sorted(vm.vcpus.items()) if machine.initialized]
            found += [_vcpu(len(found) + n, f"{where}vCPU {at}", one, target) for n, (at, one) in enumerate(ready)]
    notices = ["made by the simulated machine, captured from no host"]
    host = CapturedHost(kernel=world.kernel.release, about=SIMULATED)
    return Capture(target, SIMULATED, found, host=host, notices=notices)


def _vcpu(index: int, name: str, machine: Machine, target: str) -> Vcpu:
    ids = [RegisterId(one) for one in listed.register_ids(machine)]
    answers = {one: machine.get(one) for one in ids if is_known(machine, one) or is_clock(one.encoding)}
    values = {
        int(one): (int.from_bytes(answer.image, "little"), 0) for one, answer in answers.items() if answer.accepted
    }
    return Vcpu(index, name, "arm64", [register_area(values, Origin(f"{target}/{name}", 0), "KVM registers")])
