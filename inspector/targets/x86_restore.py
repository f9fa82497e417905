"""A captured vCPU as events: what a VMM does to restore it."""

from __future__ import annotations

from inspector.capture.model import Capture, Vcpu
from inspector.decode.fields import FieldTable
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.restore import restore_events
from inspector.machine.x86.world.stage import Captured
from inspector.machine.x86.world.world import World
from inspector.readers.cpuid_table import cpuid_of
from inspector.targets.x86_host import captured_kernel, choose_host
from layouts.scenario import Scenario
from layouts.x86.kernels import X86Kernel


def captured_state(vcpu: Vcpu) -> Captured | None:
    """The XSAVE state of a captured x86 vCPU; None when it is another architecture's, or has none."""
    if vcpu.arch != "x86":
        return None
    cpuid, image = vcpu.area("cpuid"), vcpu.area("xsave")
    table = cpuid_of(cpuid.data) if cpuid is not None else None
    found = Captured(
        leaves=table.leaves if table is not None else {},
        image=bytes(image.data) if image is not None else b"",
        xcr0=_value(vcpu, "xcr", "xcr.xcr0"),
        xfd=_value(vcpu, "msr", "msr.IA32_XFD"),
        xfd_err=_value(vcpu, "msr", "msr.IA32_XFD_ERR"),
        xss=_value(vcpu, "msr", "msr.IA32_XSS"),
    )
    return found if found.leaves or found.image else None


def restored(capture: Capture, vcpu: Vcpu) -> tuple[World, Scenario] | None:
    """A world in which a captured vCPU is to be restored: on the host and kernel that the capture is from."""
    state = captured_state(vcpu)
    if state is None:
        return None
    scenario, host = on_captured_host(restore_scenario(state, vcpu, capture), capture, vcpu)
    return World(host, captured=state), scenario


def restore_scenario(state: Captured, vcpu: Vcpu, capture: Capture) -> Scenario:
    """The events that restore a captured vCPU, as a scenario; where it happens is still to be said."""
    title = f"Restore {vcpu.name} of {capture.target}"
    return Scenario("restore", title, restore_events(state), "kvm_arch_put_registers (QEMU)")


def on_captured_host(
    scenario: Scenario, capture: Capture, vcpu: Vcpu, named: X86Kernel | None = None
) -> tuple[Scenario, Host]:
    """A scenario on the host and kernel that the capture is from, or on the kernel named. Raises InputError."""
    kernel, because = (named, "") if named is not None else captured_kernel(capture)
    chosen = choose_host(capture, vcpu, kernel)
    why = (chosen.because, f"{kernel.title}: {because}" if because else "")
    scenario = scenario._replace(host=chosen.label, kernel=kernel.release, because="; ".join(filter(None, why)))
    return scenario, chosen.host


def _value(vcpu: Vcpu, prefix: str, path: str) -> int | None:
    area = vcpu.area(prefix)
    field = FieldTable(area).get(path) if area is not None else None
    return field.value if field is not None else None
