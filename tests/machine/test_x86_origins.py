"""Who decided a bit that differs, where the host's CPU and its parameters are known: each actor in turn."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.host import Host, booted
from inspector.machine.x86.kvm.module import VMX as VMX_VENDOR
from inspector.machine.x86.kvm.module import Kvm
from inspector.machine.x86.migrate.actors import (
    CAPTURE,
    IDENTITY,
    KERNEL,
    LINUX,
    NOT_KNOWN,
    PARAMETER,
    SILICON,
    VMM,
    Origin,
)
from inspector.machine.x86.migrate.bits import Difference
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.machine.x86.migrate.origin import origin_of
from inspector.machine.x86.migrate.places import Place
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_guest import guest_of_model, realized
from layouts.x86.features import REGISTERS
from layouts.x86.kernels import profile_for
from layouts.x86.msr_origins import ARCH_CAPABILITIES
from layouts.x86.vmms import VMMS
from tests.machine.x86_moves import SOURCE, showing, silicon, with_msr

UINTR, GFNI, VMX = (
    Place("cpuid", 7, 0, "edx", 5, 5),
    Place("cpuid", 7, 0, "ecx", 8, 8),
    Place("cpuid", 1, 0, "ecx", 5, 5),
)
CET, CET_U = Place("cpuid", 7, 0, "ecx", 7, 7), Place("xss", 0xD, 0, "", 11, 11)
NE_CONVERT, INVPCID = Place("cpuid", 7, 1, "edx", 5, 5), Place("cpuid", 7, 0, "ebx", 10, 10)


def changed(cpuid: Cpuid, place: Place, value: int) -> Cpuid:
    """The same table with another value of a bit."""
    found = list(cpuid.get(place.at, place.subleaf) or (0, 0, 0, 0))
    at = REGISTERS.index(place.register)
    found[at] = found[at] & ~(1 << place.low) | value << place.low
    return Cpuid({**cpuid.leaves, (place.at, place.subleaf): (found[0], found[1], found[2], found[3])})


def with_bit(*places: Place, parameters: dict[str, str] | None = None) -> Destination:
    """A Sapphire Rapids whose CPU has bits more."""
    raw = silicon("6.18").kvm.raw
    for place in places:
        raw = changed(raw, place, 1)
    found = destination("spr", booted(raw), profile_for("6.18"), release="6.18")
    for name, value in (parameters or {}).items():
        found.kvm = found.with_parameter(name, value)
    return found


def moved(host: Destination, model: str = "") -> Migration:
    made = realized(model, host.offer) if model else None
    return migrate(with_msr(ARCH_CAPABILITIES, 0), host, VMMS["qemu"], made=made)


def origin(made: Migration, place: Place, source: int, target: int, *, rule: str = "and", known: bool = True) -> Origin:
    return origin_of(made, Difference(place, rule, source, target, bool(source), known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "place", "by", "text"),
    [
        ((), UINTR, SILICON, "the CPU of spr does not have uintr"),
        ((UINTR,), UINTR, KERNEL, "the CPU of spr has uintr, and no known KVM gives it to guests"),
        ((), CET, CAPTURE, "cet-ss is kept back by what was captured of spr, its KVM has it"),
    ],
)
def test_a_bit_that_goes(host: tuple[Place, ...], place: Place, by: str, text: str) -> None:
    assert origin(moved(with_bit(*host)), place, 1, 0) == (by, text)


def test_a_bit_that_an_older_kernel_does_not_show() -> None:
    assert origin(moved(silicon("6.1")), CET, 1, 0) == (KERNEL, "Linux 6.18 to 7.3 shows it; 6.1 of spr does not")


def test_a_bit_in_a_register_that_an_older_kernel_leaves_zero() -> None:
    """AVX-NE-CONVERT: Linux 6.1 has the bit of the CPU in its capabilities, and KVM does not show the register."""
    host = destination("spr", booted(changed(silicon("6.1").kvm.raw, NE_CONVERT, 1)), profile_for("6.1"), release="6.1")
    assert origin(moved(host), NE_CONVERT, 1, 0) == (KERNEL, "Linux 6.6 to 7.3 shows it; 6.1 of spr does not")


@pytest.mark.parametrize(
    ("kernel", "place", "by", "text"),
    [
        ("6.1.172-216.amzn2023.x86_64", CET, KERNEL, "cet-ss appears because Linux 6.18 to 7.3 shows it; 6.1.172"),
        ("6.1", CET_U, KERNEL, "cet_u appears because Linux 6.18 to 7.3 shows it; 6.1 does not"),
        (
            "6.18",
            CET,
            NOT_KNOWN,
            "the guest's VMM turned cet-ss off, or the CPU that it started on has it not; spr has",
        ),
        # Linux 5.10 gives INVPCID from the vendor's module (vmx_set_cpu_caps), so it was no kernel that took it.
        ("5.10", INVPCID, NOT_KNOWN, "the guest's VMM turned invpcid off"),
        # No KVM here gives it, whatever the guest's did: the destination's table was kept by somebody.
        ("6.1", UINTR, NOT_KNOWN, "the guest's VMM turned uintr off"),
        ("", CET, NOT_KNOWN, "the guest's VMM turned cet-ss off"),
        ("2.6.32", CET, NOT_KNOWN, "the guest's VMM turned cet-ss off"),
    ],
)
def test_a_bit_that_comes(kernel: str, place: Place, by: str, text: str) -> None:
    made = moved(silicon("6.18"))
    found = origin(made._replace(guest=made.guest._replace(kernel=kernel)), place, 0, 1)
    assert found.by == by
    assert found.text.startswith(text)


def test_a_bit_that_linux_does_not_use() -> None:
    """clearcpuid=gfni: the CPU has it, cpu_caps of Linux have not, so kvm_cpu_caps have not."""
    host = with_bit(GFNI)
    host.kvm = Kvm(
        Host(changed(host.kvm.raw, GFNI, 0), profile_for("6.18")), release="6.18", vendor=VMX_VENDOR, raw=host.kvm.raw
    )
    host.__dict__.pop("on_kernels", None)
    assert origin(moved(host), GFNI, 1, 0) == (LINUX, "the CPU of spr has gfni, and Linux there does not use it")


def test_a_module_parameter_takes_a_bit() -> None:
    """nested=0 of kvm-intel: X86_FEATURE_VMX is none of kvm_cpu_caps."""
    assert origin(moved(with_bit(VMX, parameters={"nested": "N"})), VMX, 1, 0) == (
        PARAMETER,
        "vmx is off because nested=N of KVM's modules",
    )


def test_fields_and_identities() -> None:
    made = moved(silicon("6.18"))
    family = Place("cpuid", 1, 0, "eax", 3, 0)
    assert origin(made, family, 5, 6, rule="ignore").by == IDENTITY
    assert origin(made, family, 5, 6) == (SILICON, "the destination's CPU has 0x6, the guest 0x5")
    assert origin(made, Place("xstate", 18, 0, "", 0, 0), 8192, 0).by == SILICON


@pytest.mark.parametrize(
    ("index", "number", "source", "known", "by", "text"),
    [
        (ARCH_CAPABILITIES, 6, 1, True, NOT_KNOWN, "KVM makes pschange-mc-no by itself, and what was captured of spr"),
        (ARCH_CAPABILITIES, 6, 0, True, VMM, "KVM makes pschange-mc-no by itself: the guest's VMM turned it off"),
        (ARCH_CAPABILITIES, 6, 1, False, NOT_KNOWN, "nobody tells spr's value"),
        (ARCH_CAPABILITIES, 3, 0, True, PARAMETER, "vmentry_l1d_flush=never, or its VMM"),
        (ARCH_CAPABILITIES, 0, 0, True, LINUX, "Linux on spr or its CPU tells that it is free of CPU_MELTDOWN"),
        (
            ARCH_CAPABILITIES,
            7,
            0,
            True,
            NOT_KNOWN,
            "the guest's VMM turned tsx-ctrl off, or the CPU",
        ),
        (ARCH_CAPABILITIES, 63, 1, True, KERNEL, "no known KVM shows"),
    ],
)
def test_a_bit_of_a_feature_msr(index: int, number: int, source: int, known: bool, by: str, text: str) -> None:
    place = Place("msr", index, 0, "", number, number)
    found = origin(moved(silicon("6.18")), place, source, 1 - source, known=known)
    assert found.by == by
    assert text in found.text


def test_a_parameter_of_kvm_takes_a_bit_of_a_feature_msr() -> None:
    place = Place("msr", 0x48B, 0, "", 33, 33)
    assert origin(moved(silicon("6.18", ept="N")), place, 1, 0).by == PARAMETER
    assert origin(moved(silicon("6.18", ept="Y")), place, 1, 0).by == SILICON


def test_a_model_has_not_what_the_destination_has() -> None:
    """The guest's model says it, of a CPUID bit as of a feature MSR; the destination's line of what goes."""
    host = silicon("6.18")
    guest = guest_of_model(f"model:SapphireRapids-v1:{SOURCE}", "", NO_OPTIONS)
    made = migrate(guest, host, VMMS["qemu"])
    assert origin(made, Place("msr", ARCH_CAPABILITIES, 0, "", 20, 20), 0, 1).by == VMM
    line = moved(host, "Skylake-Server")
    assert origin(line, GFNI, 1, 0) == (VMM, "Skylake-Server does not have gfni")


def test_what_a_line_decides_and_what_it_does_not() -> None:
    """Features, and the MSRs that QEMU makes of them; components follow KVM, and VMX's MSRs come with the stream."""
    line = moved(silicon("6.18"), "Skylake-Server,+gfni,-vmx-ept")
    assert origin(line, GFNI, 0, 1) == (VMM, "on because +gfni turns it on")
    assert origin(line, GFNI, 1, 0).by != VMM, "it is on, so it was not the line"
    assert origin(moved(silicon("6.18"), "Nehalem"), Place("xcr0", 0xD, 0, "", 2, 2), 1, 0).by == CAPTURE
    assert origin(line, Place("msr", 0x48B, 0, "", 33, 33), 1, 0).by == SILICON
    unnamed = Place("cpuid", 0x80000021, 0, "eax", 9, 9)
    assert origin(line, unnamed, 1, 0).by == SILICON


def test_a_guests_line_says_who_turned_a_feature_off() -> None:
    guest = guest_of_model(f"model:EPYC-Milan,-avx2:{SOURCE}", "", NO_OPTIONS)
    made = migrate(guest, silicon("6.18"), VMMS["qemu"])
    assert origin(made, Place("cpuid", 7, 0, "ebx", 5, 5), 0, 1) == (VMM, "the guest's avx2 is off by -avx2")
    assert origin(made, GFNI, 0, 1) == (VMM, "EPYC-Milan does not have gfni")


def test_releases_that_are_not_in_a_row() -> None:
    """Leaf 7.2 was shown by 6.0 and 6.1, and again from 6.10 on (max_idx of case 7, __do_cpuid_func)."""
    psfd = Place("cpuid", 7, 2, "edx", 0, 0)
    host = destination("spr", booted(changed(silicon("6.6").kvm.raw, psfd, 1)), profile_for("6.6"), release="6.6")
    assert origin(moved(host), psfd, 1, 0).text == "Linux 6.1 and 6.12 to 7.3 show it; 6.6 of spr does not"


@pytest.mark.parametrize("because", ["", "by its name"])
def test_what_is_known_of_a_host_may_be_less_than_it_has(because: str) -> None:
    host = showing({(7, 0): (0, 0, 0, 0)})
    host.because = because
    prefix = "what is known of " if because else ""
    assert origin(moved(host), UINTR, 1, 0) == (SILICON, f"{prefix}kept does not have uintr")


@pytest.mark.parametrize(
    ("kernel", "release", "by"),
    [
        ("6.18", "6.1", KERNEL),
        ("7.0", "6.12", KERNEL),
        ("6.12", "6.1", SILICON),
        ("7.0", "6.18", SILICON),
        ("", "6.1", SILICON),
    ],
)
def test_a_stand_in_of_an_older_kernel(kernel: str, release: str, by: str) -> None:
    """The host's CPU is known as an older kernel showed it, without CET; Linux 6.18 shows CET first."""
    shown = changed(silicon("6.18").kvm.raw, CET, 0)
    made = moved(destination("spr", booted(shown), profile_for(release), release=release, is_raw=False))
    found = origin(made._replace(guest=made.guest._replace(kernel=kernel)), CET, 1, 0)
    assert found.by == by
    told = f"Linux 6.18 shows cet-ss to guests first; {release} of the destination does not"
    assert found.text == (told if by == KERNEL else "spr does not have cet-ss")


@pytest.mark.parametrize("place", [Place("cpuid", 7, 1, "eax", 4, 4), Place("cpuid", 0x80000021, 0, "eax", 0, 0)])
def test_a_sub_leaf_is_looked_at_by_its_number(place: Place) -> None:
    """What the CPU has there and no KVM gives is the kernel's; a leaf that the CPU lacks has no bit."""
    raw = silicon("6.18").kvm.raw
    lacks = {key: row for key, row in raw.leaves.items() if key != (place.at, place.subleaf)}
    host = destination("spr", booted(Cpuid(lacks)), profile_for("6.18"), release="6.18")
    for register in REGISTERS:
        assert origin(moved(host), place._replace(register=register, low=0, high=0), 1, 0).by == SILICON
    reserved = place._replace(register="ebx", low=31, high=31)
    has = changed(raw, reserved, 1)
    with_it = destination("spr", booted(has), profile_for("6.18"), release="6.18")
    assert origin(moved(with_it), reserved, 1, 0).by == KERNEL
