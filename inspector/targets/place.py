"""Where the events of a scenario happen: ``host=… kernel=… policy=…``, and the same events elsewhere.

On arm64 the policy is SVE's interface: merged or proposal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.capture.nearest import did_you_mean
from inspector.decode.header import xstate_bv
from inspector.machine.against import Happened, happened
from inspector.machine.world import BaseWorld
from inspector.machine.x86.host import Host
from inspector.machine.x86.world.world import World
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.kernels import kernel_named, release_of
from inspector.targets.schemes import host_of
from layouts.arm64.chips import chips, known_cores
from layouts.arm64.kernels import kernels as arm64_kernels
from layouts.arm64.scenario_events import ABIS
from layouts.kernels import release_numbers
from layouts.scenario import Scenario
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import kernels, policies, profile_for
from layouts.x86.xsave import BY_NUMBER

FORM = "host=CPU kernel=RELEASE policy=NAME"
_NAMES = ("host", "kernel", "policy")
#: Of x86 and of arm64.
_WAYS = [*policies(), *ABIS]


class Place(NamedTuple):
    """What was said of a place; an empty word is what it was before."""

    host: str = ""
    kernel: str = ""
    policy: str = ""

    @property
    def words(self) -> str:
        """As it is typed."""
        return " ".join(f"{name}={value}" for name, value in zip(_NAMES, self, strict=True) if value)


def place_of(text: str) -> Place:
    """The words of a place; of a policy, a known CPU or a release the value will do. Raises UsageError for none."""
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=") if "=" in word else _bare(word)
        if name not in _NAMES or not equals or not value or name in found:
            raise UsageError(f"{word}: expected {FORM}, one of them or more")
        found[name] = value
    if not found:
        raise UsageError(f"expected {FORM}, one of them or more")
    if "policy" in found and found["policy"] not in _WAYS:
        hint = did_you_mean(found["policy"], _WAYS, "inspector sim --help")
        raise UsageError(f"policy={found['policy']}: no such policy; {hint}")
    return Place(**found)


def _bare(word: str) -> tuple[str, str, str]:
    """A word of which it is plain what it names."""
    is_host = word in cpu_layouts() or word in known_cores() or word in chips()
    known = {"policy": word in _WAYS, "host": is_host, "kernel": release_numbers(word)}
    return next(((name, "=", word) for name, is_one in known.items() if is_one), (word, "", ""))


def completions(text: str, architecture: str = "x86") -> list[str]:
    """What a place that is being typed can become, for a world of an architecture."""
    before, space, word = text.rpartition(" ")
    name, equals, begun = word.partition("=")
    is_arm64 = architecture == "arm64"
    hosts = [*known_cores(), *chips()] if is_arm64 else list(cpu_layouts())
    ways = ABIS if is_arm64 else list(policies())
    if not equals:
        names = [f"{one}=" for one in _NAMES if f"{one}=" not in before]
        return [f"{before}{space}{one}" for one in (*names, *ways, *hosts) if one.startswith(word)]
    releases = arm64_kernels() if is_arm64 else kernels()
    known = {"host": hosts, "kernel": list(reversed(releases)), "policy": ways}
    return [f"{before}{space}{name}={value}" for value in known.get(name, ()) if value.startswith(begun)]


def elsewhere(
    world: BaseWorld[Any], scenario: Scenario, place: Place, options: Options = NO_OPTIONS
) -> tuple[Scenario, BaseWorld[Any]]:
    """The scenario and an empty world at another place. Raises UsageError and InputError."""
    ways = list(policies()) if scenario.architecture == "x86" else ABIS
    if place.policy and place.policy not in ways:
        raise UsageError(f"policy={place.policy}: expected {', '.join(ways)}")
    if isinstance(world, World):
        return _x86(world, scenario, place, options)
    return _arm64(world, scenario, place, options)


def _arm64(
    world: BaseWorld[Any], scenario: Scenario, place: Place, options: Options
) -> tuple[Scenario, BaseWorld[Any]]:
    from inspector.machine.arm64.world.world import Arm64World
    from inspector.targets.arm64_world import world_of

    assert isinstance(world, Arm64World)

    name, release = release_of(place.host, place.kernel)
    there = scenario._replace(
        host=name or scenario.host, kernel=release or scenario.kernel, policy=place.policy or scenario.policy
    )
    return there, world_of(there, options, world.captured)


def _x86(world: World, scenario: Scenario, place: Place, options: Options) -> tuple[Scenario, World]:
    if place.host:
        name, release = release_of(place.host, place.kernel)
        host = host_of(name, "x86", release or world.host.kernel.release, options)
        _require_offsets(name, world, host)
        scenario = scenario._replace(host=name, because="")
    else:
        before = world.host
        kernel = kernel_named(profile_for, place.kernel or before.kernel.release, options.note)
        host = Host(before.cpuid, kernel, emulated=before.emulated, vmx_mpx=before.vmx_mpx)
    policy = place.policy or scenario.policy
    scenario = scenario._replace(kernel=host.kernel.release, policy=policy)
    return scenario, World(host, policies()[policy], world.captured)


def played_elsewhere(
    world: BaseWorld[Any], scenario: Scenario, place: Place, options: Options = NO_OPTIONS
) -> tuple[Scenario, BaseWorld[Any], list[Happened]]:
    """What happened in a world, once more at another place. Raises UsageError and InputError."""
    there, other = elsewhere(world, scenario, place, options)
    return there, other, list(happened(other, [step.event for step in world.steps]))


def _require_offsets(name: str, world: World, host: Host) -> None:
    """Raises UsageError where the captured image's components lie elsewhere: see x86_host.contradiction."""
    image = world.captured.image if world.captured is not None else b""
    held = xstate_bv(image) if image else 0
    for number in (one for one in BY_NUMBER if one >= 2 and held >> one & 1):
        before, now = world.host.cpuid.get(0xD, number), host.cpuid.get(0xD, number)
        if before and now and before[1] != now[1]:
            name_of = BY_NUMBER[number].name
            raise UsageError(
                f"host={name}: expected a CPU with the image's layout; "
                f"its {name_of} is at {now[1]:#x}, the image's at {before[1]:#x}"
            )
