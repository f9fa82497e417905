"""``inspector sim``: let events happen to a simulated host, and see what the kernel says."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from inspector.capture.errors import UsageError, visible
from inspector.cli import arguments
from inspector.cli.captured import captured_of, restore_events
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.world import Step, World
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import KERNELS, POLICIES
from layouts.x86.scenarios import Scenario, scenarios

SCHEMA = 1
_EXAMPLES = """\
  inspector sim list
  inspector sim snapshot-einval
  inspector sim new --host granite-rapids --lab
  inspector sim restore --from sample:amx
  inspector sim guest-xfd --save tiles.xsave
  inspector sim host-oops --event 'guest tilerelease'
  inspector sim new --host zen5 --event KVM_CREATE_VCPU --event 'KVM_SET_CPUID2 amx'

events
  arch_prctl REQ_XCOMP_PERM|REQ_XCOMP_GUEST_PERM N | GET_XCOMP_SUPP|GET_XCOMP_PERM|GET_XCOMP_GUEST_PERM
  sigaltstack SIZE | fork | exec | process ldtilecfg|tileloadd|tilezero|tilerelease
  KVM_CREATE_VCPU | KVM_CHECK_EXTENSION KVM_CAP_XSAVE2 | KVM_SET_CPUID2 supported|captured|amx|no-amx|avx-only
  KVM_SET_XCRS VALUE | KVM_SET_MSRS XFD|XFD_ERR|XSS VALUE
  KVM_GET_XSAVE | KVM_GET_XSAVE2 | KVM_SET_XSAVE [captured|XSTATE_BV]
  guest xsetbv VALUE | xgetbv 0|1 | wrmsr XFD|XFD_ERR VALUE | rdmsr XFD|XFD_ERR
  guest ldtilecfg | tilerelease | tilezero N | tileloadd N | vmovdqu64 N
  KVM_RUN (the guest's next instructions are in one run) | preempt | softirq | return | fail_allocation

The exit code is 1 when an event was refused."""


def run(words: Sequence[str]) -> int:
    """Run a scenario and print its timeline."""
    parser = arguments.parser("sim", "Let events happen to a simulated x86 host and vCPU.", _EXAMPLES)
    parser.add_argument("name", help="a scenario, list for their names, new for an empty host, restore with --from")
    parser.add_argument("--from", dest="source", default="", metavar="TARGET", help="a capture whose state to restore")
    parser.add_argument("--vcpu", type=int, metavar="N", help="which vCPU of the capture (default 0)")
    parser.add_argument("--event", action="append", default=[], metavar="WORDS", help="one more event; again for more")
    parser.add_argument("--host", default="", metavar="CPU", help="a CPU layout (inspector layouts list)")
    parser.add_argument("--kernel", default="", choices=[kernel.name for kernel in KERNELS])
    parser.add_argument("--policy", default="", choices=[policy.name for policy in POLICIES])
    parser.add_argument("--json", action="store_true", help="the timeline as JSON")
    parser.add_argument(
        "--lab", action="store_true", help="step through it in the XSTATE lab (inspector open sim:NAME)"
    )
    parser.add_argument("--save", default="", metavar="PATH", help="write the vCPU's image, as KVM_GET_XSAVE2 gives it")
    found = parser.parse_args(words)
    if found.name == "list":
        for scenario in scenarios().values():
            print(f"{scenario.name:<22} {scenario.title}")
        return 0
    captured, name = None, ""
    if found.source:
        captured, name = captured_of(found.source, found.vcpu)
    scenario = scenario_of(found.name)
    if found.name == "restore":
        if captured is None:
            raise UsageError("sim restore: --from names the capture")
        title = visible(f"Restore {name} of {found.source}")
        scenario = scenario._replace(title=title, events=restore_events(captured))
    scenario = scenario._replace(
        host=found.host or scenario.host,
        kernel=found.kernel or scenario.kernel,
        policy=found.policy or scenario.policy,
    )
    world = world_of(scenario)
    world.captured = captured
    if found.lab:
        return open_lab(world, scenario._replace(events=(*scenario.events, *found.event)))
    for event in (*scenario.events, *found.event):
        world.happen(event)
        if world.is_down:
            break
    if found.save:
        _save(world, scenario.host, found.save)
    if found.json:
        json.dump(_as_json(scenario, world), sys.stdout, indent=1)
        print()
    else:
        _print(scenario, world)
    return 0 if all(step.outcome.accepted for step in world.steps) else 1


def scenario_of(name: str) -> Scenario:
    """A scenario by name; ``new`` is an empty host. Raises UsageError."""
    if name in ("new", "restore"):
        return Scenario(name, "an empty host", (), "")
    if name not in scenarios():
        raise UsageError(f"sim {name}: no such scenario; inspector sim list has them")
    return scenarios()[name]


def world_of(scenario: Scenario) -> World:
    """The world in which a scenario begins. Raises UsageError for an unknown host."""
    if scenario.host not in cpu_layouts():
        raise UsageError(f"--host {scenario.host}: no such CPU; inspector layouts list has them")
    kernel = next(kernel for kernel in KERNELS if kernel.name == scenario.kernel)
    policy = next(policy for policy in POLICIES if policy.name == scenario.policy)
    return World(Host(shipped_cpu(scenario.host), kernel), policy)


def open_lab(world: World, scenario: Scenario) -> int:
    """Step through a scenario in the terminal interface."""
    if not sys.stdout.isatty():
        raise UsageError("the lab needs a terminal; inspector sim prints the same as text")
    from inspector.tui.lab_app import LabApp

    return LabApp(world, scenario).run() or 0


def _save(world: World, host: str, path: str) -> None:
    if world.vcpu is None:
        raise UsageError("--save: there is no vCPU; KVM_CREATE_VCPU comes first")
    try:
        with open(path, "xb") as out:
            out.write(world.vcpu.user_image())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    print(f"{path}: inspector open {path} --as kvm-xsave --layout {host}", file=sys.stderr)


def _print(scenario: Scenario, world: World) -> None:
    print(f"{scenario.title}\n{scenario.host}, Linux {scenario.kernel}, policy {scenario.policy}\n")
    for number, step in enumerate(world.steps, 1):
        outcome = step.outcome
        answer = str(outcome)
        if outcome.value and outcome.accepted:
            answer += f", {outcome.value:#x}"
        if outcome.image:
            answer += f", {len(outcome.image)} bytes"
        print(f"{number:>3}  {visible(step.event):<38} {answer}")
        for name, (before, after) in step.changes.items():
            print(f"       {name}: {before} -> {after}")
        if step.bytes_changed:
            print(f"       {step.bytes_changed} bytes of the image changed")
        if not all(check.held for check in outcome.checks):
            for check in outcome.checks:
                print(f"       {'held  ' if check.held else 'failed'}  {check.text}")
            print(f"       see {outcome.source}")
    if scenario.source:
        print(f"\nSource: {scenario.source}")


def _as_json(scenario: Scenario, world: World) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "scenario": scenario.name,
        "host": scenario.host,
        "kernel": scenario.kernel,
        "policy": scenario.policy,
        "events": [_step_json(step) for step in world.steps],
        "state": world.state(),
    }


def _step_json(step: Step) -> dict[str, Any]:
    outcome = step.outcome
    return {
        "event": step.event,
        "verdict": outcome.verdict,
        "name": outcome.name,
        "code": outcome.code,
        "value": f"{outcome.value:#x}",
        "because": outcome.because,
        "checks": [{"text": check.text, "held": check.held} for check in outcome.checks],
        "changes": {name: list(pair) for name, pair in step.changes.items()},
        "bytes_changed": step.bytes_changed,
        "source": outcome.source,
    }
