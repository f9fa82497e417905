"""Thousands of random sequences: no error, no invariant broken, no byte lost without a word."""

from __future__ import annotations

import random

import pytest

from inspector.machine.events import EventError
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.tdx import TdGuest
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.world.state import live
from inspector.machine.x86.world.world import World
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import POLICIES, kernels
from layouts.x86.xsave import AVX512, MPX, TILEDATA, XTILE
from tests.machine.x86_events import START, event

SEEDS = 12
SEQUENCES = 150
LENGTH = 24


def check_xcr0(xcr0: int) -> None:
    assert xcr0 & 1
    assert not xcr0 & 4 or xcr0 & 2
    assert xcr0 & MPX in (0, MPX)
    assert xcr0 & AVX512 in (0, AVX512)
    assert xcr0 & XTILE in (0, XTILE)


def check_fpstate(host: Host, fpstate: Fpstate) -> None:
    """XSTATE_BV within XCOMP_BV within the features; the buffer holds them all."""
    assert not fpstate.xstate_bv & ~fpstate.xfeatures
    if host.compacted:
        assert images.xcomp_bv(fpstate.image) == 1 << 63 | fpstate.xfeatures
    assert fpstate.size_bytes >= host.kernel_size_bytes(fpstate.xfeatures)
    assert not fpstate.xfd & ~host.xfd_capable


def check_linux(linux: Linux) -> None:
    for process in linux.processes:
        for thread in process.threads:
            check_fpstate(linux.host, thread.task_fpstate or thread.fpstate)


def check(world: World) -> None:
    """Everything that must hold after any event."""
    check_linux(world.host_linux)
    vcpus = world.vm.vcpus if world.vm is not None else []
    in_guest = {vcpu.thread.cpu.number for vcpu in vcpus if vcpu.in_guest and vcpu.thread.cpu is not None}
    for cpu in world.host_linux.cpus.values():
        machine = cpu.machine
        assert isinstance(machine, Processor)
        check_xcr0(machine.xcr0)
        assert not machine.xfd & ~world.host.xfd_capable
        if cpu.number not in in_guest and world.policy.name == "upstream":
            assert machine.xcr0 == world.host.user_max
            assert cpu.xfd_state == machine.xfd
            assert machine.xfd_err == 0 or world.is_down
    for vcpu in vcpus:
        check_xcr0(vcpu.xcr0)
        assert not vcpu.xcr0 & ~(world.host.kvm_xcr0 | 1)
        check_fpstate(world.host, vcpu.fpstate)
        assert vcpu.xfam or len(vcpu.user_image()) == vcpu.uabi_size_bytes >= 4096
    if world.vm is not None and world.vm.linux is not None:
        check_linux(world.vm.linux)


def tiles_of(world: World) -> list[bytes]:
    """Tile data of each vCPU, wherever it is."""
    found = []
    for guest in world.vm.guests if world.vm is not None else []:
        processor = live(guest.vcpu)
        if isinstance(guest, TdGuest) and not guest.vcpu.in_guest:
            registers = guest.state.registers
        elif processor is not None:
            registers = processor.registers
        else:
            registers = guest.vcpu.fpstate.registers(world.host)
        found.append(registers.get(TILEDATA))
    return found


def moves_no_tiles(words: str) -> bool:
    """The event is none that writes a guest's tiles."""
    return not words.startswith(("guest", "KVM_SET", "KVM_CREATE", "fork", "exec"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_sequences(seed: int) -> None:
    pick = random.Random(seed)
    cpus = sorted(cpu_layouts())
    for _ in range(SEQUENCES):
        cpu = pick.choice(("sapphire-rapids", "granite-rapids", pick.choice(cpus)))
        world = World(
            Host(shipped_cpu(cpu), pick.choice([*kernels().values()])), pick.choice((*POLICIES[:1] * 3, *POLICIES))
        )
        events = [*(START if pick.random() < 0.7 else ()), *(event(pick) for _ in range(LENGTH))]
        for words in events:
            if world.is_down:
                break
            before = tiles_of(world)
            try:
                step = world.happen(words)
            except EventError:
                continue
            check(world)
            if moves_no_tiles(words) and before != tiles_of(world):
                assert any(not held and "lost" in text for text, held in step.outcome.checks), (words, step.outcome)


def test_an_event_that_cannot_happen_changes_nothing() -> None:
    """Neither what is seen of the state, nor a byte of the vCPU's image, nor the steps."""
    pick, refused = random.Random(4), 0
    for _ in range(120):
        world = World(Host(shipped_cpu("sapphire-rapids"), pick.choice([*kernels().values()])))
        for words in [*(START if pick.random() < 0.7 else ()), *(event(pick) for _ in range(LENGTH))]:
            if world.is_down:
                break
            before, count = world.moment(), len(world.steps)
            image = before.image()
            try:
                world.happen(words)
            except EventError:
                refused += 1
                assert world.moment().state == before.state, words
                assert world.moment().image() == image, words
                assert len(world.steps) == count
    assert refused > 100
