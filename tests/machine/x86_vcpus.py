"""vCPUs of the x86 world on a CPU with tiles and CET."""

from __future__ import annotations

from inspector.capture.host import Cpuid, CpuidValues
from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu.instructions import tiles
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.kvm.guest import Guest
from inspector.machine.x86.kvm.vcpu import Vcpu
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.world.world import World
from layouts.x86.kernels import profile_for
from tests.machine.support import policy_of, world

TILES = 1 << 18
SHSTK, IBT = (0, 0, 1 << 7, 0), (0, 0, 0, 1 << 20)
NO_CET = (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF ^ SHSTK[2], 0xFFFFFFFF ^ IBT[3])
CET_XSS = 3 << 11
Leaves = dict[tuple[int, int], CpuidValues]
AMX_TABLE: Leaves = {(0xD, 0): (0x602E7, 0, 0, 0), (0xD, 1): (0x1F, 0, CET_XSS, 0)}


def cpu_with_cet() -> Cpuid:
    """Sapphire Rapids with both CET components."""
    leaves = dict(shipped_cpu("sapphire-rapids").leaves)
    eax, ebx, ecx, edx = leaves[0xD, 1]
    cet: Leaves = {(0xD, 1): (eax, ebx, ecx | CET_XSS, edx), (0xD, 11): (0x10, 0, 1, 0), (0xD, 12): (0x18, 0, 1, 0)}
    a, b, c, d = leaves.get((7, 0), (0, 0, 0, 0))
    return Cpuid({**leaves, **cet, (7, 0): (a, b, c | SHSTK[2], d | IBT[3])})


def cpu_without_supervisor_state() -> Cpuid:
    leaves = dict(shipped_cpu("sapphire-rapids").leaves)
    eax, ebx, _, edx = leaves[0xD, 1]
    return Cpuid({**leaves, (0xD, 1): (eax, ebx, 0, edx)})


def vcpu_of(
    kernel: str = "7.2", table: Leaves | None = None, *, cpuid: Cpuid | None = None, policy: str = "upstream"
) -> Vcpu:
    """A vCPU whose process has permission for AMX; with ``table`` as its CPUID."""
    host = Host(cpuid or cpu_with_cet(), profile_for(kernel))
    process = Linux(host, policy=policy_of(policy)).spawn()
    process.request_permission(18, guest=True)
    vcpu = Vcpu(process)
    if table is not None:
        assert vcpu.set_cpuid(table).accepted
    return vcpu


def held(outcome: Outcome) -> bool:
    """Accepted, and then nothing in the way."""
    assert not outcome.accepted or all(check.held for check in outcome.checks)
    return outcome.accepted


def after(*events: str, policy: str = "upstream") -> World:
    found = world(policy=policy_of(policy))
    found.play(events)
    return found


def guest_of(kernel: str = "7.2", policy: str = "upstream", leaf_7: tuple[int, int, int, int] = NO_CET) -> Guest:
    """A guest with tiles in XCR0."""
    vcpu = vcpu_of(kernel, {**AMX_TABLE, (7, 0): leaf_7}, policy=policy)
    vcpu.cr4_osxsave = True
    assert vcpu.set_xcrs((0, 0x602E7)).accepted
    return Guest(vcpu)


def use_tiles(guest: Guest) -> None:
    assert guest.execute(tiles.ldtilecfg).accepted
    assert guest.execute(lambda cpu: tiles.tilezero(cpu, 0)).accepted
