"""A component's gates, rows and places in a world, by the events that open them (Documentation/arch/x86/xstate.rst)."""

from __future__ import annotations

import pytest

from inspector.machine.x86.world.buffer import buffer_map
from inspector.machine.x86.world.gates import chains, walk
from inspector.machine.x86.world.matrix import _place, bit_of, component_rows, name_of
from inspector.machine.x86.world.offers import _asked
from inspector.machine.x86.world.touch import guest_touch, process_touch, task_touch, task_xfd
from inspector.machine.x86.world.world import World
from layouts.x86.xsave import AVX, CET_U, PKRU, TILECFG, TILEDATA, X87, XTILE
from tests.machine.support import PERMITTED, policy_of, vcpu_of, world

TASK = "arch_prctl REQ_XCOMP_PERM 18"
TILES_ON = (*PERMITTED, "guest xsetbv 0x602e7")
BOOTED = (*PERMITTED, "guest boot")
GUEST_TASK = f"guest {TASK}"
USED = (*BOOTED, GUEST_TASK, "guest process ldtilecfg", "guest process tilezero 0")
#: Another thread of the guest has its vCPU.
SECOND = ("guest clone", "guest schedule thread=1")
HOST_PROGRAM, GUEST_KERNEL, GUEST_PROGRAM = 0, 1, 2


def after(*events: str, cpu: str = "sapphire-rapids", kernel: str = "7.2", policy: str = "upstream") -> World:
    found = world(cpu, kernel, policy_of(policy))
    found.play(events)
    assert len(found.steps) == len(events)
    return found


def gates_of(found: World, actor: int, component: int = TILEDATA) -> str:
    """Each gate that is not open with its state and value, then what an instruction gives."""
    chain = chains(found, component)[actor]
    shut = [f"{gate.name} {gate.state} ({gate.value})" for gate in chain.gates if gate.state != "open"]
    values = {(gate.name == "XFD", gate.value) for gate in chain.gates if gate.state == "open"}
    assert values <= {(True, "0"), (False, "1")}
    return ", ".join((*shut, chain.touched.word))


@pytest.mark.parametrize(
    ("cpu", "component", "events", "expected"),
    [
        ("sapphire-rapids", TILEDATA, (), "permission closed (0), XFD closed (1), room closed (0), SIGILL"),
        ("sapphire-rapids", TILEDATA, (TASK,), "XFD on use (1), room on use (0), grows"),
        ("sapphire-rapids", TILEDATA, (TASK, "process ldtilecfg", "process tilezero 0"), "ok"),
        ("sapphire-rapids", TILEDATA, (TASK, "process ldtilecfg", "process tilezero 0", *PERMITTED, "KVM_RUN"), "ok"),
        ("sapphire-rapids", TILECFG, (), "ok"),
        ("sapphire-rapids", X87, (), "ok"),
        ("sapphire-rapids", PKRU, (), "ok"),
        (
            "haswell", TILEDATA, (),
            "hardware closed (0), host XCR0 closed (0), permission closed (0), room closed (0), SIGILL",
        ),
        ("haswell", 2, (), "ok"),
    ],
)  # fmt: skip
def test_the_way_to_a_program_of_the_host(cpu: str, component: int, events: tuple[str, ...], expected: str) -> None:
    assert gates_of(after(*events, cpu=cpu), HOST_PROGRAM, component) == expected


NO_VCPU = "vCPU closed (0), CPUID closed (-), XCR0 closed (-)"


@pytest.mark.parametrize(
    ("component", "events", "expected"),
    [
        (
            TILEDATA, (),
            f"guest permission closed (0), {NO_VCPU}, XCR0 closed (0), XFD closed (-), room closed (-), -",
        ),
        (TILEDATA, (PERMITTED[0],), f"{NO_VCPU}, XCR0 closed (0), XFD closed (-), room closed (-), -"),
        (TILEDATA, PERMITTED[:2], "CPUID closed (0), XCR0 closed (0), XCR0 closed (0), room closed (0), -"),
        (TILEDATA, PERMITTED, "XCR0 closed (0), XCR0 closed (0), #UD"),
        (TILEDATA, TILES_ON, "#UD"),
        (TILEDATA, (*TILES_ON, "guest ldtilecfg"), "ok"),
        (TILEDATA, (*TILES_ON, "guest wrmsr XFD 0x40000"), "XFD closed (1), #NM"),
        (AVX, (*PERMITTED, "guest xsetbv 3"), "XCR0 closed (0), #UD"),
        (AVX, (*PERMITTED, "guest xsetbv 7"), "ok"),
        (X87, PERMITTED[:1], f"{NO_VCPU}, XFD closed (-), room closed (-), -"),
        (X87, PERMITTED, "ok"),
        (X87, PERMITTED[:2], "-"),
        (1, (*PERMITTED, "guest xsetbv 1"), "XCR0 passed (0), ok"),
        (PKRU, (*PERMITTED, "guest xsetbv 7"), "XCR0 closed (0), #UD"),
        (TILEDATA, (*TILES_ON, "KVM_RUN", "guest ldtilecfg"), "ok"),
        (TILEDATA, ("KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported", "guest xsetbv 7"),
         "guest permission closed (0), CPUID closed (0), XCR0 closed (0), XCR0 closed (0), room closed (0), #UD"),
    ],
)  # fmt: skip
def test_the_way_to_the_guests_kernel(component: int, events: tuple[str, ...], expected: str) -> None:
    assert gates_of(after(*events), GUEST_KERNEL, component) == expected


@pytest.mark.parametrize(
    ("component", "events", "expected"),
    [
        (TILEDATA, BOOTED, "task permission closed (0), XFD closed (1), room closed (0), SIGILL"),
        (TILEDATA, (*BOOTED, GUEST_TASK), "XFD on use (1), room on use (0), grows"),
        (TILEDATA, (*BOOTED, GUEST_TASK, "guest process ldtilecfg", "guest process tilezero 0"), "ok"),
        # XFD as its kernel left it, or as somebody else wrote it since; written again where the cache differs.
        (TILEDATA, (*BOOTED, "guest wrmsr XFD 0"), "task permission closed (0), room closed (0), SIGILL"),
        (TILEDATA, (*USED, "guest wrmsr XFD 0x40000"), "XFD on use (1), grows"),
        (TILEDATA, (*USED, *SECOND), "ok"),
        (TILEDATA, (*BOOTED, GUEST_TASK, *SECOND), "XFD on use (1), room on use (0), grows"),
        (TILEDATA, (*BOOTED, GUEST_TASK, *SECOND, "guest wrmsr XFD 0"), "room closed (0), SIGILL"),
        (AVX, BOOTED, "ok"),
        (PKRU, BOOTED, "ok"),
    ],
)  # fmt: skip
def test_the_way_to_the_guests_program(component: int, events: tuple[str, ...], expected: str) -> None:
    assert gates_of(after(*events), GUEST_PROGRAM, component) == expected


def test_which_ways_there_are() -> None:
    assert [chain.actor for chain in chains(after(*PERMITTED), 2)] == ["host program", "guest kernel"]
    booted = after(*BOOTED)
    assert [chain.actor for chain in chains(booted, 2)] == ["host program", "guest kernel", "guest program"]
    # A vCPU that is not there has no way of its own.
    nobody = chains(booted, 2, 1)
    assert [chain.actor for chain in nobody] == ["host program", "guest kernel"]
    assert nobody[1].touched.word == "-"


def test_what_a_closed_gate_says() -> None:
    """The first one decides, and says what is where it does not hold."""
    for events, says in (
        ((), f"nobody asked for ARCH_REQ_XCOMP_GUEST_PERM {TILEDATA}"),
        (("KVM_CREATE_VCPU",), "nobody asked for ARCH_REQ_XCOMP_GUEST_PERM 18 before the first vCPU; now it is final"),
        ((PERMITTED[0],), "there is no vCPU"),
        (PERMITTED[:2], "the vCPU's CPUID does not have it (KVM_SET_CPUID2)"),
        (PERMITTED, "bit 18 of the guest's XCR0 or XSS is 0"),
        ((*TILES_ON, "guest wrmsr XFD 0x40000"), "the guest's XFD[18] is 1"),
    ):
        closed = chains(after(*events), TILEDATA)[GUEST_KERNEL].first_closed
        assert closed is not None
        assert closed.closed == says
    rooms = [chain.gates[-1].closed for chain in chains(after(*BOOTED), TILEDATA)]
    assert rooms == [
        "the task's buffer has no room for it (2560 bytes)",
        f"the vCPU's buffer has no room for it ({vcpu_of(after(*BOOTED)).buffer_size_bytes} bytes)",
        "the task's buffer has no room for it (2560 bytes)",
    ]
    assert chains(after(), 2)[GUEST_KERNEL].gates[-1].closed == "the vCPU's buffer has no room for it"
    assert chains(after(*TILES_ON), TILEDATA)[GUEST_KERNEL].first_closed is None


@pytest.mark.parametrize(
    ("component", "events", "name", "because"),
    [
        (
            TILEDATA,
            (),
            "blocked",
            "the VMM's process may give it to guests (ARCH_REQ_XCOMP_GUEST_PERM, before the first vCPU)",
        ),
        (TILEDATA, PERMITTED, "blocked", "the guest's kernel set its bit of XCR0 or XSS"),
        (TILEDATA, (*TILES_ON, "guest ldtilecfg"), "ok", "an instruction on it gives ok"),
        (TILEDATA, (*TILES_ON, "guest wrmsr XFD 0x40000"), "blocked", "the guest's XFD[18] is 0"),
        (TILEDATA, BOOTED, "blocked", "the program asked the guest's kernel for permission (ARCH_REQ_XCOMP_PERM)"),
        (TILEDATA, (*BOOTED, GUEST_TASK), "ok", "an instruction on it gives grows"),
        (AVX, BOOTED, "ok", "an instruction on it gives ok"),
    ],
)
def test_walking_to_a_component(component: int, events: tuple[str, ...], name: str, because: str) -> None:
    outcome = walk(after(*events), component)
    assert (outcome.name, outcome.because) == (name, because)
    assert all(check.held for check in outcome.checks[:-1])
    assert outcome.checks[-1].held is (name == "ok")
    assert outcome.source == "Linux, Documentation/arch/x86/xstate.rst; Intel SDM vol. 1, 13.14"


def test_gates_that_are_open_and_an_instruction_that_fails_all_the_same() -> None:
    outcome = walk(after(*TILES_ON), TILEDATA)
    assert (outcome.name, outcome.because) == ("ok", "an instruction on it gives #UD: the tile is configured")
    assert [check.held for check in outcome.checks] == [True] * (len(outcome.checks) - 1) + [False]
    # Nobody is there who could touch: the guest has no CPUID yet.
    outcome = walk(after(*PERMITTED[:2]), X87)
    assert (outcome.because, outcome.checks[-1].held) == ("an instruction on it gives -", True)


def test_a_gate_that_is_not_in_the_way() -> None:
    """MOVDQU needs CR4.OSFXSR alone."""
    outcome = walk(after(*PERMITTED, "guest xsetbv 1"), 1)
    assert [check.text for check in outcome.checks if not check.held] == [
        "not in the way now: the guest's kernel set its bit of XCR0 or XSS"
    ]
    assert outcome.checks[0].text == "the host's CPU has sse (CPUID leaf 0xD)"
    # The buffer is the host's affair: it is told where it is too small.
    assert not any("room" in check.text for check in outcome.checks)


# What there is to see of a component


def test_a_row_of_each_component() -> None:
    """User components that the CPU has, supervisor ones that Linux keeps; what nobody has yet is not told."""
    rows = {row.number: row for row in component_rows(after())}
    assert sorted(rows) == [0, 1, 2, 5, 6, 7, 9, 10, 11, 12, 17, 18]
    tiles, cet = rows[TILEDATA], rows[CET_U]
    assert (tiles.supervisor, tiles.kernel, tiles.permission, tiles.guest_permission) == (False, True, False, False)
    assert (cet.supervisor, cet.kernel, cet.permission, cet.guest_permission) == (True, True, True, True)
    for row in rows.values():
        assert {row.cpuid, row.xcr0, row.xfd, row.use, row.saved, row.room, row.task_permission, row.task_room} == {
            None
        }
        assert (row.guest, row.task) == ("-", "-")
        assert row.name == name_of(row.number)
    assert [(rows[n].offset, rows[n].size_bytes) for n in (0, 1, 2, 18, 11)] == [
        (0, 160), (160, 256), (576, 256), (2816, 8192), (0, 16),
    ]  # fmt: skip
    assert [rows[n].supervisor for n in (9, 10, 11, 12, 17)] == [False, True, True, True, False]
    assert {row.number for row in component_rows(after(cpu="apx", kernel="6.12")) if not row.kernel} == {19}
    fresh = component_rows(after(*PERMITTED[:2]))
    assert [row.number for row in fresh if row.cpuid] == [0, 10, 11, 12][:1]
    assert (name_of(62), name_of(2)) == ("lwp", "avx")
    assert name_of(40) == "?"
    assert [bit_of(mask, 3) for mask in (None, 0, 8, 16)] == [None, False, True, False]


def test_rows_of_a_vcpu_and_a_guests_task() -> None:
    found = after(
        TASK, *BOOTED, GUEST_TASK, "guest process ldtilecfg", "guest process tilezero 0", "guest process vmovdqu 0"
    )
    rows = {row.number: row for row in component_rows(found)}
    tiles = rows[TILEDATA]
    assert (tiles.permission, tiles.guest_permission, tiles.task_permission) == (True, True, True)
    assert (tiles.cpuid, tiles.xcr0, tiles.xfd, tiles.room, tiles.task_room) == (True, True, False, True, True)
    assert (tiles.use, rows[AVX].use, rows[5].use) == ("initial", "yes", "no")
    assert (tiles.saved, rows[5].saved) == (True, False)
    assert (tiles.process, tiles.guest, tiles.task) == ("grows", "ok", "ok")
    assert (rows[X87].cpuid, rows[CET_U + 1].cpuid, rows[CET_U + 1].task_permission) == (True, True, True)
    nobody = {row.number: row for row in component_rows(found, 1)}[TILEDATA]
    assert (nobody.cpuid, nobody.use, nobody.guest, nobody.task_permission) == (None, None, "-", True)


def test_what_touching_gives() -> None:
    """An exception to a kernel; to a program the signal that its kernel makes of it."""
    found = after(*PERMITTED)
    assert found.vm is not None
    vcpu = found.vm.vcpus[0]
    assert (guest_touch(found.vm, vcpu, AVX).word, guest_touch(found.vm, vcpu, AVX).works) == ("#UD", False)
    assert guest_touch(found.vm, vcpu, AVX).because == "CR4.OSXSAVE is set, XCR0 has SSE and AVX"
    assert guest_touch(found.vm, vcpu, 40).word == "-"
    assert guest_touch(None, None, AVX) == task_touch(None, None, AVX)
    assert (process_touch(found, TILEDATA).word, process_touch(found, CET_U).word) == ("SIGILL", "SIGILL")
    assert process_touch(found, CET_U).because == "CR4.CET is set and the mode's SH_STK_EN"
    assert process_touch(found, AVX).outcome is not None
    assert process_touch(found, TILEDATA).because == "XFD[18] is 0"
    assert (process_touch(found, AVX).works, process_touch(found, AVX).because) == (True, "")
    assert found.process.leader.fpstate.xstate_bv & 4 == 0


# A buffer


@pytest.mark.parametrize(
    ("events", "size", "tiles"),
    [
        ((), 2560, "xtilecfg unused"),
        ((TASK,), 2560, "xtilecfg unused, xtiledata no room"),
        ((TASK, "process ldtilecfg", "process tilezero 0"), 10752, "xtilecfg in use, xtiledata initial"),
    ],
)
def test_what_lies_in_a_buffer(events: tuple[str, ...], size: int, tiles: str) -> None:
    found = after(*events)
    seen = buffer_map(found.host, found.state())
    assert (seen.owner, seen.size_bytes, seen.is_compacted) == ("fpstate of the process", size, True)
    spans = ", ".join(f"{span.name} {span.state}" for span in seen.spans)
    unused = "x87 sse unused, avx unused, opmask unused, zmm_hi256 unused, hi16_zmm unused"
    # PKRU is in the register alone, once the task has run.
    pkru = "in use" if events else "unused"
    assert spans == f"{unused}, pkru {pkru}, pasid unused, cet_u unused, {tiles}"
    assert (seen.spans[0].component, seen.spans[0].offset, seen.spans[0].size_bytes) == (-1, 0, 576)
    inside = [span for span in seen.spans if span.state != "no room"]
    assert max(span.offset + span.size_bytes for span in inside) == size
    assert [span.offset for span in seen.spans if span.state == "no room"] == ([size] if "no room" in tiles else [])


def test_the_legacy_region_of_a_buffer() -> None:
    for events, state in (((), "unused"), (("process movdqu 0",), "in use")):
        found = after(*events)
        assert buffer_map(found.host, found.state()).spans[0].state == state


def test_a_vcpus_buffer_under_the_proposal_has_no_room_yet() -> None:
    found = after(*PERMITTED, "KVM_CREATE_VCPU", policy="rfc")
    seen = buffer_map(found.host, found.state())
    size = vcpu_of(found).buffer_size_bytes
    assert (seen.owner, seen.size_bytes) == ("fpstate of vCPU 0", size)
    assert [(span.name, span.offset, span.size_bytes, span.state) for span in seen.spans][-1] == (
        "xtiledata",
        size,
        8192,
        "no room",
    )
    assert buffer_map(found.host, found.state(), 1).owner == "fpstate of vCPU 1"
    assert buffer_map(found.host, found.state(), 2).owner == "fpstate of the process"


# The state as numbers


def test_the_state_of_a_task() -> None:
    """In the registers while it is loaded, in its buffer else; while KVM_RUN lasts the buffer is kept aside."""
    found = after("process vmovdqu 0")
    task = found.state().process.tasks[0]
    assert (task.in_use, task.changed) == (6 | 1 << PKRU, 6 | 1 << PKRU)
    assert task.room == found.process.leader.fpstate.xfeatures | 3
    assert task.xfd == 1 << TILEDATA
    assert after("process vmovdqu 0", "clone", "schedule thread=1").state().process.tasks[0].in_use & 6 == 6
    run = after("process vmovdqu 0", *PERMITTED, "guest xsetbv 7", "KVM_RUN", "guest vmovdqu64 0")
    assert run.state().process.tasks[0].in_use & 0xE6 == 6
    aside = after("process vmovdqu 0", "process wrpkru 5", *PERMITTED, "KVM_RUN").state().process.tasks[0]
    assert aside.changed == 6 | 1 << PKRU
    assert after("process vmovdqu 0", "process wrpkru 0").state().process.tasks[0].changed == 6


def test_the_state_of_a_vcpu() -> None:
    inside = vcpu_of(after(*TILES_ON, "KVM_RUN", "guest ldtilecfg", "guest wrmsr XFD 0x40000"))
    assert (inside.in_processor, inside.in_use & XTILE, inside.saved & XTILE, inside.xfd) == (
        True,
        1 << 17,
        0,
        1 << TILEDATA,
    )
    natively = vcpu_of(after(*TILES_ON, "KVM_RUN", "guest wrmsr XFD 0x40000", "guest wrmsr XFD 0"))
    assert (natively.xfd, natively.passes_xfd) == (0, True)
    outside = vcpu_of(after(*TILES_ON, "guest ldtilecfg"))
    assert (outside.in_processor, outside.in_use & XTILE, outside.saved & XTILE) == (False, 1 << 17, 1 << 17)
    assert (outside.enabled, outside.xcr0, outside.room & 3) == (0x602E7, 0x602E7, 3)
    assert [outside.use(number) for number in (TILECFG, TILEDATA)] == ["yes", "no"]


TD = (PERMITTED[0], "KVM_CREATE_VM tdx", "KVM_TDX_INIT_VM 0x602e7", *PERMITTED[1:])
KEYS_ON = (*PERMITTED, "guest xsetbv 0x2e7")


def test_a_tds_own_xcr0_and_xfd() -> None:
    """They are the TDX module's, not KVM's; its program's XFD is what its Linux wrote."""
    running = vcpu_of(after(*TD, "guest xsetbv 0x602e7", "KVM_RUN"))
    assert (running.xcr0, running.enabled) == (1, 0x602E7)
    for events in ((), ("KVM_RUN",)):
        found = after(*TD, "guest boot", GUEST_TASK, *events)
        assert found.vm is not None
        assert task_xfd(found.vm, found.vm.vcpus[0]) == 1 << TILEDATA


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        (("guest wrpkru 5",), True),
        (("guest wrpkru 5", "guest wrpkru 0"), False),
        (("KVM_RUN", "guest wrpkru 5"), True),
        (("KVM_RUN", "guest wrpkru 5", "guest wrpkru 0"), False),
        (("KVM_RUN", "guest wrpkru 5", "exit"), True),
        (("guest wrpkru 5", "KVM_RUN", "exit", "return", "guest wrpkru 0"), False),
    ],
)
def test_a_vcpus_protection_keys(events: tuple[str, ...], changed: bool) -> None:
    """KVM keeps them apart from the other registers (vcpu->arch.pkru)."""
    assert vcpu_of(after(*KEYS_ON, *events)).changed == changed << PKRU


@pytest.mark.parametrize("keys", [0, 5])
@pytest.mark.parametrize("events", [("guest wrpkru 3",), ("KVM_RUN", "guest wrpkru 3", "exit"), ("KVM_RUN", "return")])
def test_the_programs_protection_keys_are_put_back(keys: int, events: tuple[str, ...]) -> None:
    """kvm_load_host_xsave_state writes what kvm_arch_vcpu_load read (vcpu->arch.host_pkru)."""
    found = after(f"process wrpkru {keys}", *KEYS_ON, *events)
    assert found.host_linux.pkru(found.process.leader) == keys
    assert found.state().process.tasks[0].changed == bool(keys) << PKRU


def test_the_programs_protection_keys_while_its_guest_runs() -> None:
    for keys, guests in ((0, 5), (5, 0)):
        found = after(f"process wrpkru {keys}", *KEYS_ON, "KVM_RUN", f"guest wrpkru {guests}")
        assert found.state().process.tasks[0].changed == bool(keys) << PKRU


def test_an_xfd_that_the_host_keeps_for_its_guest() -> None:
    """Under the proposal the register is the host's while the guest has another value."""
    for kernel in ("7.2", "5.17"):
        found = after(*PERMITTED, "KVM_RUN", kernel=kernel, policy="rfc")
        assert (vcpu_of(found).xfd, found.state().cpus[0].xfd) == (0, 1 << TILEDATA)
    assert vcpu_of(after(*TILES_ON, "KVM_RUN", policy="rfc")).xfd == 0
    assert _place({}, 40) == (0, 0)
    assert [_asked(event) for event in ("KVM_RUN", "guest xsetbv 4")] == ["0x0", "0x6"]
