"""A04xx: vCPUs of one machine against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.lint.registry import Hit, group_check
from inspector.lint.state import State
from layouts.arm64.ids import FIRMWARE_NAMES
from layouts.arm64.sysregs import id_registers
from layouts.lint.arm64.vcpus import COUNTER_HZ

#: Registers that are each vCPU's own.
_OWN = ("MPIDR_EL1",)
_AFFINITY = 0xFF_00FF_FFFF


def _by_value(states: list[State], path: str, mask: int = -1) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for state in states:
        value = state.number(path)
        if value is not None:
            found.setdefault(value & mask, []).append(state.vcpu.index)
    return found


def _differ(states: list[State], paths: Sequence[str]) -> Iterator[Hit]:
    for path in paths:
        found = _by_value(states, path)
        if len(found) > 1:
            told = "; ".join(f"{value:#x} on vCPU {vcpus[0]}" for value, vcpus in list(found.items())[:4])
            yield Hit(path, told)


@group_check("A0401")
def features(states: list[State]) -> Iterator[Hit]:
    """ID registers over vCPUs."""
    return _differ(states, [f"sysreg.{name}" for name in id_registers() if name not in _OWN])


@group_check("A0402")
def affinities(states: list[State]) -> Iterator[Hit]:
    """MPIDR_EL1 over vCPUs."""
    for value, vcpus in _by_value(states, "sysreg.MPIDR_EL1", _AFFINITY).items():
        if len(vcpus) > 1:
            yield Hit("sysreg.MPIDR_EL1", f"affinity {value:#x} on vCPU {', '.join(map(str, vcpus[:8]))}")


@group_check("A0403")
def lengths(states: list[State]) -> Iterator[Hit]:
    """KVM_REG_ARM64_SVE_VLS over vCPUs."""
    return _differ(states, ("sve.vls",))


@group_check("A0404")
def firmware(states: list[State]) -> Iterator[Hit]:
    """Firmware registers over vCPUs."""
    return _differ(states, [f"fw.{name}" for names in FIRMWARE_NAMES.values() for name in names])


@group_check("A0405")
def counter(states: list[State]) -> Iterator[Hit]:
    """CNTVCT_EL0 over vCPUs."""
    found = _by_value(states, "sysreg.CNTVCT_EL0")
    if found and max(found) - min(found) > COUNTER_HZ:
        yield Hit("sysreg.CNTVCT_EL0", f"{max(found) - min(found)} ticks apart")


@group_check("A0406")
def counters(states: list[State]) -> Iterator[Hit]:
    """PMCR_EL0.N over vCPUs."""
    numbers = {state.vcpu.index: state.bit("sysreg.PMCR_EL0.N") for state in states}
    if len({number for number in numbers.values() if number is not None}) > 1:
        yield Hit("sysreg.PMCR_EL0", ", ".join(f"{number} on vCPU {vcpu}" for vcpu, number in numbers.items()))
