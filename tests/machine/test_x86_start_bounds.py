"""Before the first call of an x86 move: the CPUID that the guest will have, what a line changes, what VMMs compare."""

from __future__ import annotations

from functools import cache

import pytest

from inspector.capture.host import CpuidValues
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.start import arriving, changed, compared
from inspector.machine.x86.models.cpuid import guest_cpuid
from inspector.machine.x86.models.realize import Realization
from inspector.targets.x86_guest import realized
from layouts.x86.features import REGISTERS
from layouts.x86.models.features import features, words
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import bit, feature, guest_with, showing, silicon

M32 = 0xFFFFFFFF
FULL = (M32, M32, M32, M32)
PKU, AVX2, KVMCLOCK = (7, 0, "ecx", 3), (7, 0, "ebx", 5), (0x40000001, 0, "eax", 3)
KVM, MICROSOFT = (0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D), (0x40000005, 0x7263694D, 0x666F736F, 0x76482074)
Rows = dict[tuple[int, int], CpuidValues]


@cache
def line_of(line: str, machine: str = "") -> Realization:
    """What QEMU makes of a line on a Sapphire Rapids under 6.18."""
    return realized(line, silicon("6.18").offer, machine=machine)


def table_there(table: Rows, *bits: Difference, line: str = "") -> Rows:
    """The guest's CPUID on the destination, where QEMU makes it."""
    made = line_of(line) if line else None
    return {
        (entry.leaf, entry.subleaf): entry.values for entry in arriving(guest_with(table), VMMS["qemu"], bits, made)
    }


# The guest's CPUID there


def test_a_list_that_is_sent_is_the_guests_own() -> None:
    """Also with an entry twice, of which KVM takes the first."""
    guest = guest_with({(7, 0): FULL, (0xD, 0): FULL})
    twice = guest._replace(saved=guest.saved._replace(cpuid=(*guest.saved.cpuid, guest.saved.cpuid[0])))
    bits = (feature(PKU), bit("xcr0", 0xD, 0, "", 9))
    for vmm in ("firecracker", "cloud-hypervisor"):
        assert arriving(twice, VMMS[vmm], bits, line_of("host")) == twice.saved.cpuid


@pytest.mark.parametrize(
    ("difference", "rows"),
    [
        (feature(PKU), {(7, 0): (M32, M32, M32 & ~8, M32)}),
        (feature(PKU)._replace(blocks=False), {}),
        (bit("cpuid", 7, 0, "edx", 10, rule="or"), {}),
        (bit("cpuid", 0, 0, "ebx", 0, 31, "equal"), {}),
        (bit("msr", 0x10A, 0, "", 0), {}),
        (bit("xcr0", 0xD, 0, "", 9), {(0xD, 0): (M32 & ~(1 << 9), M32, M32, M32), (0xD, 9): None}),
        (bit("xcr0", 0xD, 0, "", 9)._replace(blocks=False), {}),
        (bit("xcr0", 0xD, 0, "", 31), {(0xD, 0): (M32 >> 1, M32, M32, M32)}),
        (bit("xcr0", 0xD, 0, "", 32), {(0xD, 0): (M32, M32, M32, M32 & ~1)}),
        (bit("xcr0", 0xD, 0, "", 40), {(0xD, 0): (M32, M32, M32, M32 & ~(1 << 8))}),
        (bit("xss", 0xD, 0, "", 11), {(0xD, 1): (M32, M32, M32 & ~(1 << 11), M32), (0xD, 11): None}),
        (bit("xss", 0xD, 0, "", 33), {(0xD, 1): (M32, M32, M32, M32 & ~2)}),
    ],
)
def test_qemu_leaves_out_what_its_host_has_not(
    difference: Difference, rows: dict[tuple[int, int], CpuidValues | None]
) -> None:
    table = dict.fromkeys(((0, 0), (7, 0), (0xD, 0), (0xD, 1), (0xD, 9), (0xD, 11)), FULL)
    expected = {key: row for key, row in {**table, **rows}.items() if row is not None}
    assert table_there(table, difference) == expected
    if difference.place.kind in ("xcr0", "xss"):
        assert table_there({(7, 0): FULL}, difference) == {(7, 0): FULL}


@pytest.mark.parametrize("before", [0, M32])
def test_a_lines_features_are_the_guests_and_the_rest_stays(before: int) -> None:
    """Every bit that QEMU names is the line's, but APIC and HT, which KVM and topology keep; caches are the guest's."""
    row = (before, before, before, before)
    own = {word.leaf: row for word in words() if not word.is_msr} | {(4, 0): row, (4, 0xD): row, (0x40000000, 0): KVM}
    own[0xD, 17] = row
    found, line = table_there(own, line="EPYC-Milan,-kvmclock"), line_of("EPYC-Milan,-kvmclock")
    components = {key: row for key, row in guest_cpuid(line).leaves.items() if key[0] == 0xD}
    assert {key: row for key, row in found.items() if key[0] == 0xD} == components
    assert (found[4, 0], found[4, 0xD], found[0x40000000, 0]) == (row, row, KVM)
    for word, names in words().items():
        if word.is_msr or word.at == 0xD:
            continue
        for at in range(32):
            name = names.get(at)
            kept = name is None or (word.at == 1 and word.register == "edx" and at in (9, 28))
            expected = before & 1 if kept else int(name in line.features)
            assert found[word.leaf][word.register_number] >> at & 1 == expected, (word, at)


def test_a_line_adds_the_leaves_that_the_guest_had_not() -> None:
    """KVM's leaf is added to no capture that has it not; with Hyper-V's in front it is behind those."""
    found, theirs = table_there({(1, 0): (0, 0, 0, 0)}, line="SapphireRapids"), guest_cpuid(line_of("SapphireRapids"))
    for leaf in ((7, 0), (7, 1), (0x80000001, 0), (0x80000008, 0)):
        register = {(7, 0): 1, (7, 1): 0, (0x80000001, 0): 2, (0x80000008, 0): 1}[leaf]
        assert found[leaf][register] == (theirs.get(*leaf) or ())[register] != 0
    assert found[0x80000008, 0][0] == 0, "widths are no features"
    assert not [key for key in found if key[0] >> 28 == 4]
    behind = {(0x40000000, 0): MICROSOFT, (0x40000001, 0): FULL, (0x40000100, 0): KVM, (0x40000101, 0): FULL}
    found = table_there(behind, line="EPYC")
    assert (found[0x40000001, 0], found[0x40000101, 0][0] & 0xFFFF) == (FULL, 0x17B)


# What a line changes


def change(table: Rows, line: str, msrs: dict[int, int] | None = None) -> dict[str, Difference]:
    return {str(found.place): found for found in changed(guest_with(table, msrs), line_of(line))}


def test_every_bit_that_a_line_sets_otherwise_is_named() -> None:
    line = line_of("EPYC-Milan")
    for row in (FULL, (0, 0, 0, 0)):
        table = {word.leaf: row for word in words() if not word.is_msr} | {(0x40000000, 0): KVM}
        expected = {
            (str(one), row[one.word.register_number] & 1, int(name in line.features))
            for name, bits in features().items()
            for one in bits
            if not one.word.is_msr and row[0] & 1 != int(name in line.features)
        }
        found = change(table, "EPYC-Milan")
        assert {(place, entry.source, entry.target) for place, entry in found.items()} == expected
        assert {entry.blocks for entry in found.values()} == ({True, False} if row[0] else {False})
    assert change({}, "EPYC-Milan") == {}


def test_what_a_guest_lacks_whole_comes_with_the_line() -> None:
    found = change({(1, 0): (0, 0, 0, 0)}, "EPYC-Milan")
    assert found["CPUID.7.0.EBX[5]"] == Difference(Place("cpuid", *AVX2, 5), "and", 0, 1, blocks=False)
    assert not [place for place in found if place.startswith("CPUID.4000")]


def test_kvms_own_features_are_the_lines_too() -> None:
    """A guest whose clock is KVM's loses it to a line with kvmclock off (kvm_x86_build_cpuid, FEAT_KVM)."""
    table = {(0x40000000, 0): KVM, (0x40000001, 0): (1 << 3, 0, 0, 0)}
    assert change(table, "EPYC,-kvmclock")["CPUID.40000001.0.EAX[3]"] == Difference(
        Place("cpuid", *KVMCLOCK, 3), "and", 1, 0, blocks=True
    )
    assert "CPUID.40000001.0.EAX[3]" not in change(table, "EPYC")
    assert not [place for place in change({**table, (0x40000000, 0): MICROSOFT}, "EPYC") if "40000001" in place]
    behind = {(0x40000000, 0): MICROSOFT, (0x40000100, 0): KVM, (0x40000101, 0): (1 << 3, 0, 0, 0)}
    assert change(behind, "EPYC,-kvmclock")["CPUID.40000001.0.EAX[3]"].blocks


def test_bits_that_a_line_switches_are_not_the_vcpus_own() -> None:
    """MONITOR/MWAIT follows the vCPU's state on one line, and the line on another; OSXSAVE is CR4's on any."""
    found = change({(1, 0): (0, 0, 1 << 3, 1 << 28)}, "EPYC,-monitor")
    assert (found["CPUID.1.0.ECX[3]"].rule, found["CPUID.1.0.ECX[3]"].blocks) == ("and", True)
    assert (found["CPUID.1.0.EDX[28]"].rule, found["CPUID.1.0.EDX[28]"].blocks) == ("ignore", False)


def test_bits_of_feature_msrs_that_a_line_sets() -> None:
    """ARCH_CAPABILITIES is the line's (kvm_init_msrs), bit by bit; what was not captured is not compared."""
    line = "EPYC-Milan,+arch-capabilities,+rdctl-no"
    found = change({(1, 0): FULL}, line, {0x10A: 1 << 20 | 1 << 3})
    msr = {place: entry for place, entry in found.items() if place.startswith("MSR")}
    rdctl_no = int("rdctl-no" in line_of(line).features)
    assert {place: (entry.source, entry.target, entry.blocks) for place, entry in msr.items()} == {
        "MSR.10A[3]": (1, 0, True),
        "MSR.10A[20]": (1, 0, True),
        **({"MSR.10A[0]": (0, 1, False)} if rdctl_no else {}),
    }
    assert msr["MSR.10A[20]"].place == Place("msr", 0x10A, 0, "", 20, 20)
    assert not [place for place in change({(1, 0): FULL}, line, {0x345: 0x3F}) if place.startswith("MSR")]


# What VMMs compare


def asked(vmm: str, *bits: Difference, line: str = "", table: Rows | None = None) -> list[tuple[bool, bool, str]]:
    guest = guest_with({(1, 0): (0, 0, 0, 0)} if table is None else table)
    found = compared(guest, silicon("6.18"), VMMS[vmm], bits, line_of(line) if line else None)
    return [(entry.held, entry.refuses, entry.message) for entry in found]


def test_without_the_guests_cpuid_a_line_alone_is_compared() -> None:
    assert asked("libvirt", table={}) == asked("cloud-hypervisor", table={}) == []
    assert asked("libvirt", table={}, line="EPYC-v1") != []


def test_the_machine_type_is_compared_first() -> None:
    made, other = line_of("EPYC-v1", "pc-q35-7.2"), line_of("EPYC-v1", "pc-q35-5.2")
    guest = guest_with({(1, 0): (0, 0, 0, 0)})._replace(made=made)
    refused = (False, True, "Machine type received is 'pc-q35-7.2' and local is 'pc-q35-5.2'")
    for vmm in ("qemu", "libvirt"):
        found = compared(guest, silicon("6.18"), VMMS[vmm], (feature(PKU),), other)
        assert [(entry.held, entry.refuses, entry.message) for entry in found] == [refused]
        assert refused not in [
            (entry.held, entry.refuses, entry.message)
            for entry in compared(guest, silicon("6.18"), VMMS[vmm], (), made)
        ]
    assert compared(guest, silicon("6.18"), VMMS["firecracker"], (), other) == ()


NAMES = "guest CPU doesn't match specification: "


@pytest.mark.parametrize(
    ("bits", "refuses", "message"),
    [
        ((), False, ""),
        ((feature(PKU),), True, f"{NAMES}missing features: pku"),
        ((bit("msr", 0x10A, 0, "", 0),), True, f"{NAMES}missing features: rdctl-no"),
        # Not for sure: nobody tells; a bit without a name; a bit that is the vCPU's own.
        ((feature(PKU)._replace(known=False),), False, ""),
        ((feature((7, 0, "eax", 1)),), False, ""),
        ((bit("cpuid", 1, 0, "edx", 9, rule="ignore"),), False, ""),
        ((feature(PKU)._replace(target=1),), False, ""),
        # What appears is extra where the line has it; without a line nobody says so.
        ((feature(AVX2)._replace(source=0, target=1),), False, ""),
    ],
)
def test_libvirt_compares_names(bits: tuple[Difference, ...], refuses: bool, message: str) -> None:
    assert asked("libvirt", *bits)[-1] == (not refuses, refuses, message)


def test_libvirt_tells_of_features_that_the_line_has_and_the_guest_has_not() -> None:
    bits = (feature(AVX2)._replace(source=0, target=1), feature(PKU))
    extra = f"{NAMES}extra features: avx2, missing features: pku"
    assert asked("libvirt", *bits, line="EPYC-Milan")[-1] == (False, True, extra)
    without = f"{NAMES}missing features: pku"
    assert asked("libvirt", *bits, line="EPYC-Milan,-avx2")[-1] == (False, True, without)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ((feature(PKU),), ["CPUID[eax=07h,ecx=00h].ECX.pku [bit 3]"]),
        ((bit("msr", 0x10A, 0, "", 0),), ["MSR(10Ah).rdctl-no [bit 0]"]),
        ((bit("msr", 0x48B, 0, "", 33),), ["MSR(48Bh).vmx-ept [bit 1]"]),
        # kvmclock has two bits, and each is told where it is.
        ((feature(KVMCLOCK),), ["CPUID[eax=40000001h].EAX.kvmclock [bit 3]"]),
        ((feature(PKU)._replace(source=0),), []),
    ],
)
def test_qemu_warns_and_starts(bits: tuple[Difference, ...], said: list[str]) -> None:
    prefix = "warning: host doesn't support requested feature: "
    assert asked("qemu", *bits) == [(False, False, f"{prefix}{where}") for where in said]


@pytest.mark.parametrize(("enforce", "refuses"), [("", False), (",enforce", True)])
def test_a_line_warns_of_its_own_features_and_ends_with_enforce(enforce: str, refuses: bool) -> None:
    found = asked("qemu", feature(PKU), line=f"EPYC-v1{enforce}")
    assert {entry[:2] for entry in found} == {(False, refuses)}
    assert "warning: host doesn't support requested feature: CPUID[eax=80000001h].ECX.sse4a [bit 6]" in [
        message for _, _, message in found
    ]
    assert not [message for _, _, message in found if "pku" in message]


@pytest.mark.parametrize(
    ("leaf", "register", "mine", "theirs", "told"),
    [
        ((7, 1), "eax", 1, 0, "BitwiseSubset"),
        ((7, 0), "ebx", 1 << 5, 1 << 5, ""),
        ((7, 0), "ebx", 0, 1 << 5, ""),
        ((7, 0), "eax", 1, 2, ""),
        ((7, 0), "eax", 2, 1, "NumNotGreater"),
        ((0x40000000, 0), "ebx", 7, 8, "Equal"),
        # What follows the vCPU's state is not compared; what Cloud Hypervisor adds is there on any host.
        ((7, 0), "ecx", 1 << 4, 0, ""),
        ((7, 0), "ecx", 1 << 5, 0, "BitwiseSubset"),
        ((0x80000001, 0), "edx", 1 << 9, 0, ""),
        ((1, 0), "ecx", 1 << 31 | 1 << 27 | 1 << 24 | 1 << 3, 0, ""),
        ((1, 0), "edx", 1 << 28 | 1 << 12 | 1 << 9, 0, ""),
        ((0x40000001, 0), "eax", 1 << 15, 0, ""),
        ((0x40000001, 0), "ebx", 1, 0, "BitwiseSubset"),
    ],
)
def test_cloud_hypervisor_compares_registers(
    leaf: tuple[int, int], register: str, mine: int, theirs: int, told: str
) -> None:
    at = REGISTERS.index(register)
    rows = [[0, 0, 0, 0], [0, 0, 0, 0]]
    rows[0][at], rows[1][at] = mine, theirs
    guest, host = guest_with({leaf: (*rows[0],)}), showing({leaf: (*rows[1],)})  # type: ignore[dict-item]
    found = list(compared(guest, host, VMMS["cloud-hypervisor"], (), None))
    name = f"CPUID.{leaf[0]:X}.{leaf[1]:X}.{register.upper()}"
    assert [(entry.what, entry.held, entry.refuses) for entry in found] == ([(name, False, True)] if told else [])
    if told:
        (entry,) = found
        assert f"leaf={leaf[0]:#04x} (subleaf={leaf[1]:#04x}), register='{register.upper()}'" in entry.message
        assert f"compatible_check='{told}'" in entry.message
        assert entry.message.endswith(f"source VM feature='{mine:#04x}', destination VM feature='{theirs:#04x}'.")


def test_a_register_that_the_guest_has_not_is_zero() -> None:
    equal = dict.fromkeys(((0x40000000, 0),), (0, 0, 0, 0))
    assert compared(guest_with({(1, 0): (0, 0, 0, 0)}), showing(equal), VMMS["cloud-hypervisor"], (), None) == ()
