"""How long an event takes with its Outcome, and how long it takes to verify all recorded answers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from inspector.export.x86_migration import x86_migration_json
from inspector.machine.arm64 import id_limits, idregs
from inspector.machine.arm64.bare import from_bare
from inspector.machine.x86.host import shipped_host
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.kvm.whole import WholeVcpu
from inspector.machine.x86.migrate.verdict import migrate
from inspector.machine.x86.world.world import World
from inspector.readers.options import NO_OPTIONS
from inspector.targets.arm64_world import world_of
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu
from layouts.arm64 import kernels as arm64
from layouts.arm64 import scenarios as arm64_scenarios
from layouts.arm64.hosts import bare_hosts
from layouts.x86 import kernels as x86
from layouts.x86.scenarios import SCENARIOS
from layouts.x86.vmms import VMMS

_OF_ALL = ("KVM_GET_ONE_REG all", "KVM_SET_ONE_REG saved", "KVM_SET_ONE_REG model:")
VERDICTS = Path(__file__).parents[1] / "tests/machine/verdicts"


def events_us(rounds: int = 40) -> list[float]:
    """Every event of every scenario, with its Outcome and the state after it."""
    times = []
    for _ in range(rounds):
        for scenario in SCENARIOS:
            policy = x86.policies()[scenario.policy]
            world = World(shipped_host(scenario.host, x86.profile_for(scenario.kernel)), policy)
            for event in scenario.events:
                start = time.perf_counter()
                world.happen(event)
                times.append(1e6 * (time.perf_counter() - start))
    return times


def arm64_events_us(rounds: int = 40) -> dict[str, list[float]]:
    """The same of arm64, by event; one that saves or sets all registers is as many calls, and left out."""
    times: dict[str, list[float]] = {}
    for scenario in arm64_scenarios.SCENARIOS:
        world = world_of(scenario)
        for _ in range(rounds):
            world = world.anew()
            for event in scenario.events:
                start = time.perf_counter()
                world.happen(event)
                if not event.startswith(_OF_ALL):
                    times.setdefault(event.split()[0], []).append(1e6 * (time.perf_counter() - start))
    return times


def checks_us(rounds: int = 20) -> list[float]:
    """Each value of each writable field of a host's ID registers, with its Outcome."""
    host = from_bare(arm64.kernels()["7.2"], [bare_hosts()["neoverse-v1"]])
    times = []
    for encoding, register in host.kernel.registers.items():
        limit = host.limit(encoding, host.features)
        if register.kind != "writable" or not limit:
            continue
        for field in id_limits.writable_fields(host, encoding):
            for number in range(1 << min(field.width, 4)):
                asked = idregs.IdWrite(host, encoding, field.put(limit, number), host.features, limit)
                start = time.perf_counter()
                for _ in range(rounds):
                    idregs.write(asked)
                times.append(1e6 * (time.perf_counter() - start) / rounds)
    return times


SOURCE, DESTINATION = "sample:sapphire-rapids/linux-6.18", "ice-lake@6.1"


#: A hundred bits in the way, and a destination that is known by the names of its features.
WIDEST = (("sample:granite-rapids/linux-6.18", "zen5@7.2"), ("sample:granite-rapids/linux-6.18", "EPYC-Rome"))


def verdict_ms(rounds: int = 15, source: str = SOURCE, destination: str = DESTINATION) -> float:
    """A migration of an x86 vCPU with every bit, who decided it and all remedies, as JSON; what is captured is read."""
    capture, host = capture_of(source), destination_of(destination, "", NO_OPTIONS)
    guest = guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)
    x86_migration_json(migrate(guest, host, VMMS["qemu"]))
    times = []
    for _ in range(rounds):
        start = time.process_time()
        x86_migration_json(migrate(guest, host, VMMS["qemu"]))
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def verdict_seconds(rounds: int = 7) -> float:
    """The same as a process, imports and all."""
    command = [sys.executable, "-m", "inspector", "migrate", SOURCE, DESTINATION, "--bits", "--json"]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def msr_checks_us(rounds: int = 200) -> list[float]:
    """KVM_SET_MSRS of one entry, for each MSR that the guest's capture has."""
    capture, host = capture_of(SOURCE), destination_of(DESTINATION, "", NO_OPTIONS)
    guest = guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)
    vcpu = WholeVcpu(host.kvm)
    vcpu.set_cpuid2(guest.saved.cpuid)
    times = []
    for index, value in guest.saved.msrs:
        start = time.perf_counter()
        for _ in range(rounds):
            access.write(vcpu, index, value)
        times.append(1e6 * (time.perf_counter() - start) / rounds)
    return times


def verify_seconds(pattern: str) -> float:
    """All recorded answers of an architecture in one process, imports and all."""
    files = sorted(str(path) for path in VERDICTS.glob(pattern))
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "inspector", "verify", *files], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def report() -> None:
    """Print what docs/performance.md promises of the machine."""
    times = events_us()
    print(f"{'an event of a scenario with its Outcome, median':<58} {statistics.median(times):>9.1f} us  (at most 50)")
    print(f"{'  90 % of them within':<58} {statistics.quantiles(times, n=10)[8]:>9.1f} us")
    by_event = arm64_events_us()
    times = [one for found in by_event.values() for one in found]
    print(f"{'an arm64 event with its Outcome, median':<58} {statistics.median(times):>9.1f} us  (at most 50)")
    print(f"{'  90 % of them within':<58} {statistics.quantiles(times, n=10)[8]:>9.1f} us")
    slowest = max(by_event, key=lambda event: statistics.median(by_event[event]))
    print(f"{f'  {slowest}, the slowest, median':<58} {statistics.median(by_event[slowest]):>9.1f} us  (at most 50)")
    check = statistics.median(checks_us())
    print(f"{'a check of an ID register write, median':<58} {check:>9.1f} us  (at most 5)")
    print(f"{'a verdict on an x86 vCPU, in process, median':<58} {verdict_ms():>9.1f} ms  (at most 20)")
    widest = max(verdict_ms(5, *pair) for pair in WIDEST)
    print(f"{'  the same with a hundred bits in the way':<58} {widest:>9.1f} ms  (at most 20)")
    print(f"{'  as a process':<58} {verdict_seconds():>9.2f} s  (at most 0.5)")
    msrs = msr_checks_us()
    print(f"{'a check of an MSR that is set, median':<58} {statistics.median(msrs):>9.1f} us  (at most 5)")
    print(f"{'  the slowest MSR':<58} {max(msrs):>9.1f} us")
    print(f"{'verify of all x86 answers, whole process':<58} {verify_seconds('x86-*'):>9.2f} s  (at most 3)")
    print(f"{'verify of all arm64 answers, whole process':<58} {verify_seconds('arm*'):>9.2f} s  (at most 30)")


if __name__ == "__main__":
    report()
