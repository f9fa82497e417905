"""X06xx: TSC, timers and what has to be the same on every vCPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspector.lint.registry import Hit, check, group_check
from inspector.lint.state import State
from layouts.lint.x86.clocks import FASTEST_TSC_KHZ, SYNCHRONIZED_SECONDS, TOLERANCE_PPM

#: Where captures have the TSC's frequency.
_TSC_KHZ = ("qemu.tsc_khz.tsc_khz", "tsc_khz.tsc_khz")
_MEMORY_TYPES = (
    "IA32_PAT",
    "IA32_MTRR_DEF_TYPE",
    *(f"IA32_MTRR_PHYS{part}{n}" for n in range(8) for part in ("BASE", "MASK")),
)


def tsc_khz(state: State) -> int | None:
    """The TSC's frequency; None where it was not captured."""
    return next((value for path in _TSC_KHZ if (value := state.number(path))), None)


def _by_value(states: list[State], path: str) -> dict[int, list[int]]:
    """VCPUs by what they hold."""
    found: dict[int, list[int]] = {}
    for state in states:
        value = state.number(path)
        if value is not None:
            found.setdefault(value, []).append(state.vcpu.index)
    return found


def _told(found: dict[int, list[int]]) -> str:
    return "; ".join(f"{value:#x} on vCPU {', '.join(map(str, vcpus[:8]))}" for value, vcpus in list(found.items())[:4])


def _differ(states: list[State], paths: Sequence[str]) -> Iterator[Hit]:
    for path in paths:
        found = _by_value(states, path)
        if len(found) > 1:
            yield Hit(path, _told(found))


@group_check("X0601")
def tsc_adjust(states: list[State]) -> Iterator[Hit]:
    """IA32_TSC_ADJUST over vCPUs."""
    return _differ(states, ("msr.IA32_TSC_ADJUST",))


@group_check("X0602")
def tsc_spread(states: list[State]) -> Iterator[Hit]:
    """IA32_TIME_STAMP_COUNTER over vCPUs."""
    found = _by_value(states, "msr.IA32_TIME_STAMP_COUNTER")
    khz = tsc_khz(states[0]) or FASTEST_TSC_KHZ
    if found and max(found) - min(found) > SYNCHRONIZED_SECONDS * 1000 * khz:
        yield Hit("msr.IA32_TIME_STAMP_COUNTER", f"{max(found) - min(found)} cycles apart, at most {khz} kHz")


@group_check("X0603")
def frequencies(states: list[State]) -> Iterator[Hit]:
    """The TSC's frequency over vCPUs."""
    return _differ(states, _TSC_KHZ)


@check("X0604")
def frequency_of_cpuid(state: State) -> Iterator[Hit]:
    """The TSC's frequency against leaves 0x15 and 0x40000010."""
    khz = tsc_khz(state)
    denominator, numerator, crystal_hz, _ = state.leaf(0x15)
    said = {"cpuid.15.0.ecx": crystal_hz * numerator // denominator // 1000 if denominator else 0}
    said["cpuid.40000010.0.eax"] = state.leaf(0x4000_0010)[0]
    rates = {path: value for path, value in said.items() if value}
    if khz is not None:
        rates = {path: value for path, value in rates.items() if abs(value - khz) * 1_000_000 > khz * TOLERANCE_PPM}
        for path, value in rates.items():
            yield Hit(path, f"CPUID says {value} kHz, the TSC has {khz} kHz")
    elif (
        len(rates) == 2
        and abs(said["cpuid.15.0.ecx"] - (other := said["cpuid.40000010.0.eax"])) * 1_000_000 > other * TOLERANCE_PPM
    ):
        yield Hit("cpuid.40000010.0.eax", f"leaf 0x40000010 says {other} kHz, leaf 0x15 {said['cpuid.15.0.ecx']} kHz")


@group_check("X0605")
def one_clock_page(states: list[State]) -> Iterator[Hit]:
    """MSR_KVM_SYSTEM_TIME_NEW over vCPUs: bit 0 is its switch."""
    path = "msr.MSR_KVM_SYSTEM_TIME_NEW"
    for value, vcpus in _by_value(states, path).items():
        if value & 1 and len(vcpus) > 1:
            yield Hit(path, f"{value:#x} on vCPU {', '.join(map(str, vcpus[:8]))}")


@group_check("X0606")
def memory_types(states: list[State]) -> Iterator[Hit]:
    """MTRRs and PAT over vCPUs."""
    return _differ(states, [f"msr.{name}" for name in _MEMORY_TYPES])


@check("X0607")
def frequency_missing(state: State) -> Iterator[Hit]:
    """No frequency beside a TSC."""
    if state.is_restorable and state.number("msr.IA32_TIME_STAMP_COUNTER") is not None and tsc_khz(state) is None:
        yield Hit("msr.IA32_TIME_STAMP_COUNTER", "the capture has no frequency")
