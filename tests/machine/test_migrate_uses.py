"""Real QEMUs, and a guest that uses what it has: whatever breaks in it after a migration, the verdict named before.

``make pairs`` (``python -m tests.machine.test_migrate_uses``) does it for every pair of lines, and prints the figures.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.noticed import noticed
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.machine.x86.models.offer import Offer
from inspector.readers.options import NO_OPTIONS
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of_offer
from inspector.targets.x86_guest import guest_of_realization, guest_of_vcpu, realized
from inspector.targets.x86_offers import offer_of_expansion
from layouts.x86.vmms import VMMS
from tests.machine.guest_probes import PROBES, Probe
from tests.machine.qemu_guest import PROGRAM, Qemu
from tests.machine.using_guest import NOT_REACHED, RESULTS_AT, ROUNDS_AT, rom

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="qemu-system-x86_64 is not installed")

MODELS, MACHINES = "10.0", ("pc-q35-7.2", "pc-i440fx-7.2")
PAIRS = (
    ("max", "max"),
    ("max", "qemu64"),
    ("max", "max,-rdrand,-abm"),
    ("max", "max,-smap"),
    ("max", "max,-pku"),
    ("EPYC", "Haswell"),
    ("Haswell", "EPYC"),
    ("qemu64", "max"),
)
#: Those in which nothing breaks: the emulator has none of what Haswell has and EPYC lacks.
ARRIVING = (("max", "max"), ("qemu64", "max"), ("Haswell", "EPYC"))
#: Whole models, and lines that differ from one in a single control or instruction.
LINES = (
    *("max", "qemu64", "EPYC", "EPYC-Rome", "Haswell", "Skylake-Server", "Icelake-Server", "Nehalem"),
    *("max,-smep", "max,-smap", "max,-umip", "max,-pku", "max,-pks", "max,-la57", "max,-pcid", "max,-fsgsbase"),
    *("max,-xsave", "max,-avx", "max,-avx2,-fma", "max,-mpx", "max,-svm", "max,-nx", "max,-rdrand,-rdseed"),
    *("max,-abm,-bmi1,-bmi2", "max,-aes,-pclmulqdq,-sse4.2", "max,-rdtscp", "max,-pdpe1gb"),
)
#: Where it hangs as soon as it turns OSXSAVE on, so that no guest of it can be moved.
DESTINATIONS = (*LINES, "Opteron_G5")
#: Processor time of the emulator: a round takes some milliseconds.
_HANGS_AFTER_SECONDS = 0.3
#: How a use goes without its feature: #UD, #GP; LZCNT and TZCNT as the older BSR and BSF.
_CANNOT = (6, 13, 0)
#: Uses whose place in the vCPU's state shows them.
_SHOWN_BY_STATE = ("CR4.", "XCR0 ", "EFER.")


class Broken(NamedTuple):
    """A use that went otherwise on the destination."""

    probe: Probe
    before: int
    after: int


class World:
    """Sources that were migrated to files, by line and machine type; what the emulator has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.code = folder, rom()
        self._saved: dict[tuple[str, str], tuple[Guest, Path, tuple[int, ...]]] = {}
        asked = Qemu("max", MACHINES[0], folder)
        found = asked.ask("query-cpu-model-expansion", type="full", model={"name": "max"})
        asked.close()
        self.offer: Offer = offer_of_expansion("tcg", found["model"]["props"])._replace(accelerator="tcg")
        self.destination = destination_of_offer(self.offer._replace(accelerator="kvm"), "", NO_OPTIONS)

    def saved(self, line: str, machine: str) -> tuple[Guest, Path, tuple[int, ...]]:
        """A guest of this line that used everything once: as captured, its state, how each use went."""
        if (line, machine) not in self._saved:
            qemu = Qemu(line, machine, self.folder, code=self.code)
            qemu.ask("cont")
            assert _rounds(qemu, 1), f"{line}: the guest does not come to its end"
            qemu.ask("stop")
            used, path = _used(qemu), self.folder / f"state-{len(self._saved)}"
            qemu.save(path)
            qemu.close()
            capture = capture_of(str(path))
            guest = guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)
            started = guest_of_realization(line, realized(line, self.offer, machine=machine, qemu=MODELS))
            guest = guest._replace(saved=guest.saved._replace(cpuid=started.saved.cpuid), made=started.made)
            self._saved[line, machine] = guest, path, used
        return self._saved[line, machine]

    def broken(self, source: str, destination: str, machine: str) -> list[Broken]:
        """What goes otherwise after the guest moved. Of what it does not reach any more, the first."""
        _, path, before = self.saved(source, machine)
        qemu = Qemu(destination, machine, self.folder, path, code=self.code)
        try:
            assert qemu.loaded(), f"{destination}: does not load it"
            qemu.ask("cont")
            qemu.ask("inject-nmi")
            _rounds(qemu, 2)
            after = _used(qemu)
        finally:
            qemu.close()
        found = [Broken(*row) for row in zip(PROBES, before, after, strict=True) if row[1] != row[2]]
        reached = sum(one.after != NOT_REACHED for one in found)
        return found[: reached + 1]

    def verdict(self, source: str, destination: str, machine: str) -> Migration:
        """What is said before."""
        guest, _, _ = self.saved(source, machine)
        made = realized(destination, self.offer, machine=machine, qemu=MODELS)
        return migrate(guest, self.destination, VMMS["qemu"], made=made)


def _rounds(qemu: Qemu, number: int) -> bool:
    """The guest came to the end of so many rounds; False where it hangs."""
    end = qemu.spent_seconds + _HANGS_AFTER_SECONDS
    while int.from_bytes(qemu.memory(ROUNDS_AT, 4), "little") < number:
        if qemu.spent_seconds > end:
            return False
        time.sleep(0.01)
    return True


def _used(qemu: Qemu) -> tuple[int, ...]:
    return struct.unpack(f"<{len(PROBES)}I", qemu.memory(RESULTS_AT, 4 * len(PROBES)))


def unnamed(verdict: Migration, broken: list[Broken]) -> list[str]:
    """What broke and was not named as blocking, or, of a control, not as in use."""
    blocking = {bit.name: bit for bit in verdict.blockers}
    found = []
    for one in broken:
        named = [blocking[feature] for feature in one.probe.features.split() if feature in blocking]
        if not named:
            found.append(f"{one.probe.name}: {one.before:#x} before, {one.after:#x} after")
            continue
        own = blocking.get(one.probe.features.split()[0])
        if one.probe.name.startswith(_SHOWN_BY_STATE) and own is not None and not noticed(verdict.guest, own).evidence:
            found.append(f"{one.probe.name}: {own.name} is not said to be in use")
    if broken and verdict.verdict == "arrives":
        found.append("the verdict is that it arrives")
    return found


def appears(verdict: Migration, one: Broken) -> bool:
    """What the guest could not use, and can now: named, and in nobody's way."""
    named = [bit for bit in verdict.bits if bit.name in one.probe.features.split() and bit.rule != "ignore"]
    return bool(named) and one.before in _CANNOT and one.after != NOT_REACHED and not any(bit.source for bit in named)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder))


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_what_breaks_in_a_guest_was_named_before(world: World, source: str, destination: str) -> None:
    verdict = world.verdict(source, destination, MACHINES[0])
    broken = [one for one in world.broken(source, destination, MACHINES[0]) if not appears(verdict, one)]
    assert not unnamed(verdict, broken)
    assert bool(broken) == ((source, destination) not in ARRIVING)


def test_a_reserved_bit_of_cr4_hangs_the_guest(world: World) -> None:
    *_, last = world.broken("max", "max,-smap", MACHINES[0])
    assert (last.probe.name, last.after) == ("CR4.SMAP again", NOT_REACHED)


def test_an_instruction_that_becomes_another_is_told(world: World) -> None:
    found = {one.probe.name: (one.before, one.after) for one in world.broken("max", "max,-rdrand,-abm", MACHINES[0])}
    assert found == {"RDRAND": (0, 6), "RDSEED": (0, 6), "LZCNT": (31, 0)}


def main() -> None:
    """Every pair of lines on both machine types."""
    pairs = breaking = calm = told = uses = 0
    by_probe: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for machine, source, destination in product(MACHINES, LINES, DESTINATIONS):
            verdict = world.verdict(source, destination, machine)
            broken = [one for one in world.broken(source, destination, machine) if not appears(verdict, one)]
            wrong = unnamed(verdict, broken)
            pairs, breaking, uses = pairs + 1, breaking + bool(broken), uses + len(broken)
            told += bool(broken) and not wrong
            calm += not verdict.blockers and not broken
            by_probe.update(one.probe.name for one in broken)
            for text in wrong:
                sys.stdout.write(f"{machine} {source} to {destination}: {text}\n")
    sys.stdout.write(f"{pairs} pairs, all loaded; in {breaking} something breaks, {uses} uses in all;")
    sys.stdout.write(f" in {told} all of it was named before. In {calm} no bit blocks and nothing breaks\n")
    for name, count in by_probe.most_common():
        sys.stdout.write(f"  {count:>5} {name}\n")


if __name__ == "__main__":
    main()
