"""docs/rules.md is what the machine's code says, and what the machine says when it runs."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from functools import cache

import pytest

from docs import make_rules
from docs.machine_rules import HOLE, Row, Section, modules
from docs.make_rules import sections
from inspector.machine.arm64.host import PSCI_0_2, SVE
from inspector.machine.arm64.vm import Vm
from inspector.machine.events import EventError
from inspector.machine.outcome import Outcome
from inspector.machine.x86.host import Host, shipped_cpu
from inspector.machine.x86.world.world import World
from inspector.targets.arm64_world import world_of as arm64_world_of
from layouts.arm64.ids import sysreg_id
from layouts.arm64.scenarios import SCENARIOS as ARM64_SCENARIOS
from layouts.scenario import Scenario
from layouts.x86.kernels import POLICIES, kernels
from layouts.x86.scenarios import SCENARIOS
from tests.machine.support import host_named, policy_of, world
from tests.machine.x86_events import START, event

#: Outcomes under these carry the checks of what happened below them: an instruction's, another call's.
COMPOSED = (
    "set_sve_vls",
    "__msr_io",
    "handle_xfd_event",
    "switch_fpu",
    "kernel_fpu_begin",
    "save_fpregs_to_fpstate",
    "fpu__init_cpu_xstate",
    "fpu_swap_kvm_fpstate",
)
#: What such a path tells beside rules: XSAVES that lost something.
NOTES = (f"XFD is 0 for all that is {HOLE}",)


@cache
def by_function() -> dict[str, Section]:
    """The first section of each function."""
    return {section.function: section for section in reversed(sections())}


@cache
def all_texts() -> set[str]:
    return {*NOTES, *(row.text for section in sections() for row in section.rows)}


@cache
def _matches(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(".+".join(map(re.escape, re.split(f"{HOLE}+", pattern))), text))


def _leads_to(row: Row) -> list[Section]:
    names = re.findall(r"`(\w+)`", row.text) if row.text.startswith("*then*") else []
    return [by_function()[name] for name in names if name in by_function()]


def _rows(section: Section) -> Iterator[Row]:
    """A section's checks with those of the sections that it leads to."""
    for row in section.rows:
        yield row
        for other in _leads_to(row):
            yield from _rows(other)


def _sources(section: Section) -> Iterator[str]:
    yield from section.sources
    for row in section.rows:
        for other in _leads_to(row):
            yield from _sources(other)


def _told(section: Section, outcome: Outcome) -> bool:
    """The outcome's checks are the section's, in this order, and its answer is that of the last one."""
    rows = list(_rows(section))
    at = 0
    for check in outcome.checks:
        # From the last one on: a check in a loop is made again.
        found = next((n for n in range(max(at - 1, 0), len(rows)) if _matches(rows[n].text, check.text)), None)
        if found is None:
            return False
        at = found + 1
    if outcome.checks[-1].held:
        return outcome.accepted
    told = rows[at - 1].answer
    if outcome.verdict == "signal" and told.startswith("#"):
        return True  # exceptions.signal_of: a user program's exception
    return told.endswith("by the case") or outcome.name in told or (outcome.verdict == "short" and "fewer" in told)


def hold(outcome: Outcome) -> None:
    """Some section of the outcome's source tells it."""
    if not outcome.checks:
        return
    if outcome.evidence == "proposal" and outcome.because.startswith("depends on"):
        return  # A series that is not merged: docs/kernels.md tells of it.
    if outcome.source.startswith(COMPOSED):
        for check in outcome.checks:
            assert any(_matches(text, check.text) for text in all_texts()), check
        return
    of_source = [each for each in sections() if any(_matches(source, outcome.source) for source in _sources(each))]
    assert any(_told(each, outcome) for each in of_source), (outcome.source, outcome.name, outcome.checks)


def test_the_page_is_current() -> None:
    assert make_rules.PAGE.read_text() == make_rules.page(), "make rules writes it"


def test_every_check_is_on_the_page() -> None:
    told = {row.text for section in sections() for row in section.rows}
    count = 0
    for module in modules().values():
        for node in ast.walk(ast.parse(module.path.read_text())):
            is_check = isinstance(node, ast.Call) and ast.unparse(node.func) == "rule.check"
            if is_check and isinstance(node.args[0], ast.Constant):
                count += 1
                assert node.args[0].value in told, (module.name, node.lineno)
    assert count > 150


@pytest.mark.parametrize("scenario", ARM64_SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_arm64_scenarios_say_is_on_the_page(scenario: Scenario) -> None:
    """But for what is many calls, and KVM_RUN, which goes on from the first run's checks."""
    found = arm64_world_of(scenario)
    for words in scenario.events:
        outcome = found.happen(words).outcome
        if "QEMU" not in outcome.source and not words.startswith("KVM_RUN"):
            hold(outcome)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_what_scenarios_say_is_on_the_page(scenario: Scenario) -> None:
    found = world(scenario.host, scenario.kernel, policy_of(scenario.policy))
    for words in scenario.events:
        hold(found.happen(words).outcome)


def test_what_random_events_say_is_on_the_page() -> None:
    pick = random.Random(18)
    for kernel in kernels().values():
        for policy in POLICIES[:2]:
            found = World(Host(shipped_cpu("sapphire-rapids"), kernel), policy)
            for words in (*START, *(event(pick) for _ in range(60))):
                if found.is_down:
                    break
                try:
                    hold(found.happen(words).outcome)
                except EventError:
                    continue


@pytest.mark.parametrize("kernel", ["5.10", "6.1", "6.12", "7.2"])
def test_what_arm64_says_is_on_the_page(kernel: str) -> None:
    host = host_named(f"neoverse-v1@{kernel}")
    vm = Vm(host)
    outcomes = [vm.create_vcpu(0), vm.create_vcpu(0), vm.create_vcpu(1 << 20), vm.enable_cap(1)]
    vcpu = vm.vcpus[0]
    outcomes += [
        vcpu.run(),
        vcpu.finalize(1),
        vcpu.get(sysreg_id(0xC005)),
        vcpu.init(1 << 30),
        vcpu.init(PSCI_0_2 | SVE),
    ]
    outcomes += [vcpu.init_pmu(), vcpu.set_pmu_irq(), vcpu.finalize(1), vcpu.finalize(1), vcpu.reg_list()]
    for encoding in host.kernel.registers:
        register = sysreg_id(encoding)
        outcomes.append(vcpu.get(register))
        outcomes += [vcpu.set(register, value.to_bytes(8, "little")) for value in (0, 1, 0x1111, (1 << 64) - 1)]
    outcomes += [vcpu.run(), vcpu.set(sysreg_id(next(iter(host.kernel.registers))), bytes(8))]
    for outcome in outcomes:
        hold(outcome)
    assert {outcome.name for outcome in outcomes} >= {"ok", "EINVAL", "EEXIST", "ENOEXEC"}
