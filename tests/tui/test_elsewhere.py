"""The same events on another host, kernel or policy; what is offered next; events as a file: without a screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.capture.errors import InputError, UsageError
from inspector.cli.main import main
from inspector.export.worlds import Comparison
from inspector.targets.event_file import scenario_of_file
from inspector.targets.place import Place, completions, place_of
from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from inspector.tui.against import against_heading, cost_lines, only_lines, pair_line
from inspector.tui.labs import session_of_vcpu
from inspector.tui.xstate_lab_session import XstateLabSession
from tests.support import opened


def session(name: str = "new", count: int | None = None) -> XstateLabSession:
    scenario = scenario_of(name)
    found = XstateLabSession(world_of(scenario), scenario)
    for _ in range(len(scenario.events) if count is None else count):
        assert not found.next()
    return found


def answers(found: XstateLabSession) -> list[str]:
    return [step.outcome.name for step in found.world.steps]


def beside(name: str, words: str) -> Comparison:
    found = session(name).against(words)
    assert isinstance(found, Comparison)
    return found


# Another place


def test_places_are_typed_whole_or_as_the_value_alone() -> None:
    assert place_of("host=zen5 kernel=6.1 policy=rfc") == Place("zen5", "6.1", "rfc")
    assert place_of("rfc 6.12 granite-rapids") == Place("granite-rapids", "6.12", "rfc")
    for wrong in ("", "colour=red", "policy=nosuch", "kernel=", "rfc upstream", "nonsense"):
        with pytest.raises(UsageError):
            place_of(wrong)


def test_places_are_completed() -> None:
    assert completions("po") == ["policy="]
    assert completions("policy=rfc-") == ["policy=rfc-option1", "policy=rfc-option2"]
    assert "policy=rfc kernel=" in completions("policy=rfc k")
    assert "host=zen5" in completions("host=zen")


def test_all_events_happen_again_on_another_kernel() -> None:
    found = session("guest-xfd", 7)
    assert not found.go("kernel=5.10")
    assert found.world.host.kernel.name == "5.10"
    assert answers(found) == ["EINVAL", "ok", "ok", "#GP", "#GP", "#UD", "#UD"]
    assert found.to_come == list(found.scenario.events[7:])
    assert "--kernel 5.10" in found.command()
    assert not found.go("7.2")
    assert answers(found)[-1] == "#NM"


def test_what_cannot_happen_there_is_told() -> None:
    found = session("transcript-tdx")
    count = len(found.world.steps)
    assert not found.go("6.12")
    assert found.left_out
    assert len(found.world.steps) == count - len(found.left_out)
    assert all(one.why for one in found.left_out)


def test_a_wrong_place_changes_nothing() -> None:
    found = session("guest-xfd", 3)
    world = found.world
    for wrong in ("host=nosuch", "kernel=banana", "policy=nosuch", ""):
        assert found.go(wrong)
        assert found.world is world


def test_a_captured_image_goes_to_no_host_of_another_layout() -> None:
    capture = opened("amx")
    found = session_of_vcpu(capture, capture.vcpus[0])
    assert isinstance(found, XstateLabSession)
    assert "the image's layout" in found.go("host=zen5")
    assert not found.go("policy=rfc")
    assert not found.go("kernel=6.12")
    assert found.command().endswith("--policy rfc --kernel 6.12")
    assert found.event_file() == ""


# Side by side


def test_the_first_difference_of_two_policies() -> None:
    found = beside("rfc-preempt", "upstream")
    assert found.names == ("rfc", "upstream")
    first = found.first
    assert first is not None
    # Room for tiles comes with KVM_SET_CPUID2 upstream, with the first use in the proposal.
    assert (first.one.event, first.differs) == ("KVM_SET_CPUID2 supported", "change")
    assert ("WRMSR of XFD", 2, 5) in found.costs


def test_two_kernels_whose_answers_differ() -> None:
    found = beside("guest-xfd", "6.12")
    # Only when reads of XFD_ERR stop exiting (Intercepts.after_set_cpuid).
    assert {pair.differs for pair in found.pairs} == {"", "change"}
    found = beside("guest-xfd", "5.10")
    assert found.first is found.pairs[0]
    assert sum(pair.differs == "answer" for pair in found.pairs) == 10


def test_the_same_place_has_no_difference() -> None:
    found = beside("guest-xfd", "upstream")
    assert found.first is None
    assert found.names == ("one", "other")


@pytest.mark.parametrize("width", [1, 3, 8, 20])
def test_side_by_side_in_next_to_no_room(width: int) -> None:
    found = beside("guest-xfd", "5.10")
    assert len(cost_lines(found, width)) == len(found.costs)
    assert against_heading(found, width)
    assert all(pair_line(found, pair, width) for pair in found.pairs)


@pytest.mark.parametrize("width", [60, 78, 158])
def test_side_by_side_fits(width: int) -> None:
    found = beside("guest-xfd", "5.10")
    lines = [*against_heading(found, width), *cost_lines(found, width)]
    lines += [pair_line(found, pair, width) for pair in found.pairs]
    lines += only_lines(found, found.pairs[6], width)
    for line in lines:
        assert len("".join(piece.text for piece in line)) <= width
    assert "▶" in pair_line(found, found.pairs[0], width)[0].text


def test_the_command_compares_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "rfc-preempt", "--against", "policy=upstream"]) == 1
    shown = capsys.readouterr().out
    assert ">  3  KVM_SET_CPUID2 supported" in shown
    assert "B: vCPU 0 buffer: 2560 bytes -> 10752 bytes" in shown
    assert main(["sim", "rfc-preempt", "--against", "upstream", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["first"], told["b"]["policy"]) == ("worlds", 3, "upstream")
    assert told["events"][2]["differs"] == "change"
    assert told["b"]["costs"]["wrmsr_xfd"] == 5
    assert main(["sim", "guest-xfd", "--against", "upstream"]) == 0
    assert main(["sim", "guest-xfd", "--against", "upstream", "--why", "18"]) == 2


# What comes next

_FOLLOWED = {
    # Scenario, events of it, how often the first offer is taken: the answers that come of it.
    ("guest-xfd", 7, 1): ["#NM", "ok", "ok", "ok"],
    ("snapshot-einval", 7, 1): ["EINVAL", "ok"],
    ("host-oops", 8, 1): ["ok", "ok"],
    ("rfc-preempt", 11, 1): ["ok", "ok"],
    ("process-sigill", 2, 1): ["ok", "SIGILL", "ok", "ok"],
    ("no-amx-in-guest", 4, 1): ["ok", "ok", "ok", "ok"],
    ("permission-too-late", 3, 1): ["ok", "ok", "ok"],
    ("small-altstack", 2, 1): ["ENOSPC", "ok", "ok"],
}


@pytest.mark.parametrize(("name", "count", "times"), _FOLLOWED, ids=lambda value: str(value))
def test_offered_steps_help(name: str, count: int, times: int) -> None:
    found = session(name, count)
    for _ in range(times):
        assert not found.follow()
    expected = _FOLLOWED[name, count, times]
    assert answers(found)[-len(expected) :] == expected
    assert not found.world.steps[-1].outcome.checks or found.world.steps[-1].outcome.checks[-1].held


def test_an_offer_is_about_the_vcpu_of_the_event() -> None:
    found = session("two-vcpus", 13)
    first = found.offers()[0].steps[0]
    assert first.endswith(f" {found.world.steps[-1].event.split()[-1]}")


def test_nothing_is_offered_where_all_is_well() -> None:
    assert "nothing is offered" in session("guest-xfd", 6).follow()
    assert "nothing is offered" in session().follow()
    # XCR0 cannot have what the vCPU's CPUID has not.
    found = session("guest-xfd", 6)
    found.go("5.10")
    assert found.offers() == []


def test_a_bit_goes_with_what_it_needs() -> None:
    found = session("guest-xfd", 3)
    for component, value in ((18, "0x60001"), (6, "0x600e7"), (2, "0x60003"), (18, "0x3"), (5, "0xe7")):
        assert not found.toggle("XCR0", component)
        assert found.world.steps[-1].event == f"guest xsetbv {value}"
        assert found.world.steps[-1].outcome.accepted
    found.toggle("XCR0 bit", 18)
    assert found.world.steps[-1].event == "guest xsetbv 0x400e7"
    assert found.world.steps[-1].outcome.name == "#GP"
    assert not found.follow()
    assert found.world.steps[-1].event == "guest xsetbv 0x600e7"


# Events as a file


def test_events_are_saved_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = session("guest-xfd", 7)
    found.go("host=granite-rapids kernel=6.12")
    path = tmp_path / "mine.events"
    path.write_text(found.event_file())
    again = scenario_of(str(path))
    assert (again.host, again.kernel, again.title) == ("granite-rapids", "6.12", found.scenario.title)
    assert list(again.events) == [step.event for step in found.world.steps]
    assert main(["sim", str(path)]) == 1
    assert "guest tileloadd 0                        #NM" in capsys.readouterr().out
    assert main(["show", f"sim:{path}"]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense 1\n", "line 1"),
        ("KVM_CREATE_VCPU\nhost=zen5\n", "line 2: expected the place once, before the first event"),
        ("policy=nosuch\n", "line 1"),
        ("\udcff", "byte 0xff"),
        ("KVM_CREATE_VCPU\n" * 10_001, "line 10001"),
    ],
)
def test_a_file_that_is_none_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.events"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=words):
        scenario_of_file(str(path))


def test_comments_and_blank_lines_are_no_events(tmp_path: Path) -> None:
    path = tmp_path / "a.events"
    path.write_text("# Title\n\n  # more\nKVM_CREATE_VCPU   # the first\n")
    found = scenario_of_file(str(path))
    assert (found.title, found.events, found.host) == ("Title", ("KVM_CREATE_VCPU",), "sapphire-rapids")
