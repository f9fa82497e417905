"""All remedies of a verdict at once: over pairs of the shipped chips, kernels and models, what they leave."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest

from inspector.export.x86_migration_words import remedies_of
from inspector.export.x86_together import all_remedies, together_json, together_lines
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.readers.options import NO_OPTIONS
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_model, guest_of_vcpu, realized
from layouts.x86.models.qemu import qemu_models
from layouts.x86.vmms import VMMS

SAMPLES = ("cascade-lake/linux-5.10", "ice-lake/linux-6.1", "sapphire-rapids/linux-6.18", "epyc-genoa/linux-6.18")
STATES = ("kvm-vcpus/genoa-linux-7.2", "kvm-vcpus/sapphire-rapids-linux-7.2", "kvm-vcpus/turin-linux-7.3", "amx")
HOSTS = ("cascade-lake@5.10", "ice-lake@6.1", "sapphire-rapids@6.1", "milan@6.18", "genoa@5.10")


@cache
def guest_of(word: str) -> Guest:
    capture = capture_of(f"sample:{word}")
    return guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)


@cache
def host_of(word: str) -> Destination:
    return destination_of(word, "", NO_OPTIONS)


@cache
def model_guest(name: str) -> Guest:
    return guest_of_model(name, "", NO_OPTIONS)


def check(made: Migration) -> str:
    """Every bit that has words for its VMM is out of the way, no new one is in it; what remains in a few words."""
    found = all_remedies(made)
    told = [bit for bit in made.blockers if remedies_of(made, bit).get(made.vmm.name)]
    assert bool(found) is bool(told)
    if found is None:
        return made.verdict
    after = found.after
    gone = {bit.place for bit in told}
    assert {bit.place for bit in found.bits} == gone
    assert not {bit.place for bit in after.blockers} & gone
    assert {bit.place for bit in after.blockers} <= {bit.place for bit in made.blockers}
    before = {index for call in made.calls for index, _ in call.refused}
    assert {index for call in after.calls for index, _ in call.refused} <= before
    assert {call.name for call in after.calls if not call.accepted} <= {c.name for c in made.calls if not c.accepted}
    assert found.arrives is not bool(found.still)
    return after.verdict


@pytest.mark.parametrize("vmm", VMMS)
def test_captured_vcpus(vmm: str) -> None:
    for source, host in product((*SAMPLES, *STATES), HOSTS):
        check(migrate(guest_of(source), host_of(host), VMMS[vmm]))


def test_models_of_one_vendor_arrive_with_all_remedies() -> None:
    """Every 9th model on every 23rd of its vendor: a guest that starts without what is in the way arrives.

    But where libvirt misses the name of a duty (OR_BITS): a guest of a host that has it has to be told of it.
    """
    models, asked = qemu_models().models, 0
    for vendor in ("GenuineIntel", "AuthenticAMD"):
        names = [name for name, model in models.items() if model.vendor == vendor]
        for source, host in product(names[::9], names[::23]):
            made = migrate(model_guest(source), host_of(host), VMMS["libvirt"])
            check(made)
            found = all_remedies(made)
            duties = {bit.name for bit in made.bits if bit.rule == "or" and bit.source and not bit.target}
            after = found.after if found is not None else made
            assert (after.refusal is not None) is bool(duties), (source, host, found and found.still)
            assert after.refusal is not None or after.arrives
            asked += 1
    assert asked > 40


def test_what_remains_is_said() -> None:
    made = migrate(guest_of("amx"), host_of("milan@6.18"), VMMS["qemu"])
    found = all_remedies(made)
    assert found is not None
    assert {bit.name for bit in found.after.blockers} == {"vendor"}
    assert any("KVM_SET_MSRS (MSR_KVM_ASYNC_PF_INT" in still for still in found.still)
    assert "KVM_SET_XSAVE" not in " ".join(found.still)
    told = together_json(found)
    assert told is not None
    assert (told["arrives"], told["verdict"]) == (False, "refused")
    lines = together_lines(found.bits)
    assert lines["qemu"].count("-avx512f") == 1
    assert lines["cloud-hypervisor"] == "" or "amx" in lines["cloud-hypervisor"]


def test_the_destinations_line_is_realized_without_them_too() -> None:
    host = host_of("EPYC-Rome")
    made = migrate(model_guest("EPYC-Milan"), host, VMMS["libvirt"], made=realized("EPYC-Milan", host.offer))
    found = all_remedies(made)
    assert found is not None
    assert found.after.made is not None
    assert not found.after.made.missing
    assert found.arrives
