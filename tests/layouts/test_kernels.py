"""Kernel profiles: which one answers for a release, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from layouts.arm64 import kernels as arm64
from layouts.arm64.kernels import Arm64Kernel, Limit
from layouts.kernels import DEFAULT_RELEASE, Kernel, UnknownReleaseError, profile_among, release_numbers, who_does
from layouts.scenario import Scenario
from layouts.x86 import kernels as x86
from layouts.x86.kernels import X86Kernel

X86 = tuple(x86.kernels().values())
ARM64 = tuple(arm64.kernels().values())
RELEASES = {
    "6.12": (6, 12),
    "6.12-rc3": (6, 12),
    "6.12+": (6, 12),
    "Linux 6.12": (6, 12),
    "Linux version 6.12.9": (6, 12),
    "v6.12.9": (6, 12),
    "6.18.44-amd64": (6, 18),
    "7.3-arm64": (7, 3),
    "7.3~rc7": (7, 3),
    "5.10.223-1~deb": (5, 10),
    "7.2.13+deb14-cloud-amd64": (7, 2),
    "6.12.0-124.28.1.el10_1": (6, 12),
    "": None,
    "6": None,
    "unknown": None,
    "6.x": None,
    "linux-6.12": None,
    "6.99999999": None,
}


@pytest.mark.parametrize(("release", "numbers"), RELEASES.items())
def test_releases_are_read_as_they_are_written(release: str, numbers: tuple[int, int] | None) -> None:
    assert release_numbers(release) == numbers


@pytest.mark.parametrize("release", [release for release, numbers in RELEASES.items() if numbers])
def test_a_release_with_a_profile_has_its_own(release: str) -> None:
    numbers = RELEASES[release]
    assert numbers is not None
    for kernel in (arm64.profile_for(release), x86.profile_for(release)):
        assert kernel.name == kernel.label == kernel.release == f"{numbers[0]}.{numbers[1]}"
        assert kernel.note == kernel.answers_for == ""
        assert kernel.title == f"Linux {kernel.name}"


@pytest.mark.parametrize(
    ("release", "name", "title"),
    [
        ("6.14.0-27-generic", "6.12", "Linux 6.12 for 6.14"),
        ("6.8", "6.12", "Linux 6.12 for 6.8"),
        ("6.4.1", "6.1", "Linux 6.1 for 6.4"),
        ("5.15", "5.10", "Linux 5.10 for 5.15"),
        ("99.0", ARM64[-1].name, f"Linux {ARM64[-1].name} for 99.0"),
    ],
)
def test_another_profile_says_that_it_answers(release: str, name: str, title: str) -> None:
    kernel = arm64.profile_for(release)
    assert (kernel.name, kernel.title) == (name, title)
    assert kernel.note == f"Linux {title.rsplit(maxsplit=1)[-1]} has no profile: Linux {name} answers for it"


@pytest.mark.parametrize(
    ("release", "name"),
    [("6.14", "6.12"), ("6.4", "6.1"), ("5.17.1", "6.1"), ("5.15.0-130-generic", "5.10"), ("99.0", X86[-1].name)],
)
def test_another_x86_profile_says_that_it_answers(release: str, name: str) -> None:
    kernel = x86.profile_for(release)
    assert kernel.name == name
    assert kernel.note.endswith(f"has no profile: Linux {name} answers for it")


@pytest.mark.parametrize("answers", [arm64.profile_for, x86.profile_for])
@pytest.mark.parametrize("release", ["", "unknown", "6", "5.9.16", "4.19"])
def test_no_release_and_one_that_is_too_old_are_errors(release: str, answers: Callable[[str], Kernel]) -> None:
    with pytest.raises(UnknownReleaseError, match="expected") as error:
        answers(release)
    assert "\n" not in str(error.value)


def test_a_new_profile_answers_for_its_release_and_changes_no_default() -> None:
    newer = X86[-1].replaced(name="99.0", version="99.0.1")
    profiles = {kernel.name: kernel for kernel in (*X86, newer)}
    assert profile_among(profiles, "99.0-rc1") is newer
    assert profile_among(profiles, DEFAULT_RELEASE) is x86.profile_for(DEFAULT_RELEASE)
    assert Scenario("", "", (), "").kernel == DEFAULT_RELEASE
    assert DEFAULT_RELEASE in arm64.kernels()


@pytest.mark.parametrize("kernels", [ARM64, X86])
def test_profiles_are_oldest_first_and_name_their_source(kernels: Sequence[Arm64Kernel | X86Kernel]) -> None:
    assert [release_numbers(kernel.name) for kernel in kernels] == sorted(
        numbers for kernel in kernels if (numbers := release_numbers(kernel.name))
    )
    for kernel in kernels:
        assert kernel.version.startswith(f"{kernel.name}.")
        assert f"Linux {kernel.version}" in kernel.source
        assert (release_numbers(kernel.since or kernel.name) or (99, 0)) <= (release_numbers(kernel.name) or (0, 0))


def test_fields_lie_within_their_registers_and_do_not_overlap() -> None:
    for kernel in arm64.kernels().values():
        for encoding, fields in kernel.fields.items():
            covered = 0
            for field in fields:
                assert field.name
                assert not covered & field.mask, (kernel.name, encoding, field)
                covered |= field.mask
            assert covered < 1 << 64
        for register in kernel.registers.values():
            assert bool(register.mask) == (register.kind in ("writable", "implementation", "vcpu")), register


def test_limits_hide_and_bound_fields() -> None:
    limit = Limit(hidden=0xF0, without_mte=0xF00, most=((12, 4, 3),))
    assert limit.of(0xFFFF, mte=True) == 0x3F0F
    assert limit.of(0xFFFF, mte=False) == 0x300F
    assert limit.of(0x1001, mte=False) == 0x1001


def test_x86_masks_grow_with_their_kernels() -> None:
    """XFEATURE_MAX is behind the highest component; APX came in 6.16, CET of supervisors for guests in 6.17."""
    for kernel in X86:
        known = kernel.user_supported | kernel.supervisor_supported
        assert not known >> kernel.xfeature_max
        assert not kernel.guest_supervisor & ~kernel.supervisor_supported
        assert not (kernel.user_dynamic | kernel.kvm_xcr0) & ~kernel.user_supported
        assert not kernel.kvm_xss & ~kernel.supervisor_supported
        assert bool(kernel.user_dynamic) == kernel.kvm_xsave2
    assert next(kernel.name for kernel in X86 if kernel.user_supported >> 19 & 1) == "6.16"
    assert next(kernel.name for kernel in X86 if kernel.guest_supervisor) == "6.17"
    assert next(kernel.name for kernel in X86 if kernel.kvm_xss) == "6.18"


def _named(kernel: str, register: str) -> int:
    return next(each.encoding for each in arm64.kernels()[kernel].registers.values() if each.name == register)


def _has(kernel: str, register: str, field: str) -> bool:
    return any(each.name == field for each in arm64.kernels()[kernel].fields.get(_named(kernel, register), ()))


def test_fields_come_with_their_kernels() -> None:
    """ISAR2.ATS1A is in the tables from 7.2 on, MMFR3.SCTLRX from 6.17; PMUVer is signed up to 7.0.0."""
    for name in arm64.kernels():
        numbers = release_numbers(name) or (0, 0)
        assert _has(name, "ID_AA64ISAR2_EL1", "ATS1A") == (numbers >= (7, 2))
        if numbers >= (6, 6):
            assert _has(name, "ID_AA64MMFR3_EL1", "SCTLRX") == (numbers >= (6, 17))
        pmuver = next(
            field for field in arm64.kernels()[name].fields[_named(name, "ID_AA64DFR0_EL1")] if field.name == "PMUVer"
        )
        assert pmuver.signed == (numbers < (7, 1) and name != "6.12")


def test_what_5_10_has_not() -> None:
    kernel = arm64.kernels()["5.10"]
    assert (kernel.writable_csv, kernel.pmuver_most, kernel.bitmaps) == (("CSV2",), 4, {})
    assert kernel.psci_versions[-1] == 0x10000
    assert not kernel.checks_features


def test_7_3_knows_a_tenth_vcpu_feature() -> None:
    assert [arm64.kernels()[name].vcpu_features for name in ("6.12", "7.2", "7.3")] == [7, 9, 10]


@pytest.mark.parametrize(
    ("releases", "said"),
    [
        ("6.12", "Linux 6.12 shows"),
        ("6.12 6.16", "Linux 6.12 to 6.16 shows"),
        ("5.10 6.12 6.16", "Linux 5.10 and 6.12 to 6.16 show"),
        ("5.10 6.6 6.16", "Linux 5.10, 6.6 and 6.16 show"),
        ("5.10 6.1 6.6 6.12 6.16", "Linux 5.10 to 6.16 shows"),
        # In the order of what was asked, whatever that of the answers.
        ("6.16 6.12", "Linux 6.12 to 6.16 shows"),
    ],
)
def test_releases_in_words_say_where_one_is_missing(releases: str, said: str) -> None:
    assert who_does(releases.split(), ["5.10", "6.1", "6.6", "6.12", "6.16"], "shows", "show") == said
