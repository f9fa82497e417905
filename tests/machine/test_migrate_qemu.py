"""Real QEMUs under TCG: one migrates to a file, another with another line loads it. What breaks was said before.

``python -m tests.machine.test_migrate_qemu`` does it for every pair of lines, and prints the figures.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.migrate import start
from inspector.machine.x86.migrate.places import REGISTERS, Place, feature_words
from inspector.machine.x86.models.offer import Offer
from inspector.targets.x86_guest import guest_of_realization, realized
from inspector.targets.x86_offers import offer_of_expansion
from layouts.x86.models.features import feature_at
from layouts.x86.vmms import VMMS
from tests.machine.qemu_guest import LEAVES, PROGRAM, Qemu

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="qemu-system-x86_64 is not installed")

MODELS = "10.0"
LINES = (
    "max",
    "qemu64",
    "EPYC",
    "EPYC-Rome",
    "EPYC-Milan",
    "Haswell",
    "Skylake-Server",
    "Icelake-Server",
    "Nehalem",
    "max,-avx2,-smap",
    "Haswell,-fsgsbase,-smep",
    "EPYC,+umip,-movbe",
)
PAIRS = (
    ("max", "qemu64"),
    ("max", "max"),
    ("max", "EPYC"),
    ("max", "max,-avx2,-smap"),
    ("EPYC-Milan", "EPYC-Rome"),
    ("EPYC-Rome", "EPYC-Milan"),
    ("EPYC", "EPYC,+umip,-movbe"),
    ("Haswell", "Haswell,-fsgsbase,-smep"),
    ("Haswell", "Nehalem"),
    ("Nehalem", "Haswell"),
    ("Skylake-Server", "Haswell"),
    ("Icelake-Server", "Skylake-Server"),
    ("qemu64", "max"),
    ("qemu64", "qemu64"),
)
MACHINES = ("pc-q35-7.2", "pc-q35-5.2")


class World:
    """Sources that were migrated to files, by line and machine type; what the emulator has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved: dict[tuple[str, str], tuple[Path, Cpuid]] = {}
        asked = Qemu("max", MACHINES[0], folder)
        found = asked.ask("query-cpu-model-expansion", type="full", model={"name": "max"})
        asked.close()
        self.offer: Offer = offer_of_expansion("tcg", found["model"]["props"])._replace(accelerator="tcg")

    def saved(self, line: str, machine: str) -> tuple[Path, Cpuid]:
        """The state of a guest of this line, and CPUID as it saw it."""
        if (line, machine) not in self._saved:
            qemu = Qemu(line, machine, self.folder)
            seen = qemu.seen()
            path = self.folder / f"state-{len(self._saved)}"
            qemu.save(path)
            qemu.close()
            self._saved[line, machine] = path, seen
        return self._saved[line, machine]

    def moved(self, source: str, destination: str, machine: str, other: str = "") -> Cpuid | None:
        """CPUID as the guest sees it after it moved; None where the other QEMU does not load it."""
        path, _ = self.saved(source, machine)
        qemu = Qemu(destination, other or machine, self.folder, path)
        try:
            return qemu.seen() if qemu.loaded() else None
        finally:
            qemu.close()

    def predicted(self, source: str, destination: str, machine: str) -> set[str]:
        """The feature bits that the verdict says change under the guest."""
        made = realized(destination, self.offer, machine=machine, qemu=MODELS)
        guest = guest_of_realization(source, realized(source, self.offer, machine=machine, qemu=MODELS))
        return {str(bit.place) for bit in start.changed(guest, made) if (bit.place.at, bit.place.subleaf) in LEAVES}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder))


def changed(before: Cpuid, after: Cpuid) -> set[str]:
    """The feature bits in which two tables differ: those that QEMU has a name for."""
    found = set()
    for (leaf, subleaf), row in before.leaves.items():
        for at, register in enumerate(REGISTERS):
            if (leaf, subleaf, register) not in feature_words():
                continue
            differing = row[at] ^ (after.get(leaf, subleaf) or (0, 0, 0, 0))[at]
            for bit in range(32):
                place = Place("cpuid", leaf, subleaf, register, bit, bit)
                if differing >> bit & 1 and place.key in feature_at():
                    found.add(str(place))
    return found


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_what_changes_under_a_guest_was_said_before(world: World, source: str, destination: str) -> None:
    machine = MACHINES[0]
    _, before = world.saved(source, machine)
    after = world.moved(source, destination, machine)
    assert after is not None, "QEMU loads it and says nothing"
    assert changed(before, after) == world.predicted(source, destination, machine)


def test_another_machine_type_is_refused(world: World) -> None:
    assert world.moved("max", "max", *MACHINES) is None
    guest = guest_of_realization("max", realized("max", world.offer, machine=MACHINES[0], qemu=MODELS))
    made = realized("max", world.offer, machine=MACHINES[1], qemu=MODELS)
    found = start.machine_types(guest, made)
    assert found is not None
    assert found.refuses
    assert found.message == "Machine type received is 'pc-q35-7.2' and local is 'pc-q35-5.2'"
    assert VMMS["qemu"].compares == "nothing"


def main() -> None:
    """Every pair of lines on every machine type."""
    agree = silent = total = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for machine, source, destination in product(MACHINES, LINES, LINES):
            total += 1
            _, before = world.saved(source, machine)
            after = world.moved(source, destination, machine)
            predicted = world.predicted(source, destination, machine)
            found = changed(before, after) if after is not None else None
            silent += bool(found)
            agree += found == predicted
            if found != predicted:
                wrong = sorted(found ^ predicted) if found is not None else "not loaded"
                sys.stdout.write(f"{machine} {source} to {destination}: {wrong}\n")
    sys.stdout.write(f"{agree} of {total} pairs as predicted; {silent} changed under their guest without a word\n")


if __name__ == "__main__":
    main()
