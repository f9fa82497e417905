"""x86 hosts by a word, and the worlds of scenarios on them: a shipped CPU, a capture, ``cpuid -r`` text."""

from __future__ import annotations

import os

from inspector.capture.errors import UsageError
from inspector.capture.model import Capture
from inspector.capture.nearest import did_you_mean
from inspector.machine.x86.host import Host, shipped_host
from inspector.machine.x86.world.world import World
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.open import open_capture
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.kernels import kernel_named, release_of
from inspector.targets.schemes import host_of
from layouts.scenario import Scenario
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import policies, profile_for


def world_of(scenario: Scenario, options: Options = NO_OPTIONS) -> World:
    """The world in which a scenario begins. Raises UsageError and InputError for a host that is none."""
    return World(host_of(scenario.host, "x86", scenario.kernel, options), policies()[scenario.policy])


def host_of_word(text: str, kernel: str = "", options: Options = NO_OPTIONS) -> Host:
    """A shipped CPU, or the CPUID of a capture or of ``cpuid -r`` text. Raises UsageError and InputError."""
    name, release = release_of(text, kernel)
    if name in cpu_layouts():
        return shipped_host(name, kernel_named(profile_for, release, options.note))
    if name != "-" and not os.path.exists(name):
        hint = did_you_mean(name, cpu_layouts(), "inspector layouts list")
        raise UsageError(f"--host {name}: no such CPU or file; {hint}")
    return host_of_capture(open_capture(name), release, options)


def host_of_capture(capture: Capture, release: str, options: Options) -> Host:
    """The CPU whose CPUID was captured, else the one that the first vCPU sees. Raises UsageError for none."""
    tables = [capture.host.cpuid] if capture.host.cpuid else []
    for area in (*capture.context, *(area for vcpu in capture.vcpus for area in vcpu.areas)):
        # A table of which bits are unknown is no host.
        told = area.layout == "kvm-cpuid2" and not area.attributes.get("unknown")
        if not tables and told and (found := cpuid_of(area.data)) is not None:
            tables.append(found)
    if not tables or not tables[0].xsave_table():
        raise UsageError(f"--host {capture.target}: no CPUID with leaf 0xD in it")
    return Host(tables[0], kernel_named(profile_for, release, options.note))
