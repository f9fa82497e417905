"""What a host supports, by its CPUID and its kernel's masks, bit by bit (Linux fpu/xstate.c, kernel/signal.c)."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid, CpuidValues
from inspector.decode.placement import Place
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87
from inspector.machine.x86.host import OSPKE, PKU, Host, booted, enumerated_features, shipped_cpu, shipped_host
from layouts.x86.cpus import cpu_layouts
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import APX, AVX, BY_NUMBER, CET, DYNAMIC, MPX, PKRU, TILECFG, TILEDATA, XTILE

#: EBX, ECX, EDX of leaf 0.
INTEL, AMD = (0x756E6547, 0x6C65746E, 0x49656E69), (0x68747541, 0x444D4163, 0x69746E65)
ALL, NO_XSAVES = 0x1F, 0x17
COMPACTED = 1 << 63


def host(
    user: int, supervisor: int = 0, *, has: int = ALL, kernel: str = "7.2", without: tuple[int, int, int] | None = None,
    sizes: dict[int, int] | None = None, vmx_mpx: bool = False, vendor: tuple[int, int, int] = INTEL,
) -> Host:  # fmt: skip
    """A CPU with these components and all features that they ask for, ``without`` one; ``sizes`` are its own."""
    leaves: dict[tuple[int, int], CpuidValues] = {(0, 0): (0xD, *vendor), **enumerated_features(user | supervisor)}
    if without is not None:
        subleaf, register, bit = without
        values = list(leaves[7, subleaf])
        values[register] &= ~(1 << bit)
        leaves[7, subleaf] = (values[0], values[1], values[2], values[3])
    leaves[0xD, 0] = (user & 0xFFFFFFFF, 0, 0, user >> 32)
    leaves[0xD, 1] = (has, 0, supervisor & 0xFFFFFFFF, supervisor >> 32)
    offset = 576
    for number in range(2, 63):
        if (user | supervisor) >> number & 1 and number in BY_NUMBER:
            size = (sizes or {}).get(number, BY_NUMBER[number].size_bytes)
            flags = 1 * (supervisor >> number & 1) | 2 * (number in (17, 18)) | 4 * (number == TILEDATA)
            leaves[0xD, number] = (size, 0 if flags & 1 else offset, flags, 0)
            offset += 0 if flags & 1 else size
    return Host(Cpuid(leaves), profile_for(kernel), vmx_mpx=vmx_mpx)


@pytest.mark.parametrize(
    ("user", "how", "expected"),
    [
        (0x602E7, {}, 0x602E7),
        (0x6021F, {}, 0x6021F),
        (0x602E7, {"kernel": "5.10"}, 0x2E7),
        (0x602E7, {"has": 0xF}, 0x202E7),
        (0x602E7 | 1 << 8 | 1 << 62, {}, 0x602E7),
        # A component whose feature the CPU does not have, and no other.
        (0x602E7, {"without": BY_NUMBER[PKRU].feature}, 0x600E7),
        (0x602E7, {"without": BY_NUMBER[TILEDATA].feature}, 0x2E7),
        # A size that is not the kernel's: XSAVE is turned off (paranoid_xstate_size_valid).
        *((0x602E7, {"sizes": {n: BY_NUMBER[n].size_bytes + 64}}, 3) for n in (2, 5, 7, PKRU, TILEDATA)),
        (0x80207, {}, 0x80207),
        # APX lies where MPX did.
        (0x8021F, {}, 3),
    ],
)  # fmt: skip
def test_what_linux_sets_xcr0_to(user: int, how: dict[str, object], expected: int) -> None:
    found = host(user, **how)  # type: ignore[arg-type]
    assert found.user_max == expected
    assert (found.user_default, found.default_xfd) == (expected & ~DYNAMIC, expected & DYNAMIC)


def test_a_component_that_cpuid_does_not_describe_turns_xsave_off() -> None:
    told = host(7)
    leaves = dict(told.cpuid.leaves)
    del leaves[0xD, 2]
    assert Host(Cpuid(leaves), told.kernel).user_max == 3


def test_without_leaf_0xd() -> None:
    bare = Host(Cpuid({}), profile_for("7.2"))
    assert (bare.cpu_xcr0, bare.cpu_xss, bare.user_max, bare.supervisor, bare.kvm_xss) == (3, 0, 3, 0, 0)
    assert (bare.has_xfd, bare.uses_xfd, bare.compacted, bare.table.rooms) == (False, False, False, ())
    assert (bare.evidence, bare.is_intel) == ("silicon", False)


def test_components_from_32_on() -> None:
    high = host(7 | 1 << 33, 1 << 34 | 0x1800)
    assert (high.cpu_xcr0, high.cpu_xss) == (7 | 1 << 33, 1 << 34 | 0x1800)


def test_what_linux_keeps_for_the_supervisor() -> None:
    """None without XSAVES; PASID and CET where kernel and CPU have them; guests alone have CET's supervisor part."""
    for kernel, has, kept in (("7.2", ALL, 0x1C00), ("7.2", NO_XSAVES, 0), ("5.10", ALL, 0x400), ("6.12", ALL, 0xC00)):
        found = host(0x602E7, 0x1C00, has=has, kernel=kernel)
        assert found.supervisor == kept
        assert found.kernel_max == found.user_max | kept
        assert found.guest_default == found.kernel_max & ~DYNAMIC
        assert found.kernel_default == found.guest_default & ~found.kernel.guest_supervisor
    assert host(7, 0x1C00).kernel.guest_supervisor == 1 << 12


def test_what_kvm_has() -> None:
    """MPX by the controls of VMX; CET whole or not at all; XFD where the kernel has something dynamic."""
    assert host(0x1F).kvm_xcr0 == 7
    assert host(0x1F, vmx_mpx=True).kvm_xcr0 == 7 | MPX
    for supervisor, kvm in ((CET, CET), (1 << 11, 0), (1 << 12, 0), (CET | 1 << 10, CET)):
        assert host(7, supervisor).kvm_xss == kvm
    assert host(7, CET, kernel="6.12").kvm_xss == 0
    for has, kernel, uses in ((ALL, "7.2", True), (0xF, "7.2", False), (ALL, "5.10", False)):
        assert host(0x602E7, has=has, kernel=kernel).uses_xfd is uses
    assert host(0x602E7).xfd_capable == XTILE & DYNAMIC


@pytest.mark.parametrize(
    ("user", "kernel", "permission", "expected"),
    [
        (0x602E7, "7.2", DYNAMIC, 0x602E7),
        (0x602E7, "7.2", 0, 0x2E7),
        (0x602E7, "6.1", 0, 0x202E7),
        (0x602E7, "6.1", DYNAMIC, 0x602E7),
        (0x202E7, "7.2", 0, 0x202E7),
        (0x2E7, "7.2", 0, 0x2E7),
    ],
)
def test_what_guests_may_have(user: int, kernel: str, permission: int, expected: int) -> None:
    """kvm_get_filtered_xcr0: only a component that KVM has is filtered, and its configuration with it after 6.1."""
    assert host(user, kernel=kernel).permitted_xcr0(permission) == expected


# Where components lie


def test_places_in_each_format() -> None:
    """Standard images always have room for x87 and SSE, which have no place of their own."""
    found = host(0x602E7, 0x1800)
    assert found.user_places(0) == ()
    assert found.user_places(7 | 1 << PKRU) == (Place(AVX, 576, 256), Place(PKRU, 576 + 256 + 64 + 512 + 1024, 8))
    assert found.compacted_places(7 | 1 << PKRU) == (Place(AVX, 576, 256), Place(PKRU, 832, 8))
    assert found.compacted_places(3) == ()
    assert found.compacted_places(1 << PKRU | 1 << TILECFG) == (Place(PKRU, 576, 8), Place(TILECFG, 640, 64))
    assert found.user_places(7) == found.user_places(4)
    for compacted, has in ((True, 2), (True, 8), (False, 0x15)):
        kernel = host(0x602E7, has=has)
        assert kernel.compacted is compacted
        same = kernel.compacted_places if compacted else kernel.user_places
        assert kernel.kernel_places(1 << PKRU) == same(1 << PKRU)
    assert (found.standard_size_bytes(3), found.standard_size_bytes(7), found.compacted_size_bytes(0x203)) == (
        576,
        832,
        584,
    )
    assert found.kernel_size_bytes(0x203) == 584
    assert host(0x2E7, has=0).kernel_size_bytes(0x203) == 576 + 256 + 64 + 512 + 1024 + 8


def test_images_of_the_kernel() -> None:
    """XCOMP_BV in a compacted one alone; FCW and MXCSR in one that is initial."""
    for has, xcomp in ((ALL, COMPACTED | 7), (0, 0)):
        found = host(7, has=has)
        empty = found.empty_image(7)
        assert (len(empty), images.xcomp_bv(empty)) == (832, xcomp)
        assert not any(empty[:520] + empty[528:])
        initial = found.initial_image(7)
        assert initial[:28] == INITIAL_X87[:24] + INITIAL_MXCSR.to_bytes(4, "little")
        assert initial[28:] == empty[28:]


@pytest.mark.parametrize(
    ("user_size", "expected"), [(576, 1520), (832, 1776), (11008, 11952), (840, 1776), (848, 1792)]
)
def test_signal_frames(user_size: int, expected: int) -> None:
    """get_sigframe_size: 736 + 15, the image, its second magic, FSAVE's 112 bytes, 63; up to a multiple of 16."""
    assert host(7).frame_size_bytes(user_size) == expected
    for size in range(user_size, user_size + 17):
        assert host(7).frame_size_bytes(size) == (736 + 15 + size + 4 + 112 + 63 + 15) // 16 * 16


def test_a_frame_without_its_state() -> None:
    found = host(0x602E7)
    whole = found.standard_size_bytes(0x602E7)
    assert found.frame_without_state_bytes == found.frame_size_bytes(whole) - whole - 4 - 112


# CPUID of shipped and of booted CPUs


def test_shipped_cpus() -> None:
    """Leaf 0xD as it is recorded, the vendor, and the features that its components ask for."""
    for name, known in cpu_layouts().items():
        cpuid = shipped_cpu(name)
        assert {sub: cpuid.get(0xD, sub) for sub in known.leaf_0xd} == known.leaf_0xd
        assert cpuid.vendor() == (known.signature.vendor if known.signature is not None else "GenuineIntel")
        assert cpuid.leaves[0, 0][0] == 0xD
        components = known.leaf_0xd[0][0] | known.leaf_0xd.get(1, (0, 0, 0, 0))[2]
        assert cpuid.leaves.items() >= enumerated_features(components).items()
    kernel = profile_for("7.2")
    assert shipped_host("zen4", kernel) is shipped_host("zen4", kernel)
    assert shipped_host("zen4", kernel).evidence == "unmeasured"


@pytest.mark.parametrize("components", [0, 7, 0x200, 0x20000, 0x80000, 0x1800])
def test_the_features_that_components_ask_for(components: int) -> None:
    """One bit each in leaf 7; the kernel's OSPKE comes with the CPU's PKU."""
    expected = {(7, 0): [0, 0, 0, 0], (7, 1): [0, 0, 0, 0]}
    for component in BY_NUMBER.values():
        if components >> component.number & 1 and component.feature:
            subleaf, register, bit = component.feature
            expected[7, subleaf][register] |= 1 << bit
    if components >> PKRU & 1:
        expected[7, 0][2] |= PKU | OSPKE
    assert {at: list(values) for at, values in enumerated_features(components).items()} == expected


def test_protection_keys_of_a_booted_linux() -> None:
    """setup_pku: OSPKE follows CR4.PKE; nothing else changes."""
    for ecx, after in ((0, 0), (PKU, PKU | OSPKE), (1 << 2, 1 << 2), (PKU | 1 << 7, PKU | OSPKE | 1 << 7)):
        cpuid = Cpuid({(7, 0): (1, 2, ecx, 3), (0, 0): (7, *INTEL)})
        assert booted(cpuid).leaves == {(7, 0): (1, 2, after, 3), (0, 0): (7, *INTEL)}
    assert booted(Cpuid({})).leaves == {(7, 0): (0, 0, 0, 0)}


def test_whose_answers_they_are() -> None:
    assert (host(7).evidence, host(7, vendor=AMD).evidence) == ("silicon", "unmeasured")
    assert (host(7).is_intel, host(7, vendor=AMD).is_intel) == (True, False)
    plain = Host(Cpuid({}), profile_for("7.2"))
    assert (plain.emulated, plain.vmx_mpx, plain.fast_strings) == (False, False, True)
    emulated = Host(Cpuid({}), profile_for("7.2"), emulated=True)
    assert (emulated.evidence, emulated.fast_strings) == ("emulator", False)


@pytest.mark.parametrize(
    ("vendor", "is_intel"),
    [
        ("GenuineIntel", True),
        ("CentaurHauls", True),
        ("  Shanghai  ", True),
        ("AuthenticAMD", False),
        ("HygonGenuine", False),
    ],
)
def test_who_has_vmx(vendor: str, is_intel: bool) -> None:
    ebx, edx, ecx = (int.from_bytes(vendor[at : at + 4].encode(), "little") for at in (0, 4, 8))
    assert host(7, vendor=(ebx, ecx, edx)).is_intel is is_intel


def test_apx_and_mpx_are_told_apart() -> None:
    assert host(7 | APX).user_max == 7 | APX
    assert host(7 | MPX).user_max == 7 | MPX
