"""Who decided a bit of a feature MSR: the release, a module parameter, Linux, the silicon, the line."""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.actors import KERNEL, LINUX, PARAMETER, SILICON, VMM, Origin
from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.guest import Guest
from inspector.machine.x86.migrate.origin import origin_of
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.verdict import migrate
from inspector.targets.x86_guest import realized
from layouts.x86.msr_origins import ARCH_CAPABILITIES, BITS, PERF_CAPABILITIES
from layouts.x86.msr_rules import RULES
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import silicon, with_msr

_BHI_NO, _RDCL_NO, _SKIP_L1DFLUSH, _SSB_NO, _ITS_NO = 20, 0, 3, 4, 62


def decided(guest: Guest, host: Destination, index: int, number: int, model: str = "") -> Origin:
    made = migrate(guest, host, VMMS["qemu"], made=realized(model, host.offer) if model else None)
    place = Place("msr", index, 0, "", number, number)
    return origin_of(made, next(bit for bit in made.bits if bit.place == place))


def test_a_release_passes_a_bit_or_not() -> None:
    gone = decided(with_msr(ARCH_CAPABILITIES, 1 << _BHI_NO), silicon("5.10.262", 1 << _BHI_NO), 0x10A, _BHI_NO)
    assert gone == (KERNEL, "Linux 6.1 shows bhi-no to guests first; 5.10.262 of spr does not")
    guest = with_msr(ARCH_CAPABILITIES, 0)._replace(kernel="5.10")
    came = decided(guest, silicon("6.18", 1 << _BHI_NO), 0x10A, _BHI_NO)
    assert came == (KERNEL, "bhi-no appears because Linux 6.1 shows it; 5.10 does not")


def test_a_module_parameter() -> None:
    guest = with_msr(ARCH_CAPABILITIES, 1 << _SKIP_L1DFLUSH)
    found = decided(guest, silicon("6.18", vmentry_l1d_flush="never"), 0x10A, _SKIP_L1DFLUSH)
    assert found == (PARAMETER, "skip-l1dfl-vmentry is off because vmentry_l1d_flush=never of KVM's modules")


def test_linux_counts_a_cpu_among_those_with_a_bug() -> None:
    found = decided(with_msr(ARCH_CAPABILITIES, 1 << _SSB_NO), silicon("6.18"), 0x10A, _SSB_NO)
    assert found == (LINUX, "Linux on spr counts its CPU among those with SPEC_STORE_BYPASS, which takes ssb-no")


def test_the_silicon_or_its_microcode() -> None:
    found = decided(with_msr(ARCH_CAPABILITIES, 1 << _BHI_NO), silicon("6.18"), 0x10A, _BHI_NO)
    assert found == (SILICON, "spr does not have bhi-no (its silicon or microcode)")


def test_a_line_of_the_destination() -> None:
    guest = with_msr(ARCH_CAPABILITIES, 1 << _RDCL_NO | 1 << _BHI_NO)
    found = decided(guest, silicon("6.18", 1 << _RDCL_NO | 1 << _BHI_NO), 0x10A, _RDCL_NO, "SapphireRapids,-rdctl-no")
    assert found == (VMM, "off because -rdctl-no turns it off")


def test_vmx_and_perf_capabilities_by_release() -> None:
    assert not features.shown((6, 12, 0), 0x48F) >> 60 & 1
    assert features.shown((6, 18, 0), 0x48F) >> 60 & 1
    assert not features.shown((5, 10, 0), PERF_CAPABILITIES) & 0x3F


@pytest.mark.parametrize("release", RULES)
def test_every_bit_that_linux_concludes_is_passed_by_some_release(release: tuple[int, int]) -> None:
    newest = (*release, 1 << 16)
    for (index, number), made in BITS.items():
        since = made.since or ((6, 1) if number == _ITS_NO and index == ARCH_CAPABILITIES else (5, 10))
        if release >= max(since, (6, 12)):
            assert features.shown(newest, index) >> number & 1
