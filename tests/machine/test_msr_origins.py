"""Who decided a bit of a feature MSR: the release, a module parameter, Linux, the silicon, the line."""

from __future__ import annotations

import pytest

from inspector.machine.x86.kvm.msrs import features
from inspector.machine.x86.migrate.actors import KERNEL, LINUX, NOT_KNOWN, PARAMETER, SILICON, VMM, Origin
from inspector.machine.x86.migrate.bits import Difference
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

_BHI_NO, _RDCL_NO, _SKIP_L1DFLUSH, _SSB_NO, _ITS_NO, _RFDS_NO = 20, 0, 3, 4, 62, 27


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


def asked(guest: Guest, host: Destination, number: int, source: int, *, is_raw: bool = True) -> Origin:
    """Of a bit of ARCH_CAPABILITIES, whatever the host's is."""
    host.is_raw = is_raw
    place = Place("msr", ARCH_CAPABILITIES, 0, "", number, number)
    bit = Difference(place, "and", source, 1 - source, bool(source))
    return origin_of(migrate(guest, host, VMMS["qemu"]), bit)


def test_a_bit_that_a_newer_update_shows() -> None:
    """RFDS_NO came to 5.10 with 5.10.213; every kernel here shows it now."""
    guest = with_msr(ARCH_CAPABILITIES, 0)
    assert asked(guest, silicon("5.10.100"), _RFDS_NO, 1) == (
        KERNEL, "a newer update of Linux 5.10 shows rfds-no to guests; 5.10.100 of spr does not"
    )  # fmt: skip
    assert asked(guest._replace(kernel="5.10"), silicon("6.18"), _RFDS_NO, 0).by != KERNEL
    assert asked(guest, silicon("6.18"), 63, 1).text.startswith("no known KVM shows ")


def test_another_value_of_a_parameter_takes_nothing() -> None:
    guest = with_msr(ARCH_CAPABILITIES, 0)
    assert asked(guest, silicon("6.18", vmentry_l1d_flush="always"), _SKIP_L1DFLUSH, 1).by == SILICON
    assert asked(guest, silicon("6.18"), _SKIP_L1DFLUSH, 1).by == SILICON


@pytest.mark.parametrize(
    ("has_bug", "is_raw", "gone", "came"),
    [
        (True, True, LINUX, NOT_KNOWN),
        (False, True, SILICON, LINUX),
        (True, False, SILICON, NOT_KNOWN),
        (False, False, SILICON, NOT_KNOWN),
    ],
)
def test_what_linux_thinks_of_a_cpu_is_known_where_the_cpu_is(
    has_bug: bool, is_raw: bool, gone: str, came: str
) -> None:
    """SSB_NO of the CPU frees it of SPEC_STORE_BYPASS (cpu_set_bug_bits); of a stand-in nobody knows it."""
    guest, capabilities = with_msr(ARCH_CAPABILITIES, 0), 0 if has_bug else 1 << _SSB_NO
    found = asked(guest, silicon("6.18", capabilities), _SSB_NO, 1, is_raw=is_raw)
    assert found.by == gone
    if gone == SILICON:
        known = "" if is_raw else "what is known of "
        more = ", and Linux there does not know it to be free of the bug"
        assert found.text == f"{known}spr does not have ssb-no (its silicon or microcode{more})"
    assert asked(guest, silicon("6.18", capabilities), _SSB_NO, 0, is_raw=is_raw).by == came
    assert asked(guest, silicon("6.18"), _BHI_NO, 1, is_raw=True).text.endswith("(its silicon or microcode)")


@pytest.mark.parametrize("kernel", ["", "nonsense"])
def test_a_guest_of_no_kernel(kernel: str) -> None:
    guest = with_msr(ARCH_CAPABILITIES, 0)._replace(kernel=kernel)
    assert asked(guest, silicon("6.18"), 7, 0).by == NOT_KNOWN


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
