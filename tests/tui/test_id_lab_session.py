"""What the ID-register lab works on, without a screen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.cli.main import main
from inspector.machine.arm64.models.workbench import Workbench
from inspector.tui.id_lab_session import IdLabSession, name_of
from layouts.arm64.named_models import named_models
from layouts.arm64.properties import properties
from tests.machine.arm64 import known_host

MODELS = sorted(named_models())


def session(host: str = "neoverse-v1", model: str = "neoverse-v1-v1") -> IdLabSession:
    return IdLabSession(Workbench(known_host(host), model))


def seen(found: IdLabSession) -> tuple[object, ...]:
    made = found.bench.made
    return found.bench.setup, made.request, made.registers, made.blockers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_undo_is_identity_and_so_is_redo(picks: list[int]) -> None:
    found = session()
    words = [f"{entry.name}={text}" for entry in properties().values() for text in entry.values]
    before, after = [], []
    for pick in picks:
        state = seen(found)
        wrong = found.set(words[pick % len(words)]) if pick % 7 else found.choose(MODELS[pick % len(MODELS)])
        if not wrong:
            before.append(state)
            after.append(seen(found))
        else:
            assert seen(found) == state
    for state in reversed(before):
        assert not found.undo()
        assert seen(found) == state
    assert found.undo() == "nothing to undo"
    for state in after:
        assert not found.redo()
        assert seen(found) == state
    assert found.redo() == "nothing to redo"


def test_a_change_forgets_what_was_taken_back() -> None:
    found = session()
    found.set("feat_AES=off")
    found.undo()
    found.set("feat_AES=aes")
    assert found.redo() == "nothing to redo"


def test_what_is_wrong_is_said_and_nothing_changes() -> None:
    found = session()
    assert found.set("feat_AES=nothing") == "feat_AES: expected off, aes, pmull; found 'nothing'"
    assert found.choose("nope").startswith("nope: expected")
    assert found.set("nonsense")
    assert found.bench.setup.words == ()
    assert found.undo() == "nothing to undo"


def test_values_step_and_toggles_toggle() -> None:
    found = session()
    aes, pmu = found.find("feat_AES"), found.find("pmu")
    assert aes is not None
    assert pmu is not None
    found.accept(found.lines[aes])
    assert found.bench.setup.words == ("feat_AES=aes",)
    found.step(found.lines[aes], -1)
    assert found.bench.setup.words == ("feat_AES=off",)
    found.accept(found.lines[pmu])
    assert found.bench.setup.words == ("feat_AES=off", "pmu=on")
    found.set_on(found.lines[pmu], "off")
    assert found.bench.setup.words == ("feat_AES=off", "pmu=off")


def test_search_and_blockers_go_round() -> None:
    found = session("neoverse-n2")
    first = found.next_blocked(1)
    assert first is not None
    assert name_of(found.lines[first]) == "sve256"
    assert name_of(found.lines[found.next_blocked(first) or 0]) == "sve"
    assert found.search("SVE256", first) == first
    assert found.search("no such", 0) is None


def test_the_command_shows_the_same(capsys) -> None:
    found = session("neoverse-n2")
    assert main(found.command().split()[1:]) == 1
    assert "sve" in capsys.readouterr().out
    found.set("sve256=off")
    assert found.bench.made.usable
    assert main(found.command().split()[1:]) == 0


def test_the_capture_has_the_guests_registers() -> None:
    found = session()
    found.set("feat_AES=off")
    (vcpu,) = found.capture().vcpus
    assert vcpu.arch == "arm64"
