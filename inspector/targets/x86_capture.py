"""A simulated machine as a capture: the same areas, layouts and screens as captured bytes have."""

from __future__ import annotations

from inspector.capture.host import Host as CapturedHost
from inspector.capture.model import SIMULATED, Area, Capture, Origin, Vcpu
from inspector.machine.x86.cpu.instructions.control import MSR_XFD, MSR_XFD_ERR, MSR_XSS
from inspector.machine.x86.host import Host
from inspector.machine.x86.kvm.vcpu import Vcpu as Machine
from inspector.machine.x86.linux.fpstate import Fpstate
from inspector.machine.x86.linux.kernel import Linux
from inspector.machine.x86.linux.process import Thread
from inspector.machine.x86.world.state import xfd_of
from inspector.machine.x86.world.world import World
from inspector.readers.synthesized import cpuid_area, msr_area, xcrs_area
from inspector.readers.xsave_area import xsave_area
from layouts.registry import layouts
from layouts.x86.fpstate import HEAD_SIZE_BYTES


def capture_of(world: World, target: str) -> Capture:
    """Every vCPU as KVM would give it, with its buffer; every task with its own."""
    maker = _Maker(target)
    vcpus = [maker.vcpu(vcpu) for vcpu in (world.vm.vcpus if world.vm is not None else [])]
    vcpus += maker.tasks(world.host_linux, "")
    if world.vm is not None and world.vm.linux is not None:
        vcpus += maker.tasks(world.vm.linux, "guest ")
    for number, vcpu in enumerate(vcpus):
        vcpu.index = number
    notices = ["made by the simulated machine, captured from no host"]
    host = CapturedHost(cpuid=world.host.cpuid, kernel=world.host.kernel.release, about=SIMULATED)
    return Capture(target, SIMULATED, vcpus, host=host, notices=notices)


class _Maker:
    """Areas with a common origin."""

    def __init__(self, target: str) -> None:
        self.target = target

    def origin(self, what: str) -> Origin:
        return Origin(f"{self.target}/{what}", 0)

    def vcpu(self, vcpu: Machine) -> Vcpu:
        """What KVM_GET_* gives, then the buffer itself."""
        name = f"vcpu{vcpu.number}"
        host = vcpu.host
        areas = []
        if not vcpu.xfam:
            image = vcpu.user_image()
            title = "XSAVE image (KVM_GET_XSAVE2)"
            areas.append(xsave_area("xsave", title, image, self.origin(f"{name}.xsave2"), host.table, len(image)))
        areas += self.buffer(f"{name}.fpstate", vcpu.fpstate, host)
        values = {MSR_XFD: (xfd_of(vcpu), 0), MSR_XFD_ERR: (vcpu.xfd_err, 0), MSR_XSS: (vcpu.xss, 0)}
        areas.append(_real(xcrs_area({0: vcpu.xcr0}, self.origin(f"{name}.xcrs"))))
        areas.append(_real(msr_area(values, self.origin(f"{name}.msrs"), layouts()["kvm-msrs"].title)))
        if vcpu.cpuid:
            title = layouts()["kvm-cpuid2"].title
            areas.append(_real(cpuid_area(vcpu.cpuid, self.origin(f"{name}.cpuid2"), title)))
        return Vcpu(0, name, "x86", areas)

    def buffer(self, what: str, fpstate: Fpstate, host: Host) -> list[Area]:
        """Struct fpstate and its image."""
        flags = (fpstate.is_valloc, fpstate.is_guest, fpstate.is_confidential, fpstate.in_use)
        head = b"".join(
            value.to_bytes(size, "little")
            for value, size in (
                (fpstate.size_bytes, 4),
                (fpstate.user_size_bytes, 4),
                (fpstate.xfeatures, 8),
                (fpstate.user_xfeatures, 8),
                (fpstate.xfd, 8),
                (sum(1 << bit for bit, is_set in enumerate(flags) if is_set), 4),
            )
        ).ljust(HEAD_SIZE_BYTES, b"\0")
        origin, title = self.origin(what), "the kernel's XSAVE image"
        image = Origin(origin.file, HEAD_SIZE_BYTES)
        saved = xsave_area("fpstate_image", title, fpstate.image, image, host.table, len(fpstate.image))
        saved.attributes["kernel_buffer"] = True
        return [Area("fpstate", "fpstate", layouts()["fpstate"].title, head, origin), saved]

    def tasks(self, linux: Linux, who: str) -> list[Vcpu]:
        """Every thread of every process: its own buffer, and the newest signal frame."""
        return [
            self.task(linux, thread, f"{who}task {thread.name}")
            for process in linux.processes
            for thread in process.threads
        ]

    def task(self, linux: Linux, thread: Thread, name: str) -> Vcpu:
        word = name.replace(" ", "-").replace("/", ".")
        areas = self.buffer(f"{word}.fpstate", thread.task_fpstate or thread.fpstate, linux.host)
        if thread.signal_frames:
            frame = thread.signal_frames[-1]
            origin = self.origin(f"{word}.sigframe")
            areas.append(xsave_area("frame", "signal frame", frame, origin, linux.host.table, len(frame)))
        return Vcpu(0, name, "x86", areas)


def _real(area: Area) -> Area:
    """These are the bytes themselves, not numbers from text."""
    area.attributes.pop("synthesized", None)
    return area
