"""A kernel upgrade on the same host: predicted from the guest's view under the older kernel, and the two releases."""

from __future__ import annotations

import pytest

from inspector.capture.errors import InputError
from inspector.capture.host import Cpuid, CpuidValues
from inspector.capture.model import Capture
from inspector.machine.x86.kvm.upgrade import upgrade
from inspector.targets.schemes import capture_of
from inspector.targets.x86_cpuid import guest_table
from inspector.targets.x86_offers import feature_msrs
from inspector.targets.x86_upgrade import upgraded
from tests.shared import FIRECRACKER, needs

HOSTS = (
    "AMD_MILAN",
    "AMD_GENOA",
    "INTEL_CASCADELAKE",
    "INTEL_ICELAKE",
    "INTEL_SAPPHIRE_RAPIDS",
    "INTEL_GRANITE_RAPIDS",
)
STEPS = (("5.10", "6.1"), ("6.1", "6.18"), ("5.10", "6.18"))
#: Words that hang on the CPU: the older kernel does not show what it has, and QEMU's model of it does not tell.
CET_OF_AMD = {(7, 0, "ecx"), (0xD, 1, "ecx"), (0xD, 11, ""), (0xD, 12, "")}
PEBS, PREDICTION = {(1, 0, "ecx"), (1, 0, "edx")}, {(7, 0, "eax"), (7, 2, "")}
FLUSH_L1D, SPECULATION = (7, 0, "edx"), (0x80000008, 0, "ebx")
HANGING = {
    ("AMD_MILAN", "6.1", "6.18"): {*CET_OF_AMD, SPECULATION, (0x80000000, 0, "eax"), (0x80000022, 0, "")},
    # SPEC_CTRL stays where the CPU has IBPB_RET, which 6.14 began to ask for.
    ("AMD_GENOA", "6.1", "6.18"): {*CET_OF_AMD, SPECULATION, FLUSH_L1D, (0x80000022, 0, "ebx")},
    ("INTEL_CASCADELAKE", "6.1", "6.18"): {FLUSH_L1D},
    ("INTEL_ICELAKE", "5.10", "6.1"): {*PEBS, *PREDICTION},
    ("INTEL_ICELAKE", "6.1", "6.18"): {FLUSH_L1D},
    ("INTEL_SAPPHIRE_RAPIDS", "5.10", "6.1"): {*PREDICTION},
    ("INTEL_SAPPHIRE_RAPIDS", "6.1", "6.18"): {*PEBS, FLUSH_L1D},
    ("INTEL_GRANITE_RAPIDS", "5.10", "6.1"): {(7, 2, "edx")},
    ("INTEL_GRANITE_RAPIDS", "6.1", "6.18"): {*PEBS, FLUSH_L1D},
}
CET_MSRS = {0xDA0, 0x6A0, 0x6A2, *range(0x6A4, 0x6A9)}
LAST_BRANCHES = {0x1DB, 0x1DC}
REGISTERS = ("eax", "ebx", "ecx", "edx")


def fingerprint(host: str, kernel: str) -> Capture:
    return capture_of(str(FIRECRACKER / f"fingerprint_{host}_{kernel}host.json"))


def shown(capture: Capture) -> Cpuid:
    table = guest_table(capture)
    assert table is not None
    return table


def hangs(host: str, older: str, newer: str) -> set[tuple[int, int, str]]:
    if (older, newer) != ("5.10", "6.18"):
        return HANGING.get((host, older, newer), set())
    return HANGING.get((host, "5.10", "6.1"), set()) | HANGING.get((host, "6.1", "6.18"), set())


@needs(FIRECRACKER)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("older", "newer"), STEPS)
def test_every_word_is_predicted_or_hangs_on_what_was_hidden(host: str, older: str, newer: str) -> None:
    after = fingerprint(host, newer)
    found, real = upgraded(fingerprint(host, older), after.host.kernel), shown(after)
    differing: set[tuple[int, int, str]] = set()
    for key in {*found.cpuid, *real}:
        mine, theirs = found.cpuid.get(*key), real.get(*key)
        if mine is None or theirs is None:
            assert mine is None, f"{key} is there for nobody"
            assert key in found.unknown, f"{key} was to be expected"
            differing.add((*key, ""))
            continue
        for at, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            hidden = found.unknown.get(key, (0, 0, 0, 0))[at]
            assert (one ^ other) & ~hidden == 0, f"{key} {REGISTERS[at]}: {one:#x}, real {other:#x}"
            if one != other:
                differing.add((*key, REGISTERS[at]))
    assert differing == hangs(host, older, newer)


@needs(FIRECRACKER)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("older", "newer"), STEPS)
def test_msrs_that_come_and_go(host: str, older: str, newer: str) -> None:
    """Firecracker dumps no MSR of Hyper-V."""
    before, after = fingerprint(host, older), fingerprint(host, newer)
    found = upgraded(before, after.host.kernel)
    added = feature_msrs(after).keys() - feature_msrs(before).keys()
    removed = feature_msrs(before).keys() - feature_msrs(after).keys()
    expected = {index for index in found.added if index >> 28 != 4}
    assert not expected - added
    assert removed == set(found.removed) == set()
    late = added - expected
    assert late <= set(found.maybe)
    assert late <= (CET_MSRS if host.startswith("AMD") else LAST_BRANCHES)


AMD = (0x1F, 0x68747541, 0x444D4163, 0x69746E65)


def table(**rows: CpuidValues) -> Cpuid:
    leaves: dict[tuple[int, int], CpuidValues] = {(0, 0): AMD, (1, 0): (0xA00F11, 0, 0, 0x178BFBFF)}
    return Cpuid(leaves | {(int(name[1:], 16), 0): values for name, values in rows.items()})


def test_what_the_vmm_switched_off_stays_off() -> None:
    rows = {"x7": (0, 1 << 0, 0, 0), "x80000000": (0x80000021, *AMD[1:]), "x80000021": (0, 0, 0, 0)}
    found = upgrade(table(**rows), "6.1", "6.18")
    assert (found.cpuid.get(7) or (0,) * 4)[1] == 1, "TSC_ADJUST is KVM's in both, and the VMM took it"
    assert (found.cpuid.get(1) or (0,) * 4)[2] >> 31, "HYPERVISOR is shown from 6.16 on"
    assert found.unknown[0x80000021, 0][0] >> 8 & 1, "automatic IBRS, where the CPU has it"
    assert not found.unknown.get((7, 0), (0,) * 4)[1] & 1, "FSGSBASE was there to be seen"


def test_a_capture_without_cpuid_or_with_a_kernel_of_yore() -> None:
    with pytest.raises(InputError, match="a guest's CPUID"):
        upgraded(Capture("empty", "none", []), "6.18")
