"""``inspector sim``: let events happen to a simulated host, and see what the kernel says."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.capture.errors import UsageError, visible
from inspector.capture.exit_code import ExitCode
from inspector.capture.model import Capture, Vcpu
from inspector.cli import arguments
from inspector.cli.streams import note, say, say_json
from inspector.export.files import save_bytes, save_new
from inspector.export.machine_state import use_sentence
from inspector.export.timeline import timeline_json, timeline_text, why_json
from inspector.export.vcpu import write_vcpu
from inspector.export.why import why_lines
from inspector.machine.x86.world.against import happened
from inspector.machine.x86.world.gates import chains, walk
from inspector.machine.x86.world.stage import Captured
from inspector.machine.x86.world.world import World
from inspector.targets import x86_capture
from inspector.targets.event_file import STANDARD_INPUT
from inspector.targets.kernels import HELP, kernel_named, release_of
from inspector.targets.schemes import capture_of, host_of
from inspector.targets.x86_host import require_fit
from inspector.targets.x86_named import on_host, scenario_of, world_of
from inspector.targets.x86_place import FORM, elsewhere, place_of
from inspector.targets.x86_restore import captured_state, on_captured_host, restore_scenario
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import policies, profile_for
from layouts.x86.scenario import Scenario
from layouts.x86.scenarios import scenarios

_EXAMPLES = """\
  inspector sim list
  inspector sim snapshot-einval
  inspector sim new --host granite-rapids --lab
  inspector sim new --host cpuid-r.txt --why 18
  inspector sim restore --from sample:amx
  inspector sim guest-xfd --save tiles.xsave
  inspector sim two-buffers --save machine.vcpu
  inspector sim --from-log strace.txt --host emerald-rapids --kernel 6.18
  inspector sim host-oops --event 'guest tilerelease'
  inspector sim new --host zen5 --event KVM_CREATE_VCPU --event 'KVM_SET_CPUID2 amx'
  inspector sim rfc-preempt --against policy=upstream
  inspector sim guest-xfd --against 'kernel=6.1 host=granite-rapids'
  inspector sim my.events                        a file, or - for standard input: an event a line, # comments, and
                                                 before them host=CPU kernel=RELEASE policy=NAME

events of a Linux: the host's, or with "guest" before them that of the guest after guest boot
  arch_prctl REQ_XCOMP_PERM|REQ_XCOMP_GUEST_PERM N | GET_XCOMP_SUPP|GET_XCOMP_PERM|GET_XCOMP_GUEST_PERM
  process INSTRUCTION | clone | fork | exec | schedule | kernel_thread | sigaltstack SIZE | signal | sigreturn
  core | PTRACE_GETREGSET | PTRACE_SETREGSET [XSTATE_BV [SIZE]] | fail_allocation
events of KVM
  KVM_CREATE_VM [tdx] | KVM_TDX_INIT_VM XFAM | KVM_CREATE_VCPU | KVM_CHECK_EXTENSION KVM_CAP_XSAVE2
  KVM_GET_SUPPORTED_CPUID | KVM_SET_CPUID2 supported|captured|amx|no-amx|avx-only|tilecfg-only|unknown-bits-3-19
  KVM_SET_XCRS [XCR:]VALUE... [flags=N] | KVM_GET_XCRS | KVM_SET_MSRS MSR VALUE [MSR VALUE...] | KVM_GET_MSRS MSR
  KVM_GET_XSAVE | KVM_GET_XSAVE2 | KVM_SET_XSAVE [captured|cut|XSTATE_BV]
  KVM_RUN (the guest's next instructions are in one run) | exit [fast] | preempt | softirq | return
events of the guest
  guest boot [KERNEL] | guest INSTRUCTION
instructions
  xsetbv VALUE | xgetbv 0|1 | wrmsr MSR VALUE | rdmsr MSR      MSR: XFD XFD_ERR XSS U_CET S_CET PL0_SSP..PL3_SSP
  ldtilecfg [PALETTE] | sttilecfg | tilerelease | tilezero N | tileloadd N | tilestored N
  movdqu N | vmovdqu N | vmovdqu64 N | kmovq N [VALUE] | wrpkru VALUE | rdpkru | rdssp | incssp N
  xsave|xsaveopt|xsavec|xsaves [MASK] | xrstor|xrstors [MASK [XSTATE_BV]]
Anywhere in an event: cpu=N (where on the host), vcpu=N, thread=N.

The exit code is 1 when an event was refused."""

#: XCR0 and XSS have a bit a component; bit 63 is none (Intel SDM vol. 1, 13.1).
_COMPONENTS = 63


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("sim", "Let events happen to a simulated x86 host and vCPU.", _EXAMPLES)
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
        "--host", default="", metavar="CPU", help="a CPU layout (inspector layouts list), cpuid -r text, or a capture"
    )
    parser.add_argument("--kernel", default="", metavar="RELEASE", help=HELP)
    parser.add_argument("--policy", default="", choices=list(policies()))
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
        for scenario in scenarios().values():
            say(f"{scenario.name:<22} {scenario.title}")
        return ExitCode.OK
    scenario, world = _set_up(found)
    if found.lab:
        return open_lab(world, scenario._replace(events=(*scenario.events, *found.event)), _origin(found))
    if found.against:
        return _against(found, scenario, world)
    world.play((*scenario.events, *found.event))
    if found.save:
        _save(world, scenario, found.save)
    if found.json:
        say_json(timeline_json(scenario, world) | ({} if found.why is None else {"why": _why_json(world, found.why)}))
    else:
        say(*timeline_text(scenario, world, calls=found.calls, explain=found.explain))
        if found.why is not None:
            say(*_why_lines(world, found.why))
    return ExitCode.of(all(step.outcome.accepted for step in world.steps))


def _against(found: argparse.Namespace, scenario: Scenario, world: World) -> int:
    """The same events in two worlds; 1 when anything differs."""
    from inspector.export.against import Side, against, against_json, against_text

    there, other = elsewhere(world, scenario, place_of(" ".join(found.against)), arguments.TOLD)
    events = (*scenario.events, *found.event)
    both = zip(happened(world, events), happened(other, events), strict=True)
    result = against(Side(scenario, world), Side(there, other), list(both))
    if found.json:
        say_json(against_json(result))
    else:
        say(*against_text(result))
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


def _why_json(world: World, component: int) -> dict[str, Any]:
    vcpu = world.vcpu_state()
    return why_json(component, walk(world, component), vcpu.use(component) if vcpu is not None else None)


def _why_lines(world: World, component: int) -> Iterator[str]:
    vcpu = world.vcpu_state()
    use = use_sentence(component, vcpu.use(component), world.host.evidence) if vcpu is not None else ""
    return why_lines(f"Component {component}", chains(world, component), use)


def _origin(found: argparse.Namespace) -> list[str]:
    """The options that make a captured vCPU's world; none for a scenario's, which says itself where it happens."""
    options = {"--from": found.source, "--vcpu": found.vcpu, "--host": found.host, "--kernel": found.kernel}
    options["--policy"] = found.policy
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


def _set_up(found: argparse.Namespace) -> tuple[Scenario, World]:
    """The scenario that was asked for, and the world in which it begins. Raises UsageError and InputError."""
    scenario = scenario_of(found.name)
    if found.policy:
        scenario = scenario._replace(policy=found.policy)
    if not found.source:
        if found.name == "restore":
            raise UsageError("sim restore: --from names the capture")
        scenario = on_host(scenario, found.host, found.kernel)
        return scenario, world_of(scenario, arguments.TOLD)
    if found.name not in ("new", "restore"):
        raise UsageError(f"sim {found.name}: --from goes with restore and new; a scenario brings its own state")
    capture, vcpu, state = _captured(found.source, found.vcpu)
    if found.name == "restore":
        scenario = restore_scenario(state, vcpu, capture)._replace(policy=scenario.policy)
    return place(scenario, capture, vcpu, state, found.host, found.kernel)


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


def _captured(target: str, number: int | None) -> tuple[Capture, Vcpu, Captured]:
    """A capture, its vCPU that was chosen, and that one's state. Raises UsageError and InputError."""
    capture = capture_of(target, arguments.TOLD)
    vcpu = arguments.choose_vcpus(capture, number if number is not None else 0)[0]
    if vcpu.arch != "x86":
        raise UsageError(f"--from {target}: {vcpu.name} is {vcpu.arch}; the machine is x86")
    found = captured_state(vcpu)
    if found is None:
        raise UsageError(f"--from {target}: {vcpu.name} has neither CPUID nor an XSAVE image")
    return capture, vcpu, found


def open_lab(world: World, scenario: Scenario, origin: Sequence[str] = ()) -> int:
    """Step through a scenario in the terminal interface; ``origin``: see XstateLabSession."""
    if not sys.stdout.isatty():
        raise UsageError("the lab needs a terminal; inspector sim prints the same as text")
    from inspector.tui import terminal
    from inspector.tui.door import LabApp
    from inspector.tui.xstate_lab_session import XstateLabSession

    terminal.require_screen()
    return terminal.run(LabApp(XstateLabSession(world, scenario, origin)))


def _save(world: World, scenario: Scenario, path: str) -> None:
    if path.endswith(".vcpu"):
        save_new(path, lambda out: write_vcpu(out, x86_capture.capture_of(world, f"sim:{scenario.name}")))
        note(f"{path}: inspector open {shlex.quote(path)}")
        return
    vcpu = world.vcpu
    if vcpu is None:
        raise UsageError("--save: there is no vCPU whose image could be saved")
    save_bytes(path, vcpu.user_image())
    layout = f" --layout {scenario.host}" if scenario.host in cpu_layouts() else ""
    note(f"{path}: inspector open {shlex.quote(path)} --as kvm-xsave{layout}")
