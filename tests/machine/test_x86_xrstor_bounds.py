"""XRSTOR and XRSTORS at the bounds of each check (Intel SDM vol. 1, 13.6 to 13.14; vol. 2)."""

from __future__ import annotations

import pytest

from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import tiles, xsave
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87
from layouts.x86.xsave import AVX, CET_U, PKRU, SSE, TILECFG, TILEDATA, X87, XTILE

from .using_processor import image_of, restored, silicon, standard_at, told, using, value_of

RESTORES = ("xrstor", "xrstors")


# XRSTOR: the header


def with_header(image: bytes, at: int, value: int) -> bytes:
    found = bytearray(image)
    found[512 + at] = value
    return bytes(found)


@pytest.mark.parametrize("name", RESTORES)
def test_headers(name: str) -> None:
    cpu = using()
    enabled = f"({cpu.xcr0:#x})"
    standard = images.empty(11008, 0)
    compacted = image_of(cpu, 0, compacted=7)
    cases = {
        "ok": [compacted, images.with_xstate_bv(compacted, 7)],
        f"#GP: XCOMP_BV within the enabled components {enabled}": [
            with_header(compacted, 9, 1),
            with_header(compacted, 14, 1),
        ],
        "#GP: XSTATE_BV within XCOMP_BV": [with_header(compacted, 0, 0x20), with_header(compacted, 7, 0x80)],
        "#GP: the header's reserved bytes are 0": [with_header(compacted, at, 1) for at in (16, 23, 24, 63)],
    }
    if name == "xrstor":
        cases["ok"] += [
            standard,
            with_header(standard, 0, 7),
            with_header(standard, 24, 1),
            with_header(standard, 63, 1),
        ]
        cases[f"#GP: XSTATE_BV within XCR0 {enabled}"] = [with_header(standard, at, 1) for at in (1, 7)]
        cases["#GP: bytes 8 to 23 of the header are 0"] = [with_header(standard, at, 1) for at in (8, 14, 16, 23)]
    else:
        cases["#GP: XCOMP_BV[63] is 1"] = [standard]
    for expected, found in cases.items():
        for image in found:
            cpu = using(AVX, PKRU)
            cpu.registers.components[X87] = INITIAL_X87
            before = dict(cpu.registers.components)
            assert told(xsave.xrstor(cpu, name, image, -1)) == expected
            assert expected == "ok" or cpu.registers.components == before


def test_a_supervisor_component_needs_xrstors() -> None:
    cpu = using()
    cpu.xss = 1 << CET_U
    image = images.with_xstate_bv(images.empty(592, images.compacted_xcomp(1 << CET_U)), 1 << CET_U)
    assert told(xsave.xrstor(cpu, "xrstors", image, -1)) == "ok"
    assert cpu.registers.in_use == 1 << CET_U
    assert xsave.xrstor(cpu, "xrstor", image, -1).because == f"XCOMP_BV within the enabled components ({cpu.xcr0:#x})"
    cpu.xss = 0
    assert xsave.xrstor(cpu, "xrstors", image, -1).name == "#GP"


def test_what_xrstor_remembers() -> None:
    """XRSTOR_INFO: of a standard image at an address; those components that were asked for. XRSTORS ends it."""
    cpu = restored(mask=5)
    assert (cpu.restored_from, set(cpu.unmodified)) == ((False, 0x1000), {0, 2})
    assert restored(user=True).restored_from == (True, 0x1000)
    assert set(restored().unmodified) == {n for n in range(64) if silicon().xcr0 >> n & 1}
    for cpu in (restored(address=None), restored("xrstors"), restored()):
        again = cpu.restored_from is not None
        if again:
            assert xsave.xrstor(cpu, "xrstor", image_of(cpu, 3, compacted=3), -1, 0x1000).accepted
        assert (cpu.restored_from, cpu.unmodified) == (None, {})
    cpu = restored()
    assert xsave.restore(cpu, cpu.host.initial_image(cpu.host.kernel_max), -1).accepted
    assert cpu.restored_from is None


# XRSTOR: what is loaded


@pytest.mark.parametrize("compacted", [False, True])
def test_what_is_loaded_is_made_initial_or_stays(compacted: bool) -> None:
    """Asked for and in XSTATE_BV, asked for alone, not asked for."""
    for mask in (0, 1, 2, 4, 7, 1 << PKRU, -1):
        cpu = using(X87, SSE, AVX, PKRU, mxcsr=0x1F81)
        cpu.registers.write(AVX, 0, b"\x77")
        image = image_of(cpu, 4, compacted=cpu.xcr0 if compacted else 0)
        asked = mask & cpu.xcr0
        before = dict(cpu.registers.components)
        assert xsave.xrstor(cpu, "xrstor", image, mask).accepted
        kept = {number: data for number, data in before.items() if not asked >> number & 1}
        assert cpu.registers.components == kept | ({AVX: value_of(AVX)} if asked & 4 else {})
        # A standard image's MXCSR is loaded with SSE or AVX whatever XSTATE_BV says; a compacted one's is initial then.
        loaded = 0x1FA0 if asked & 6 else 0x1F81
        assert cpu.registers.mxcsr == ((INITIAL_MXCSR if asked & 2 else 0x1F81) if compacted else loaded)


@pytest.mark.parametrize("compacted", [False, True])
def test_mxcsr_of_an_image(compacted: bool) -> None:
    """Checked where it is loaded: with SSE or AVX asked for, of a compacted image with SSE in XSTATE_BV."""
    for bv in (0, 1, 2, 4, 7):
        for mask in (0, 1, 2, 4, 7):
            cpu = using()
            image = image_of(cpu, bv, compacted=7 if compacted else 0, mxcsr=1 << 16)
            is_read = mask & bv & 2 if compacted else mask & 6
            assert told(xsave.xrstor(cpu, "xrstor", image, mask)) == (
                "#GP: MXCSR has no reserved bit" if is_read else "ok"
            )
    for mxcsr, expected in ((0xFFFF, "ok"), (1 << 17, "#GP"), (1 << 31, "#GP")):
        cpu = using()
        assert xsave.xrstor(cpu, "xrstor", image_of(cpu, 2, mxcsr=mxcsr), 3).name == expected
        assert cpu.registers.mxcsr == (mxcsr if expected == "ok" else INITIAL_MXCSR)


def test_a_compacted_image_without_sse_leaves_mxcsr() -> None:
    cpu = using(mxcsr=0x1F81)
    assert xsave.xrstor(cpu, "xrstor", image_of(cpu, 5, compacted=7), 5).accepted
    assert (cpu.registers.in_use, cpu.registers.mxcsr) == (7, 0x1F81)


def test_a_bad_mxcsr_of_a_compacted_image_has_loaded_a_part() -> None:
    """Measured: what the image lacks is initial, PKRU apart; x87 and XMM are loaded, the rest is as it was."""
    cpu = using(X87, AVX, 5, PKRU)
    image = image_of(cpu, 6, compacted=0x26 | 1 << PKRU | 1, mxcsr=1 << 16)
    assert xsave.xrstor(cpu, "xrstor", image, -1).name == "#GP"
    assert set(cpu.registers.components) == {SSE, AVX, PKRU}
    cpu = using(5)
    image = image_of(cpu, 3, compacted=0x23, mxcsr=1 << 16)
    assert xsave.xrstor(cpu, "xrstor", image, 3).name == "#GP"
    assert set(cpu.registers.components) == {X87, SSE, 5}
    for emulated, compacted in ((True, 7), (False, 0)):
        cpu = using(X87, AVX, emulated=emulated)
        before = dict(cpu.registers.components)
        assert xsave.xrstor(cpu, "xrstor", image_of(cpu, 2, compacted=compacted, mxcsr=1 << 16), -1).name == "#GP"
        assert cpu.registers.components == before


@pytest.mark.parametrize("emulated", [False, True])
def test_xfd_of_what_is_loaded(emulated: bool) -> None:
    """#NM and XFD_ERR where XSTATE_BV has it; the emulator looks at MXCSR first."""
    cpu = using(emulated=emulated)
    cpu.xfd = 1 << TILEDATA | 1 << 5
    image = image_of(cpu, XTILE | 4)
    assert told(xsave.xrstor(cpu, "xrstor", image, -1)) == "#NM: XFD is 0 for all that is loaded (0x60004)"
    assert (cpu.xfd_err, cpu.registers.components) == (1 << TILEDATA, {})
    cpu.xfd_err = 0
    assert xsave.xrstor(cpu, "xrstor", image, ~(1 << TILEDATA)).accepted
    assert xsave.xrstor(cpu, "xrstor", image_of(cpu, 4), -1).accepted
    assert xsave.xrstor(cpu, "xrstor", image_of(cpu, XTILE, mxcsr=1 << 16), -1).name == ("#GP" if emulated else "#NM")
    assert cpu.xfd_err == (0 if emulated else 1 << TILEDATA)


def test_what_a_processor_makes_of_components() -> None:
    """Reserved bits of x87 and bytes behind PKRU are dropped; an illegal TILECFG leaves tiles unconfigured."""
    for emulated in (False, True):
        cpu = using(emulated=emulated)
        image = bytearray(image_of(cpu, 1 | 1 << PKRU | 1 << TILECFG))
        image[0:2] = b"\0\0"
        image[standard_at(cpu, PKRU)] = b"\xff" * 8
        places = standard_at(cpu, TILECFG)
        illegal = (b"\2" + bytes(63), b"\0\1" + bytes(62), b"\1\0\1" + bytes(61))
        for config in (tiles.FULL_TILECFG, *illegal):
            legal = config not in illegal
            image[places] = config
            assert xsave.xrstor(cpu, "xrstor", bytes(image), -1).accepted
            assert (TILECFG in cpu.registers.components) is (legal or emulated)
            assert cpu.registers.get(0)[:1] == (b"\0" if emulated else b"\x40")
            assert cpu.registers.get(PKRU) == b"\xff" * 4 + (b"\xff" if emulated else b"\0") * 4


def test_tiles_of_the_emulator_are_used_when_they_are_loaded() -> None:
    for bv, used in ((XTILE, 0xFF), (4, 0)):
        cpu = using(emulated=True)
        assert xsave.xrstor(cpu, "xrstor", image_of(cpu, bv), -1).accepted
        assert cpu.registers.used_tiles == used  # type: ignore[attr-defined]


def test_a_short_image_is_zeros_behind() -> None:
    cpu = using(X87, AVX)
    assert xsave.xrstor(cpu, "xrstor", bytes(24) + b"\x81\x1f", -1).accepted
    assert (cpu.registers.in_use, cpu.registers.mxcsr) == (1 << SSE, 0x1F81)


# In memory, and by an operating system


def test_a_restore_from_memory() -> None:
    """XCOMP_BV, the header, then the last byte of what is asked for."""
    cpu = using()
    cpu.user = True
    image = image_of(cpu, 7 | 1 << PKRU)
    end = standard_at(cpu, PKRU).stop
    for size, mask, fault in (
        (end, -1, 0x1000 + 11008 - 1),
        (end, 1 << PKRU, None),
        (end - 1, 1 << PKRU, 0x1000 + end - 1),
        (832, 7, None),
        (831, 7, 0x1000 + 831),
        (576, 3, None),
        (575, 3, 0x1000 + 575),
        (527, 3, 0x1000 + 527),
        (520, 3, 0x1000 + 520),
    ):
        memory = Memory({0x1000: size})
        memory.write(0x1000, image[:size])
        outcome = xsave.xrstor_at(cpu, "xrstor", memory, 0x1000, mask)
        assert (outcome.name, outcome.value) == (("ok", 0) if fault is None else ("#PF", fault))
        assert outcome.error_code == (0 if fault is None else 4)
    whole = Memory({0x1000: 0x4000})
    whole.write(0x1040, image)
    assert told(xsave.xrstor_at(cpu, "xrstor", whole, 0x1020, -1)) == "#GP: the area is at a multiple of 64"
    assert xsave.xrstor_at(cpu, "xrstor", whole, 0x1040, -1).accepted
    assert (cpu.registers.in_use, cpu.restored_from) == (7 | 1 << PKRU, (True, 0x1040))
    bad = Memory({0x1000: 576})
    bad.write(0x1000, with_header(image, 8, 1)[:576])
    assert told(xsave.xrstor_at(cpu, "xrstor", bad, 0x1000, -1)) == "#GP: bytes 8 to 23 of the header are 0"
    cpu.cr4_osxsave = False
    assert xsave.xrstor_at(cpu, "xrstor", whole, 0x1020, -1).name == "#UD"


def test_a_compacted_image_in_memory_is_as_long_as_what_it_has_and_is_asked_for() -> None:
    cpu = using()
    image = image_of(cpu, 7 | 1 << PKRU, compacted=7 | 1 << PKRU)
    assert len(image) == 840
    for size, mask, accepted in ((840, -1, True), (839, -1, False), (832, 7, True), (831, 7, False), (576, 3, True)):
        memory = Memory({0x1000: size})
        memory.write(0x1000, image[:size])
        assert xsave.xrstor_at(cpu, "xrstor", memory, 0x1000, mask).accepted is accepted


def test_a_kernels_restore() -> None:
    """PKRU is the kernel's own to write; what the buffer lacks is initial; XFD stops it with #NM."""
    cpu = using(AVX, PKRU, mxcsr=0x1F81)
    mask = cpu.host.kernel_max
    image = images.with_xstate_bv(cpu.host.initial_image(mask), XTILE | 1 << PKRU)
    cpu.xfd = 1 << TILEDATA | 1 << AVX
    outcome = xsave.restore(cpu, image, mask)
    assert (outcome.name, cpu.xfd_err) == ("#NM", 1 << TILEDATA)
    assert [check.held for check in outcome.checks] == [False]
    cpu.xfd = 1 << TILEDATA
    assert xsave.restore(cpu, image, mask & ~(1 << TILEDATA)).accepted
    assert cpu.registers.get(PKRU) == value_of(PKRU) + bytes(4)
    assert (cpu.registers.in_use, cpu.registers.mxcsr) == (1 << PKRU, INITIAL_MXCSR)
    cpu.xfd = 1 << PKRU
    assert xsave.restore(cpu, image, 1 << PKRU).accepted
    emulated = using(emulated=True)
    assert xsave.restore(emulated, image, mask).accepted
    assert (type(emulated.registers).__name__, emulated.registers.in_use >> TILEDATA) == ("EmulatedRegisters", 1)
    assert PKRU not in emulated.registers.components


@pytest.mark.parametrize("compacted", [True, False])
def test_mxcsr_of_a_kernels_restore(compacted: bool) -> None:
    """Of a compacted buffer with SSE alone, of a standard one with AVX too."""
    for bv in (0, 1, 2, 3, 4, 6):
        cpu = using()
        image = image_of(cpu, bv, compacted=7 if compacted else 0)
        assert xsave.restore(cpu, image, -1).accepted
        assert cpu.registers.mxcsr == (0x1FA0 if bv & (2 if compacted else 6) else INITIAL_MXCSR)
