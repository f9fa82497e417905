"""``inspector sim``: let events happen to a simulated host, and see what the kernel says."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from inspector.capture.errors import UsageError, visible
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.cli.sim_words import EXAMPLES
from inspector.cli.streams import note, say, say_json
from inspector.export.files import save_bytes, save_new
from inspector.export.machine_state import use_sentence
from inspector.export.timeline import scenarios_json, timeline_json, timeline_text, why_json
from inspector.export.vcpu import write_vcpu
from inspector.export.why import why_lines
from inspector.export.worlds import Side, compared, worlds_json, worlds_text
from inspector.machine.against import happened
from inspector.machine.world import BaseWorld
from inspector.machine.x86.world.gates import chains, walk
from inspector.machine.x86.world.stage import Captured
from inspector.machine.x86.world.world import World
from inspector.targets.event_file import STANDARD_INPUT
from inspector.targets.kernels import HELP, kernel_named, release_of
from inspector.targets.place import FORM, elsewhere, place_of
from inspector.targets.scenarios import (
    empty_arm64,
    is_arm64_host,
    lab_of_world,
    machine_capture,
    on_host,
    scenario_of,
    world_of,
)
from inspector.targets.schemes import capture_of, host_of
from inspector.targets.x86_host import require_fit
from inspector.targets.x86_restore import captured_state, on_captured_host, restore_scenario
from layouts.arm64.scenario_events import ABIS
from layouts.scenario import Scenario
from layouts.scenarios import scenarios
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import policies, profile_for

if TYPE_CHECKING:
    import argparse

    from inspector.cli.parser import Parser


#: XCR0 and XSS have a bit a component; bit 63 is none (Intel SDM vol. 1, 13.1).
_COMPONENTS = 63


def _parser() -> Parser:
    parser = arguments.parser("sim", "Let events happen to simulated hosts and vCPUs, of x86 and arm64.", EXAMPLES)
    parser.add_argument(
        "name",
        nargs="?",
        default="",
        help="a scenario or a file of events, list for their names, new for an empty host, restore with --from",
    )
    parser.add_argument(
        "--against", action="append", default=[], metavar="WORDS", help=f"the same events elsewhere too: {FORM}"
    )
    parser.add_argument("--from", dest="source", default="", metavar="TARGET", help="a capture whose state to restore")
    parser.add_argument(
        "--from-log", default="", metavar="LOG", help="a log of KVM's calls (strace): each beside the machine's answer"
    )
    parser.add_argument("--vcpu", type=int, metavar="N", help="which vCPU of the capture (default 0)")
    parser.add_argument("--event", action="append", default=[], metavar="WORDS", help="one more event; again for more")
    parser.add_argument(
        "--host",
        default="",
        metavar="CPU",
        help="a known CPU, cpuid -r text, or a capture; of arm64 also CPU,nested=on, CPU,pkvm=on and CPU,gic=2",
    )
    parser.add_argument("--to", action="append", default=[], metavar="CPU", help="arm64: one more host, host=1 and on")
    parser.add_argument("--kernel", default="", metavar="RELEASE", help=HELP)
    parser.add_argument("--policy", default="", choices=list(policies()), help="x86: how KVM deals with AMX")
    parser.add_argument("--abi", default="", choices=ABIS, help="arm64: SVE's interface")
    parser.add_argument("--json", action="store_true", help="the timeline as JSON")
    parser.add_argument("--calls", action="store_true", help="also who called the functions that did it")
    parser.add_argument("--explain", action="store_true", help="also checks and source of what was accepted")
    parser.add_argument(
        "--lab", action="store_true", help="step through it in the XSTATE lab (inspector open sim:NAME)"
    )
    parser.add_argument("--why", type=int, metavar="N", help="at the end: what is in the way of component N in a guest")
    parser.add_argument(
        "--save",
        default="",
        metavar="PATH",
        help="write the machine (.vcpu) or the vCPU's XSAVE image",
    )
    return parser


def run(words: Sequence[str]) -> int:
    """Run a scenario and print its timeline."""
    found = _parser().parse_args(words)
    if found.from_log:
        return _from_log(found)
    _check(found)
    if found.name == "list":
        return _list(as_json=found.json)
    scenario, world = _set_up(found)
    if found.lab:
        return open_lab(world, scenario._replace(events=(*scenario.events, *found.event)), _origin(found))
    events = (*scenario.events, *found.event)
    if found.against:
        return _against(found, scenario, world, events)
    world.play(events)
    if found.save:
        _save(world, scenario, found.save)
    if found.json:
        say_json(timeline_json(scenario, world) | ({} if found.why is None else {"why": _why_json(world, found.why)}))
    else:
        say(*timeline_text(scenario, world, calls=found.calls, explain=found.explain))
        if found.why is not None:
            say(*_why_lines(world, found.why))
    return ExitCode.of(all(step.outcome.accepted for step in world.steps))


def _list(*, as_json: bool) -> int:
    """The scenarios of both architectures."""
    if as_json:
        say_json(scenarios_json(scenarios().values()))
        return ExitCode.OK
    for scenario in scenarios().values():
        say(f"{scenario.name:<26} {scenario.title}")
    return ExitCode.OK


def _against(found: argparse.Namespace, scenario: Scenario, world: BaseWorld[Any], events: Sequence[str]) -> int:
    """The same events in another world; 1 where anything differs."""
    if found.source and scenario.architecture != "x86":
        raise UsageError("--against: --from goes with it on x86 only")
    there, other = elsewhere(world, scenario, place_of(" ".join(found.against)), arguments.TOLD)
    both = zip(happened(world, events), happened(other, events), strict=True)
    result = compared(Side(scenario, world), Side(there, other), list(both))
    if found.json:
        say_json(worlds_json(result))
    else:
        say(*worlds_text(result))
    return ExitCode.of(result.first is None)


def _from_log(found: argparse.Namespace) -> int:
    """A log's calls beside the machine's answers; 1 when one differs."""
    from inspector.export.log_timeline import comparison_json, comparison_text
    from inspector.targets.x86_log import compared

    others = (found.name, found.source, found.event, found.save, found.lab, found.against)
    if any(others) or found.why is not None:
        raise UsageError("--from-log: it goes with --host, --kernel, --explain and --json, and nothing else")
    comparison = compared(found.from_log, found.host, found.kernel, arguments.TOLD)
    if found.json:
        say_json(comparison_json(comparison))
    else:
        say(*comparison_text(comparison, explain=found.explain))
    return int(comparison.first is not None)


def _why_json(found: BaseWorld[Any], component: int) -> dict[str, Any]:
    world = _x86_world(found)
    vcpu = world.vcpu_state()
    return why_json(component, walk(world, component), vcpu.use(component) if vcpu is not None else None)


def _why_lines(found: BaseWorld[Any], component: int) -> Iterator[str]:
    world = _x86_world(found)
    vcpu = world.vcpu_state()
    use = use_sentence(component, vcpu.use(component), world.host.evidence) if vcpu is not None else ""
    return why_lines(f"Component {component}", chains(world, component), use)


def _x86_world(world: BaseWorld[Any]) -> World:
    """A world of x86. Raises UsageError for one of arm64, which has no components."""
    if not isinstance(world, World):
        raise UsageError("--why: it tells of an x86 state component; this machine is arm64")
    return world


def _origin(found: argparse.Namespace) -> list[str]:
    """The options that make a captured vCPU's world; none for a scenario's, which says itself where it happens."""
    options = {"--from": found.source, "--vcpu": found.vcpu, "--host": found.host, "--kernel": found.kernel}
    options |= {"--policy": found.policy, "--abi": found.abi}
    given = ((name, value) for name, value in options.items() if value not in ("", None))
    return [str(word) for pair in given for word in pair] if found.source else []


def _check(found: argparse.Namespace) -> None:
    """UsageError for options that would do nothing, and for no scenario."""
    if not found.name:
        raise UsageError("expected a scenario (inspector sim list), new, restore --from TARGET, or --from-log LOG")
    if found.why is not None and not 0 <= found.why < _COMPONENTS:
        raise UsageError(f"--why {found.why}: expected the number of a state component, 0 to {_COMPONENTS - 1}")
    if found.vcpu is not None and not found.source:
        raise UsageError(f"--vcpu {found.vcpu}: --from names the capture that has it")
    if found.against and (found.lab or found.save or found.why is not None or found.explain or found.calls):
        raise UsageError("--against: it goes with what makes the world, --event and --json")
    if found.lab and found.name == STANDARD_INPUT:
        raise UsageError("--lab: its keys come from standard input; expected the events in a file")


def _set_up(found: argparse.Namespace) -> tuple[Scenario, BaseWorld[Any]]:
    """The scenario that was asked for, and the world in which it begins. Raises UsageError and InputError."""
    scenario = scenario_of(found.name)
    if found.name == "new" and not found.source and (found.abi or found.to or is_arm64_host(found.host)):
        scenario = empty_arm64()
    if found.source:
        return _from_capture(found, scenario)
    if found.name == "restore":
        raise UsageError("sim restore: --from names the capture")
    scenario = on_host(_with_way(found, scenario), found.host, found.kernel)
    return scenario, world_of(scenario, arguments.TOLD)


def _with_way(found: argparse.Namespace, scenario: Scenario) -> Scenario:
    """The scenario with the policy or interface and the destinations that were named. Raises UsageError."""
    is_arm64 = scenario.architecture == "arm64"
    for option, value, fits in (("--policy", found.policy, not is_arm64), ("--abi", found.abi, is_arm64)):
        if value and not fits:
            raise UsageError(f"{option} {value}: {scenario.name} is of {scenario.architecture}")
    if found.to and not is_arm64:
        raise UsageError(f"--to {found.to[0]}: {scenario.name} is of x86, whose worlds have one host")
    way = found.policy or found.abi or scenario.policy
    return scenario._replace(policy=way, destinations=tuple(found.to) or scenario.destinations)


def _from_capture(found: argparse.Namespace, scenario: Scenario) -> tuple[Scenario, BaseWorld[Any]]:
    """A captured vCPU on its host or a named one. Raises UsageError and InputError."""
    if found.name not in ("new", "restore"):
        raise UsageError(f"sim {found.name}: --from goes with restore and new; a scenario brings its own state")
    if found.to:
        raise UsageError(f"--to {found.to[0]}: --from restores on one host; inspector migrate goes to another")
    capture = capture_of(found.source, arguments.TOLD)
    vcpu = arguments.choose_vcpus(capture, found.vcpu if found.vcpu is not None else 0)[0]
    if vcpu.arch == "arm64":
        return _from_arm64(found, capture, vcpu)
    scenario = _with_way(found, scenario)
    state = _captured(found.source, vcpu)
    if found.name == "restore":
        scenario = restore_scenario(state, vcpu, capture)._replace(policy=scenario.policy)
    return place(scenario, capture, vcpu, state, found.host, found.kernel)


def _from_arm64(found: argparse.Namespace, capture: Capture, vcpu: Vcpu) -> tuple[Scenario, BaseWorld[Any]]:
    from inspector.targets.arm64_world import place_of, restored

    place = place_of(capture, vcpu, found.host, found.kernel, arguments.TOLD)
    if place is None:
        raise UsageError(f"--from {found.source}: {vcpu.name} has no KVM registers")
    scenario, world = restored(capture, vcpu, place)
    _with_way(found, scenario)
    if found.abi == "proposal":
        raise UsageError("--abi proposal: a captured vCPU has the registers of the merged interface")
    scenario = scenario._replace(title=visible(scenario.title))
    return (scenario if found.name == "restore" else scenario._replace(name="new", events=())), world


def place(
    scenario: Scenario, capture: Capture, vcpu: Vcpu, state: Captured, host_name: str, kernel_name: str
) -> tuple[Scenario, World]:
    """A captured vCPU on a named host, or on the captured one.

    Raises UsageError for a host that puts components elsewhere than the image has them.
    """
    host_name, kernel_name = release_of(host_name, kernel_name)
    kernel = kernel_named(profile_for, kernel_name, arguments.TOLD.note) if kernel_name else None
    scenario, host = on_captured_host(scenario, capture, vcpu, kernel)
    scenario = scenario._replace(title=visible(scenario.title))
    if host_name:
        host = host_of(host_name, "x86", host.kernel.release)
        require_fit(host_name, host, vcpu)
        scenario = scenario._replace(host=host_name, because="")
    policy = policies()[scenario.policy]
    return scenario, World(host, policy, state)


def _captured(target: str, vcpu: Vcpu) -> Captured:
    """A captured x86 vCPU's state. Raises UsageError."""
    found = captured_state(vcpu) if vcpu.arch == "x86" else None
    if vcpu.arch != "x86":
        raise UsageError(f"--from {target}: {vcpu.name} is {vcpu.arch}; the machines are x86 and arm64")
    if found is None:
        raise UsageError(f"--from {target}: {vcpu.name} has neither CPUID nor an XSAVE image")
    return found


def open_lab(world: BaseWorld[Any], scenario: Scenario, origin: Sequence[str] = ()) -> int:
    """Step through a scenario in the terminal interface; ``origin``: see WorldSession."""
    if not sys.stdout.isatty():
        raise UsageError("the lab needs a terminal; inspector sim prints the same as text")
    from inspector.tui import terminal
    from inspector.tui.door import LabApp
    from inspector.tui.labs import session_of

    terminal.require_screen()
    return terminal.run(LabApp(session_of(lab_of_world(world, scenario), origin)))


def _save(world: BaseWorld[Any], scenario: Scenario, path: str) -> None:
    if path.endswith(".vcpu"):
        save_new(path, lambda out: write_vcpu(out, machine_capture(world, scenario, f"sim:{scenario.name}")))
        note(f"{path}: inspector open {shlex.quote(path)}")
        return
    if not isinstance(world, World):
        raise UsageError(f"--save {path}: an arm64 machine is saved as a .vcpu file")
    vcpu = world.vcpu
    if vcpu is None:
        raise UsageError("--save: there is no vCPU whose image could be saved")
    save_bytes(path, vcpu.user_image())
    layout = f" --layout {scenario.host}" if scenario.host in cpu_layouts() else ""
    note(f"{path}: inspector open {shlex.quote(path)} --as kvm-xsave{layout}")
