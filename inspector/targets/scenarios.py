"""``sim:SCENARIO``: scenarios of both architectures by name, and what they open."""

from __future__ import annotations

import os
from typing import Any

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.machine.world import BaseWorld
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.event_file import STANDARD_INPUT, is_event_file, scenario_of_file
from inspector.targets.kernels import release_of, split
from inspector.targets.labs import Arm64Lab, Lab, XstateLab
from inspector.targets.schemes import Architecture, host_of
from layouts.arm64.chips import chips, known_cores
from layouts.arm64.scenario_events import ABIS
from layouts.scenario import Scenario
from layouts.scenarios import scenarios
from layouts.x86.cpus import cpu_layouts

SCHEME = "sim:"
_X86, _ARM64 = "x86", "arm64"


def scenario_of(name: str) -> Scenario:
    """A scenario by name, or a file of events; ``new`` is an empty host. Raises UsageError and InputError."""
    if name in ("new", "restore"):
        return Scenario(name, "an empty host", (), "")
    if name not in scenarios() and is_event_file(name):
        return _of_architecture(scenario_of_file(name))
    if name not in scenarios():
        hint = did_you_mean(name, scenarios(), "inspector sim list")
        raise UsageError(f"sim: no scenario {name!r}; {hint}")
    return scenarios()[name]


def _of_architecture(scenario: Scenario) -> Scenario:
    """The events of a file, of the architecture that its host has."""
    if not is_arm64_host(scenario.host):
        return scenario
    policy = scenario.policy if scenario.policy in ABIS else ABIS[0]
    return scenario._replace(architecture=_ARM64, policy=policy)


def empty_arm64(host: str = "max") -> Scenario:
    """An arm64 host to which nothing happened yet."""
    return Scenario("new", "an empty host", (), "", host=host, policy=ABIS[0], architecture=_ARM64)


def is_arm64_host(word: str) -> bool:
    """A word for a host is one of arm64: a known core or chip, or a file that says so."""
    name, _ = split(word)
    if not name or name in cpu_layouts():
        return False
    if name in chips() or name.partition("+")[0].partition(",")[0] in known_cores():
        return True
    from inspector.targets.model_architecture import ARM64, architecture_of

    return (os.path.exists(name) or ":" in name) and architecture_of("", [name]) == ARM64


def on_host(scenario: Scenario, host: str, kernel: str) -> Scenario:
    """A scenario on another host and kernel, where they are named. Raises UsageError where they contradict."""
    name, release = release_of(host, kernel)
    return scenario._replace(host=name or scenario.host, kernel=release or scenario.kernel)


def world_of(scenario: Scenario, options: Options = NO_OPTIONS) -> BaseWorld[Any]:
    """The world in which a scenario begins. Raises UsageError and InputError for a host that is none."""
    if scenario.architecture == _ARM64:
        from inspector.targets.arm64_world import world_of as arm64_world_of

        return arm64_world_of(scenario, options)
    from inspector.targets.x86_named import world_of as x86_world_of

    return x86_world_of(scenario, options)


def machine_capture(world: BaseWorld[Any], scenario: Scenario, target: str) -> Capture:
    """A machine as a capture."""
    if scenario.architecture == _ARM64:
        from inspector.targets.arm64_world import capture_of as arm64_capture_of

        return arm64_capture_of(world, target)
    from inspector.machine.x86.world.world import World
    from inspector.targets.x86_capture import capture_of as x86_capture_of

    assert isinstance(world, World)
    return x86_capture_of(world, target)


# What a word opens


def scenario_named(target: str) -> Scenario:
    """The scenario of ``sim:NAME[:HOST]`` or ``sim:FILE``, on the kernel of ``@RELEASE`` behind. Raises UsageError."""
    word, release = split(target)
    word = word.removeprefix(SCHEME)
    if word == STANDARD_INPUT:
        raise UsageError(f"{target}: inspector sim - reads events from standard input; expected a file here")
    name, _, host = (word, "", "") if os.path.lexists(word) else word.partition(":")
    empty = name == "new" and host and is_arm64_host(host)
    return on_host(empty_arm64() if empty else scenario_of(name), host, release)


def capture_of_scenario(target: str, options: Options) -> Capture:
    """The machine at the end of the scenario: its vCPUs and tasks. Raises UsageError and InputError."""
    scenario = scenario_named(target)
    world = world_of(scenario, options)
    world.play(scenario.events)
    return machine_capture(world, scenario, target)


def host_of_scenario(target: str, architecture: Architecture, kernel: str, options: Options) -> Any:
    """The host on which the scenario happens. Raises UsageError."""
    name, release = release_of(target, kernel)
    scenario = on_host(scenario_named(name), "", release)
    if scenario.architecture != architecture:
        raise UsageError(f"{target}: expected an {architecture} host; the scenario's is {scenario.architecture}")
    if architecture == _ARM64:
        from inspector.targets.arm64_world import host_of_word

        return host_of_word(scenario.host, scenario.kernel, options)
    return host_of(scenario.host, "x86", scenario.kernel, options)


def lab_of_scenario(target: str, options: Options) -> Lab:
    """The scenario before its first event. Raises UsageError and InputError."""
    return lab_of_world(world_of(scenario := scenario_named(target), options), scenario)


def lab_of_world(world: BaseWorld[Any], scenario: Scenario) -> XstateLab | Arm64Lab:
    """The lab in which a world is played."""
    if scenario.architecture == _ARM64:
        from inspector.machine.arm64.world.world import Arm64World

        assert isinstance(world, Arm64World)
        return Arm64Lab(world, scenario)
    from inspector.machine.x86.world.world import World

    assert isinstance(world, World)
    return XstateLab(world, scenario)
