"""The labs: what each works on, and the screens of both ways between captures and machines."""

from __future__ import annotations

from collections.abc import Sequence

from textual.screen import Screen

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture, Vcpu
from inspector.targets.arm64_world import world_of_vcpu
from inspector.targets.labs import Arm64Lab, FleetLab, IdLab, Lab, lab_of_vcpu
from inspector.tui.arm64_lab_session import Arm64LabSession
from inspector.tui.base_app import KeyedScreen
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.screens.arm64_lab import Arm64LabScreen
from inspector.tui.screens.id_lab import IdLabScreen
from inspector.tui.screens.simulated import SimulatedScreen
from inspector.tui.screens.xstate_lab import XstateLabScreen
from inspector.tui.xstate_lab_session import XstateLabSession

LabSession = XstateLabSession | Arm64LabSession | IdLabSession


def session_of(lab: Lab, origin: Sequence[str] | None = ()) -> LabSession:
    """What the screen of a lab works on; ``origin``: see WorldSession. Raises UsageError for a fleet."""
    if isinstance(lab, FleetLab):
        raise UsageError(f"{lab.store}: a fleet, which has no lab")
    if isinstance(lab, IdLab):
        return IdLabSession(*lab, has_command=origin is not None)
    if isinstance(lab, Arm64Lab):
        return Arm64LabSession(lab.world, lab.scenario, origin)
    return XstateLabSession(lab.world, lab.scenario, origin)


def session_with_abi(lab: Lab, abi: str) -> LabSession:
    """The same with SVE through an interface. Raises UsageError for a lab that has no such."""
    session = session_of(lab)
    if isinstance(session, IdLabSession):
        wrong = session.start_with(abi)
    else:
        wrong = "" if abi == "merged" else "it goes with model: and with --to; inspector sim has its own"
    if wrong:
        raise UsageError(f"--abi {abi}: {wrong}")
    return session


def session_of_vcpu(capture: Capture, vcpu: Vcpu | None, *, plays: bool = False) -> LabSession:
    """The lab in which a captured vCPU goes on, edits and all; ``plays``: a world with events, which x86's always is.

    Raises UsageError and InputError where there is none.
    """
    if plays and vcpu is not None and vcpu.arch == "arm64":
        lab: Lab = world_of_vcpu(capture, vcpu)
    else:
        lab = lab_of_vcpu(capture, vcpu)
    assert vcpu is not None
    if not _is_named(capture, vcpu, lab):
        return session_of(lab, None)
    number = ["--vcpu", str(vcpu.index)] if len(capture.vcpus) > 1 else []
    return session_of(lab, ["--from", capture.target, *number])


def _is_named(capture: Capture, vcpu: Vcpu, lab: Lab) -> bool:
    """The capture's word gives this lab again: nobody edited the vCPU, no lab made it, a host is that of the first."""
    if capture.is_simulated or any(area.data is not area.original for area in vcpu.areas):
        return False
    return not isinstance(lab, IdLab) or vcpu is next(one for one in capture.vcpus if one.arch == vcpu.arch)


def lab_screen(session: LabSession) -> Screen[None]:
    """The screen of a lab."""
    if isinstance(session, XstateLabSession):
        return XstateLabScreen(session)
    return Arm64LabScreen(session) if isinstance(session, Arm64LabSession) else IdLabScreen(session)


def fleet_screen(store: str) -> KeyedScreen:
    """The screen of a fleet. Raises InputError."""
    from inspector.tui.fleet_session import FleetSession
    from inspector.tui.screens.fleet import FleetScreen

    return FleetScreen(FleetSession(store))


def bytes_screen(capture: Capture, path: str, vcpu_number: int) -> Screen[None]:
    """The Inspect screen on the bytes of a simulated machine."""
    return SimulatedScreen(capture, path, vcpu_number)
