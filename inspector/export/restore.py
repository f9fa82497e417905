"""A captured vCPU as events: what a VMM does to restore it."""

from __future__ import annotations

from inspector.capture.model import Capture, Vcpu
from inspector.decode.fields import FieldTable
from inspector.machine.x86.host import XTILE, Host, shipped_host
from inspector.machine.x86.world import Captured, World
from inspector.readers.cpuid_table import cpuid_of
from layouts.kernels import DEFAULT_RELEASE
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import profile_for
from layouts.x86.scenario import Scenario


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


def restore_events(captured: Captured) -> tuple[str, ...]:
    """The order in which QEMU puts a vCPU's state (kvm_arch_put_registers in target/i386/kvm/kvm.c)."""
    eax = captured.leaves.get((0xD, 0), (0, 0, 0, 0))[0]
    events = ["arch_prctl REQ_XCOMP_GUEST_PERM 18"] if eax & XTILE else []
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


def host_of(captured: Captured) -> str:
    """The shipped CPU on which the captured CPUID asks for nothing that is not there: the smallest such.

    Sapphire Rapids where none has it all, or where nothing says what the vCPU has.
    """
    wanted = captured.leaves.get((0xD, 0), (0, 0, 0, 0))[0] | (captured.xcr0 or 0)
    if not captured.image and not wanted:
        return "sapphire-rapids"
    kernel = profile_for(DEFAULT_RELEASE)
    wanted |= int.from_bytes(captured.image[512:520], "little")
    places = {sub: row[1] for (leaf, sub), row in captured.leaves.items() if leaf == 0xD and sub > 1}
    fitting = [
        (host.user_max.bit_count(), name)
        for name in cpu_layouts()
        if not wanted & ~(host := shipped_host(name, kernel)).user_max
        and all(_offset(host, sub) == offset for sub, offset in places.items() if wanted >> sub & 1)
    ]
    return min(fitting)[1] if fitting else "sapphire-rapids"


def _offset(host: Host, component: int) -> int:
    values = host.cpuid.get(0xD, component)
    return values[1] if values is not None else 0


def restored(capture: Capture, vcpu: Vcpu) -> tuple[World, Scenario] | None:
    """A world in which a captured vCPU is to be restored, on the smallest shipped host that has its components.

    Its kernel is the one that the capture tells. Raises UnknownReleaseError where no profile answers for that.
    """
    state = captured_state(vcpu)
    if state is None:
        return None
    title = f"Restore {vcpu.name} of {capture.target}"
    kernel = profile_for(capture.host.kernel or DEFAULT_RELEASE)
    scenario = Scenario("restore", title, restore_events(state), "kvm_arch_put_registers (QEMU)", host=host_of(state))
    return World(shipped_host(scenario.host, kernel), captured=state), scenario._replace(kernel=kernel.release)


def _value(vcpu: Vcpu, prefix: str, path: str) -> int | None:
    area = vcpu.area(prefix)
    field = FieldTable(area).get(path) if area is not None else None
    return field.value if field is not None else None
