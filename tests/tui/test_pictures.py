"""What the XSTATE lab draws: the gates of a component, and the buffer to scale."""

from __future__ import annotations

import pytest

from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from inspector.tui.byte_map import map_lines
from inspector.tui.chain import chain_heading, chain_lines
from inspector.tui.drawn import Drawn
from inspector.tui.key import written_keys
from inspector.tui.lab_keys import XSTATE_LAB
from inspector.tui.xstate_lab_session import XstateLabSession
from layouts.x86.scenarios import scenarios

TILES = 18
KEYS = written_keys(XSTATE_LAB, {})


def session(name: str, events: int = 0) -> XstateLabSession:
    scenario = scenario_of(name)
    made = XstateLabSession(world_of(scenario), scenario)
    for _ in range(events):
        made.next()
    return made


def text(drawn: Drawn) -> str:
    return "".join(piece.text for piece in drawn)


def gates(made: XstateLabSession, width: int = 118, *, brief: bool = False) -> list[str]:
    return [text(line) for line in chain_lines(made.chains(TILES), KEYS, width, brief=brief)]


def buffer(made: XstateLabSession) -> list[str]:
    return [text(line) for line in map_lines(*made.buffers(), TILES, 118)]


def test_a_closed_gate_is_pointed_at_with_its_key() -> None:
    host, why_host, guest, why_guest = gates(session("guest-xfd"))
    assert "╳0" in host
    assert host.endswith("SIGILL")
    assert why_host.strip() == "╰ nobody asked for ARCH_REQ_XCOMP_PERM 18 · Space P opens it"
    assert why_host.index("╰") == host.index("╳")
    assert guest.index("╳") == why_guest.index("╰")
    assert why_guest.strip() == "╰ nobody asked for ARCH_REQ_XCOMP_GUEST_PERM 18 · Space p opens it"


def test_the_reason_is_what_is_not_what_should_be() -> None:
    assert gates(session("guest-xfd", 7))[-1].strip() == "the guest's XFD[18] is 1 · Space f opens it ╯"


def test_a_gate_that_opens_on_use_says_so() -> None:
    *_, program, why = gates(session("transcript-vm-amx", 10))
    assert program.startswith("guest program")
    assert "◐1" in program
    assert program.endswith("▶ grows")
    assert "the first use is #NM" in why


def test_in_a_low_terminal_only_the_last_that_does_not_arrive_says_why() -> None:
    assert [line.strip()[:5] for line in gates(session("guest-xfd"), brief=True)] == ["host ", "guest", "╰ nob"]


@pytest.mark.parametrize("width", [78, 118, 158, 218])
def test_the_names_stand_above_their_gates(width: int) -> None:
    names = text(chain_heading("xtiledata", TILES, width))
    wires = gates(session("transcript-vm-amx", 12), width)
    for name in ("CPUID", "XCR0", "XFD", "room"):
        assert all(wire[names.index(name) + 1] in "●╳◐○━┄" for wire in wires if "▶" in wire)
    assert all(len(wire) <= width for wire in wires)


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_a_chain_ends_as_the_matrix_says(name: str) -> None:
    made = session(name)
    while made.to_come and not made.next():
        for row in made.rows:
            words = {chain.actor: chain.touched.word for chain in made.chains(row.number)}
            assert words["host program"] == row.process
            assert words["guest kernel"] == row.guest
            assert words.get("guest program", "-") == row.task
            for chain in made.chains(row.number):
                if chain.touched.works:
                    assert chain.first_closed is None, (row.name, chain)


def test_the_buffer_shows_what_an_event_changed() -> None:
    before, now, names = buffer(session("guest-xfd", 3))
    assert before.startswith("before")
    assert "╌" not in now
    assert now.count("░") > before.count("░") > 0
    assert names[names.index("↑") :].startswith("↑xtiledata")


def test_what_has_no_room_is_behind_the_end() -> None:
    made = session("new")
    assert not made.happen("arch_prctl REQ_XCOMP_PERM 18")
    _, bar, _ = buffer(made)
    assert bar.rstrip().endswith("╌" * 50)
