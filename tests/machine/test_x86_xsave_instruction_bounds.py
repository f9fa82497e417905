"""XSAVE, XSAVEOPT, XSAVEC and XSAVES at the bounds of each check (Intel SDM vol. 1, 13.6 to 13.14; vol. 2)."""

from __future__ import annotations

import pytest

from inspector.machine.outcome import Outcome
from inspector.machine.x86.cpu import images
from inspector.machine.x86.cpu.instructions import xsave
from inspector.machine.x86.cpu.memory import Memory
from inspector.machine.x86.cpu.processor import Processor
from inspector.machine.x86.cpu.registers import INITIAL_MXCSR, INITIAL_X87
from inspector.machine.x86.host import Host, shipped_cpu
from layouts.x86.kernels import profile_for
from layouts.x86.xsave import AVX, CET_U, PKRU, SSE, TILECFG, TILEDATA, X87, XCOMP_COMPACTED, XTILE

from .using_processor import image_of, processor, restored, silicon, standard_at, told, using, value_of

STALE = b"\xee"
SAVES, RESTORES = ("xsave", "xsaveopt", "xsavec", "xsaves"), ("xrstor", "xrstors")
COMPACTING = ("xsavec", "xsaves")
FXSAVED = 3


def do(cpu: Processor, name: str, image: bytes = bytes(11008), mask: int = -1) -> Outcome:
    return (xsave.xsave if name in SAVES else xsave.xrstor)(cpu, name, image, mask)


@pytest.mark.parametrize("name", SAVES + RESTORES)
def test_what_must_be_there(name: str) -> None:
    """CR4.OSXSAVE, the instruction's bit of CPUID(0xD,1).EAX, CPL 0 for XSAVES and XRSTORS."""
    cpu = using()
    good = image_of(cpu, 3, compacted=FXSAVED)
    outcome = do(cpu, name, good)
    assert (told(outcome), outcome.evidence) == ("ok", "silicon")
    assert outcome.source == f"Intel SDM vol. 2, {name.upper()}; vol. 1, 13.14"
    cpu.user = True
    privileged = name in ("xsaves", "xrstors")
    assert told(do(cpu, name, good)) == ("#GP: in the kernel (CPL 0)" if privileged else "ok")
    cpu.user, cpu.cr4_osxsave = False, False
    assert told(do(cpu, name, good)) == "#UD: CR4.OSXSAVE is set"
    bit = {"xsaveopt": 0, "xsavec": 1, "xsaves": 3, "xrstors": 3}.get(name)
    for missing in range(5):
        cpu = processor(has=0x1F & ~(1 << missing))
        cpu.xcr0 = 3
        expected = f"#UD: the CPU has {name.upper()}" if missing == bit else "ok"
        assert told(do(cpu, name, good)) == expected


@pytest.mark.parametrize("name", SAVES)
def test_which_components_are_saved(name: str) -> None:
    """Those of the mask within XCR0, for XSAVES within IA32_XSS too; XSTATE_BV has those of them that are in use."""
    cpu = using(X87, AVX, PKRU)
    cpu.registers.write(CET_U, 0, b"\x1b" * 16)
    cpu.xss = 1 << CET_U
    for mask in (-1, 5, 6, 1 << PKRU, 1 << CET_U, 0):
        within = mask & (cpu.xcr0 | cpu.xss if name == "xsaves" else cpu.xcr0)
        header = 0x30 if name in COMPACTING else 0x30 & ~within
        image = do(cpu, name, images.with_xstate_bv(bytes(11008), 0x30), mask).image
        in_use = 1 << X87 | 1 << AVX | 1 << PKRU | 1 << CET_U
        assert images.xstate_bv(image) == (in_use & within if name in COMPACTING else header | in_use & within)
        assert images.xcomp_bv(image) == (XCOMP_COMPACTED | within if name in COMPACTING else 0)
    cpu.xcr0 = 3
    assert images.xstate_bv(do(cpu, name).image) == (1 | 1 << CET_U if name == "xsaves" else 1)


def test_which_bytes_are_saved() -> None:
    """XSAVE writes what is initial, the others leave it; so do all with a header's other bytes."""
    cpu = using(AVX, PKRU)
    for name in ("xsave", "xsaveopt"):
        found = do(cpu, name, images.with_xstate_bv(STALE * 600, 0), 7 | 1 << PKRU | 1 << 5).image
        assert (images.xstate_bv(found), found[520:576]) == (1 << AVX | 1 << PKRU, STALE * 56)
        at = standard_at(cpu, PKRU)
        assert (len(found), found[at]) == (at.stop, value_of(PKRU) + bytes(4))
        assert found[standard_at(cpu, AVX)] == value_of(AVX)
        assert found[24:32] == INITIAL_MXCSR.to_bytes(4, "little") + b"\xff\xff\0\0"
        initials = (INITIAL_X87[:24], bytes(384)) if name == "xsave" else (STALE * 24, STALE * 384)
        assert (found[:24], found[32:416]) == initials
        assert (found[416:512], found[832:1088]) == (STALE * 96, bytes(256))
    for name in COMPACTING:
        found = do(cpu, name, STALE * 528, 7 | 1 << PKRU).image
        assert images.xcomp_bv(found) == XCOMP_COMPACTED | 7 | 1 << PKRU
        assert (found[:512], found[528:576]) == (STALE * 512, bytes(48))
        assert (found[576:832], found[832:840], len(found)) == (value_of(AVX), value_of(PKRU) + bytes(4), 840)
        assert do(cpu, name, b"", 3).image[528:] == bytes(48)
    assert do(silicon(emulated=True), "xsavec", STALE * 600, 3).image[528:576] == bytes(48)
    assert do(silicon(), "xsavec", STALE * 600, 3).image[528:576] == STALE * 48
    assert len(do(cpu, "xsave", b"", 0).image) == 576


@pytest.mark.parametrize("emulated", [False, True])
@pytest.mark.parametrize("name", SAVES)
def test_mxcsr_of_a_saved_image(name: str, emulated: bool) -> None:
    """It alone makes SSE in use for XSAVEC and XSAVES, not for the others; written with SSE, or, by those, with AVX."""
    cpu = using(emulated=emulated, mxcsr=0x1FA0)
    counts = name in COMPACTING or emulated
    for mask in (0, 1, 2, 3, 4, 5, 6):
        image = do(cpu, name, bytes(1000), mask).image
        assert images.xstate_bv(image) == (mask & 2 if counts else 0)
        is_written = mask & 2 if name in COMPACTING else mask & 6
        assert images.mxcsr(image) == (0x1FA0 if is_written else 0)
    x87 = do(using(X87, emulated=emulated, mxcsr=0x1FA0), name, bytes(1000), 1).image
    assert (images.xstate_bv(x87), images.mxcsr(x87)) == (1, 0)
    untouched = using(emulated=emulated)
    assert images.mxcsr(do(untouched, name, bytes(1000), 3).image) == (0 if name in COMPACTING else INITIAL_MXCSR)
    used = using(SSE, emulated=emulated)
    assert images.xstate_bv(do(used, name, bytes(1000), 3).image) == 2
    assert images.mxcsr(do(used, name, bytes(1000), 3).image) == INITIAL_MXCSR


@pytest.mark.parametrize("name", SAVES)
def test_what_xfd_turns_off_is_initial(name: str) -> None:
    cpu = using(AVX, TILECFG, TILEDATA)
    cpu.xfd = 1 << TILEDATA
    image = do(cpu, name, bytes(11008)).image
    assert images.xstate_bv(image) == 1 << AVX | 1 << TILECFG
    assert value_of(TILEDATA)[:64] not in image
    assert cpu.registers.get(TILEDATA) == value_of(TILEDATA)
    assert cpu.xfd_err == 0


# XSAVEOPT after XRSTOR


def test_what_was_not_modified_is_not_saved_again() -> None:
    """The modified optimization: from where XRSTOR was, at the same CPL. TILECFG is written always."""
    cpu = restored()
    cpu.registers.write(AVX, 0, b"\x55")
    image = xsave.xsave(cpu, "xsaveopt", bytes(11008), -1, 0x1000).image
    assert images.xstate_bv(image) == 7 | 1 << PKRU | XTILE
    saved = {component for component in (AVX, PKRU, TILECFG, TILEDATA) if any(image[standard_at(cpu, component)])}
    assert saved == {AVX, TILECFG}
    assert not any(image[:24] + image[32:416])
    assert images.mxcsr(image) == 0x1FA0
    for other in (
        xsave.xsave(cpu, "xsaveopt", bytes(11008), -1, 0x2000),
        xsave.xsave(cpu, "xsaveopt", bytes(11008), -1),
        xsave.xsave(cpu, "xsave", bytes(11008), -1, 0x1000),
        xsave.xsave(restored(address=None), "xsaveopt", bytes(11008), -1),
    ):
        assert other.image[standard_at(cpu, PKRU)] == value_of(PKRU) + bytes(4)
    asked = xsave.xsave(cpu, "xsaveopt", bytes(11008), 1 << PKRU, 0x1000).image
    assert not any(asked[:512] + asked[576:])
    moved = restored(user=True)
    moved.user = False
    assert any(xsave.xsave(moved, "xsaveopt", bytes(11008), -1, 0x1000).image[160:416])
    moved.user = True
    assert not any(xsave.xsave(moved, "xsaveopt", bytes(11008), -1, 0x1000).image[160:416])


# In memory, and by an operating system


@pytest.mark.parametrize("name", SAVES)
def test_a_save_into_memory(name: str) -> None:
    """A multiple of 64, then the last byte of all that it would write; what was there stays where it does not."""
    cpu = using(AVX, PKRU)
    mask = 7 | 1 << PKRU
    size = 840 if name in COMPACTING else standard_at(cpu, PKRU).stop
    for missing in (0, 1, 300):
        memory = Memory({0x1000: size - missing})
        memory.write(0x1000, STALE * 512)
        outcome = xsave.xsave_at(cpu, name, memory, 0x1000, mask)
        assert (outcome.name, outcome.value) == (("ok", 0) if not missing else ("#PF", 0x1000 + size - 1))
        assert outcome.error_code == (6 if missing else 0)
        expected = do(cpu, name, STALE * 512 + bytes(size - 512), mask).image if not missing else STALE * 512
        assert memory.read(0x1000, len(expected)) == expected
    memory = Memory({0x1000: 0x4000})
    for address in (0x1001, 0x1008, 0x1020, 0x103F):
        assert told(xsave.xsave_at(cpu, name, memory, address, mask)) == "#GP: the area is at a multiple of 64"
    assert xsave.xsave_at(cpu, name, memory, 0x1040, mask).accepted
    assert xsave.xsave_at(cpu, name, memory, 0x1040, 0).accepted
    cpu.xss = 1 << CET_U
    small = Memory({0x1000: 584})
    assert xsave.xsave_at(cpu, name, small, 0x1000, 1 << CET_U).name == ("#PF" if name == "xsaves" else "ok")
    cpu.cr4_osxsave = False
    assert xsave.xsave_at(cpu, name, memory, 0x1001, mask).name == "#UD"


def test_an_optimized_save_into_memory() -> None:
    cpu = restored()
    memory = Memory({0x1000: 11008})
    assert xsave.xsave_at(cpu, "xsaveopt", memory, 0x1000, -1).accepted
    assert not any(memory.read(0x1000, 11008)[standard_at(cpu, PKRU)])


def test_a_kernels_save_says_what_xfd_took() -> None:
    cpu = using(AVX, TILECFG, TILEDATA)
    buffer = cpu.host.empty_image(cpu.host.kernel_max)
    cpu.xfd = 1 << TILEDATA
    outcome = xsave.save(cpu, buffer, -1)
    assert (outcome.name, outcome.code, outcome.value, outcome.evidence) == ("ok", 0, 1 << TILEDATA, "kernel")
    assert [(check.text, check.held) for check in outcome.checks] == [
        ("XFD is 0 for all that is in use (lost: 8192 bytes of components 0x40000)", False)
    ]
    assert images.xstate_bv(outcome.image) == 1 << AVX | 1 << TILECFG
    cpu.xfd = 0
    outcome = xsave.save(cpu, buffer, ~(1 << AVX))
    assert (outcome.value, images.xstate_bv(outcome.image)) == (0, XTILE)
    assert [check.held for check in outcome.checks] == [True]
    zen4 = Processor(Host(shipped_cpu("zen4"), profile_for("7.2")))
    assert xsave.save(zen4, zen4.host.empty_image(7), -1).evidence == "unmeasured"
