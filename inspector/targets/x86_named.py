"""Scenarios by name, and x86 hosts by a word: a shipped CPU, a capture, ``cpuid -r`` text."""

from __future__ import annotations

import os

from inspector.capture.errors import UsageError
from inspector.capture.nearest import did_you_mean
from inspector.machine.x86.host import Host, shipped_host
from inspector.machine.x86.world.world import World
from inspector.readers.cpuid_table import cpuid_of
from inspector.readers.open import open_capture
from inspector.readers.options import NO_OPTIONS, Options
from inspector.targets.kernels import kernel_named
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import KernelProfile, policies, profile_for
from layouts.x86.scenario import Scenario
from layouts.x86.scenarios import scenarios


def scenario_of(name: str) -> Scenario:
    """A scenario by name; ``new`` is an empty host. Raises UsageError."""
    if name in ("new", "restore"):
        return Scenario(name, "an empty host", (), "")
    if name not in scenarios():
        hint = did_you_mean(name, scenarios(), "inspector sim list")
        raise UsageError(f"sim: no scenario {name!r}; {hint}")
    return scenarios()[name]


def world_of(scenario: Scenario, options: Options = NO_OPTIONS) -> World:
    """The world in which a scenario begins. Raises UsageError and InputError for a host that is none."""
    kernel = kernel_named(profile_for, scenario.kernel, options.note)
    policy = policies()[scenario.policy]
    return World(host_named(scenario.host, kernel), policy)


def host_named(name: str, kernel: KernelProfile) -> Host:
    """A shipped CPU, or the CPUID of a capture or of ``cpuid -r`` text. Raises UsageError and InputError."""
    if name in cpu_layouts():
        return shipped_host(name, kernel)
    if not (os.path.exists(name) or ":" in name):
        hint = did_you_mean(name, cpu_layouts(), "inspector layouts list")
        raise UsageError(f"--host {name}: no such CPU or file; {hint}")
    capture = open_capture(name, Options())
    tables = [capture.host.cpuid] if capture.host.cpuid else []
    for area in (*capture.context, *(area for vcpu in capture.vcpus for area in vcpu.areas)):
        if not tables and area.layout == "kvm-cpuid2" and (found := cpuid_of(area.data)) is not None:
            tables.append(found)
    if not tables or not tables[0].xsave_table():
        raise UsageError(f"--host {name}: no CPUID with leaf 0xD in it")
    return Host(tables[0], kernel)
