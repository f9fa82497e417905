"""``inspector set``: edit fields of a capture, and see what a kernel says to the state that comes of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from inspector.capture.errors import UsageError
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.cli.edits import edited
from inspector.cli.sim import place
from inspector.cli.streams import say, say_json
from inspector.export.files import save_new
from inspector.export.kinds import head
from inspector.export.timeline import timeline_json, timeline_text
from inspector.export.vcpu import write_vcpu
from inspector.machine.world import BaseWorld
from inspector.targets.kernels import HELP
from inspector.targets.schemes import capture_of
from inspector.targets.x86_restore import captured_state, restore_scenario
from layouts.scenario import Scenario

if TYPE_CHECKING:
    from inspector.targets.arm64_world import Place

Played: TypeAlias = tuple[Scenario, BaseWorld[Any]]
_EXAMPLES = """\
  inspector set sample:amx xcr.xcr0=0x40007
  inspector set sample:amx msr.IA32_XFD=0x40000 --json
  inspector set sample:arm64-kvm/max-linux-7.2.13.regs id.ID_AA64PFR0_EL1.EL1=0
  inspector set sample:amx xsave.header.xstate_bv=0x202e7 -o edited.vcpu

The file is not changed. The edited state of a vCPU is restored on a simulated host, in the
order in which QEMU does it. The exit code is 1 when something was refused."""


def run(words: Sequence[str]) -> int:
    """Edit, restore, print."""
    parser = arguments.parser("set", "Edit fields of a capture, and see what a kernel says.", _EXAMPLES)
    arguments.add_target(parser)
    parser.add_argument("edits", nargs="+", metavar="FIELD=VALUE", help="a field's path and its new value")
    parser.add_argument("--vcpu", type=int, metavar="N", help="which vCPU (default 0)")
    parser.add_argument(
        "--host", default="", metavar="CPU", help="a known CPU, cpuid -r text, or a capture; else the captured one"
    )
    parser.add_argument("--kernel", default="", metavar="RELEASE", help=f"{HELP}; else the captured one")
    parser.add_argument("--json", action="store_true", help="edits and timeline as JSON")
    parser.add_argument("-o", "--output", default="", metavar="PATH", help="write the edited capture (.vcpu)")
    found = parser.parse_args(words)
    capture = capture_of(found.target, arguments.options_of(found))
    vcpu = arguments.choose_vcpus(capture, found.vcpu if found.vcpu is not None else 0)[0]
    # What a captured arm64 guest shows of its host, it shows before it is edited.
    place = _arm64_place(capture, vcpu, found) if vcpu.arch == "arm64" else None
    edits = [edited(capture, vcpu, text) for text in found.edits]
    if found.output:
        if not found.output.endswith(".vcpu"):
            raise UsageError(f"-o {found.output}: the edited capture is a .vcpu file")
        save_new(found.output, lambda out: write_vcpu(out, capture))
    played = (
        _restore_arm64(capture, vcpu, place) if place is not None else _restore(capture, vcpu, found.host, found.kernel)
    )
    _print(edits, played, as_json=found.json)
    arguments.tell(capture)
    refused = played is not None and not all(step.outcome.accepted for step in played[1].steps)
    return ExitCode.of(not refused)


def _arm64_place(capture: Capture, vcpu: Vcpu, found: argparse.Namespace) -> Place | None:
    from inspector.targets.arm64_world import place_of

    return place_of(capture, vcpu, found.host, found.kernel, arguments.TOLD)


def _restore_arm64(capture: Capture, vcpu: Vcpu, place: Place) -> Played:
    """The edited state on a host."""
    from inspector.targets.arm64_world import restored

    scenario, world = restored(capture, vcpu, place)
    scenario = scenario._replace(name="set", title=f"{scenario.title} as edited", source="")
    world.play(scenario.events)
    return scenario, world


def _restore(capture: Capture, vcpu: Vcpu, host: str, kernel: str) -> Played | None:
    """The edited state on a host; None for a vCPU that the x86 machine cannot restore."""
    state = captured_state(vcpu)
    if state is None:
        return None
    scenario = restore_scenario(state, vcpu, capture)
    scenario = scenario._replace(name="set", title=f"{scenario.title} as edited", source="")
    scenario, world = place(scenario, capture, vcpu, state, host, kernel)
    world.play(scenario.events)
    return scenario, world


def _print(edits: list[dict[str, Any]], played: Played | None, *, as_json: bool) -> None:
    if as_json:
        timeline = timeline_json(*played) if played is not None else None
        say_json({**head("edit"), "edits": edits, "restore": timeline})
        return
    for edit in edits:
        say(f"{edit['path']}: {edit['before']} -> {edit['after']}")
    if played is None:
        say("no machine restores this vCPU: only the fields were edited")
        return
    say("", *timeline_text(*played))
