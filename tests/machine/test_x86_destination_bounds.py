"""The host that a vCPU is to arrive on: what it shows, what is known of it, the same host otherwise."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host, booted
from inspector.machine.x86.kvm.module import SVM, Kvm, Processor
from inspector.machine.x86.kvm.msrs import access
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.machine.x86.models.offer import Offer, offer_of_cpuid, offer_of_features
from layouts.x86.kernels import profile_for
from layouts.x86.models.features import Word
from tests.machine.x86_moves import silicon, zen5

ALL = 0xFFFFFFFF
PERF_CAPABILITIES = 0x345
FPU = Word.of_cpuid(1, None, "edx")


def by_names(*there: str, emulator: str = "", **more: object) -> Destination:
    """A Sapphire Rapids of which features were named."""
    offer = offer_of_features("h", there, ["avx2"], signature=("AuthenticAMD", 25, 1, 1))._replace(**more)  # type: ignore[arg-type]
    return Destination("h", silicon("6.18").kvm, is_raw=False, offer=offer, emulator=emulator)


def test_what_names_tell_goes_before_the_table() -> None:
    host = by_names("fsgsbase", "fpu")
    plain = silicon("6.18")
    assert host.shown(7, 0, "ebx") == (plain.shown(7, 0, "ebx") | 1) & ~(1 << 5)
    assert host.known(7, 0, "ebx") == 1 | 1 << 5
    assert (host.known(7, 0, "ecx"), host.known(1, 0, "edx"), host.known(1, 0, "ecx")) == (0, 1, 0)
    assert host.known(0x80000001, 0, "edx") == 1, "AMD's copy of FPU"
    assert by_names("fpu", "syscall").known(0x80000001, 0, "edx") == 1 | 1 << 11
    assert by_names("fsgsbase").known(0x80000001, 0, "edx") == 0
    assert plain.shown(1, 0, "ecx") & 1, "a word of which nothing is named is as KVM has it"
    assert host.shown(1, 0, "ecx") == plain.shown(1, 0, "ecx")
    not_there = Destination(
        "h", plain.kvm, is_raw=False, offer=Offer("h", "kvm", {}, {Word.of_cpuid(1, None, "ecx"): 1})
    )
    assert not_there.shown(1, 0, "ecx") == plain.shown(1, 0, "ecx") & ~1
    assert host.word(7, 0, "ebx") == host.shown(7, 0, "ebx")
    assert host.word(0x80000001, 0, "edx") == host.shown(0x80000001, 0, "edx")
    assert (plain.known(7, 0, "ebx"), plain.known(0, 0, "eax")) == (ALL, ALL)
    assert plain.shown(0x123, 0, "eax") == 0


def test_vendor_and_width_are_known_where_somebody_said() -> None:
    told, untold = by_names("fpu", phys_bits=46), by_names("fpu", signature=None)
    assert (told.known(0, 0, "ebx"), untold.known(0, 0, "ebx")) == (ALL, 0)
    assert (told.known(0x80000008, 0, "eax"), untold.known(0x80000008, 0, "eax")) == (ALL, ALL & ~0xFF)
    assert told.known(0x80000008, 0, "ebx") == 0


def test_an_emulator_repeats_leaf_1_and_leaves_the_vendor_to_the_line() -> None:
    host = by_names("fpu", emulator="TCG")
    assert [host.shown(0, 0, register) for register in ("eax", "ebx", "ecx", "edx")] == [0] * 4
    assert host.shown(7, 0, "ebx") == silicon("6.18").shown(7, 0, "ebx") & ~(1 << 5)
    assert silicon("6.18").shown(0, 0, "ebx") == by_names("fpu").shown(0, 0, "ebx") == 0x756E6547
    leaf_1, copy = host.shown(1, 0, "edx"), host.shown(0x80000001, 0, "edx")
    assert host.word(0x80000001, 0, "edx") == copy | leaf_1 & 0x0183F3FF
    assert host.word(7, 0, "ebx") == host.shown(7, 0, "ebx")
    assert (host.system, by_names("fpu").system) == ("TCG", "kernel 6.18")


def test_what_was_predicted_is_not_known() -> None:
    host = silicon("6.18")
    host.unknown = {(7, 0): (0, 1, 2, 4)}
    assert [host.known(7, 0, register) for register in ("eax", "ebx", "ecx", "edx")] == [ALL, ALL - 1, ALL - 2, ALL - 4]
    assert host.known(7, 1, "ebx") == ALL


@pytest.mark.parametrize(("is_guests", "known"), [(True, 0), (False, ALL)])
def test_a_guests_table_does_not_tell_what_svm_has(is_guests: bool, known: int) -> None:
    host = Destination("h", silicon("6.18").kvm, is_raw=False, is_guests=is_guests)
    assert host.known(0x8000000A, 0, "edx") == known
    assert host.known(7, 0, "edx") == ALL


def test_what_was_kept_is_shown() -> None:
    kvm = silicon("6.18").kvm
    kept = Cpuid({(1, 0): (1, 2, 3, 4)})
    assert Destination("h", kvm, is_raw=True, supported=kept).supported == kept
    of_guest = Destination("h", kvm, is_raw=True, supported=kept, is_guests=True).supported.get(1) or ()
    made = silicon("6.18").supported.get(1) or ()
    assert of_guest == (1, 2, 3 | made[2], 4 | made[3]), "a guest's table is the least that KVM gives"


@pytest.mark.parametrize(
    ("index", "value", "has"),
    [(0x10A, 5, True), (0x480, None, False), (0x345, 0x5, True), (0x1234, None, False)],
)
def test_feature_msrs_that_somebody_kept(index: int, value: int | None, has: bool) -> None:
    host = silicon("6.18")
    host.msrs = {0x10A: 5, 0x345: 5}
    if value is not None:
        assert host.feature_msr(index) == value
    assert host.has_feature_msr(index) is (has or (index == 0x480 and host.kvm.has("VMX")))


def test_feature_msrs_that_kvm_itself_tells() -> None:
    """kvm_get_feature_msr: what needs no processor's own value is known of any host."""
    host = silicon("6.18")
    host.msrs = {}
    host.kvm.processor = host.kvm.processor._replace(msrs={}, features={})
    assert host.feature_msr(PERF_CAPABILITIES) == access.read_feature(host.bare, PERF_CAPABILITIES)
    assert (host.feature_msr(0x10A), host.feature_msr(0x1234)) == (None, None)
    assert [host.has_feature_msr(index) for index in (PERF_CAPABILITIES, 0x10A, 0x1234)] == [True, True, False]
    host.msrs = {0x1234: 5}
    assert (host.has_feature_msr(0x1234), host.feature_msr(0x1234)) == (True, 5)
    amd = zen5("6.18")
    assert isinstance(amd.feature_msr(0x10A), int), "KVM makes it up where the CPU has none"
    assert (amd.has_feature_msr(0x480), amd.feature_msr(0x480)) == (False, None)


def test_vmx_capabilities_are_there_with_nesting() -> None:
    assert [silicon("6.18", nested=value).has_feature_msr(0x480) for value in "YN"] == [True, False]


def test_feature_msrs_by_names() -> None:
    word = Word.of_msr(0x10A)
    host = by_names("rdctl-no")
    assert (host.feature_msr(0x10A), host.has_feature_msr(0x10A)) == (1, True)
    none = Offer("h", "kvm", {}, {word: 1})
    assert Destination("h", host.kvm, is_raw=False, offer=none).feature_msr(0x10A) == 0


def test_vmx_capabilities_that_nobody_told() -> None:
    raw = silicon("6.18").kvm.raw
    row = raw.get(1) or (0, 0, 0, 0)
    nested = booted(Cpuid({**raw.leaves, (1, 0): (row[0], row[1], row[2] | 1 << 5, row[3])}))
    msrs = {0x480: 1, 0x491: 2, 0x47F: 3, 0x492: 4, 0x10A: 0}
    host = destination("h", nested, profile_for("6.18"), msrs=msrs)
    assert dict(host.kvm.processor.features) == {0x480: 1, 0x491: 2}
    assert dict(host.kvm.processor.msrs) == {0x10A: 0}
    untold = destination("h", nested, profile_for("6.18"))
    assert (untold.has_feature_msr(0x48B), untold.feature_msr(0x48B), untold.is_untold(0x48B)) == (True, None, True)
    assert (untold.feature_msr(0x10A), untold.is_untold(0x10A), host.is_untold(0x480)) == (None, False, False)
    assert (untold.because, untold.emulator, untold.is_guests) == ("", "", False)


def test_the_same_host_otherwise() -> None:
    host = silicon("6.18")
    host.kvm.parameters = {"nested": "N"}
    older, other = host.on_kernel(profile_for("6.1")), host.with_parameter("ept", "N")
    for kvm in (older, other):
        assert (kvm.vendor, kvm.raw, kvm.processor) == (host.kvm.vendor, host.kvm.raw, host.kvm.processor)
        assert kvm.parameters["nested"] == "N"
    assert (older.kernel.name, other.release, other.parameters["ept"]) == ("6.1", host.kvm.release, "N")
    assert host.with_parameter("ept", "N") is other
    assert ("nested", "Y") in {(name, value) for name, value, _ in host.otherwise}
    assert ("nested", "N") not in {(name, value) for name, value, _ in host.otherwise}


@pytest.mark.parametrize(
    ("row", "is_raw", "given", "khz"),
    [
        ((2, 176, 25_000_000, 0), True, 0, 2_200_000),
        ((2, 176, 25_000_000, 0), False, 0, 0),
        ((2, 176, 25_000_000, 0), True, 5, 5),
        ((0, 176, 25_000_000, 0), True, 0, 0),
        ((3, 5, 1_000, 0), True, 0, 1),
    ],
)
def test_the_frequency_is_that_of_leaf_15(row: tuple[int, int, int, int], is_raw: bool, given: int, khz: int) -> None:
    cpuid = Cpuid({**silicon("6.18").kvm.raw.leaves, (0x15, 0): row})
    host = destination("h", booted(cpuid), profile_for("6.18"), is_raw=is_raw, tsc_khz=given)
    assert host.kvm.processor.tsc_khz == khz


def test_where_components_lie_is_known_of_a_table() -> None:
    host, table = silicon("6.18"), Cpuid({(1, 0): (0, 0, 0, 0)})
    of_table = Destination("h", host.kvm, is_raw=False, offer=offer_of_cpuid("h", table))
    assert (host.knows_areas, of_table.knows_areas, by_names("fpu").knows_areas) == (True, True, False)
    assert of_table.known(7, 0, "ebx") == ALL
    assert of_table.word(1, 0, "edx") == of_table.shown(1, 0, "edx") | of_table.offer.values[FPU]


def test_amds_copies_of_leaf_1_follow_it() -> None:
    """8000_0001 EDX, where an offer tells of a host of AMD's (kvm_arch_get_supported_cpuid of QEMU)."""
    aliases = 0x0183F3FF
    kvm = zen5("6.18").kvm
    offer = offer_of_features("h", ("fpu", "nx"), ("mmxext",))
    host = Destination("h", kvm, is_raw=False, offer=offer, supported=Cpuid({(1, 0): (0, 0, 0, 0x78BFBFF)}))
    assert host.shown(1, 0, "edx") == 0x78BFBFF
    assert host.shown(0x80000001, 0, "edx") == 1 << 20 | 0x78BFBFF & aliases
    assert [host.shown(0x80000001, 0, "ecx"), host.shown(0x80000008, 0, "edx")] == [0, 0]
    alone = Destination("h", kvm, is_raw=False, supported=Cpuid({(1, 0): (0, 0, 0, 0x78BFBFF)}))
    assert alone.shown(0x80000001, 0, "edx") == 0, "a table tells itself"


# What it is made of


def test_all_that_somebody_kept_is_the_hosts() -> None:
    raw, table = silicon("6.18").kvm.raw, Cpuid({(1, 0): (1, 2, 3, 1 << 10)})
    offer, msrs = offer_of_features("h", ("fpu",)), {0x10A: 5, 0x480: 6, 0x345: 7}
    host = destination(
        "h",
        booted(raw),
        profile_for("6.18"),
        release="6.18.7",
        supported=table,
        offer=offer,
        msrs=msrs,
        because="told",
        emulator="tcg",
        is_guests=True,
        is_raw=False,
    )
    assert (host.name, host.because, host.is_guests, host.is_raw, host.offer, host.msrs) == (
        "h", "told", True, False, offer, msrs
    )  # fmt: skip
    assert host.supported.leaves[1, 0][3] & 1 << 10, "the least that it gives"
    assert (host.kvm.release, host.kvm.processor.emulator, host.kvm.host.emulated) == ((6, 18, 7), "tcg", True)
    assert not host.kvm.processor.vmx_mpx, "an emulator has no controls of VMX"


def test_of_what_nobody_said_nothing_is_assumed() -> None:
    raw = silicon("6.18").kvm.raw
    host = destination("h", booted(raw), profile_for("6.18"))
    assert host.kvm.release == (*map(int, profile_for("6.18").version.split(".")), 0)[:3]
    assert (host.kvm.processor.emulator, host.kvm.processor.tsc_khz, host.kvm.host.emulated) == ("", 0, False)
    assert host.kvm.parameters == {}
    with_mpx = Cpuid(
        {**raw.leaves, (7, 0): (raw.leaves[7, 0][0], raw.leaves[7, 0][1] | 1 << 14, *raw.leaves[7, 0][2:])}
    )
    assert [destination("h", cpuid, profile_for("6.18")).kvm.processor.vmx_mpx for cpuid in (raw, with_mpx)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("release", "shown"), [("5.10", 0), ("6.1", 0), ("6.6", 1 << 25), ("7.1", 1 << 25), ("7.2", 1 << 25 | 1 << 17)]
)
def test_features_of_svm_by_the_release_that_has_them(release: str, shown: int) -> None:
    """VNMI came with 6.4, GMET with 7.2 (svm_set_cpu_caps), whatever the CPU has."""
    assert zen5("7.2").kvm.raw.leaves[0x8000000A, 0][3] & (1 << 25 | 1 << 17) == 1 << 25 | 1 << 17
    assert zen5(release).shown(0x8000000A, 0, "edx") & (1 << 25 | 1 << 17) == shown
    newer = Destination("h", zen5("7.2").on_kernel(profile_for(release)), is_raw=True)
    assert newer.shown(0x8000000A, 0, "edx") & (1 << 25 | 1 << 17) == shown


def test_another_kernel_and_another_parameter_change_nothing_else() -> None:
    """Its vendor, its CPU and whose it is."""
    spr = silicon("6.18").kvm
    raw = Cpuid({(0, 0): (1, 2, 3, 4)})
    kvm = Kvm(Host(spr.host.cpuid, spr.kernel, emulated=True), vendor=SVM, raw=raw, processor=Processor("tcg"))
    host = Destination("h", kvm, is_raw=True)
    for found in (host.on_kernel(profile_for("6.1")), host.with_parameter("npt", "N")):
        assert (found.vendor, found.raw, found.host.emulated, found.processor) == (SVM, raw, True, Processor("tcg"))
