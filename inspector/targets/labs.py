"""The labs that a word or a captured vCPU opens, a fleet, and with what; how they look is the terminal interface's."""

from __future__ import annotations

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.readers.options import NO_OPTIONS
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

    from inspector.machine.arm64.host import Host
    from inspector.machine.arm64.models.workbench import Workbench
    from inspector.machine.arm64.world.world import Arm64World
    from inspector.machine.x86.world.world import World
    from layouts.scenario import Scenario

_NEEDS = "the lab needs CPUID or an XSAVE image (x86), or ID registers (arm64)"


class XstateLab(NamedTuple):
    """The XSTATE lab: a world, and the events that are to come."""

    world: World
    scenario: Scenario


class Arm64Lab(NamedTuple):
    """The lab of an arm64 world, and the events that are to come."""

    world: Arm64World
    scenario: Scenario


class IdLab(NamedTuple):
    """The ID-register lab: a host, a model, and the user's properties.

    ``second`` is the host that is to take the guest too; ``word`` and ``second_word`` are what named the hosts, empty
    where their own names do.
    """

    bench: Workbench
    second: Host | None = None
    word: str = ""
    second_word: str = ""


class FleetLab(NamedTuple):
    """The Fleet screen: the path of a store."""

    store: str


Lab: TypeAlias = XstateLab | Arm64Lab | IdLab | FleetLab


def lab_of_vcpu(capture: Capture, vcpu: Vcpu | None) -> Lab:
    """The lab in which a captured vCPU goes on, on the host and kernel that the capture tells.

    Raises UsageError where the vCPU has too little for one, InputError for a kernel without a profile.
    """
    found = (_arm64 if vcpu.arch == "arm64" else _x86)(capture, vcpu) if vcpu is not None else None
    if found is None:
        raise UsageError(_NEEDS)
    return found


def _arm64(capture: Capture, vcpu: Vcpu) -> Lab | None:
    from inspector.machine.arm64.models.workbench import Workbench
    from inspector.targets.arm64_host import host_of_vcpu
    from inspector.targets.kernels import kernel_captured
    from layouts.arm64.kernels import profile_for

    kernel = kernel_captured(profile_for, capture, NO_OPTIONS.note)
    host = host_of_vcpu(vcpu, kernel, capture.target, capture.host.kernel)
    return IdLab(Workbench(host)) if host is not None and host.limits else None


def _x86(capture: Capture, vcpu: Vcpu) -> Lab | None:
    from inspector.targets.x86_restore import restored

    found = restored(capture, vcpu)
    return XstateLab(*found) if found is not None else None
