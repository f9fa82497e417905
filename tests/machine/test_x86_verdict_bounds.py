"""The verdict on an x86 move: what it hangs on, and the line of the destination in every part of it."""

from __future__ import annotations

import pytest

from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.verdict import migrate
from inspector.machine.x86.models.offer import offer_of_features
from inspector.targets.x86_guest import realized
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import guest_with, silicon

PKU, ERMS = 1 << 3, 1 << 9


def by_names(*there: str) -> Destination:
    """A Sapphire Rapids of which features were named, and its TSC by nobody."""
    offer = offer_of_features("h", there, signature=("GenuineIntel", 6, 143, 8))
    host = Destination("h", silicon("6.18").kvm, is_raw=False, offer=offer)
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=0)
    return host


def test_all_that_the_answer_hangs_on_is_told() -> None:
    guest = guest_with({(7, 0): (0, ERMS, PKU, 0)})
    guest = guest._replace(saved=guest.saved._replace(tsc_khz=5))
    found = migrate(guest, by_names("pku"), VMMS["qemu"])
    frequency = "the destination's TSC frequency (the guest's is 5 kHz)"
    assert (found.open, found.verdict) == (("CPUID.7.0.EBX[9] (erms)", frequency), "open")
    captured_nothing = guest_with()._replace(saved=guest.with_table({}).saved)
    assert migrate(captured_nothing, by_names("pku"), VMMS["qemu"]).open == (
        "the guest's CPUID, which was not captured",
        frequency,
    )
    assert migrate(guest_with({(7, 0): (0, 0, PKU, 0)}), by_names("pku"), VMMS["qemu"]).open == ()


def test_what_a_line_has_and_the_host_may_have_not_is_open() -> None:
    host = by_names("pku")
    made = migrate(
        guest_with({(7, 0): (0, 0, PKU, 0)}), host, VMMS["qemu"], made=realized("SapphireRapids", host.offer)
    )
    assert "avx512f" in made.open
    assert "pku" not in made.open


@pytest.mark.parametrize(
    ("line", "pku", "warns"), [("", PKU, False), ("EPYC-Milan", PKU, True), ("EPYC-Milan,-pku", 0, True)]
)
def test_the_line_is_what_the_guest_gets(line: str, pku: int, warns: bool) -> None:
    """Its CPUID and its warnings; EPYC-Milan has SSE4A, which no Sapphire Rapids has."""
    host = silicon("6.18")
    guest = guest_with({(7, 0): (0, 0, PKU, 0)})
    made = migrate(guest, host, VMMS["qemu"], made=realized(line, host.offer) if line else None)
    _, ebx, ecx, _ = made.restored.vcpu.cpuid.get(7) or (0, 0, 0, 0)
    assert (ecx & PKU, bool(ebx >> 5 & 1)) == (pku, bool(line)), "AVX2 comes with the line"
    assert any("sse4a" in entry.message for entry in made.compared) is warns


def test_what_a_line_leaves_off_does_not_come() -> None:
    """The host has more than the line: no bit of it comes to the guest, nor a component."""
    host, guest = silicon("6.18"), guest_with({(7, 0): (0, 0, 0, 0), (0xD, 0): (7, 0, 0, 0)})
    alone = migrate(guest, host, VMMS["qemu"]).bits
    line = realized("Nehalem", host.offer)
    made = migrate(guest, host, VMMS["qemu"], made=line)
    coming = {
        bit.name for bit in made.bits if bit.place.kind == "cpuid" and bit.place.high == bit.place.low and bit.target
    }
    assert {"avx512f", "pku"} <= {bit.name for bit in alone}
    assert not {"avx512f", "pku"} & coming
    assert {"sse4.2", "pni"} <= coming
    assert {bit.place.kind for bit in alone} - {bit.place.kind for bit in made.bits} == {"xcr0", "xss"}
    lost = migrate(guest_with({(0xD, 0): (0, 0, 0, 1 << 8)}), host, VMMS["qemu"], made=line).blockers
    assert "XCR0[40]" in {str(bit.place) for bit in lost}
    told = [bit.place for bit in made.bits]
    assert len(told) == len(set(told))
