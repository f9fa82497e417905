"""Restoring a captured vCPU: the events by which a VMM puts its state."""

from __future__ import annotations

from inspector.decode.header import xstate_bv
from inspector.machine.outcome import Step
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.stage import Captured
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import XTILE


def restore_events(captured: Captured) -> tuple[str, ...]:
    """The order in which QEMU puts a vCPU's state (kvm_arch_put_registers in target/i386/kvm/kvm.c)."""
    wanted = captured.leaves.get((0xD, 0), (0, 0, 0, 0))[0]
    if not captured.leaves:
        wanted = xstate_bv(captured.image)
    events = ["arch_prctl REQ_XCOMP_GUEST_PERM 18"] if wanted & XTILE else []
    events += ["KVM_CREATE_VCPU", f"KVM_SET_CPUID2 {'captured' if captured.leaves else 'supported'}"]
    if captured.image:
        events.append("KVM_SET_XSAVE captured")
    if captured.xcr0 is not None:
        events.append(f"KVM_SET_XCRS {captured.xcr0:#x}")
    msrs = {"XFD": captured.xfd, "XFD_ERR": captured.xfd_err, "XSS": captured.xss or None}
    pairs = [f"{name} {value:#x}" for name, value in msrs.items() if value is not None]
    if pairs:
        events.append(f"KVM_SET_MSRS {' '.join(pairs)}")
    return (*events, "KVM_RUN")


def restore(captured: Captured, host: Host) -> tuple[Step, ...]:
    """Put a captured vCPU's state on a host, as far as it comes: an event that takes the host down is the last."""
    world = World(host, captured=captured)
    world.play(restore_events(captured))
    return tuple(world.steps)
