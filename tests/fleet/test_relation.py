"""The relation of a fleet says of every pair of hosts what ``migrate`` says of it.

``python -m tests.fleet.test_relation`` asks for all pairs of the real CPUs beside the checkout, which takes a minute.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from inspector.fleet import arm64, x86
from inspector.fleet.arm64_relation import Arm64Relation
from inspector.fleet.facts import Document
from inspector.fleet.relation import Verdicts
from inspector.fleet.x86_relation import X86Relation
from inspector.machine.arm64.migrate import migrate as migrate_arm64
from inspector.machine.x86.migrate.verdict import migrate as migrate_x86
from inspector.readers.options import NO_OPTIONS
from inspector.targets.arm64_host import bare_named
from inspector.targets.x86_destination import destination_of
from layouts.arm64.kernels import kernels
from layouts.x86.vmms import VMMS
from tests.fleet.fleets import fingerprints, hosts_of, shipped, unpacked
from tests.shared import FIRECRACKER, LIBCPUID, needs

ANSWERS = {"arrives": "yes", "open": "open", "lossy": "no", "refused": "no"}
Hosts = list[tuple[str, Document]]


def disagreements_x86(hosts: Hosts, step: int = 1) -> tuple[list[object], Counter[str]]:
    destinations = [x86.destination_of(name, facts) for name, facts in hosts]
    guests = [x86.guest_on(one) for one in destinations]
    verdicts = Verdicts(X86Relation(destinations))
    wrong: list[object] = []
    said: Counter[str] = Counter()
    for guest, host in list(product(range(len(guests)), range(len(guests))))[::step]:
        made = migrate_x86(guests[guest], destinations[host], VMMS["firecracker"])
        answer = verdicts[guest, host].answer
        said[answer] += 1
        blocking = {str(bit.place) for bit in made.blockers}
        named = {blocker.where for blocker in verdicts.blockers(verdicts[guest, host])} if answer == "no" else set()
        if ANSWERS[made.verdict] != answer or not blocking <= named:
            wrong.append((hosts[guest][0], hosts[host][0], made.verdict, answer, blocking ^ named))
    return wrong, said


def disagreements_arm64(hosts: Hosts) -> tuple[list[object], Counter[str]]:
    machines = [arm64.host_of(name, facts) for name, facts in hosts]
    relation = Arm64Relation(machines)
    verdicts = Verdicts(relation)
    wrong: list[object] = []
    said: Counter[str] = Counter()
    for guest, host in product(range(len(machines)), range(len(machines))):
        made = migrate_arm64(relation.states[guest], machines[host])
        asked = "yes" if made.accepted and not made.open else "open" if made.possible else "no"
        answer = verdicts[guest, host].answer
        said[answer] += 1
        if asked != answer:
            wrong.append((hosts[guest][0], hosts[host][0], asked, answer))
    return wrong, said


def test_every_pair_of_shipped_hosts() -> None:
    on_x86, on_arm64 = hosts_of(shipped())
    wrong, said = disagreements_x86(on_x86)
    assert (wrong, sum(said.values())) == ([], len(on_x86) ** 2)
    assert said["yes"] > len(on_x86)
    wrong, said = disagreements_arm64(on_arm64)
    assert (wrong, sum(said.values())) == ([], len(on_arm64) ** 2)
    assert said["yes"] >= len(on_arm64)


@needs(FIRECRACKER)
def test_every_pair_of_real_fingerprints() -> None:
    on_x86, on_arm64 = hosts_of(fingerprints())
    assert (len(on_x86), len(on_arm64)) == (18, 9)
    assert disagreements_x86(on_x86)[0] == []
    assert disagreements_arm64(on_arm64)[0] == []


@needs(LIBCPUID)
def test_pairs_of_real_cpus(tmp_path: Path) -> None:
    """Every 37th pair, so that each CPU stands on both sides; all of them by the command above."""
    on_x86, on_arm64 = hosts_of(unpacked(tmp_path)[::2])
    wrong, said = disagreements_x86(on_x86, 37)
    assert wrong == []
    assert min(said["yes"], said["no"]) > 10
    assert disagreements_arm64(on_arm64)[0] == []


def test_known_cores_on_each_kernel() -> None:
    """Hosts of which everything is known, and one of which words are: what is open is open in both."""
    names = ("neoverse-n1", "neoverse-v1", "cortex-a72", "graviton3")
    machines = [bare_named(name, kernels()[release]) for name in names for release in ("6.1", "7.2")]
    known = [one for one in machines if one is not None]
    relation = Arm64Relation(known)
    verdicts = Verdicts(relation)
    for guest, host in product(range(len(known)), range(len(known))):
        made = migrate_arm64(relation.states[guest], known[host])
        asked = "yes" if made.accepted and not made.open else "open" if made.possible else "no"
        assert verdicts[guest, host].answer == asked, (known[guest].name, known[host].name)


def test_a_guest_with_hyper_v_goes_where_it_goes_without() -> None:
    """Its leaves push those of KVM up (kvm_arch_init_vcpu of QEMU)."""
    host = destination_of("sapphire-rapids@6.18", "", NO_OPTIONS)
    guest = x86.guest_on(host)
    table = {key: row for key, row in guest.table.items() if key[0] != 0x40000001}
    hyper_v = struct.unpack("<3I", b"Microsoft Hv")
    table |= {(0x40000000, 0): (0, *hyper_v), (0x40000001, 0): (0x31237648, 0, 0, 0)}
    pushed = {(0x40000000 + up, 0): guest.table[0x40000000 + up - 0x100, 0] for up in (0x100, 0x101)}
    with_hyper_v = guest.with_table({**table, **pushed})
    assert X86Relation([host], [guest]).pair(0, 0).answer == "yes"
    assert X86Relation([host], [with_hyper_v]).pair(0, 0).answer == "yes"


@pytest.mark.parametrize("text", ["EPYC-Milan-v2", "SapphireRapids-v2"])
def test_hosts_of_which_names_are_known(text: str) -> None:
    """A model stands beside captures: of what nothing names, the answer is open in both."""
    from inspector.targets.x86_offers import offer_named

    on_x86, _ = hosts_of(shipped())
    named = (text, x86.offer_facts(offer_named(text)))
    assert disagreements_x86([*on_x86[:6], named])[0] == []


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        every_x86, every_arm64 = hosts_of([*unpacked(Path(folder)), *fingerprints()])
    for found, count in (disagreements_x86(every_x86), disagreements_arm64(every_arm64)):
        sys.stdout.write(f"{sum(count.values())} pairs, {dict(count)}, disagreements: {found}\n")
