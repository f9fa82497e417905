"""What the XSTATE lab works on, without a screen."""

from __future__ import annotations

import json
import shlex

import pytest

from inspector.capture.overlay import Overlay
from inspector.cli.main import main
from inspector.decode.edit import set_field
from inspector.decode.fields import FieldTable
from inspector.export.timeline import timeline_json
from inspector.targets.scenarios import scenario_of
from inspector.targets.x86_named import world_of
from inspector.tui.labs import session_of_vcpu
from inspector.tui.xstate_lab_session import XstateLabSession
from tests.support import opened


def session(name: str = "new") -> XstateLabSession:
    scenario = scenario_of(name)
    return XstateLabSession(world_of(scenario), scenario)


def events(found: XstateLabSession) -> list[str]:
    return [step.event for step in found.world.steps]


def with_amx() -> XstateLabSession:
    found = session()
    for event in ("arch_prctl REQ_XCOMP_GUEST_PERM 18", "KVM_CREATE_VCPU", "KVM_SET_CPUID2 supported"):
        assert not found.happen(event)
    return found


def test_stepping_to_the_end_back_and_again() -> None:
    found = session("snapshot-einval")
    count = len(found.to_come)
    states = [found.world.state()]
    for _ in range(count):
        assert not found.next()
        states.append(found.world.state())
    assert "at its end" in found.next()
    for state in reversed(states[:-1]):
        assert not found.undo()
        assert found.world.state() == state
    assert found.undo() == "nothing to undo"
    assert found.to_come == list(found.scenario.events)
    for state in states[1:]:
        assert not found.redo()
        assert found.world.state() == state
    assert found.redo() == "nothing to redo"
    assert not found.to_come


def test_another_event_forgets_what_was_taken_back() -> None:
    found = with_amx()
    found.undo()
    found.happen("KVM_SET_CPUID2 amx")
    assert found.redo() == "nothing to redo"


def test_an_event_that_is_none_forgets_nothing() -> None:
    found = with_amx()
    found.undo()
    assert "no such event" in found.happen("nonsense")
    assert not found.redo()
    assert events(found)[-1] == "KVM_SET_CPUID2 supported"


def test_bits_toggle_by_a_guests_instruction() -> None:
    found = session()
    assert found.toggle("XFD", 18) == "there is no vCPU; KVM_CREATE_VCPU makes one"
    found = with_amx()
    found.toggle("XCR0", 18)
    assert events(found)[-1] == "guest xsetbv 0x60001"
    found.toggle("XCR0 bit", 18)
    assert events(found)[-1] == "guest xsetbv 0x20001"
    found.toggle("XFD", 18)
    assert events(found)[-1] == "guest wrmsr XFD 0x40000"
    found.toggle("XFD", 18)
    assert events(found)[-1] == "guest wrmsr XFD 0x0"


def test_events_are_about_the_vcpu_that_is_looked_at() -> None:
    found = session("two-vcpus")
    for _ in range(8):
        found.next()
    found.look_at(1)
    found.event("guest ldtilecfg", 18)
    assert events(found)[-1] == "guest ldtilecfg vcpu=1"
    found.event("arch_prctl REQ_XCOMP_GUEST_PERM {row}", 18)
    assert events(found)[-1] == "arch_prctl REQ_XCOMP_GUEST_PERM 18"
    found.look_at(found.vcpu_number + 1)
    assert found.vcpu_number == 0


def test_a_vcpu_that_is_taken_back_is_not_looked_at() -> None:
    found = session("two-vcpus")
    for _ in range(8):
        found.next()
    found.look_at(1)
    while found.vcpu_count > 1:
        found.undo()
    assert found.vcpu_number == 0


def test_search_by_name_and_number() -> None:
    found = session()
    names = [row.name for row in found.rows]
    assert found.search("TILE", -1) == names.index("xtilecfg")
    assert found.search("tile", names.index("xtilecfg")) == names.index("xtiledata")
    assert found.search("9", 0) == names.index("pkru")
    assert found.search("xyzzy", 0) is None


def printed(found: XstateLabSession, capsys: pytest.CaptureFixture[str]) -> list[tuple[object, object]]:
    """What the command prints: events and their answers."""
    main([*shlex.split(found.command())[1:], "--json"])
    return [(event["event"], event["name"]) for event in json.loads(capsys.readouterr().out)["events"]]


@pytest.mark.parametrize("name", ["new", "guest-xfd", "rfc-preempt"])
def test_the_command_shows_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a part of the scenario, after all of it, and after one more event."""
    found = session(name)
    for stop in (3, len(found.scenario.events)):
        while len(found.world.steps) < stop and found.to_come:
            found.next()
        shown = timeline_json(found.scenario, found.world)["events"]
        assert printed(found, capsys) == [(event["event"], event["name"]) for event in shown]
    found.happen("KVM_CREATE_VCPU")
    assert [event for event, _ in printed(found, capsys)] == events(found)


def test_the_command_of_a_captured_vcpu(capsys: pytest.CaptureFixture[str]) -> None:
    capture = opened("amx")
    found = session_of_vcpu(capture, capture.vcpus[1])
    assert isinstance(found, XstateLabSession)
    while found.to_come:
        found.next()
    assert found.command() == "inspector sim restore --from sample:amx --vcpu 1"
    found.happen("guest tilerelease")
    assert [event for event, _ in printed(found, capsys)] == events(found)


def test_an_edited_capture_has_no_command() -> None:
    capture = opened("amx")
    vcpu = capture.vcpus[0]
    area = vcpu.area("xcr")
    assert area is not None
    table = FieldTable(area)
    set_field(Overlay(), table, table.find("xcr.xcr0")[0], "0x7")
    found = session_of_vcpu(capture, vcpu)
    assert isinstance(found, XstateLabSession)
    assert found.command() == ""


def test_the_capture_and_where_a_component_lies() -> None:
    found = with_amx()
    assert found.bytes_path("xtiledata") == "xsave.xtiledata.*"
    assert session().bytes_path("xtiledata") == "fpstate_image.xtiledata.*"
    assert found.capture().vcpus
