"""What the ID-register lab works on, without a screen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.cli.main import main
from inspector.machine.arm64.models.workbench import PropertyRow, Workbench
from inspector.tui.id_features import feature_text
from inspector.tui.id_lab_session import IdLabSession
from inspector.tui.id_lines import name_of
from inspector.tui.id_text import property_text, summary_text
from inspector.tui.migrations import session_of_guest
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


def two(model: str = "neoverse-v1-v1", first: str = "neoverse-v1", second: str = "neoverse-n2") -> IdLabSession:
    return IdLabSession(Workbench(known_host(first), model), known_host(second), second_word=f"{second}@7.2")


def test_blockers_are_found_on_either_host() -> None:
    found = two()
    assert found.bench.made.usable
    assert not found.blocked_by("ID_AA64PFR0_EL1")
    at = found.next_blocked(0)
    assert at is not None
    names = {name_of(line): found.blocked_by(line) for line in found.lines if found.blocks(line)}
    assert names == {"sve": "B", "sve256": "B"}
    for word, hosts in (("feat_SVEver=sve2", "A"), ("feat_RNDR=on", "B"), ("feat_RPRES=on", "AB")):
        found.set(word)
        assert found.blocked_by(found.lines[found.find(word.partition("=")[0]) or 0]) == hosts, word


def test_every_blocked_line_of_both_hosts_is_gone_through() -> None:
    found = two("")
    blocked = [at for at, line in enumerate(found.lines) if found.blocks(line)]
    gone, at = [], 0
    for _ in blocked:
        at = found.next_blocked(at) or 0
        gone.append(at)
    assert gone == blocked
    places = {blocker.place for blocker in found.other.made.blockers if blocker.place} if found.other else set()
    assert len(blocked) >= len({place.register for place in places}) > 1


def test_space_takes_what_both_accept() -> None:
    found = two("", "neoverse-n2", "neoverse-v1")
    line = found.lines[found.find("feat_TLB") or 0]
    assert found.blocked_by(line) == "B"
    assert isinstance(line, PropertyRow)
    assert found.accepted(line) == ["off"]
    assert not found.accept(line)
    assert not found.blocks(found.lines[found.find("feat_TLB") or 0])


def test_a_guest_that_needs_nothing_more_moves() -> None:
    """The guest of a model on its own host, to the same host: every call is taken."""
    found = two(second="neoverse-v1")
    assert found.other is not None
    assert found.other.made.usable
    assert found.other.migration.possible
    assert "every call is taken" in summary_text(found, 100).plain


def test_the_move_says_the_call_and_the_field_that_fail() -> None:
    found = two()
    told = " ".join(summary_text(found, 200).plain.split())
    assert "the same guest on B, neoverse-n2: not usable, 1 in the way" in told
    assert "the first call that fails: KVM_SET_ONE_REG KVM_REG_ARM64_SVE_VLS 0x3: EINVAL" in told
    assert "A → B, the guest with all its registers:" in told
    assert session_of_guest(found).picture.verdict == "refused"
    found.set("sve256=off")
    assert found.other is not None
    assert found.other.made.usable
    moved = session_of_guest(found)
    assert moved.edited
    assert "MIDR_EL1" in moved.picture.because
    assert moved.command() == ""


def test_prediction_and_question_agree_between_all_known_cores() -> None:
    for first in ("neoverse-n1", "neoverse-v1", "neoverse-n2", "max", "cortex-a72"):
        for second in ("neoverse-n1", "neoverse-v1", "max"):
            found = two("", first, second)
            assert found.other is not None
            assert found.other.made.agree, (first, second)
            assert first != second or found.other.made.usable, (first, second)


def test_a_second_host_is_chosen_taken_back_and_copied() -> None:
    found = session()
    assert found.choose_second("nope").startswith("nope: no such CPU or file")
    assert not found.choose_second("neoverse-n2@7.2")
    assert found.command() == ("inspector models check neoverse-v1-v1 --host neoverse-v1@7.2 --host neoverse-n2@7.2")
    assert not found.choose_second("@6.6")
    assert found.other is not None
    assert found.other.host.kernel.release == "6.6"
    assert not found.set("feat_AES=off")
    assert found.other.host.kernel.release == "6.6"
    for _ in range(3):
        found.undo()
    assert found.other is None
    found.redo()
    assert not found.choose_second("")
    assert found.other is None


def test_sve_as_proposed_has_another_call_and_no_finalization() -> None:
    found = two()
    assert not found.choose_abi("proposal")
    events = [write.event for write in found.bench.made.writes]
    assert "KVM_ARM_VCPU_SET_SVE_VLS 0x3" in events
    assert not any("FINALIZE" in event for event in events)
    assert found.title().endswith("SVE as proposed")
    assert found.other is not None
    assert "KVM_ARM_VCPU_SET_SVE_VLS 16 32 bytes" in [step.event for step in found.other.migration.steps]
    assert not found.step_abi()
    assert any("FINALIZE" in write.event for write in found.bench.made.writes)
    found.undo()
    assert found.bench.setup.abi == "proposal"


def test_a_feature_is_found_by_its_name_with_its_fields_and_constraints() -> None:
    found = two("", "neoverse-n2", "neoverse-v1")
    at = found.search("SVE2", 0)
    assert at is not None
    assert name_of(found.lines[at]) == "feat_SVEver"
    assert found.search("FEAT_SVE2", 0) == at
    told = feature_text(found, "FEAT_SVE2", 200).plain
    assert "FEAT_SVE2  ✓ guest  ✓ host A  ✗ host B" in told
    assert "shown by ID_AA64ZFR0_EL1.SVEver >= 1 (guest 1, host A 1, host B 0), with FEAT_SVE" in told
    assert "FEAT_SVE2 -> FEAT_SVE\n" in told
    assert "breaks" not in told
    assert not found.set("FEAT_SVE2=off")
    told = feature_text(found, "FEAT_SVE2", 200).plain
    assert "✗ FEAT_SVE_SM4 -> FEAT_SVE2: the guest breaks it" in told


def test_what_is_typed_is_completed() -> None:
    found = session()
    assert found.completed("feat_ae") == ["feat_AES=", "FEAT_AES="]
    assert found.completed("FEAT_SVE2=o") == ["FEAT_SVE2=on", "FEAT_SVE2=off"]
    assert found.completed("feat_AES=") == ["feat_AES=off", "feat_AES=aes", "feat_AES=pmull"]
    assert "FEAT_SVE2p1" in found.features_completed("sve2")


def test_values_say_who_has_them_and_what_they_show() -> None:
    found = two("", "neoverse-n2", "neoverse-v1")
    row = found.lines[found.find("feat_ZFR0_AES") or 0]
    assert isinstance(row, PropertyRow)
    told = property_text(found, row, 100).plain
    assert "values      host A  host B" in told
    assert "▸ 2 pmull128  has it  EINVAL  FEAT_SVE_PMULL128" in told
    assert "✗ B: AES is at most 0 (found 2)" in told
