"""Thousands of random sequences: no error, no invariant broken, no byte lost without a word."""

from __future__ import annotations

import random

import pytest

from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.tdx import TdGuest
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.world.events.words import EventError
from inspector.machine.x86.world.state import live
from inspector.machine.x86.world.world import World
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import KERNELS, POLICIES
from layouts.x86.xsave import AVX512, MPX, TILEDATA, XTILE

SEEDS = 12
SEQUENCES = 400
LENGTH = 24
_XCR0 = ("0x1", "0x3", "0x7", "0xe7", "0x207", "0x2e7", "0x602e7", "0x60003", "0x20001", "0x40001", "0x5", "0x18")
_BITS = ("0", "0x40000", "0x20000", "0x2", "0x60000", "0xffffffffffffffff")
_ANY = ("ldtilecfg", "ldtilecfg 0", "ldtilecfg 9", "sttilecfg", "tilerelease", "tilezero 0", "tileloadd 0",
        "tileloadd 5",
        "tilestored 5", "movdqu 3", "vmovdqu 3", "vmovdqu64 3", "vmovdqu64 30", "kmovq 1", "wrpkru 0x54", "rdpkru",
        "xgetbv 0", "xgetbv 1", "rdssp", "incssp 1", "xsave", "xsaveopt 7", "xsavec", "xsaves", "xrstor", "xrstors",
        "xrstor 0x60000 0x40000", "rdmsr XFD", "rdmsr XFD_ERR", "rdmsr XSS", "rdmsr U_CET")  # fmt: skip
_LINUX = ("arch_prctl REQ_XCOMP_PERM 18", "arch_prctl REQ_XCOMP_GUEST_PERM 18", "arch_prctl REQ_XCOMP_PERM 19", "clone",
          "fork", "exec", "schedule", "sigaltstack 4096", "sigaltstack 16384", "signal", "sigreturn", "core",
          "PTRACE_SETREGSET 0x60003", "PTRACE_SETREGSET 0x3", "fail_allocation")  # fmt: skip
_KVM = ("KVM_CREATE_VM", "KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM 0x602e7", "KVM_TDX_INIT_VM 0x7", "KVM_CREATE_VCPU",
        "KVM_CREATE_VCPU thread=1", "KVM_SET_CPUID2 supported", "KVM_SET_CPUID2 amx", "KVM_SET_CPUID2 no-amx",
        "KVM_SET_CPUID2 avx-only", "KVM_GET_XSAVE", "KVM_GET_XSAVE2", "KVM_SET_XSAVE", "KVM_SET_XSAVE cut",
        "KVM_SET_XSAVE 0x60207", "KVM_RUN", "exit", "preempt", "softirq", "return", "guest boot", "guest boot 6.1",
        "KVM_SET_MSRS U_CET 1 PL3_SSP 0x1000", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_MSRS U_CET",
        "KVM_GET_XCRS")  # fmt: skip
_START = ("arch_prctl REQ_XCOMP_GUEST_PERM 18", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported")


def event(pick: random.Random) -> str:
    """Any event, mostly what a guest does."""
    kind = pick.randrange(10)
    if kind < 2:
        words = pick.choice(_LINUX)
    elif kind < 4:
        words = pick.choice(_KVM)
    elif kind == 4:
        words = f"{pick.choice(('KVM_SET_XCRS', 'guest xsetbv'))} {pick.choice(_XCR0)}"
    elif kind == 5:
        setter = pick.choice(("KVM_SET_MSRS", "guest wrmsr"))
        words = f"{setter} {pick.choice(('XFD', 'XFD', 'XFD_ERR', 'XSS', 'S_CET'))} {pick.choice(_BITS)}"
    elif kind == 6:
        words = f"process {pick.choice(_ANY)}"
    else:
        words = f"guest {pick.choice(('', '', 'process '))}{pick.choice(_ANY)}"
        if pick.random() < 0.2:
            words = f"guest {pick.choice(_LINUX)}"
    for place in ("cpu", "vcpu", "thread"):
        if pick.random() < 0.08:
            words += f" {place}={pick.randrange(2)}"
    return words


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
        world = World(Host(shipped_cpu(cpu), pick.choice(KERNELS)), pick.choice((*POLICIES[:1] * 3, *POLICIES)))
        events = [*(_START if pick.random() < 0.7 else ()), *(event(pick) for _ in range(LENGTH))]
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
        world = World(Host(shipped_cpu("sapphire-rapids"), pick.choice(KERNELS)))
        for words in [*(_START if pick.random() < 0.7 else ()), *(event(pick) for _ in range(LENGTH))]:
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
