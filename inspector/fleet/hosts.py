"""The hosts and guests of a store, by architecture, as the machine takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from inspector.capture.errors import UsageError
from inspector.fleet import arm64, x86
from inspector.fleet.arm64_relation import Arm64Relation
from inspector.fleet.common import Common, common_arm64, common_x86
from inspector.fleet.facts import X86, Document, cpuid_of_rows
from inspector.fleet.lattice import Lattice, lattice
from inspector.fleet.relation import Relation
from inspector.fleet.store import Kept, Store
from inspector.fleet.x86_relation import X86Relation
from inspector.machine.x86.models.offer import brand
from layouts.arm64.chips import core_of
from layouts.arm64.ids import MIDR, sysreg_id
from layouts.kernels import UnknownReleaseError

Progress = Callable[[int, int], None]


class Fleet(NamedTuple):
    """The distinct hosts of one architecture, with the machine's host of each, and the distinct guests."""

    arch: str
    hosts: tuple[Kept, ...]
    machines: tuple[Any, ...]
    guests: tuple[Kept, ...]

    def relation(self, guests: Sequence[Any] | None = None) -> Relation:
        """Guests against the hosts; without them those that each host's own guest is."""
        if self.arch == X86:
            return X86Relation(self.machines, guests)
        return Arm64Relation(self.machines, guests)

    def captured(self) -> list[Any]:
        """The captured guests as the machine takes them."""
        make: Callable[[str, Document], Any] = x86.guest_of if self.arch == X86 else arm64.guest_of
        return [make(kept.name, kept.facts) for kept in self.guests]

    def lattice(self, progress: Progress | None = None) -> Lattice:
        """Who can move where."""
        return lattice(self.relation(), [kept.captures for kept in self.hosts], progress)

    def common(self, found: Lattice) -> list[Common]:
        """The best guest for each group of hosts that can share one."""
        return common_x86(found, self.machines) if self.arch == X86 else common_arm64(found, self.machines)


def fleets(store: Store, note: Callable[[str], None]) -> list[Fleet]:
    """What is in a store, x86 first. A host whose kernel no profile answers for is left out and noted."""
    hosts, guests = store.hosts(), store.guests()
    found = []
    for arch in sorted({kept.facts["arch"] for kept in hosts}, reverse=True):
        mine = tuple(kept for kept in hosts if kept.facts["arch"] == arch)
        made = [(kept, machine_of(kept, "", note)) for kept in mine]
        usable = [(kept, machine) for kept, machine in made if machine is not None]
        found.append(
            Fleet(
                arch,
                tuple(kept for kept, _ in usable),
                tuple(machine for _, machine in usable),
                tuple(kept for kept in guests if kept.facts["arch"] == arch),
            )
        )
    if not any(one.hosts for one in found):
        raise UsageError(f"{store.path}: no host in it; inspector fleet add TARGET... adds some")
    return [one for one in found if one.hosts]


def machine_of(kept: Kept, kernel: str, note: Callable[[str], None]) -> Any:
    """The machine's host of facts, on a kernel where one is named; None, with a note, where no profile answers."""
    make: Callable[[str, Document, str], Any] = x86.destination_of if kept.facts["arch"] == X86 else arm64.host_of
    try:
        return make(kept.name, kept.facts, kernel)
    except (UsageError, UnknownReleaseError) as error:
        note(f"{kept.name} and {kept.captures - 1} more are left out: {error}")
        return None


def title(facts: Document) -> str:
    """What a host is: its CPU by name, and its kernel."""
    name = _cpu_title(facts) if facts["arch"] == X86 else _core_title(facts)
    return f"{name}, Linux {facts['kernel']}" if facts["kernel"] else name


def _cpu_title(facts: Document) -> str:
    if "there" in facts:
        return " ".join(filter(None, (_signature(facts["signature"]), "by names of features")))
    tables = (cpuid_of_rows(facts[key]) for key in ("cpuid", "supported", "guest"))
    for table in tables:
        if table is not None:
            found = table.signature()
            return " ".join((brand(table) or "x86").split()) + (f" ({_signature(found)})" if found else "")
    return "x86"


def _signature(found: Iterable[Any] | None) -> str:
    if found is None:
        return "x86"
    vendor, family, model, stepping = found
    return f"{vendor} {family:#x}/{model:#x}/{stepping}" if family else str(vendor)


def _core_title(facts: Document) -> str:
    if "words" in facts:
        return core_of(facts["midr"]) or "arm64 by /proc/cpuinfo"
    data = facts["registers"].get(f"{sysreg_id(MIDR):x}")
    midr = int.from_bytes(bytes.fromhex(data), "little") if data else 0
    return core_of(midr) or (f"MIDR_EL1 {midr:#x}" if midr else "arm64")
